//! The memory of the host's entries: with their ids, each look costs Scalelite one entry and not the whole pool.
//!
//! Listing 1,000 servers takes Scalelite 162 ms and 262 KB, reading one of them 6 to 11 ms (measured on 1.8.5). So
//! the pool is listed when the host joins, when an entry is not there any more, when an operator asks for a check,
//! and once in some hours to find duplicates.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use plan::membership::Entry;
use secrecy::SecretString;
use tokio::time::Instant;

use clients::scalelite::{Error, Management, Own};

/// The usual time between two lists of the pool for duplicates ...
const LISTS: Duration = Duration::from_secs(4 * 3600);
/// ... unless the hosts of a large pool would list it more often than this, one after the other: then what the lists
/// cost Scalelite grows with the pool, and not with its square.
const TURN: Duration = Duration::from_secs(360);

/// For how long entries that were read ahead count: a name far away takes less.
const AHEAD: Duration = Duration::from_secs(2);

/// The ids of the host's entries, as the pool was listed last.
#[derive(Debug, Default)]
pub struct Known {
    ids: RefCell<Vec<String>>,
    /// When to list the pool again; `None` before the first list.
    due: Cell<Option<Instant>>,
    /// How often it was to be listed again: what was read before does not count then.
    forgotten: Cell<u64>,
    /// The entries that were read ahead, until somebody asks for them.
    ahead: RefCell<Option<(Instant, Own)>>,
}

impl Known {
    /// Lists the pool at the next look.
    pub fn forget(&self) {
        self.ids.take();
        self.due.set(None);
        self.forgotten.set(self.forgotten.get() + 1);
    }

    /// Lists the pool for the next look, which comes soon: meanwhile something else is waited for. A failure says
    /// nothing, because that look will list it again.
    pub async fn read_ahead(&self, scalelite: &impl Management, url: &str, secret: &SecretString) {
        let at = Instant::now();
        let own = scalelite.entries(url, secret).await;
        self.ahead.replace(own.ok().map(|own| (at, own)));
    }

    /// Tells whether ids of entries are known.
    pub(super) fn has_ids(&self) -> bool {
        !self.ids.borrow().is_empty()
    }

    /// Notes an entry that was added.
    pub(super) fn added(&self, id: &str) {
        self.ids.borrow_mut().push(id.to_owned());
    }

    /// Reads the host's entries: those that are known, or the pool where none is known or they are not all there any
    /// more.
    /// `again` says that they were read before by the same job, whose own changes explain what is missing.
    pub async fn entries(
        &self,
        scalelite: &impl Management,
        url: &str,
        secret: &SecretString,
        again: bool,
    ) -> Result<Vec<Entry>, Error> {
        let listed = self.due.get().is_some_and(|due| Instant::now() < due);
        let (known, forgotten) = (self.ids.borrow().clone(), self.forgotten.get());
        let note = |entries: &[Entry], due: Option<Instant>| {
            if self.forgotten.get() == forgotten {
                *self.ids.borrow_mut() = entries.iter().map(|entry| entry.id.clone()).collect();
                self.due.set(due);
            }
        };
        if listed && (again || !known.is_empty()) {
            let mut found = Vec::new();
            for id in &known {
                found.extend(scalelite.entry(id, url, secret).await?);
            }
            if again || found.len() == known.len() {
                note(&found, self.due.get());
                return Ok(found);
            }
        }
        let ahead = self.ahead.take().filter(|(at, _)| !again && at.elapsed() < AHEAD);
        let Own { entries, pool, .. } = match ahead {
            Some((_, own)) => own,
            None => scalelite.entries(url, secret).await?,
        };
        note(&entries, Some(Instant::now() + until_next(pool, fastrand::f64())));
        Ok(entries)
    }
}

/// Returns the time to the next list of a pool of this size. Each host draws its own `chance` from `0.0..1.0`, so
/// that the hosts of a fleet come one after the other.
fn until_next(pool: usize, chance: f64) -> Duration {
    let turns = TURN.saturating_mul(u32::try_from(pool).unwrap_or(u32::MAX));
    LISTS.max(turns).mul_f64(0.75 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clients::scalelite::Update;
    use plan::membership::State;
    use plan::record::Name;

    use super::*;

    /// A pool of this size, which counts the rows that it serves.
    struct Pool {
        size: usize,
        rows: Cell<usize>,
        lists: Cell<usize>,
    }

    fn entry() -> Entry {
        Entry {
            id: "id".to_owned(),
            id_is_host: false,
            state: State::Enabled,
            online: true,
            load: Some(0.0),
            multiplier: Some(1.0),
            tag: None,
            secret_matches: true,
            url_matches: true,
        }
    }

    impl Management for Pool {
        async fn entries(&self, _: &str, _: &SecretString) -> Result<Own, Error> {
            self.rows.set(self.rows.get() + self.size);
            self.lists.set(self.lists.get() + 1);
            Ok(Own { entries: vec![entry()], pool: self.size, others: self.size - 1 })
        }

        async fn entry(&self, _: &str, _: &str, _: &SecretString) -> Result<Option<Entry>, Error> {
            self.rows.set(self.rows.get() + 1);
            Ok(Some(entry()))
        }

        async fn names(&self) -> Result<BTreeSet<Name>, Error> {
            Err(Error::Address)
        }

        async fn add(
            &self,
            _: &str,
            _: &SecretString,
            _: Option<f64>,
            _: Option<&str>,
        ) -> Result<String, Error> {
            Err(Error::Address)
        }

        async fn update(&self, _: &str, _: Update<'_>) -> Result<(), Error> {
            Err(Error::Address)
        }

        async fn enable(&self, _: &str) -> Result<(), Error> {
            Err(Error::Address)
        }

        async fn cordon(&self, _: &str) -> Result<(), Error> {
            Err(Error::Address)
        }

        async fn disable(&self, _: &str) -> Result<(), Error> {
            Err(Error::Address)
        }

        async fn panic(&self, _: &str) -> Result<(), Error> {
            Err(Error::Address)
        }

        async fn delete(&self, _: &str) -> Result<(), Error> {
            Err(Error::Address)
        }
    }

    /// Lets a fleet check its entries every five minutes for a day after the joins, and returns the rows that are
    /// served in an hour, and the lists in the busiest five minutes.
    async fn day(hosts: usize) -> (usize, usize) {
        let pool = Pool { size: hosts, rows: Cell::default(), lists: Cell::default() };
        let fleet: Vec<Known> = (0..hosts).map(|_| Known::default()).collect();
        let secret = SecretString::default();
        for known in &fleet {
            known.entries(&pool, "https://vc-1.example.org", &secret, false).await.unwrap();
        }
        assert_eq!(pool.lists.get(), hosts, "a join lists the pool once");
        pool.rows.set(0);
        let mut busiest = 0;
        for _ in 0..288 {
            tokio::time::advance(Duration::from_secs(300)).await;
            let before = pool.lists.get();
            for known in &fleet {
                known.entries(&pool, "https://vc-1.example.org", &secret, false).await.unwrap();
            }
            busiest = busiest.max(pool.lists.get() - before);
        }
        (pool.rows.get() / 24, busiest)
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_fleet_costs_scalelite_grows_with_the_fleet() {
        fastrand::seed(14);
        println!(
            "| hosts | rows an hour | before, each check listed the pool | lists in the busiest 5 min |"
        );
        for (hosts, most) in [(10, 200), (100, 3_000), (1000, 30_000)] {
            let (rows, busiest) = day(hosts).await;
            println!("| {hosts} | {rows} | {} | {busiest} |", 12 * hosts * hosts);
            assert!(rows <= most, "{hosts} hosts: {rows} rows an hour");
            // Hosts that have joined together do not list together.
            assert!(busiest <= 6 + hosts / 20, "{hosts} hosts: {busiest} lists");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_listed_again() {
        let pool = Pool { size: 3, rows: Cell::default(), lists: Cell::default() };
        let (known, secret) = (Known::default(), SecretString::default());
        for _ in 0..2 {
            known.entries(&pool, "https://vc-1.example.org", &secret, false).await.unwrap();
        }
        assert_eq!(pool.lists.get(), 1);
        known.forget();
        known.entries(&pool, "https://vc-1.example.org", &secret, false).await.unwrap();
        assert_eq!(pool.lists.get(), 2);
    }
}
