//! Calls to a host's BBB API as Scalelite makes them, over real sockets that reach only the addresses that a test
//! allows.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roxmltree::Document;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::checksum::{Algorithm, form, sign};

/// How long Scalelite waits for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time for connecting (`CONNECT_TIMEOUT`).
    pub connect: Duration,
    /// The time for the answer (`RESPONSE_TIMEOUT`). Ruby's client repeats a GET once when it has passed, so that a
    /// host that accepts and never answers costs twice this time.
    pub response: Duration,
}

impl Default for Limits {
    /// Returns Scalelite's defaults, as observed on 1.8.5.
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), response: Duration::from_secs(10) }
    }
}

/// The addresses of host names, and the authority that TLS trusts. Clones share one table.
///
/// Names and addresses that are not in the table are unreachable, except loopback addresses and `localhost`: so
/// nothing leaves the networks that a test knows.
#[derive(Clone, Default)]
pub struct Network {
    routes: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
    tls: Option<TlsConnector>,
    limits: Limits,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("routes", &self.routes).field("tls", &self.tls.is_some()).finish()
    }
}

/// The reason why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// There was no answer, or one that is not BBB's.
    Transport(String),
    /// The host answered `FAILED`.
    Refused {
        /// `messageKey`.
        key: String,
        /// `message`.
        message: String,
    },
}

impl Network {
    /// Creates a network without TLS: hosts with an `https` URL are unreachable.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Creates a network that trusts the certificate authority of this PEM text; see [`crate::tls::Authority::pem`].
    pub fn trusting(pem: &str) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))), ..Self::default() })
    }

    /// Returns the same network for a client with these limits.
    #[must_use]
    pub fn within(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// Leads connections for `host` (as in a URL, with or without a port) to this address: one on loopback, or in a
    /// network that the test has made.
    pub fn route(&self, host: &str, address: SocketAddr) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.insert(host.to_ascii_lowercase(), address);
    }

    /// Makes the host unreachable again.
    pub fn forget(&self, host: &str) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).remove(&host.to_ascii_lowercase());
    }

    fn address(&self, host: &str, port: u16) -> Result<SocketAddr> {
        let host = host.to_ascii_lowercase();
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = routes.get(&format!("{host}:{port}")).or_else(|| routes.get(&host)).copied();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let itself = if bare == "localhost" {
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        } else {
            bare.parse().ok().map(|address| SocketAddr::new(address, port))
        };
        known.or(itself.filter(|address| address.ip().is_loopback())).ok_or_else(|| {
            Error::new(ErrorKind::HostUnreachable, format!("nothing is known about host {host}"))
        })
    }

    /// Calls the API below `base` (`.../bigbluebutton/api`) and returns the XML of a `SUCCESS`.
    pub async fn call(
        &self,
        base: &str,
        secret: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> std::result::Result<String, CallError> {
        let query = sign(Algorithm::Sha256, action, &form(parameters), secret);
        let url = format!("{}/{action}?{query}", base.trim_end_matches('/'));
        let body = self.get(&url).await.map_err(|error| CallError::Transport(error.to_string()))?;
        judge(body)
    }

    async fn get(&self, url: &str) -> Result<String> {
        // The parser's message may show the URL with its checksum, so only the kind of error is reported.
        let uri: hyper::Uri = url.parse().map_err(|_| Error::from(ErrorKind::InvalidInput))?;
        let (tls, default_port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(self.tls.as_ref().ok_or(ErrorKind::Unsupported)?), 443),
            _ => return Err(ErrorKind::InvalidInput.into()),
        };
        let authority = uri.authority().ok_or(ErrorKind::InvalidInput)?;
        let address = self.address(authority.host(), authority.port_u16().unwrap_or(default_port))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        let name = match tls {
            None => None,
            Some(tls) => {
                let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
                Some((tls, ServerName::try_from(host).map_err(|_| ErrorKind::InvalidInput)?))
            }
        };
        match self.once(address, name.clone(), &request).await? {
            Some(raw) => body(&raw),
            None => {
                let raw = self.once(address, name, &request).await?;
                body(&raw.ok_or(ErrorKind::TimedOut)?)
            }
        }
    }

    /// Sends a request and returns the answer; none when it does not come in time.
    async fn once(
        &self,
        address: SocketAddr,
        tls: Option<(&TlsConnector, ServerName<'static>)>,
        request: &str,
    ) -> Result<Option<Vec<u8>>> {
        let Limits { connect, response } = self.limits;
        let stream = timeout(connect, TcpStream::connect(address)).await??;
        let answer = match tls {
            None => timeout(response, exchange(stream, request)).await,
            Some((tls, name)) => {
                let stream = timeout(connect, tls.connect(name, stream)).await??;
                timeout(response, exchange(stream, request)).await
            }
        };
        answer.ok().transpose()
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    Ok(raw)
}

/// Returns the body of a complete answer with any status, which Scalelite ignores.
fn body(raw: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(raw);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let length = head.lines().skip(1).filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    if length.is_some_and(|length| body.len() < length) {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(body.to_owned())
}

fn judge(body: String) -> std::result::Result<String, CallError> {
    let (code, key, message) = {
        let texts = Texts::read(&body);
        let text = |name| texts.first(name).unwrap_or_default();
        (texts.first("returncode").ok_or_else(not_bbb)?, text("messageKey"), text("message"))
    };
    match code.as_str() {
        "SUCCESS" => Ok(body),
        _ => Err(CallError::Refused { key, message }),
    }
}

/// An answer of BBB's as Scalelite reads it: its XML parser (Nokogiri's) makes what it can of a text that is cut off or
/// not well-formed.
pub(crate) enum Texts<'a> {
    /// A well-formed text.
    Whole(Document<'a>),
    /// Any other text.
    Parts(&'a str),
}

impl<'a> Texts<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        Document::parse(text).map_or(Self::Parts(text), Self::Whole)
    }

    /// Returns the text of the first element with this name.
    pub(crate) fn first(&self, name: &str) -> Option<String> {
        match self {
            Self::Whole(document) => {
                let node = document.descendants().find(|node| node.has_tag_name(name))?;
                Some(node.text().unwrap_or_default().to_owned())
            }
            Self::Parts(text) => {
                let (_, rest) = text.split_once(&format!("<{name}>"))?;
                rest.split_once('<').map(|(text, _)| text.to_owned())
            }
        }
    }

    /// Returns the texts of all elements with this name.
    pub(crate) fn all(&self, name: &str) -> Vec<Texts<'_>> {
        match self {
            Self::Whole(document) => {
                let nodes = document.descendants().filter(|node| node.has_tag_name(name));
                let source = document.input_text();
                nodes.filter_map(|node| source.get(node.range())).map(Texts::Parts).collect()
            }
            Self::Parts(text) => text.split(&format!("<{name}>")).skip(1).map(Texts::Parts).collect(),
        }
    }
}

fn not_bbb() -> CallError {
    CallError::Transport("the response did not include a returncode".to_owned())
}
