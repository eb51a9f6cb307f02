use proptest::prelude::*;

use super::*;
use crate::table;

#[test]
fn names_by_the_table() {
    let bare = |cell: &str| cell.trim_matches('`').to_owned();
    let domain = Name::host("example.org").unwrap();
    for [found, own, naming, expected] in table::rows(include_str!("tables/image.md")) {
        let template = HostTemplate::parse(&bare(&naming)).ok();
        let fleet = template.as_ref().map(|template| (template, &domain));
        let word = match Origin::of(&bare(&found), &Name::host(&bare(&own)).unwrap(), fleet) {
            Origin::Own => "the host's own",
            Origin::Nowhere => "nowhere",
            Origin::Instance => "another instance's",
            Origin::Chosen => "an operator's choice",
        };
        assert_eq!(word, expected, "{found} on {own}");
    }
}

const FORMER: &str = "bbb-image.invalid";
const OWN: &str = "vc-0aaaaaaaaaaaaaaaa.example.org";

fn renamed(text: &str) -> String {
    Replacement { former: FORMER, new: OWN }.apply(text).0
}

#[test]
fn a_name_is_replaced_where_it_stands_by_itself() {
    for text in [
        "server_name @;",
        "server_name @ other.example.org;",
        "bigbluebutton.web.serverURL=https://@",
        "bbbWebAPI=\"https://@/bigbluebutton/api\"",
        "playback_host: @",
        "wsUrl: wss://@/bbb-webrtc-sfu",
        "<constructor-arg index=\"1\" value=\"turns:@:443?transport=tcp\"/>",
        "realm=@\r\n",
        "It leads to @.",
        "@",
        "ä@ö",
    ] {
        assert_eq!(renamed(&text.replace('@', FORMER)), text.replace('@', OWN));
        assert_eq!(renamed(&text.replace('@', "BBB-Image.Invalid")), text.replace('@', OWN));
    }
}

#[test]
fn longer_words_and_paths_stay() {
    for text in [
        "ssl_certificate /etc/letsencrypt/live/@/fullchain.pem;",
        "www.@",
        "my-@",
        "@.example.org",
        "@-old",
        "@_old",
    ] {
        let text = text.replace('@', FORMER);
        assert_eq!(renamed(&text), text);
    }
    assert_eq!(Replacement { former: "", new: OWN }.apply("any text").1, 0);
    assert_eq!(Replacement { former: "//", new: OWN }.apply("https://host").1, 0);
}

proptest! {
    /// Nothing else changes, and twice is nothing the second time.
    #[test]
    fn only_the_word_changes(parts in prop::collection::vec("[ -~\u{e4}\n]{0,12}", 1..6), word in "[a-z0-9]{2,8}\\.invalid") {
        let text = parts.join(&word);
        let (new, count) = Replacement { former: &word, new: OWN }.apply(&text);
        prop_assert!(count < parts.len() + parts.concat().matches(&word).count());
        prop_assert_eq!(Replacement { former: &word, new: OWN }.apply(&new).1, 0);
        if count == 0 {
            prop_assert_eq!(new, text);
        } else {
            prop_assert_eq!(new.len() + count * word.len(), text.len() + count * OWN.len());
        }
    }
}
