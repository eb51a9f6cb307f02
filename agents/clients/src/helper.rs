//! A conversation with a helper: a process with powers that the agent does not have, which systemd starts for each
//! connection to a socket. It takes its input, if any, to the end, and answers with lines of which the last says how it
//! has ended.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The most bytes of an answer: some dozens of lines.
const MAX_ANSWER: u64 = 64 * 1024;
/// The last line of a helper that has ended as it should.
const DONE: &str = "done";

/// A helper as people know it.
#[derive(Clone, Copy, Debug)]
pub struct Helper<'a> {
    /// Its work in words, for errors: `the repair`.
    pub what: &'a str,
    /// The name that its units have in common: `bbb-agent-addresses`.
    pub unit: &'a str,
    /// Its socket.
    pub socket: &'a Path,
    /// The time limit for its whole work.
    pub patience: Duration,
}

impl Helper<'_> {
    /// Has the helper do its work with this input, and waits for the end. Returns what was done, a line each; the error
    /// is what could not be done.
    pub async fn ask(&self, input: &[u8]) -> Result<Vec<String>, String> {
        let failed = |why: String| format!("{} at {} {why}", self.what, self.socket.display());
        let text = timeout(self.patience, self.exchange(input)).await;
        let text = text
            .map_err(|_| failed(format!("did not end within {} s", self.patience.as_secs())))?
            .map_err(failed)?;
        let mut lines: Vec<String> = text.lines().map(str::trim).map(str::to_owned).collect();
        lines.retain(|line| !line.is_empty());
        match lines.pop() {
            Some(last) if last == DONE => Ok(lines),
            Some(last) => Err(last),
            None => Err(failed(format!("ended without a word: see journalctl -u '{}@*'", self.unit))),
        }
    }

    async fn exchange(&self, input: &[u8]) -> Result<String, String> {
        let mut stream = connect(self.socket, self.unit).await?;
        // A helper that has ended before it has read everything says why.
        let written = async {
            stream.write_all(input).await?;
            stream.shutdown().await
        };
        let written = written.await;
        let mut bytes = Vec::new();
        let read = stream.take(MAX_ANSWER).read_to_end(&mut bytes).await;
        match (read, written) {
            (Ok(1..), _) | (Ok(_), Ok(())) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            (Err(error), _) | (_, Err(error)) => Err(format!("did not end its answer: {error}")),
        }
    }
}

/// Opens a connection to the socket of a unit, `AGENT-WORK`, that the agent's user may use. The error gives the cause and
/// the remedy.
pub(crate) async fn connect(socket: &Path, unit: &str) -> Result<UnixStream, String> {
    let user = unit.rsplit_once('-').map_or(unit, |(agent, _)| agent);
    UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            format!("is not there ({error}): is {unit}.socket started?")
        }
        ErrorKind::PermissionDenied => {
            format!("may not be asked ({error}): only root and the user {user} may")
        }
        _ => format!("cannot be asked: {error}"),
    })
}
