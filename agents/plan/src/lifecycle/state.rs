//! The states of the machine, each with the facts to remember in it.

use super::{Cause, Drain, Moment, Rest, StopCause, Upkeep};

/// The state of the host in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The metadata service has not said yet what is intended with the host.
    Starting,
    /// The host gets its name, then joins Scalelite.
    Joining(Joining),
    /// The host is registered as it should be.
    Serving(Serving),
    /// The host has its name and its entry, and takes no new meetings.
    Cordoned(Cordoned),
    /// The host takes no new meetings and leaves when the running ones have ended.
    Draining(Drain),
    /// The host leaves.
    Leaving(Leaving),
    /// Nothing is registered, and nothing is meant to be.
    Unregistered(Unregistered),
    /// The service undoes what the cause of its stop demands.
    Stopping(Stopping),
    /// The service has ended.
    Ended,
}

/// The upkeep of a registered host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Care {
    /// The upkeep of its name.
    pub name: Upkeep,
    /// The upkeep of its entry in Scalelite.
    pub entry: Upkeep,
}

impl Care {
    /// Returns an upkeep in which everything is due now.
    pub(super) fn now(now: Moment) -> Self {
        Self { name: Upkeep::at(now), entry: Upkeep::at(now) }
    }
}

/// See [`State::Joining`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The upkeep of the registration.
    pub care: Care,
    /// Since when the name has been registered without answering everywhere.
    pub behind_since: Option<Moment>,
    /// Whether the name may be built upon.
    pub named: bool,
    /// Whether to enable an entry that is cordoned or disabled.
    pub enable: bool,
    /// Whether Scalelite's poller has overwritten such an enabling already: an entry that is found disabled again is
    /// then taken for an operator's decision.
    pub overwritten: bool,
}

/// See [`State::Serving`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The upkeep of the registration.
    pub care: Care,
    /// When the agent enabled the entry; `None` again after Scalelite's poller has disabled it once.
    pub enabled: Option<Moment>,
}

/// See [`State::Cordoned`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cordoned {
    /// The upkeep of the registration.
    pub care: Care,
    /// The reason for taking no new meetings.
    pub why: Rest,
    /// Whether the agent still has to cordon the entry.
    pub cordon: bool,
}

/// See [`State::Leaving`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The cause of leaving.
    pub cause: Cause,
    /// Whether the deadline ended the drain before it.
    pub forced: bool,
    /// When to give up.
    pub until: Moment,
    /// The upkeep of the job that undoes the registration.
    pub part: Upkeep,
    /// The result of the job once it is done or given up; only the end of the lifecycle action is left then.
    pub left: Option<Result<(), String>>,
    /// The upkeep of the lifecycle action's completion.
    pub complete: Upkeep,
}

/// See [`State::Unregistered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unregistered {
    /// The cause; `None` in a warm pool that the host has not left yet.
    pub cause: Option<Cause>,
    /// The failure that left something registered.
    pub trouble: Option<String>,
}

/// See [`State::Stopping`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// The cause of the stop.
    pub cause: StopCause,
    /// When to give up.
    pub until: Moment,
    /// The upkeep of the job that undoes the registration.
    pub part: Upkeep,
    /// Whether the job is done; only the end of the protection from scale-in is left then.
    pub done: bool,
}

impl State {
    /// Returns a stable word for the state.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Joining(_) => "joining",
            Self::Serving(_) => "serving",
            Self::Cordoned(_) => "cordoned",
            Self::Draining(_) => "draining",
            Self::Leaving(_) => "leaving",
            Self::Unregistered(_) => "unregistered",
            Self::Stopping(_) => "stopping",
            Self::Ended => "ended",
        }
    }

    /// Returns the upkeep of a registered host.
    pub(super) fn care_mut(&mut self) -> Option<&mut Care> {
        match self {
            Self::Joining(state) => Some(&mut state.care),
            Self::Serving(state) => Some(&mut state.care),
            Self::Cordoned(state) => Some(&mut state.care),
            Self::Draining(state) => Some(&mut state.care),
            Self::Starting | Self::Leaving(_) | Self::Unregistered(_) | Self::Stopping(_) | Self::Ended => {
                None
            }
        }
    }
}
