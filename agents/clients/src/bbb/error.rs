//! Failures of calls to BBB's API.

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
    /// The answer ends before it says what was asked.
    #[error(
        "BigBlueButton at {api} answered {call} with {what}, as it does while one of its templates fails; if this \
         lasts, restart it (bbb-conf --restart)"
    )]
    CutOff {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// A description of the answer.
        what: String,
    },
    /// The answer is longer than this client reads.
    #[error(
        "BigBlueButton at {api} answered {call} with more than {limit} bytes, which is the most that the agent reads \
         and more than the people on one host explain; look at what answers there"
    )]
    TooLarge {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The web server wants the call to be made elsewhere.
    #[error(
        "BigBlueButton at {api} answered {call} with a redirect to {to} (HTTP status {status}), which the agent does \
         not follow, since the call's checksum would go there too; set the address that answers (bbb-conf --setip), \
         or take the redirect out of nginx"
    )]
    Redirected {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The scheme and the host to which the redirect leads, or a description.
        to: String,
    },
    /// The web server has a rule against this client.
    #[error(
        "BigBlueButton at {api} answered {call} with HTTP status {status}: a rule of nginx (allow, deny, auth_basic) \
         keeps the agent out; let it admit this host's own addresses to /bigbluebutton/api"
    )]
    Forbidden {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// The web server got too many requests.
    #[error(
        "BigBlueButton at {api} answered {call} with HTTP status 429: nginx finds these too many requests \
         (limit_req); if this lasts, exempt this host's own addresses for /bigbluebutton/api"
    )]
    Throttled {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
    },
    /// The answer is not one that BBB gives.
    #[error("BigBlueButton at {api} answered {call} with {what}")]
    Unexpected {
        /// The API's address.
        api: String,
        /// The call.
        call: &'static str,
        /// A description of the answer.
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
            Self::NotReady { .. }
            | Self::Transport { .. }
            | Self::CutOff { .. }
            | Self::TooLarge { .. }
            | Self::Throttled { .. } => true,
            Self::Refused { key, .. } => key == "checksumError",
            Self::Distrusted { .. }
            | Self::Unsupported { .. }
            | Self::Redirected { .. }
            | Self::Forbidden { .. }
            | Self::Unexpected { .. } => false,
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
