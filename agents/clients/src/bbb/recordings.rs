//! Recordings that have not left this host yet, from BBB's spool and its queues in Redis. Access is read-only, and no
//! other program is run.
//!
//! The spool is often on a network mount (EFS), which may hang for ever, together with every thread that accesses it.
//! So a separate thread lists it: one in tokio's pool would keep the agent from exiting.

mod files;
pub mod redis;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use plan::recordings::{Recordings, Spool as Listing, recordings};
use plan::work::Figure;
use secrecy::SecretString;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout};

/// The directory of the programs that BBB runs after each format that it publishes, Scalelite's sender among them
/// (`bigbluebutton/README.md` of Scalelite).
pub const POST_PUBLISH: &str = "/usr/local/bigbluebutton/core/scripts/post_publish";

/// The time limit for listing the spool; with Redis' second, a look takes at most 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// A look that could not determine which recordings are on this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file or directory exists but cannot be read.
    #[error("cannot list the recordings: {path}: {why}")]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// The spool does not answer. Until the pending listing returns, further looks fail with this at once.
    #[error(
        "cannot list the recordings in {directory}: no answer for {seconds} s; where it is a network mount (EFS), its \
         server is away or not reachable"
    )]
    Hangs {
        /// The spool.
        directory: PathBuf,
        /// The time for which it has not answered.
        seconds: u64,
    },
    /// The thread for listing it could not start or ended without an answer.
    #[error("cannot list the recordings in {directory}: {why}")]
    Thread {
        /// The spool.
        directory: PathBuf,
        /// The cause.
        why: String,
    },
}

/// The program that sends published recordings to Scalelite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Nobody has to send them.
    Unused,
    /// This program sends them.
    At(PathBuf),
    /// A program in this directory ([`POST_PUBLISH`]) sends them, whatever its name is.
    Below {
        /// The directory.
        directory: PathBuf,
        /// Whether recordings have to be sent at all, because a Scalelite is configured.
        needed: bool,
    },
}

/// The Redis with BBB's queues of recording jobs.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Its address.
    pub address: SocketAddr,
    /// Its password, if it wants one.
    pub password: Option<SecretString>,
}

/// BBB's spool of recordings on this host. Keep one value for as long as the agent runs: it remembers a listing that
/// hangs.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    sending: Sending,
    look: Mutex<Option<Look>>,
}

/// A listing that has begun. It outlives the caller that asked for it.
#[derive(Debug)]
struct Look {
    since: Instant,
    answer: oneshot::Receiver<Result<Listing, Error>>,
}

impl Spool {
    /// Creates the spool in `directory`.
    pub fn new(directory: PathBuf, sending: Sending) -> Self {
        Self { directory, sending, look: Mutex::new(None) }
    }

    /// Returns the recordings that have not left the host; none where there is no spool, because BBB is not installed.
    /// Takes at most 5 s, or twice that behind another look. What cannot be found out is unknown, and does not hide the
    /// rest. `redis` is asked for jobs, if the operator wants that; `installed` tells whether BBB is or may be on this
    /// host: only without it a Redis that refuses the connection has no jobs.
    pub async fn look(&self, redis: Option<&Redis>, installed: bool) -> Recordings {
        let (directory, sending) = (self.directory.clone(), self.sending.clone());
        let listing = self.list(PATIENCE, move || files::list(&directory, &sending)).await;
        // Redis comes after the files: any recording that has left `status/recorded` is in the queues by now.
        let jobs = match redis {
            None => Figure::Known(0),
            Some(redis) => match redis::jobs(redis).await {
                Ok(jobs) => Figure::Known(jobs),
                Err(error) if error.is_refused() && !installed => Figure::Known(0),
                Err(error) => Figure::Unknown(error.to_string()),
            },
        };
        match listing {
            Ok(listing) => recordings(&listing, jobs),
            Err(error) => Recordings { jobs, ..Recordings::unknown(error.to_string()) },
        }
    }

    /// Lists in a new thread, or waits for an earlier thread that has not returned yet, but no longer than `patience`
    /// after it began.
    async fn list(
        &self,
        patience: Duration,
        list: impl FnOnce() -> Result<Listing, Error> + Send + 'static,
    ) -> Result<Listing, Error> {
        let mut slot = self.look.lock().await;
        // A finished listing is discarded: its caller did not wait for it, and its age is unknown.
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
            // The caller may have stopped waiting.
            let _ = sender.send(list());
        };
        let thread = thread::Builder::new().name("recordings".to_owned()).spawn(work);
        thread.map_err(|error| Error::Thread { directory: directory.to_owned(), why: error.to_string() })?;
        Ok(Self { since: Instant::now(), answer })
    }

    /// Returns itself, unless its answer has arrived already or will never arrive.
    fn under_way(mut self) -> Option<Self> {
        matches!(self.answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)).then_some(self)
    }
}

#[cfg(test)]
#[path = "recordings_tests.rs"]
mod tests;
