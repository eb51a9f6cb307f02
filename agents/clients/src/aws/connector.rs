//! The SDK's HTTP connector, on the same stack as all other clients, so that the process reads the roots of trust
//! once. The SDK's own HTTP client would read them again, from all of the system's hundreds of files.

use std::sync::{Arc, OnceLock};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use tokio::sync::Mutex;

use super::circumstances::{Circumstances, Issued};
use crate::calls::{self, Outcome, Service};
use crate::http::{self, ReadError};
use crate::xml;

/// The limit of an answer, in bytes, far above any real answer of the services that the agents call.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// The header of a request that is not sent: it only names the endpoint to which a connection is opened.
pub(super) const OPEN_ONLY: &str = "x-agent-open-only";

/// The connection that is opened before its first request. That one waits for it, instead of opening another.
#[derive(Clone, Debug, Default)]
struct Opening(Arc<(OnceLock<String>, Mutex<()>)>);

impl Opening {
    async fn open(&self, client: &reqwest::Client, request: &HttpRequest) {
        let (host, busy) = &*self.0;
        let _busy = busy.lock().await;
        host.get_or_init(|| host_of(request));
        http::open(client, request.uri()).await;
    }

    async fn wait(&self, request: &HttpRequest) {
        let (host, busy) = &*self.0;
        if host.get().is_some_and(|host| *host == host_of(request)) {
            drop(busy.lock().await);
        }
    }
}

fn host_of(request: &HttpRequest) -> String {
    let uri: Option<reqwest::Url> = request.uri().parse().ok();
    uri.map(|uri| uri.authority().to_owned()).unwrap_or_default()
}

/// An SDK connector that sends requests through this crate's HTTP client.
#[derive(Debug)]
pub(super) struct Connector {
    client: reqwest::Client,
    issued: Issued,
    opening: Opening,
}

impl Connector {
    /// Creates a connector for requests that are signed with keys which were issued then.
    pub(super) fn new(client: reqwest::Client, issued: Issued) -> Self {
        Self { client, issued, opening: Opening::default() }
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, issued, opening) = (self.client.clone(), self.issued.clone(), self.opening.clone());
        HttpConnectorFuture::new(async move {
            if request.headers().get(OPEN_ONLY).is_some() {
                opening.open(&client, &request).await;
                return Err(ConnectorError::user("a request that is not sent".into()));
            }
            opening.wait(&request).await;
            let service = request.headers().get("authorization").and_then(Service::signed_for);
            let answer = exchange(client, issued, request).await;
            if let Some(service) = service {
                let outcome =
                    answer.as_ref().map_or(Outcome::Failed, |answer| Outcome::of(answer.status().as_u16()));
                calls::count(service, outcome);
            }
            answer
        })
    }
}

async fn exchange(
    client: reqwest::Client,
    issued: Issued,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
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
    Circumstances::note(&mut answer, &issued);
    Ok(answer)
}

/// Reports whether the SDK's XML parser would fill the memory with this body.
fn is_excessive(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').starts_with('<')
        && xml::has_long_tag(&text)
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
