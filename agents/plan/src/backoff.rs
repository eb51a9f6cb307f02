//! Waiting times before another try: exponential backoff with full jitter, so that a thousand hosts that fail together
//! do not come back together (AWS Architecture Blog, "Exponential Backoff And Jitter").
//!
//! Changes in Route 53 are paid from a budget that all hosts of an account share, and a host cannot know how many
//! others boot at the same time. [`Queue`] decides when it makes its calls. Each wait is drawn evenly between zero
//! and:
//!
#![doc = include_str!("tables/queue.md")]
//!
//! A throttled call shows that other hosts want the same budget at this moment, so the waits after throttling are
//! longer and grow further. The caps were chosen by simulation (`storms` below): with a greater cap the last hosts of
//! a storm still wait long after it is over, with a smaller one they ask more often than they are answered. No growing
//! wait can make a thousand hosts polite that begin together, since the first call of each is already too much; the
//! spread solves that.

use std::time::Duration;

/// Waits that grow from `base` to `cap`, each drawn evenly from nothing to the current ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    ceiling: Duration,
    cap: Duration,
}

impl Backoff {
    /// Creates a backoff whose first wait is below `base`, and each later one below twice the previous ceiling, at
    /// most `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { ceiling: base.min(cap), cap }
    }

    /// Returns the next wait; the caller draws `random` evenly from `0.0..1.0`.
    pub fn next(&mut self, random: f64) -> Duration {
        self.next_within(Duration::MAX, random)
    }

    /// Returns the next wait, drawn evenly from the time `left` where that is shorter than the ceiling: hosts whose
    /// time ends together must not all come at its end.
    pub fn next_within(&mut self, left: Duration, random: f64) -> Duration {
        let wait = self.ceiling.min(left).mul_f64(random.clamp(0.0, 1.0));
        self.ceiling = self.ceiling.saturating_mul(2).min(self.cap);
        wait
    }
}

/// The reason for which Route 53 refused a call that may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retryable {
    /// The budget is used up at this moment.
    Throttled,
    /// Any other failure that passes: the service is away, or busy with another host's change for some milliseconds.
    Passing,
}

/// Base and cap of the waits after being throttled.
const THROTTLED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// Base and cap of the waits after any other failure.
const PASSING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// A host's place among all the hosts that draw on one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The span within which the first change is made; zero once [`Queue::turn`] has drawn from it.
    spread: Duration,
    throttled: Backoff,
    passing: Backoff,
}

impl Queue {
    /// Creates the queue of a host that makes its first change within `spread`.
    pub fn new(spread: Duration) -> Self {
        let backoff = |(base, cap)| Backoff::new(base, cap);
        Self { spread, throttled: backoff(THROTTLED), passing: backoff(PASSING) }
    }

    /// Returns how long to wait before a change; `random` is drawn evenly from `0.0..1.0`. Only the first call returns
    /// a wait: afterwards the host has had its turn.
    pub fn turn(&mut self, random: f64) -> Duration {
        std::mem::take(&mut self.spread).mul_f64(random.clamp(0.0, 1.0))
    }

    /// Returns the queue of a host that cannot wait for its turn.
    #[must_use]
    pub fn with_its_turn(self) -> Self {
        Self { spread: Duration::ZERO, ..self }
    }

    /// Returns how long to wait after a refusal when this much time is `left`; `random` is drawn evenly from
    /// `0.0..1.0`.
    pub fn after(&mut self, refusal: Retryable, left: Duration, random: f64) -> Duration {
        match refusal {
            Retryable::Throttled => self.throttled.next_within(left, random),
            Retryable::Passing => self.passing.next_within(left, random),
        }
    }
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
