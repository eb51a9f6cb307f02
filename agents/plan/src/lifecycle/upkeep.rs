//! Upkeep of one thing again and again: when it is due, and its last failure.

use std::time::Duration;

use super::{Moment, Trouble, TroubleKind};
use crate::backoff::Backoff;

/// The least time for the last try of something that is given up at a certain time.
const LAST_TRY: Duration = Duration::from_secs(2);

/// The wait before a refusal that lasts is believed.
const ONCE_MORE: Duration = Duration::from_secs(1);

/// One thing that is looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    due: Moment,
    trouble: Option<Trouble>,
    backoff: Backoff,
}

impl Upkeep {
    /// Returns a part that is due at this time.
    pub(crate) fn at(due: Moment) -> Self {
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
        self.failed_with(Duration::MAX, trouble, now, chance);
    }

    /// Notes a failure of something that is given up at `until`. The next try has some time before that, or is not
    /// made: in the last moment nothing can be done any more, and the words about that would hide what has really
    /// failed.
    pub(super) fn failed_before(&mut self, until: Moment, trouble: Trouble, now: Moment, chance: f64) {
        let left = until.saturating_sub(now).saturating_sub(LAST_TRY);
        self.failed_with(left, trouble, now, chance);
        if left.is_zero() {
            self.due = until;
        }
    }

    /// Notes a failure of what ends the host's registration. A refusal that lasts is not waited for: one more try, with
    /// secrets that are read anew, is the last one.
    pub(super) fn failed_at_the_end(
        &mut self,
        until: &mut Moment,
        trouble: Trouble,
        now: Moment,
        chance: f64,
    ) {
        let lasts = |trouble: &Trouble| trouble.kind == TroubleKind::Lasting;
        let (before, lasting) = (self.trouble.as_ref().is_some_and(lasts), lasts(&trouble));
        self.failed_before(*until, trouble, now, chance);
        match (before, lasting) {
            (true, true) => *until = now,
            (false, true) => self.due = self.due.min(now + ONCE_MORE),
            _ => {}
        }
    }

    fn failed_with(&mut self, left: Duration, trouble: Trouble, now: Moment, chance: f64) {
        let same =
            |former: &Trouble| std::mem::discriminant(&former.kind) == std::mem::discriminant(&trouble.kind);
        if !self.trouble.as_ref().is_some_and(same) {
            self.backoff = pace(trouble.kind);
        }
        // Never retry at once: full jitter may draw zero, and a service that refuses connections answers at once.
        let wait = match trouble.kind {
            // Hosts whose time ends together must not all come at its end.
            TroubleKind::Turn(wait) if left < wait => left.mul_f64(chance.clamp(0.0, 1.0)),
            TroubleKind::Turn(wait) => wait,
            _ => self.backoff.next_within(left, chance),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = TroubleKind> {
        let turn = (0u64..300).prop_map(|seconds| TroubleKind::Turn(Duration::from_secs(seconds)));
        let others = [TroubleKind::Waiting, TroubleKind::Passing, TroubleKind::Lasting];
        prop_oneof![turn, prop::sample::select(others.to_vec())]
    }

    proptest! {
        /// Whatever fails, the last try has some time before the end, and there is no try without a wait.
        #[test]
        fn what_is_given_up_is_tried_in_time(
            patience in 0u64..200_000,
            tries in prop::collection::vec((kinds(), 0.0..1.0), 1..60),
        ) {
            let (mut now, until) = (Duration::from_secs(7), Duration::from_secs(7) + Duration::from_millis(patience));
            let mut part = Upkeep::at(now);
            for (kind, chance) in tries {
                if now >= until {
                    break;
                }
                part.failed_before(until, Trouble { words: String::new(), kind }, now, chance);
                prop_assert!(part.due() > now);
                let in_time = part.due() + LAST_TRY <= until + Duration::from_millis(100);
                prop_assert!(in_time || part.due() == until, "{:?}", part.due());
                now = part.due();
            }
        }
    }
}
