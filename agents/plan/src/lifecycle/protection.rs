//! Scale-in protection: on while the host is busy, off after it has been idle for a while.

use std::time::Duration;

use super::{Moment, Trouble, TroubleKind, Upkeep, Work};

/// The known and the wanted state of the instance's protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    /// The group's answer; `None` until it was asked.
    known: Option<Known>,
    idle_since: Option<Moment>,
    busy: bool,
    part: Upkeep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    NoGroup,
    Is(bool),
}

impl Protection {
    pub(super) fn new() -> Self {
        Self { known: None, idle_since: None, busy: false, part: Upkeep::at(Moment::ZERO) }
    }

    /// Takes in a count. An unknown number changes nothing.
    pub(super) fn counted(&mut self, work: &Work, now: Moment) {
        let (meetings, recordings) = (work.meetings.as_ref(), work.recordings);
        if meetings.is_some_and(|ids| !ids.is_empty()) || recordings.is_some_and(|count| count > 0) {
            (self.busy, self.idle_since) = (true, None);
        } else if meetings.is_some() && recordings.is_some() {
            self.busy = false;
            self.idle_since.get_or_insert(now);
        }
    }

    /// Notes that no meeting can begin here any more.
    pub(super) fn idle_for_good(&mut self) {
        (self.busy, self.idle_since) = (false, Some(Moment::ZERO));
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
            Err(words) => self.failed(words, now, chance),
        }
    }

    fn failed(&mut self, words: String, now: Moment, chance: f64) {
        self.part.failed(Trouble { words, kind: TroubleKind::Lasting }, now, chance);
    }

    /// Tells whether the group has to be asked first.
    pub(super) fn asks(&self) -> bool {
        self.known.is_none()
    }

    /// Forgets the answer of the group: the instance may be in another one now.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Returns the setting to send to the group, if it differs from the present one; `idle` is how long the host has
    /// to be idle. It is due at [`Self::due`].
    pub(super) fn wants(&self, idle: Duration, now: Moment) -> Option<bool> {
        let Some(Known::Is(protected)) = self.known else { return None };
        let idle = self.idle_since.is_some_and(|since| now >= since + idle);
        match protected {
            false => self.busy.then_some(true),
            true => (!self.busy && idle).then_some(false),
        }
    }

    /// Returns when to look again whether the group has to be asked or told.
    pub(super) fn wake(&self, idle: Duration) -> Option<Moment> {
        let due = self.part.due();
        match self.known {
            None => Some(due),
            Some(Known::NoGroup) => None,
            Some(Known::Is(false)) => self.busy.then_some(due),
            Some(Known::Is(true)) => self.idle_since.map(|since| (since + idle).max(due)),
        }
    }

    /// Tells whether the group has the protection on.
    pub(super) fn is_on(&self) -> bool {
        self.known == Some(Known::Is(true))
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
