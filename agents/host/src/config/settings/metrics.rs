//! The settings `metrics.*`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use plan::instance::Role;

use crate::config::checker::Checker;
use crate::config::choices::Dimension;

/// The metrics about the host: their destinations and their sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The metrics in CloudWatch; `None` when none are sent.
    pub cloudwatch: Option<CloudWatch>,
    /// The place where Prometheus reads them, if it does.
    pub listen: Option<Listen>,
    /// The time between two messages, or two looks at what nothing else looks at.
    pub interval: Duration,
    /// The source of the certificate whose expiry is measured.
    pub certificate: Certificate,
}

/// The place of the metrics in CloudWatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatch {
    /// The namespace.
    pub namespace: String,
    /// The dimension that keeps hosts apart.
    pub dimension: Dimension,
}

/// The place where Prometheus reads the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// This address.
    At(SocketAddr),
    /// This port of the instance's private address.
    Private(u16),
    /// A Unix socket at this path.
    Socket(PathBuf),
}

/// The server whose certificate's expiry is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// The server of BBB's own URL, at the address of BBB's API.
    Bbb,
    /// The server at this address.
    At(SocketAddr),
    /// No server.
    Off,
}

impl Checker<'_> {
    pub(super) fn metrics(&mut self) -> Option<Option<Metrics>> {
        let enabled = self.bool("metrics.enabled");
        let namespace = self.text("metrics.namespace", namespace);
        let dimension = self.choice("metrics.dimension");
        let interval = self.seconds("metrics.interval");
        let role = self.agent.role;
        let certificate = self.text("metrics.certificate", |text| match (text, role) {
            ("", _) => Ok(Certificate::Off),
            ("auto", Role::Bbb) => Ok(Certificate::Bbb),
            ("auto", Role::Turn) => Ok(Certificate::At(SocketAddr::from((Ipv4Addr::LOCALHOST, TURNS_PORT)))),
            (text, _) => text
                .parse()
                .map(Certificate::At)
                .map_err(|_| "must be \"auto\", \"\" or an IP address with a port"),
        });
        let listen = self.optional("metrics.listen", listen);
        let cloudwatch = CloudWatch { namespace: namespace?, dimension: dimension? };
        let metrics = Metrics {
            cloudwatch: enabled?.then_some(cloudwatch),
            listen: listen?,
            interval: interval?,
            certificate: certificate?,
        };
        Some((metrics.cloudwatch.is_some() || metrics.listen.is_some()).then_some(metrics))
    }

    pub(super) fn coturn(&mut self) -> Option<Option<Coturn>> {
        let role = self.agent.role;
        self.text("metrics.coturn", |text| match (text, role) {
            ("", _) => Ok(None),
            ("auto", Role::Bbb) => Ok(Some(Coturn::Private)),
            (text, Role::Bbb) => text
                .parse()
                .map(|address| Some(Coturn::At(address)))
                .map_err(|_| "must be \"auto\", \"\" or an IP address with a port"),
            (text, Role::Turn) => text
                .parse()
                .map(|address| Some(Coturn::At(address)))
                .map_err(|_| "must be \"\" or an IP address with a port"),
        })
    }

    /// Reads the ports of the relays; `None` where these are not counted.
    pub(super) fn relays(&mut self) -> Option<Option<RangeInclusive<u16>>> {
        if self.agent.role == Role::Bbb {
            return Some(None);
        }
        self.text("drain.relays", |text| match text {
            "" => Ok(None),
            text => ports(text).map(Some).ok_or("must be \"\" or two ports, for example 49152-65535"),
        })
    }
}

/// The place where coturn is asked for a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coturn {
    /// Its usual port at the host's private address.
    Private,
    /// This address.
    At(SocketAddr),
}

impl Coturn {
    /// Returns the address on a host with this private one.
    pub fn address(self, private: Ipv4Addr) -> SocketAddr {
        match self {
            Self::Private => SocketAddr::new(IpAddr::V4(private), TURN_PORT),
            Self::At(address) => address,
        }
    }
}

/// Reads a range of ports, `49152-65535`.
fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (least, most) = text.split_once('-')?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let ports = port(least)?..=port(most)?;
    (!ports.is_empty()).then_some(ports)
}

/// The port of TURN (RFC 8656, 3.1), which is coturn's default too.
const TURN_PORT: u16 = 3478;

/// The port of TURN over TLS (RFC 8656, 3.1), which is coturn's default too.
const TURNS_PORT: u16 = 5349;

/// Reads where Prometheus reads the metrics. All addresses of the host would include those that an operator does not
/// think of.
fn listen(text: &str) -> Result<Listen, &'static str> {
    let wrong = "must be an IP address of this host with a port (not 0.0.0.0), \"private:\" with a port, or an absolute path";
    if text.starts_with('/') && !text.ends_with('/') {
        return Ok(Listen::Socket(PathBuf::from(text)));
    }
    let listen = match text.strip_prefix("private:") {
        Some(port) => port.parse().ok().filter(|port| *port > 0).map(Listen::Private),
        None => text.parse().ok().filter(is_own).map(Listen::At),
    };
    listen.ok_or(wrong)
}

fn is_own(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    address.port() > 0 && !ip.is_unspecified() && !ip.is_multicast()
}

/// Checks that CloudWatch accepts a namespace (API reference of `PutMetricData`, and "Namespaces" in its user guide).
fn namespace(text: &str) -> Result<String, &'static str> {
    let known = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte));
    let right =
        known && (1..=255).contains(&text.len()) && !text.starts_with(':') && !text.starts_with("AWS/");
    if right && text.trim() == text {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 255 letters, digits, spaces or . - _ / # :, not beginning with a colon or AWS/")
}
