//! The turns by which a whole fleet sweeps about once an interval without any communication between its hosts: at each
//! of its ticks a host throws a die with as many sides as there are hosts.
//!
//! A host counted the hosts when it last listed the zone. Before its first listing, and again when the last one is
//! long ago, it reads the first page, which costs one call; a small zone has no other page.

use std::time::Duration;

/// For how many ticks a count is used: in a fleet that has shrunk the die would have too many sides for ever.
const GOOD_FOR: u32 = 24;

/// The action of a host at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing: it is another host's turn.
    Rest,
    /// List the first page; then go on if [`falls`] says so for the number of hosts on it, or if there is no other
    /// page.
    Peek,
    /// Sweep.
    Sweep,
}

/// The memory of a host from tick to tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    hosts: Option<usize>,
    age: u32,
}

impl Turns {
    /// Returns how long to wait for the next tick: an interval on average, spread so that hosts that began together do
    /// not stay together. `random` is drawn evenly from `0.0..1.0`.
    pub fn wait(interval: Duration, random: f64) -> Duration {
        interval.saturating_mul(2).mul_f64(random.clamp(0.0, 1.0))
    }

    /// Decides what to do at a tick; `random` is drawn as above.
    pub fn tick(&mut self, random: f64) -> Turn {
        self.age = self.age.saturating_add(1);
        match self.hosts {
            None => Turn::Peek,
            Some(_) if self.age > GOOD_FOR => Turn::Peek,
            Some(hosts) if falls(hosts, random) => Turn::Sweep,
            Some(_) => Turn::Rest,
        }
    }

    /// Notes how many hosts were seen just now.
    pub fn saw(&mut self, hosts: usize) {
        *self = Self { hosts: Some(hosts), age: 0 };
    }
}

/// Tells whether a die with that many sides makes it this host's turn; `random` is drawn as above.
pub fn falls(hosts: usize, random: f64) -> bool {
    let sides = u32::try_from(hosts.max(1)).unwrap_or(u32::MAX);
    random * f64::from(sides) < 1.0
}

#[cfg(test)]
#[path = "lottery_tests.rs"]
mod tests;
