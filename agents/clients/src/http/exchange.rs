//! One HTTP exchange for the clients of BBB and Scalelite. Their URLs carry reusable checksums, so no error created
//! here contains a URL.

use std::io::ErrorKind;

use reqwest::{RequestBuilder, StatusCode};

use crate::http;

/// The most bytes of an answer: more than a fleet with thousands of meetings sends.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// An exchange that got no answer.
pub(crate) struct Failure {
    /// The cause, for a person.
    pub(crate) words: String,
    /// Whether the connection was refused because nothing listens there.
    pub(crate) refused: bool,
    /// Whether the server's certificate is not trusted.
    pub(crate) distrusted: bool,
}

/// Sends the request and reads the whole answer.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Failure> {
    let response = request.send().await.map_err(|error| {
        let (refused, distrusted) = (connection_refused(&error), http::is_distrust(&error));
        Failure { words: http::words(error), refused, distrusted }
    })?;
    let status = response.status();
    match http::read_body(response, MAX_BODY).await {
        Ok(body) => Ok((status, body)),
        Err(error) => Err(Failure { words: error.to_string(), refused: false, distrusted: false }),
    }
}

fn connection_refused(error: &reqwest::Error) -> bool {
    let mut io_errors = http::layers(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io_errors.any(|error| error.kind() == ErrorKind::ConnectionRefused)
}
