//! Hosts whose BBB announces another address, for the table's cells.

use super::*;
use crate::addresses::{Difference, Place};

/// A host that joins no pool while its BBB announces another address. It has no entry yet.
pub(super) fn refusing() -> Rig {
    minding(OnAddresses::Refuse)
}

pub(super) fn minding(addresses: OnAddresses) -> Rig {
    let rig = Rig::new(Policy { addresses, ..policy() }, Memory::Fresh);
    Rig { absent: true, ..rig }
}

/// The same as it serves.
pub(super) fn serving_right() -> Rig {
    refusing().told(serve()).looked(Announced::Right).settle()
}

/// A host that has found out, before it joined, that its BBB announces another address.
pub(super) fn staying_out(addresses: OnAddresses) -> Rig {
    minding(addresses).told(serve()).looked(other_address())
}

/// The same when it is about to count the meetings since it has turned out that the host has no entry.
pub(super) fn before_repair() -> Rig {
    let stale = work(0, 0);
    let rig = staying_out(OnAddresses::Repair).settle().counted(stale).count_begins();
    Rig { now: rig.now + Duration::from_secs(1), ..rig }
}

/// A host without Scalelite whose address has changed, when it is about to count the meetings.
pub(super) fn alone_with_another_address() -> Rig {
    let policy = Policy { scalelite: false, addresses: OnAddresses::Repair, ..policy() };
    let rig = Rig::new(policy, Memory::Fresh).told(serve()).looked(Announced::Right).settle();
    let rig = rig.looked(other_address()).count_begins();
    Rig { now: rig.now + Duration::from_secs(1), ..rig }
}

pub(in crate::lifecycle) fn other_address() -> Announced {
    let (found, wanted) = ([203, 0, 113, 10].into(), [203, 0, 113, 99].into());
    Announced::Other(vec![Difference { place: Place::ExternalRtp, found, wanted }])
}

/// The same when it was cordoned because of its BBB.
pub(super) fn cordoned_for_addresses() -> Rig {
    let mut rig = serving_right().looked(other_address());
    while rig.machine.job() == Some(Job::Cordon) {
        rig.answer();
    }
    rig
}
