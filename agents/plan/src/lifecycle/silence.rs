//! A BBB that has stopped answering on a host without meetings: its group may replace the instance.

use super::machine::Machine;
use super::state::State;
use super::upkeep::Upkeep;
use super::{Call, Moment, Trouble, TroubleKind};
use crate::work::Meetings;

/// The silence of BBB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    /// Whether no meeting ran when BBB answered last. Before it has answered once nobody knows.
    was_empty: bool,
    /// Since when it has not answered.
    since: Option<Moment>,
    /// Whether the group knows.
    told: bool,
    report: Upkeep,
}

impl Default for Silence {
    fn default() -> Self {
        Self { was_empty: false, since: None, told: false, report: Upkeep::at(Moment::ZERO) }
    }
}

impl Silence {
    /// Takes in a count of the meetings.
    pub(super) fn counted(&mut self, meetings: &Meetings, now: Moment) {
        match (&meetings.unlisted, meetings.listed.is_empty()) {
            (Some(_), true) if self.was_empty => drop(self.since.get_or_insert(now)),
            (Some(_), _) => {}
            (None, is_empty) => *self = Self { was_empty: is_empty, ..Self::default() },
        }
    }

    /// Takes in the group's answer to the report.
    pub(super) fn reported(&mut self, answer: Result<(), String>, now: Moment, chance: f64) {
        match answer {
            Ok(()) => self.told = true,
            Err(words) => {
                self.report.failed(Trouble { words, kind: TroubleKind::Lasting }, now, chance);
            }
        }
    }
}

impl Machine {
    /// Returns when the group is to be told that the instance is unhealthy, if it is.
    pub(super) fn report_at(&self) -> Option<Moment> {
        let grouped = self.intent.is_some_and(|intent| intent.grouped);
        let stays = matches!(self.state, State::Joining(_) | State::Serving(_) | State::Cordoned(_));
        let after = self.policy.unhealthy_after.filter(|_| grouped && stays && !self.silence.told)?;
        Some((self.silence.since? + after).max(self.silence.report.due()))
    }

    /// Returns the report to the group, if it is due.
    pub(super) fn due_report(&self, now: Moment) -> Option<Call> {
        self.report_at().filter(|at| *at <= now).map(|_| Call::Unhealthy)
    }
}
