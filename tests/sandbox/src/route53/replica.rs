//! The zones as one name server knows them: a snapshot that follows the true state at its own pace.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::zone::Zones;

/// The way in which changes reach a name server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// At once.
    #[default]
    Immediate,
    /// After this time, by the clock of [`super::Options`].
    After(Duration),
    /// When released.
    Held,
}

/// One name server's copy of the zones.
#[derive(Debug)]
pub(crate) struct Replica {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    propagation: Propagation,
    version: u64,
    zones: Arc<Zones>,
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    due: Option<Instant>,
    version: u64,
    zones: Arc<Zones>,
}

impl Replica {
    pub(crate) fn new(clock: Clock, propagation: Propagation, version: u64, zones: Arc<Zones>) -> Self {
        let state = State { propagation, version, zones, pending: VecDeque::new() };
        Self { clock, state: Mutex::new(state) }
    }

    /// Hands over a new snapshot.
    pub(crate) fn publish(&self, version: u64, zones: Arc<Zones>) {
        self.with(|state, now| {
            let due = match state.propagation {
                Propagation::Immediate => Some(now),
                Propagation::After(delay) => Some(now + delay),
                Propagation::Held => None,
            };
            state.pending.push_back(Pending { due, version, zones });
        });
    }

    /// Sets how later changes travel; those under way keep their time.
    pub(crate) fn set_propagation(&self, propagation: Propagation) {
        self.with(|state, _| state.propagation = propagation);
    }

    /// Lets all changes arrive that are under way.
    pub(crate) fn release(&self) {
        self.with(|state, now| state.pending.iter_mut().for_each(|pending| pending.due = Some(now)));
    }

    pub(crate) fn zones(&self) -> Arc<Zones> {
        self.with(|_, _| ());
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).zones)
    }

    pub(crate) fn version(&self) -> u64 {
        self.with(|_, _| ());
        self.state.lock().unwrap_or_else(PoisonError::into_inner).version
    }

    /// Acts on the state, then applies the snapshots that are due: time passes only at such accesses.
    fn with(&self, act: impl FnOnce(&mut State, Instant)) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut state, now);
        // Snapshots are complete: the newest that is due replaces all before it.
        let due = state.pending.iter().rposition(|pending| pending.due.is_some_and(|due| due <= now));
        if let Some(newest) = due.and_then(|index| state.pending.drain(..=index).next_back()) {
            state.version = newest.version;
            state.zones = newest.zones;
        }
    }
}
