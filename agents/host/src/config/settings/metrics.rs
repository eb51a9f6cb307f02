//! What is told about the host in figures: `metrics.*`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use plan::instance::Role;

use crate::config::checker::Checker;

/// What is told about the host in figures, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The namespace in CloudWatch.
    pub namespace: String,
    /// What hosts are kept apart by.
    pub dimension: Dimension,
    /// How often they are sent.
    pub interval: Duration,
    /// Where the expiry of the host's certificate is read.
    pub certificate: Certificate,
    /// Where coturn is asked whether it is there, if it is.
    pub coturn: Option<SocketAddr>,
}

/// What hosts are kept apart by in their metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Their group; outside one their domain.
    Group,
    /// The instance.
    Instance,
    /// Each metric by both.
    Both,
}

/// Where the expiry of a host's certificate is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// At BBB's own URL, at the address where its API is reached.
    Bbb,
    /// Here.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl Checker<'_> {
    pub(super) fn metrics(&mut self) -> Option<Option<Metrics>> {
        let namespace = self.with_default("metrics.namespace", "BigBlueButton", namespace);
        let dimension = self.with_default("metrics.dimension", "group", |text| match text {
            "group" => Ok(Dimension::Group),
            "instance" => Ok(Dimension::Instance),
            "both" => Ok(Dimension::Both),
            _ => Err("must be \"group\", \"instance\" or \"both\""),
        });
        let interval = self.seconds("metrics.interval", 60, 10, 3600);
        let role = self.agent.role;
        let certificate = self.with_default("metrics.certificate", "auto", |text| match (text, role) {
            ("", _) => Ok(Certificate::Off),
            ("auto", Role::Bbb) => Ok(Certificate::Bbb),
            ("auto", Role::Turn) => Ok(Certificate::At(SocketAddr::from((Ipv4Addr::LOCALHOST, TURNS_PORT)))),
            (text, _) => text
                .parse()
                .map(Certificate::At)
                .map_err(|_| "must be \"auto\", \"\" or an IP address with a port"),
        });
        let coturn = self.with_default("metrics.coturn", "127.0.0.1:3478", |text| match (text, role) {
            ("", _) | (_, Role::Bbb) => Ok(None),
            (text, Role::Turn) => {
                text.parse().map(Some).map_err(|_| "must be \"\" or an IP address with a port")
            }
        });
        let metrics = Metrics {
            namespace: namespace?,
            dimension: dimension?,
            interval: interval?,
            certificate: certificate?,
            coturn: coturn?,
        };
        Some(Some(metrics).filter(|_| self.bool("metrics.enabled", true)))
    }
}

/// The port of TURN over TLS (RFC 8656, 3.1), coturn's default too.
const TURNS_PORT: u16 = 5349;

/// A namespace as CloudWatch takes it (API reference of `PutMetricData`, and "Namespaces" in its user guide).
fn namespace(text: &str) -> Result<String, &'static str> {
    let known = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte));
    let right =
        known && (1..=255).contains(&text.len()) && !text.starts_with(':') && !text.starts_with("AWS/");
    if right && text.trim() == text {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 255 letters, digits, spaces or . - _ / # :, not beginning with a colon or AWS/")
}
