//! The settings `metrics.*`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use plan::instance::Role;

use crate::config::checker::Checker;
use crate::config::choices::Dimension;

/// The metrics about the host: their destination and their sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The namespace in CloudWatch.
    pub namespace: String,
    /// The dimension that keeps hosts apart.
    pub dimension: Dimension,
    /// The time between two messages.
    pub interval: Duration,
    /// The source of the certificate whose expiry is measured.
    pub certificate: Certificate,
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
        let metrics = Metrics {
            namespace: namespace?,
            dimension: dimension?,
            interval: interval?,
            certificate: certificate?,
        };
        Some(enabled?.then_some(metrics))
    }

    pub(super) fn coturn(&mut self) -> Option<Option<SocketAddr>> {
        if self.agent.role == Role::Bbb {
            return Some(None);
        }
        self.text("metrics.coturn", |text| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| "must be \"\" or an IP address with a port"),
        })
    }
}

/// The port of TURN over TLS (RFC 8656, 3.1), which is coturn's default too.
const TURNS_PORT: u16 = 5349;

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
