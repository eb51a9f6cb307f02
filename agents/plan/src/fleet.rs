//! The whole fleet at a glance: one row for each instance that the zone, Scalelite, EC2 or a group of the fleet names.
//!
//! The observation is the sweep's, read once: [`Sweeper`] judges what is debris, with EC2's one answer counted as if EC2
//! had said the same again. What needs no sweep is judged here.
//!
//! # How does a host stand?
//! A source that could not be asked makes no host "in order", and none "wrong": what is wrong all the same is wrong
//! whatever that source would have said. "Out" is a host that is not meant to get meetings, as its group or EC2 tells: it
//! is no trouble that such a host has no name, or an entry that is cordoned or offline.
//!
#![doc = include_str!("tables/fleet.md")]

mod facts;
mod judgement;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use self::facts::{Entries, Machine, NameFacts, Place};
pub use self::totals::{Totals, Verdict};

use crate::dns::{Holder, Observed, Refusal};
use crate::instance::{InstanceId, Role};
use crate::membership::State;
use crate::ownership::Owner;
use crate::record::Name;
use crate::sweep::{Conclusion, Evidence, Finding, Look, Reason, Seen, Sweeper, Zone};

/// An instance as EC2 describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its state.
    pub state: Seen,
    /// Its availability zone.
    pub availability_zone: Option<String>,
    /// When it was launched, in seconds since 1970.
    pub launched: Option<u64>,
    /// The Auto Scaling group that its tags name.
    pub group: Option<String>,
    /// The IPv4 address that its name should have by the settings.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 addresses of which its name should have one; empty where none is to be registered.
    pub ipv6: BTreeSet<Ipv6Addr>,
    /// All addresses by which the sweep would find it.
    pub addresses: BTreeSet<IpAddr>,
}

/// An instance in a group, as Auto Scaling lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group.
    pub group: String,
    /// The lifecycle state.
    pub state: String,
    /// Whether it is protected from scale-in, if the answer says so.
    pub protected: Option<bool>,
    /// Its availability zone, if the answer says so.
    pub availability_zone: Option<String>,
}

/// An entry of Scalelite's list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The host name in its URL.
    pub host: Name,
    /// Its values, or the reason why they cannot be understood.
    pub values: Result<Values, String>,
}

/// The values of an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values {
    /// The administrative state.
    pub state: State,
    /// Whether the last polls reached the host.
    pub online: bool,
    /// The load; none while Scalelite has not polled the host successfully.
    pub load: Option<f64>,
}

/// The answers of all sources; where one could not be asked, the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Observations {
    /// The zone, by Route 53.
    pub zone: Result<Zone, String>,
    /// Scalelite's list; `None` where there is no Scalelite.
    pub entries: Option<Result<Vec<Listed>, String>>,
    /// The instances of this account and region.
    pub instances: Result<BTreeMap<InstanceId, Instance>, String>,
    /// The members of the fleet's groups.
    pub members: Result<BTreeMap<InstanceId, Member>, String>,
}

/// The way in which a host stands, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Everything is as it should be.
    InOrder,
    /// The host is not meant to get meetings.
    Out,
    /// Something is not known, and nothing is wrong that is.
    Unknown,
    /// The host is dead, and something of it is left.
    Debris,
    /// Something is wrong.
    Wrong,
}

impl Standing {
    /// Returns a stable word for programs: `in-order`, `out`, `unknown`, `debris`, `wrong`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InOrder => "in-order",
            Self::Out => "out",
            Self::Unknown => "unknown",
            Self::Debris => "debris",
            Self::Wrong => "wrong",
        }
    }
}

/// A host of the fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The instance.
    pub instance: InstanceId,
    /// Its name: the one that it owns, else the one that it should have.
    pub name: Option<Name>,
    /// What EC2 says of it.
    pub machine: Machine,
    /// Its place in its group.
    pub place: Place,
    /// The record sets at its name.
    pub named: NameFacts,
    /// Its entries in Scalelite.
    pub entries: Entries,
    /// How it stands.
    pub standing: Standing,
    /// What is wrong or not known, and why it is out, in words.
    pub words: Vec<String>,
}

/// The fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// The hosts, by instance.
    pub rows: Vec<Row>,
    /// The number of Scalelite's entries that belong to no host of the fleet; `None` where that is not known.
    pub others: Option<usize>,
    /// Why EC2's answer does not count, although there is one.
    pub disbelieved: Option<String>,
}

/// Returns the groups of the fleet: this host's, and those of all instances that a name or an entry leads to.
pub fn groups(sweeper: &Sweeper, seen: &Observations) -> BTreeSet<String> {
    let Ok(instances) = &seen.instances else { return BTreeSet::new() };
    let named = named(sweeper, seen);
    named.iter().filter_map(|id| instances.get(id)?.group.clone()).collect()
}

/// Chooses the host that stands for a machine which is no host of the fleet itself: one with a name that EC2 says is there,
/// else any with a name, which EC2 then does not know, so that it is not believed.
pub fn anchor(role: Role, zone: &Zone, instances: Option<&BTreeMap<InstanceId, Instance>>) -> Option<Owner> {
    let owners = zone.values().filter_map(Observed::owner).filter(|owner| owner.role == role.as_str());
    let is_there = |owner: &Owner| {
        let found = instances.and_then(|instances| instances.get(&owner.instance));
        found.is_some_and(|instance| matches!(instance.state, Seen::There(_)))
    };
    // The choice does not change from look to look.
    owners.min_by_key(|owner| (!is_there(owner), owner.instance.clone()))
}

/// Judges every host of the fleet at `now`, in seconds since 1970. See the module's table.
pub fn judge(sweeper: &Sweeper, seen: &Observations, now: u64) -> Fleet {
    let view = View::new(sweeper, seen, now);
    let rows = view.ids.iter().map(|id| view.row(id.clone())).collect();
    Fleet { rows, others: view.others(), disbelieved: view.disbelieved }
}

/// Returns the instances that a name or an entry leads to, and this host.
fn named(sweeper: &Sweeper, seen: &Observations) -> BTreeSet<InstanceId> {
    let mut ids = BTreeSet::from([sweeper.me.clone()]);
    for (name, observed) in seen.zone.iter().flatten() {
        ids.extend(sweeper.owner(observed).map(|owner| owner.instance));
        ids.extend(sweeper.made_for(name).map(|(instance, _)| instance));
    }
    let entries = seen.entries.iter().flatten().flatten();
    ids.extend(entries.filter_map(|entry| bearer(sweeper, seen, &entry.host)));
    ids
}

/// Returns every instance of the fleet: whatever a source names.
fn ids(
    sweeper: &Sweeper,
    seen: &Observations,
    instances: Option<&BTreeMap<InstanceId, Instance>>,
) -> BTreeSet<InstanceId> {
    let mut ids = named(sweeper, seen);
    ids.extend(seen.members.iter().flatten().map(|(id, _)| id.clone()));
    let groups = groups(sweeper, seen);
    let of_group = |instance: &Instance| {
        instance.state != Seen::Terminated
            && instance.group.as_ref().is_some_and(|group| groups.contains(group))
    };
    let instances = instances.into_iter().flatten();
    ids.extend(instances.filter(|(_, instance)| of_group(instance)).map(|(id, _)| id.clone()));
    ids
}

/// Returns the instance that an entry with this host name belongs to: the owner of the name, else the instance that the
/// name is made for.
fn bearer(sweeper: &Sweeper, seen: &Observations, host: &Name) -> Option<InstanceId> {
    let observed = seen.zone.as_ref().ok().and_then(|zone| zone.get(host));
    let owner = observed.and_then(|observed| sweeper.owner(observed)).map(|owner| owner.instance);
    owner.or_else(|| sweeper.made_for(host).map(|(instance, _)| instance))
}

/// The observations, put in order.
struct View<'a> {
    sweeper: &'a Sweeper,
    seen: &'a Observations,
    /// EC2's answer, unless it cannot be asked or believed.
    instances: Option<&'a BTreeMap<InstanceId, Instance>>,
    disbelieved: Option<String>,
    /// Every instance of the fleet: whatever a source names.
    ids: BTreeSet<InstanceId>,
    owned: BTreeMap<InstanceId, Vec<(&'a Name, &'a Observed)>>,
    entries: BTreeMap<InstanceId, Vec<&'a Listed>>,
    findings: BTreeMap<InstanceId, Vec<Finding>>,
}

impl<'a> View<'a> {
    fn new(sweeper: &'a Sweeper, seen: &'a Observations, now: u64) -> Self {
        let mut owned: BTreeMap<InstanceId, Vec<(&Name, &Observed)>> = BTreeMap::new();
        for (name, observed) in seen.zone.iter().flatten() {
            if let Some(owner) = sweeper.owner(observed) {
                owned.entry(owner.instance).or_default().push((name, observed));
            }
        }
        let mut entries: BTreeMap<InstanceId, Vec<&Listed>> = BTreeMap::new();
        for entry in seen.entries.iter().flatten().flatten() {
            if let Some(instance) = bearer(sweeper, seen, &entry.host) {
                entries.entry(instance).or_default().push(entry);
            }
        }
        let is_own = |instances: &&BTreeMap<InstanceId, Instance>| {
            instances.get(&sweeper.me).is_some_and(|me| matches!(me.state, Seen::There(_)))
        };
        let told = seen.instances.as_ref().ok();
        let instances = told.filter(is_own);
        let disbelieved = told.is_some() && instances.is_none();
        let disbelieved = disbelieved.then(|| Reason::Blind.to_string());
        let (ids, findings) = (ids(sweeper, seen, instances), BTreeMap::new());
        let mut view = Self { sweeper, seen, instances, disbelieved, ids, owned, entries, findings };
        view.findings = view.found(now);
        view
    }

    /// Returns what the sweep would say, by instance, if EC2 said the same again.
    fn found(&self, now: u64) -> BTreeMap<InstanceId, Vec<Finding>> {
        let Some(instances) = self.instances else { return BTreeMap::new() };
        let nothing = Zone::new();
        let zone = self.seen.zone.as_ref().unwrap_or(&nothing);
        let evidence = self.evidence(zone, instances);
        let mut findings = self.sweeper.hosts(zone, &evidence, now);
        // Without the zone, nobody knows which entries have no name.
        if self.seen.zone.is_ok() {
            let names = self.seen.entries.iter().flatten().flatten().map(|entry| entry.host.clone());
            findings.extend(self.sweeper.entries(zone, &names.collect(), &evidence));
        }
        let mut by_instance: BTreeMap<InstanceId, Vec<Finding>> = BTreeMap::new();
        for finding in findings {
            if let Some(instance) = finding.instance.clone() {
                by_instance.entry(instance).or_default().push(finding);
            }
        }
        by_instance
    }

    /// Makes the sweep's evidence of EC2's one answer, which is about this region alone.
    fn evidence(&self, zone: &Zone, instances: &BTreeMap<InstanceId, Instance>) -> Evidence {
        let own = &self.sweeper.region;
        let mut look = Look::default();
        for id in &self.ids {
            let state = instances.get(id).map_or(Seen::Absent, |instance| instance.state.clone());
            look.instances.insert((own.clone(), id.clone()), state);
        }
        let owners = zone.values().filter_map(|observed| self.sweeper.owner(observed));
        let of_names =
            self.entries.values().flatten().filter_map(|entry| self.sweeper.made_for(&entry.host)?.1);
        for region in owners.map(|owner| owner.region).chain(of_names).filter(|region| region != own) {
            look.silent.insert(region, format!("the fleet is shown from {own} only"));
        }
        let mut having: BTreeMap<IpAddr, BTreeSet<InstanceId>> = BTreeMap::new();
        for (id, instance) in instances.iter().filter(|(_, instance)| instance.state != Seen::Terminated) {
            for address in &instance.addresses {
                having.entry(*address).or_default().insert(id.clone());
            }
        }
        let addresses = zone.values().flat_map(Observed::ip_addresses);
        let holders =
            addresses.map(|address| (address, Ok(having.get(&address).cloned().unwrap_or_default())));
        let holders = holders.collect();
        Evidence { looks: vec![look.clone(), look], holders }
    }

    fn others(&self) -> Option<usize> {
        let entries = self.seen.entries.as_ref()?.as_ref().ok()?;
        self.seen.zone.as_ref().ok()?;
        let foreign = entries.iter().filter(|entry| bearer(self.sweeper, self.seen, &entry.host).is_none());
        Some(foreign.count())
    }

    fn row(&self, id: InstanceId) -> Row {
        let machine = self.machine(&id);
        let (name, named) = self.name(&id, &machine);
        let (place, entries) = (self.place(&id), self.entries(&id));
        let more = self.more_names(&id, name.as_ref());
        let (standing, words) = judgement::judge(&machine, &place, &named, &entries, &more);
        Row { instance: id, name, machine, place, named, entries, standing, words }
    }

    fn machine(&self, id: &InstanceId) -> Machine {
        let Some(instances) = self.instances else { return Machine::Unknown };
        let instance = instances.get(id);
        if let Some(instance) = instance.filter(|instance| instance.state != Seen::Terminated) {
            return Machine::There(instance.clone());
        }
        let state = instance.map_or(Seen::Absent, |instance| instance.state.clone());
        let found = self.findings.get(id).into_iter().flatten().map(|finding| &finding.verdict);
        let verdicts: Vec<&Conclusion> = found.collect();
        let gone = verdicts.iter().find(|verdict| verdict.is_gone());
        Machine::Gone(state, gone.or(verdicts.first()).map(|verdict| (*verdict).clone()))
    }

    fn place(&self, id: &InstanceId) -> Place {
        let group = self.instances.and_then(|instances| instances.get(id)).map(|instance| &instance.group);
        match (&self.seen.members, group) {
            (Ok(members), _) if members.contains_key(id) => {
                members.get(id).cloned().map_or(Place::Unknown, Place::Member)
            }
            // Auto Scaling's tag cannot be taken off.
            (_, Some(None)) => Place::NoGroup,
            (Ok(_), Some(Some(group))) => Place::Unlisted(group.clone()),
            // EC2 has forgotten the instance, and no group lists it.
            (Ok(_), None) if self.instances.is_some() => Place::NoGroup,
            _ => Place::Unknown,
        }
    }

    /// Returns the name by which a host is known, and what is there.
    fn name(&self, id: &InstanceId, machine: &Machine) -> (Option<Name>, NameFacts) {
        let Sweeper { template, domain, region, .. } = self.sweeper;
        let usual = template.as_ref().and_then(|template| template.name(id, region, domain).ok());
        let Ok(zone) = &self.seen.zone else { return (usual, NameFacts::Unknown) };
        let at_usual = usual.as_ref().and_then(|name| Some((name, zone.get(name)?)));
        match at_usual.map(|(name, observed)| (name, observed, observed.holder(id))) {
            Some((name, observed, Holder::Me(_))) => {
                return (Some(name.clone()), addresses(observed, machine));
            }
            Some((name, _, Holder::Other(refusal))) => {
                return (Some(name.clone()), NameFacts::Refused(refusal));
            }
            Some((_, _, Holder::Nobody)) | None => {}
        }
        let first = self.owned.get(id).and_then(|owned| owned.first());
        match first {
            Some((name, observed)) => {
                let facts = match &observed.alien {
                    Some(alien) => NameFacts::Refused(Refusal::Alien(alien.clone())),
                    None => addresses(observed, machine),
                };
                (Some((*name).clone()), facts)
            }
            None => (usual, NameFacts::None),
        }
    }

    /// Returns the names that an instance owns beside this one.
    fn more_names(&self, id: &InstanceId, name: Option<&Name>) -> Vec<Name> {
        let owned = self.owned.get(id).into_iter().flatten();
        owned.map(|(owned, _)| (*owned).clone()).filter(|owned| Some(owned) != name).collect()
    }

    fn entries(&self, id: &InstanceId) -> Entries {
        match &self.seen.entries {
            None => Entries::NotUsed,
            Some(Err(_)) => Entries::Unknown,
            Some(Ok(_)) => match self.entries.get(id) {
                Some(entries) => Entries::These(entries.iter().map(|entry| entry.values.clone()).collect()),
                // The entry may have a name that only the zone knows.
                None if self.seen.zone.is_err() => Entries::Unknown,
                None => Entries::These(Vec::new()),
            },
        }
    }
}

/// Compares the addresses at a host's own name with those that it has.
fn addresses(observed: &Observed, machine: &Machine) -> NameFacts {
    let Machine::There(instance) = machine else { return NameFacts::There };
    // Other instances have no address, or not for long.
    if instance.state != Seen::There("running".to_owned()) {
        return NameFacts::There;
    }
    let found = observed.ip_addresses();
    let v4: BTreeSet<Ipv4Addr> = found.iter().filter_map(|address| v4(*address)).collect();
    let v6: BTreeSet<Ipv6Addr> = found.iter().filter_map(|address| v6(*address)).collect();
    let v4_is_right = v4 == instance.ipv4.into_iter().collect();
    let v6_is_right = match instance.ipv6.is_empty() {
        true => v6.is_empty(),
        false => v6.len() == 1 && v6.is_subset(&instance.ipv6),
    };
    if v4_is_right && v6_is_right {
        return NameFacts::Right;
    }
    let own = instance.ipv4.map(IpAddr::V4).into_iter();
    let own = own.chain(instance.ipv6.iter().copied().map(IpAddr::V6)).collect();
    NameFacts::WrongAddress { found, own }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests;
