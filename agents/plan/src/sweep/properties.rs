//! What holds for a sweep of any fleet.

use proptest::prelude::*;

use super::*;
use crate::dns::Change;
use crate::record::RecordType;

/// A region in which the host has no permission to ask.
const DENIED: &str = "eu-west-1";

/// A real host, and what is left of it in the zone.
#[derive(Clone, Debug)]
struct Truth {
    /// The host's state in EC2: `running`, `terminated`, `absent`, ...
    state: &'static str,
    account: Option<&'static str>,
    region: &'static str,
    /// The region that its ownership TXT names.
    said: &'static str,
    age: u64,
    role: Role,
    label: bool,
    a: bool,
    aaaa: bool,
    entry: bool,
    alien: bool,
    share: bool,
}

impl Truth {
    fn is_of_this_account(&self) -> bool {
        self.account != Some("999999999999")
    }

    fn is_provably_gone(&self) -> bool {
        let known = match self.said {
            REGION => self.state == "terminated" || self.state == "absent" && self.account.is_some(),
            ELSEWHERE => self.state == "terminated" && self.region == ELSEWHERE,
            _ => false,
        };
        self.is_of_this_account()
            && known
            && self.age >= 3600
            && self.role == Role::Bbb
            && self.label
            && !self.alien
    }

    /// Whether the host's share goes: with its name, or as one to which no name leads.
    fn share_goes(&self) -> bool {
        let named = self.label && self.role == Role::Bbb;
        let is_terminated = self.state == "terminated" && self.is_of_this_account() && self.region == REGION;
        if named { self.is_provably_gone() } else { is_terminated }
    }
}

fn truths() -> impl Strategy<Value = Vec<Truth>> {
    let states = vec!["running", "stopped", "pending", "shutting-down", "terminated", "absent"];
    let truth = (
        prop::sample::select(states),
        prop::sample::select(vec![Some(ACCOUNT), Some("999999999999"), None]),
        prop::sample::select(vec![
            (REGION, REGION),
            (REGION, REGION),
            (ELSEWHERE, ELSEWHERE),
            (DENIED, DENIED),
            (REGION, ELSEWHERE),
            (REGION, DENIED),
        ]),
        prop::sample::select(vec![0u64, 3599, 3600, 1_000_000]),
        prop::sample::select(vec![Role::Bbb, Role::Bbb, Role::Turn]),
        prop::array::uniform6(any::<bool>()),
    );
    let truth = truth.prop_map(
        |(state, account, (region, said), age, role, [label, a, aaaa, entry, alien, share])| Truth {
            state,
            account,
            region,
            said,
            age,
            role,
            label,
            a,
            aaaa,
            entry,
            alien,
            share,
        },
    );
    prop::collection::vec(truth, 0..12)
}

fn instance(number: usize) -> InstanceId {
    id(&format!("i-{:017x}", number + 100))
}

/// Builds the zone of these hosts; the first host is the sweeper itself.
fn zone_of(truths: &[Truth]) -> Zone {
    let hosts = truths.iter().enumerate().map(|(number, truth)| {
        let instance = if number == 0 { id(ME) } else { instance(number) };
        let name = name_of(instance.as_str());
        let owner = Owner {
            account: truth.account.map(str::to_owned),
            ..Owner::new(truth.role, instance, truth.said.into(), NOW - truth.age)
        };
        let a = truth.a.then(|| format!("203.0.113.{number}"));
        let aaaa = truth.aaaa.then(|| format!("2001:db8::{number}"));
        let label = truth.label.then(|| owner.to_string());
        let mut there = observed(&name, a.as_deref(), aaaa.as_deref(), label);
        there.alien = truth.alien.then(|| "a CNAME".into());
        (name, there)
    });
    let mut zone: Zone = hosts.filter(|(_, there)| *there != Observed::nothing(Source::Api)).collect();
    let shares = truths.iter().enumerate().filter(|(_, truth)| truth.share);
    let shares = shares.flat_map(|(number, _)| match number {
        0 => share_of(ME, &["203.0.113.0"]),
        number => share_of(instance(number).as_str(), &[&format!("203.0.113.{number}"), "2001:db8::1"]),
    });
    let shares: Vec<RecordSet> = shares.collect();
    if !shares.is_empty() {
        zone.insert(shared(), Observed { shares, ..Observed::nothing(Source::Api) });
    }
    zone
}

/// Returns the instances that have shares.
fn shareholders(zone: &Zone) -> BTreeSet<InstanceId> {
    let sets = zone.get(&shared()).map(|observed| observed.shares.clone()).unwrap_or_default();
    sets.into_iter().filter_map(|set| Some(set.share?.instance)).collect()
}

fn entries_of(truths: &[Truth]) -> BTreeSet<Name> {
    let entries = truths.iter().enumerate().filter(|(_, truth)| truth.entry);
    let mut names: BTreeSet<Name> = entries
        .map(|(number, _)| match number {
            0 => name_of(ME),
            number => name_of(instance(number).as_str()),
        })
        .collect();
    names.insert(Name::host("bbb.elsewhere.org").unwrap());
    names
}

/// Returns the true answers of EC2, where the host has the permission to ask.
fn ask(truths: &[Truth], findings: &[Finding]) -> Look {
    let mut look = Look::default();
    for (region, instances) in sweeper().questions(findings) {
        if region == DENIED {
            look.silent.insert(region, "denied".into());
            continue;
        }
        for asked in instances {
            if asked == id(ME) {
                look.instances.insert((region.clone(), asked), Seen::There("running".into()));
                continue;
            }
            let truth = truths.iter().enumerate().find(|(number, _)| instance(*number) == asked);
            let (_, truth) = truth.expect("only what exists is asked about");
            let may_be = truth.is_of_this_account() || truth.share && truth.role == Role::Turn;
            assert!(!truth.label || may_be, "another account's is not asked about");
            let seen = match truth.state {
                _ if !truth.is_of_this_account() || truth.region != region => Seen::Absent,
                "terminated" => Seen::Terminated,
                "absent" => Seen::Absent,
                state => Seen::There(state.into()),
            };
            look.instances.insert((region.clone(), asked), seen);
        }
    }
    look
}

/// Returns the findings of a whole sweep over this zone.
fn sweep(truths: &[Truth], zone: &Zone, entries: &BTreeSet<Name>) -> Vec<Finding> {
    let sweeper = sweeper();
    let mut evidence = Evidence::default();
    let judge = |evidence: &Evidence| {
        let mut findings = sweeper.hosts(zone, evidence, NOW);
        findings.extend(sweeper.shares(zone, evidence));
        findings.extend(sweeper.entries(zone, entries, evidence));
        findings
    };
    for _ in 0..2 {
        let findings = judge(&evidence);
        for address in sweeper.addresses(&findings).into_values().flatten() {
            evidence.holders.insert(address, Ok(BTreeSet::new()));
        }
        evidence.looks.push(ask(truths, &findings));
    }
    judge(&evidence)
}

/// Applies a batch as Route 53 does: all of it or nothing.
fn apply(zone: &mut Zone, ChangeBatch(changes): &ChangeBatch) -> bool {
    let mut after = zone.clone();
    for change in changes {
        let Change::Delete(set) = change else { return false };
        let name = set.name.owned().unwrap_or_else(|| set.name.clone());
        let Some(there) = after.get_mut(&name) else { return false };
        let had = match set.kind {
            _ if set.share.is_some() => {
                let before = there.shares.len();
                there.shares.retain(|share| share != set);
                there.shares.len() < before
            }
            RecordType::Txt => there.label.take_if(|label| label == set).is_some(),
            _ => {
                let before = there.addresses.len();
                there.addresses.retain(|address| address != set);
                there.addresses.len() < before
            }
        };
        if !had {
            return false;
        }
        if *there == Observed::nothing(Source::Api) {
            after.remove(&name);
        }
    }
    *zone = after;
    true
}

/// Carries findings out; a batch that fails because of a change meanwhile is done again host by host.
fn carry_out(zone: &mut Zone, entries: &mut BTreeSet<Name>, findings: &[Finding]) {
    let gone: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict.is_gone()).collect();
    entries.retain(|entry| !gone.iter().any(|finding| finding.name == *entry && !finding.is_share()));
    let with_records: Vec<&Finding> = gone.into_iter().filter(|finding| !finding.sets.is_empty()).collect();
    for (hosts, batch) in batches(&with_records, false) {
        if !apply(zone, &batch) {
            for (_, batch) in batches(&hosts, true) {
                apply(zone, &batch);
            }
        }
    }
}

proptest! {
    #[test]
    fn all_that_is_provably_gone_goes_and_nothing_else(truths in truths()) {
        let (mut zone, mut entries) = (zone_of(&truths), entries_of(&truths));
        let (zone_before, entries_before) = (zone.clone(), entries.clone());
        let findings = sweep(&truths, &zone, &entries);
        carry_out(&mut zone, &mut entries, &findings);
        for (number, truth) in truths.iter().enumerate() {
            let name = if number == 0 { name_of(ME) } else { name_of(instance(number).as_str()) };
            let goes = number > 0 && truth.is_provably_gone();
            match goes {
                true => prop_assert!(!zone.contains_key(&name) && !entries.contains(&name)),
                false => prop_assert_eq!(zone.get(&name), zone_before.get(&name), "{:?}", truth),
            }
            let me = if number == 0 { id(ME) } else { instance(number) };
            let has_share = truth.share && (number == 0 || !truth.share_goes());
            prop_assert_eq!(shareholders(&zone).contains(&me), has_share, "{:?}", truth);
            // An entry without any record set goes when its instance is terminated, whatever its role and age.
            let ours = truth.is_of_this_account() && truth.region == REGION;
            let bare = !zone_before.contains_key(&name) && number > 0 && truth.state == "terminated" && ours;
            let has_entry = entries_before.contains(&name) && !goes && !bare;
            prop_assert_eq!(entries.contains(&name), has_entry, "{:?}", truth);
        }
        prop_assert!(entries.contains(&Name::host("bbb.elsewhere.org").unwrap()));
        let again = sweep(&truths, &zone, &entries);
        prop_assert!(!again.iter().any(|finding| finding.verdict.is_gone()), "nothing is left to do");
    }

    /// Two hosts that have read the same zone carry it out one after the other, one of them perhaps only in part.
    #[test]
    fn two_at_once_come_to_the_same_end(truths in truths(), done in 0usize..12) {
        let (mut zone, mut entries) = (zone_of(&truths), entries_of(&truths));
        let findings = sweep(&truths, &zone, &entries);
        let (mut alone, mut entries_alone) = (zone.clone(), entries.clone());
        carry_out(&mut alone, &mut entries_alone, &findings);
        carry_out(&mut zone, &mut entries, &findings[..done.min(findings.len())]);
        carry_out(&mut zone, &mut entries, &findings);
        prop_assert_eq!((zone, entries), (alone, entries_alone));
    }

    /// A name that has changed since it was read is never touched.
    #[test]
    fn what_has_changed_meanwhile_stays(truths in truths()) {
        let zone = zone_of(&truths);
        let findings = sweep(&truths, &zone, &entries_of(&truths));
        let mut now = zone;
        for there in now.values_mut() {
            there.shares.iter_mut().for_each(|share| share.ttl += 1);
            let renewed = there.label.as_ref().and_then(|label| Owner::parse(label.values.first()?));
            let Some(renewed) = renewed else { continue };
            let label = there.label.as_mut().unwrap();
            label.values = BTreeSet::from([Owner { since: NOW, ..renewed }.to_string()]);
        }
        let before = now.clone();
        carry_out(&mut now, &mut BTreeSet::new(), &findings);
        prop_assert_eq!(now, before);
    }

    /// Whatever time a label tells, it keeps a dead host's records for a bounded time only.
    #[test]
    fn no_label_is_young_for_ever(since in prop_oneof![any::<u64>(), NOW - 7200..NOW + 7200], later in 4200u64..10_000) {
        let owner = Owner { since, ..owner(OTHER) };
        let name = name_of(OTHER);
        let zone = Zone::from([(name.clone(), observed(&name, Some(ADDRESS), None, Some(owner.to_string())))]);
        let evidence = said(OTHER, "absent", "absent");
        let is_gone = |now| sweeper().hosts(&zone, &evidence, now)[0].verdict.is_gone();
        prop_assert!(is_gone(NOW) || is_gone(NOW + later));
    }

    #[test]
    fn seen_once_is_not_enough(truths in truths()) {
        let zone = zone_of(&truths);
        let open = sweeper().hosts(&zone, &Evidence::default(), NOW);
        let evidence = Evidence { looks: vec![ask(&truths, &open)], ..Evidence::default() };
        let findings = sweeper().hosts(&zone, &evidence, NOW);
        prop_assert!(!findings.iter().any(|finding| finding.verdict.is_gone()));
    }
}
