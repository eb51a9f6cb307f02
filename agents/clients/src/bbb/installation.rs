//! What BBB's own property files on this host say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plan::membership::{host_of, normalise_url};
use plan::record::Name;
use secrecy::{ExposeSecret, SecretString};

use super::checksum::Algorithm;
use super::files::{CHECKSUMS, Content, SECRET, SERVER_URL, Value};
use super::reader::{self, Reading, Readings};

/// Where BBB's property files are, and who reads them where this process may not.
#[derive(Clone, Copy, Debug)]
pub struct PropertyFiles<'a> {
    /// The defaults that BBB ships.
    pub defaults: &'a Path,
    /// The host's own settings, which win.
    pub properties: &'a Path,
    /// The socket of the reader, if there is one to be asked.
    pub reader: Option<&'a Path>,
}

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
    /// The host name and the port at which it shows a certificate; `None` for plain HTTP.
    pub fn tls(&self) -> Option<(&str, u16)> {
        let host = host_of(&self.server_url)?;
        let authority = self.server_url.strip_prefix("https://")?.split('/').next()?;
        let port = authority.strip_prefix(host)?.strip_prefix(':').and_then(|port| port.parse().ok());
        Some((host, port.unwrap_or(443)))
    }

    /// The URL by which Scalelite knows the host: that of its API.
    pub fn scalelite_url(&self) -> String {
        format!("{}/bigbluebutton/api", self.server_url)
    }
}

/// Why the property files do not (yet) describe a BBB.
#[derive(Clone, Debug, thiserror::Error)]
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
        "BigBlueButton's settings are those of {}, not of this host, {name}; set them with: bbb-conf --setip {name}",
        installation.server_url
    )]
    OtherHost {
        /// What the settings say.
        installation: Box<Installation>,
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
/// Takes five seconds at most.
pub async fn read_installation(files: PropertyFiles<'_>, name: &Name) -> Result<Installation, NotReady> {
    let mut properties = Properties { files, values: BTreeMap::new() };
    let Readings { defaults, properties: own } = readings(files).await?;
    properties.load(defaults)?;
    // The package brings defaults with a placeholder for a URL and a secret that everybody knows; the installer writes
    // this host's own into the overrides later. Without that file the host is only half installed.
    if !properties.load(own)? {
        let what = format!("{} does not exist", files.properties.display());
        return Err(NotReady::NotInstalled { what });
    }
    let installation = properties.installation()?;
    if host_of(&installation.server_url) != Some(name.as_str()) {
        return Err(NotReady::OtherHost { installation: Box::new(installation), name: name.clone() });
    }
    Ok(installation)
}

/// What is in both files, as this process finds it or, where it may not read them, the reader.
async fn readings(files: PropertyFiles<'_>) -> Result<Readings, NotReady> {
    let here = Readings::here(files.defaults, files.properties);
    let (Some(socket), Some((path, denied))) = (files.reader, here.denied()) else { return Ok(here) };
    let neither =
        |why: String| NotReady::Unreadable { path: path.to_owned(), why: format!("{denied}; {why}") };
    let there = reader::ask(socket).await.map_err(neither)?;
    // The reader takes no wishes, so its configuration has to be this process's.
    let (defaults, own) = (there.defaults.path.as_path(), there.properties.path.as_path());
    if (defaults, own) != (files.defaults, files.properties) {
        let (socket, defaults, own) = (socket.display(), defaults.display(), own.display());
        return Err(neither(format!("its reader at {socket} is configured to read {defaults} and {own}")));
    }
    Ok(there)
}

struct Properties<'a> {
    files: PropertyFiles<'a>,
    values: BTreeMap<String, Value>,
}

impl Properties<'_> {
    /// Lays the file's values over those before; whether the file exists.
    fn load(&mut self, reading: Reading) -> Result<bool, NotReady> {
        let Reading { path, content } = reading;
        match content {
            Content::Absent => Ok(false),
            Content::Values(values) => {
                self.values.extend(values);
                Ok(true)
            }
            Content::Unreadable(why) => Err(NotReady::Unreadable { path, why }),
            Content::Denied(why) => {
                let why = format!(
                    "{why}; the agent must run as root or as a user that may read it (group bigbluebutton)"
                );
                Err(NotReady::Unreadable { path, why })
            }
        }
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
            Some(supported) => Algorithm::choose(supported.as_str())
                .ok_or_else(|| self.unusable(CHECKSUMS, "it names none of sha256, sha512, sha384, sha1"))?,
            None => Algorithm::default(),
        };
        Ok(Installation { server_url, secret, checksum })
    }

    fn take(&mut self, key: &str) -> Result<String, NotReady> {
        let PropertyFiles { defaults, properties, .. } = self.files;
        self.values.remove(key).map(Value::take).ok_or_else(|| NotReady::NotInstalled {
            what: format!("neither {} nor {} has {key}", properties.display(), defaults.display()),
        })
    }

    fn unusable(&self, key: &'static str, why: &'static str) -> NotReady {
        let PropertyFiles { defaults, properties, .. } = self.files;
        NotReady::Unusable { key, shipped: defaults.into(), overrides: properties.into(), why }
    }
}
