use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;

fn servers(secret: &str) -> Result<TurnServers, &'static str> {
    TurnServers::new(Name::host("turn.example.org").unwrap(), SecretString::from(secret.to_owned()))
}

/// Returns the values of all arguments, and the beans that `turnServers` names.
fn read(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut values, mut beans) = (Vec::new(), Vec::new());
    let mut reader = Reader::from_str(text);
    loop {
        let element = match reader.read_event().unwrap() {
            Event::Eof => return (values, beans),
            Event::Empty(element) => element,
            _ => continue,
        };
        let attribute = |name: &str| {
            let found = element.try_get_attribute(name).unwrap().unwrap();
            quick_xml::escape::unescape(&found.value).unwrap().into_owned()
        };
        match element.name().as_ref() {
            "constructor-arg" => values.push(attribute("value")),
            "ref" => beans.push(attribute("bean")),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn any_secret_that_coturn_can_have_is_in_the_file(secret in "[!-~]{1,80}") {
        let file = servers(&secret).unwrap().file();
        let (values, beans) = read(&file);
        let [turn, turns] = ["turn:turn.example.org:3478", "turns:turn.example.org:443?transport=tcp"];
        prop_assert_eq!(values, [secret.as_str(), turn, "86400", secret.as_str(), turns, "86400"]);
        prop_assert_eq!(beans, ["turn0", "turn1"]);
        // Nothing was copied to make room.
        prop_assert!(file.capacity() >= 4096);
    }
}

#[test]
fn a_secret_that_coturn_cannot_have_is_refused_and_not_quoted() {
    for secret in ["", "two words", "line\n", "\u{fc}ber"] {
        let why = servers(secret).unwrap_err();
        assert!(why.contains("coturn cannot have it"), "{why}");
        assert!(secret.is_empty() || !why.contains(secret.trim()), "{why}");
    }
    assert!(!format!("{:?}", servers("hidden-secret").unwrap()).contains("hidden-secret"));
}
