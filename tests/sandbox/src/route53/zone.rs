//! A hosted zone: its record sets, and how they are found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::name::DnsName;
use super::record::{Key, RecordSet, RecordType};

/// The options of a zone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ZoneOptions {
    /// The identifier, without `/hostedzone/`.
    pub id: String,
    /// The name.
    pub name: String,
    /// Whether the zone is private: the authoritative servers refuse private zones, which have no delegation set.
    #[serde(default)]
    pub private: bool,
    /// The names of the authoritative servers, in the order of the server indexes.
    pub name_servers: Vec<String>,
}

impl ZoneOptions {
    /// Returns a public zone with two name servers.
    pub fn public(id: &str, name: &str) -> Self {
        let name_servers = vec!["ns-1.awsdns.test.".to_owned(), "ns-2.awsdns.test.".to_owned()];
        Self { id: id.to_owned(), name: name.to_owned(), private: false, name_servers }
    }

    /// Returns a private zone.
    pub fn private(id: &str, name: &str) -> Self {
        Self { private: true, ..Self::public(id, name) }
    }
}

/// The record sets of a zone in listing order. The snapshots of the servers share the sets.
pub(crate) type Records = BTreeMap<Key, Arc<RecordSet>>;

/// All zones at one moment, by identifier.
pub(crate) type Zones = BTreeMap<String, Arc<Zone>>;

#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) id: String,
    pub(crate) name: DnsName,
    pub(crate) private: bool,
    pub(crate) name_servers: Vec<String>,
    pub(crate) records: Records,
    /// The health checks that fail.
    pub(crate) unhealthy: BTreeSet<String>,
}

impl Zone {
    /// Creates a zone as Route 53 does: with NS (172800 s) and SOA (900 s) at the apex.
    pub(crate) fn new(options: &ZoneOptions) -> Result<Self, String> {
        let name = DnsName::parse(&options.name)?;
        let Some(primary) = options.name_servers.first() else {
            return Err(format!("zone {name} needs at least one name server"));
        };
        let soa = format!("{primary} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400");
        let servers: Vec<&str> = options.name_servers.iter().map(String::as_str).collect();
        let apex = name.to_string();
        let records = [
            RecordSet::simple(&apex, RecordType::Ns, 172_800, &servers),
            RecordSet::simple(&apex, RecordType::Soa, 900, &[&soa]),
        ]
        .map(|set| (Key::of(&name, &set), Arc::new(set)))
        .into();
        Ok(Self {
            id: options.id.clone(),
            name,
            private: options.private,
            name_servers: options.name_servers.clone(),
            records,
            unhealthy: BTreeSet::new(),
        })
    }

    /// Returns the sets of this name and type.
    pub(crate) fn sets(&self, name: &DnsName, record_type: RecordType) -> Vec<&RecordSet> {
        let first = Key::first(name, record_type);
        let order = first.order.clone();
        self.records
            .range(first..)
            .take_while(|(key, _)| key.order == order && key.record_type == record_type)
            .map(|(_, set)| set.as_ref())
            .collect()
    }

    /// Returns all sets of this name.
    pub(crate) fn sets_of_name(&self, name: &DnsName) -> Vec<&RecordSet> {
        RecordType::ALL.into_iter().flat_map(|record_type| self.sets(name, record_type)).collect()
    }

    /// Tells whether the name exists: it has sets, or names below it have (an empty non-terminal).
    pub(crate) fn exists(&self, name: &DnsName) -> bool {
        let first = Key::first(name, RecordType::A);
        let order = first.order.clone();
        self.records.range(first..).next().is_some_and(|(key, _)| key.order.starts_with(&order))
    }
}
