//! Record sets, their routing policies and the key that orders them in a zone.

use serde::{Deserialize, Serialize};

use super::name::DnsName;

/// The record types that this stand-in knows; it refuses others that the real service would accept. Their order is the
/// order in which sets with one name are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Certification authority authorisation.
    Caa,
    /// Canonical name.
    Cname,
    /// Mail exchange.
    Mx,
    /// Name server.
    Ns,
    /// Pointer.
    Ptr,
    /// Start of authority.
    Soa,
    /// Service.
    Srv,
    /// Text.
    Txt,
}

impl RecordType {
    /// All types, in listing order.
    pub const ALL: [Self; 10] = [
        Self::A,
        Self::Aaaa,
        Self::Caa,
        Self::Cname,
        Self::Mx,
        Self::Ns,
        Self::Ptr,
        Self::Soa,
        Self::Srv,
        Self::Txt,
    ];

    /// Returns the type as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Caa => "CAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Soa => "SOA",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|record_type| record_type.as_str() == text)
    }
}

/// A routing policy: how sets of one name and type share the answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// One set is chosen with this weight, 0 to 255.
    Weight(u8),
    /// Up to eight values of all sets together.
    MultiValue,
    /// The set nearest by latency.
    Region(String),
    /// `PRIMARY` or `SECONDARY`.
    Failover(String),
}

/// An alias to another record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The zone of the target.
    pub hosted_zone_id: String,
    /// The name of the target.
    pub dns_name: String,
    /// Whether the target's health counts.
    pub evaluate_target_health: bool,
}

/// A resource record set as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSet {
    /// The name: normalised in a zone, as sent in a request.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub record_type: RecordType,
    /// The identifier, which tells apart the sets of one name and type that have a routing policy.
    #[serde(default)]
    pub set_identifier: Option<String>,
    /// The routing policy; none for a simple set.
    #[serde(default)]
    pub routing: Option<Routing>,
    /// The time to live in seconds; none for an alias.
    #[serde(default)]
    pub ttl: Option<u32>,
    /// The values as sent, TXT with its quotes; none for an alias.
    #[serde(default)]
    pub values: Vec<String>,
    /// The target, if this is an alias.
    #[serde(default)]
    pub alias: Option<Alias>,
    /// The identifier of a health check: it is not checked whether it exists. Multivalue answers obey it.
    #[serde(default)]
    pub health_check_id: Option<String>,
}

impl RecordSet {
    /// Creates a simple set; `ttl` is in seconds.
    pub fn simple(name: &str, record_type: RecordType, ttl: u32, values: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            record_type,
            set_identifier: None,
            routing: None,
            ttl: Some(ttl),
            values: values.iter().map(|&value| value.to_owned()).collect(),
            alias: None,
            health_check_id: None,
        }
    }

    /// Tells whether everything is the same, with the values in any order, as a `DELETE` requires.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        let sorted = |set: &Self| {
            let mut set = set.clone();
            set.values.sort();
            set
        };
        sorted(self) == sorted(other)
    }
}

/// The position of a set in its zone: by reversed name, type, set identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) order: String,
    pub(crate) record_type: RecordType,
    pub(crate) identifier: String,
}

impl Key {
    /// Returns the first key that a set of this name and type can have.
    pub(crate) fn first(name: &DnsName, record_type: RecordType) -> Self {
        Self { order: name.order(), record_type, identifier: String::new() }
    }

    pub(crate) fn of(name: &DnsName, set: &RecordSet) -> Self {
        Self {
            order: name.order(),
            record_type: set.record_type,
            identifier: set.set_identifier.clone().unwrap_or_default(),
        }
    }
}
