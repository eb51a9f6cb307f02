//! Prometheus, which is a client of the agent's: serves one connection of it by HTTP/1.
//!
//! A connection has one request, `GET` or `HEAD` of `/metrics`, and limits of time and of bytes.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use plan::prometheus::Format;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// The longest time for a request's headers to arrive.
const HEADERS: Duration = Duration::from_secs(5);
/// The longest time for a whole conversation.
const CONVERSATION: Duration = Duration::from_secs(10);
/// The most bytes of a request that are kept.
const BUFFER: usize = 16 * 1024;

/// Why a client got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unserved {
    /// It does not speak HTTP, or has gone.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// It took too long.
    #[error("its time is over")]
    Late,
}

/// Serves one connection. `ask` returns the text in the format that the client reads; `None` where there is none.
pub async fn serve<S, A, F>(stream: S, ask: A) -> Result<(), Unserved>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Format) -> F,
    F: Future<Output = Option<String>>,
{
    let service = service_fn(|request| {
        let refusal = refusal(&request);
        let format = format_of(&request);
        let answer = ask(format);
        async move {
            if let Some(refusal) = refusal {
                return Ok::<_, Infallible>(refusal);
            }
            Ok(match answer.await {
                Some(text) => response(StatusCode::OK, format.content_type(), text),
                None => plain(StatusCode::SERVICE_UNAVAILABLE, "the service ends\n"),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    timeout(CONVERSATION, connection).await.map_err(|_| Unserved::Late)?.map_err(Unserved::from)
}

/// Refuses everything but reading the metrics.
fn refusal(request: &Request<Incoming>) -> Option<Response<Full<Bytes>>> {
    if request.uri().path() != "/metrics" {
        return Some(plain(StatusCode::NOT_FOUND, "only /metrics is here\n"));
    }
    if [Method::GET, Method::HEAD].contains(request.method()) {
        return None;
    }
    let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(refusal)
}

fn format_of(request: &Request<Incoming>) -> Format {
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    Format::accepted(&accept.collect::<Vec<_>>().join(","))
}

fn plain(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", words)
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
