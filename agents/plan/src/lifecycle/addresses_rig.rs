//! Hosts whose BBB announces another address or other TURN servers, for the table's cells.

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

/// A host that serves with this many meetings, and may set right what BBB announces.
fn serving_with(meetings: usize) -> Rig {
    let rig = minding(OnAddresses::Repair).told(serve()).looked(Announced::Right).settle();
    rig.counted(work(meetings, 0))
}

/// An idle host that was cordoned because of its TURN servers, when the meetings are about to be counted after a poll.
fn cordoned_for_turn() -> Rig {
    let rig = serving_with(0).looked(Announced::OtherTurn).settle();
    let idle = || work(0, 0);
    let rig = rig.counted(idle()).counted(idle()).counted(idle()).counted(idle()).count_begins();
    rig.looked(Announced::OtherTurn).settle()
}

/// Returns the situation with this name, if it is one of these.
pub(super) fn situation(cell: &str) -> Option<Rig> {
    Some(match cell {
        "starting, refusing other addresses" => refusing(),
        "starting, refusing other addresses, joined before" => {
            Rig::new(Policy { addresses: OnAddresses::Refuse, ..policy() }, Memory::Joined)
        }
        "joining, named, before a look" => {
            let mut rig = refusing().told(serve());
            rig.answer();
            rig
        }
        "joining, named, with another address" => staying_out(OnAddresses::Refuse).settle().look_begins(),
        "joining, with another address, looking at the entry" => {
            staying_out(OnAddresses::Refuse).until(Job::Look)
        }
        "joining, with an address to set right, counting" => before_repair(),
        "serving without Scalelite, with an address to set right, counting" => alone_with_another_address(),
        "joining, setting the address right" => before_repair().counted(work(0, 0)),
        "joining, with a repair that did not end" => before_repair().counted(work(0, 0)).look_begins(),
        "cordoned, with an address to set right, counting" => {
            let rig = minding(OnAddresses::Repair).told(serve()).looked(Announced::Right).settle();
            let rig = rig.looked(other_address()).settle().counted(work(0, 0)).counted(work(1, 0));
            rig.counted(work(1, 0)).counted(work(1, 0)).count_begins()
        }
        "joining, named, looking again" => {
            refusing().told(serve()).looked(Announced::Right).until(JOIN).ordered(Order::Check)
        }
        "serving, looking at the addresses" => serving_right().look_begins(),
        "serving, the address overruled, looking again" => {
            let rig = cordoned_for_addresses().ordered(Order::Register).settle();
            rig.look_begins()
        }
        "cordoned: announced, looking again" => {
            let mut rig = cordoned_for_addresses();
            while !rig.calls.contains(&Call::Addresses) || rig.machine.job().is_some() {
                rig.pass();
            }
            rig
        }
        "cordoned: announced" => cordoned_for_addresses(),
        "cordoned: announced, looking at the entry" => cordoned_for_addresses().until(Job::Look),
        "joining, idle, before a look" => {
            let rig = minding(OnAddresses::Repair).told(serve()).counted(work(0, 0));
            rig.settle()
        }
        "serving, idle, looking at the addresses" => serving_with(0).look_begins(),
        "serving with meetings, looking at the addresses" => serving_with(1).look_begins(),
        "serving with meetings and other TURN servers, counting" => {
            serving_with(1).looked(Announced::OtherTurn).count_begins()
        }
        "cordoned: turn, before the cordon" => serving_with(0).looked(Announced::OtherTurn),
        "cordoned: turn, counting" => cordoned_for_turn(),
        "cordoned: turn, setting it right" => cordoned_for_turn().counted(work(0, 0)),
        "cordoned: turn, setting it right, counting" => {
            cordoned_for_turn().counted(work(0, 0)).count_begins()
        }
        _ => return None,
    })
}
