//! How long to wait before trying again: exponential with full jitter, so that a thousand hosts that fail together do
//! not return together (AWS Architecture Blog, "Exponential Backoff And Jitter").

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
        let wait = self.ceiling.mul_f64(random.clamp(0.0, 1.0));
        self.ceiling = self.ceiling.saturating_mul(2).min(self.cap);
        wait
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let ceilings: Vec<u64> = (0..5).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 5, 5]);
    }

    proptest! {
        #[test]
        fn never_above_the_cap(base in 0u64..10_000, cap in 0u64..10_000, draws in prop::collection::vec(0.0..1.0, 0..80)) {
            let cap = Duration::from_millis(cap);
            let mut backoff = Backoff::new(Duration::from_millis(base), cap);
            for random in draws {
                prop_assert!(backoff.next(random) <= cap);
            }
        }
    }
}
