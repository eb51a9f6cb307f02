//! Answers Prometheus: `GET /metrics` at `metrics.listen`.
//!
//! Separate tasks serve the connections, so that no client can block the service's loop; the loop renders what it knows
//! when one asks. Few connections are served at a time, the others wait in the kernel's queue, and each has the limits of
//! [`scrape`]: a client that says nothing, or never ends its headers, takes the place of nobody for long. A place
//! that cannot be opened is tried again, and nothing else depends on it.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::prometheus::Format;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::engine::at;
use super::troubles::{Failing, Troubles};
use crate::config::settings::Listen;
use clients::scrape;

/// The most connections that are served at a time.
const CONNECTIONS: usize = 8;
/// The time until a place that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// The pause after a connection could not be accepted: the usual reason is too many open files.
const RECOVERY: Duration = Duration::from_secs(1);
/// The words of the log for what is looked after here.
const PART: &str = "listening for Prometheus";

/// One client's question.
#[derive(Debug)]
pub(super) struct Question {
    /// The format that it reads.
    pub(super) format: Format,
    answer: oneshot::Sender<String>,
}

impl Question {
    /// Answers with this text. The client may be gone.
    pub(super) fn answer(self, text: String) {
        let _ = self.answer.send(text);
    }
}

/// The place where Prometheus asks.
#[derive(Debug, Default)]
pub(super) struct Exporter {
    listen: Option<Listen>,
    private: Option<Ipv4Addr>,
    open: Option<Open>,
    /// When to try to open it.
    due: Option<Instant>,
}

/// A place that is open. Everything that belongs to it ends with it.
#[derive(Debug)]
struct Open {
    questions: mpsc::Receiver<Question>,
    _accepting: JoinSet<()>,
    _socket: Option<Placed>,
}

impl Exporter {
    /// The configuration was read, or the host's private address became known.
    pub(super) fn configure(
        &mut self,
        listen: Option<&Listen>,
        private: Option<Ipv4Addr>,
        troubles: &Troubles,
    ) {
        if self.listen.as_ref() != listen {
            self.open = None;
            troubles.forget(&[PART]);
        }
        self.listen = listen.cloned();
        self.private = private.or(self.private);
        self.due = (self.open.is_none() && self.listen.is_some()).then(Instant::now);
    }

    /// Returns the next question, and opens the place before that where it is not open. Waits without limit where there
    /// is none; may be cancelled at any point.
    pub(super) async fn next(&mut self, troubles: &Troubles) -> Question {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(question) = open.questions.recv().await {
                    return question;
                }
                // The accepting task lives as long as the place, so this does not happen.
                self.open = None;
                self.due = Some(Instant::now() + AGAIN);
            }
            at(self.due).await;
            self.due = Some(Instant::now() + AGAIN);
            self.attempt(troubles).await;
        }
    }

    async fn attempt(&mut self, troubles: &Troubles) {
        let (place, opened) = match (self.listen.as_ref(), self.private) {
            (Some(Listen::At(address)), _) => (address.to_string(), listen(*address).await),
            (Some(Listen::Private(port)), Some(private)) => {
                let address = SocketAddr::from((private, *port));
                (address.to_string(), listen(address).await)
            }
            (Some(Listen::Socket(path)), _) => (path.display().to_string(), place(path).await),
            // Who this host is will be known, or nothing is to be opened.
            (Some(Listen::Private(_)), None) | (None, _) => {
                self.due = None;
                return;
            }
        };
        match opened {
            Ok(open) => {
                troubles.take(PART, "prometheus", None, Ok(()));
                info!(action = "prometheus", "Prometheus may ask at {place} (metrics.listen)");
                (self.open, self.due) = (Some(open), None);
            }
            Err(error) => {
                let why = error.to_string();
                let line = format!(
                    "cannot listen at {place} (metrics.listen): {why}; choose another place there and reload, or end what \
                     has it; it is tried again"
                );
                troubles.take(PART, "prometheus", None, Err(Failing::new(&why, line)));
            }
        }
    }
}

async fn listen(address: SocketAddr) -> io::Result<Open> {
    let listener = TcpListener::bind(address).await?;
    Ok(open(None, listener))
}

/// Makes a socket that the owner's group may use, too. One that was left behind is replaced, and nothing else.
async fn place(path: &Path) -> io::Result<Open> {
    let new = path.with_extension("new");
    for path in [path, &new] {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                let words = format!("{} is there, and is no socket", path.display());
                return Err(io::Error::new(ErrorKind::AlreadyExists, words));
            }
            // Nobody listens at what a process has left behind when it was killed.
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there")),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    crate::files::remove(&new)?;
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o660))?;
    fs::rename(&new, path)?;
    let placed = Placed { path: path.to_owned(), looks: look(path)? };
    Ok(open(Some(placed), listener))
}

/// A socket in the file system, which is removed in the end if it is still the same.
#[derive(Debug)]
struct Placed {
    path: PathBuf,
    looks: (u64, u64),
}

/// The marks by which a file is known: device and inode.
fn look(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for Placed {
    fn drop(&mut self) {
        if look(&self.path).is_ok_and(|looks| looks == self.looks) {
            let _ = crate::files::remove(&self.path);
        }
    }
}

/// A listening socket of either kind.
trait Accept: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

fn open(socket: Option<Placed>, listener: impl Accept) -> Open {
    let (sender, questions) = mpsc::channel(CONNECTIONS);
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut serving = JoinSet::new();
        loop {
            tokio::select! {
                accepted = Accept::accept(&listener), if serving.len() < CONNECTIONS => match accepted {
                    Ok(stream) => {
                        serving.spawn(converse(stream, sender.clone()));
                    }
                    Err(error) => {
                        debug!("no connection of Prometheus can be accepted: {error}");
                        sleep(RECOVERY).await;
                    }
                },
                Some(_) = serving.join_next() => {}
            }
        }
    });
    Open { questions, _accepting: accepting, _socket: socket }
}

/// Serves one connection: its request is a question to the service.
async fn converse<S>(stream: S, questions: mpsc::Sender<Question>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ask = move |format| {
        let questions = questions.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            questions.send(Question { format, answer }).await.ok()?;
            answered.await.ok()
        }
    };
    if let Err(why) = scrape::serve(stream, ask).await {
        debug!("a client of metrics.listen was not served: {why}");
    }
}

#[cfg(test)]
#[path = "exporter_tests.rs"]
mod tests;
