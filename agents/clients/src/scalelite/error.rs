//! Why Scalelite did not do what was asked.

use super::answer::{DELETED_SERVER, UNKNOWN_SERVER};

/// Why a call to Scalelite failed. `action` says what was asked, of which entry and of which Scalelite, e.g. `enable
/// entry 5d0a of Scalelite at https://scalelite.example.org`. No text here holds a secret or a URL with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configured address is none.
    #[error(
        "the Scalelite address is not an http or https URL with a host and without user name, query or fragment; \
         expected is e.g. https://scalelite.example.org"
    )]
    Address,
    /// No whole answer came; what was asked may have happened or not.
    #[error("cannot {action}: {words}")]
    Transport {
        /// What was asked.
        action: String,
        /// The cause.
        words: String,
    },
    /// Somebody answered whose certificate is not trusted; nothing was sent.
    #[error("cannot {action}: {words}")]
    Distrusted {
        /// What was asked.
        action: String,
        /// What is wrong with the certificate.
        words: String,
    },
    /// Scalelite answered that it will not (HTTP 200 with `FAILED` inside).
    #[error("cannot {action}: Scalelite refused: {message} ({key}){}", hint(key))]
    Refused {
        /// What was asked.
        action: String,
        /// The `messageKey`.
        key: String,
        /// The `message`.
        message: String,
    },
    /// Another HTTP status than expected, from Scalelite or a proxy before it.
    #[error("cannot {action}: HTTP status {status}: {message}")]
    Http {
        /// What was asked.
        action: String,
        /// The status.
        status: u16,
        /// Scalelite's own words, or what the status usually means here.
        message: String,
    },
    /// The answer is none that Scalelite gives.
    #[error("cannot {action}: the answer is {what}")]
    Unexpected {
        /// What was asked.
        action: String,
        /// What came instead.
        what: String,
    },
    /// Scalelite could not end all of the entry's meetings; each further call ends or forgets at least one more.
    #[error("Scalelite has not ended all meetings of entry {id} yet: {message}")]
    PanicIncomplete {
        /// The entry.
        id: String,
        /// Scalelite's words.
        message: String,
    },
    /// A change collided with somebody else's, or Scalelite's Redis is away: it may have happened or not, so list again
    /// before repeating it.
    #[error("cannot {action}: {message} (HTTP status {status})")]
    Conflict {
        /// What was asked.
        action: String,
        /// 400 when Scalelite says what it is, 500 when it does not.
        status: u16,
        /// Scalelite's words, or ours for a bare 500.
        message: String,
    },
}

impl Error {
    /// Whether listing the servers again and doing what is left may succeed without anybody's doing. Never repeat a
    /// call without that look: it may have happened already.
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

    /// Whether the entry that the call was for does not exist (any more): whoever planned it looks again. Scalelite says it
    /// otherwise when the entry goes while it works on the call.
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
            "; this is the wrong load balancer secret (LOADBALANCER_SECRET), or Scalelite does not allow SHA-256 \
             (LOADBALANCER_CHECKSUM_ALGORITHM)"
        }
        "unsupportedRequest" => "; this Scalelite may be older than 1.5.1, which has no such call",
        _ => "",
    }
}
