//! Which changes to write to Route 53, given the desired and the present record sets: at most one change batch.
//!
//! A batch is a compare-and-swap: Route 53 applies all of it or nothing, CREATE only if the record set is absent,
//! DELETE only with the exact values. Every batch that changes an existing name also deletes and creates the ownership
//! TXT, so that it fails when the owner has changed since it was read.
//!
//! An answer from DNS is good enough to act on where a wrong answer makes the batch fail. It is never good enough to
//! give up on: a wildcard looks like a record set at the name, and an absent record set may be a change still under
//! way. So refusals, and "nothing to delete", rest only on the answer of Route 53's API. Nor is DNS good enough to
//! delete fewer record sets than this host's own addresses and the ownership TXT: DNS queries are sent one by one, and
//! a change between two of them would leave addresses behind that have no owner.
//!
//! # Register
//! The desired state is an A and an AAAA record set and the ownership TXT. "i-gone's" is a TXT of an instance that EC2
//! has proven gone, at a fixed name: the next instance succeeds it.
//!
#![doc = include_str!("tables/dns-register.md")]
//!
//! # Deregister
//! The desired state is no record set at all. "Another host's A" is an address that another instance holds now, or may
//! hold because EC2 could not be asked; "another A" is one that no instance holds, such as this host's former address.
//!
#![doc = include_str!("tables/dns-deregister.md")]
//!
//! # The share in a shared name
//! A host may have a share in a name that several hosts share ([`crate::share`]). It is written and deleted in the same
//! batch as the host's own name, with the same addresses. From DNS the share is known by the ownership TXT alone; a
//! wrong conclusion makes the batch fail. A host whose name lacks the share reads the API before it adds one. Where
//! the shared name has no room for it, the host gets its own name without a share. "Former" is a share with another
//! address or health check; "elsewhere" is one in the shared name that was configured before.
//!
#![doc = include_str!("tables/dns-share.md")]
//!
//! # Whose Scalelite entry
//! A Scalelite entry is found by the host name in its URL. Where two hosts are given the same name, the entry belongs
//! to the host that owns the name: the other host must not end its meetings when it leaves. "Ours" means that the
//! entry is this host's; "only theirs" are addresses none of which is this host's.
//!
#![doc = include_str!("tables/dns-bearer.md")]

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::instance::InstanceId;
use crate::ownership::Owner;
use crate::record::{Name, RecordSet, RecordType};
use crate::share::SharedName;

/// The record sets that a host should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The host's name.
    pub name: Name,
    /// Time to live of all the record sets, in seconds.
    pub ttl: u32,
    /// Value of the A record set.
    pub ipv4: Option<Ipv4Addr>,
    /// Value of the AAAA record set.
    pub ipv6: Option<Ipv6Addr>,
    /// The label to write into the ownership TXT; its time is the time of this registration. It also says in which name
    /// the host has a share.
    pub owner: Owner,
}

impl Desired {
    /// Returns the address record sets.
    pub fn addresses(&self) -> Vec<RecordSet> {
        let a = self.ipv4.map(|address| RecordSet::a(self.name.clone(), self.ttl, address));
        let aaaa = self.ipv6.map(|address| RecordSet::aaaa(self.name.clone(), self.ttl, address));
        a.into_iter().chain(aaaa).collect()
    }

    /// Returns the address record sets, and the host's share.
    pub fn sets(&self) -> Vec<RecordSet> {
        let addresses = self.addresses();
        let share = self.shared().map(|shared| shared.share(&addresses, &self.owner.instance));
        addresses.into_iter().chain(share.unwrap_or_default()).collect()
    }

    /// Returns the name in which the host has a share.
    pub fn shared(&self) -> Option<&SharedName> {
        self.owner.share.as_ref()
    }

    /// Returns the same without a share.
    pub fn without_share(&self) -> Self {
        Self { owner: Owner { share: None, ..self.owner.clone() }, ..self.clone() }
    }

    fn label(&self) -> RecordSet {
        RecordSet::txt(self.name.ownership(), self.ttl, self.owner.to_string())
    }
}

/// The source of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// All authoritative servers that answered, in agreement.
    Dns,
    /// Route 53's API.
    Api,
}

/// The record sets found at a host's name and at the name of its ownership TXT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The source that was read.
    pub source: Source,
    /// The A and AAAA record sets at the host's name.
    pub addresses: Vec<RecordSet>,
    /// The TXT record set at the ownership name.
    pub label: Option<RecordSet>,
    /// A description of a record set that the agents never write: `a CNAME to ...`, `an alias`.
    pub alien: Option<String>,
    /// The shares that Route 53's API has told: this host's, in shared names; in the listing of a whole zone, all
    /// hosts' at this name.
    pub shares: Vec<RecordSet>,
    /// The reason why this host can have no share in its shared name, in words.
    pub bar: Option<String>,
}

impl Observed {
    /// Returns an observation of a name without record sets.
    pub fn nothing(source: Source) -> Self {
        Self { source, addresses: Vec::new(), label: None, alien: None, shares: Vec::new(), bar: None }
    }

    /// Returns the address record sets and the share of this owner of the name. DNS shows the share only by the owner's
    /// label.
    fn sets(&self, owner: &Owner) -> Vec<RecordSet> {
        let share = match (self.source, &owner.share) {
            (Source::Api, _) => self.shares.clone(),
            (Source::Dns, Some(shared)) => shared.share(&self.addresses, &owner.instance),
            (Source::Dns, None) => Vec::new(),
        };
        self.addresses.iter().cloned().chain(share).collect()
    }

    /// Returns the owner that the ownership TXT names, whatever else is at the name.
    pub fn owner(&self) -> Option<Owner> {
        let mut texts = self.label.as_ref()?.values.iter();
        let owner = texts.next().and_then(|text| Owner::parse(text));
        owner.filter(|_| texts.next().is_none())
    }

    /// Tells who owns the name.
    pub fn holder(&self, me: &InstanceId) -> Holder {
        if let Some(alien) = &self.alien {
            return Holder::Other(Refusal::Alien(alien.clone()));
        }
        if self.label.is_none() {
            return if self.addresses.is_empty() { Holder::Nobody } else { Holder::Other(Refusal::NoOwner) };
        }
        match self.owner() {
            Some(owner) if owner.instance == *me => Holder::Me(owner),
            Some(owner) => Holder::Other(Refusal::Owner(Box::new(owner))),
            None => Holder::Other(Refusal::Unreadable),
        }
    }

    /// Returns all addresses in the A and AAAA record sets.
    pub fn ip_addresses(&self) -> BTreeSet<IpAddr> {
        self.addresses.iter().flat_map(|set| &set.values).filter_map(|value| value.parse().ok()).collect()
    }
}

/// The owner of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: there is no record set at all.
    Nobody,
    /// This instance, by its ownership TXT.
    Me(Owner),
    /// Another owner, or an unknown one: the name must not be touched.
    Other(Refusal),
}

/// The reason for leaving a name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ownership TXT names another instance.
    Owner(Box<Owner>),
    /// There are record sets, but no ownership TXT.
    NoOwner,
    /// There is a TXT, but not one that the agents wrote.
    Unreadable,
    /// There is a record set that the agents never write, described in words.
    Alien(String),
    /// The ownership TXT is ours, but a record set holds an address that another host may have now.
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
    /// Creates the record set; fails if one of that name and type exists.
    Create(RecordSet),
    /// Deletes the record set; fails unless its values and TTL are exactly these.
    Delete(RecordSet),
}

impl Change {
    /// Returns the record set that is created or deleted.
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

/// The decision about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Do nothing: the name is as it should be.
    Nothing,
    /// Apply this batch.
    Change(ChangeBatch),
    /// Read through the API and decide again: the answer from DNS is not enough.
    AskRoute53,
    /// Leave the name alone, because it is not ours, and say why.
    Refuse(Refusal),
}

/// Decides how the host's name becomes as desired. `gone` is the former owner of a fixed name, if EC2 has proven that
/// it is gone ([`crate::sweep`]). See the module's tables.
pub fn register(desired: &Desired, observed: &Observed, gone: Option<&InstanceId>) -> Decision {
    let desired = match observed.bar {
        Some(_) => &desired.without_share(),
        None => desired,
    };
    let wanted = desired.sets();
    let changes = |there: &[RecordSet]| {
        let gone: Vec<_> = there.iter().filter(|set| !wanted.contains(set)).cloned().collect();
        let new: Vec<_> = wanted.iter().filter(|set| !there.contains(set)).cloned().collect();
        (gone, new)
    };
    match observed.holder(&desired.owner.instance) {
        // DNS may show an owner that is none any more.
        Holder::Other(Refusal::Owner(owner))
            if observed.source == Source::Api && gone == Some(&owner.instance) && owner.share.is_none() =>
        {
            let (old, new) = changes(&observed.sets(&owner));
            batch(old.into_iter().chain(observed.label.clone()), new.into_iter().chain([desired.label()]))
        }
        Holder::Other(refusal) => refuse(observed.source, refusal),
        Holder::Nobody => {
            let (gone, new) = changes(&observed.shares);
            batch(gone, new.into_iter().chain([desired.label()]))
        }
        Holder::Me(owner) => {
            let is_shared = owner.share == desired.owner.share;
            if !is_shared && desired.owner.share.is_some() && observed.source == Source::Dns {
                return Decision::AskRoute53;
            }
            let (gone, new) = changes(&observed.sets(&owner));
            if gone.is_empty() && new.is_empty() && is_shared {
                return Decision::Nothing;
            }
            batch(gone.into_iter().chain(observed.label.clone()), new.into_iter().chain([desired.label()]))
        }
    }
}

/// Decides how to delete everything of this instance at its name, and its share. `own` are this host's addresses; `held`
/// are those other addresses at the name that another instance has, or may have. See the module's tables.
pub fn deregister(
    me: &InstanceId,
    own: &BTreeSet<IpAddr>,
    observed: &Observed,
    held: &BTreeSet<IpAddr>,
) -> Decision {
    let there = observed.ip_addresses();
    // The share goes even where the host's own name is left alone: nobody else's set has this identifier.
    let but_the_share = |decision: Decision| match observed.shares.is_empty() {
        true => decision,
        false => batch(observed.shares.iter().cloned(), Vec::new()),
    };
    match observed.holder(me) {
        Holder::Other(_) | Holder::Nobody if observed.source == Source::Dns => Decision::AskRoute53,
        Holder::Other(refusal) => but_the_share(Decision::Refuse(refusal)),
        Holder::Nobody => but_the_share(Decision::Nothing),
        Holder::Me(_) if observed.source == Source::Dns && there != *own => Decision::AskRoute53,
        Holder::Me(owner) => match there.intersection(held).next() {
            Some(address) => but_the_share(Decision::Refuse(Refusal::Address(*address))),
            None => batch(observed.sets(&owner).into_iter().chain(observed.label.clone()), Vec::new()),
        },
    }
}

/// The owner of the Scalelite entries that carry a host's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// This host; also where the name has no owner, because this host's record sets may be gone before its entry.
    Me,
    /// Not known: read through the API and decide again, because the answer from DNS is not enough.
    AskRoute53,
    /// Another host: its entries are left alone.
    Other(Refusal),
}

/// Decides who owns the Scalelite entries that carry a host's name. `own` are this host's addresses: without a
/// readable ownership TXT they decide. See the module's table.
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

/// The answer of one authoritative server, compared with the desired record sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The server has our addresses and our ownership TXT.
    Live,
    /// The server has no record set yet, or no longer has any.
    Absent,
    /// The server has our ownership TXT, but other addresses or another TTL.
    Different,
    /// The server has our addresses and our ownership TXT, but not our share as desired, as far as that TXT tells.
    Shareless,
    /// The server's record sets are another owner's.
    Foreign(Refusal),
}

/// Compares the answer of one server with the desired record sets.
pub fn liveness(desired: &Desired, observed: &Observed) -> Liveness {
    match observed.holder(&desired.owner.instance) {
        Holder::Nobody => Liveness::Absent,
        Holder::Other(refusal) => Liveness::Foreign(refusal),
        Holder::Me(owner) => {
            let of = |sets: Vec<RecordSet>| sets.into_iter().collect::<BTreeSet<_>>();
            let is_shared = owner.share == desired.owner.share;
            match of(desired.addresses()) == of(observed.addresses.clone()) {
                false => Liveness::Different,
                true if is_shared && of(desired.sets()) == of(observed.sets(&owner)) => Liveness::Live,
                true => Liveness::Shareless,
            }
        }
    }
}

/// Returns the record type of a set at a host's own name, if the agents write that type there.
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
