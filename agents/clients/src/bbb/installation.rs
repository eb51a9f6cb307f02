//! The settings in BBB's property files on this host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plan::membership::{host_of, normalise_url};
use plan::record::Name;
use secrecy::{ExposeSecret, SecretString};

use super::checksum::Algorithm;
use super::files::{CHECKSUMS, Content, SECRET, SERVER_URL, Value};
use super::reader::{self, Reading, Readings};

/// The paths of BBB's property files, and the reader to ask where this process may not read them.
#[derive(Clone, Copy, Debug)]
pub struct PropertyFiles<'a> {
    /// The file with the defaults that BBB ships.
    pub defaults: &'a Path,
    /// The file with the host's own settings, which take precedence.
    pub properties: &'a Path,
    /// The socket of the reader, if there is one to ask.
    pub reader: Option<&'a Path>,
}

/// The host's own BBB, as its property files describe it.
#[derive(Clone, Debug)]
pub struct Installation {
    /// `bigbluebutton.web.serverURL`, normalised: no final slash.
    pub server_url: String,
    /// `securitySalt`: the secret of BBB's API, byte for byte as BBB uses it.
    pub secret: SecretString,
    /// A hash algorithm that this host accepts for checksums.
    pub checksum: Algorithm,
}

impl Installation {
    /// Returns the host of its URL.
    pub fn host(&self) -> &str {
        host_of(&self.server_url).unwrap_or_default()
    }

    /// Returns the host name and the port at which it presents a certificate; `None` for plain HTTP.
    pub fn tls(&self) -> Option<(&str, u16)> {
        let host = host_of(&self.server_url)?;
        let authority = self.server_url.strip_prefix("https://")?.split('/').next()?;
        let port = authority.strip_prefix(host)?.strip_prefix(':').and_then(|port| port.parse().ok());
        Some((host, port.unwrap_or(443)))
    }

    /// Returns the URL by which Scalelite knows the host, its API's.
    pub fn scalelite_url(&self) -> String {
        format!("{}/bigbluebutton/api", self.server_url)
    }
}

/// Property files that do not (yet) describe this host's BBB.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotReady {
    /// A file or a key does not exist yet; the installer writes the files late. Worth waiting for.
    #[error("BigBlueButton is not installed yet: {what}")]
    NotInstalled {
        /// The missing file or key.
        what: String,
    },
    /// The settings are another host's, as on a machine image made from a running host, or the placeholders that BBB
    /// ships. The installer, or `bbb-conf --setip`, will write this host's own.
    #[error(
        "BigBlueButton's settings are those of {}, not of this host, {name}; set them with: bbb-conf --setip {name}",
        installation.server_url
    )]
    OtherHost {
        /// The settings in the files.
        installation: Box<Installation>,
        /// This host's name.
        name: Name,
    },
    /// A file exists but cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause and the remedy.
        why: String,
    },
    /// A value exists but cannot be used.
    #[error("cannot use {key} of {shipped} and {overrides}: {why}")]
    Unusable {
        /// The property.
        key: &'static str,
        /// The file with BBB's defaults.
        shipped: PathBuf,
        /// The file whose values take precedence.
        overrides: PathBuf,
        /// The cause and the remedy; never the value.
        why: &'static str,
    },
}

impl NotReady {
    /// Reports whether the installer may still write what is missing.
    pub fn may_come(&self) -> bool {
        matches!(self, Self::NotInstalled { .. } | Self::OtherHost { .. })
    }
}

/// Reads the URL and the secret of the host's BBB from the defaults that BBB ships, which may be missing, and from the
/// host's own settings, which may not. The URL must have this host's name: entries in Scalelite are added and deleted
/// by it. Takes at most five seconds.
pub async fn read_installation(files: PropertyFiles<'_>, name: &Name) -> Result<Installation, NotReady> {
    let mut properties = Properties { files, values: BTreeMap::new() };
    let Readings { defaults, properties: own, .. } = readings(files).await?;
    properties.load(defaults)?;
    // The package ships defaults with a placeholder for the URL and a publicly known secret; the installer writes this
    // host's own into the overrides later. Without that file the host is only half installed.
    if !properties.load(own)? {
        let what = format!("{} does not exist", files.properties.display());
        return Err(NotReady::NotInstalled { what });
    }
    let installation = properties.installation()?;
    if installation.host() != name.as_str() {
        return Err(NotReady::OtherHost { installation: Box::new(installation), name: name.clone() });
    }
    Ok(installation)
}

/// Returns the content of both files, read by this process or, where it may not read them, by the reader.
async fn readings(files: PropertyFiles<'_>) -> Result<Readings, NotReady> {
    let here = Readings::here(files.defaults, files.properties);
    let (Some(socket), Some((path, denied))) = (files.reader, here.denied()) else { return Ok(here) };
    let neither =
        |why: String| NotReady::Unreadable { path: path.to_owned(), why: format!("{denied}; {why}") };
    let there = reader::ask("bbb-agent", socket).await.map_err(neither)?;
    // The reader takes no parameters, so its configuration must name the same files as this process's.
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
    /// Adds the file's values, which replace earlier ones, and returns whether the file exists.
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
