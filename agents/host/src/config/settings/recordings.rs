//! The settings `recordings.*`, and what of the work a planned event waits for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use plan::work::Rules;

use super::absolute;
use crate::config::checker::Checker;
use clients::bbb::recordings::{POST_PUBLISH, Sending};
use clients::secrets::SecretReference;

/// BBB's recordings on this host.
#[derive(Clone, Debug)]
pub struct Recordings {
    /// The spool.
    pub directory: PathBuf,
    /// The program that sends published recordings to Scalelite.
    pub sender: SenderChoice,
    /// The Redis with BBB's queues of recording jobs, if it is to be asked.
    pub redis: Option<SocketAddr>,
    /// The reference to that Redis' password.
    pub redis_password: Option<SecretReference>,
}

/// The choice of the program that sends published recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderChoice {
    /// Any program that BBB runs after publishing and whose name says Scalelite.
    Auto,
    /// None: published recordings are not waited for.
    Nobody,
    /// This program.
    At(PathBuf),
}

impl SenderChoice {
    /// Returns what the spool has to look for; `needed` tells whether a Scalelite is configured.
    pub fn sending(&self, needed: bool) -> Sending {
        match self {
            Self::Auto => Sending::Below { directory: POST_PUBLISH.into(), needed },
            Self::Nobody => Sending::Unused,
            Self::At(path) => Sending::At(path.clone()),
        }
    }
}

impl Checker<'_> {
    pub(super) fn recordings(&mut self) -> Option<Recordings> {
        let directory = self.text("recordings.directory", absolute);
        let sender = self.text("recordings.sender", |text| match text {
            "auto" => Ok(SenderChoice::Auto),
            "none" => Ok(SenderChoice::Nobody),
            path if Path::new(path).is_absolute() => Ok(SenderChoice::At(path.into())),
            _ => Err("must be \"auto\", \"none\" or an absolute path"),
        });
        let redis = self.text("recordings.redis", |text| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| "must be an IP address with a port"),
        });
        let redis_password = self.optional("recordings.redis_password", SecretReference::parse);
        Some(Recordings {
            directory: directory?,
            sender: sender?,
            redis: redis?,
            redis_password: redis_password?,
        })
    }

    pub(super) fn rules(&mut self) -> Option<Rules> {
        let recordings = self.bool("recordings.wait");
        let empty_meeting = self.seconds("drain.empty_meeting");
        let stuck = self.seconds("recordings.stuck");
        Some(Rules { recordings: recordings?, empty_meeting: empty_meeting?, stuck: stuck? })
    }
}
