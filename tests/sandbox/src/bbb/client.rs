//! Calls to a host's BBB API as Scalelite makes them, over real sockets that reach only the addresses that a test
//! allows.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::checksum::{Algorithm, form, sign};

/// Scalelite's default limits for connecting and for the answer (observed on 1.8.5).
const CONNECT: Duration = Duration::from_secs(5);
const RESPONSE: Duration = Duration::from_secs(10);

/// The addresses of host names, and the authority that TLS trusts. Clones share one table.
///
/// Names and addresses that are not in the table are unreachable, except loopback addresses and `localhost`: so
/// nothing leaves the networks that a test knows.
#[derive(Clone, Default)]
pub struct Network {
    routes: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
    tls: Option<TlsConnector>,
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
        let stream = timeout(CONNECT, TcpStream::connect(address)).await??;
        let raw = match tls {
            None => timeout(RESPONSE, exchange(stream, &request)).await??,
            Some(tls) => {
                let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(host).map_err(|_| ErrorKind::InvalidInput)?;
                let stream = timeout(CONNECT, tls.connect(name, stream)).await??;
                timeout(RESPONSE, exchange(stream, &request)).await??
            }
        };
        body(&raw)
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
    let refusal = {
        let document = roxmltree::Document::parse(&body).map_err(|_| not_bbb())?;
        let text = |name| {
            let mut children = document.root_element().children();
            children
                .find(|child| child.has_tag_name(name))
                .map(|child| child.text().unwrap_or_default().to_owned())
        };
        match text("returncode").ok_or_else(not_bbb)?.as_str() {
            "SUCCESS" => None,
            _ => Some((text("messageKey").unwrap_or_default(), text("message").unwrap_or_default())),
        }
    };
    match refusal {
        None => Ok(body),
        Some((key, message)) => Err(CallError::Refused { key, message }),
    }
}

fn not_bbb() -> CallError {
    CallError::Transport("the response did not include a returncode".to_owned())
}
