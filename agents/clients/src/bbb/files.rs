//! One of BBB's property files, reduced to the properties that the agents need.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use secrecy::zeroize::{Zeroize, Zeroizing};
use serde::{Deserialize, Serialize};

use super::properties;

/// The key of BBB's address.
pub(super) const SERVER_URL: &str = "bigbluebutton.web.serverURL";
/// The key of the secret of BBB's API.
pub(super) const SECRET: &str = "securitySalt";
/// The key of the hash algorithms that BBB accepts for checksums.
pub(super) const CHECKSUMS: &str = "supportedChecksumAlgorithms";
/// The most bytes of a file: many times the size of the shipped one.
const MAX_SIZE: u64 = 1024 * 1024;

/// The result of reading a file.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Content {
    /// The file does not exist.
    Absent,
    /// This process may not read it; the text is the system's message.
    Denied(String),
    /// No process could read it; the text says why.
    Unreadable(String),
    /// The needed properties that are in it.
    Values(BTreeMap<String, Value>),
}

/// The value of a property, which may be a secret: wiped, and never shown.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Value(String);

impl Value {
    /// Returns the text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text, which the caller has to wipe.
    pub(super) fn take(mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The reason why a file gives no bytes.
pub(super) enum NoBytes {
    /// The file does not exist.
    Absent,
    /// This process may not read it; the text is the system's message.
    Denied(String),
    /// The system could not read it; the text is its message.
    Unreadable(String),
    /// It is a directory, a pipe or a device.
    NoFile,
    /// It is larger than this number of bytes.
    TooLarge(u64),
}

impl NoBytes {
    /// Returns the reason in words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Absent => "it does not exist".to_owned(),
            Self::Denied(why) | Self::Unreadable(why) => why,
            Self::NoFile => "it is not a regular file".to_owned(),
            Self::TooLarge(limit) => format!("it is larger than {limit} bytes"),
        }
    }
}

/// Reads a file of at most `limit` bytes, which may hold secrets. Synchronous, because the file is small and local.
pub(super) fn bytes(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, NoBytes> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => NoBytes::Absent,
        ErrorKind::PermissionDenied => NoBytes::Denied(error.to_string()),
        _ => NoBytes::Unreadable(error.to_string()),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    // Opening a pipe could block without limit.
    if !metadata.is_file() {
        return Err(NoBytes::NoFile);
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or(0) + 1));
    // An installer may have replaced the file since its size was read.
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    match u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        true => Err(NoBytes::TooLarge(limit)),
        false => Ok(bytes),
    }
}

/// Reads one of BBB's property files.
pub(super) fn read(path: &Path) -> Content {
    let unreadable = |why: String| Content::Unreadable(why);
    match bytes(path, MAX_SIZE) {
        Ok(bytes) => Content::Values(values(&Zeroizing::new(properties::decode(&bytes)))),
        Err(NoBytes::Absent) => Content::Absent,
        Err(NoBytes::Denied(why)) => Content::Denied(why),
        Err(NoBytes::Unreadable(why)) => unreadable(why),
        Err(NoBytes::NoFile) => {
            unreadable("it is not a regular file; give the path of BBB's property file".to_owned())
        }
        Err(NoBytes::TooLarge(_)) => {
            unreadable(format!("it is larger than {MAX_SIZE} bytes, so it is no property file of BBB's"))
        }
    }
}

fn values(text: &str) -> BTreeMap<String, Value> {
    let all = properties::parse(text).into_iter().map(|(key, value)| (key, Value(value)));
    all.filter(|(key, _)| [SERVER_URL, SECRET, CHECKSUMS].contains(&key.as_str())).collect()
}
