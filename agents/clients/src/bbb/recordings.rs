//! Recordings on this host that have not left it, from BBB's spool and its queues in Redis. Read only, and no process is
//! called.
//!
//! The spool is often on a network mount (EFS), which may hang for ever, and with it every thread that looks at it. So it
//! is listed in a thread of its own: one in tokio's pool would keep the agent from ending.

mod files;
pub mod redis;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use plan::recordings::{Recordings, Spool as Listing, recordings};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout};

/// Scalelite's sender, where BBB runs it after each format that it publishes (`bigbluebutton/README.md` of Scalelite).
pub const SENDER: &str = "/usr/local/bigbluebutton/core/scripts/post_publish/scalelite_post_publish.rb";

/// How long the spool may take to be listed; with Redis' second a look takes 5 s at most.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why it is not known which recordings are on this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something is there and cannot be read.
    #[error("cannot list the recordings: {path}: {why}")]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// The spool does not answer. A further look answers so at once, until the earlier one has come back.
    #[error(
        "cannot list the recordings in {directory}: no answer for {seconds} s; where it is a network mount (EFS), its \
         server is away or not reachable"
    )]
    Hangs {
        /// The spool.
        directory: PathBuf,
        /// How long it has not answered.
        seconds: u64,
    },
    /// The thread that was to list it came to nothing.
    #[error("cannot list the recordings in {directory}: {why}")]
    Thread {
        /// The spool.
        directory: PathBuf,
        /// The cause.
        why: String,
    },
}

/// BBB's spool of recordings on this host. Keep one for as long as the agent runs: it remembers a look that hangs.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    sender: PathBuf,
    redis: Option<SocketAddr>,
    look: Mutex<Option<Look>>,
}

/// A look at the spool that has begun. It outlives whoever asked for it.
#[derive(Debug)]
struct Look {
    since: Instant,
    answer: oneshot::Receiver<Result<Listing, Error>>,
}

impl Spool {
    /// The spool in `directory`; `sender` is where Scalelite's sender would be ([`SENDER`]), `redis` is the Redis with
    /// BBB's queues, if it is to be asked.
    pub fn new(directory: PathBuf, sender: PathBuf, redis: Option<SocketAddr>) -> Self {
        Self { directory, sender, redis, look: Mutex::new(None) }
    }

    /// Which recordings have not left the host; none where there is no spool, because BBB is not installed. Takes 5 s at
    /// most, behind another look twice that. A Redis that cannot be asked does not hide what the files say: it becomes a remark.
    pub async fn look(&self) -> Result<Recordings, Error> {
        let (directory, sender) = (self.directory.clone(), self.sender.clone());
        let mut listing = self.list(PATIENCE, move || files::list(&directory, &sender)).await?;
        // After the files: what has left `status/recorded` meanwhile, or before, is in the queues by now.
        let jobs = match self.redis {
            Some(server) => redis::jobs(server).await,
            None => Ok(0),
        };
        let remark = match jobs {
            Ok(jobs) => {
                listing.jobs = jobs;
                None
            }
            Err(why) => Some(why),
        };
        Ok(Recordings { remark, ..recordings(&listing) })
    }

    /// Has the listing made in a thread, unless an earlier thread has not come back yet: then that one's is waited for,
    /// but no longer than `patience` since it began.
    async fn list(
        &self,
        patience: Duration,
        list: impl FnOnce() -> Result<Listing, Error> + Send + 'static,
    ) -> Result<Listing, Error> {
        let mut slot = self.look.lock().await;
        // Whoever asked for it did not wait, and nobody knows how old an answer is by now.
        let under_way = slot.take().and_then(Look::under_way);
        let look = match under_way {
            Some(look) => look,
            None => Look::begin(&self.directory, list)?,
        };
        let look = slot.insert(look);
        let left = patience.saturating_sub(look.since.elapsed());
        let result = match timeout(left, &mut look.answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.died()),
            Err(_) => {
                let seconds = look.since.elapsed().as_secs();
                return Err(Error::Hangs { directory: self.directory.clone(), seconds });
            }
        };
        *slot = None;
        result
    }

    fn died(&self) -> Error {
        Error::Thread {
            directory: self.directory.clone(),
            why: "the thread ended without an answer".to_owned(),
        }
    }
}

impl Look {
    fn begin(
        directory: &Path,
        list: impl FnOnce() -> Result<Listing, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, answer) = oneshot::channel();
        let work = move || {
            // Nobody may be waiting any more.
            let _ = sender.send(list());
        };
        let thread = thread::Builder::new().name("recordings".to_owned()).spawn(work);
        thread.map_err(|error| Error::Thread { directory: directory.to_owned(), why: error.to_string() })?;
        Ok(Self { since: Instant::now(), answer })
    }

    /// Itself, unless its answer is there already or will never be.
    fn under_way(mut self) -> Option<Self> {
        matches!(self.answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)).then_some(self)
    }
}

#[cfg(test)]
#[path = "recordings_tests.rs"]
mod tests;
