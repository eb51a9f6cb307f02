//! The script of the floor: everything that can be prepared is prepared.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The placeholder for the token of the metadata service, from the answer to the request with [`Keep::Token`].
pub const TOKEN: &str = "{token}";
/// The placeholder for the id of the Scalelite entry, from the answer to the request with [`Keep::Id`].
pub const ID: &str = "{id}";

/// The requests of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// The certificate authorities that TLS trusts.
    pub authorities: PathBuf,
    /// The connections for the requests; each is opened at its first request and kept.
    pub connections: Vec<Connection>,
    /// The steps, in this order.
    pub steps: Vec<Step>,
}

/// A connection to a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// The address of the server.
    pub address: SocketAddr,
    /// The name in the server's certificate; none for plain HTTP.
    pub tls: Option<String>,
}

/// One step of a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// An HTTP request whose answer is awaited; a status other than 200, 201 and 404 is an error.
    Http {
        /// The index of the connection.
        connection: usize,
        /// The request as sent, except for [`TOKEN`] and [`ID`].
        request: String,
        /// What follows it, where a body is no text.
        body: Vec<u8>,
        /// The part of the answer that is needed later.
        keep: Option<Keep>,
    },
    /// DNS questions, sent together by UDP; all answers are awaited.
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
