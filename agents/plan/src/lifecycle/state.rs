//! The states of the machine, each with the facts to remember in it.

use super::cordon::Cordon;
use super::{Cause, Drain, Job, Moment, Policy, Rest, StopCause, Trouble, Upkeep, Window};
use crate::membership;

/// The state of the host in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The metadata service has not said yet what is intended with the host.
    Starting,
    /// The host gets its name, then joins Scalelite.
    Joining(Joining),
    /// The host is registered as it should be, though Scalelite may not reach it: see [`Polled`].
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

/// The state that a joining host wants for its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The entry takes meetings.
    Serve,
    /// The entry takes no new meetings, for this reason.
    Rest(Rest),
    /// The entry keeps the state that it has.
    Keep,
}

impl Aim {
    /// Returns the job that reaches it.
    pub(super) fn job(self) -> Job {
        match self {
            Self::Serve => Job::Join(membership::State::Enabled),
            // Such a host adds no entry, but may have one since before a crash.
            Self::Rest(why) if why.needs_repair() => Job::Look,
            Self::Rest(_) => Job::Join(membership::State::Cordoned),
            Self::Keep => Job::Keep,
        }
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
    /// What the host joins for.
    pub aim: Aim,
    /// Since when the host, which joins no pool, is known to have no entry.
    pub absent_since: Option<Moment>,
    /// Whether Scalelite's poller has overwritten such an enabling already: an entry that is found disabled again is
    /// then taken for an operator's decision.
    pub overwritten: bool,
}

/// See [`State::Serving`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The upkeep of the registration.
    pub care: Care,
    /// When the agent enabled the entry; `None` again after Scalelite's poller has disabled it once, and when it was seen
    /// enabled more than two polls later.
    pub enabled: Option<Moment>,
    /// Whether Scalelite's polls reach the host: without them no meeting is placed on it.
    pub polled: Polled,
}

/// The polls of Scalelite's, as the entry shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// They reach the host.
    Reached,
    /// The entry has shown no poll since this time; one may still come.
    Awaited(Moment),
    /// The entry has shown no poll for so long that something is wrong, since this time.
    Offline(Moment),
}

impl Polled {
    /// Returns what an entry that is enabled shows, after it has shown this before.
    pub(super) fn shown(self, reached: bool, now: Moment) -> Self {
        match self {
            _ if reached => Self::Reached,
            Self::Reached => Self::Awaited(now),
            Self::Awaited(_) | Self::Offline(_) => self,
        }
    }

    /// Returns when polls that have not come are a reason to look at the host. Scalelite needs two failed polls to call
    /// a server offline (observed on 1.8.5).
    pub(super) fn missed_at(self, policy: &Policy) -> Option<Moment> {
        match self {
            Self::Awaited(since) => Some(since + 3 * policy.poll),
            Self::Reached | Self::Offline(_) => None,
        }
    }
}

/// See [`State::Cordoned`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cordoned {
    /// The upkeep of the registration.
    pub care: Care,
    /// The reason for taking no new meetings.
    pub why: Rest,
    /// The cordon; `None` for one that an operator has made, which is not watched.
    pub cordon: Option<Cordon>,
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
    /// The times of the drain before it, if there was one.
    pub window: Option<Window>,
    /// When meetings were last seen or were to be expected, unless the drain before has seen the last one go: their
    /// recordings have not been waited for.
    pub met: Option<Moment>,
    /// Set once the job is done or given up; only the end of the lifecycle action is left then.
    pub left: Option<Left>,
    /// The upkeep of the lifecycle action's completion.
    pub complete: Upkeep,
}

/// The host has left, or has given up trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The result.
    pub result: Result<(), String>,
    /// Until when the recordings of the last meetings are waited for; `None` without any wait.
    pub recordings_until: Option<Moment>,
    /// Since when no recording has been waited for.
    pub quiet_since: Option<Moment>,
}

impl Left {
    /// Returns the end of leaving with nothing more to wait for.
    pub(super) fn with(result: Result<(), String>) -> Self {
        Self { result, recordings_until: None, quiet_since: None }
    }

    /// Returns when the wait for recordings is over as far as is known, if there still is one. Before a host counts as
    /// empty, nothing has been waited for during `quiet`.
    pub(super) fn over_at(&self, quiet: std::time::Duration) -> Option<Moment> {
        let until = self.recordings_until?;
        Some(self.quiet_since.map_or(until, |since| until.min(since + quiet)))
    }
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
    /// The work that undoes what the cause demands.
    pub undoing: Undoing,
}

/// The work of a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undoing {
    /// This job has to be done.
    Job(Job, Upkeep),
    /// The entry has to be cordoned, which needs a look after the next poll.
    Cordon(Cordon),
    /// Nothing is left but the end of the protection from scale-in.
    Nothing,
}

impl Undoing {
    /// Returns the job that is needed now, and when it is due.
    pub(super) fn job(&self) -> Option<(Job, Moment)> {
        match self {
            Self::Job(job, part) => Some((*job, part.due())),
            Self::Cordon(cordon) => cordon.job(),
            Self::Nothing => None,
        }
    }

    /// Returns why the last try has failed, if it has.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Job(_, part) => part.trouble(),
            Self::Cordon(cordon) => cordon.trouble(),
            Self::Nothing => None,
        }
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, until: &mut Moment, trouble: Trouble, now: Moment, chance: f64) {
        let part = match self {
            Self::Job(_, part) => part,
            Self::Cordon(cordon) => cordon.upkeep(),
            Self::Nothing => return,
        };
        part.failed_at_the_end(until, trouble, now, chance);
    }
}

impl State {
    /// Returns a stable word for the state.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Joining(_) => "joining",
            Self::Serving(Serving { polled: Polled::Offline(_), .. }) => "offline",
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
