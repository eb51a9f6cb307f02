//! HTTP and TLS for every stand-in: accepting connections, faults, the journal. A stand-in only has to answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::faults::{Fault, Faults};
use crate::journal::Journal;
use crate::patience::awaited;

/// An answer with its whole body in memory.
pub type Response = hyper::Response<Full<Bytes>>;

/// A request whose whole body has been read.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method: `GET`, `POST`, ...
    pub method: String,
    /// The path as sent, still percent-encoded.
    pub path: String,
    /// The query as sent, still percent-encoded, without the `?`; empty when there is none.
    pub query: String,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// The body as sent.
    pub body: Bytes,
}

impl Request {
    /// Returns the value of a header, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The name of a stand-in, as used by faults, by the journal and by the control API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceName {
    /// The instance metadata service, version 2.
    Imds,
    /// Route 53's API.
    Route53,
    /// EC2's query API.
    Ec2,
    /// EC2 Auto Scaling's query API.
    AutoScaling,
    /// CloudWatch's CBOR API.
    CloudWatch,
    /// Secrets Manager's JSON API.
    SecretsManager,
    /// STS's query API.
    Sts,
    /// S3's REST API.
    S3,
    /// CloudFormation's query API.
    CloudFormation,
    /// Scalelite's management API.
    Scalelite,
    /// The API of the BBB host itself.
    Bbb,
}

/// A stand-in for one service.
pub trait Service: Send + Sync + 'static {
    /// Returns the stand-in's name.
    fn name(&self) -> ServiceName;
    /// Returns the journal's name for this request, e.g. `ChangeResourceRecordSets`, `addServer`, `PUT
    /// /latest/api/token`.
    fn action(&self, request: &Request) -> String;
    /// Returns IAM's name for the action, without the service's prefix, where it differs.
    fn permission(&self, request: &Request) -> String {
        self.action(request)
    }
    /// Returns the answer when no fault is planned for the request.
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response>;
    /// Returns an error in this service's own format: `code` is e.g. `Throttling`; services without codes ignore it.
    fn error(&self, status: u16, code: &str) -> Response;
}

/// A function that chooses the stand-in for a request: one listener may serve many (AWS), or one.
pub type Route = Arc<dyn Fn(&Request) -> Arc<dyn Service> + Send + Sync>;

/// The delays of a service that is far away. They go by while the client waits for each of the three, so a client that
/// connects early waits no longer when it asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// The delay of a new connection. A client's kernel connects at once, so the first thing after that is late.
    pub connect: Duration,
    /// The delay of a TLS handshake.
    pub handshake: Duration,
    /// The delay of each answer.
    pub answer: Duration,
}

impl Delay {
    /// Returns the delays of a service at this distance: one round trip each.
    pub fn round_trip(time: Duration) -> Self {
        Self { connect: time, handshake: time, answer: time }
    }
}

/// A listener that can be closed and opened again on the same address, so that connections are really refused.
#[derive(Clone, Debug)]
pub struct Gate {
    is_open: watch::Sender<bool>,
    /// The number of connections so far.
    connections: watch::Sender<usize>,
    hang_up: watch::Sender<()>,
}

impl Gate {
    /// Listens on `address` (port 0 chooses one) and accepts connections until the last clone of the gate is dropped.
    /// With `open` false it refuses connections until [`Gate::open`].
    pub async fn listen(
        address: SocketAddr,
        open: bool,
        tls: Option<TlsAcceptor>,
        route: Route,
        faults: Faults,
        journal: Journal,
    ) -> std::io::Result<(SocketAddr, Self)> {
        Self::listen_far_away(address, open, tls, route, faults, journal, Delay::default()).await
    }

    /// The same for a service with these delays.
    pub async fn listen_far_away(
        address: SocketAddr,
        open: bool,
        tls: Option<TlsAcceptor>,
        route: Route,
        faults: Faults,
        journal: Journal,
        delay: Delay,
    ) -> std::io::Result<(SocketAddr, Self)> {
        // Closed from the first moment: a connection that is reset is not the same as one that is refused.
        let (address, listener, kept) = match open {
            true => {
                let listener = TcpListener::bind(address).await?;
                (listener.local_addr()?, Some(listener), None)
            }
            false => {
                let kept = keep(address)?;
                (kept.local_addr()?, None, Some(kept))
            }
        };
        let (is_open, receiver) = watch::channel(open);
        let (connections, hang_up) = (watch::Sender::new(0), watch::Sender::new(()));
        let server = Arc::new(Server {
            tls,
            route,
            faults,
            journal,
            delay,
            connections: connections.clone(),
            hang_up: hang_up.clone(),
        });
        tokio::spawn(accept_while_open(address, listener, kept, receiver, server));
        Ok((address, Self { is_open, connections, hang_up }))
    }

    /// Accepts connections from now on.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Refuses connections, as a service that is not running does. Requests under way are still answered.
    pub fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// Closes all open connections, as a service does with idle ones.
    pub fn hang_up(&self) {
        self.hang_up.send_replace(());
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until this many connections have been opened in all.
    pub async fn connected(&self, times: usize) {
        let mut connections = self.connections.subscribe();
        let what = || format!("connection {times}");
        let came = || format!("{} have come", self.connections());
        // The sender lives in self, so waiting cannot fail.
        let _ = awaited(what, came, connections.wait_for(|so_far| *so_far >= times)).await;
    }
}

struct Server {
    tls: Option<TlsAcceptor>,
    route: Route,
    faults: Faults,
    journal: Journal,
    delay: Delay,
    connections: watch::Sender<usize>,
    hang_up: watch::Sender<()>,
}

/// The number of connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Reserves an address without listening: connections are refused, and no other program gets the address meanwhile.
fn keep(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept_while_open(
    address: SocketAddr,
    mut listener: Option<TcpListener>,
    mut kept: Option<TcpSocket>,
    mut open: watch::Receiver<bool>,
    server: Arc<Server>,
) {
    loop {
        if !*open.borrow_and_update() {
            if listener.take().is_some() {
                kept = keep(address).ok();
            }
            if open.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(current) = listener.as_ref() else {
            // Another process may hold the port for a moment: yield and try again until it is free.
            match kept.take().map_or_else(|| keep(address), Ok).and_then(|kept| kept.listen(BACKLOG)) {
                Ok(listening) => listener = Some(listening),
                Err(_) => tokio::task::yield_now().await,
            }
            continue;
        };
        tokio::select! {
            accepted = current.accept() => if let Ok((stream, _)) = accepted {
                server.connections.send_modify(|connections| *connections += 1);
                let (server, mut hang_up) = (Arc::clone(&server), server.hang_up.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(stream, server) => {}
                        Ok(()) = hang_up.changed() => {}
                    }
                });
            },
            changed = open.changed() => if changed.is_err() { return },
        }
    }
}

async fn connection(stream: TcpStream, server: Arc<Server>) {
    // Replies are small, and benchmarks measure latency.
    let _ = stream.set_nodelay(true);
    pause(server.delay.connect).await;
    match &server.tls {
        None => exchange(stream, Arc::clone(&server)).await,
        // A client that does not trust our authority ends the handshake, which is the expected answer and not an error
        // here.
        Some(tls) => {
            pause(server.delay.handshake).await;
            if let Ok(stream) = tls.accept(stream).await {
                exchange(stream, Arc::clone(&server)).await;
            }
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, server: Arc<Server>) {
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { answer(server, request).await }
    });
    // An error here means that a fault closed the connection, or that the client went away.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An error that ends a connection without an answer.
#[derive(Debug)]
struct ConnectionClosed;

impl std::fmt::Display for ConnectionClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed by a planned fault")
    }
}

impl std::error::Error for ConnectionClosed {}

/// Reads a request and answers it. A request that was read is carried out even when its client goes away meanwhile:
/// real services do not notice that before they answer.
async fn answer(
    server: Arc<Server>,
    request: hyper::Request<Incoming>,
) -> Result<Response, ConnectionClosed> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| ConnectionClosed)?.to_bytes();
    let request = Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    let work = tokio::spawn(async move { server.act(request).await });
    work.await.unwrap_or(Err(ConnectionClosed))
}

impl Server {
    async fn act(&self, request: Request) -> Result<Response, ConnectionClosed> {
        let service = (self.route)(&request);
        let (name, action) = (service.name(), service.action(&request));
        self.journal.arrived(name, &request);
        pause(self.delay.answer).await;
        let result = match self.faults.take(name, &action) {
            None => Ok(service.answer(&request).await),
            Some(Fault::Error { status, code }) => Ok(service.error(status, &code)),
            Some(Fault::Close) => Err(ConnectionClosed),
            Some(Fault::LoseReply) => {
                service.answer(&request).await;
                Err(ConnectionClosed)
            }
            Some(Fault::ErrorAfter { status, code }) => {
                service.answer(&request).await;
                Ok(service.error(status, &code))
            }
            Some(Fault::HoldReply) => {
                let response = service.answer(&request).await;
                self.journal.record(name, &action, Some(response.status().as_u16()));
                self.faults.hold().await;
                return Ok(response);
            }
            Some(Fault::Hang) => {
                self.journal.record(name, &action, None);
                std::future::pending::<Infallible>().await;
                unreachable!("a pending future never ends")
            }
        };
        self.journal.record(name, &action, result.as_ref().ok().map(|response| response.status().as_u16()));
        result
    }
}

/// Returns an answer with a status, a content type and a body.
pub fn reply(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = hyper::header::HeaderValue::from_str(content_type) {
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, value);
    }
    response
}

/// Returns a JSON answer.
pub fn json(status: u16, body: &serde_json::Value) -> Response {
    reply(status, "application/json", body.to_string())
}

/// Waits for this time; without one there is not even a timer, which a clock that is moved by hand would wait for.
pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
