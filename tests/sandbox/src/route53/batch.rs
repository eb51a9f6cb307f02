//! A change batch: checked as a whole, applied in order, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::name::DnsName;
use super::record::{Key, RecordSet, RecordType, Routing};
use super::value;
use super::zone::{Records, Zone};

/// The most multivalue answers of one name and type.
const MULTIVALUES: usize = 100;

/// The action of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// Creates the record set only if it does not exist.
    Create,
    /// Deletes the record set only if it is exactly the same.
    Delete,
    /// Creates or replaces the record set.
    Upsert,
}

impl Action {
    /// Returns the action as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Upsert => "UPSERT",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Create, Self::Delete, Self::Upsert].into_iter().find(|action| action.as_str() == text)
    }
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The action.
    pub action: Action,
    /// The record set.
    pub set: RecordSet,
}

/// Returns the records that the zone would have after the batch, and the changes with their names normalised.
///
/// # Errors
/// Fails with all messages of the real service's `InvalidChangeBatch`.
pub(crate) fn apply(zone: &Zone, changes: &[Change]) -> Result<(Records, Vec<Change>), Vec<String>> {
    let (named, mut problems) = check_sets(zone, changes);
    problems.extend(check_combinations(&named));
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut after = zone.clone();
    for (name, change) in &named {
        problems.extend(apply_one(&mut after, name, change).err());
    }
    if problems.is_empty() {
        problems.extend(check_apex(&after));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok((after.records, named.into_iter().map(|(_, change)| change).collect()))
}

/// Returns how much a batch counts for the throughput limit, in changes.
pub(crate) fn weight(changes: &[Change]) -> usize {
    changes.len()
}

/// Checks the size: "A request cannot contain more than 1,000 ResourceRecord elements", "32,000 characters" in all
/// values; both count twice for UPSERT (Developer Guide, quotas). An alias, which has no values, counts as one record.
///
/// # Errors
/// Fails with the message of an `InvalidChangeBatch`.
pub(crate) fn check_size(changes: &[Change]) -> Result<(), String> {
    let counted =
        |change: &Change, count: usize| if change.action == Action::Upsert { 2 * count } else { count };
    let records: usize = changes.iter().map(|change| counted(change, change.set.values.len().max(1))).sum();
    if records > 1000 {
        return Err("Number of records limit of 1000 exceeded.".to_owned());
    }
    let characters = |set: &RecordSet| set.values.iter().map(|value| value.chars().count()).sum();
    if changes.iter().map(|change| counted(change, characters(&change.set))).sum::<usize>() > 32_000 {
        return Err("RDATA character limit of 32000 exceeded.".to_owned());
    }
    Ok(())
}

/// Checks each set by itself.
fn check_sets(zone: &Zone, changes: &[Change]) -> (Vec<(DnsName, Change)>, Vec<String>) {
    let mut named = Vec::new();
    let mut problems = Vec::new();
    for change in changes {
        match DnsName::parse(&change.set.name) {
            Err(problem) => problems.push(problem),
            Ok(name) => {
                let mut change = change.clone();
                change.set.name = name.to_string();
                if let Some(alias) = &mut change.set.alias {
                    match DnsName::parse(&alias.dns_name) {
                        Ok(target) => alias.dns_name = target.to_string(),
                        Err(problem) => problems.push(problem),
                    }
                }
                problems.extend(check_set(zone, &name, &change.set));
                named.push((name, change));
            }
        }
    }
    (named, problems)
}

fn check_set(zone: &Zone, name: &DnsName, set: &RecordSet) -> Vec<String> {
    if !name.is_within(&zone.name) {
        return vec![format!("RRSet with DNS name {name} is not permitted in zone {}", zone.name)];
    }
    let mut problems: Vec<String> =
        set.values.iter().filter_map(|text| value::check(set.record_type, text).err()).collect();
    let mut seen = BTreeSet::new();
    for text in &set.values {
        if !seen.insert(value::identity(set.record_type, text)) {
            problems.push(format!("Duplicate Resource Record: '{text}'"));
        }
    }
    if set.values.len() > 400 {
        problems.push("Cannot have more than 400 records in a RRSet.".to_owned());
    }
    let record_type = set.record_type.as_str();
    match set.record_type {
        RecordType::Cname if *name == zone.name => problems.push(format!(
            "RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {}",
            zone.name
        )),
        RecordType::Soa if *name != zone.name => problems.push(format!(
            "RRSet of type SOA with DNS name {name} is not permitted below the apex in zone {}",
            zone.name
        )),
        RecordType::Cname | RecordType::Soa if set.values.len() > 1 => problems.push(format!(
            "RRSet of type {record_type} with DNS name {name} must contain exactly one resource record"
        )),
        RecordType::Cname | RecordType::Ns | RecordType::Soa if set.routing == Some(Routing::MultiValue) => {
            problems.push(format!(
                "RRSet of type {record_type} with DNS name {name} cannot be a multivalue answer RRSet"
            ));
        }
        // "You can't create multivalue answer alias records" (API reference, `MultiValueAnswer`).
        _ if set.routing == Some(Routing::MultiValue) && set.alias.is_some() => problems.push(format!(
            "RRSet of type {record_type} with DNS name {name} cannot be a multivalue answer alias RRSet"
        )),
        _ => {}
    }
    problems
}

/// Refuses a record set that stands twice in a batch, unless `CREATE` replaces it after `DELETE`.
fn check_combinations(named: &[(DnsName, Change)]) -> Vec<String> {
    let mut actions: BTreeMap<Key, (&Change, Vec<Action>)> = BTreeMap::new();
    for (name, change) in named {
        actions.entry(Key::of(name, &change.set)).or_insert((change, Vec::new())).1.push(change.action);
    }
    actions
        .into_values()
        .filter(|(_, actions)| actions.len() > 1 && *actions != [Action::Delete, Action::Create])
        .map(|(change, _)| {
            let (record_type, name) = (change.set.record_type.as_str(), &change.set.name);
            format!("The request contains an invalid set of changes for a resource record set '{record_type} {name}'")
        })
        .collect()
}

fn apply_one(zone: &mut Zone, name: &DnsName, change: &Change) -> Result<(), String> {
    let key = Key::of(name, &change.set);
    let refused = |verb: &str, why: &str| {
        let set = &change.set;
        let identifier = set.set_identifier.as_ref().map(|id| format!(", set identifier='{id}'"));
        let (identifier, record_type) = (identifier.unwrap_or_default(), set.record_type.as_str());
        Err(format!(
            "Tried to {verb} resource record set [name='{name}', type='{record_type}'{identifier}] but {why}"
        ))
    };
    match (change.action, zone.records.get(&key)) {
        (Action::Create, Some(_)) => refused("create", "it already exists"),
        (Action::Delete, None) => refused("delete", "it was not found"),
        (Action::Delete, Some(current)) if !current.matches(&change.set) => {
            refused("delete", "the values provided do not match the current values")
        }
        (Action::Delete, Some(_)) => {
            zone.records.remove(&key);
            Ok(())
        }
        (Action::Create | Action::Upsert, _) => {
            zone.records.remove(&key);
            check_neighbours(zone, name, &change.set)?;
            check_number(zone, name, &change.set)?;
            zone.records.insert(key, Arc::new(change.set.clone()));
            Ok(())
        }
    }
}

/// Refuses a CNAME beside other types, and sets of one name and type with different policies.
fn check_neighbours(zone: &Zone, name: &DnsName, set: &RecordSet) -> Result<(), String> {
    let record_type = set.record_type.as_str();
    for other in zone.sets_of_name(name) {
        if other.record_type == set.record_type {
            check_policies(name, set, other)?;
        } else if set.record_type == RecordType::Cname {
            return Err(format!(
                "RRSet of type CNAME with DNS name {name} is not permitted as it conflicts with other records with \
                 the same DNS name in zone {}",
                zone.name
            ));
        } else if other.record_type == RecordType::Cname {
            return Err(format!(
                "RRSet of type {record_type} with DNS name {name} is not permitted because a conflicting RRSet of \
                 type  CNAME with the same DNS name already exists in zone {}",
                zone.name
            ));
        }
    }
    Ok(())
}

/// Checks the number of multivalue answers: "100 records that have the same name and type" (Developer Guide, quotas).
/// The wording is not known.
fn check_number(zone: &Zone, name: &DnsName, set: &RecordSet) -> Result<(), String> {
    let is_full = zone.sets(name, set.record_type).len() >= MULTIVALUES;
    if is_full && set.routing == Some(Routing::MultiValue) {
        let record_type = set.record_type.as_str();
        return Err(format!("Limit of {MULTIVALUES} multivalue answers exceeded for {record_type} {name}"));
    }
    Ok(())
}

fn check_policies(name: &DnsName, set: &RecordSet, other: &RecordSet) -> Result<(), String> {
    let policy = |set: &RecordSet| match set.routing {
        None => "simple",
        Some(Routing::Weight(_)) => "weighted",
        Some(Routing::MultiValue) => "multivalue answer",
        Some(Routing::Region(_)) => "latency",
        Some(Routing::Failover(_)) => "failover",
    };
    if policy(set) == policy(other) {
        return Ok(());
    }
    let record_type = set.record_type.as_str();
    let identifier = set.set_identifier.as_ref().map(|id| format!(", SetIdentifier \"{id}\""));
    // Observed for multivalue ("a non multivalue answer rrset exists"); the other combinations follow its pattern.
    let existing = match set.routing {
        None => format!("a {}", policy(other)),
        Some(_) => format!("a non {}", policy(set)),
    };
    Err(format!(
        "RRSet with DNS name {name}, type {record_type}{} cannot be created because {existing} rrset exists with the \
         same name and type.",
        identifier.unwrap_or_default()
    ))
}

fn check_apex(zone: &Zone) -> Option<String> {
    if zone.sets(&zone.name, RecordType::Soa).len() != 1 {
        return Some("A HostedZone must contain exactly one SOA record.".to_owned());
    }
    zone.sets(&zone.name, RecordType::Ns)
        .is_empty()
        .then(|| "A HostedZone must contain at least one NS record for the zone itself.".to_owned())
}
