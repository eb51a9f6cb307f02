//! The answers of a server for these zones, as pure functions of a snapshot.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType as WireType};

use crate::route53::value::{wire, wire_name};
use crate::route53::{DnsName, RecordSet, RecordType, Routing, Zone, Zones};

/// The number of aliases and CNAMEs that are followed.
const MAX_LINKS: usize = 8;

/// The zones that a server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The authoritative servers: public zones only.
    Public,
    /// A VPC's resolver: private zones first.
    All,
}

/// An answer without its header.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) code: ResponseCode,
    /// Whether the answer comes from the zone's own data and is not a referral.
    pub(crate) authoritative: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
}

impl Found {
    pub(crate) fn only(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authorities: Vec::new() }
    }

    /// Tells whether the name exists but has no record set of the type asked for.
    pub(crate) fn is_no_data(&self) -> bool {
        self.code == ResponseCode::NoError && self.authoritative && self.answers.is_empty()
    }
}

/// Returns the answer to a question; none when no zone in scope contains the name.
pub(crate) fn lookup(zones: &Zones, scope: Scope, name: &DnsName, wanted: WireType) -> Option<Found> {
    let zone = zone_of(zones, scope, name)?;
    let mut found = Found { authoritative: true, ..Found::only(ResponseCode::NoError) };
    let mut owner = name.clone();
    for _ in 0..MAX_LINKS {
        if let Some(referral) = delegation(zone, &owner, wanted) {
            found.authoritative = !found.answers.is_empty();
            found.authorities = referral;
            return Some(found);
        }
        match step(zones, zone, &owner, wanted) {
            Step::Done(mut records) => {
                found.answers.append(&mut records);
                return Some(found);
            }
            Step::Follow(mut records, target) => {
                found.answers.append(&mut records);
                // Outside the zone the client has to ask on.
                if !target.is_within(&zone.name) {
                    return Some(found);
                }
                owner = target;
            }
            Step::Nothing(code) => {
                found.code = code;
                found.authorities =
                    set_records(zones, &zone.name, &zone.sets(&zone.name, RecordType::Soa), 0);
                return Some(found);
            }
        }
    }
    Some(Found::only(ResponseCode::ServFail))
}

enum Step {
    Done(Vec<Record>),
    Follow(Vec<Record>, DnsName),
    Nothing(ResponseCode),
}

fn step(zones: &Zones, zone: &Zone, owner: &DnsName, wanted: WireType) -> Step {
    let source = if zone.exists(owner) {
        owner.clone()
    } else {
        match wildcard(zone, owner) {
            Some(source) => source,
            None => return Step::Nothing(ResponseCode::NXDomain),
        }
    };
    let records = records_of(zones, zone, owner, &source, wanted);
    if !records.is_empty() {
        return Step::Done(records);
    }
    let cnames = zone.sets(&source, RecordType::Cname);
    let target = chosen(zones, &cnames).first().and_then(|set| set.values.first().cloned());
    match target.and_then(|value| DnsName::parse(&value).ok()) {
        Some(target) => Step::Follow(set_records(zones, owner, &cnames, 0), target),
        None => Step::Nothing(ResponseCode::NoError),
    }
}

fn records_of(
    zones: &Zones,
    zone: &Zone,
    owner: &DnsName,
    source: &DnsName,
    wanted: WireType,
) -> Vec<Record> {
    RecordType::ALL
        .into_iter()
        .filter(|record_type| wanted == WireType::ANY || wanted == wire_type(*record_type))
        .flat_map(|record_type| set_records(zones, owner, &zone.sets(source, record_type), 0))
        .collect()
}

/// Returns the zone with the longest name that contains `name`; a private zone outranks a public one of the same name.
pub(crate) fn zone_of<'a>(zones: &'a Zones, scope: Scope, name: &DnsName) -> Option<&'a Zone> {
    zones
        .values()
        .map(AsRef::as_ref)
        .filter(|zone| name.is_within(&zone.name) && (scope == Scope::All || !zone.private))
        .max_by_key(|zone| (zone.name.depth(), zone.private))
}

/// Returns the name servers to ask on, when the name is at or below an NS set that is not the zone's own.
fn delegation(zone: &Zone, name: &DnsName, wanted: WireType) -> Option<Vec<Record>> {
    let mut cut = None;
    let mut at = Some(name.clone());
    while let Some(current) = at.filter(|current| current.depth() > zone.name.depth()) {
        // DS records are in the parent's zone.
        let above = current == *name && wanted == WireType::DS;
        if !above && !zone.sets(&current, RecordType::Ns).is_empty() {
            cut = Some(current.clone());
        }
        at = current.parent();
    }
    let cut = cut?;
    Some(set_records(&Zones::new(), &cut, &zone.sets(&cut, RecordType::Ns), 0))
}

/// Returns `*` below the closest ancestor that exists (RFC 4592).
fn wildcard(zone: &Zone, name: &DnsName) -> Option<DnsName> {
    let mut ancestor = name.parent();
    while let Some(current) = ancestor.filter(|current| current.is_within(&zone.name)) {
        if zone.exists(&current) {
            let wildcard = current.wildcard();
            return (!zone.sets_of_name(&wildcard).is_empty()).then_some(wildcard);
        }
        ancestor = current.parent();
    }
    None
}

/// Returns the sets that answer, by their routing policy: all healthy multivalue sets, one of any others. "When all
/// records are unhealthy, Route 53 responds with up to eight unhealthy records" (API reference, `MultiValueAnswer`).
fn chosen<'a>(zones: &Zones, sets: &[&'a RecordSet]) -> Vec<&'a RecordSet> {
    let is_healthy = |set: &&RecordSet| match &set.health_check_id {
        Some(check) => !zones.values().any(|zone| zone.unhealthy.contains(check)),
        None => true,
    };
    match sets.first().map(|set| &set.routing) {
        Some(Some(Routing::MultiValue)) => {
            let healthy: Vec<&RecordSet> = sets.iter().copied().filter(is_healthy).collect();
            if healthy.is_empty() { sets.to_vec() } else { healthy }
        }
        Some(Some(Routing::Weight(_))) => weighted(sets).into_iter().collect(),
        Some(Some(Routing::Failover(_))) => {
            let primary =
                sets.iter().find(|set| set.routing == Some(Routing::Failover("PRIMARY".to_owned())));
            primary.or(sets.first()).copied().into_iter().collect()
        }
        Some(_) => sets.first().copied().into_iter().collect(),
        None => Vec::new(),
    }
}

/// Draws one set by weight; where all weights are zero, every set is equally likely.
fn weighted<'a>(sets: &[&'a RecordSet]) -> Option<&'a RecordSet> {
    let weight =
        |set: &RecordSet| if let Some(Routing::Weight(weight)) = set.routing { u32::from(weight) } else { 0 };
    let total: u32 = sets.iter().map(|set| weight(set)).sum();
    if total == 0 {
        return fastrand::choice(sets.iter().copied());
    }
    let mut left = fastrand::u32(0..total);
    sets.iter().copied().find(|set| {
        let found = left < weight(set);
        left = left.saturating_sub(weight(set));
        found
    })
}

/// Returns the records of the sets that answer, under the name that was asked for.
fn set_records(zones: &Zones, owner: &DnsName, sets: &[&RecordSet], links: usize) -> Vec<Record> {
    let Some(name) = wire_name(owner) else { return Vec::new() };
    let multivalue = sets.iter().any(|set| set.routing == Some(Routing::MultiValue));
    let mut records = Vec::new();
    for set in chosen(zones, sets) {
        if let Some(alias) = &set.alias {
            records.extend(alias_records(zones, owner, set.record_type, &alias.dns_name, links));
        }
        let data = set.values.iter().filter_map(|value| wire(set.record_type, value));
        records.extend(data.map(|data| Record::from_rdata(name.clone(), set.ttl.unwrap_or(60), data)));
    }
    if multivalue {
        // "up to eight healthy records selected at random" (Developer Guide, multivalue answer routing).
        fastrand::shuffle(&mut records);
        records.truncate(8);
    }
    records
}

/// Returns the records of an alias to a name in one of our zones; other targets give none.
fn alias_records(zones: &Zones, owner: &DnsName, of: RecordType, target: &str, links: usize) -> Vec<Record> {
    let Ok(target) = DnsName::parse(target) else { return Vec::new() };
    match zone_of(zones, Scope::All, &target) {
        Some(zone) if links < MAX_LINKS => set_records(zones, owner, &zone.sets(&target, of), links + 1),
        _ => Vec::new(),
    }
}

fn wire_type(record_type: RecordType) -> WireType {
    match record_type {
        RecordType::A => WireType::A,
        RecordType::Aaaa => WireType::AAAA,
        RecordType::Caa => WireType::CAA,
        RecordType::Cname => WireType::CNAME,
        RecordType::Mx => WireType::MX,
        RecordType::Ns => WireType::NS,
        RecordType::Ptr => WireType::PTR,
        RecordType::Soa => WireType::SOA,
        RecordType::Srv => WireType::SRV,
        RecordType::Txt => WireType::TXT,
    }
}
