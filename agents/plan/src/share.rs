//! A name that several hosts share, such as `turn.example.org` for a fleet of TURN hosts: each host owns one
//! multivalue answer record set of each type under it.
//!
//! # Whose a share is
//! The set identifier of a record set in the shared name is an instance id, and says whose it is: Route 53 allows one
//! set of each identifier, so that two hosts cannot own the same one, and a host needs to compare nothing with what
//! other hosts write. A share needs no ownership TXT of its own. A set with any other identifier, and a set with any
//! other routing, is never touched.
//!
//! # How a host knows its share without asking Route 53's API
//! DNS alone cannot tell: of more than eight sets it shows eight at random, so that a share which is not shown is not
//! known to be absent. Therefore the ownership TXT of the host's own name says in which shared name the host has a
//! share, and with which health check. One batch writes the share and that TXT, so the TXT proves what was written, and
//! leads a later run to a share whose setting has gone. What DNS shows of the shared name itself is a second proof:
//!
//! - The host's addresses are shown: the share is there.
//! - Fewer than eight records are shown, and the host's address is not among them: the share is not there, or its
//!   health check leaves it out. Only without a health check is that a reason to ask Route 53's API at once.
//! - Eight records are shown, none of them the host's: nobody knows.
//!
#![doc = include_str!("tables/share.md")]

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::instance::InstanceId;
use crate::observation::BELIEVED;
use crate::record::{Name, RecordSet, RecordType};

/// The number of records that Route 53 shows of a multivalue answer, if there are so many (developer guide, "Multivalue
/// answer routing").
pub const SHOWN: usize = 8;

/// The time for which a share that nobody shows is believed to exist, by the ownership TXT.
pub const UNSEEN: Duration = Duration::from_secs(3600);

/// A shared name, as a host has a share in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedName {
    /// The name.
    pub name: Name,
    /// The Route 53 health check that leaves the share out while it fails.
    pub health_check: Option<String>,
}

impl SharedName {
    /// Returns the share of an instance that has these record sets at its own name.
    pub fn share(&self, addresses: &[RecordSet], instance: &InstanceId) -> Vec<RecordSet> {
        let share = Share { instance: instance.clone(), health_check: self.health_check.clone() };
        let set = |own: &RecordSet| RecordSet {
            name: self.name.clone(),
            share: Some(share.clone()),
            ..own.clone()
        };
        addresses.iter().map(set).collect()
    }
}

/// The mark of a record set that is a host's share in a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Share {
    /// The set identifier: the instance whose share it is.
    pub instance: InstanceId,
    /// The health check.
    pub health_check: Option<String>,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "share of {}", self.instance)
    }
}

/// Tells whether a text can be the id of a health check: at most 64 letters, digits and hyphens.
pub fn is_health_check(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// The content of a shared name by Route 53's API, as far as it concerns one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// The host's share.
    pub own: Vec<RecordSet>,
    /// A description of a record set that leaves no room for shares: `a CNAME`, `a simple A record set`.
    pub alien: Option<String>,
}

/// The records that one authoritative server shows of a shared name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glimpse {
    /// The addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The types of which there may be more records than are shown.
    pub partial: BTreeSet<RecordType>,
    /// A description of a record that leaves no room for shares: `a CNAME to ...`.
    pub alien: Option<String>,
}

/// The visibility of a host's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The host's addresses are shown.
    Shown,
    /// All records are shown, and an address of the host is not among them.
    LeftOut,
    /// Not all records are shown, or no server answers.
    Unknown,
}

/// Tells what the servers that have answered show of the share of a host with these addresses. What one of them shows
/// exists.
pub fn sight(glimpses: &[Glimpse], own: &BTreeSet<IpAddr>) -> Sight {
    let hidden: Vec<&IpAddr> =
        own.iter().filter(|address| !glimpses.iter().any(|seen| seen.addresses.contains(*address))).collect();
    let kind = |address: &IpAddr| if address.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
    let absent = |address: &IpAddr| glimpses.iter().all(|seen| !seen.partial.contains(&kind(address)));
    match hidden.is_empty() {
        true => Sight::Shown,
        false if glimpses.is_empty() => Sight::Unknown,
        false if hidden.into_iter().any(absent) => Sight::LeftOut,
        false => Sight::Unknown,
    }
}

/// The next step about a share that the ownership TXT names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The share is there.
    Seen,
    /// Believe the ownership TXT.
    Believe,
    /// Wait: Route 53's API has said a moment ago that the share is there.
    Wait,
    /// Read the share through Route 53's API, and make it as desired.
    AskRoute53,
}

/// Decides the next step about a share. `told` is the time since Route 53's API has said that it is there, if it has not
/// been seen since; `known` is that since it was known to be there by any source, or since the first look. See the
/// module's table.
pub fn next(sight: Sight, has_check: bool, told: Option<Duration>, known: Duration) -> Next {
    match sight {
        Sight::Shown => Next::Seen,
        Sight::LeftOut if !has_check && told.is_some_and(|told| told < BELIEVED) => Next::Wait,
        Sight::LeftOut if !has_check => Next::AskRoute53,
        Sight::LeftOut | Sight::Unknown if known < UNSEEN => Next::Believe,
        Sight::LeftOut | Sight::Unknown => Next::AskRoute53,
    }
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
