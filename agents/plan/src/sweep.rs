//! The debris of hosts that are gone: which record sets and Scalelite entries to delete, and which to leave alone.
//!
//! A host that dies without a shutdown (a crash, a hard termination) leaves its record sets and its entry behind. They
//! are found by their ownership TXT, which is deleted last: as long as it stands no other agent takes the name, and a
//! sweep that stops half-way is completed by the next one.
//!
//! # Is the instance gone?
//! EC2 has to say so twice, some time apart, of an instance whose TXT is older than the grace period:
//! DescribeInstances is eventually consistent. Terminated instances are listed for about an hour; after that they are
//! absent, which proves something only of an instance of this very account. In any other state, even shutting down,
//! the instance counts as living. Where the TXT does not tell its age, because its time lies in the future, EC2's two
//! answers decide alone: else a clock that was wrong once would protect the debris for years. An EC2 that does not know
//! the asking host itself is not believed at all: the credentials may be of another account, in which all hosts of the
//! fleet are absent.
//!
//! Anybody who can write to the zone can write a TXT with a wrong region, where EC2 knows nothing of a living host. So
//! only the asking host's own region is believed when it does not know an instance; any other region has to say
//! "terminated". The own region is always asked too, for the instance and for the holders of the addresses.
//!
#![doc = include_str!("tables/sweep-instances.md")]
//!
//! # May the record sets of a gone host be deleted?
//! EC2 gives the addresses of gone hosts to new ones. Where such a new host has its own name with that address, the
//! old record set is debris; where it has none, an operator may have pointed the name at it by hand.
//!
#![doc = include_str!("tables/sweep-records.md")]
//!
//! # Shares in a shared name
//! The share of a gone host goes in one batch with its own name, whose ownership TXT proves the instance and its account.
//! A share to which no ownership TXT leads is one that an older agent has left when it swept or left: its set identifier
//! alone names the instance, nothing says in which account that was, so only "terminated" proves it gone. Sets whose
//! identifier is no instance id are not looked at.
//!
#![doc = include_str!("tables/sweep-shares.md")]
//!
//! # Entries in Scalelite
//! The entries with a gone host's name are deleted before its record sets. An entry whose name has no record set at
//! all leads to an instance only by the template of host names; nothing says in which account that instance was, so
//! only "terminated" proves it gone.
//!
#![doc = include_str!("tables/sweep-entries.md")]

mod batches;
mod finding;
mod lottery;
mod succession;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub use self::batches::batches;
pub use self::finding::{Conclusion, Finding, Key, Reason};
pub use self::lottery::{Turn, Turns, falls};

use crate::dns::{Holder, Observed, Refusal};
use crate::instance::{InstanceId, Role};
use crate::ownership::Owner;
use crate::record::{HostTemplate, Name, RecordSet, is_region};

/// The record sets at each host's name below the domain, as Route 53's API tells them.
pub type Zone = BTreeMap<Name, Observed>;

/// The host that sweeps, and the bounds of its sweep.
#[derive(Clone, Debug)]
pub struct Sweeper {
    /// This host's instance.
    pub me: InstanceId,
    /// The host's role: hosts of the other role are swept by their own agents, which have the permission.
    pub role: Role,
    /// The host's region.
    pub region: String,
    /// The host's account, if it is known.
    pub account: Option<String>,
    /// The domain below which the fleet's names are.
    pub domain: Name,
    /// The template of the fleet's names; none where this host has a fixed name.
    pub template: Option<HostTemplate>,
    /// The name in which the hosts of this role have shares.
    pub shared: Option<Name>,
    /// The age that an ownership TXT must have, in seconds.
    pub grace: u64,
}

/// The state of an instance, as EC2 told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The instance is terminated.
    Terminated,
    /// EC2 does not know it.
    Absent,
    /// The instance is in this other state.
    There(String),
}

/// The answers to one round of questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The state of each instance that was asked about, by its region.
    pub instances: BTreeMap<(String, InstanceId), Seen>,
    /// The regions that could not be asked, each with the reason.
    pub silent: BTreeMap<String, String>,
}

/// All answers of EC2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The looks so far, each some time after the one before.
    pub looks: Vec<Look>,
    /// The living instances that have an address, or the reason why they could not be found out.
    pub holders: BTreeMap<IpAddr, Result<BTreeSet<InstanceId>, String>>,
}

/// The instance that a name is said to belong to.
struct Claim<'a> {
    instance: &'a InstanceId,
    region: &'a str,
    account: Option<&'a str>,
}

impl Sweeper {
    /// Judges each name with an ownership TXT of this role at `now`, in seconds since 1970. See the module's tables.
    pub fn hosts(&self, zone: &Zone, evidence: &Evidence, now: u64) -> Vec<Finding> {
        let hosts = zone.iter().filter_map(|(name, observed)| Some((name, observed, self.owner(observed)?)));
        let findings = hosts.map(|(name, observed, owner)| {
            let verdict = self.host(zone, name, observed, &owner, evidence, now);
            let share = self.share(zone, &owner);
            let is_usual = self.made_for(name).is_some()
                && share.iter().all(|set| self.shared.as_ref().is_some_and(|shared| set.name == *shared));
            let sets =
                observed.addresses.iter().cloned().chain(share).chain(observed.label.clone()).collect();
            let (instance, region) = (Some(owner.instance), owner.region);
            Finding { name: name.clone(), instance, region, verdict, sets, is_usual }
        });
        findings.collect()
    }

    /// Judges the shares that no ownership TXT of this role leads to, one finding for each instance. See the module's
    /// table.
    pub fn shares(&self, zone: &Zone, evidence: &Evidence) -> Vec<Finding> {
        let Some((name, observed)) = self.shared.as_ref().and_then(|shared| zone.get_key_value(shared))
        else {
            return Vec::new();
        };
        let named: BTreeSet<InstanceId> =
            zone.values().filter_map(|observed| Some(self.owner(observed)?.instance)).collect();
        let mut orphans: BTreeMap<&InstanceId, Vec<RecordSet>> = BTreeMap::new();
        for set in &observed.shares {
            let instance = set.share.as_ref().map(|share| &share.instance);
            if let Some(instance) = instance.filter(|instance| !named.contains(instance)) {
                orphans.entry(instance).or_default().push(set.clone());
            }
        }
        let findings = orphans.into_iter().map(|(instance, sets)| {
            let verdict = self.instance(&Claim { instance, region: &self.region, account: None }, evidence);
            let (instance, region) = (Some(instance.clone()), self.region.clone());
            Finding { name: name.clone(), instance, region, verdict, sets, is_usual: true }
        });
        findings.collect()
    }

    /// Returns the share of this owner of a name: in the shared name that its ownership TXT names, and in this host's.
    fn share(&self, zone: &Zone, owner: &Owner) -> Vec<RecordSet> {
        let names: BTreeSet<&Name> =
            owner.share.iter().map(|shared| &shared.name).chain(&self.shared).collect();
        let sets = names.into_iter().filter_map(|name| zone.get(name)).flat_map(|observed| &observed.shares);
        let is_its =
            |set: &&RecordSet| set.share.as_ref().is_some_and(|share| share.instance == owner.instance);
        sets.filter(is_its).cloned().collect()
    }

    /// Judges the entries with these host names that no ownership TXT of this role leads to. See the module's table.
    pub fn entries(&self, zone: &Zone, names: &BTreeSet<Name>, evidence: &Evidence) -> Vec<Finding> {
        let below = names.iter().filter(|name| name.is_within(&self.domain));
        let orphans = below.filter(|name| zone.get(name).and_then(|observed| self.owner(observed)).is_none());
        let findings = orphans.map(|name| {
            let made_for = self.made_for(name);
            let region = made_for.as_ref().and_then(|(_, region)| region.clone());
            let region = region.unwrap_or_else(|| self.region.clone());
            let verdict = match (&made_for, zone.get(name).map(|observed| observed.holder(&self.me))) {
                (_, Some(Holder::Other(refusal))) => Conclusion::Leave(Reason::Others(refusal)),
                (Some((instance, _)), None) => {
                    self.instance(&Claim { instance, region: &region, account: None }, evidence)
                }
                (None, None) | (_, Some(Holder::Nobody | Holder::Me(_))) => {
                    Conclusion::Leave(Reason::Unusual)
                }
            };
            let instance = made_for.map(|(instance, _)| instance);
            Finding { name: name.clone(), instance, region, verdict, sets: Vec::new(), is_usual: true }
        });
        findings.collect()
    }

    /// Returns the instances to ask EC2 about, by region; if there are any, this host is among them.
    pub fn questions(&self, findings: &[Finding]) -> BTreeMap<String, BTreeSet<InstanceId>> {
        let mut questions: BTreeMap<String, BTreeSet<InstanceId>> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| finding.verdict.is_open()) {
            for region in self.asked_of(finding) {
                questions.entry(region).or_default().extend(finding.instance.clone());
            }
        }
        if !questions.is_empty() {
            questions.entry(self.region.clone()).or_default().insert(self.me.clone());
        }
        questions
    }

    /// Returns the addresses whose holders have to be asked from EC2, by region: those at the names that may have to go.
    pub fn addresses(&self, findings: &[Finding]) -> BTreeMap<String, BTreeSet<IpAddr>> {
        let mut addresses: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| finding.verdict.is_open()) {
            // A share goes whoever has its address now.
            let own = finding.sets.iter().filter(|set| set.share.is_none());
            let values = own.flat_map(|set: &RecordSet| &set.values);
            let values: BTreeSet<IpAddr> = values.filter_map(|value| value.parse().ok()).collect();
            for region in self.asked_of(finding) {
                addresses.entry(region).or_default().extend(&values);
            }
        }
        addresses.retain(|_, addresses| !addresses.is_empty());
        addresses
    }

    /// Returns the regions that are asked about a host: the one that its ownership TXT names, and this host's own.
    fn asked_of(&self, finding: &Finding) -> BTreeSet<String> {
        BTreeSet::from([finding.region.clone(), self.region.clone()])
    }

    /// Tells whether EC2 knows this host, as it does only in the host's own account.
    pub fn is_known_to(&self, look: &Look) -> bool {
        let me = (self.region.clone(), self.me.clone());
        matches!(look.instances.get(&me), Some(Seen::There(_)))
    }

    /// Returns how many hosts of this role have a name.
    pub fn count(&self, zone: &Zone) -> usize {
        zone.values().filter(|observed| self.owner(observed).is_some()).count()
    }

    /// Returns the owner of a name by its ownership TXT, whatever else is there.
    pub(crate) fn owner(&self, observed: &Observed) -> Option<Owner> {
        observed.owner().filter(|owner| owner.role == self.role.as_str())
    }

    /// Returns the instance that the template makes a name for.
    pub(crate) fn made_for(&self, name: &Name) -> Option<(InstanceId, Option<String>)> {
        self.template.as_ref()?.instance(name, &self.domain)
    }

    fn host(
        &self,
        zone: &Zone,
        name: &Name,
        observed: &Observed,
        owner: &Owner,
        evidence: &Evidence,
        now: u64,
    ) -> Conclusion {
        if let Some(alien) = &observed.alien {
            return Conclusion::Leave(Reason::Others(Refusal::Alien(alien.clone())));
        }
        if let Some((instance, _)) = self.made_for(name).filter(|(made_for, _)| *made_for != owner.instance) {
            return Conclusion::Leave(Reason::Misnamed(instance));
        }
        let account = owner.account.as_deref();
        let claim = Claim { instance: &owner.instance, region: &owner.region, account };
        let verdict = self.instance(&claim, evidence);
        let is_young = owner.age(now).is_some_and(|age| age < self.grace);
        match verdict {
            Conclusion::Leave(_) => verdict,
            _ if is_young => Conclusion::Leave(Reason::Young),
            Conclusion::Gone(_) => held(zone, observed, evidence).unwrap_or(verdict),
            Conclusion::Ask | Conclusion::AskAgain => verdict,
        }
    }

    /// Judges whether an instance is gone. See the module's table.
    fn instance(&self, claim: &Claim<'_>, evidence: &Evidence) -> Conclusion {
        if *claim.instance == self.me {
            return Conclusion::Leave(Reason::Own);
        }
        if claim.account.is_some() && claim.account != self.account.as_deref() {
            let account = claim.account.unwrap_or_default().to_owned();
            return Conclusion::Leave(Reason::OtherAccount(account));
        }
        if !is_region(claim.region) {
            return Conclusion::Leave(Reason::NoRegion);
        }
        let mut gone = Vec::new();
        for look in &evidence.looks {
            let regions = [claim.region, self.region.as_str()];
            let silent = regions.into_iter().find_map(|region| Some((region, look.silent.get(region)?)));
            if let Some((region, why)) = silent {
                return Conclusion::Leave(Reason::Silent { region: region.to_owned(), why: why.clone() });
            }
            let [said, here] =
                regions.map(|region| look.instances.get(&(region.to_owned(), claim.instance.clone())));
            match (said, here) {
                (Some(Seen::There(state)), _) | (_, Some(Seen::There(state))) => {
                    return Conclusion::Leave(Reason::There(state.clone()));
                }
                // The instance's TXT came after the questions were asked.
                (None, _) | (_, None) => {}
                _ if !self.is_known_to(look) => return Conclusion::Leave(Reason::Blind),
                (Some(Seen::Absent), _) if claim.region != self.region => {
                    return Conclusion::Leave(Reason::Elsewhere(claim.region.to_owned()));
                }
                (Some(Seen::Absent), _) if claim.account.is_none() => {
                    return Conclusion::Leave(Reason::UnknownAccount);
                }
                (Some(seen), _) => gone.push(seen),
            }
        }
        match gone.as_slice() {
            [] => Conclusion::Ask,
            [_] => Conclusion::AskAgain,
            [.., last] => Conclusion::Gone((*last).clone()),
        }
    }
}

/// Returns why the addresses at a gone host's name speak against deleting them, if they do. See the module's table.
fn held(zone: &Zone, observed: &Observed, evidence: &Evidence) -> Option<Conclusion> {
    let reason = observed.ip_addresses().into_iter().find_map(|address| {
        let holders = match evidence.holders.get(&address) {
            Some(Ok(holders)) => holders,
            Some(Err(why)) => return Some(Reason::NotKnown(address, why.clone())),
            None => return Some(Reason::NotKnown(address, "it came while EC2 was asked".to_owned())),
        };
        let holder = holders.iter().find(|holder| !is_named(zone, holder, address))?;
        Some(Reason::Held(address, holder.clone()))
    });
    reason.map(Conclusion::Leave)
}

/// Tells whether an instance has a name of its own with that address.
fn is_named(zone: &Zone, instance: &InstanceId, address: IpAddr) -> bool {
    zone.values().any(|observed| {
        matches!(observed.holder(instance), Holder::Me(_)) && observed.ip_addresses().contains(&address)
    })
}

#[cfg(test)]
#[path = "sweep/tests.rs"]
pub(crate) mod tests;
