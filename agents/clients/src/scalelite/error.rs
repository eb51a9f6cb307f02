//! Failures of calls to Scalelite.

use super::answer::{DELETED_SERVER, UNKNOWN_SERVER};

/// A call to Scalelite that failed. `action` names the call, the entry and the Scalelite, e.g. `enable entry 5d0a of
/// Scalelite at https://scalelite.example.org`. No text here holds a secret or a URL with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configured address is not usable.
    #[error(
        "the Scalelite address is not an http or https URL with a host and without user name, query or fragment; \
         expected is e.g. https://scalelite.example.org"
    )]
    Address,
    /// No complete answer came; the action may have happened or not.
    #[error("cannot {action}: {words}")]
    Transport {
        /// The action.
        action: String,
        /// The cause.
        words: String,
    },
    /// The server's certificate is not trusted; nothing was sent.
    #[error("cannot {action}: {words}")]
    Distrusted {
        /// The action.
        action: String,
        /// The defect of the certificate.
        words: String,
    },
    /// Scalelite refused (HTTP 200 with `FAILED` in the body).
    #[error("cannot {action}: Scalelite refused: {message} ({key}){}", hint(key))]
    Refused {
        /// The action.
        action: String,
        /// The `messageKey`.
        key: String,
        /// The `message`.
        message: String,
    },
    /// The HTTP status is not the expected one; it comes from Scalelite or a proxy in front of it.
    #[error("cannot {action}: HTTP status {status}: {message}")]
    Http {
        /// The action.
        action: String,
        /// The status.
        status: u16,
        /// Scalelite's own words, or the usual meaning of the status.
        message: String,
    },
    /// The answer is not one that Scalelite gives.
    #[error("cannot {action}: the answer is {what}")]
    Unexpected {
        /// The action.
        action: String,
        /// A description of the actual answer.
        what: String,
    },
    /// Scalelite could not end all of the entry's meetings; each further call ends or forgets at least one more.
    #[error("Scalelite has not ended all meetings of entry {id} yet: {message}")]
    PanicIncomplete {
        /// The entry.
        id: String,
        /// Scalelite's message.
        message: String,
    },
    /// The change collided with another one, a poll of Scalelite's, or a former save on the same connection (seen by
    /// a client that was alone), or Scalelite's Redis is down. It may have happened or not, so list the servers again
    /// before repeating it.
    #[error("cannot {action}: {message} (HTTP status {status})")]
    Conflict {
        /// The action.
        action: String,
        /// The status: 400 when Scalelite names the cause, 500 when it does not.
        status: u16,
        /// Scalelite's message, or ours for a bare 500.
        message: String,
    },
}

impl Error {
    /// Reports whether listing the servers again and doing the rest may succeed without an operator's action. Never
    /// repeat a call without listing first: it may have happened already.
    pub fn is_retryable(&self) -> bool {
        if self.is_gone() {
            return true;
        }
        match self {
            Self::Transport { .. } | Self::PanicIncomplete { .. } | Self::Conflict { .. } => true,
            Self::Http { status, .. } => *status >= 500 || *status == 429,
            Self::Address | Self::Distrusted { .. } | Self::Refused { .. } | Self::Unexpected { .. } => false,
        }
    }

    /// Reports whether the call's entry does not exist (any more), so that the caller has to list and plan again.
    /// Scalelite words it differently when the entry is deleted during the call.
    pub fn is_gone(&self) -> bool {
        let Self::Http { status, message, .. } = self else { return false };
        match status {
            404 => message.starts_with(UNKNOWN_SERVER),
            400 => message.starts_with(DELETED_SERVER.0) && message.ends_with(DELETED_SERVER.1),
            _ => false,
        }
    }
}

fn hint(key: &str) -> &'static str {
    match key {
        "checksumError" => {
            "; SHA-256, SHA-512 and SHA-1 were tried, so this is the wrong load balancer secret (LOADBALANCER_SECRET)"
        }
        "unsupportedRequest" => "; this Scalelite may be older than 1.5.1, which has no such call",
        _ => "",
    }
}
