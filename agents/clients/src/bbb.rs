//! The BigBlueButton on this host: its property files ([`read_installation`]), the files with the host's address
//! ([`addresses`]) and its API ([`Bbb`]).

pub mod addresses;
pub mod answer;
pub mod checksum;
pub(crate) mod envelope;
mod error;
mod files;
mod installation;
mod meetings;
pub mod properties;
pub mod reader;
pub mod recordings;
pub mod turn_servers;

use secrecy::SecretString;

pub use self::checksum::Algorithm;
pub(crate) use self::checksum::query;
pub use self::error::Error;
pub use self::installation::{Installation, NotReady, PropertyFiles, read_installation};
pub use self::meetings::{Meeting, Meetings};

use self::answer::Answer;
use crate::calls::Service;
use crate::http::exchange::{self, Failure, Reply};

/// A client for the API of one BBB host. It neither waits nor retries: callers observe again.
#[derive(Clone, Debug)]
pub struct Bbb {
    client: reqwest::Client,
    api: String,
    secret: SecretString,
    checksum: Algorithm,
}

/// A BBB host's versions, which it tells without a checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The API's version, `2.0` for all BBB in use.
    pub api: String,
    /// BBB's own version, e.g. `3.0.4`; a host may be configured not to tell.
    pub bbb: Option<String>,
}

/// The name of the call that [`Bbb::meetings`] makes.
const LIST: &str = "getMeetings";
/// The name of the call that [`Bbb::send_chat_message`] makes.
const CHAT: &str = "sendChatMessage";

impl Bbb {
    /// Creates a client for the BBB at `server_url`, e.g. `https://vc-0123456789abcdef0.example.org`, with SHA-256
    /// checksums.
    pub fn new(client: reqwest::Client, server_url: &str, secret: SecretString) -> Self {
        let api = format!("{}/bigbluebutton/api", server_url.trim_end_matches('/'));
        Self { client, api, secret, checksum: Algorithm::default() }
    }

    /// Creates a client for this installation, with a checksum algorithm that it accepts.
    pub fn of(client: reqwest::Client, installation: &Installation) -> Self {
        let bbb = Self::new(client, &installation.server_url, installation.secret.clone());
        Self { checksum: installation.checksum, ..bbb }
    }

    /// Asks for the version: a cheap check that needs no secret.
    pub async fn version(&self) -> Result<Version, Error> {
        self.call("its version", &self.api).await?.version()
    }

    /// Lists all meetings that run on the host, breakout rooms included. Fails only where nothing can be said about
    /// them: figures that cannot be read, and an end that is missing, are part of the list.
    pub async fn meetings(&self) -> Result<Meetings, Error> {
        self.call(LIST, &self.url(LIST, "")).await?.meetings()
    }

    /// Proves that BBB runs and takes this client's checksums: makes a signed call and looks only whether it succeeds.
    /// The call is the one that lists the meetings, which needs no parameter, but its list may be unreadable.
    pub async fn prove(&self) -> Result<(), Error> {
        self.call(LIST, &self.url(LIST, "")).await?.done()
    }

    /// Writes into the public chat of a running meeting, as plain text (`sendChatMessage`, since BBB 3.0; BBB's
    /// documentation of its API). BBB refuses a blank message, a message of more than 500 characters and a sender of
    /// more than 255 (an emoji counts as two).
    pub async fn send_chat_message(
        &self,
        meeting_id: &str,
        message: &str,
        sender: &str,
    ) -> Result<(), Error> {
        let query = checksum::query(&[("meetingID", meeting_id), ("message", message), ("userName", sender)]);
        self.call(CHAT, &self.url(CHAT, &query)).await?.done()
    }

    /// Returns a URL with its checksum, which is a credential for this call.
    fn url(&self, call: &str, query: &str) -> String {
        format!("{}/{call}?{}", self.api, self.checksum.sign(call, query, &self.secret))
    }

    async fn call(&self, call: &'static str, url: &str) -> Result<Answer, Error> {
        let api = self.api.clone();
        match exchange::exchange(Service::Bbb, self.client.get(url)).await {
            Ok(Reply { status, location, body }) => Ok(Answer::new(api, call, status, location, body)),
            Err(Failure::Distrusted(words)) => Err(Error::Distrusted { api, words }),
            Err(Failure::Refused(words)) => Err(Error::NotReady { api, words }),
            Err(Failure::TooLarge(limit)) => Err(Error::TooLarge { api, call, limit }),
            Err(Failure::Lost(words)) => Err(Error::Transport { api, call, words }),
        }
    }
}
