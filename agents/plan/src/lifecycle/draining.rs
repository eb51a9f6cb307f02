//! Draining: what the host waits for, and until when.

use std::collections::BTreeSet;
use std::time::Duration;

use super::state::Care;
use super::{Cause, Moment, Policy, Upkeep, Work};

/// The longest interval between two counts of meetings and recordings while draining.
const COUNT: Duration = Duration::from_secs(10);

/// The most times that a drain makes Scalelite forget a host on which it still places meetings: each time enables the
/// entry for a moment.
const RECORDONS: u8 = 5;

/// See [`super::State::Draining`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The cause of the drain.
    pub cause: Cause,
    /// When the drain began.
    pub since: Moment,
    /// When the host leaves even if meetings or recordings remain.
    pub deadline: Moment,
    /// The registration, which is looked after meanwhile: users still find the running meetings by the name.
    pub care: Care,
    /// Whether the name is looked after too.
    pub names: bool,
    /// Whether the host is known to have its name.
    pub named: bool,
    /// The cordon, as long as it has not succeeded.
    pub cordon: Upkeep,
    /// Since when new meetings are placed elsewhere.
    pub cordoned: Option<Moment>,
    /// Since when there have been no meetings and no recordings.
    pub quiet_since: Option<Moment>,
    /// The meetings seen since the cordon.
    seen: Option<BTreeSet<String>>,
    /// Whether a new meeting was seen since, so that the host has to be cordoned again.
    leaking: bool,
    recordons: u8,
    announced: usize,
}

impl Drain {
    pub(super) fn new(cause: Cause, deadline: Moment, now: Moment) -> Self {
        Self {
            cause,
            since: now,
            deadline,
            care: Care::now(now),
            names: true,
            named: false,
            cordon: Upkeep::at(now),
            cordoned: None,
            quiet_since: None,
            seen: None,
            leaking: false,
            recordons: 0,
            announced: 0,
        }
    }

    /// Returns the interval between two counts.
    pub(super) fn interval(policy: &Policy) -> Duration {
        policy.count.min(COUNT)
    }

    /// Notes that the host is cordoned now: the next count shows what is left.
    pub(super) fn note_cordon(&mut self, policy: &Policy, now: Moment) {
        (self.cordoned, self.leaking) = (Some(now), false);
        // An earlier count may be out of date.
        self.quiet_since = None;
        self.care.entry.went_well(now + after_a_poll(policy));
    }

    /// Notes that the entry was enabled, though not by this agent.
    pub(super) fn note_enabling(&mut self, now: Moment) {
        (self.cordoned, self.seen, self.quiet_since) = (None, None, None);
        self.cordon = Upkeep::at(now);
    }

    /// Takes in the meetings and recordings counted after the cordon.
    pub(super) fn counted(&mut self, work: &Work, policy: &Policy, now: Moment) {
        let meetings = work.meetings.as_ref();
        let recordings = if policy.recordings { work.recordings } else { Some(0) };
        let empty = meetings.is_some_and(BTreeSet::is_empty) && recordings == Some(0);
        match empty {
            true => drop(self.quiet_since.get_or_insert(now)),
            false => self.quiet_since = None,
        }
        if let (Some(meetings), Some(_)) = (meetings, self.cordoned) {
            match &mut self.seen {
                None => self.seen = Some(meetings.clone()),
                Some(seen) => {
                    let new = !meetings.is_subset(seen);
                    seen.extend(meetings.iter().cloned());
                    if new && self.recordons < RECORDONS {
                        self.recordons += 1;
                        self.leaking = true;
                    }
                }
            }
        }
    }

    /// Tells whether a meeting was placed here in spite of the cordon.
    pub(super) fn leaks(&self) -> bool {
        self.leaking
    }

    /// Returns when the host counts as empty, unless something begins: not before a poll of Scalelite's has come and
    /// gone since the cordon, because a poll that was under way may have kept the host among those that get meetings.
    pub(super) fn empty_at(&self, policy: &Policy) -> Option<Moment> {
        let quiet = self.quiet_since? + policy.quiet;
        match (policy.scalelite, self.cordoned) {
            (false, _) => Some(quiet),
            (true, Some(since)) => Some(quiet.max(since + after_a_poll(policy))),
            // Without a cordon a meeting can begin at any moment.
            (true, None) => None,
        }
    }

    /// Moves the end of the drain; all announcements are made again for the new one.
    pub(super) fn ends_at(&mut self, deadline: Moment) {
        (self.deadline, self.announced) = (deadline, 0);
    }

    /// Returns the minutes left to announce to the running meetings now, if an announcement is due.
    pub(super) fn announcement(&mut self, policy: &Policy, work: Option<&Work>, now: Moment) -> Option<u64> {
        let due = policy.announce.iter().filter(|before| self.deadline <= now + **before).count();
        if due <= self.announced {
            return None;
        }
        self.announced = due;
        let meetings = work.and_then(|work| work.meetings.as_ref()).is_none_or(|ids| !ids.is_empty());
        let left = self.deadline.saturating_sub(now);
        (meetings && !left.is_zero()).then(|| left.as_secs().div_ceil(60).max(1))
    }

    /// Returns when the next announcement is due.
    pub(super) fn next_announcement(&self, policy: &Policy) -> Option<Moment> {
        let before = policy.announce.get(self.announced)?;
        Some(self.deadline.saturating_sub(*before))
    }
}

/// Returns the time after which a poll of Scalelite's has surely come and gone.
pub(super) fn after_a_poll(policy: &Policy) -> Duration {
    policy.poll + policy.poll / 4
}
