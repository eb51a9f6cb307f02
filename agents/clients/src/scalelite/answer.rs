//! The meaning of Scalelite's answers. The HTTP status alone does not tell it: see `scalelite::Error`.

use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::raw::{Item, Items, Raw};
use super::{Error, Listing, Server};
use crate::bbb::envelope;
use crate::untrusted;

/// The beginning of Scalelite's 404 for an id that it does not know.
pub(super) const UNKNOWN_SERVER: &str = "Couldn't find server";
/// The beginning and the end of its 400 for an entry that was deleted while it worked on the call.
pub(super) const DELETED_SERVER: (&str, &str) = ("Server with id ", " is deleted");
const EMPTY_POOL: &str = "No servers are configured";
const CONFLICT: &str = "Servers list concurrently modified";
const PANIC_INCOMPLETE: &str = "Couldn't disable server";

/// A complete answer to one call. The body holds the secrets of all hosts and is wiped at the end.
pub struct Answer {
    action: String,
    changing: bool,
    status: u16,
    body: Zeroizing<Vec<u8>>,
}

/// The answer to `deleteServer` and `panicServer`. Some versions give a sentence as its value, so only the key counts.
#[derive(Deserialize)]
struct Done {
    #[serde(rename = "success")]
    _success: IgnoredAny,
}

/// An error in Scalelite's own words (a string), or one of Rails (`{"status":500,"error":"..."}`).
#[derive(Deserialize)]
struct Worded {
    error: String,
}

impl Answer {
    /// Creates an answer to `action` (a phrase for errors) from the HTTP status and the body; `changing` says whether
    /// the call was one that changes anything.
    pub fn new(action: String, changing: bool, status: u16, body: Vec<u8>) -> Self {
        Self { action, changing, status, body: Zeroizing::new(body) }
    }

    /// Parses the value of a successful answer.
    fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        if !(200..300).contains(&self.status) {
            return Err(self.failure());
        }
        // serde's message may quote a value that it rejects, which may be a secret: only the position is passed on.
        serde_json::from_slice(&self.body).map_err(|error| match self.refusal() {
            Some(refusal) => refusal,
            None if error.is_data() => self.unexpected(format!(
                "JSON of an unknown shape (line {}, column {})",
                error.line(),
                error.column()
            )),
            None => self.unexpected("not JSON; is this the address of a Scalelite?".to_owned()),
        })
    }

    /// Reports whether this says that the pool is empty.
    fn is_empty_pool(&self) -> bool {
        self.status == 404 && self.words().is_some_and(|words| words == EMPTY_POOL)
    }

    /// Reports whether this says that the entry does not exist. A proxy's 404 does not.
    pub fn is_unknown_server(&self) -> bool {
        self.status == 404 && self.words().is_some_and(|words| words.starts_with(UNKNOWN_SERVER))
    }

    /// Reports whether this refuses the checksum of the call.
    pub fn is_checksum_error(&self) -> bool {
        // A refusal is short and XML; a list may be long and is JSON.
        let xml = self.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<');
        xml && matches!(self.refusal(), Some(Error::Refused { key, .. }) if key == "checksumError")
    }

    /// Returns Scalelite's message if this says that not all meetings of an entry could be ended.
    pub fn panic_incomplete(&self) -> Option<String> {
        let words = self.words().filter(|_| self.status == 400)?;
        words.starts_with(PANIC_INCOMPLETE).then_some(words)
    }

    /// Parses the list of entries.
    pub fn listing(self) -> Result<Listing, Error> {
        let action = self.action.clone();
        if self.is_empty_pool() {
            return Ok(Listing { action, items: Vec::new() });
        }
        let Items(items) = self.json()?;
        Ok(Listing { action, items })
    }

    /// Parses the one entry.
    pub fn server(self) -> Result<Server, Error> {
        let action = self.action.clone();
        let Item(entry) = self.json()?;
        let server = entry.ok_or_else(|| "not an entry".to_owned()).and_then(Raw::server);
        server.map_err(|what| Error::Unexpected { action, what })
    }

    /// Checks that this confirms the call.
    pub fn done(self) -> Result<(), Error> {
        self.json::<Done>().map(drop)
    }

    fn unexpected(&self, what: String) -> Error {
        Error::Unexpected { action: self.action.clone(), what }
    }

    fn failure(&self) -> Error {
        let (action, status, words) = (self.action.clone(), self.status, self.words());
        match (words, status) {
            (Some(message), 400) if message == CONFLICT => Error::Conflict { action, status, message },
            (_, 500) if self.changing => Error::Conflict {
                action,
                status,
                message: "Scalelite did not say why; it answers so when a change of its list collides with another one, \
                          with a poll of its own, or with a former save, and when its Redis is not available"
                    .to_owned(),
            },
            (Some(message), _) => Error::Http { action, status, message },
            (None, _) => Error::Http { action, status, message: usual_meaning(status).to_owned() },
        }
    }

    fn words(&self) -> Option<String> {
        serde_json::from_slice::<Worded>(&self.body).ok().map(|worded| untrusted::clean(&worded.error))
    }

    fn refusal(&self) -> Option<Error> {
        let text = Zeroizing::new(String::from_utf8_lossy(&self.body).into_owned());
        let refusal = envelope::open(&text, |_, _| {}).ok()?.err()?;
        Some(Error::Refused { action: self.action.clone(), key: refusal.key, message: refusal.message })
    }
}

/// Explains a status that comes without Scalelite's own words, mostly from a proxy in front of it.
fn usual_meaning(status: u16) -> &'static str {
    match status {
        300..=399 => "a redirect, which is not followed; configure the address that it leads to (https?)",
        403 => "Scalelite serves another host name (its URL_HOST), or a proxy forbids it",
        404 => "the web server there has no such path; is this the address of a Scalelite's API?",
        413 => "a proxy finds the request too large",
        429 => "a proxy finds these too many requests",
        500 => "an internal error; its Redis may not be available",
        502..=504 => "Scalelite is not available behind its proxy",
        _ => "no explanation came with it",
    }
}
