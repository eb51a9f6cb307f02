//! An entry of Scalelite's list of servers.

use std::collections::BTreeSet;

use plan::fleet::{Listed, Values};
use plan::membership::{Entry, State, host_of, normalise_url};
use plan::record::Name;
use secrecy::{ExposeSecret, SecretString};

use super::Error;
use super::raw::{Item, Raw};

/// An entry as Scalelite lists it (observed on 1.8.5; `tag` exists since 1.6.0).
#[derive(Clone, Debug)]
pub struct Server {
    /// Scalelite's id: a UUID, or the host name where `SERVER_ID_IS_HOSTNAME` is set.
    pub id: String,
    /// The URL of the host's API as it was added, not normalised.
    pub url: String,
    /// Its administrative state.
    pub state: State,
    /// Its load; `None` while Scalelite has not polled it successfully, or when the load is infinite.
    pub load: Option<f64>,
    /// Whether the last polls reached it.
    pub online: bool,
    /// Its load's multiplier; `None` where Scalelite answers null.
    pub multiplier: Option<f64>,
    /// Its tag; `None` where this Scalelite has no tags.
    pub tag: Option<String>,
    pub(super) secret: SecretString,
}

impl Server {
    /// Reports whether this is an entry of the host in this URL (normalised), whatever its scheme and port.
    pub fn is_of(&self, own_url: &str) -> bool {
        let host = normalise_url(&self.url);
        host_of(own_url).is_some_and(|own| host.as_deref().and_then(host_of) == Some(own))
    }

    /// Returns the entry for planning, compared with the host's present URL (normalised) and secret. Contains no
    /// secret.
    pub fn entry(&self, own_url: &str, own_secret: &SecretString) -> Entry {
        Entry {
            id: self.id.clone(),
            id_is_host: host_of(own_url).is_some_and(|host| host.eq_ignore_ascii_case(&self.id)),
            state: self.state,
            online: self.online,
            load: self.load,
            multiplier: self.multiplier,
            tag: self.tag.clone(),
            secret_matches: same(
                self.secret.expose_secret().as_bytes(),
                own_secret.expose_secret().as_bytes(),
            ),
            url_matches: normalise_url(&self.url).as_deref() == Some(own_url),
        }
    }
}

/// Compares in a time that reveals only the lengths.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The whole pool as Scalelite lists it. The entries of other hosts are only counted: an odd one among them must not
/// keep the agent from managing its own.
#[derive(Debug)]
pub struct Listing {
    /// The call, for errors.
    pub(super) action: String,
    pub(super) items: Vec<Item>,
}

impl Listing {
    /// Returns the number of entries, those of other hosts included.
    pub fn count(&self) -> usize {
        self.items.len()
    }

    /// Returns the number of other hosts' entries that new meetings are placed on.
    pub fn others(&self, url: &str) -> usize {
        let entries = self.items.iter().filter_map(|item| item.0.as_ref());
        let own = |entry: &&Raw| host_of(url).is_some_and(|name| entry.has_host(name));
        entries.filter(|entry| entry.takes_meetings() && !own(entry)).count()
    }

    /// Returns the host names in the entries' URLs. An entry without a usable URL has none.
    pub fn names(&self) -> BTreeSet<Name> {
        let entries = self.items.iter().filter_map(|item| item.0.as_ref());
        entries.filter_map(Raw::host).map(|host| Name::remote(&host)).collect()
    }

    /// Returns all entries with a usable URL, without their secrets; one that cannot be understood says why.
    pub fn listed(self) -> Vec<Listed> {
        let entries = self.items.into_iter().filter_map(|item| item.0);
        let listed = entries.filter_map(|entry| {
            let host = Name::remote(&entry.host()?);
            let values =
                entry.server().map(|Server { state, online, load, .. }| Values { state, online, load });
            Some(Listed { host, values })
        });
        listed.collect()
    }

    /// Returns the entries whose URL has the host of this URL (normalised), or the reason why one of them cannot be
    /// understood. Only the host's name is compared: BBB's scheme and port may have been different when the entry was
    /// added. An entry without a usable URL belongs to no host.
    pub fn own(self, url: &str) -> Result<Vec<Server>, Error> {
        let Self { action, items } = self;
        let entries = items.into_iter().filter_map(|item| item.0);
        let own = entries.filter(|entry| host_of(url).is_some_and(|name| entry.has_host(name)));
        let servers = own.map(Raw::server).collect::<Result<_, _>>();
        servers.map_err(|what| Error::Unexpected { action, what })
    }
}
