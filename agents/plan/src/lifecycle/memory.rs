//! The facts that a restarted service could not find out.

use std::collections::BTreeSet;

use super::{Moment, Rest};

/// The agent's memory of orders and of its own work since the host's boot, which a restarted service could not find
/// out: it is kept in a place that is emptied at every boot. When it is lost, an entry that an operator has disabled
/// is enabled again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// Nothing: nothing was registered, or all of it was undone.
    #[default]
    Fresh,
    /// The host has begun to join: if its entry is not enabled, that is this agent's own doing.
    Joining,
    /// The host has joined: if its entry is not enabled, an operator wants that.
    Joined,
    /// This agent has cordoned the host, for a reason that may no longer hold.
    Cordoned,
    /// An operator has ordered to drain the host.
    Drain,
    /// An operator has ordered to take the host out.
    Unregistered,
}

/// The times of a drain, kept so that a restart of the service neither prolongs nor shortens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When the drain began.
    pub since: Moment,
    /// When the drain ends at the latest.
    pub deadline: Moment,
    /// Since when a lifecycle action has held the instance, if one does.
    pub held: Option<Moment>,
    /// Whether the deadline has ended the drain already.
    pub forced: bool,
}

/// Everything that a service keeps for the next one of the same boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The orders and the agent's own work.
    pub memory: Memory,
    /// The times of the drain under way.
    pub window: Option<Window>,
    /// The reasons to cordon the host that an operator has overruled.
    pub overruled: BTreeSet<Rest>,
    /// Whether the host has taken meetings and has not left since: then a BBB of which nothing can be found has not
    /// merely not been installed yet.
    pub joined: bool,
}

impl From<Memory> for Kept {
    fn from(memory: Memory) -> Self {
        Self { memory, ..Self::default() }
    }
}
