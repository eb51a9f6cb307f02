//! What the host's files say, read by this process or, where it may not read one of them, by the reader.

use std::path::{Path, PathBuf};

use plan::addresses::{File, Place, Reading, TURN_SERVERS, Value};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::checksum::hex;
use super::super::files::{self, NoBytes};
use super::super::reader;
use super::{MAX_SIZE, below, sites, values};

/// The key of the digest of a file whose content is a secret.
const DIGEST: &str = "sha256";
/// The reason where a reader has said nothing about a file.
const UNKNOWN: &str = "its reader does not know this file: is it another version's?";

/// The content of the files, as far as the agent uses it.
#[derive(Debug)]
pub struct Read {
    /// The values in each file with an address.
    pub readings: Vec<(File, Reading)>,
    /// The [`digest`] of the file with the TURN servers; `None` where there is no such file. The error says why it is
    /// not known.
    pub turn_servers: Result<Option<String>, String>,
}

/// The files with their values, as the reader answers. Only the values of known keys are in it.
#[derive(Deserialize, Serialize)]
pub(in super::super) struct Files {
    /// The directory below which the files are.
    root: PathBuf,
    /// The content of each file, by its path below the root.
    files: Vec<(PathBuf, Content)>,
}

/// The result of reading a file.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    /// The file does not exist.
    Absent,
    /// This process may not read it; the text is the system's message.
    Denied(String),
    /// It could not be read or understood; the text says why.
    Unreadable(String),
    /// The values in it, each with its key.
    Values(Vec<(String, String)>),
}

impl Files {
    /// Reads the files below this directory.
    pub(in super::super) fn here(root: &Path) -> Self {
        let files = File::ALL.into_iter().map(|file| (PathBuf::from(file.path()), content(root, file)));
        let turn_servers = (PathBuf::from(TURN_SERVERS), digested(root, TURN_SERVERS));
        Self { root: root.to_owned(), files: files.chain([turn_servers]).collect() }
    }

    fn is_denied(&self) -> bool {
        self.files.iter().any(|(_, content)| matches!(content, Content::Denied(_)))
    }

    /// Returns what this file says.
    fn content(&self, path: &str) -> Content {
        let found = self.files.iter().find(|(known, _)| known == Path::new(path));
        found.map(|(_, content)| content.clone()).unwrap_or_else(|| Content::Unreadable(UNKNOWN.to_owned()))
    }

    /// Returns what all files say.
    fn all(self) -> Read {
        let turn_servers = match self.content(TURN_SERVERS) {
            Content::Absent => Ok(None),
            Content::Denied(why) | Content::Unreadable(why) => Err(format!("{TURN_SERVERS}: {why}")),
            Content::Values(values) => {
                let digest = values.into_iter().find_map(|(key, text)| (key == DIGEST).then_some(text));
                digest.map(Some).ok_or_else(|| format!("{TURN_SERVERS}: {UNKNOWN}"))
            }
        };
        Read { readings: self.readings(), turn_servers }
    }

    /// Returns what each file with an address says.
    fn readings(self) -> Vec<(File, Reading)> {
        let mut readings = Vec::new();
        for file in File::ALL {
            let reading = match self.content(file.path()) {
                Content::Absent => Reading::Absent,
                Content::Denied(why) | Content::Unreadable(why) => Reading::Unreadable(why),
                Content::Values(values) => {
                    // A reader that is newer may know more keys.
                    let known = values.into_iter().filter_map(|(key, text)| {
                        Some(Value { place: Place::of_key(&key).filter(|place| place.file() == file)?, text })
                    });
                    Reading::Values(known.collect())
                }
            };
            readings.push((file, reading));
        }
        readings
    }

    /// Returns what each file says where one of them could not be read here, and the reader could not help for this
    /// reason.
    fn without_help(mut self, why: &str) -> Read {
        for (_, content) in &mut self.files {
            if let Content::Denied(denied) = content {
                *denied = format!("{denied}; {why}");
            }
        }
        self.all()
    }
}

fn content(root: &Path, file: File) -> Content {
    let path = below(root, file.path());
    let bytes = match files::bytes(&path, MAX_SIZE) {
        Ok(bytes) => bytes,
        Err(why) => return Content::without_bytes(why),
    };
    match sites(file, &bytes) {
        Ok(sites) => {
            let values = values(&bytes, &sites).into_iter();
            Content::Values(values.map(|value| (value.place.key().to_owned(), value.text)).collect())
        }
        Err(defect) => Content::Unreadable(defect.to_string()),
    }
}

/// Reads a file whose content is a secret.
fn digested(root: &Path, path: &str) -> Content {
    match files::bytes(&below(root, path), MAX_SIZE) {
        Ok(bytes) => Content::Values(vec![(DIGEST.to_owned(), digest(&bytes))]),
        Err(why) => Content::without_bytes(why),
    }
}

impl Content {
    fn without_bytes(why: NoBytes) -> Self {
        match why {
            NoBytes::Absent => Self::Absent,
            NoBytes::Denied(why) => Self::Denied(why),
            other => Self::Unreadable(other.words()),
        }
    }
}

/// Returns what tells one content of a file from all others, and reveals nothing of it.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Reads what the files below this directory say about the address of this agent's host. Asks the reader at this
/// socket, if there is one, where this process may not read all of them. Takes at most five seconds.
pub async fn read(agent: &str, root: &Path, reader: Option<&Path>) -> Read {
    let here = Files::here(root);
    let Some(socket) = reader.filter(|_| here.is_denied()) else { return here.all() };
    let socket_name = socket.display();
    match reader::ask(agent, socket).await.map(|answer| answer.addresses) {
        Err(why) => here.without_help(&why),
        Ok(None) => here.without_help(&format!(
            "its reader at {socket_name} is of an older version and does not read it: install the same version everywhere"
        )),
        Ok(Some(there)) if there.root != root => {
            let (there, root) = (there.root.display(), root.display());
            here.without_help(&format!("its reader at {socket_name} reads below {there}, not below {root}: its settings are others"))
        }
        Ok(Some(there)) => there.all(),
    }
}
