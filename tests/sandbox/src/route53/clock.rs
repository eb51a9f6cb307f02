//! A clock that tests can move, and the token buckets that it fills.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The clock of buckets and propagation. Clones share one clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Instant>>>);

impl Clock {
    /// Returns the machine's own clock.
    pub fn real() -> Self {
        Self(None)
    }

    /// Returns a clock that stands still until [`Clock::advance`].
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
    /// The number of tokens in a full bucket: the burst.
    pub capacity: u32,
    /// The number of tokens added each second.
    pub per_second: f64,
}

/// The two limits of an account ("Throttling for Amazon Route 53 API requests", Developer Guide).
///
/// The guide also gives every action a bucket of its own; for the actions served here it is as large as the account's,
/// so that it never is the one that runs empty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// The limit for requests of all actions together; documented: 50 and 10 a second.
    pub requests: BucketSize,
    /// The limit for record changes. The guide documents that it exists; the size here is an assumption, large enough
    /// for one batch of the greatest permitted size.
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
    /// Returns the limit of older accounts and texts: five requests a second.
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

    /// Takes this many tokens, or none when there are not enough.
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
