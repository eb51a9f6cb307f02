//! SIGTERM and SIGINT: waiting ends at once, an action in progress gets a moment to finish, and no further one begins.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::sync::watch;

/// The time that an action in progress still gets: with it, a command ends within a second of the signal.
const GRACE: Duration = Duration::from_millis(800);

/// A handle that tells whether the process was asked to stop, and whether an action is in progress. Clones share both.
#[derive(Clone, Debug)]
pub struct Interrupt {
    signal: watch::Receiver<Option<i32>>,
    /// The number of actions in progress.
    acting: watch::Sender<usize>,
}

/// A handle that ends the work of an [`Interrupt`] as a signal would.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Option<i32>>);

impl Trigger {
    /// Ends the work.
    pub fn pull(&self) {
        self.0.send_replace(Some(SIGTERM));
    }
}

impl Interrupt {
    /// Starts listening for SIGTERM and SIGINT.
    pub fn listen() -> std::io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (sender, signal) = watch::channel(None);
        tokio::spawn(async move {
            while let Some(caught) = signals.next().await {
                sender.send_replace(Some(caught));
            }
        });
        Ok(Self { signal, acting: watch::Sender::new(0) })
    }

    /// Creates an interrupt that only its trigger ends, not a signal.
    pub fn manual() -> (Trigger, Self) {
        let (sender, signal) = watch::channel(None);
        (Trigger(sender), Self { signal, acting: watch::Sender::new(0) })
    }

    /// Returns the signal that was caught, if there was one.
    pub fn caught(&self) -> Option<i32> {
        *self.signal.borrow()
    }

    /// Runs one action, which a signal lets finish. Returns `None` when a signal came before it began.
    pub async fn act<T>(&self, action: impl Future<Output = T>) -> Option<T> {
        if self.caught().is_some() {
            return None;
        }
        self.acting.send_modify(|acting| *acting += 1);
        let result = action.await;
        self.acting.send_modify(|acting| *acting -= 1);
        Some(result)
    }

    /// Runs a whole command until it ends or a signal stops it; then returns the signal.
    pub async fn or_stop<T>(&self, work: impl Future<Output = T>) -> Result<T, i32> {
        let mut work = pin!(work);
        let mut signal = self.signal.clone();
        // The order matters: work that has ended counts, even if a signal came at the same time.
        let caught = tokio::select! {
            biased;
            result = &mut work => return Ok(result),
            // The sender lives as long as the work, so this ends only with a signal.
            caught = signal.wait_for(Option::is_some) => caught.ok().and_then(|caught| *caught).unwrap_or(SIGTERM),
        };
        let mut acting = self.acting.subscribe();
        tokio::select! {
            biased;
            result = &mut work => Ok(result),
            _ = acting.wait_for(|acting| *acting == 0) => Err(caught),
            () = tokio::time::sleep(GRACE) => Err(caught),
        }
    }
}
