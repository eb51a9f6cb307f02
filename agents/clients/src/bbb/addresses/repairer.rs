//! The repair by a process with the powers for it, which systemd starts at a socket (`bbb-agent-addresses.socket`). It
//! takes no parameters: it finds out the host's addresses and the settings by itself, so that a service that was taken
//! over cannot have BBB announce an address of its choice.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The time limit: FreeSWITCH alone may take more than a minute to end and to start.
const PATIENCE: Duration = Duration::from_secs(400);
/// The most bytes of an answer: some lines for each place.
const MAX_ANSWER: u64 = 64 * 1024;
/// The last line of a repair that has ended as it should.
pub const DONE: &str = "done";

/// Has the addresses set right, and waits for the end. Returns what was done, a line each; the error is what could not
/// be done.
pub async fn ask(socket: &Path) -> Result<Vec<String>, String> {
    let failed = |why: String| format!("the repair at {} {why}", socket.display());
    let text = timeout(PATIENCE, exchange(socket)).await;
    let text =
        text.map_err(|_| failed(format!("did not end within {} s", PATIENCE.as_secs())))?.map_err(failed)?;
    let mut lines: Vec<String> = text.lines().map(str::trim).map(str::to_owned).collect();
    lines.retain(|line| !line.is_empty());
    match lines.pop() {
        Some(last) if last == DONE => Ok(lines),
        Some(last) => Err(last),
        None => Err(failed("ended without a word: see journalctl -u 'bbb-agent-addresses@*'".to_owned())),
    }
}

async fn exchange(socket: &Path) -> Result<String, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            format!("is not there ({error}): is bbb-agent-addresses.socket started?")
        }
        ErrorKind::PermissionDenied => {
            format!("may not be asked ({error}): only root and the user bbb-agent may")
        }
        _ => format!("cannot be asked: {error}"),
    })?;
    let mut bytes = Vec::new();
    let read = stream.take(MAX_ANSWER).read_to_end(&mut bytes).await;
    read.map_err(|error| format!("did not end its answer: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
