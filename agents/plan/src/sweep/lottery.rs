//! When a host sweeps, so that a whole fleet sweeps about once an interval without a word between its hosts: at each of its
//! ticks a host throws a die with as many sides as there are hosts.
//!
//! How many there are it saw when it last listed the zone. Before that, and again when that is long ago, it looks at the
//! first page, which costs one call; in a small zone that is all there is.

use std::time::Duration;

/// For so many ticks a number is good: in a fleet that has shrunk the die would have too many sides for ever.
const GOOD_FOR: u32 = 24;

/// What a host does at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing: it is another host's turn.
    Rest,
    /// List the first page; then go on by the number of hosts on it, as [`falls`] says, unless it is the only one.
    Peek,
    /// Sweep.
    Sweep,
}

/// What a host remembers from tick to tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    hosts: Option<usize>,
    age: u32,
}

impl Turns {
    /// How long to wait for the next tick: an interval on average, spread so that hosts that began together do not stay so.
    /// `random` is drawn evenly from `0.0..1.0`.
    pub fn wait(interval: Duration, random: f64) -> Duration {
        interval.saturating_mul(2).mul_f64(random.clamp(0.0, 1.0))
    }

    /// What to do at a tick; `random` as before.
    pub fn tick(&mut self, random: f64) -> Turn {
        self.age = self.age.saturating_add(1);
        match self.hosts {
            None => Turn::Peek,
            Some(_) if self.age > GOOD_FOR => Turn::Peek,
            Some(hosts) if falls(hosts, random) => Turn::Sweep,
            Some(_) => Turn::Rest,
        }
    }

    /// So many hosts were seen just now.
    pub fn saw(&mut self, hosts: usize) {
        *self = Self { hosts: Some(hosts), age: 0 };
    }
}

/// Whether the die with that many sides falls so that it is this host's turn; `random` as before.
pub fn falls(hosts: usize, random: f64) -> bool {
    let sides = u32::try_from(hosts.max(1)).unwrap_or(u32::MAX);
    random * f64::from(sides) < 1.0
}

#[cfg(test)]
#[path = "lottery_tests.rs"]
mod tests;
