//! The settings of the BBB on this host.

use std::net::IpAddr;
use std::path::PathBuf;

use super::{Recordings, absolute};
use crate::config::checker::Checker;

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
}

impl Checker<'_> {
    pub(super) fn bbb(&mut self) -> Option<Bbb> {
        let properties = self.text("bbb.properties", absolute);
        let defaults = self.text("bbb.defaults", absolute);
        let address = self.text("bbb.address", |text| text.parse().map_err(|_| "must be an IP address"));
        let recordings = self.recordings();
        Some(Bbb { properties: properties?, defaults: defaults?, address: address?, recordings: recordings? })
    }
}
