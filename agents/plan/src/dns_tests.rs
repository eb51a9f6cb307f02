use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::instance::Role;
use crate::table;

const ME: &str = "i-0123456789abcdef0";
const OTHER: &str = "i-0fedcba9876543210";
const ANOTHER_HOSTS: &str = "192.0.2.99";

fn name() -> Name {
    Name::host("vc-0123456789abcdef0.example.org").unwrap()
}

fn own() -> BTreeSet<IpAddr> {
    BTreeSet::from(["203.0.113.10".parse().unwrap(), "2001:db8::10".parse().unwrap()])
}

fn owner(instance: &str) -> Owner {
    Owner {
        account: Some("123456789012".into()),
        ..Owner::new(Role::Bbb, InstanceId::parse(instance).unwrap(), "eu-central-1".into(), 1_700_000_000)
    }
}

fn desired() -> Desired {
    Desired {
        name: name(),
        ttl: 60,
        ipv4: Some("203.0.113.10".parse().unwrap()),
        ipv6: Some("2001:db8::10".parse().unwrap()),
        owner: Owner { since: 1_800_000_000, ..owner(ME) },
    }
}

/// Returns the situation that a row of the table names.
fn observed(source: Source, addresses: &str, label: &str) -> Observed {
    let a = |ttl, address: &str| RecordSet::a(name(), ttl, address.parse().unwrap());
    let aaaa = RecordSet::aaaa(name(), 60, "2001:db8::10".parse().unwrap());
    let sets = match addresses {
        "none" | "a CNAME" => vec![],
        "same" => vec![a(60, "203.0.113.10"), aaaa],
        "only A" => vec![a(60, "203.0.113.10")],
        "another A" => vec![a(60, "198.51.100.7"), aaaa],
        "another TTL" => vec![a(300, "203.0.113.10"), aaaa],
        "another host's A" => vec![a(60, ANOTHER_HOSTS), aaaa],
        "only theirs" => vec![a(60, ANOTHER_HOSTS)],
        unknown => panic!("unknown cell {unknown}"),
    };
    let text = match label {
        "none" => None,
        "ours" => Some(owner(ME).to_string()),
        "ours, without the account" => Some(Owner { account: None, ..owner(ME) }.to_string()),
        "i-other's" => Some(owner(OTHER).to_string()),
        "unreadable" => Some("v=spf1 -all".to_owned()),
        unknown => panic!("unknown cell {unknown}"),
    };
    Observed {
        source,
        addresses: sets,
        label: text.map(|text| RecordSet::txt(name().ownership(), 60, text)),
        alien: (addresses == "a CNAME").then(|| "a CNAME".to_owned()),
    }
}

fn words(decision: &Decision) -> String {
    match decision {
        Decision::Nothing => "nothing".into(),
        Decision::AskRoute53 => "ask Route 53".into(),
        Decision::Change(ChangeBatch(changes)) => {
            let words = changes.iter().map(|change| match change {
                Change::Create(set) => format!("CREATE {}", set.kind),
                Change::Delete(set) => format!("DELETE {}", set.kind),
            });
            words.collect::<Vec<_>>().join(", ")
        }
        Decision::Refuse(Refusal::NoOwner) => "refuse: no owner".into(),
        Decision::Refuse(Refusal::Unreadable) => "refuse: unreadable".into(),
        Decision::Refuse(Refusal::Alien(what)) => format!("refuse: {what}"),
        Decision::Refuse(Refusal::Address(address)) => format!("refuse: address {address}"),
        Decision::Refuse(Refusal::Owner(owner)) => {
            assert_eq!(owner.instance.as_str(), OTHER);
            "refuse: owner i-other".into()
        }
    }
}

fn sources(cell: &str) -> Vec<Source> {
    match cell {
        "any" => vec![Source::Dns, Source::Api],
        "DNS" => vec![Source::Dns],
        "API" => vec![Source::Api],
        unknown => panic!("unknown cell {unknown}"),
    }
}

#[test]
fn register_by_the_table() {
    for [source, addresses, label, expected] in table::rows(include_str!("tables/dns-register.md")) {
        for source in sources(&source) {
            let decision = register(&desired(), &observed(source, &addresses, &label));
            assert_eq!(words(&decision), expected, "{source:?}, {addresses}, {label}");
        }
    }
}

#[test]
fn deregister_by_the_table() {
    let held = BTreeSet::from([ANOTHER_HOSTS.parse().unwrap()]);
    let me = InstanceId::parse(ME).unwrap();
    for [source, addresses, label, expected] in table::rows(include_str!("tables/dns-deregister.md")) {
        for source in sources(&source) {
            let decision = deregister(&me, &own(), &observed(source, &addresses, &label), &held);
            assert_eq!(words(&decision), expected, "{source:?}, {addresses}, {label}");
        }
    }
}

#[test]
fn the_bearer_by_the_table() {
    let me = InstanceId::parse(ME).unwrap();
    for [source, addresses, label, expected] in table::rows(include_str!("tables/dns-bearer.md")) {
        for source in sources(&source) {
            let found = match bearer(&me, &own(), &observed(source, &addresses, &label)) {
                Bearer::Me => "ours".to_owned(),
                Bearer::AskRoute53 => words(&Decision::AskRoute53),
                Bearer::Other(refusal) => words(&Decision::Refuse(refusal)),
            };
            assert_eq!(found, expected, "{source:?}, {addresses}, {label}");
        }
    }
}

#[test]
fn a_host_without_addresses_does_not_believe_an_absence_either() {
    let me = InstanceId::parse(ME).unwrap();
    let none = BTreeSet::new();
    let decision = deregister(&me, &none, &observed(Source::Dns, "none", "none"), &none);
    assert_eq!(words(&decision), "ask Route 53");
}

#[test]
fn an_address_family_that_is_gone_is_deleted() {
    let decision = register(&Desired { ipv6: None, ..desired() }, &observed(Source::Dns, "same", "ours"));
    assert_eq!(words(&decision), "DELETE AAAA, DELETE TXT, CREATE TXT");
}

#[test]
fn several_texts_are_nobody_we_know() {
    let mut seen = observed(Source::Api, "same", "ours");
    seen.label.as_mut().unwrap().values.insert("v=spf1 -all".into());
    assert_eq!(words(&register(&desired(), &seen)), "refuse: unreadable");
}

#[test]
fn liveness_of_one_server() {
    let of = |addresses, label| liveness(&desired(), &observed(Source::Dns, addresses, label));
    assert_eq!(of("same", "ours"), Liveness::Live);
    assert_eq!(of("none", "none"), Liveness::Absent);
    assert_eq!(of("another A", "ours"), Liveness::Different);
    assert_eq!(of("only A", "ours"), Liveness::Different);
    assert_eq!(of("same", "none"), Liveness::Foreign(Refusal::NoOwner));
}

/// A zone that applies batches as Route 53 does.
type Zone = BTreeMap<(Name, RecordType), RecordSet>;

fn apply(zone: &Zone, ChangeBatch(changes): &ChangeBatch) -> Option<Zone> {
    let mut zone = zone.clone();
    for change in changes {
        let key = (change.set().name.clone(), change.set().kind);
        match change {
            Change::Create(set) => match zone.insert(key, set.clone()) {
                None => {}
                Some(_) => return None,
            },
            Change::Delete(set) => match zone.remove(&key) {
                Some(there) if there == *set => {}
                _ => return None,
            },
        }
    }
    Some(zone)
}

fn look(zone: &Zone, source: Source) -> Observed {
    let get = |name, kind| zone.get(&(name, kind)).cloned();
    let addresses = [get(name(), RecordType::A), get(name(), RecordType::Aaaa)];
    Observed {
        source,
        addresses: addresses.into_iter().flatten().collect(),
        label: get(name().ownership(), RecordType::Txt),
        alien: None,
    }
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let a = prop::option::of((prop::sample::select(vec!["203.0.113.10", "198.51.100.7"]), 60u32..62));
    let aaaa = prop::option::of(prop::sample::select(vec!["2001:db8::10", "2001:db8::99"]));
    let texts = vec![owner(ME).to_string(), owner(OTHER).to_string(), "v=spf1 -all".to_owned()];
    (a, aaaa, prop::option::of(prop::sample::select(texts))).prop_map(|(a, aaaa, text)| {
        let a = a.map(|(address, ttl)| RecordSet::a(name(), ttl, address.parse().unwrap()));
        let aaaa = aaaa.map(|address| RecordSet::aaaa(name(), 60, address.parse().unwrap()));
        let text = text.map(|text| RecordSet::txt(name().ownership(), 60, text));
        let sets = a.into_iter().chain(aaaa).chain(text);
        sets.map(|set| ((set.name.clone(), set.kind), set)).collect()
    })
}

fn any_desired() -> impl Strategy<Value = Desired> {
    (any::<bool>(), any::<bool>()).prop_map(|(ipv4, ipv6)| {
        let full = desired();
        Desired { ipv4: full.ipv4.filter(|_| ipv4), ipv6: full.ipv6.filter(|_| ipv6 || !ipv4), ..full }
    })
}

proptest! {
    #[test]
    fn applying_reaches_desired_and_then_plans_nothing(zone in any_zone(), desired in any_desired()) {
        if let Decision::Change(batch) = register(&desired, &look(&zone, Source::Api)) {
            let after = look(&apply(&zone, &batch).unwrap(), Source::Api);
            prop_assert_eq!(liveness(&desired, &after), Liveness::Live);
            prop_assert_eq!(register(&desired, &after), Decision::Nothing);
        }
    }

    #[test]
    fn deregistering_leaves_nothing_of_ours(zone in any_zone()) {
        let me = InstanceId::parse(ME).unwrap();
        if let Decision::Change(batch) = deregister(&me, &own(), &look(&zone, Source::Api), &BTreeSet::new()) {
            let after = look(&apply(&zone, &batch).unwrap(), Source::Api);
            prop_assert_eq!(after.holder(&me), Holder::Nobody);
            prop_assert_eq!(deregister(&me, &own(), &after, &BTreeSet::new()), Decision::Nothing);
        }
    }

    /// A batch never gets through against a name that is not ours now, even when the plan was made from a stale
    /// answer.
    #[test]
    fn no_plan_gets_at_what_is_not_ours(
        read in any_zone(), now in any_zone(), desired in any_desired(), leave in any::<bool>(),
    ) {
        let me = InstanceId::parse(ME).unwrap();
        for source in [Source::Dns, Source::Api] {
            let seen = look(&read, source);
            let decision = match leave {
                true => deregister(&me, &own(), &seen, &BTreeSet::new()),
                false => register(&desired, &seen),
            };
            if let Decision::Change(batch) = decision
                && let Holder::Other(refusal) = look(&now, Source::Api).holder(&me)
                && refusal != Refusal::NoOwner
            {
                prop_assert_eq!(apply(&now, &batch), None, "{:?}", refusal);
            }
        }
    }

    #[test]
    fn deletes_only_what_it_read_under_our_label(read in any_zone(), desired in any_desired()) {
        let me = InstanceId::parse(ME).unwrap();
        let seen = look(&read, Source::Dns);
        let plans = [register(&desired, &seen), deregister(&me, &own(), &seen, &BTreeSet::new())];
        for plan in plans {
            let Decision::Change(ChangeBatch(changes)) = plan else { continue };
            let deletes = changes.iter().filter(|change| matches!(change, Change::Delete(_))).count();
            prop_assert!(deletes == 0 || matches!(seen.holder(&me), Holder::Me(_)));
        }
    }
}
