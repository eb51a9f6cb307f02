//! The common ground of all HTTP clients: trust for TLS, limits, and error messages without URLs.
//!
//! The URLs of Scalelite and BigBlueButton calls end in a checksum that anyone who reads it can use again. So no error
//! of this module shows a URL, redirects are never followed, and no `Referer` is sent.

pub(crate) mod exchange;

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use reqwest::Client;
use reqwest::Version;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_native_certs::CertificateResult;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;

use crate::dns::system::SystemResolver;

/// The file in which Debian and Ubuntu keep all certificate authorities (update-ca-certificates(8)).
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The name that the agents give themselves in requests.
pub const USER_AGENT: &str = concat!("bbb-agents/", env!("CARGO_PKG_VERSION"));

/// A set-up of TLS that failed, mostly over the certificates of the authorities to trust.
#[derive(Clone, Debug, Error)]
pub enum TlsError {
    /// The extra bundle cannot be read.
    #[error("cannot read the CA bundle {path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's message.
        why: String,
    },
    /// The extra bundle is not a bundle of certificates.
    #[error("the CA bundle {path} is not usable: {what}")]
    BadBundle {
        /// The file.
        path: String,
        /// The defect.
        what: String,
    },
    /// Neither the system nor the bundle has a certificate.
    #[error(
        "no certificate authority to trust was found{0}; install the package ca-certificates, or set \
         tls.ca_bundle or SSL_CERT_FILE"
    )]
    NoAuthorities(String),
    /// The protocol set-up failed.
    #[error("cannot set TLS up: {0}")]
    Setup(String),
}

/// The authorities that TLS trusts: the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace them) and those of one
/// more file. Reading them takes milliseconds, so it happens at first use; clones share the result.
#[derive(Clone, Debug, Default)]
pub struct Tls(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bundle: Option<PathBuf>,
    roots: OnceLock<Arc<RootCertStore>>,
}

impl Tls {
    /// Creates the set of the system's authorities and those in the PEM file `bundle`. Reads nothing yet.
    pub fn new(bundle: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { bundle, roots: OnceLock::new() }))
    }

    /// Reads and validates everything now, for `check`. Returns the same errors as the first use.
    pub fn load(&self) -> Result<(), TlsError> {
        self.roots().map(drop)
    }

    /// Returns the configuration for rustls, with ring given explicitly, so that no process-wide provider is needed.
    pub fn rustls_config(&self) -> Result<ClientConfig, TlsError> {
        rustls_config(self.roots()?)
    }

    /// Returns the authorities.
    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        if let Some(roots) = self.0.roots.get() {
            return Ok(Arc::clone(roots));
        }
        // A failure is not remembered: the file may appear later in the boot.
        let roots = Arc::new(read_roots(self.0.bundle.as_deref())?);
        Ok(Arc::clone(self.0.roots.get_or_init(|| roots)))
    }
}

fn read_roots(bundle: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let found = system_authorities();
    let mut roots = RootCertStore::empty();
    let (valid, ignored) = roots.add_parsable_certificates(found.certs);
    let problems: Vec<String> = found.errors.iter().map(|error| chain(error)).collect();
    tracing::debug!(valid, ignored, ?problems, "the system's certificate authorities");
    if let Some(path) = bundle {
        add_bundle(&mut roots, path)?;
    }
    if roots.is_empty() {
        let why = problems.first().map(|problem| format!(" ({problem})")).unwrap_or_default();
        return Err(TlsError::NoAuthorities(why));
    }
    Ok(roots)
}

/// Loads the authorities that the environment names, or else the file in which Debian and Ubuntu keep them all. The
/// directory beside that file holds each of them twice, and reading its 300 files takes longer than all else an agent
/// does.
fn system_authorities() -> CertificateResult {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if !named {
        let found = rustls_native_certs::load_certs_from_paths(Some(Path::new(SYSTEM_BUNDLE)), None);
        if !found.certs.is_empty() {
            return found;
        }
    }
    rustls_native_certs::load_native_certs()
}

fn add_bundle(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let name = || path.display().to_string();
    let bad = |what: String| TlsError::BadBundle { path: name(), what };
    let pem =
        std::fs::read(path).map_err(|error| TlsError::Unreadable { path: name(), why: error.to_string() })?;
    let mut count = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        count += 1;
        let certificate = certificate.map_err(|error| bad(format!("certificate {count}: {error}")))?;
        roots.add(certificate).map_err(|error| bad(format!("certificate {count}: {error}")))?;
    }
    if count == 0 {
        return Err(bad("it has no certificate (PEM: -----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(())
}

fn rustls_config(roots: Arc<RootCertStore>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// A client's time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The limit for opening a connection, TLS included.
    pub connect: Duration,
    /// The limit for a whole exchange, body included.
    pub total: Duration,
}

/// The limits for services across a network: 5 s to connect, 15 s in all.
impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(15) }
    }
}

/// Creates a client for Scalelite and BigBlueButton. It follows no redirect (which would carry the checksum
/// elsewhere), sends no referrer, keeps no cookies, asks for no compression, never retries, and honours `HTTPS_PROXY`
/// and its relatives.
pub fn client(tls: &Tls, names: &SystemResolver, limits: Limits) -> Result<reqwest::Client, TlsError> {
    build(reqwest::Client::builder(), tls.rustls_config()?, names, limits)
}

/// Creates a client for this host's own BBB API, without a proxy. `pin` connects a host name to a fixed address
/// instead of resolving it (port 0 keeps the URL's), because the name of a host that is being registered may not
/// resolve yet.
pub fn local_client(
    tls: &Tls,
    names: &SystemResolver,
    limits: Limits,
    pin: Option<(String, SocketAddr)>,
) -> Result<reqwest::Client, TlsError> {
    let mut builder = reqwest::Client::builder().no_proxy();
    if let Some((host, address)) = pin {
        builder = builder.resolve(&host, address);
    }
    build(builder, tls.rustls_config()?, names, limits)
}

/// Creates a client for plain HTTP to an address of this host or its link. It trusts no authority, uses no proxy, and
/// is cheap to create.
pub(crate) fn plain_client(names: &SystemResolver, limits: Limits) -> Result<reqwest::Client, TlsError> {
    let nobody = rustls_config(Arc::new(RootCertStore::empty()))?;
    build(reqwest::Client::builder().no_proxy(), nobody, names, limits)
}

fn build(
    builder: reqwest::ClientBuilder,
    tls: ClientConfig,
    names: &SystemResolver,
    limits: Limits,
) -> Result<reqwest::Client, TlsError> {
    builder
        .tls_backend_preconfigured(tls)
        .dns_resolver(names.clone())
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .connect_timeout(limits.connect)
        .timeout(limits.total)
        .build()
        .map_err(|error| TlsError::Setup(words(error)))
}

/// Opens a connection to the server of this URL, for a request that will come: it waits in the client's pool. Sends
/// nothing.
///
/// reqwest has no call for that. But it opens a connection before it looks whether a request suits it, and no request
/// of HTTP/2 suits these clients, which speak HTTP/1.1 alone: the connection goes into the pool unused (hyper-util 0.1,
/// `client::legacy`; a test shows it).
pub async fn open(client: &Client, url: &str) {
    // Whatever goes wrong is told by the request that comes.
    let _ = client.get(url).version(Version::HTTP_2).send().await;
}

/// A body that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The body is longer than the limit.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// The connection failed; the text says how.
    #[error("{0}")]
    Transport(String),
}

/// Reads a body of at most `limit` bytes.
pub async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, ReadError> {
    // A declared length is only a hint; the actual length counts.
    let declared = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if declared > limit {
        return Err(ReadError::TooLong(limit));
    }
    let mut body = Vec::with_capacity(declared);
    while let Some(chunk) = response.chunk().await.map_err(|error| ReadError::Transport(words(error)))? {
        if body.len() + chunk.len() > limit {
            return Err(ReadError::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Explains a failed exchange to a person, without its URL: `connection refused`, `certificate not trusted: ...`, `no
/// answer in time`.
pub fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    match cause(&error) {
        Some(known) => known,
        None if error.is_timeout() && error.is_connect() => "no connection in time".to_owned(),
        None if error.is_timeout() => "no answer in time".to_owned(),
        None => chain(&error),
    }
}

/// Returns our own words for the most frequent causes.
fn cause(error: &(dyn StdError + 'static)) -> Option<String> {
    for error in layers(error) {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls_words(tls));
        }
        let io = error.downcast_ref::<std::io::Error>();
        if let Some(known) = io.and_then(|io| io_words(io.kind())) {
            return Some(known.to_owned());
        }
    }
    None
}

fn tls_words(error: &rustls::Error) -> String {
    match error {
        // A wrong signature comes from an authority with the name of a known one, but another key.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "certificate not trusted: it was issued by an authority that this host does not know \
             (tls.ca_bundle can name more)"
            .to_owned(),
        rustls::Error::InvalidCertificate(why) => format!("certificate not trusted: {why}"),
        other => format!("TLS failed: {other}"),
    }
}

fn io_words(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset",
        ErrorKind::HostUnreachable => "host unreachable",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::TimedOut => "no connection in time",
        ErrorKind::UnexpectedEof => "connection closed before the answer was complete",
        _ => return None,
    })
}

/// Joins an error and its sources in one line; leaves out a source that its wrapper already quotes.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    // These texts say only that there is a deeper cause.
    const EMPTY: [&str; 5] = [
        "error sending request",
        "client error (Connect)",
        "client error (SendRequest)",
        "dispatch failure",
        "other",
    ];
    let mut texts: Vec<String> = Vec::new();
    for layer in layers(error) {
        let text = layer.to_string();
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
    }
    let telling: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !EMPTY.contains(text)).collect();
    if telling.is_empty() { texts.join(": ") } else { telling.join(": ") }
}

/// Iterates over an error, its source, that one's source, and so on. The payload of an I/O error is a layer too: its
/// `source()` skips it.
pub(crate) fn layers<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| below(error))
}

fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

/// Reports whether a server's certificate was refused for a reason that does not pass by itself: the wrong issuer or
/// name.
pub(crate) fn is_distrust(error: &(dyn StdError + 'static)) -> bool {
    layers(error).any(|layer| {
        matches!(
            layer.downcast_ref(),
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                    | CertificateError::BadSignature
                    | CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
            ))
        )
    })
}

/// Returns the words for the well-known cause below an SDK error, if there is one.
pub(crate) fn known_cause(error: &(dyn StdError + 'static)) -> Option<String> {
    cause(error)
}
