//! The settings about the addresses that BBB or, on a TURN host, coturn announces.

use std::path::PathBuf;

use plan::addresses::OnAddresses;
use plan::instance::Role;

use super::absolute;
use crate::config::checker::Checker;

/// The settings about the addresses that a host announces.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The use that it makes of them.
    pub on: OnAddresses,
    /// The directory below which the files are in which they stand.
    pub root: PathBuf,
    /// The socket of the reader of those files, if it may be asked.
    pub reader: Option<PathBuf>,
    /// The socket of the process that sets them right.
    pub repairer: PathBuf,
}

impl Addresses {
    /// The setting that says what the host does, as people write it.
    pub fn setting(role: Role) -> &'static str {
        match role {
            Role::Bbb => "bbb.addresses",
            Role::Turn => "turn.addresses",
        }
    }
}

impl Checker<'_> {
    pub(super) fn addresses(&mut self, role: Role) -> Option<Addresses> {
        let [reader, repairer, root] = match role {
            Role::Bbb => ["bbb.reader", "bbb.repairer", "bbb.root"],
            Role::Turn => ["turn.reader", "turn.repairer", "turn.root"],
        };
        let on = self.choice(Addresses::setting(role));
        let reader = self.text(reader, |text| match text {
            "" => Ok(None),
            path => absolute(path).map(Some),
        });
        let repairer = self.text(repairer, absolute);
        let root = self.text(root, absolute);
        Some(Addresses { on: on?, root: root?, reader: reader?, repairer: repairer? })
    }
}
