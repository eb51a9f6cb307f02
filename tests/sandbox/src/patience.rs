//! Waits with an end: a test that waits in vain fails, and says what it awaited and what came instead.

use std::future::Future;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

/// Far longer than any agent needs between two of its own tries.
const LIMIT: Duration = Duration::from_secs(120);

/// Waits for something that a test needs, and panics when it has not come after two minutes.
///
/// The limit is one of real time: a test may have paused tokio's clock.
#[allow(clippy::panic, reason = "only tests wait, and a panic is how they fail")]
pub(crate) async fn awaited<T>(
    what: impl FnOnce() -> String,
    came: impl FnOnce() -> String,
    wait: impl Future<Output = T>,
) -> T {
    let (alarm, over) = oneshot::channel();
    let (_done, goes_on) = mpsc::channel::<()>();
    thread::spawn(move || {
        if goes_on.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = alarm.send(());
        }
    });
    tokio::select! {
        biased;
        result = wait => result,
        _ = over => panic!("{} did not come within {} s; what came: {}", what(), LIMIT.as_secs(), came()),
    }
}
