//! What BBB's own property files on this host say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use plan::membership::normalise_url;
use plan::record::Name;
use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{ExposeSecret, SecretString};

use super::checksum::Algorithm;
use super::properties;

const SERVER_URL: &str = "bigbluebutton.web.serverURL";
const SECRET: &str = "securitySalt";
const CHECKSUMS: &str = "supportedChecksumAlgorithms";
/// Many times the size of the shipped file, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// The host's own BBB, as its property files describe it.
#[derive(Clone, Debug)]
pub struct Installation {
    /// `bigbluebutton.web.serverURL`, normalised: no final slash.
    pub server_url: String,
    /// `securitySalt`: the secret of BBB's API, byte for byte as BBB uses it.
    pub secret: SecretString,
    /// A hash that this host accepts for checksums.
    pub checksum: Algorithm,
}

impl Installation {
    /// The URL by which Scalelite knows the host: that of its API.
    pub fn scalelite_url(&self) -> String {
        format!("{}/bigbluebutton/api", self.server_url)
    }
}

/// Why the property files do not (yet) describe a BBB.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Something is not there yet; the installer writes the files late. Worth waiting for.
    #[error("BigBlueButton is not installed yet: {what}")]
    NotInstalled {
        /// The missing file or key.
        what: String,
    },
    /// The settings are another host's, as on a machine image made of a running host, or still the placeholders that BBB
    /// ships. The installer, or `bbb-conf --setip`, will bring this host's own.
    #[error(
        "BigBlueButton's settings are those of {url}, not of this host, {name}; set them with: bbb-conf --setip {name}"
    )]
    OtherHost {
        /// The server URL in the settings.
        url: String,
        /// This host's name.
        name: Name,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause and what to do.
        why: String,
    },
    /// A value is there and cannot be used.
    #[error("cannot use {key} of {shipped} and {overrides}: {why}")]
    Unusable {
        /// The property.
        key: &'static str,
        /// The file with BBB's defaults.
        shipped: PathBuf,
        /// The file whose values win.
        overrides: PathBuf,
        /// The cause and what to do; never the value.
        why: &'static str,
    },
}

impl NotReady {
    /// Whether the installer may still bring what is missing.
    pub fn may_come(&self) -> bool {
        matches!(self, Self::NotInstalled { .. } | Self::OtherHost { .. })
    }
}

/// Reads BBB's URL and secret of the host with this name, from the defaults that BBB ships, which may be missing, and the
/// host's own settings, which may not. The URL must be this host's: by it, entries in Scalelite are added and deleted.
///
/// Synchronous: two small local files.
pub fn read_installation(shipped: &Path, overrides: &Path, name: &Name) -> Result<Installation, NotReady> {
    let mut properties = Properties { shipped, overrides, values: BTreeMap::new() };
    properties.load(shipped)?;
    // The package brings defaults with a placeholder for a URL and a secret that everybody knows; the installer writes
    // this host's own into the overrides later. Without that file the host is only half installed.
    if !properties.load(overrides)? {
        let what = format!("{} does not exist", overrides.display());
        return Err(NotReady::NotInstalled { what });
    }
    let installation = properties.installation()?;
    if host_of(&installation.server_url) != Some(name.as_str()) {
        return Err(NotReady::OtherHost { url: installation.server_url, name: name.clone() });
    }
    Ok(installation)
}

/// The host name in a normalised URL, without its port.
pub(crate) fn host_of(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    Some(authority.rsplit_once(':').map_or(authority, |(host, _)| host))
}

struct Properties<'a> {
    shipped: &'a Path,
    overrides: &'a Path,
    values: BTreeMap<String, String>,
}

impl Properties<'_> {
    /// Lays the file's values over those before; whether the file exists.
    fn load(&mut self, path: &Path) -> Result<bool, NotReady> {
        let Some(bytes) = read(path)? else {
            return Ok(false);
        };
        let text = Zeroizing::new(properties::decode(&bytes));
        for (key, value) in properties::parse(&text) {
            if let Some(mut old) = self.values.insert(key, value) {
                old.zeroize();
            }
        }
        Ok(true)
    }

    fn installation(&mut self) -> Result<Installation, NotReady> {
        let secret = SecretString::from(self.take(SECRET)?);
        if secret.expose_secret().trim().is_empty() {
            return Err(self.unusable(SECRET, "it is blank; set one with: bbb-conf --setsecret"));
        }
        let server_url = normalise_url(&self.take(SERVER_URL)?).ok_or_else(|| {
            self.unusable(
                SERVER_URL,
                "it is not an http or https URL with a host; set it with: bbb-conf --setip",
            )
        })?;
        let checksum = match self.values.get(CHECKSUMS) {
            Some(supported) => Algorithm::choose(supported)
                .ok_or_else(|| self.unusable(CHECKSUMS, "it names none of sha256, sha512, sha384, sha1"))?,
            None => Algorithm::default(),
        };
        Ok(Installation { server_url, secret, checksum })
    }

    fn take(&mut self, key: &str) -> Result<String, NotReady> {
        self.values.remove(key).ok_or_else(|| NotReady::NotInstalled {
            what: format!("neither {} nor {} has {key}", self.overrides.display(), self.shipped.display()),
        })
    }

    fn unusable(&self, key: &'static str, why: &'static str) -> NotReady {
        NotReady::Unusable { key, shipped: self.shipped.into(), overrides: self.overrides.into(), why }
    }
}

impl Drop for Properties<'_> {
    fn drop(&mut self) {
        self.values.values_mut().for_each(Zeroize::zeroize);
    }
}

/// The file's content; `None` when it does not exist.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, NotReady> {
    let unreadable = |why: String| NotReady::Unreadable { path: path.to_owned(), why };
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::PermissionDenied => unreadable(format!(
            "{error}; the agent must run as root or as a user that may read it (group bigbluebutton)"
        )),
        _ => unreadable(error.to_string()),
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    // Opening a pipe could wait for ever.
    if !metadata.is_file() {
        return Err(unreadable("it is not a regular file; give the path of BBB's property file".to_owned()));
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len().min(MAX_SIZE)).unwrap_or(0) + 1));
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_SIZE => {
            Err(unreadable(format!("it is larger than {MAX_SIZE} bytes, so it is no property file of BBB's")))
        }
        Ok(_) => Ok(Some(bytes)),
        // Replaced between the two looks, as installers do.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
