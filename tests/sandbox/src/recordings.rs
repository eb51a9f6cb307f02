//! BBB's spool of recordings on a host, as real files: a recording goes through its stages, fails, or is sent away.
//!
//! The files of each stage follow BBB's `rap-starter.rb` and its workers, and Scalelite's post-publish script.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::redis::Redis;

/// The format that is published.
const FORMAT: &str = "presentation";

/// The queue of the archive worker.
const ARCHIVE: &str = "rap:archive";

/// The stage that a recording has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The meeting is over.
    Recorded,
    /// The starter has queued it: no file has its name.
    Queued,
    /// Its raw data are being collected.
    Archiving,
    /// Its raw data are complete.
    Archived,
    /// The archive has passed its check.
    Checked,
    /// A format has been made of it.
    Processed,
    /// A format has been published.
    Published,
    /// The sender has packed it.
    Packed,
    /// Scalelite has it.
    Sent,
}

impl Stage {
    const ALL: [Self; 9] = [
        Self::Recorded,
        Self::Queued,
        Self::Archiving,
        Self::Archived,
        Self::Checked,
        Self::Processed,
        Self::Published,
        Self::Packed,
        Self::Sent,
    ];

    fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage > self)
    }
}

/// The spool of one host, below a directory that stands for its root.
#[derive(Debug)]
pub struct Recordings {
    root: PathBuf,
    redis: Redis,
    stages: Mutex<BTreeMap<String, Stage>>,
}

impl Recordings {
    /// Starts without files, not even the directory; Redis listens.
    pub async fn start(root: &Path) -> Result<Self> {
        Ok(Self { root: root.to_owned(), redis: Redis::start().await?, stages: Mutex::default() })
    }

    /// Returns the path of `/var/bigbluebutton/recording`.
    pub fn directory(&self) -> PathBuf {
        self.root.join("var/bigbluebutton/recording")
    }

    /// Returns the directory of the scripts that BBB runs after it has published a format.
    pub fn post_publish(&self) -> PathBuf {
        self.root.join("usr/local/bigbluebutton/core/scripts/post_publish")
    }

    /// Returns the path of Scalelite's sender under upstream's name, once it is installed.
    pub fn sender(&self) -> PathBuf {
        self.post_publish().join("scalelite_post_publish.rb")
    }

    /// Returns the Redis with BBB's queues.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Installs Scalelite's sender under upstream's name.
    pub fn install_sender(&self) -> Result<()> {
        write(&self.sender())
    }

    /// Installs Scalelite's sender under another name, such as `post_publish_scalelite.rb`.
    pub fn install_sender_as(&self, name: &str) -> Result<()> {
        write(&self.post_publish().join(name))
    }

    /// Puts these files into the spool, each as old as this: a recording that no stage describes. `R` is its id, and
    /// directories other than `raw` and `scalelite` are those below `status`: `raw/R archived/R.done sanity/R.done
    /// processed/R-video.fail`.
    pub fn put(&self, id: &str, files: &str, age: Duration) -> Result<()> {
        for name in files.split_whitespace() {
            let Some((directory, file)) = name.split_once('/').filter(|(_, file)| !file.contains(".."))
            else {
                return Err(Error::new(ErrorKind::InvalidInput, format!("{name:?} is not DIRECTORY/FILE")));
            };
            let file = file.replace('R', id);
            let path = match directory {
                "raw" => {
                    write(&self.directory().join(format!("raw/{file}/events.xml")))?;
                    self.directory().join("raw").join(file)
                }
                "scalelite" => self.directory().join("scalelite").join(file),
                _ => self.status(directory).join(file),
            };
            if directory != "raw" {
                write(&path)?;
            }
            grow_old(&path, age)?;
        }
        Ok(())
    }

    /// Makes all that the spool has of a recording this old.
    pub fn grow_old(&self, id: &str, age: Duration) -> Result<()> {
        let below = ["raw", "scalelite"].map(|name| self.directory().join(name)).into_iter();
        let stages = ["recorded", "archived", "sanity", "processed", "published"];
        for directory in below.chain(stages.map(|name| self.status(name))).filter(|path| path.exists()) {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(id)) {
                    grow_old(&path, age)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the recordings that have not failed, with their stages.
    pub fn stages(&self) -> BTreeMap<String, Stage> {
        self.known().clone()
    }

    /// Brings a recording to this stage, through all stages before it; begins a new one if necessary. Refuses to go
    /// back.
    pub fn reach(&self, id: &str, stage: Stage) -> Result<()> {
        if !is_id(id) {
            let why = format!("{id:?} is no id of BBB's, such as {EXAMPLE}");
            return Err(Error::new(ErrorKind::InvalidInput, why));
        }
        let mut known = self.known();
        let before = known.get(id).copied();
        if before >= Some(stage) {
            let why = format!("{id} cannot go back to that stage, or is there already");
            return Err(Error::new(ErrorKind::AlreadyExists, why));
        }
        for step in Stage::ALL.into_iter().filter(|step| Some(*step) > before && *step <= stage) {
            self.step(id, step)?;
            known.insert(id.to_owned(), step);
        }
        Ok(())
    }

    /// Brings a recording one stage further.
    pub fn advance(&self, id: &str) -> Result<()> {
        let next = self.stage(id)?.next();
        self.reach(id, next.ok_or_else(|| Error::new(ErrorKind::AlreadyExists, format!("{id} is sent")))?)
    }

    /// Lets the present step of a recording fail; the recording never goes on.
    pub fn fail(&self, id: &str) -> Result<()> {
        let mark = match self.stage(id)? {
            Stage::Archiving => format!("archived/{id}.fail"),
            Stage::Archived => format!("sanity/{id}.fail"),
            Stage::Checked => format!("processed/{id}-{FORMAT}.fail"),
            Stage::Processed => format!("published/{id}-{FORMAT}.fail"),
            _ => {
                let why = format!("{id} is in no step that can fail");
                return Err(Error::new(ErrorKind::AlreadyExists, why));
            }
        };
        write(&self.status(&mark))?;
        self.known().remove(id);
        Ok(())
    }

    fn step(&self, id: &str, stage: Stage) -> Result<()> {
        let package = self.directory().join(format!("scalelite/{id}-{FORMAT}.tar"));
        match stage {
            Stage::Recorded => write(&self.status(&format!("recorded/{id}.done"))),
            Stage::Queued => {
                self.redis.change(ARCHIVE, 1);
                fs::remove_file(self.status(&format!("recorded/{id}.done")))
            }
            Stage::Archiving => {
                self.redis.change(ARCHIVE, -1);
                write(&self.directory().join(format!("raw/{id}/events.xml")))
            }
            Stage::Archived => write(&self.status(&format!("archived/{id}.done"))),
            Stage::Checked => write(&self.status(&format!("sanity/{id}.done"))),
            Stage::Processed => write(&self.status(&format!("processed/{id}-{FORMAT}.done"))),
            Stage::Published => write(&self.status(&format!("published/{id}-{FORMAT}.done"))),
            Stage::Packed => write(&package),
            Stage::Sent => {
                fs::remove_file(package)?;
                let mark = self.status(&format!("published/{id}-sender.done"));
                write(&mark)?;
                // The mark must not be older than any published format, whatever the file system's clock does.
                fs::File::options().write(true).open(mark)?.set_modified(SystemTime::now())
            }
        }
    }

    fn stage(&self, id: &str) -> Result<Stage> {
        let stage = self.known().get(id).copied();
        stage.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no recording {id} that goes on")))
    }

    fn status(&self, below: &str) -> PathBuf {
        self.directory().join("status").join(below)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Stage>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id in BBB's form.
const EXAMPLE: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

fn is_id(id: &str) -> bool {
    let hex = |text: &str| text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let number = |text: &str| text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit());
    id.split_once('-').is_some_and(|(meeting, time)| hex(meeting) && number(time))
}

/// Sets the modification time of a file, or of a directory and what is in it.
fn grow_old(path: &Path, age: Duration) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            grow_old(&entry?.path(), age)?;
        }
    }
    let modified = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    fs::File::open(path)?.set_modified(modified)
}

fn write(path: &Path) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, "")
}
