//! One of BBB's property files, read for what the agents need of it and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use secrecy::zeroize::{Zeroize, Zeroizing};
use serde::{Deserialize, Serialize};

use super::properties;

/// BBB's address.
pub(super) const SERVER_URL: &str = "bigbluebutton.web.serverURL";
/// The secret of BBB's API.
pub(super) const SECRET: &str = "securitySalt";
/// The hashes that BBB accepts for checksums.
pub(super) const CHECKSUMS: &str = "supportedChecksumAlgorithms";
/// Many times the size of the shipped file, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// What a file is found to be.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Content {
    /// There is no such file.
    Absent,
    /// This process may not read it, in the system's words.
    Denied(String),
    /// It cannot be read by anybody, and why.
    Unreadable(String),
    /// The properties that are needed, as far as they are in it.
    Values(BTreeMap<String, Value>),
}

/// The value of a property, which may be a secret: wiped, and never shown.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Value(String);

impl Value {
    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, which is the caller's to wipe.
    pub(super) fn take(mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Reads a file. Synchronous: it is small and local.
pub(super) fn read(path: &Path) -> Content {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Content::Absent,
        ErrorKind::PermissionDenied => Content::Denied(error.to_string()),
        _ => Content::Unreadable(error.to_string()),
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return failed(error),
    };
    // Opening a pipe could wait for ever.
    if !metadata.is_file() {
        let why = "it is not a regular file; give the path of BBB's property file";
        return Content::Unreadable(why.to_owned());
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len().min(MAX_SIZE)).unwrap_or(0) + 1));
    // It may have been replaced between the two looks, as installers do.
    match File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes)) {
        Err(error) => failed(error),
        Ok(_) if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_SIZE => Content::Unreadable(format!(
            "it is larger than {MAX_SIZE} bytes, so it is no property file of BBB's"
        )),
        Ok(_) => Content::Values(values(&Zeroizing::new(properties::decode(&bytes)))),
    }
}

fn values(text: &str) -> BTreeMap<String, Value> {
    let all = properties::parse(text).into_iter().map(|(key, value)| (key, Value(value)));
    all.filter(|(key, _)| [SERVER_URL, SECRET, CHECKSUMS].contains(&key.as_str())).collect()
}
