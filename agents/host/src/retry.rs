//! Retries: the one place that decides when to try again and when to give up, and where the agents wait in between.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plan::backoff::{Backoff, Queue, Retryable};
use tokio::time::Instant;

use crate::report::{Exit, Failure};

/// Asks until there is an answer, or a failure that no second try would change: `may_pass` tells which.
pub async fn asked<T, E: Display>(
    patience: Patience,
    what: &str,
    may_pass: impl Fn(&E) -> bool,
    ask: impl AsyncFn() -> Result<T, E>,
) -> Result<T, Failure> {
    let mut pace = Pace::remote(patience);
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if may_pass(&error) => pace.again(what, &error).await?,
            Err(error) => return Err(Failure::new(Exit::Failed, what).because(error)),
        }
    }
}

/// How a caller treats a service that does not answer as it should.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    deadline: Instant,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Once,
    Aloud,
    Quietly,
}

impl Patience {
    /// Returns the patience of a caller that makes each call once, and comes back by a schedule of its own: the state
    /// machine. Whatever takes longer than until `deadline` is given up.
    pub fn once(deadline: Instant) -> Self {
        Self { deadline, manner: Manner::Once }
    }

    /// Returns the patience of a command, which tries again until `deadline` and tells its user so each time.
    pub fn aloud(deadline: Instant) -> Self {
        Self { deadline, manner: Manner::Aloud }
    }

    /// Returns the patience of work in the background that gets no second chance soon: it tries again until `deadline`,
    /// and says only at its end what has failed.
    pub fn quietly(deadline: Instant) -> Self {
        Self { deadline, manner: Manner::Quietly }
    }

    /// Returns when the caller gives up.
    pub fn deadline(self) -> Instant {
        self.deadline
    }

    /// Returns the same patience until an earlier time.
    #[must_use]
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self }
    }

    /// Returns the same patience for so much longer.
    #[must_use]
    pub fn later(self, time: Duration) -> Self {
        Self { deadline: self.deadline + time, ..self }
    }

    /// Waits until the turn that a failure names, if there is so much time.
    pub async fn pause(self, failure: &Failure, wait: Duration) -> Result<(), Failure> {
        match wait < self.left() {
            true => self.wait("waiting", &failure.headline(), wait, true).await,
            false => Err(failure.clone()),
        }
    }

    fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits before the next try; gives up when the deadline would pass, or where there is only one.
    async fn wait(self, what: &str, error: &dyn Display, wait: Duration, first: bool) -> Result<(), Failure> {
        if self.manner == Manner::Once {
            return Err(Failure::new(Exit::TryAgain, what).because(error));
        }
        if self.left().is_zero() {
            return Err(Failure::new(Exit::TryAgain, format!("{what}: gave up waiting"))
                .because(error)
                .advise("run the same command again; it goes on where this one stopped"));
        }
        let seconds = wait.as_secs_f64();
        match self.manner {
            // What passes at the first retry is no reason to worry anybody.
            Manner::Aloud if first => tracing::info!("{what}: {error}; trying again in {seconds:.1} s"),
            Manner::Aloud => tracing::warn!("{what}: {error}; trying again in {seconds:.1} s"),
            Manner::Once | Manner::Quietly => {
                tracing::debug!("{what}: {error}; trying again in {seconds:.1} s");
            }
        }
        RETRIES.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

static RETRIES: AtomicU64 = AtomicU64::new(0);

/// Returns how many calls this process has tried again.
pub fn retries() -> u64 {
    RETRIES.load(Ordering::Relaxed)
}

/// A command that has until then.
impl From<Instant> for Patience {
    fn from(deadline: Instant) -> Self {
        Self::aloud(deadline)
    }
}

/// Growing, jittered waits.
#[derive(Clone, Debug)]
pub struct Pace {
    patience: Patience,
    backoff: Backoff,
    retried: bool,
}

impl Pace {
    /// Creates a pace with waits as the patience has it: the first below `base`, all of them below `cap`.
    pub fn new(patience: impl Into<Patience>, base: Duration, cap: Duration) -> Self {
        Self { patience: patience.into(), backoff: Backoff::new(base, cap), retried: false }
    }

    /// Creates a pace for services that throttle or are down for a while.
    pub fn remote(patience: impl Into<Patience>) -> Self {
        Self::new(patience, Duration::from_secs(1), Duration::from_secs(15))
    }

    /// Creates a pace for things on the host itself that may appear at any moment.
    pub fn local(patience: impl Into<Patience>) -> Self {
        Self::new(patience, Duration::from_millis(250), Duration::from_secs(3))
    }

    /// Waits before the next try; gives up when the deadline would pass, or where there is only one.
    pub async fn again(&mut self, what: &str, error: &dyn Display) -> Result<(), Failure> {
        let (wait, first) = (self.draw(), !std::mem::replace(&mut self.retried, true));
        self.patience.wait(what, error, wait, first).await
    }

    /// Waits before looking again at something that is expected to take a while. Returns `false` after the deadline.
    pub async fn look_again(&mut self) -> bool {
        if self.patience.left().is_zero() {
            return false;
        }
        tokio::time::sleep(self.draw()).await;
        true
    }

    /// Returns the next wait, for a caller that waits for something else, too.
    pub fn draw(&mut self) -> Duration {
        self.backoff.next(fastrand::f64()).min(self.patience.left())
    }
}

/// A pace for Route 53, whose budget all hosts of an account share. [`Queue`] decides which refusals to wait for, and
/// how long.
#[derive(Clone, Debug)]
pub struct Queued {
    patience: Patience,
    queue: Queue,
    retried: bool,
}

impl Queued {
    /// Creates a pace for a command: it waits for no turn, and after a refusal as its patience has it.
    pub fn alone(patience: impl Into<Patience>) -> Self {
        Self { patience: patience.into(), queue: Queue::new(Duration::ZERO), retried: false }
    }

    /// Creates a pace for the service, which comes back for each try with the queue of the previous one. When it has to
    /// wait for other hosts, the failure says when to come back ([`Failure::turn`]).
    pub fn in_turn(deadline: Instant, queue: Queue) -> Self {
        Self { patience: Patience::once(deadline), queue, retried: false }
    }

    /// Returns the patience for all other calls of the same work.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Returns the queue as this try leaves it.
    pub fn into_queue(self) -> Queue {
        self.queue
    }

    /// Checks before a change that it is this host's turn.
    pub fn turn(&mut self) -> Result<(), Failure> {
        let wait = self.queue.turn(fastrand::f64());
        match wait.is_zero() {
            true => Ok(()),
            false => {
                Err(Failure::new(Exit::TryAgain, "waiting for its turn to register (dns.spread)").at(wait))
            }
        }
    }

    /// Waits before the next try; gives up when the deadline would pass. In turn, it fails at once, and says when to
    /// come back after being throttled.
    pub async fn again(
        &mut self,
        what: &str,
        error: &dyn Display,
        refusal: Retryable,
    ) -> Result<(), Failure> {
        let once = self.patience.manner == Manner::Once;
        let left = if once { Duration::MAX } else { self.patience.left() };
        let wait = self.queue.after(refusal, left, fastrand::f64());
        let first = !std::mem::replace(&mut self.retried, true);
        let waited = self.patience.wait(what, error, wait, first).await;
        waited.map_err(|failure| match refusal {
            Retryable::Throttled if once => failure.at(wait),
            _ => failure,
        })
    }
}
