//! Scale-in protection: on while the host is busy, off after it has been idle for a while.

use std::time::Duration;

use super::{Moment, Trouble, TroubleKind, Upkeep};

/// The known and the wanted state of the instance's protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    /// The group's answer; `None` until it was asked.
    known: Option<Known>,
    need: Need,
    part: Upkeep,
}

/// The need for protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing was counted yet.
    Uncounted,
    /// There is work on the host, or there may be.
    Busy,
    /// There has been no work since this time.
    IdleSince(Moment),
    /// There will be no more work.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    NoGroup,
    Is(bool),
    /// The answer to a call that sets it is missing: it may be on or off.
    Unsure,
}

impl Protection {
    pub(super) fn new() -> Self {
        Self { known: None, need: Need::Uncounted, part: Upkeep::at(Moment::ZERO) }
    }

    /// Takes in whether a count has found the host idle, which it is not as long as anything is unknown.
    pub(super) fn counted(&mut self, idle: bool, now: Moment) {
        self.need = match (idle, self.need) {
            (false, _) => Need::Busy,
            (true, Need::Uncounted | Need::Busy) => Need::IdleSince(now),
            (true, Need::IdleSince(since)) => Need::IdleSince(since),
            (true, Need::Over) => Need::Over,
        };
    }

    /// Notes that no meeting can begin here any more.
    pub(super) fn end(&mut self) {
        self.need = Need::Over;
    }

    pub(super) fn grouped(&mut self, answer: Result<Option<bool>, String>, now: Moment, chance: f64) {
        match answer {
            Ok(protected) => {
                self.known = Some(protected.map_or(Known::NoGroup, Known::Is));
                self.part.went_well(now);
            }
            Err(words) => self.failed(words, now, chance),
        }
    }

    pub(super) fn protected(&mut self, on: bool, answer: Result<(), String>, now: Moment, chance: f64) {
        match answer {
            Ok(()) => {
                self.known = Some(Known::Is(on));
                self.part.went_well(now);
            }
            Err(words) => {
                self.known = Some(Known::Unsure);
                self.failed(words, now, chance);
            }
        }
    }

    fn failed(&mut self, words: String, now: Moment, chance: f64) {
        self.part.failed(Trouble { words, kind: TroubleKind::Lasting }, now, chance);
    }

    /// Tells whether the group has to be asked first.
    pub(super) fn asks(&self) -> bool {
        matches!(self.known, None | Some(Known::Unsure))
    }

    /// Forgets the answer of the group: the instance may be in another one now.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Returns the setting to send to the group, if it differs from the present one; `idle` is how long the host has
    /// to be idle. It is due at [`Self::due`].
    pub(super) fn wants(&self, idle: Duration, now: Moment) -> Option<bool> {
        let Some(Known::Is(protected)) = self.known else { return None };
        let wanted = match self.need {
            Need::Uncounted => return None,
            Need::Busy => true,
            Need::IdleSince(since) if now < since + idle => return None,
            Need::IdleSince(_) | Need::Over => false,
        };
        (wanted != protected).then_some(wanted)
    }

    /// Returns when to look again whether the group has to be asked or told.
    pub(super) fn wake(&self, idle: Duration) -> Option<Moment> {
        let due = self.part.due();
        match (self.known, self.need) {
            (None | Some(Known::Unsure), _) => Some(due),
            (Some(Known::NoGroup), _) | (_, Need::Uncounted) => None,
            (Some(Known::Is(false)), need) => (need == Need::Busy).then_some(due),
            (Some(Known::Is(true)), Need::IdleSince(since)) => Some((since + idle).max(due)),
            (Some(Known::Is(true)), need) => (need == Need::Over).then_some(due),
        }
    }

    /// Tells whether the group has the protection on, or may have.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.known, Some(Known::Is(true) | Known::Unsure))
    }

    /// Makes the next look due now.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.part.hurry(now);
    }

    pub(super) fn due(&self) -> Moment {
        self.part.due()
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.part.trouble()
    }
}
