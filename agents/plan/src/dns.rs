//! What to write to Route 53, given what should be there and what is there: at most one change batch.
//!
//! A batch is a compare-and-swap: Route 53 applies all of it or nothing, CREATE only if absent, DELETE only with the
//! exact values. Every batch that changes an existing name deletes and creates the ownership TXT too, so that it fails
//! when the owner has changed since it was read.
//!
//! What DNS says is good enough to act on where a wrong reading makes the batch fail. It is never good enough to give up
//! on: a wildcard looks like somebody's record set, an absent one may be a change still under way. So refusals, and
//! "nothing to delete", come only from Route 53's own word. Nor is it good enough to delete less than this host's own
//! addresses with the ownership TXT: the questions are asked one by one, and a change that gets between them would leave
//! addresses behind that nobody owns.
//!
//! # Register
//! Desired: an A and an AAAA record set and the ownership TXT.
//!
#![doc = include_str!("tables/dns-register.md")]
//!
//! # Deregister
//! Desired: nothing. "Another host's A" is an address that another instance holds now, or about which that could not be
//! found out; "another A" is one that no instance holds, such as our own former address.
//!
#![doc = include_str!("tables/dns-deregister.md")]
//!
//! # What goes by the name
//! An entry in Scalelite is found by the host's name. Where two hosts are given one name, it is that of the host which has the
//! name: the other one must not end its meetings when it leaves. "Ours" leaves the entry to this host; "only theirs" are
//! addresses among which none is this host's.
//!
#![doc = include_str!("tables/dns-bearer.md")]

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::instance::InstanceId;
use crate::ownership::Owner;
use crate::record::{Name, RecordSet, RecordType};

/// What a host's name should look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The host's name.
    pub name: Name,
    /// Time to live of all record sets, in seconds.
    pub ttl: u32,
    /// The value of the A record set.
    pub ipv4: Option<Ipv4Addr>,
    /// The value of the AAAA record set.
    pub ipv6: Option<Ipv6Addr>,
    /// The label to write into the ownership TXT; its time is that of this registration.
    pub owner: Owner,
}

impl Desired {
    /// The address record sets.
    pub fn addresses(&self) -> Vec<RecordSet> {
        let a = self.ipv4.map(|address| RecordSet::a(self.name.clone(), self.ttl, address));
        let aaaa = self.ipv6.map(|address| RecordSet::aaaa(self.name.clone(), self.ttl, address));
        a.into_iter().chain(aaaa).collect()
    }

    fn label(&self) -> RecordSet {
        RecordSet::txt(self.name.ownership(), self.ttl, self.owner.to_string())
    }
}

/// Who told what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// All authoritative servers that answered, in agreement.
    Dns,
    /// Route 53's API.
    Api,
}

/// What is there now at a host's name and at the name of its ownership TXT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Who said so.
    pub source: Source,
    /// The A and AAAA record sets at the host's name.
    pub addresses: Vec<RecordSet>,
    /// The TXT record set at the ownership name.
    pub label: Option<RecordSet>,
    /// Something that the agents never write, in words: `a CNAME to ...`, `an alias`.
    pub alien: Option<String>,
}

impl Observed {
    /// Nothing there.
    pub fn nothing(source: Source) -> Self {
        Self { source, addresses: Vec::new(), label: None, alien: None }
    }

    /// Whose the name is.
    pub fn holder(&self, me: &InstanceId) -> Holder {
        if let Some(alien) = &self.alien {
            return Holder::Other(Refusal::Alien(alien.clone()));
        }
        let Some(label) = &self.label else {
            return if self.addresses.is_empty() { Holder::Nobody } else { Holder::Other(Refusal::NoOwner) };
        };
        let mut texts = label.values.iter();
        match (texts.next().and_then(|text| Owner::parse(text)), texts.next()) {
            (Some(owner), None) if owner.instance == *me => Holder::Me(owner),
            (Some(owner), None) => Holder::Other(Refusal::Owner(Box::new(owner))),
            _ => Holder::Other(Refusal::Unreadable),
        }
    }

    /// All addresses in the A and AAAA record sets.
    pub fn ip_addresses(&self) -> BTreeSet<IpAddr> {
        self.addresses.iter().flat_map(|set| &set.values).filter_map(|value| value.parse().ok()).collect()
    }
}

/// Whose a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// There is nothing at all.
    Nobody,
    /// This instance, by its ownership TXT.
    Me(Owner),
    /// Not this instance: it must not be touched.
    Other(Refusal),
}

/// Why a name is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ownership TXT names another instance.
    Owner(Box<Owner>),
    /// There are record sets, but no ownership TXT.
    NoOwner,
    /// There is a TXT, but not one that the agents wrote.
    Unreadable,
    /// There is something that the agents never write, in words.
    Alien(String),
    /// The ownership TXT is ours, but the record set holds an address that another host may have now.
    Address(IpAddr),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(owner) => write!(f, "it belongs to {} in {}", owner.instance, owner.region),
            Self::NoOwner => f.write_str("it has no ownership TXT, so it was not made by an agent"),
            Self::Unreadable => f.write_str("its ownership TXT was not written by an agent"),
            Self::Alien(what) => write!(f, "it is {what}, which no agent makes"),
            Self::Address(address) => {
                write!(f, "it holds {address}, which is not this host's address and may be another's")
            }
        }
    }
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes the record set; fails if one of that name and type exists.
    Create(RecordSet),
    /// Deletes the record set; fails unless it is exactly this.
    Delete(RecordSet),
}

impl Change {
    /// The record set that is made or deleted.
    pub fn set(&self) -> &RecordSet {
        match self {
            Self::Create(set) | Self::Delete(set) => set,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(set) => write!(f, "CREATE {set}"),
            Self::Delete(set) => write!(f, "DELETE {set}"),
        }
    }
}

/// Changes that Route 53 applies all or not at all, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeBatch(pub Vec<Change>);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is as it should be.
    Nothing,
    /// Write this.
    Change(ChangeBatch),
    /// DNS is not enough to say: read through the API and decide again.
    AskRoute53,
    /// It is not ours: leave it alone and say why.
    Refuse(Refusal),
}

/// Decides how the host's name becomes as desired. See the module's table.
pub fn register(desired: &Desired, observed: &Observed) -> Decision {
    let wanted = desired.addresses();
    match observed.holder(&desired.owner.instance) {
        Holder::Other(refusal) => refuse(observed.source, refusal),
        Holder::Nobody => batch(Vec::new(), wanted.into_iter().chain([desired.label()])),
        Holder::Me(_) => {
            let gone: Vec<_> =
                observed.addresses.iter().filter(|set| !wanted.contains(set)).cloned().collect();
            let new: Vec<_> = wanted.into_iter().filter(|set| !observed.addresses.contains(set)).collect();
            if gone.is_empty() && new.is_empty() {
                return Decision::Nothing;
            }
            batch(gone.into_iter().chain(observed.label.clone()), new.into_iter().chain([desired.label()]))
        }
    }
}

/// Decides how nothing of this instance's stays at its name. `own` are this host's addresses; `held` are the others at
/// the name that another instance has, or may have. See the module's table.
pub fn deregister(
    me: &InstanceId,
    own: &BTreeSet<IpAddr>,
    observed: &Observed,
    held: &BTreeSet<IpAddr>,
) -> Decision {
    let there = observed.ip_addresses();
    match observed.holder(me) {
        Holder::Other(refusal) => refuse(observed.source, refusal),
        Holder::Nobody if observed.source == Source::Dns => Decision::AskRoute53,
        Holder::Nobody => Decision::Nothing,
        Holder::Me(_) if observed.source == Source::Dns && there != *own => Decision::AskRoute53,
        Holder::Me(_) => match there.intersection(held).next() {
            Some(address) => Decision::Refuse(Refusal::Address(*address)),
            None => batch(observed.addresses.iter().cloned().chain(observed.label.clone()), Vec::new()),
        },
    }
}

/// Who bears a host's name, and with it what goes by that name elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// This host; also where nobody has the name, because its record sets may be gone before its entry.
    Me,
    /// DNS is not enough to say: read through the API and decide again.
    AskRoute53,
    /// Another host: what goes by the name is left alone.
    Other(Refusal),
}

/// Decides whose is what goes by a host's name. `own` are this host's addresses: without a readable ownership TXT they tell.
/// See the module's table.
pub fn bearer(me: &InstanceId, own: &BTreeSet<IpAddr>, observed: &Observed) -> Bearer {
    let labelled = Observed { alien: None, ..observed.clone() };
    let refusal = match labelled.holder(me) {
        Holder::Me(_) => return Bearer::Me,
        Holder::Other(refusal @ Refusal::Owner(_)) => refusal,
        _ if !observed.ip_addresses().is_disjoint(own) => return Bearer::Me,
        Holder::Other(refusal) => refusal,
        Holder::Nobody => match &observed.alien {
            Some(alien) => Refusal::Alien(alien.clone()),
            None => return Bearer::Me,
        },
    };
    match observed.source {
        Source::Dns => Bearer::AskRoute53,
        Source::Api => Bearer::Other(refusal),
    }
}

fn refuse(source: Source, refusal: Refusal) -> Decision {
    match source {
        Source::Dns => Decision::AskRoute53,
        Source::Api => Decision::Refuse(refusal),
    }
}

fn batch(gone: impl IntoIterator<Item = RecordSet>, new: impl IntoIterator<Item = RecordSet>) -> Decision {
    let deletes = gone.into_iter().map(Change::Delete);
    Decision::Change(ChangeBatch(deletes.chain(new.into_iter().map(Change::Create)).collect()))
}

/// What one authoritative server said, compared with what should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Our addresses and our ownership TXT.
    Live,
    /// Nothing yet, or no longer.
    Absent,
    /// Ours, but with other values or another TTL.
    Different,
    /// Somebody else's.
    Foreign(Refusal),
}

/// Compares what one server answers with what should be there.
pub fn liveness(desired: &Desired, observed: &Observed) -> Liveness {
    match observed.holder(&desired.owner.instance) {
        Holder::Nobody => Liveness::Absent,
        Holder::Other(refusal) => Liveness::Foreign(refusal),
        Holder::Me(_) => {
            let wanted: BTreeSet<RecordSet> = desired.addresses().into_iter().collect();
            let there: BTreeSet<RecordSet> = observed.addresses.iter().cloned().collect();
            if wanted == there { Liveness::Live } else { Liveness::Different }
        }
    }
}

/// The record type of a set at a host's own name, if it is one that the agents write there.
pub fn address_type(kind: &str) -> Option<RecordType> {
    match kind {
        "A" => Some(RecordType::A),
        "AAAA" => Some(RecordType::Aaaa),
        _ => None,
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
