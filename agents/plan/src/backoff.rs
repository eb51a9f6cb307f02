//! How long to wait before trying again: exponential with full jitter, so that a thousand hosts that fail together do
//! not return together (AWS Architecture Blog, "Exponential Backoff And Jitter").
//!
//! Changes in Route 53 come out of a budget that all hosts of an account share, and a host cannot know how many others boot
//! beside it. [`Queue`] decides when it makes its calls. Its waits are drawn evenly from nothing to:
//!
#![doc = include_str!("tables/queue.md")]
//!
//! Being throttled says that others want the same at this moment, so those waits are longer than others, and grow further.
//! How far was chosen by simulation (`storms` below): with a greater cap the last hosts of a storm wait long after it is
//! over, with a smaller one they ask more often than they are answered. No growing wait can make a thousand hosts that begin
//! together polite, since the first call of each is already too much; that is what the spread is for.

use std::time::Duration;

/// Waits that grow from `base` to `cap`, each drawn evenly from nothing to the current ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    ceiling: Duration,
    cap: Duration,
}

impl Backoff {
    /// The first wait is below `base`, later ones below twice the one before, at most `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { ceiling: base.min(cap), cap }
    }

    /// The next wait; `random` is drawn evenly from `0.0..1.0` by the caller.
    pub fn next(&mut self, random: f64) -> Duration {
        self.next_within(Duration::MAX, random)
    }

    /// The same, drawn evenly from the time that is left where that is less: hosts whose time ends together must not all
    /// come at its end.
    pub fn next_within(&mut self, left: Duration, random: f64) -> Duration {
        let wait = self.ceiling.min(left).mul_f64(random.clamp(0.0, 1.0));
        self.ceiling = self.ceiling.saturating_mul(2).min(self.cap);
        wait
    }
}

/// Why a call was refused that may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The budget is used up at this moment.
    Throttled,
    /// Anything else that passes: the service is away, or busy with somebody else's change for some milliseconds.
    Passing,
}

/// The longest wait after being throttled.
const THROTTLED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// And after anything else.
const PASSING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// A host among all others that want something out of one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// What is left to be waited for before the first change.
    spread: Duration,
    throttled: Backoff,
    passing: Backoff,
}

impl Queue {
    /// A host that makes its first change within `spread`.
    pub fn new(spread: Duration) -> Self {
        let backoff = |(base, cap)| Backoff::new(base, cap);
        Self { spread, throttled: backoff(THROTTLED), passing: backoff(PASSING) }
    }

    /// How long to wait before a change; `random` is drawn evenly from `0.0..1.0`. Once it was asked for, there is nothing
    /// to wait for any more.
    pub fn turn(&mut self, random: f64) -> Duration {
        std::mem::take(&mut self.spread).mul_f64(random.clamp(0.0, 1.0))
    }

    /// How long to wait after a refusal when so much time is left; `random` is drawn evenly from `0.0..1.0`.
    pub fn after(&mut self, refusal: Refusal, left: Duration, random: f64) -> Duration {
        match refusal {
            Refusal::Throttled => self.throttled.next_within(left, random),
            Refusal::Passing => self.passing.next_within(left, random),
        }
    }
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
