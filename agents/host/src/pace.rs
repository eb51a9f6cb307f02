//! When to try again, and when to give up: the one place where the agents wait between tries.

use std::fmt::Display;
use std::time::Duration;

use plan::backoff::Backoff;
use tokio::time::Instant;

use crate::report::{Exit, Failure};

/// A deadline with growing, jittered waits before it.
#[derive(Clone, Debug)]
pub struct Pace {
    deadline: Instant,
    backoff: Backoff,
}

impl Pace {
    /// Tries until `deadline`, waiting below `base` first and below `cap` at most.
    pub fn new(deadline: Instant, base: Duration, cap: Duration) -> Self {
        Self { deadline, backoff: Backoff::new(base, cap) }
    }

    /// For services that throttle or are away for a while.
    pub fn remote(deadline: Instant) -> Self {
        Self::new(deadline, Duration::from_secs(1), Duration::from_secs(15))
    }

    /// For what is on the host itself and may appear any moment.
    pub fn local(deadline: Instant) -> Self {
        Self::new(deadline, Duration::from_millis(250), Duration::from_secs(3))
    }

    /// Waits before the next try; gives up when the deadline would pass.
    pub async fn again(&mut self, what: &str, error: &dyn Display) -> Result<(), Failure> {
        match self.wait() {
            None => Err(Failure::new(Exit::TryAgain, format!("{what}: gave up waiting"))
                .because(error)
                .advise("run the same command again; it goes on where this one stopped")),
            Some(wait) => {
                tracing::warn!("{what}: {error}; trying again in {:.1} s", wait.as_secs_f64());
                tokio::time::sleep(wait).await;
                Ok(())
            }
        }
    }

    /// Waits before looking again, for something that is expected to take a while. `false` once the deadline is over.
    pub async fn look_again(&mut self) -> bool {
        match self.wait() {
            None => false,
            Some(wait) => {
                tokio::time::sleep(wait).await;
                true
            }
        }
    }

    fn wait(&mut self) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let wait = self.backoff.next(fastrand::f64()).min(left);
        (!left.is_zero()).then_some(wait)
    }
}
