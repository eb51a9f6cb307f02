//! The zone's authoritative servers, as the service keeps them: found again when the resolver's answers are no longer
//! valid, soon when an address is missing, and replaced by the hosted zone's own where they turn out to be another
//! zone's.

use std::cell::RefCell;
use std::time::Duration;

use clients::aws::route53::{Description, Error};
use clients::dns::authoritative::NameServers;
use tokio::time::Instant;

use crate::dns::delegation::{Delegation, OtherZone};

/// The longest time for which servers are used without finding them again...
const LONGEST: Duration = Duration::from_secs(3600);
/// ... and the shortest, if all have their addresses: a resolver may say that its answers are valid for a moment.
const SHORTEST: Duration = Duration::from_secs(60);
/// The time after which servers are looked up again if the address of one is missing. It doubles each time...
const SOON: Duration = Duration::from_secs(5);
/// ... up to this.
const LATER: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Servers {
    known: RefCell<Option<Known>>,
    /// The hosted zone's own servers, where the resolver leads to others.
    own: RefCell<Option<Delegation>>,
    /// The names of the servers that were compared last.
    compared: RefCell<Option<Vec<String>>>,
}

#[derive(Debug)]
struct Known {
    found: NameServers,
    at: Instant,
    /// How often in a row an address was missing.
    incomplete: u32,
}

impl Known {
    fn new(found: NameServers, former: Option<&Self>) -> Self {
        let incomplete = match found.is_complete() {
            true => 0,
            false => former.map_or(0, |former| former.incomplete).saturating_add(1),
        };
        Self { found, at: Instant::now(), incomplete }
    }

    fn is_fresh(&self) -> bool {
        self.at.elapsed() < self.kept_for()
    }

    fn kept_for(&self) -> Duration {
        if let Some(doublings) = self.incomplete.checked_sub(1) {
            return SOON.saturating_mul(2_u32.saturating_pow(doublings)).min(LATER);
        }
        match self.found.valid_until() {
            Some(until) => until.saturating_duration_since(self.at).clamp(SHORTEST, LONGEST),
            None => LONGEST,
        }
    }
}

impl Servers {
    /// Returns the servers to ask. `find` finds them, by the resolver's word or as the zone's own. When that fails,
    /// the former ones are asked: without any, Route 53's API would be, by all hosts at once.
    pub(super) async fn get(
        &self,
        find: impl AsyncFn(Option<Delegation>) -> Result<NameServers, String>,
    ) -> Result<NameServers, String> {
        if let Some(known) = self.known.borrow().as_ref().filter(|known| known.is_fresh()) {
            return Ok(known.found.clone());
        }
        let own = self.own.borrow().clone();
        let found = find(own).await;
        let mut known = self.known.borrow_mut();
        match found {
            Ok(found) => {
                *known = Some(Known::new(found.clone(), known.as_ref()));
                Ok(found)
            }
            Err(why) => known.as_ref().map(|former| former.found.clone()).ok_or(why),
        }
    }

    /// Compares the servers with the hosted zone's own, once for each set of servers: `describe` asks Route 53,
    /// `compare` does it. Where they are another zone's, the own ones are asked from now on; returns what differs.
    pub(super) async fn doubt(
        &self,
        describe: impl AsyncFnOnce() -> Result<Description, Error>,
        compare: impl AsyncFnOnce(&NameServers, &Description) -> Option<OtherZone>,
    ) -> Result<Option<String>, Error> {
        let found = match self.known.borrow().as_ref() {
            Some(known) if known.found.zone().is_some() => known.found.clone(),
            _ => return Ok(None),
        };
        let names = found.names();
        if self.own.borrow().is_some() || self.compared.borrow().as_ref() == Some(&names) {
            return Ok(None);
        }
        let described = describe().await?;
        let other = compare(&found, &described).await;
        self.compared.replace(Some(names));
        let Some(OtherZone { words, own, servers }) = other else { return Ok(None) };
        self.own.replace(Some(own));
        self.known.replace(servers.ok().map(|servers| Known::new(servers, None)));
        Ok(Some(words))
    }
}

#[cfg(test)]
#[path = "name_servers_tests.rs"]
mod tests;
