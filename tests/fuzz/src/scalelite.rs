//! Targets for Scalelite's answers. The first byte of an input chooses the call and the HTTP status; the rest is the
//! body.

use clients::scalelite::{Error, Listing, Server, answer::Answer};
use plan::membership::{host_of, normalise_url};
use plan::record::Name;

use crate::{MARK, check_error};

const HOST: &str = "vc-0123456789abcdef0.example.org";
const SECRET: &str = "\"secret\":\"";
const STATUSES: [u16; 8] = [200, 201, 400, 404, 500, 502, 302, 429];

/// Checks that only entries with the host's name count as the host's, and that no secret is in an error.
pub(crate) fn listing(input: &[u8]) {
    let url = format!("https://{HOST}/bigbluebutton/api");
    let Some(listing) = answer(input, false).and_then(|answer| read(answer.listing())) else { return };
    let (count, names) = (listing.count(), listing.names());
    assert!(names.len() <= count);
    let Some(own) = read(Listing::own(listing, &url)) else { return };
    assert!(own.len() <= count);
    assert!(own.is_empty() || names.contains(&Name::host(HOST).unwrap()));
    for server in own {
        check_server(&server);
        let normal = normalise_url(&server.url).unwrap();
        assert_eq!(host_of(&normal), Some(HOST), "{}", server.url);
        // An HTTP client that follows the URL must come to the same host.
        let followed = reqwest::Url::parse(&normal).unwrap();
        assert_eq!(followed.host_str(), Some(HOST), "{}", server.url);
        let entry = server.entry(&url, &MARK.into());
        assert_eq!(entry.url_matches, normal == url);
    }
}

/// Checks the entry in the answer to a change.
pub(crate) fn server(input: &[u8]) {
    if let Some(server) = answer(input, true).and_then(|answer| read(answer.server())) {
        check_server(&server);
    }
}

/// Checks deleting and panicking: only an answer of Scalelite's that says so means that the call was carried out.
pub(crate) fn done(input: &[u8]) {
    let Some(status) = status(input) else { return };
    let Some(answer) = answer(input, true) else { return };
    assert!(!answer.is_unknown_server() || status == 404, "a proxy's answer is no word about an entry");
    if let Some(words) = answer.panic_incomplete() {
        assert_eq!(status, 400);
        check_error(&words);
    }
    if read(answer.done()).is_some() {
        assert!((200..300).contains(&status));
    }
}

fn check_server(server: &Server) {
    assert!(server.load.is_none_or(f64::is_finite));
    assert!(server.multiplier.is_none_or(f64::is_finite));
    assert!(!format!("{:?}", server.entry("", &MARK.into())).contains("SecretString"));
}

fn status(input: &[u8]) -> Option<u16> {
    STATUSES.get(usize::from(input.first()? % 8)).copied()
}

fn answer(input: &[u8], changing: bool) -> Option<Answer> {
    let body = String::from_utf8_lossy(input.get(1..)?);
    // Every entry's secret begins with the mark.
    let body = body.replace(SECRET, &format!("{SECRET}{MARK}"));
    Some(Answer::new("do something".to_owned(), changing, status(input)?, body.into_bytes()))
}

fn read<T>(answer: Result<T, Error>) -> Option<T> {
    let refused = |error: &Error| {
        let text = error.to_string();
        // Messages from Scalelite are passed on, whatever they contain.
        let worded = matches!(error, Error::Refused { .. } | Error::Http { .. } | Error::Conflict { .. });
        check_error(&if worded { text.replace(MARK, "") } else { text });
    };
    answer.inspect_err(refused).ok()
}
