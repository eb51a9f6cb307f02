//! Upkeep of one thing again and again: when it is due, and its last failure.

use std::time::Duration;

use super::{Moment, Trouble, TroubleKind};
use crate::backoff::Backoff;

/// One thing that is looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    due: Moment,
    trouble: Option<Trouble>,
    backoff: Backoff,
}

impl Upkeep {
    /// Returns a part that is due at this time.
    pub(super) fn at(due: Moment) -> Self {
        Self { due, trouble: None, backoff: pace(TroubleKind::Passing) }
    }

    /// Returns when the part is due.
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// Tells whether the part is due.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.due <= now
    }

    /// Returns how long the part waits for other hosts' turns, if it does.
    pub(super) fn turn(&self, now: Moment) -> Option<Duration> {
        let trouble = self.trouble.as_ref()?;
        matches!(trouble.kind, TroubleKind::Turn(_)).then(|| self.due.saturating_sub(now))
    }

    /// Returns the last failure, unless the last try went well.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Notes a success; the part is due again at this time.
    pub(super) fn went_well(&mut self, due: Moment) {
        *self = Self::at(due);
    }

    /// Notes a failure; `chance` spreads the next try.
    pub(super) fn failed(&mut self, trouble: Trouble, now: Moment, chance: f64) {
        let same =
            |former: &Trouble| std::mem::discriminant(&former.kind) == std::mem::discriminant(&trouble.kind);
        if !self.trouble.as_ref().is_some_and(same) {
            self.backoff = pace(trouble.kind);
        }
        // Never retry at once: full jitter may draw zero, and a service that refuses connections answers at once.
        let wait = match trouble.kind {
            TroubleKind::Turn(wait) => wait,
            _ => self.backoff.next(chance),
        };
        self.due = now + wait.max(Duration::from_millis(100));
        self.trouble = Some(trouble);
    }

    /// Makes the part due now, if it is not due yet.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.due = self.due.min(now);
    }
}

fn pace(kind: TroubleKind) -> Backoff {
    let seconds = |base, cap| Backoff::new(Duration::from_secs(base), Duration::from_secs(cap));
    match kind {
        TroubleKind::Waiting => seconds(1, 5),
        TroubleKind::Passing | TroubleKind::Cancelled | TroubleKind::Turn(_) => seconds(2, 60),
        // An operator who has repaired it sends SIGUSR1 or calls `register` to avoid the wait.
        TroubleKind::Lasting => seconds(15, 300),
    }
}
