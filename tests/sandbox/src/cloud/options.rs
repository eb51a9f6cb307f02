//! The options of a cloud.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{AWS_NAME, HostOptions, SCALELITE_NAME};
use crate::bbb::checksum::Algorithm;
use crate::dns::{self, NameServers, ResolverOptions};
use crate::fleet::{Hook, HookResult, Transition};
use crate::http::{Delay, ServiceName};
use crate::route53::{self, ZoneOptions};
use crate::scalelite;

/// The addresses of the listeners; port 0 chooses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The AWS front.
    pub aws: SocketAddr,
    /// Scalelite.
    pub scalelite: SocketAddr,
    /// The recursive resolver.
    pub resolver: SocketAddr,
}

impl Default for Addresses {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { aws: any, scalelite: any, resolver: any }
    }
}

/// The options of the Auto Scaling group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// Its name.
    pub name: String,
    /// The least number of instances.
    pub min: u32,
    /// The greatest number of instances.
    pub max: u32,
    /// Its lifecycle hooks.
    pub hooks: Vec<Hook>,
}

impl Default for GroupOptions {
    /// Returns `bbb-fleet`, 0 to 10 instances, with a termination hook `drain` of 15 minutes that ends with CONTINUE.
    fn default() -> Self {
        let drain = Hook {
            name: "drain".to_owned(),
            transition: Transition::Terminating,
            heartbeat_timeout: 900,
            default_result: HookResult::Continue,
        };
        Self { name: "bbb-fleet".to_owned(), min: 0, max: 10, hooks: vec![drain] }
    }
}

/// The distances of the services. BBB is on the host itself; the name servers' distance is in their own options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// Route 53's API, which has a listener of its own where this is not zero.
    pub route53: Delay,
    /// The other AWS services.
    pub aws: Delay,
    /// The metadata service.
    pub imds: Delay,
    /// Scalelite.
    pub scalelite: Delay,
}

/// The options of a cloud. By default it has plain HTTP and one BBB host that is ready, in a group, in the zone
/// `example.org`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether all services but IMDS have TLS, with a certificate authority made at the start.
    pub tls: bool,
    /// The first host; its account and region are the cloud's.
    pub host: HostOptions,
    /// The group.
    pub group: GroupOptions,
    /// Route 53 with its zones; the first one is the agents'.
    pub route53: route53::Options,
    /// The authoritative name servers.
    pub dns: dns::Options,
    /// Further names that the resolver knows.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Scalelite.
    pub scalelite: scalelite::Config,
    /// Secrets in addition to [`super::SCALELITE_SECRET_ID`]: names and values.
    pub secrets: Vec<(String, String)>,
    /// The addresses of the listeners.
    pub addresses: Addresses,
    /// The services that refuse connections at first; `Route53` stands for all AWS services.
    pub closed: Vec<ServiceName>,
    /// The distances of the services.
    pub delays: Delays,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: false,
            host: HostOptions::default(),
            group: GroupOptions::default(),
            route53: route53::Options::zones([ZoneOptions::public("Z0123456789EXAMPLE", "example.org")]),
            dns: dns::Options::default(),
            names: BTreeMap::new(),
            scalelite: scalelite::Config {
                polled_at_once: true,
                ..scalelite::Config::new("sandbox-loadbalancer-secret")
            },
            secrets: Vec::new(),
            addresses: Addresses::default(),
            closed: Vec::new(),
            delays: Delays::default(),
        }
    }
}

impl Options {
    /// Returns the default options with TLS.
    pub fn with_tls() -> Self {
        Self { tls: true, ..Self::default() }
    }

    /// Returns these options with Route 53's API at this distance, and all else outside the host at the other one.
    #[must_use]
    pub fn at_distance(mut self, route53: Duration, others: Duration) -> Self {
        let (route53, others_delay) = (Delay::round_trip(route53), Delay::round_trip(others));
        self.delays = Delays { route53, aws: others_delay, imds: others_delay, scalelite: others_delay };
        self.dns.delay = others;
        self
    }

    /// Returns the options for a Scalelite that polls only when it is told to.
    #[must_use]
    pub fn polled_by_hand(mut self) -> Self {
        self.scalelite.polled_at_once = false;
        self
    }

    /// Returns the default options with a Scalelite that is as unkind as the real one was observed to be.
    pub fn unkind(seed: u64) -> Self {
        let scalelite = Self::default().scalelite.as_observed(seed);
        Self { scalelite, ..Self::default() }
    }

    /// Returns these options with `SERVER_ID_IS_HOSTNAME=true`.
    #[must_use]
    pub fn with_hostname_ids(mut self) -> Self {
        self.scalelite.ids = scalelite::ServerIds::Hostname;
        self
    }

    /// Returns these options with these in `LOADBALANCER_CHECKSUM_ALGORITHM`.
    #[must_use]
    pub fn with_algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.scalelite.algorithms = algorithms.to_vec();
        self
    }
}

/// Returns the names in the AWS front's certificate. A star is one label, so a bucket needs names of its own.
pub(super) fn aws_names(region: &str, domain: &str) -> [String; 5] {
    [
        AWS_NAME.to_owned(),
        format!("*.{domain}"),
        format!("*.{region}.{domain}"),
        format!("*.s3.{domain}"),
        format!("*.s3.{region}.{domain}"),
    ]
}

/// Returns the resolver's options, with the endpoints and the name servers of the public zones.
pub(super) fn resolver(options: &Options, dns: &NameServers) -> ResolverOptions {
    let mut hosts = options.names.clone();
    hosts.entry(AWS_NAME.to_owned()).or_insert_with(|| vec![options.addresses.aws.ip()]);
    hosts.entry(SCALELITE_NAME.to_owned()).or_insert_with(|| vec![options.addresses.scalelite.ip()]);
    for zone in &options.route53.zones {
        for (name, address) in zone.name_servers.iter().zip(dns.addresses()) {
            hosts.entry(name.trim_end_matches('.').to_owned()).or_insert_with(|| vec![address.ip()]);
        }
    }
    ResolverOptions { address: options.addresses.resolver, hosts }
}
