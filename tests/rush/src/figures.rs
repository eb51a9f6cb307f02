//! What a storm came to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sandbox::route53::Call;

/// All of it.
#[derive(Clone, Debug)]
pub struct Figures {
    /// How many hosts there were.
    pub hosts: u16,
    /// The least time in which they can be registered.
    pub least: Duration,
    /// How many names have an address.
    pub registered: usize,
    /// How many hosts were registered more than once.
    pub doubled: usize,
    /// How many hosts have an enabled entry in Scalelite.
    pub enabled: usize,
    /// How many entries there are.
    pub entries: usize,
    /// Whether every name server has every change.
    pub live: bool,
    /// When the last host took meetings.
    pub joined: Duration,
    /// The calls of Route 53 meanwhile.
    pub boot: Phase,
    /// How they left, if they did.
    pub left: Option<Left>,
}

/// How all hosts left at once.
#[derive(Clone, Debug)]
pub struct Left {
    /// The calls of Route 53 meanwhile.
    pub phase: Phase,
    /// How many names are still there.
    pub names: usize,
    /// How many entries in Scalelite are.
    pub entries: usize,
}

/// The calls of Route 53 in some time.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Until the last change was accepted.
    pub time: Duration,
    /// How many calls of each kind, with the code of the refusal.
    pub calls: BTreeMap<(&'static str, String), usize>,
}

impl Phase {
    /// What these calls come to.
    pub(crate) fn of(calls: &[Call], began: Instant) -> Self {
        let change = |call: &&Call| call.operation == "ChangeResourceRecordSets" && call.refusal.is_none();
        let last = calls.iter().filter(change).map(|call| call.at).max();
        let mut tally = BTreeMap::new();
        for call in calls {
            *tally.entry((call.operation, call.refusal.clone().unwrap_or_default())).or_default() += 1;
        }
        Self {
            time: last.map(|last| last.saturating_duration_since(began)).unwrap_or_default(),
            calls: tally,
        }
    }

    /// How many calls were made.
    pub fn total(&self) -> usize {
        self.calls.values().sum()
    }

    /// How many of them were refused with this code.
    pub fn refused(&self, code: &str) -> usize {
        self.calls.iter().filter(|((_, refusal), _)| refusal == code).map(|(_, count)| count).sum()
    }
}
