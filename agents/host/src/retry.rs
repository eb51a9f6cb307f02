//! Retries: the one place that decides when to try again and when to give up, and where the agents wait in between.

use std::fmt::Display;
use std::time::Duration;

use plan::backoff::{Backoff, Queue, Retryable};
use tokio::time::Instant;

use crate::report::{Exit, Failure};

/// A deadline with growing, jittered waits before it.
#[derive(Clone, Debug)]
pub struct Pace {
    deadline: Instant,
    backoff: Backoff,
}

impl Pace {
    /// Creates a pace with waits until `deadline`: the first below `base`, all of them below `cap`.
    pub fn new(deadline: Instant, base: Duration, cap: Duration) -> Self {
        Self { deadline, backoff: Backoff::new(base, cap) }
    }

    /// Creates a pace for services that throttle or are down for a while.
    pub fn remote(deadline: Instant) -> Self {
        Self::new(deadline, Duration::from_secs(1), Duration::from_secs(15))
    }

    /// Creates a pace for things on the host itself that may appear at any moment.
    pub fn local(deadline: Instant) -> Self {
        Self::new(deadline, Duration::from_millis(250), Duration::from_secs(3))
    }

    /// Waits before the next try; gives up when the deadline would pass.
    pub async fn again(&mut self, what: &str, error: &dyn Display) -> Result<(), Failure> {
        sleep(what, error, self.wait()).await
    }

    /// Waits before looking again at something that is expected to take a while. Returns `false` after the deadline.
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

/// A pace for Route 53, whose budget all hosts of an account share. [`Queue`] decides which refusals to wait for, and
/// how long.
#[derive(Clone, Debug)]
pub struct Queued {
    deadline: Instant,
    queue: Queue,
    /// Whether a wait for other hosts is returned to the caller instead of being spent here.
    calls_back: bool,
}

impl Queued {
    /// Creates a pace for a caller that has until `deadline` and no other chance: it waits for no turn, and after a
    /// refusal only within that time.
    pub fn once(deadline: Instant) -> Self {
        Self { deadline, queue: Queue::new(Duration::ZERO), calls_back: false }
    }

    /// Creates a pace for the service, which tries repeatedly, each time until `deadline` and with the queue of the
    /// previous try. When it has to wait for other hosts, the failure says when to come back ([`Failure::turn`]).
    pub fn again_and_again(deadline: Instant, queue: Queue) -> Self {
        Self { deadline, queue, calls_back: true }
    }

    /// Returns the queue as this try leaves it.
    pub fn into_queue(self) -> Queue {
        self.queue
    }

    /// Checks before a change that it is this host's turn.
    pub fn turn(&mut self) -> Result<(), Failure> {
        let wait = self.queue.turn(fastrand::f64());
        match self.calls_back && !wait.is_zero() {
            true => {
                Err(Failure::new(Exit::TryAgain, "waiting for its turn to register (dns.spread)").at(wait))
            }
            false => Ok(()),
        }
    }

    /// Waits before the next try; gives up when the deadline would pass.
    pub async fn again(
        &mut self,
        what: &str,
        error: &dyn Display,
        refusal: Retryable,
    ) -> Result<(), Failure> {
        if self.calls_back && refusal == Retryable::Throttled {
            let wait = self.queue.after(refusal, Duration::MAX, fastrand::f64());
            return Err(Failure::new(Exit::TryAgain, what).because(error).at(wait));
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let wait = self.queue.after(refusal, left, fastrand::f64());
        sleep(what, error, (!left.is_zero()).then_some(wait)).await
    }
}

async fn sleep(what: &str, error: &dyn Display, wait: Option<Duration>) -> Result<(), Failure> {
    let Some(wait) = wait else {
        return Err(Failure::new(Exit::TryAgain, format!("{what}: gave up waiting"))
            .because(error)
            .advise("run the same command again; it goes on where this one stopped"));
    };
    tracing::warn!("{what}: {error}; trying again in {:.1} s", wait.as_secs_f64());
    tokio::time::sleep(wait).await;
    Ok(())
}
