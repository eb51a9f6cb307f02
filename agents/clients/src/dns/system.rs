//! The system's recursive resolver: `/etc/resolv.conf` and `/etc/hosts`, without the C library.
//!
//! glibc's `getaddrinfo` in a static binary would load the host's NSS modules and the libc that they need, so both
//! HTTP stacks (reqwest and the SDK's) resolve names through [`SystemResolver`]. There is no fallback to a public
//! resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use hickory_proto::rr;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use thiserror::Error;

/// The time limit for one name, retransmissions included. It is shorter than the HTTP clients' limit for a connection,
/// so that their errors name a silent resolver as the cause.
const PATIENCE: Duration = Duration::from_millis(2500);

/// A name that could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The system's resolver has no usable configuration.
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

/// A resolver that uses the system's configuration, read at first use; clones share it.
#[derive(Clone, Debug)]
pub struct SystemResolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The servers to ask instead of those in `/etc/resolv.conf`.
    servers: Option<Vec<SocketAddr>>,
    resolver: OnceLock<TokioResolver>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemResolver {
    /// Creates a resolver that asks the servers in `/etc/resolv.conf`. Reads nothing yet.
    pub fn new() -> Self {
        Self(Arc::new(Inner { servers: None, resolver: OnceLock::new() }))
    }

    /// Creates a resolver that asks these recursive servers instead of those in `/etc/resolv.conf`.
    pub fn asking(servers: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Inner { servers: Some(servers), resolver: OnceLock::new() }))
    }

    /// Resolves all addresses of a name, IPv4 before IPv6. Literal addresses, and `localhost` and names below it (this
    /// host; RFC 6761, 6.3), need no resolver.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        if let Some(addresses) = without_asking(name) {
            return Ok(addresses);
        }
        match in_time(self.resolver()?.lookup_ip(name)).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_no_records_found() => Err(Error::NoAddress(name.to_owned())),
            Err(error) => Err(Error::Failed { name: name.to_owned(), why: words(&error) }),
        }
    }

    /// Looks up records of another type, in the library's form.
    pub(crate) async fn lookup(
        &self,
        name: rr::Name,
        kind: rr::RecordType,
    ) -> Result<Result<Lookup, NetError>, Error> {
        Ok(in_time(self.resolver()?.lookup(name, kind)).await)
    }

    fn resolver(&self) -> Result<&TokioResolver, Error> {
        if let Some(resolver) = self.0.resolver.get() {
            return Ok(resolver);
        }
        // A failure is not remembered: early in boot, resolv.conf may not have been written yet.
        let resolver =
            build(self.0.servers.as_deref()).map_err(|error| Error::NotConfigured(words(&error)))?;
        Ok(self.0.resolver.get_or_init(|| resolver))
    }
}

async fn in_time<T>(lookup: impl Future<Output = Result<T, NetError>>) -> Result<T, NetError> {
    tokio::time::timeout(PATIENCE, lookup).await.unwrap_or(Err(NetError::Timeout))
}

fn build(servers: Option<&[SocketAddr]>) -> Result<TokioResolver, NetError> {
    let mut builder = match servers {
        None => TokioResolver::builder_tokio()?,
        Some(servers) => {
            let servers = servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
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
