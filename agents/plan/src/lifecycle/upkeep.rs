//! Something that is looked after again and again: when it is due, and what went wrong last.

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
    /// To be done at this time.
    pub(super) fn at(due: Moment) -> Self {
        Self { due, trouble: None, backoff: pace(TroubleKind::Passing) }
    }

    /// When it is due.
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// Whether it is due.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.due <= now
    }

    /// How long it waits for other hosts, if it does.
    pub(super) fn turn(&self, now: Moment) -> Option<Duration> {
        let trouble = self.trouble.as_ref()?;
        matches!(trouble.kind, TroubleKind::Turn(_)).then(|| self.due.saturating_sub(now))
    }

    /// What went wrong last, if it did.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// It went well and is due again then.
    pub(super) fn went_well(&mut self, due: Moment) {
        *self = Self::at(due);
    }

    /// It failed; `chance` spreads the next try.
    pub(super) fn failed(&mut self, trouble: Trouble, now: Moment, chance: f64) {
        let same =
            |former: &Trouble| std::mem::discriminant(&former.kind) == std::mem::discriminant(&trouble.kind);
        if !self.trouble.as_ref().is_some_and(same) {
            self.backoff = pace(trouble.kind);
        }
        // Never at once: full jitter may draw nothing, and a service that refuses connections answers at once.
        let wait = match trouble.kind {
            TroubleKind::Turn(wait) => wait,
            _ => self.backoff.next(chance),
        };
        self.due = now + wait.max(Duration::from_millis(100));
        self.trouble = Some(trouble);
    }

    /// Somebody wants it looked at now.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.due = self.due.min(now);
    }
}

fn pace(kind: TroubleKind) -> Backoff {
    let seconds = |base, cap| Backoff::new(Duration::from_secs(base), Duration::from_secs(cap));
    match kind {
        TroubleKind::Waiting => seconds(1, 5),
        TroubleKind::Passing | TroubleKind::Cancelled | TroubleKind::Turn(_) => seconds(2, 60),
        // Whoever repairs it sends SIGUSR1 or calls `register` when waiting is not wanted.
        TroubleKind::Lasting => seconds(15, 300),
    }
}
