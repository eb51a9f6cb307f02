//! Targets for BBB's answers and its property files.

use clients::bbb::answer::Answer;
use clients::bbb::{Algorithm, Error, properties};
use reqwest::StatusCode;

use crate::{check_error, check_shown, text};

/// Checks that meetings are counted or the answer is refused: an answer that cannot be understood never means "no
/// meetings".
pub(crate) fn meetings(input: &[u8]) {
    let Some(meetings) = read(answer(input, "getMeetings").meetings()) else { return };
    assert!(contains(input, b"SUCCESS"));
    if meetings.is_empty() {
        assert!(contains(input, b"meetings") || contains(input, b"noMeetings"));
    }
    // Every meeting has a tag, so none is invented.
    assert!(meetings.len() <= input.windows(8).filter(|window| *window == b"<meeting").count());
    for meeting in meetings {
        assert!(!meeting.id.trim().is_empty());
    }
}

/// Checks the version, and answers that only say that a call was carried out.
pub(crate) fn version(input: &[u8]) {
    if let Some(version) = read(answer(input, "its version").version()) {
        check_shown(&version.api);
        version.bbb.iter().for_each(|bbb| check_shown(bbb));
    }
    if read(answer(input, "sendChatMessage").done()).is_some() {
        assert!(contains(input, b"SUCCESS"));
    }
}

/// Checks that a text in Java's property format is read as it was meant, whatever stands before it.
pub(crate) fn property_file(input: &[u8]) {
    let decoded = properties::decode(input);
    let found = properties::parse(&decoded);
    let written: String =
        found.iter().map(|(key, value)| format!("{}={}\n", escape(key), escape(value))).collect();
    assert_eq!(properties::parse(&written), found, "{written}");
    let with_another = format!("{decoded}\n\nsecuritySalt={}\n", escape("a=b:c"));
    assert_eq!(properties::parse(&with_another).get("securitySalt").map(String::as_str), Some("a=b:c"));
}

/// Checks that a checksum's algorithm is chosen from the named ones.
pub(crate) fn checksums(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let chosen = Algorithm::choose(text);
    let plain = text.to_ascii_lowercase().replace(['-', ' '], "");
    for (name, algorithm) in [("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256)] {
        assert!(chosen != Some(algorithm) || plain.contains(name), "{text}");
    }
    assert_eq!(Algorithm::choose(&format!("{text},sha256")), Some(Algorithm::Sha256));
}

fn escape(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn contains(input: &[u8], part: &[u8]) -> bool {
    // References such as &#83; can write any character in another way.
    contains_plain(input, part) || contains_plain(input, b"&#") || contains_plain(input, b"<!ENTITY")
}

fn contains_plain(input: &[u8], part: &[u8]) -> bool {
    input.windows(part.len()).any(|window| window == part)
}

/// Makes an answer; the first byte of the input chooses the HTTP status.
fn answer(input: &[u8], call: &'static str) -> Answer {
    let (first, body) = input.split_first().unwrap_or((&0, &[]));
    let status = match first % 8 {
        1 => StatusCode::NOT_FOUND,
        2 => StatusCode::BAD_GATEWAY,
        3 => StatusCode::FOUND,
        _ => StatusCode::OK,
    };
    Answer::new("https://bbb.example.org/bigbluebutton/api".to_owned(), call, status, body.to_vec())
}

fn read<T>(answer: Result<T, Error>) -> Option<T> {
    answer.inspect_err(|error| check_error(&error.to_string())).ok()
}
