//! The name servers that the resolver finds, compared with those that Route 53 gives the hosted zone.
//!
//! Both are the same servers, as long as nobody else answers for the same domain: an internal DNS server may have a
//! zone of that name, or the domain is delegated elsewhere. Such servers never show what is written to Route 53.

use clients::aws::route53::Description;
use clients::dns::authoritative::NameServers;
use plan::record::Name;
use tracing::debug;

use super::Zone;
use crate::session::Session;

/// The finding that the resolver leads to another zone of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherZone {
    /// What differs, in words.
    pub words: String,
    /// The hosted zone's own servers.
    pub own: Delegation,
    /// Those with their addresses, or why they cannot be asked.
    pub servers: Result<NameServers, String>,
}

/// The name servers of a hosted zone by Route 53's word, which never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The zone's name.
    pub zone: Name,
    /// The servers' names.
    pub servers: Vec<String>,
}

impl Session {
    /// Asks Route 53 whether a zone's servers, as the resolver has found them, are the hosted zone's own. Returns
    /// `None` where they are, and where that cannot be known.
    pub async fn doubt(&self, zone: &Zone) -> Option<OtherZone> {
        let found = zone.servers.as_ref().ok().filter(|servers| servers.zone().is_some())?;
        match zone.api.describe().await {
            Ok(described) => self.other_zone(found, &described).await,
            Err(error) => {
                debug!("whether the name servers are the zone's is not known: {error}");
                None
            }
        }
    }

    /// Compares servers with those of the hosted zone's description. Returns `None` where they are the same, where
    /// they were not found but are given by the settings, and where the zone is private, which has no servers of its
    /// own.
    pub async fn other_zone(&self, found: &NameServers, described: &Description) -> Option<OtherZone> {
        let resolved = found.zone()?;
        let listed = described.servers.iter();
        let servers: Vec<String> =
            listed.map(|server| server.trim_end_matches('.').to_ascii_lowercase()).collect();
        let found_names = found.names();
        if described.private || servers.is_empty() || servers.iter().any(|own| found_names.contains(own)) {
            return None;
        }
        let own = Delegation { zone: described.name.clone(), servers };
        let servers = self.servers_of(&own).await;
        if servers.as_ref().is_ok_and(|servers| found.overlaps(servers)) {
            return None;
        }
        let words = format!(
            "the resolver's {resolved} is not zone {} ({}): its name servers are {}, the zone's are {}",
            self.settings.dns.zone_id,
            own.zone,
            found_names.join(", "),
            own.servers.join(", "),
        );
        let servers = servers.map_err(|why| format!("{words}; {why}"));
        Some(OtherZone { words, own, servers })
    }
}
