//! The settings of the BBB on this host.

use std::net::IpAddr;
use std::path::PathBuf;

use plan::addresses::OnAddresses;

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
    /// The socket of the reader of those files, if it may be asked.
    pub reader: Option<PathBuf>,
    /// The use that the host makes of the address that BBB announces.
    pub addresses: OnAddresses,
    /// The socket of the process that sets it right.
    pub repairer: PathBuf,
    /// The directory below which the files with that address are.
    pub root: PathBuf,
    /// Its recordings.
    pub recordings: Recordings,
}

impl Checker<'_> {
    pub(super) fn bbb(&mut self) -> Option<Bbb> {
        let properties = self.text("bbb.properties", absolute);
        let defaults = self.text("bbb.defaults", absolute);
        let address = self.text("bbb.address", |text| text.parse().map_err(|_| "must be an IP address"));
        let reader = self.text("bbb.reader", |text| match text {
            "" => Ok(None),
            path => absolute(path).map(Some),
        });
        let addresses = self.choice("bbb.addresses");
        let repairer = self.text("bbb.repairer", absolute);
        let root = self.text("bbb.root", absolute);
        let recordings = self.recordings();
        Some(Bbb {
            properties: properties?,
            defaults: defaults?,
            address: address?,
            reader: reader?,
            addresses: addresses?,
            repairer: repairer?,
            root: root?,
            recordings: recordings?,
        })
    }
}
