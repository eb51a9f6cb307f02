//! BBB's property files, and those with the host's address, through a privileged reader. They may be readable only by
//! root and by groups that do not exist before BBB is installed, so the unprivileged service cannot be a member. For
//! each question systemd starts a separate process (`bbb-agent-settings.socket`) that has no privilege but reading: it
//! reads the files that the configuration names, takes no parameters, and answers with one JSON object.
//!
//! The service and the reader may be of different versions while an upgrade is under way, because the reader is always
//! the installed binary. A part of the answer that one of them does not know is left out: an older service passes over
//! it, and a newer one says that its reader is older.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::addresses::Files;
use super::files::{self, Content};
use crate::helper::connect;

/// The time limit for the reader, its start by systemd included.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer: far more than two files with three properties each, and eight with a few addresses.
const MAX_ANSWER: usize = 1024 * 1024;

/// A file and its content.
#[derive(Deserialize, Serialize)]
pub(super) struct Reading {
    /// The file's path.
    pub(super) path: PathBuf,
    /// The result of reading it.
    pub(super) content: Content,
}

/// The content of both property files, and of those with the host's address.
#[derive(Deserialize, Serialize)]
pub(super) struct Readings {
    /// The file with the defaults that BBB ships.
    pub(super) defaults: Reading,
    /// The file with the host's own settings, which take precedence.
    pub(super) properties: Reading,
    /// The files with the host's address; `None` in the answer of a reader that does not know them, and where nobody
    /// needs them.
    #[serde(default)]
    pub(super) addresses: Option<Files>,
}

impl Readings {
    /// Reads both property files.
    pub(super) fn here(defaults: &Path, properties: &Path) -> Self {
        let read = |path: &Path| Reading { path: path.to_owned(), content: files::read(path) };
        Self { defaults: read(defaults), properties: read(properties), addresses: None }
    }

    /// Returns what a host without BBB has.
    fn none() -> Self {
        let absent = || Reading { path: PathBuf::new(), content: Content::Absent };
        Self { defaults: absent(), properties: absent(), addresses: None }
    }

    /// Returns the first file that this process may not read, with the system's message.
    pub(super) fn denied(&self) -> Option<(&Path, &str)> {
        [&self.defaults, &self.properties].into_iter().find_map(|reading| match &reading.content {
            Content::Denied(why) => Some((reading.path.as_path(), why.as_str())),
            _ => None,
        })
    }
}

/// Builds the reader's answer: the content of both property files, if BBB has any here, with BBB's secret, and the
/// addresses in the files below `root`.
pub fn answer(bbb: Option<[&Path; 2]>, root: &Path) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    // The buffer has its full size from the start: growing would leave copies behind that are never wiped.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_ANSWER));
    let readings = match bbb {
        Some([defaults, properties]) => Readings::here(defaults, properties),
        None => Readings::none(),
    };
    let readings = Readings { addresses: Some(Files::here(root)), ..readings };
    serde_json::to_writer(&mut *text, &readings)?;
    Ok(text)
}

/// Asks the reader at this socket. The error gives the cause and the remedy.
pub(super) async fn ask(agent: &str, socket: &Path) -> Result<Readings, String> {
    let failed = |why: String| format!("its reader at {} {why}", socket.display());
    let unit = format!("{agent}-settings");
    match timeout(PATIENCE, exchange(&unit, socket)).await {
        Err(_) => Err(failed(format!("gave no answer within {} s", PATIENCE.as_secs()))),
        Ok(Err(why)) => Err(failed(why)),
        Ok(Ok(text)) if text.is_empty() => {
            Err(failed(format!("gave no answer: see journalctl -u '{unit}@*'")))
        }
        Ok(Ok(text)) if text.len() > MAX_ANSWER => {
            Err(failed(format!("gave an answer of more than {MAX_ANSWER} bytes")))
        }
        // serde_json's message may quote the answer.
        Ok(Ok(text)) => serde_json::from_slice(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            failed(format!(
                "gave an answer that is none (line {line}, column {column}): is it another version's?"
            ))
        }),
    }
}

async fn exchange(unit: &str, socket: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let stream = connect(socket, unit).await?;
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_ANSWER + 1));
    let mut limited = stream.take(u64::try_from(MAX_ANSWER + 1).unwrap_or(u64::MAX));
    let read = limited.read_to_end(&mut text).await;
    read.map_err(|error| format!("did not end its answer: {error}"))?;
    Ok(text)
}
