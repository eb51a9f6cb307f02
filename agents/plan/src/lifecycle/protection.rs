//! Scale-in protection: on while the host is busy, off after it has been idle for a while.
//!
//! A group that is being deleted, or that may have no instances any more, waits for its protected ones, and a stack
//! that is deleted waits for its group. So a host that is protected asks now and then what becomes of its group, and
//! ends its protection there: the group then ends the host through the hook, for which a busy host is drained.
//!
#![doc = include_str!("../tables/protection.md")]

use std::time::Duration;

use super::{Moment, Trouble, TroubleKind, Upkeep};

/// The time between two questions of a protected host about its group: all hosts of an account share Auto Scaling's
/// quota.
const CLOSING: Duration = Duration::from_secs(600);

/// The known and the wanted state of the instance's protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    /// The group's answer; `None` until it was asked.
    known: Option<Known>,
    need: Need,
    part: Upkeep,
    /// Whether the group will have no instances any more, as it has said last.
    closing: bool,
    /// When to ask that next.
    closing_due: Moment,
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
        let (part, closing_due) = (Upkeep::at(Moment::ZERO), Moment::ZERO);
        Self { known: None, need: Need::Uncounted, part, closing: false, closing_due }
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
                self.knows(protected.map_or(Known::NoGroup, Known::Is), now);
                self.part.went_well(now);
            }
            Err(words) => self.failed(words, now, chance),
        }
    }

    /// Takes in whether the group will have no instances any more. Without an answer, the last one holds.
    pub(super) fn closing(&mut self, answer: Result<bool, String>, now: Moment) {
        self.closing = answer.unwrap_or(self.closing);
        self.closing_due = now + CLOSING;
    }

    /// Tells whether it is time to ask what becomes of the group.
    pub(super) fn asks_closing(&self, now: Moment) -> bool {
        self.watches() && self.closing_due <= now
    }

    /// Tells whether it matters what becomes of the group: where the host is protected, or would be but for that. To
    /// be protected comes first.
    fn watches(&self) -> bool {
        match self.known {
            Some(Known::Is(true)) => true,
            Some(Known::Is(false)) => self.closing && self.need == Need::Busy,
            None | Some(Known::NoGroup | Known::Unsure) => false,
        }
    }

    pub(super) fn protected(&mut self, on: bool, answer: Result<(), String>, now: Moment, chance: f64) {
        match answer {
            Ok(()) => {
                self.knows(Known::Is(on), now);
                self.part.went_well(now);
            }
            Err(words) => {
                self.known = Some(Known::Unsure);
                self.failed(words, now, chance);
            }
        }
    }

    fn knows(&mut self, known: Known, now: Moment) {
        if known == Known::Is(true) && self.known != Some(known) {
            self.closing_due = now + CLOSING;
        }
        self.known = Some(known);
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
        (self.known, self.closing, self.closing_due) = (None, false, Moment::ZERO);
    }

    /// Returns the setting to send to the group, if it differs from the present one; `idle` is how long the host has
    /// to be idle. It is due at [`Self::due`].
    pub(super) fn wants(&self, idle: Duration, now: Moment) -> Option<bool> {
        let Some(Known::Is(protected)) = self.known else { return None };
        let wanted = match self.need {
            _ if self.closing => false,
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
        let set = match (self.known, self.need) {
            (None | Some(Known::Unsure), _) => Some(due),
            (Some(Known::Is(true)), _) if self.closing => Some(due),
            (Some(Known::NoGroup), _) | (_, Need::Uncounted) => None,
            (Some(Known::Is(false)), need) => (need == Need::Busy && !self.closing).then_some(due),
            (Some(Known::Is(true)), Need::IdleSince(since)) => Some((since + idle).max(due)),
            (Some(Known::Is(true)), need) => (need == Need::Over).then_some(due),
        };
        let asks = self.watches().then(|| self.closing_due.max(due));
        set.into_iter().chain(asks).min()
    }

    /// Tells whether the group has the protection on, or may have.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.known, Some(Known::Is(true) | Known::Unsure))
    }

    /// Makes the next look due now.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.part.hurry(now);
        self.closing_due = now;
    }

    pub(super) fn due(&self) -> Moment {
        self.part.due()
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.part.trouble()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    const IDLE: Duration = Duration::from_secs(300);

    #[test]
    fn by_the_table() {
        let second = Duration::from_secs(1);
        for [host, time, group, before, expected] in table::rows(include_str!("../tables/protection.md")) {
            let times: &[Moment] = match time.as_str() {
                "any" => &[Moment::ZERO, IDLE, CLOSING],
                "less than protection.idle" => &[Moment::ZERO, IDLE - second],
                "protection.idle" => &[IDLE, CLOSING],
                unknown => panic!("unknown cell {unknown}"),
            };
            for now in times {
                let mut protection = Protection::new();
                protection.grouped(Ok(Some(before == "yes")), Moment::ZERO, 0.0);
                match host.as_str() {
                    "busy" => protection.counted(false, Moment::ZERO),
                    "idle" => protection.counted(true, Moment::ZERO),
                    "not counted yet" => {}
                    "on its way out by hand" => protection.end(),
                    unknown => panic!("unknown cell {unknown}"),
                }
                protection.closing(Ok(group == "is closing"), Moment::ZERO);
                let found = match protection.wants(IDLE, *now) {
                    Some(true) => "protect it",
                    Some(false) => "end the protection",
                    None => "leave it",
                };
                assert_eq!(found, expected, "{host}, {time}, {group}, {before}");
                // Who has something to do wakes up for it.
                let wakes = protection.wake(IDLE).is_some_and(|at| at <= *now);
                let asks = protection.asks_closing(*now);
                assert_eq!(wakes, found != "leave it" || asks, "{host}, {time}, {group}, {before}");
            }
        }
    }

    #[test]
    fn what_becomes_of_the_group_is_asked_at_a_bounded_rate() {
        let mut protection = Protection::new();
        assert!(!protection.asks_closing(CLOSING), "the group itself comes first");
        protection.grouped(Ok(Some(false)), Moment::ZERO, 0.0);
        protection.counted(false, Moment::ZERO);
        assert!(!protection.asks_closing(CLOSING), "the protection comes first");
        protection.protected(true, Ok(()), Moment::ZERO, 0.0);
        assert!(!protection.asks_closing(CLOSING - Duration::from_secs(1)));
        for answer in [Ok(false), Err("denied".to_owned()), Ok(true), Err("denied".to_owned()), Ok(false)] {
            let (now, before) = (protection.closing_due, protection.closing);
            assert!(protection.asks_closing(now));
            protection.closing(answer.clone(), now);
            assert_eq!(protection.closing, answer.unwrap_or(before), "silence changes nothing");
            assert!(!protection.asks_closing(now + CLOSING - Duration::from_secs(1)));
        }
        protection.grouped(Ok(None), CLOSING, 0.0);
        assert!(!protection.asks_closing(Moment::MAX));
    }
}
