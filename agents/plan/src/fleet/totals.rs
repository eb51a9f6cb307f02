//! The fleet in figures, and the verdict on the whole.

use super::{Entries, Fleet, Observations, Row, Standing};
use crate::membership::State;

/// The answer to "is the fleet in order?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every host is in order, or out of it on purpose.
    InOrder,
    /// Something is wrong, or a dead host has left something.
    Wrong,
    /// A source could not be asked, or something about a host is not known.
    CannotTell,
}

impl Verdict {
    /// Returns a stable word for programs: `in-order`, `wrong`, `cannot-tell`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InOrder => "in-order",
            Self::Wrong => "wrong",
            Self::CannotTell => "cannot-tell",
        }
    }
}

/// The fleet in figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// The number of hosts.
    pub hosts: usize,
    /// The hosts that are in order.
    pub in_order: usize,
    /// The hosts that are not meant to get meetings.
    pub out: usize,
    /// The hosts of which something is not known, and nothing wrong.
    pub unknown: usize,
    /// The dead hosts of which something is left.
    pub debris: usize,
    /// The hosts with which something is wrong.
    pub wrong: usize,
    /// The hosts on which Scalelite places new meetings; `None` without Scalelite's answer.
    pub taking: Option<usize>,
    /// The sum of the loads that Scalelite knows; `None` without its answer.
    pub load: Option<f64>,
}

impl Fleet {
    /// Returns the figures.
    pub fn totals(&self, seen: &Observations) -> Totals {
        let count = |standing| self.rows.iter().filter(|row| row.standing == standing).count();
        let is_known = matches!(seen.entries, Some(Ok(_)));
        let loads = self.rows.iter().filter_map(|row| row.entries.one()?.load);
        Totals {
            hosts: self.rows.len(),
            in_order: count(Standing::InOrder),
            out: count(Standing::Out),
            unknown: count(Standing::Unknown),
            debris: count(Standing::Debris),
            wrong: count(Standing::Wrong),
            taking: is_known.then(|| self.rows.iter().filter(|row| takes_meetings(row)).count()),
            load: is_known.then(|| loads.sum()),
        }
    }

    /// Judges the whole fleet. Where a source could not be asked, nobody can tell, whatever the others say.
    pub fn verdict(&self, seen: &Observations) -> Verdict {
        let is_silent = seen.zone.is_err()
            || matches!(seen.entries, Some(Err(_)))
            || seen.instances.is_err()
            || seen.members.is_err()
            || self.disbelieved.is_some();
        let has = |standings: &[Standing]| self.rows.iter().any(|row| standings.contains(&row.standing));
        match () {
            () if is_silent => Verdict::CannotTell,
            () if has(&[Standing::Wrong, Standing::Debris]) => Verdict::Wrong,
            () if has(&[Standing::Unknown]) => Verdict::CannotTell,
            () => Verdict::InOrder,
        }
    }
}

/// Tells whether Scalelite places new meetings on a host, as far as its entries tell.
fn takes_meetings(row: &Row) -> bool {
    let Entries::These(entries) = &row.entries else { return false };
    let takes = |entry: &super::Values| entry.state == State::Enabled && entry.online && entry.load.is_some();
    entries.iter().flatten().any(takes)
}
