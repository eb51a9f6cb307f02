//! Why the authoritative name servers gave no usable answer.

use thiserror::Error;

use super::system;

/// A question to the authoritative servers, or one of them, that got no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The system's resolver could not say which servers are authoritative.
    #[error("cannot find the name servers of {domain}: {source}")]
    Discovery {
        /// The domain.
        domain: String,
        /// The resolver's error.
        source: system::Error,
    },
    /// The domain is not below any zone that has name servers.
    #[error("cannot find the name servers of {domain}: {what}")]
    NoZone {
        /// The domain.
        domain: String,
        /// A description of the actual finding.
        what: String,
    },
    /// None of the server's addresses answered.
    #[error("{server} did not answer: {why}")]
    Silent {
        /// The server, as shown to people.
        server: String,
        /// The last failure.
        why: String,
    },
    /// The server has no address, so it cannot be asked.
    #[error("{server} cannot be asked: {why}")]
    NoAddress {
        /// The server's name.
        server: String,
        /// The resolver's error.
        why: String,
    },
    /// The server answered with an error, e.g. REFUSED or SERVFAIL.
    #[error("{server} answered {code} for {name}")]
    Refused {
        /// The server.
        server: String,
        /// The response code.
        code: String,
        /// The name asked for.
        name: String,
    },
    /// The server is not authoritative for the name: a wrong server, or the name is delegated.
    #[error("{server} is not authoritative for {name}")]
    NotAuthoritative {
        /// The server.
        server: String,
        /// The name asked for.
        name: String,
    },
}
