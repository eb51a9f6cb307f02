//! The cordon of the host's entry by this agent, with its watch for leaks: Scalelite's poller can put a host back among
//! those that get meetings, although its entry says cordoned. Draining, standby, rebalance and maintenance use the same
//! cordon.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Job, Moment, Policy, Trouble, Upkeep};
use crate::work::{Meetings, Room};

/// The most times in a row that the entry is enabled and cordoned again because Scalelite still places meetings here:
/// each time enables the entry for a moment.
const RECORDONS: u8 = 5;

/// The time without a leak after which the count of [`RECORDONS`] begins anew.
const CALM: Duration = Duration::from_secs(3600);

/// A cordon of the host's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cordon {
    upkeep: Upkeep,
    since: Option<Moment>,
    /// When the meetings were counted last.
    counted: Option<Moment>,
    /// The meetings seen since the cordon.
    seen: Option<BTreeSet<String>>,
    /// Whether a new meeting was seen since, so that the entry has to be cordoned again.
    leaking: bool,
    recordons: u8,
    /// When the last leak was seen.
    leaked: Moment,
}

impl Cordon {
    /// Returns a cordon that is due now.
    pub(super) fn due_now(now: Moment) -> Self {
        Self {
            upkeep: Upkeep::at(now),
            since: None,
            counted: None,
            seen: None,
            leaking: false,
            recordons: 0,
            leaked: Moment::ZERO,
        }
    }

    /// Returns the cordon of an entry that this agent has cordoned before.
    pub(super) fn found(now: Moment) -> Self {
        Self { since: Some(now), ..Self::due_now(now) }
    }

    /// Returns since when new meetings are placed elsewhere; `None` while the cordon has not succeeded.
    pub fn since(&self) -> Option<Moment> {
        self.since
    }

    /// Returns why the last try has failed, if it has.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.upkeep.trouble()
    }

    /// Returns the job that the cordon needs, and when it is due; `None` while it holds.
    pub(super) fn job(&self) -> Option<(Job, Moment)> {
        match (self.since, self.leaking) {
            (None, _) => Some((Job::Cordon, self.upkeep.due())),
            (Some(_), true) => Some((Job::Recordon, self.upkeep.due())),
            (Some(_), false) => None,
        }
    }

    /// Notes that the entry is cordoned now: the next count shows what is left.
    pub(super) fn succeeded(&mut self, now: Moment) {
        (self.since, self.leaking) = (Some(now), false);
        self.upkeep.went_well(now);
    }

    /// Notes that a try has failed.
    pub(super) fn failed(&mut self, trouble: Trouble, now: Moment, chance: f64) {
        self.upkeep.failed(trouble, now, chance);
    }

    /// Returns the upkeep of the entry's state.
    pub(super) fn upkeep(&mut self) -> &mut Upkeep {
        &mut self.upkeep
    }

    /// Tells whether the cordon has held since a poll has come and gone, as far as the meetings tell.
    pub(super) fn is_settled(&self, policy: &Policy) -> bool {
        let polled = self.since.map(|since| since + after_a_poll(policy));
        !self.leaking && polled.zip(self.counted).is_some_and(|(polled, counted)| counted >= polled)
    }

    /// Notes that the entry was enabled, though not by this agent.
    pub(super) fn lifted(&mut self, now: Moment) {
        *self = Self { recordons: self.recordons, leaked: self.leaked, ..Self::due_now(now) };
    }

    /// Makes a failed try due now.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.upkeep.hurry(now);
    }

    /// Takes in the meetings counted after the cordon. A meeting that was not there before was placed here in spite of
    /// it; a breakout room proves nothing, because it comes with its meeting. What a list that was cut off does not
    /// show may have been there before.
    pub(super) fn counted(&mut self, meetings: &Meetings, now: Moment) {
        if self.since.is_none() {
            return;
        }
        self.counted = Some(now);
        let main = meetings.listed.iter().filter(|meeting| meeting.room == Room::Main);
        let ids: BTreeSet<String> = main.map(|meeting| meeting.id.clone()).collect();
        match &mut self.seen {
            None if meetings.unlisted.is_some() => {}
            None => self.seen = Some(ids),
            Some(seen) => {
                let new = !ids.is_subset(seen);
                seen.extend(ids);
                if new {
                    self.leak(now);
                }
            }
        }
    }

    fn leak(&mut self, now: Moment) {
        if now.saturating_sub(self.leaked) >= CALM {
            self.recordons = 0;
        }
        self.leaked = now;
        if self.recordons < RECORDONS {
            self.recordons += 1;
            self.leaking = true;
        }
    }
}

/// Returns the time after which a poll of Scalelite's has surely come and gone.
pub(super) fn after_a_poll(policy: &Policy) -> Duration {
    policy.poll + policy.poll / 4
}
