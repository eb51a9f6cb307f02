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
//! wait can make a thousand hosts polite that begin together, since the first call of each is already too much.
//!
//! # The members of a group
//! So a host that is refused asks its group once how many members it has. Where they are more than a burst, time is
//! divided into rounds of one slot for each member, in the order of their ids, by the clock that all hosts share within
//! milliseconds (NTP). A throttled host calls at the beginning of its next slot: nobody else calls then, and a whole round
//! fits the budget. Who is throttled all the same comes back a quarter of a round later, between the slots: something
//! else may have used up the budget for a moment, and few hosts that waited for a whole round more would double the time
//! of all. Who is throttled then, too, shares a smaller budget than that of a new account, and makes its slots twice as
//! long. A host that met another host's change, which has cost both a call of the budget, comes back in
//! the few seconds that the slots leave free. A host whose group does not answer, or that is in none, waits as the table
//! says. The spread, where it is set, saves each host the first call.

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

/// The length of a slot: a tenth longer than a call's share of the budget of a new account, which is 10 calls a second.
const SLOT: Duration = Duration::from_millis(110);
/// The number of calls that the budget saves up: so many hosts need no slots.
const BURST: u32 = 50;
/// The least wait for a slot: at this moment the budget is used up, and hosts that have met come back.
const EXHAUSTED: Duration = Duration::from_secs(6);

/// A host's place among the members of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many members there are.
    pub size: u32,
    /// How many of them come before this host.
    pub before: u32,
}

/// A part of each round of a group, which is one host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    place: Place,
    length: Duration,
    /// How many times the host was throttled since it knows its place.
    throttled: u32,
}

impl Slot {
    fn round(self) -> Duration {
        self.length.saturating_mul(self.place.size.max(1))
    }

    /// Returns how long it is at `now`, since 1970, until the slot begins, when the budget is not used up any more.
    fn wait(self, now: Duration) -> Duration {
        let round = self.round().as_nanos();
        let begin = self.length.saturating_mul(self.place.before).as_nanos();
        let soon = (now + EXHAUSTED).as_nanos() % round;
        let rest = (begin + round - soon) % round;
        EXHAUSTED + Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
    }
}

/// A host's place among all the hosts that draw on one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The span within which the first change is made; zero once [`Queue::turn`] has drawn from it.
    spread: Duration,
    /// Whether the hosts have spread their first changes: then those that are refused are few, and need no slots.
    spreads: bool,
    throttled: Backoff,
    passing: Backoff,
    /// The last refusal.
    refusal: Option<Retryable>,
    /// The host's slot, once its group has told its members.
    slot: Option<Slot>,
}

impl Queue {
    /// Creates the queue of a host that makes its first change within `spread`.
    pub fn new(spread: Duration) -> Self {
        let backoff = |(base, cap)| Backoff::new(base, cap);
        let (throttled, passing) = (backoff(THROTTLED), backoff(PASSING));
        Self { spread, spreads: !spread.is_zero(), throttled, passing, refusal: None, slot: None }
    }

    /// Returns how long to wait before a change; `random` is drawn evenly from `0.0..1.0`. Only the first call returns
    /// a wait: afterwards the host has had its turn.
    pub fn turn(&mut self, random: f64) -> Duration {
        self.refusal = None;
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
        self.refusal = Some(refusal);
        match refusal {
            Retryable::Throttled => self.throttled.next_within(left, random),
            Retryable::Passing => self.passing.next_within(left, random),
        }
    }
}

impl Queue {
    /// Tells whether the host was refused a moment ago, needs a slot and does not know its place in its group. A slot of
    /// the next round comes much later than a host's turn after a spread: 1,000 hosts took 2.25 times the least time.
    pub fn needs_place(&self) -> bool {
        self.refusal.is_some() && self.slot.is_none() && !self.spreads
    }

    /// Takes the place that the host has in its group.
    pub fn takes(&mut self, place: Place) {
        self.slot = Some(Slot { place, length: SLOT, throttled: 0 });
    }

    /// Returns how long a host of a large group that was refused a moment ago waits at `now`, since 1970; `random` is
    /// drawn evenly from `0.0..1.0`. `None` where it waits as [`Queue::after`] says: few members need no slots. From
    /// the third throttling on, each makes the slots twice as long.
    pub fn slot(&mut self, now: Duration, random: f64) -> Option<Duration> {
        let slot = self.slot.as_mut().filter(|slot| slot.place.size > BURST)?;
        match self.refusal? {
            Retryable::Passing => Some(EXHAUSTED.mul_f64(random.clamp(0.0, 1.0))),
            Retryable::Throttled => {
                slot.throttled = slot.throttled.saturating_add(1);
                if slot.throttled == 2 {
                    return Some(slot.round() / 4 + SLOT / 2);
                }
                if slot.throttled > 2 {
                    slot.length = slot.length.saturating_mul(2);
                }
                Some(slot.wait(now))
            }
        }
    }
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
