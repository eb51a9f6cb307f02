//! The service's end of the socket.

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::message::{self, Reply, Request, ServiceState};
use super::{Lock, socket};
use crate::files;
use crate::report::{Exit, Failure};

/// The most conversations at a time.
const CONVERSATIONS: usize = 16;

/// The most lines that wait for a client that does not read them.
const LINES: usize = 64;

/// The time limit for a request to arrive, and for a client to take a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time that clients have to read the remaining lines when the service ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// The pause after a connection could not be accepted: the usual reason is too many open files.
const RECOVERY: Duration = Duration::from_secs(1);

/// The socket of a service that listens. Separate tasks serve the connections, so that no client can block the
/// service's loop.
#[derive(Debug)]
pub struct Listener {
    requests: Mutex<mpsc::Receiver<(Request, Conversation)>>,
    places: Arc<Semaphore>,
    /// The accepting task, which ends with the listener.
    accepting: JoinSet<()>,
}

impl Listener {
    /// Listens beside the lock, which proves that no other service does: a socket that was left behind is replaced.
    /// Needs a tokio runtime. Fails where the lock has no directory, or the socket cannot be created there.
    pub fn bind(lock: &Lock) -> Result<Self, Failure> {
        let Some(directory) = lock.directory() else {
            return Err(Failure::new(Exit::Failed, "the service has no directory for its control socket")
                .advise("let systemd make it (RuntimeDirectory=), or set service.directory"));
        };
        let listener = listen(&socket(directory)).map_err(|error| {
            let path = socket(directory);
            Failure::new(Exit::Failed, format!("cannot listen at {}", path.display())).because(error)
        })?;
        let (sender, requests) = mpsc::channel(CONVERSATIONS);
        let places = Arc::new(Semaphore::new(CONVERSATIONS));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&places), sender));
        Ok(Self { requests: Mutex::new(requests), places, accepting })
    }

    /// Returns the next request and its conversation. Waits without limit where none comes; may be cancelled at any
    /// point without losing a request.
    pub async fn next(&self) -> (Request, Conversation) {
        match self.requests.lock().await.recv().await {
            Some(asked) => asked,
            // The accepting task lives as long as the listener, so this does not happen.
            None => std::future::pending().await,
        }
    }

    /// Stops listening, and gives clients a second to read their last lines: the service calls it as the last thing. A
    /// conversation that was not ended breaks off.
    pub async fn finish(self) {
        let Self { requests, places, accepting } = self;
        drop((requests, accepting));
        // All places are free once every conversation has ended.
        let all = u32::try_from(CONVERSATIONS).unwrap_or(u32::MAX);
        let _ = timeout(FAREWELL, places.acquire_many(all)).await;
    }
}

/// Creates a socket at this path that is restricted to the own user from its first moment: it is renamed once it is
/// ready.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    files::remove(&new)?;
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

async fn accept(
    listener: UnixListener,
    places: Arc<Semaphore>,
    requests: mpsc::Sender<(Request, Conversation)>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => drop(tokio::spawn(converse(stream, place, requests.clone()))),
                Err(_) => turn_away(stream).await,
            },
            Err(error) => {
                warn!("the control socket cannot accept a connection: {error}");
                sleep(RECOVERY).await;
            }
        }
    }
}

/// Refuses a connection beyond the limit. The reply always fits into the buffer of a new connection.
async fn turn_away(mut stream: UnixStream) {
    let words = format!("the service has {CONVERSATIONS} conversations already; try again in a moment");
    for reply in [Reply::Complaint(words), Reply::End { exit: Exit::TryAgain.code() }] {
        if let Ok(line) = message::encode(&reply) {
            let _ = timeout(PATIENCE, stream.write_all(&line)).await;
        }
    }
}

/// Serves one connection from its beginning to its end.
async fn converse(
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
    requests: mpsc::Sender<(Request, Conversation)>,
) {
    let (from, to) = stream.into_split();
    let mut from = BufReader::new(from);
    let (replies, lines) = mpsc::channel(LINES);
    let enough = Arc::new(Notify::new());
    let conversation = Conversation { replies, enough: Arc::clone(&enough) };
    match timeout(PATIENCE, message::receive(&mut from)).await {
        Ok(Ok(Some(request))) => {
            // This fails only when the service is ending: then the conversation breaks off, which the client
            // understands.
            let _ = requests.send((request, conversation)).await;
        }
        Ok(Ok(None)) => return,
        Ok(Err(error)) => conversation.refuse(&error),
        Err(_) => conversation.refuse(&format!("no request within {} s", PATIENCE.as_secs())),
    }
    tokio::select! {
        // Replies come first: a client whose request is refused may have sent more, which looks as if it were leaving.
        biased;
        () = tell(lines, to) => {}
        () = leaves(from) => debug!("a client of the control socket has gone away"),
        () = enough.notified() => warn!("a client of the control socket reads too slowly: dropped"),
    }
}

/// Writes the replies until the conversation ends.
async fn tell(mut lines: mpsc::Receiver<Vec<u8>>, mut to: OwnedWriteHalf) {
    while let Some(line) = lines.recv().await {
        if !matches!(timeout(PATIENCE, to.write_all(&line)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Returns when the client closes its end, which it keeps open as long as it listens. A second request is ignored.
async fn leaves(mut from: BufReader<OwnedReadHalf>) {
    let _ = from.read_u8().await;
}

/// The service's side of one conversation. Nothing here waits: lines are buffered, and a client that does not read
/// them is dropped. Dropping this without [`Conversation::end`] tells the client that the service went away in the
/// middle.
#[derive(Debug)]
pub struct Conversation {
    replies: mpsc::Sender<Vec<u8>>,
    enough: Arc<Notify>,
}

impl Conversation {
    /// Sends a line that the command prints on standard output.
    pub fn line(&self, line: impl Display) {
        self.say(&Reply::Line(line.to_string()));
    }

    /// Sends a line about the progress, for a terminal.
    pub fn progress(&self, line: impl Display) {
        self.say(&Reply::Progress(line.to_string()));
    }

    /// Sends a failure, which the command prints on standard error after its own name.
    pub fn complaint(&self, what: impl Display) {
        self.say(&Reply::Complaint(what.to_string()));
    }

    /// Sends the service's state.
    pub fn service(&self, state: ServiceState) {
        self.say(&Reply::Service(state));
    }

    /// Ends the conversation: the command ends with this code.
    pub fn end(self, exit: Exit) {
        self.say(&Reply::End { exit: exit.code() });
    }

    /// Reports whether the client has gone. The request need not be given up for that.
    pub fn is_gone(&self) -> bool {
        self.replies.is_closed() || self.replies.capacity() == 0
    }

    fn refuse(self, why: &impl Display) {
        warn!("a request at the control socket is refused: {why}");
        self.complaint(format_args!("the service refuses the request: {why}"));
        self.end(Exit::Usage);
    }

    fn say(&self, reply: &Reply) {
        let line = match message::encode(reply) {
            Ok(line) => line,
            Err(error) => return warn!("a reply at the control socket is left out: {error}"),
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.replies.try_send(line) {
            self.enough.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
