//! The states, with what has to be remembered in each.

use super::{Cause, Drain, Moment, Rest, StopCause, Upkeep};

/// Where the host stands in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The metadata service has not said yet what is intended with the host.
    Starting,
    /// It gets its name, then joins Scalelite.
    Joining(Joining),
    /// It is registered as it should be.
    Serving(Serving),
    /// It has its name and its entry, and takes no new meetings.
    Cordoned(Cordoned),
    /// It takes no new meetings and leaves when the running ones have ended.
    Draining(Drain),
    /// It leaves.
    Leaving(Leaving),
    /// Nothing is registered, and nothing shall be.
    Unregistered(Unregistered),
    /// The service undoes what the cause of its stop demands.
    Stopping(Stopping),
    /// The service has ended.
    Ended,
}

/// What is looked after while the host is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Care {
    /// Its name.
    pub name: Upkeep,
    /// Its entry in Scalelite.
    pub entry: Upkeep,
}

impl Care {
    /// Everything is looked at now.
    pub(super) fn now(now: Moment) -> Self {
        Self { name: Upkeep::at(now), entry: Upkeep::at(now) }
    }
}

/// See [`State::Joining`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// What is looked after.
    pub care: Care,
    /// Since when the name is registered but does not answer everywhere.
    pub behind_since: Option<Moment>,
    /// Whether the name may be built upon.
    pub named: bool,
    /// Whether an entry that is cordoned or disabled is enabled.
    pub enable: bool,
    /// Whether Scalelite's poller has overwritten such an enabling already: what is found disabled next is somebody's doing.
    pub overwritten: bool,
}

/// See [`State::Serving`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// What is looked after.
    pub care: Care,
    /// When the agent enabled the entry, until it was found disabled by Scalelite's poller once.
    pub enabled: Option<Moment>,
}

/// See [`State::Cordoned`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cordoned {
    /// What is looked after.
    pub care: Care,
    /// Why.
    pub why: Rest,
    /// Whether the agent has still to cordon the entry.
    pub cordon: bool,
}

/// See [`State::Leaving`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Why.
    pub cause: Cause,
    /// Whether the deadline ended the drain before it.
    pub forced: bool,
    /// When to give up.
    pub until: Moment,
    /// The job.
    pub part: Upkeep,
    /// The job is done, or given up with what went wrong: what is left is to end the lifecycle action.
    pub left: Option<Result<(), String>>,
    /// The end of the lifecycle action.
    pub complete: Upkeep,
}

/// See [`State::Unregistered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unregistered {
    /// Why; `None` in the warm pool that the host has not left yet.
    pub cause: Option<Cause>,
    /// What could not be undone.
    pub trouble: Option<String>,
}

/// See [`State::Stopping`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// Why.
    pub cause: StopCause,
    /// When to give up.
    pub until: Moment,
    /// The job.
    pub part: Upkeep,
    /// It is done; what is left is to end the protection from scale-in.
    pub done: bool,
}

impl State {
    /// A stable word for it.
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

    /// What is looked after, where the host is registered.
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
