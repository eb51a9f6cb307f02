//! A clock that tests can move, and the token buckets that fill by it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The time that buckets and propagation go by. Clones share one clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Instant>>>);

impl Clock {
    /// The machine's own.
    pub fn real() -> Self {
        Self(None)
    }

    /// One that stands still until [`Clock::advance`].
    pub fn manual() -> Self {
        Self(Some(Arc::new(Mutex::new(Instant::now()))))
    }

    /// Moves a manual clock; a real one moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Some(now) = &self.0 {
            *now.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// A token bucket's size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketSize {
    /// Tokens in a full bucket, the burst.
    pub capacity: u32,
    /// Tokens added each second.
    pub per_second: f64,
}

/// The two limits of an account ("Throttling for Amazon Route 53 API requests", Developer Guide).
///
/// The guide gives every action a bucket of its own too; for the actions served here it has the account's size, so
/// that it can never be the one that is empty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// Requests of all actions together; documented: 50 and 10 a second.
    pub requests: BucketSize,
    /// Record changes. That this limit exists is documented; the size here is our assumption, large enough for one
    /// batch of the greatest permitted size.
    pub changes: BucketSize,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            requests: BucketSize { capacity: 50, per_second: 10.0 },
            changes: BucketSize { capacity: 1000, per_second: 100.0 },
        }
    }
}

impl Throttle {
    /// What older accounts and texts say: five requests a second.
    pub fn five_a_second() -> Self {
        Self { requests: BucketSize { capacity: 5, per_second: 5.0 }, ..Self::default() }
    }
}

#[derive(Debug)]
pub(crate) struct Bucket {
    size: BucketSize,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn full(size: BucketSize, now: Instant) -> Self {
        Self { size, tokens: f64::from(size.capacity), filled: now }
    }

    /// Takes so many tokens, or none when there are not enough.
    pub(crate) fn take(&mut self, tokens: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.size.per_second).min(f64::from(self.size.capacity));
        self.filled = now;
        let wanted = u32::try_from(tokens).map_or(f64::INFINITY, f64::from);
        let enough = self.tokens >= wanted;
        if enough {
            self.tokens -= wanted;
        }
        enough
    }
}
