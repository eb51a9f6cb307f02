//! The system's recursive resolver: `/etc/resolv.conf` and `/etc/hosts`, without the C library.
//!
//! glibc's `getaddrinfo` in a static binary would load the host's NSS modules and the libc that they need, so both
//! HTTP stacks (reqwest and the SDK's) resolve names through [`SystemResolver`]. There is no fallback to a public
//! resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_proto::rr;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use super::resolv_conf;

/// The file that names the recursive servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The file with the names that no server is asked for.
const HOSTS: &str = "/etc/hosts";
const DNS_PORT: u16 = 53;

/// The time limit for one name, retransmissions included. It is shorter than the HTTP clients' limit for a connection,
/// so that their errors name a silent resolver as the cause.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The time for which a server may be silent before the next one is asked as well.
const HEAD_START: Duration = Duration::from_millis(400);

/// The time for which an address that needs no server may be used: it never changes.
const FOREVER: Duration = Duration::from_secs(86_400);

/// A name that could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The system's configuration of its resolver cannot be read.
    #[error("cannot resolve any name: /etc/resolv.conf: {0}")]
    NotConfigured(String),
    /// The name does not exist, or it has no address.
    #[error("the name {0} does not resolve: it has no address")]
    NoAddress(String),
    /// The resolver gave no usable answer.
    #[error("the name {name} does not resolve: {why}")]
    Failed {
        /// The name.
        name: String,
        /// The resolver's answer.
        why: String,
    },
}

/// A resolver that uses the system's configuration; clones share it. The configuration is read at first use, again
/// when its files have changed, as glibc does, and again when a lookup has failed.
#[derive(Clone, Debug)]
pub struct SystemResolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    current: Mutex<Option<Arc<Current>>>,
}

/// The origin of the servers' addresses.
#[derive(Debug)]
enum Source {
    /// They are given.
    Fixed(Vec<SocketAddr>),
    /// A file in the form of resolv.conf names them; all of them listen on this port.
    File(PathBuf, u16),
}

/// The servers as they were read last.
#[derive(Debug)]
struct Current {
    /// The looks of the files that were read.
    looks: (Looks, Looks),
    servers: Servers,
    /// One resolver a server, in the same order.
    resolvers: Vec<TokioResolver>,
    /// The server that answered last.
    preferred: AtomicUsize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Servers {
    addresses: Vec<SocketAddr>,
    /// Whether nobody has named them, so that the one on this host is asked.
    is_default: bool,
}

/// The marks by which a change of a file is noticed; `None` where there is none: device, inode, size, time of the
/// change.
type Looks = Option<(u64, u64, u64, i64, i64)>;

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemResolver {
    /// Creates a resolver that asks the servers in `/etc/resolv.conf`. Reads nothing yet.
    pub fn new() -> Self {
        Self::reading(RESOLV_CONF, DNS_PORT)
    }

    /// Creates a resolver that asks the servers that this file names, on this port. Reads nothing yet.
    pub fn reading(resolv_conf: impl Into<PathBuf>, port: u16) -> Self {
        Self::from(Source::File(resolv_conf.into(), port))
    }

    /// Creates a resolver that asks these recursive servers instead of those in `/etc/resolv.conf`.
    pub fn asking(servers: Vec<SocketAddr>) -> Self {
        Self::from(Source::Fixed(servers))
    }

    fn from(source: Source) -> Self {
        Self(Arc::new(Inner { source, current: Mutex::default() }))
    }

    /// Resolves all addresses of a name, IPv4 before IPv6. Literal addresses, and `localhost` and names below it (this
    /// host; RFC 6761, 6.3), need no resolver.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        Ok(self.addresses_until(name).await?.0)
    }

    /// Resolves all addresses of a name, and returns also until when they may be used without asking again.
    pub(crate) async fn addresses_until(&self, name: &str) -> Result<(Vec<IpAddr>, Instant), Error> {
        if let Some(addresses) = without_asking(name) {
            return Ok((addresses, Instant::now() + FOREVER));
        }
        let look_up = |resolver: TokioResolver| {
            let name = name.to_owned();
            async move { resolver.lookup_ip(name).await }
        };
        match self.ask(look_up).await? {
            (_, Ok(found)) => Ok((found.iter().collect(), found.valid_until().into())),
            (_, Err(error)) if error.is_no_records_found() => Err(Error::NoAddress(name.to_owned())),
            (current, Err(error)) => Err(current.failed(name, &error)),
        }
    }

    /// Looks up records of another type. The inner error, in the library's form, is always a negative answer.
    pub(crate) async fn lookup(
        &self,
        name: rr::Name,
        kind: rr::RecordType,
    ) -> Result<Result<Lookup, NetError>, Error> {
        let shown = name.to_string();
        let look_up = |resolver: TokioResolver| {
            let name = name.clone();
            async move { resolver.lookup(name, kind).await }
        };
        match self.ask(look_up).await? {
            (current, Err(error)) if !error.is_no_records_found() => {
                Err(current.failed(shown.trim_end_matches('.'), &error))
            }
            (_, answer) => Ok(answer),
        }
    }

    /// Asks the servers of the moment. Where none answers, the configuration is read again, and if it names others
    /// they are asked at once.
    async fn ask<T, F>(
        &self,
        look_up: impl Fn(TokioResolver) -> F,
    ) -> Result<(Arc<Current>, Result<T, NetError>), Error>
    where
        F: Future<Output = Result<T, NetError>>,
    {
        let current = self.current()?;
        let answer = current.ask(&look_up).await;
        match &answer {
            Err(error) if !error.is_no_records_found() => {}
            _ => return Ok((current, answer)),
        }
        let now = self.read_again()?;
        if now.servers == current.servers {
            return Ok((current, answer));
        }
        let answer = now.ask(&look_up).await;
        Ok((now, answer))
    }

    fn current(&self) -> Result<Arc<Current>, Error> {
        let looks = self.0.source.looks();
        let known = self.known();
        match known.filter(|current| current.looks == looks) {
            Some(current) => Ok(current),
            None => self.read_again(),
        }
    }

    fn known(&self) -> Option<Arc<Current>> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the configuration. A failure is not remembered, and what was read before stays where nothing has changed.
    fn read_again(&self) -> Result<Arc<Current>, Error> {
        let looks = self.0.source.looks();
        let servers = self.0.source.servers().map_err(|error| Error::NotConfigured(error.to_string()))?;
        if let Some(current) = self.known()
            && current.looks == looks
            && current.servers == servers
        {
            return Ok(current);
        }
        let current = Current::new(looks, servers).map_err(|error| Error::NotConfigured(words(&error)))?;
        let current = Arc::new(current);
        *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&current));
        Ok(current)
    }
}

impl Source {
    fn looks(&self) -> (Looks, Looks) {
        let resolv_conf = match self {
            Self::Fixed(_) => None,
            Self::File(path, _) => look(path),
        };
        (resolv_conf, look(Path::new(HOSTS)))
    }

    fn servers(&self) -> io::Result<Servers> {
        match self {
            Self::Fixed(addresses) => Ok(Servers { addresses: addresses.clone(), is_default: false }),
            Self::File(path, port) => {
                let found = resolv_conf::read(path)?;
                let addresses = found.addresses.into_iter().map(|address| SocketAddr::new(address, *port));
                Ok(Servers { addresses: addresses.collect(), is_default: found.is_default })
            }
        }
    }
}

fn look(path: &Path) -> Looks {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.ctime(), file.ctime_nsec()))
}

impl Current {
    fn new(looks: (Looks, Looks), servers: Servers) -> Result<Self, NetError> {
        let resolvers = servers.addresses.iter().map(build).collect::<Result<_, _>>()?;
        Ok(Self { looks, servers, resolvers, preferred: AtomicUsize::new(0) })
    }

    /// Asks the servers one after the other, the one that answered last first. The next one's turn comes when one
    /// fails, or has been silent for a while and may still answer. A negative answer is an answer.
    async fn ask<T, F>(&self, look_up: impl Fn(TokioResolver) -> F) -> Result<T, NetError>
    where
        F: Future<Output = Result<T, NetError>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let first = self.preferred.load(Ordering::Relaxed);
        let (before, from) = self.resolvers.split_at_checked(first).unwrap_or((&[], &self.resolvers));
        let mut waiting = (first..).zip(from).chain((0..).zip(before));
        let mut asked = FuturesUnordered::new();
        let mut failure = None;
        loop {
            let next = waiting.next();
            let is_last = next.is_none();
            if let Some((index, resolver)) = next {
                let answer = look_up(resolver.clone());
                asked.push(async move { (index, answer.await) });
            }
            let answered = match is_last {
                true => timeout_at(deadline, asked.next()).await,
                false => timeout(HEAD_START, asked.next()).await,
            };
            match answered {
                Ok(Some((index, Err(error)))) if !error.is_no_records_found() => {
                    // What the first one says is what people look for.
                    if index == first || failure.is_none() {
                        failure = Some(error);
                    }
                }
                Ok(Some((index, answer))) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return answer;
                }
                Err(_) if !is_last => {}
                Ok(None) | Err(_) => return Err(failure.unwrap_or(NetError::Timeout)),
            }
        }
    }

    fn failed(&self, name: &str, error: &NetError) -> Error {
        let why = words(error);
        let why = match self.servers.is_default {
            true => format!(
                "{why} (/etc/resolv.conf names no usable name server, so the one on this host was asked)"
            ),
            false => why,
        };
        Error::Failed { name: name.to_owned(), why }
    }
}

/// Creates a resolver that asks one server.
fn build(address: &SocketAddr) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server(address)]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    adjust(builder.options_mut());
    builder.build()
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].into_iter();
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = connections
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    server
}

fn adjust(options: &mut ResolverOpts) {
    // IPv4 and IPv6 are asked in parallel; most fleets are IPv4 first.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // A caller that asks again wants the present state.
    options.negative_max_ttl = Some(Duration::ZERO);
}

fn without_asking(name: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(vec![address]);
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let local = name == "localhost" || name.ends_with(".localhost");
    local.then(|| vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)])
}

/// Describes a DNS library's error in words.
pub(crate) fn words(error: &NetError) -> String {
    match error {
        NetError::Timeout => "no answer in time".to_owned(),
        NetError::Io(io) => io.to_string(),
        NetError::NoConnections => "no name server could be reached".to_owned(),
        other => other.to_string(),
    }
}

impl reqwest::dns::Resolve for SystemResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            // Port 0 stands for the URL's port.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}

impl ResolveDns for SystemResolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move { self.addresses(name).await.map_err(ResolveDnsError::new) })
    }
}
