//! Draining: what the host waits for, and until when.

use std::time::Duration;

use super::cordon::{Cordon, after_a_poll};
use super::state::Care;
use super::{Cause, Moment, Policy, Window};
use crate::instance::Role;
use crate::work::Work;

/// The longest interval between two counts of the work while draining.
const COUNT: Duration = Duration::from_secs(10);

/// See [`super::State::Draining`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The cause of the drain.
    pub cause: Cause,
    /// When the drain began.
    pub since: Moment,
    /// When the host leaves even if work remains.
    pub deadline: Moment,
    /// The registration of a BBB host, which is looked after meanwhile: users still find the running meetings by the
    /// name.
    pub care: Care,
    /// Whether the name is looked after too.
    pub names: bool,
    /// Whether the host is known to have its name.
    pub named: bool,
    /// The cordon of the entry; on a TURN host the end of its name.
    pub cordon: Cordon,
    /// Since when nothing has been waited for.
    pub quiet_since: Option<Moment>,
    /// When meetings were last seen or to be expected, if any were.
    pub met: Option<Moment>,
    /// When the last count began.
    count_began: Option<Moment>,
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
            cordon: Cordon::due_now(now),
            quiet_since: None,
            met: None,
            count_began: None,
            announced: 0,
        }
    }

    /// Returns the interval between two counts.
    pub(super) fn interval(policy: &Policy) -> Duration {
        policy.count.min(COUNT)
    }

    /// Returns the times of this drain, of which a lifecycle action has held the instance since `held`.
    pub(super) fn window(&self, held: Option<Moment>) -> Window {
        Window { since: self.since, deadline: self.deadline, held, forced: false }
    }

    /// Notes that the host is cordoned now: the next count shows what is left.
    pub(super) fn note_cordon(&mut self, policy: &Policy, now: Moment) {
        self.cordon.succeeded(now);
        // An earlier count may be out of date.
        self.quiet_since = None;
        self.care.entry.went_well(now + after_a_poll(policy));
    }

    /// Notes that the entry was enabled, though not by this agent.
    pub(super) fn note_enabling(&mut self, now: Moment) {
        self.cordon.lifted(now);
        self.quiet_since = None;
    }

    /// Takes in the work counted after the cordon, by a count that began at this time.
    pub(super) fn counted(&mut self, work: &Work, policy: &Policy, began: Moment, now: Moment) {
        self.count_began = Some(began);
        match work.is_idle(&policy.rules) {
            true => drop(self.quiet_since.get_or_insert(now)),
            false => self.quiet_since = None,
        }
        if work.may_meet(&policy.rules) {
            self.met = Some(now);
        }
        self.cordon.counted(&work.meetings, now);
    }

    /// Returns when the host counts as empty, unless something begins: not before a poll of Scalelite's has come and
    /// gone since the cordon, because a poll that was under way may have kept the host among those that get meetings;
    /// on a TURN host not before a count that began when no resolver knew its name any more.
    pub(super) fn empty_at(&self, policy: &Policy) -> Option<Moment> {
        let quiet = self.quiet_since? + policy.quiet;
        // Without a cordon a meeting can begin at any moment, and by a name that stands a client can come.
        match (policy.role, policy.scalelite) {
            (Role::Turn, _) => {
                let forgotten = self.cordon.since()? + policy.ttl;
                Some(quiet).filter(|_| self.count_began.is_some_and(|began| began >= forgotten))
            }
            (Role::Bbb, true) => Some(quiet.max(self.cordon.since()? + after_a_poll(policy))),
            (Role::Bbb, false) => Some(quiet),
        }
    }

    /// Moves the end of the drain; all announcements are made again for the new one.
    pub(super) fn ends_at(&mut self, deadline: Moment) {
        (self.deadline, self.announced) = (deadline, 0);
    }

    /// Brings the end of the drain forward to this time, if it is later.
    pub(super) fn ends_by(&mut self, deadline: Moment) {
        if deadline < self.deadline {
            self.ends_at(deadline);
        }
    }

    /// Returns the minutes left to announce to the running meetings now, if an announcement is due.
    pub(super) fn announcement(&mut self, policy: &Policy, work: Option<&Work>, now: Moment) -> Option<u64> {
        let due = policy.announce.iter().filter(|before| self.deadline <= now + **before).count();
        if due <= self.announced {
            return None;
        }
        self.announced = due;
        let somebody = work.is_none_or(|work| work.may_meet(&policy.rules));
        let left = self.deadline.saturating_sub(now);
        (somebody && !left.is_zero()).then(|| left.as_secs().div_ceil(60).max(1))
    }

    /// Returns when the next announcement is due.
    pub(super) fn next_announcement(&self, policy: &Policy) -> Option<Moment> {
        let before = policy.announce.get(self.announced)?;
        Some(self.deadline.saturating_sub(*before))
    }
}
