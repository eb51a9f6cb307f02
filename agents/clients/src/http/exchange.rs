//! One HTTP exchange for the clients of BBB and Scalelite. Their URLs carry reusable checksums, so no error created
//! here contains a URL.

use std::io::ErrorKind;

use reqwest::header::LOCATION;
use reqwest::{RequestBuilder, StatusCode};

use crate::calls::{self, Outcome, Service};
use crate::http::{self, ReadError};

/// The most bytes of an answer: more than a fleet with thousands of meetings sends.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// A whole answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The `Location` header.
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// An exchange that got no whole answer. The texts are for people.
pub(crate) enum Failure {
    /// The connection was refused because nothing listens there.
    Refused(String),
    /// The server's certificate is not trusted.
    Distrusted(String),
    /// The answer has more bytes than this.
    TooLarge(usize),
    /// Another cause.
    Lost(String),
}

impl Failure {
    /// Returns the cause, for a person.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Refused(words) | Self::Distrusted(words) | Self::Lost(words) => words,
            Self::TooLarge(limit) => ReadError::TooLong(limit).to_string(),
        }
    }
}

/// Sends the request to this service and reads the whole answer.
pub(crate) async fn exchange(service: Service, request: RequestBuilder) -> Result<Reply, Failure> {
    let reply = send(request).await;
    let outcome = reply.as_ref().map_or(Outcome::Failed, |reply| Outcome::of(reply.status.as_u16()));
    calls::count(service, outcome);
    reply
}

async fn send(request: RequestBuilder) -> Result<Reply, Failure> {
    let response = request.send().await.map_err(|error| {
        let (refused, distrusted) = (connection_refused(&error), http::is_distrust(&error));
        let words = http::words(error);
        match (distrusted, refused) {
            (true, _) => Failure::Distrusted(words),
            (_, true) => Failure::Refused(words),
            _ => Failure::Lost(words),
        }
    })?;
    let status = response.status();
    let location = response.headers().get(LOCATION).and_then(|to| Some(to.to_str().ok()?.to_owned()));
    match http::read_body(response, MAX_BODY).await {
        Ok(body) => Ok(Reply { status, location, body }),
        Err(ReadError::TooLong(limit)) => Err(Failure::TooLarge(limit)),
        Err(ReadError::Transport(words)) => Err(Failure::Lost(words)),
    }
}

fn connection_refused(error: &reqwest::Error) -> bool {
    let mut io_errors = http::layers(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io_errors.any(|error| error.kind() == ErrorKind::ConnectionRefused)
}
