//! The settings of the BBB on this host.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Recordings, absolute};
use crate::config::checker::Checker;
use clients::secrets::SecretReference;
use plan::record::Name;

/// The parts of BBB on this host.
#[derive(Clone, Debug)]
pub struct Bbb {
    /// The file with BBB's own settings, which override the shipped ones.
    pub properties: PathBuf,
    /// The file with the settings that BBB ships.
    pub defaults: PathBuf,
    /// The address of its API.
    pub address: IpAddr,
    /// Its recordings.
    pub recordings: Recordings,
    /// The TURN servers that it tells its clients; `None` where that is not the agent's matter.
    pub turn: Option<Turn>,
}

/// The TURN servers that BBB tells its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Their name.
    pub server: Name,
    /// The reference to the secret that coturn there shares with BBB.
    pub secret: SecretReference,
    /// The time between two looks at the secret.
    pub interval: Duration,
}

impl Checker<'_> {
    pub(super) fn bbb(&mut self) -> Option<Bbb> {
        let properties = self.text("bbb.properties", absolute);
        let defaults = self.text("bbb.defaults", absolute);
        let address = self.text("bbb.address", |text| text.parse().map_err(|_| "must be an IP address"));
        let recordings = self.recordings();
        let turn = self.turn_servers();
        Some(Bbb {
            properties: properties?,
            defaults: defaults?,
            address: address?,
            recordings: recordings?,
            turn: turn?,
        })
    }

    fn turn_servers(&mut self) -> Option<Option<Turn>> {
        let server = self.optional("bbb.turn_server", Name::host);
        let secret = self.optional("bbb.turn_secret", SecretReference::parse);
        let interval = self.seconds("checks.turn_secret");
        let (server, secret, interval) = (server?, secret?, interval?);
        match (server, secret) {
            (Some(server), Some(secret)) => Some(Some(Turn { server, secret, interval })),
            (None, None) => Some(None),
            (Some(_), None) => {
                self.complain("bbb.turn_server", "is set without bbb.turn_secret; both are needed");
                None
            }
            (None, Some(_)) => {
                self.complain("bbb.turn_secret", "is set without bbb.turn_server; both are needed");
                None
            }
        }
    }
}
