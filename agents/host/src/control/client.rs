//! The command's end of the socket.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::message::{self, Error, Reply, Request, ServiceState};
use super::socket;
use crate::agent::Agent;
use crate::report::{self, Exit, Failure};

/// Has the service carry out the request, and prints its replies as they come. Returns `None` when no service listens.
/// Sets no deadline: only the caller knows how long the request may take.
pub async fn ask(agent: &Agent, directory: &Path, request: &Request) -> Result<Option<Exit>, Failure> {
    let Some(mut call) = Call::begin(agent, directory, request).await? else { return Ok(None) };
    loop {
        let reply = call.next().await;
        if !matches!(reply, Ok(Reply::Progress(_))) {
            report::progress_done();
        }
        match reply? {
            Reply::Line(line) => report::say(line),
            Reply::Progress(line) => report::progress(&line),
            Reply::Complaint(what) => report::complain(agent.name, what),
            Reply::Service(_) => {}
            Reply::End { exit } => return Ok(Some(Exit::from(exit))),
        }
    }
}

/// Asks for the service's state; returns `None` when no service listens. Prints nothing, and sets no deadline.
pub async fn state(agent: &Agent, directory: &Path) -> Result<Option<ServiceState>, Failure> {
    let Some(mut call) = Call::begin(agent, directory, &Request::Status).await? else { return Ok(None) };
    loop {
        match call.next().await? {
            Reply::Service(state) => return Ok(Some(state)),
            Reply::Complaint(what) => {
                return Err(
                    Failure::new(Exit::CannotTell, "the service does not say how it stands").because(what)
                );
            }
            Reply::End { .. } => {
                return Err(Failure::new(Exit::CannotTell, "the service does not say how it stands"));
            }
            Reply::Line(_) | Reply::Progress(_) => {}
        }
    }
}

/// Checks that root or the directory's owner listens, because a path may lead to another program's socket.
fn check(stream: &UnixStream, directory: &Path) -> Result<(), String> {
    let listener =
        stream.peer_cred().map_err(|error| format!("who listens there is not known: {error}"))?.uid();
    let owner = directory.metadata().map_err(|error| error.to_string())?.uid();
    match [0, owner].contains(&listener) {
        true => Ok(()),
        false => Err(format!("another user than the service's listens there (uid {listener})")),
    }
}

/// A conversation in progress.
struct Call<'a> {
    agent: &'a Agent,
    what: &'static str,
    from: BufReader<OwnedReadHalf>,
    /// Kept open, because the service takes its closing for the client's departure.
    _to: OwnedWriteHalf,
}

impl<'a> Call<'a> {
    async fn begin(agent: &'a Agent, directory: &Path, request: &Request) -> Result<Option<Self>, Failure> {
        let path = socket(directory);
        let failed = |error: &dyn std::fmt::Display, exit: Exit| {
            Failure::new(exit, format!("cannot ask the service at {}", path.display())).because(error)
        };
        let stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            // The socket was never created, or a service that has ended left it behind.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(failed(&error, Exit::Failed).advise("run this as root"));
            }
            Err(error) => return Err(failed(&error, Exit::TryAgain).advise("run the same command again")),
        };
        if let Err(why) = check(&stream, directory) {
            return Err(failed(&why, Exit::Failed)
                .advise("find out who listens there (`ss -lxp`), and restart the service"));
        }
        let (from, mut to) = stream.into_split();
        let line = message::encode(request).map_err(|error| failed(&error, Exit::Failed))?;
        // A service that refuses this sends the reason, which is read next, or closes the connection.
        let _ = to.write_all(&line).await;
        Ok(Some(Self { agent, what: request.name(), from: BufReader::new(from), _to: to }))
    }

    async fn next(&mut self) -> Result<Reply, Failure> {
        let unit = self.agent.unit();
        let failed = |exit, words: &str| Failure::new(exit, format!("{}: {words}", self.what));
        match message::receive(&mut self.from).await {
            Ok(Some(reply)) => Ok(reply),
            Err(error @ Error::Protocol { .. }) => {
                Err(failed(Exit::Failed, "the service that runs is of another version than this command")
                    .because(error)
                    .advise(format!("systemctl restart {unit}")))
            }
            Err(error @ (Error::Garbage(_) | Error::TooLong)) => {
                Err(failed(Exit::Failed, "the service's answer cannot be used")
                    .because(error)
                    .advise(format!("systemctl restart {unit}")))
            }
            end => {
                let failure = failed(Exit::TryAgain, "the service went away in the middle");
                let failure = match end {
                    Err(error) => failure.because(error),
                    Ok(_) => failure,
                };
                Err(failure.advise(format!("journalctl -u {unit} says why; then run the same command again")))
            }
        }
    }
}
