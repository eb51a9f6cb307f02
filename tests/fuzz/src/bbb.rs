//! Targets for BBB's answers, its property files and the files with the host's address.

use clients::bbb::addresses::{Site, sites, values};
use clients::bbb::answer::Answer;
use clients::bbb::{Algorithm, Error, Meeting, Meetings, properties};
use plan::addresses::{File, Own, Standing, judge};
use reqwest::StatusCode;

use crate::{check_error, check_shown, marked, text};

/// The number of places at which an answer is cut off.
const CUTS: usize = 24;

/// Checks that each value is a part of the file, that no error quotes the file, and that a file in which the wrong
/// addresses were replaced says the right ones at the same places and nothing else.
pub(crate) fn addresses(input: &[u8]) {
    let own = Own { announced: [203, 0, 113, 99].into(), private: [10, 0, 0, 5].into() };
    let input = marked(input);
    for file in File::ALL {
        let found = match sites(file, &input) {
            Ok(found) => found,
            Err(defect) => {
                check_error(&defect.to_string());
                continue;
            }
        };
        let before = values(&input, &found);
        assert_eq!(before.len(), found.len());
        let standings = judge(&before, &own);
        let mut after = input.clone();
        let mut expected = before.clone();
        // The last one first, so that the others stay where they are.
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(found[*index].span.start));
        for index in order {
            if let Standing::Other { wanted, .. } = standings[index] {
                let Site { span, .. } = found[index].clone();
                after.splice(span, wanted.to_string().into_bytes());
                expected[index].text = wanted.to_string();
            }
        }
        let read = sites(file, &after).expect("it was understood before");
        assert_eq!(values(&after, &read), expected, "{file:?}");
    }
}

/// Checks that meetings are counted or the answer is refused: an answer that cannot be understood never means "no
/// meetings", and one that is cut off never means "no more meetings".
pub(crate) fn meetings(input: &[u8]) {
    let Some(found) = read(answer(input, "getMeetings").meetings()) else { return };
    assert!(contains(input, b"SUCCESS"));
    let Meetings { listed, rest } = &found;
    rest.iter().for_each(|why| check_error(why));
    if listed.is_empty() && rest.is_none() {
        assert!(contains(input, b"meetings") || contains(input, b"noMeetings"));
    }
    // Every meeting has a tag, so none is invented.
    assert!(listed.len() <= input.windows(8).filter(|window| *window == b"<meeting").count());
    for id in listed.iter().flat_map(|meeting| [&meeting.id, &meeting.internal_id, &meeting.parent]).flatten()
    {
        assert!(!id.trim().is_empty());
    }
    // A processing instruction that is cut off is text, which BBB's answers have none of.
    let body = String::from_utf8_lossy(input);
    if rest.is_none() && body.matches("<?").count() <= body.matches("<?xml ").count().min(1) {
        let end = input.len();
        (0..CUTS).for_each(|cut| check_cut_off(&found, input, 1.max(end * cut / CUTS)));
    }
}

/// Checks that the beginning of a whole answer has a beginning of its meetings, and says that it is no more than that.
fn check_cut_off(whole: &Meetings, input: &[u8], end: usize) {
    let Some(beginning) = input.get(..end) else { return };
    match answer(beginning, "getMeetings").meetings() {
        Err(error) => assert!(matches!(error, Error::CutOff { .. }), "{error}"),
        Ok(found) => {
            assert!(found.rest.is_some() || contains_plain(beginning, b"</response"), "{found:?}");
            let last = found.listed.len().saturating_sub(1);
            assert_eq!(found.listed.get(..last), whole.listed.get(..last));
            if let Some((part, meeting)) = found.listed.last().zip(whole.listed.get(last)) {
                assert_eq!(&filled(part.clone(), meeting), meeting);
            }
            assert!(found.listed.len() <= whole.listed.len());
        }
    }
}

/// Returns the meeting with all that is unknown taken from the whole one.
fn filled(part: Meeting, whole: &Meeting) -> Meeting {
    let whole = whole.clone();
    Meeting {
        id: part.id.or(whole.id),
        internal_id: part.internal_id.or(whole.internal_id),
        participants: part.participants.or(whole.participants),
        voices: part.voices.or(whole.voices),
        videos: part.videos.or(whole.videos),
        breakout: part.breakout.or(whole.breakout),
        parent: part.parent.or(whole.parent),
        joined: part.joined.or(whole.joined),
        forcibly_ended: part.forcibly_ended.or(whole.forcibly_ended),
        created: part.created.or(whole.created),
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

/// Makes an answer; the first byte of the input chooses the HTTP status. The body of a redirect is its location, too.
fn answer(input: &[u8], call: &'static str) -> Answer {
    let (first, body) = input.split_first().unwrap_or((&0, &[]));
    let status = match first % 8 {
        1 => StatusCode::NOT_FOUND,
        2 => StatusCode::BAD_GATEWAY,
        3 => StatusCode::FOUND,
        _ => StatusCode::OK,
    };
    let location = (status == StatusCode::FOUND).then(|| String::from_utf8_lossy(body).into_owned());
    let api = "https://bbb.example.org/bigbluebutton/api".to_owned();
    Answer::new(api, call, status, location, body.to_vec())
}

fn read<T>(answer: Result<T, Error>) -> Option<T> {
    answer.inspect_err(|error| check_error(&error.to_string())).ok()
}
