//! What the floor does: everything that can be prepared is prepared.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// In a request: the token of the metadata service, from the answer to the request that has [`Keep::Token`].
pub const TOKEN: &str = "{token}";
/// In a request: the id of the Scalelite entry, from the answer to the request that has [`Keep::Id`].
pub const ID: &str = "{id}";

/// The requests of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// The certificate authorities that TLS trusts.
    pub authorities: PathBuf,
    /// Where requests go; each connection is opened at its first request and kept.
    pub connections: Vec<Connection>,
    /// What is asked, in this order.
    pub steps: Vec<Step>,
}

/// A connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Where to.
    pub address: SocketAddr,
    /// The name in the server's certificate; none for plain HTTP.
    pub tls: Option<String>,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// An HTTP request, whose answer is awaited; another status than 200, 201 or 404 is an error.
    Http {
        /// The index of the connection.
        connection: usize,
        /// The request as sent, but for [`TOKEN`] and [`ID`].
        request: String,
        /// What of the answer is needed later.
        keep: Option<Keep>,
    },
    /// DNS questions, sent at once by UDP; all answers are awaited.
    Dns(Vec<Question>),
}

/// A part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// The whole body.
    Token,
    /// The value of the first JSON key `id`.
    Id,
}

/// A DNS question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The server.
    pub server: SocketAddr,
    /// The whole message.
    pub message: Vec<u8>,
}
