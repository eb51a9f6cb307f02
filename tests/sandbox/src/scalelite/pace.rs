//! The time between reading Redis and committing to it, in which other requests get ahead.

use std::time::Duration;

use tokio::sync::watch;

use crate::patience::awaited;

#[derive(Debug, Default)]
pub(super) struct Pace {
    held: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

/// A guard that stops counting a request, even when its client went away.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}

impl Pace {
    pub(super) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(super) async fn reached(&self, times: usize) {
        let mut waiting = self.waiting.subscribe();
        let what = || format!("request {times} between reading and committing");
        let came = || format!("{} wait there", *self.waiting.borrow());
        // The sender lives in self, so waiting cannot fail.
        let _ = awaited(what, came, waiting.wait_for(|waiting| *waiting >= times)).await;
    }

    pub(super) async fn gap(&self, delay: Duration) {
        if *self.held.borrow() {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let _counted = Waiting(&self.waiting);
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            return;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
}
