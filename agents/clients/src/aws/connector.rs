//! The SDK's HTTP connector, on the same stack as all other clients, so that the process reads the roots of trust
//! once. The SDK's own HTTP client would read them again, from all of the system's hundreds of files.

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;

use crate::http::{self, ReadError};
use crate::untrusted;

/// The limit of an answer, in bytes, far above any real answer of the services that the agents call.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// An SDK connector that sends requests through this crate's HTTP client.
#[derive(Debug)]
pub(super) struct Connector(pub(super) reqwest::Client);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(exchange(self.0.clone(), request))
    }
}

async fn exchange(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    if request.body().bytes().is_none() {
        return Err(ConnectorError::user("a request whose body is not in memory".into()));
    }
    let request = request.map(|body| body.bytes().unwrap_or_default().to_vec());
    let request = reqwest::Request::try_from(request).map_err(failure)?;
    let response = client.execute(request).await.map_err(failure)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = http::read_body(response, BODY_LIMIT).await.map_err(unreadable)?;
    if is_excessive(&body) {
        return Err(ConnectorError::user("the answer is more XML than any real answer has".into()));
    }
    let mut answer = HttpResponse::new(status.into(), SdkBody::from(body));
    for (name, value) in &headers {
        // The SDK reads no header whose value is not text.
        if let Ok(value) = value.to_str() {
            answer.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(answer)
}

/// Reports whether the SDK's XML parser would fill the memory with this body: it keeps all attributes of an element.
fn is_excessive(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').starts_with('<')
        && untrusted::is_excessive(&text)
}

fn failure(error: reqwest::Error) -> ConnectorError {
    let error = error.without_url();
    match () {
        () if error.is_timeout() => ConnectorError::timeout(error.into()),
        () if error.is_builder() => ConnectorError::user(error.into()),
        () => ConnectorError::io(error.into()),
    }
}

fn unreadable(error: ReadError) -> ConnectorError {
    match error {
        ReadError::TooLong(_) => ConnectorError::user(error.into()),
        ReadError::Transport(_) => ConnectorError::io(error.into()),
    }
}
