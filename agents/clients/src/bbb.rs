//! The BigBlueButton on this host: its property files ([`read_installation`]) and its API ([`Bbb`]).

pub mod answer;
pub mod checksum;
pub(crate) mod envelope;
mod files;
mod installation;
pub mod properties;
pub mod reader;
pub mod recordings;

use secrecy::SecretString;

pub use self::checksum::Algorithm;
pub use self::installation::{Installation, NotReady, PropertyFiles, read_installation};

use self::answer::Answer;
use crate::http::exchange;

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

/// A meeting that runs on the host. The agent deliberately does not read its name and its passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The external id, as front ends use it.
    pub id: String,
    /// Everyone in it, moderators included.
    pub participants: u32,
    /// Participants with a microphone, if BBB says so.
    pub voices: Option<u32>,
    /// Cameras that are on, if BBB says so.
    pub videos: Option<u32>,
    /// Whether it is a breakout room, which ends with its parent meeting at the latest.
    pub breakout: bool,
}

/// The name of the call that [`Bbb::send_chat_message`] makes.
const CHAT: &str = "sendChatMessage";

/// A call to the BBB API that failed. No text here holds a secret, a checksum, a meeting's name or a chat message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// BBB is not up (yet): nothing listens, or nginx answers in its place.
    #[error("BigBlueButton at {api} is not ready: {words}")]
    NotReady {
        /// The API's address.
        api: String,
        /// The cause.
        words: String,
    },
    /// The server's certificate is not trusted or is for another name; nothing was sent.
    #[error("BigBlueButton at {api} cannot be asked: {words}")]
    Distrusted {
        /// The API's address.
        api: String,
        /// The defect of the certificate.
        words: String,
    },
    /// BBB refused the call.
    #[error("BigBlueButton at {api} refused {call}: {message} ({key}){}", hint(key))]
    Refused {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// The `messageKey`.
        key: String,
        /// The `message`.
        message: String,
    },
    /// This BBB is too old for the call.
    #[error("BigBlueButton at {api} has no {call}: {words}")]
    Unsupported {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// The evidence.
        words: String,
    },
    /// No complete answer came.
    #[error("cannot reach BigBlueButton at {api} for {call}: {words}")]
    Transport {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// The cause.
        words: String,
    },
    /// The answer is not one that BBB gives.
    #[error("BigBlueButton at {api} answered {call} with {what}; is this the address of a BigBlueButton?")]
    Unexpected {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// A description of the actual answer.
        what: String,
    },
}

impl Error {
    /// Reports whether BBB itself refused the call.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Reports whether this BBB is too old for the call.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }

    /// Reports whether the same call may succeed later without an operator's action. A wrong checksum may: BBB takes a
    /// new secret only when it restarts, which an installer does a while after writing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotReady { .. } | Self::Transport { .. } => true,
            Self::Refused { key, .. } => key == "checksumError",
            Self::Distrusted { .. } | Self::Unsupported { .. } | Self::Unexpected { .. } => false,
        }
    }
}

fn hint(key: &str) -> &'static str {
    match key {
        "checksumError" => {
            ": BigBlueButton runs with another secret than its property files have, or without this checksum \
             algorithm; restart it (bbb-conf --restart)"
        }
        _ => "",
    }
}

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

    /// Lists all meetings that run on the host, breakout rooms included.
    pub async fn meetings(&self) -> Result<Vec<Meeting>, Error> {
        const CALL: &str = "getMeetings";
        self.call(CALL, &self.url(CALL, "")).await?.meetings()
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
        let (status, body) = match exchange::exchange(self.client.get(url)).await {
            Ok(answer) => answer,
            Err(failure) if failure.distrusted => {
                return Err(Error::Distrusted { api, words: failure.words });
            }
            Err(failure) if failure.refused => return Err(Error::NotReady { api, words: failure.words }),
            Err(failure) => return Err(Error::Transport { api, call, words: failure.words }),
        };
        Ok(Answer::new(api, call, status, body))
    }
}
