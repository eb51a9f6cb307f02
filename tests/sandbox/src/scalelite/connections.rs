//! The connections to Redis on which a save that had nothing to write leaves its `WATCH` behind, so that the next
//! transaction there fails although nobody else changes anything at that moment.
//!
//! Observed on Scalelite 1.8.5 with two puma workers: 60 lives one after the other (add, enable, disable, panic,
//! delete) gave 500 to 18 of 60 `addServer`, and 400 to 4 of 84 `updateServer`; with one worker, none. This is the
//! likely cause: the panic of a disabled entry without meetings saves nothing, so that Redis is sent the `WATCH`, but
//! neither `EXEC` nor `UNWATCH`. Each worker serves a client that is alone with one and the same connection.

use serde::{Deserialize, Serialize};

use super::State;
use super::store::{Edit, Loaded, SaveError, Server};

/// How many connections there are on which a `WATCH` can be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrayWatches {
    /// The number of puma's workers, one connection each. With one there are no conflicts.
    pub workers: usize,
    /// Whether a delete on such a connection answers 200 and deletes nothing. Nobody has observed that: it follows
    /// from Redis, and from a delete that does not look at what `EXEC` has answered.
    #[serde(default)]
    pub lost_deletes: bool,
}

impl Default for StrayWatches {
    /// Returns two workers, as observed.
    fn default() -> Self {
        Self { workers: 2, lost_deletes: false }
    }
}

/// The connections, and what is still watched on them.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) options: Option<StrayWatches>,
    rng: fastrand::Rng,
    /// The version of the set of servers at which a `WATCH` was left, by connection.
    watched: Vec<Option<u64>>,
}

impl Connections {
    pub(super) fn new(options: Option<StrayWatches>, seed: u64) -> Self {
        Self { options, rng: fastrand::Rng::with_seed(seed), watched: Vec::new() }
    }

    /// Returns what is watched on the connection of the worker that serves the next request; none while nothing can be
    /// left on one.
    fn next(&mut self) -> Option<&mut Option<u64>> {
        let workers = self.options?.workers.max(1);
        self.watched.resize(workers, None);
        let worker = self.rng.usize(0..workers);
        self.watched.get_mut(worker)
    }

    /// Sends a transaction, which ends what is watched; tells whether it goes through.
    fn execute(&mut self, version: u64) -> bool {
        self.next().and_then(Option::take).is_none_or(|watched| watched == version)
    }

    /// Sends no transaction, because there is nothing to write.
    fn leave(&mut self, version: u64) {
        if let Some(watched) = self.next() {
            // A watch that has failed already stays failed.
            watched.get_or_insert(version);
        }
    }
}

/// What the API's requests write.
impl State {
    pub(super) fn add(&mut self, server: Server, version: u64) -> Result<Loaded, SaveError> {
        let goes_through = self.connections.execute(self.store.version());
        if self.store.servers.contains_key(&server.id) {
            return Err(SaveError::Exists(server.id));
        }
        if goes_through { self.store.add(server, version) } else { Err(SaveError::Conflict) }
    }

    pub(super) fn save(&mut self, copy: Loaded, edit: Edit, version: u64) -> Result<Loaded, SaveError> {
        let now = self.store.version();
        if self.store.servers.contains_key(&copy.server.id) && edit.is_empty_for(&copy) {
            self.connections.leave(now);
        } else if !self.connections.execute(now) && self.store.servers.contains_key(&copy.server.id) {
            return Err(SaveError::Conflict);
        }
        self.store.save(copy, edit, version)
    }

    pub(super) fn delete(&mut self, id: &str) {
        let goes_through = self.connections.execute(self.store.version());
        if goes_through || !self.connections.options.is_some_and(|options| options.lost_deletes) {
            self.store.delete(id);
        }
    }
}
