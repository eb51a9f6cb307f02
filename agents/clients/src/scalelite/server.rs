//! An entry as Scalelite shows it.

use std::collections::BTreeSet;

use plan::membership::{Entry, State, host_of, normalise_url};
use plan::record::Name;
use secrecy::{ExposeSecret, SecretString};

use super::Error;
use super::raw::{Item, Raw};

/// An entry of Scalelite's list of servers (observed on 1.8.5; `tag` exists since 1.6.0).
#[derive(Clone, Debug)]
pub struct Server {
    /// Scalelite's id: a UUID, or the host name where `SERVER_ID_IS_HOSTNAME` is set.
    pub id: String,
    /// The host's API as it was added, not normalised.
    pub url: String,
    /// Its administrative state.
    pub state: State,
    /// Its load; none while Scalelite has not polled it successfully, or when the load is infinite.
    pub load: Option<f64>,
    /// Whether the last polls reached it.
    pub online: bool,
    /// What its load is multiplied with; none where Scalelite answers null.
    pub multiplier: Option<f64>,
    /// Its tag; none where this Scalelite has no tags.
    pub tag: Option<String>,
    pub(super) secret: SecretString,
}

impl Server {
    /// The entry for planning, compared with the host's present URL (normalised) and secret: no secret gets into it.
    pub fn entry(&self, own_url: &str, own_secret: &SecretString) -> Entry {
        Entry {
            id: self.id.clone(),
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

/// Compares in a time that tells nothing but the lengths.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The whole pool as Scalelite lists it. Entries of other hosts are counted and nothing else: whatever is odd about them is
/// no reason not to look after the own ones.
#[derive(Debug)]
pub struct Listing {
    /// What was asked, for errors.
    pub(super) action: String,
    pub(super) items: Vec<Item>,
}

impl Listing {
    /// How many entries there are, of whatever host.
    pub fn count(&self) -> usize {
        self.items.len()
    }

    /// The host names that the entries lead to. An entry without a usable URL leads nowhere.
    pub fn names(&self) -> BTreeSet<Name> {
        let entries = self.items.iter().filter_map(|item| item.0.as_ref());
        entries.filter_map(Raw::host).map(|host| Name::remote(&host)).collect()
    }

    /// The entries of the host that this URL (normalised) leads to, or why one of them cannot be understood. They are found
    /// by its name: BBB's scheme and port may have been others when they were added. An entry without a usable URL is
    /// nobody's.
    pub fn own(self, url: &str) -> Result<Vec<Server>, Error> {
        let Self { action, items } = self;
        let entries = items.into_iter().filter_map(|item| item.0);
        let own = entries.filter(|entry| host_of(url).is_some_and(|name| entry.has_host(name)));
        let servers = own.map(Raw::server).collect::<Result<_, _>>();
        servers.map_err(|what| Error::Unexpected { action, what })
    }
}
