use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::instance::Role;
use crate::share::Share;
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
        "i-other's" | "i-gone's" => Some(owner(OTHER).to_string()),
        "unreadable" => Some("v=spf1 -all".to_owned()),
        unknown => panic!("unknown cell {unknown}"),
    };
    Observed {
        source,
        addresses: sets,
        label: text.map(|text| RecordSet::txt(name().ownership(), 60, text)),
        alien: (addresses == "a CNAME").then(|| "a CNAME".to_owned()),
        ..Observed::nothing(source)
    }
}

fn shared(cell: &str) -> Option<SharedName> {
    let named = |name: &str, health_check: Option<&str>| SharedName {
        name: Name::host(name).unwrap(),
        health_check: health_check.map(str::to_owned),
    };
    match cell {
        "none" => None,
        "as wanted" | "turn" => Some(named("turn.example.org", Some("check-1"))),
        "another check" => Some(named("turn.example.org", None)),
        "elsewhere" => Some(named("former.example.org", Some("check-1"))),
        unknown => panic!("unknown cell {unknown}"),
    }
}

fn words(decision: &Decision) -> String {
    match decision {
        Decision::Nothing => "nothing".into(),
        Decision::AskRoute53 => "ask Route 53".into(),
        Decision::Change(ChangeBatch(changes)) => {
            let kind = |set: &RecordSet| match &set.share {
                Some(_) if set.name.as_str().starts_with("former.") => format!("former share {}", set.kind),
                Some(_) => format!("share {}", set.kind),
                None => set.kind.to_string(),
            };
            let words = changes.iter().map(|change| match change {
                Change::Create(set) => format!("CREATE {}", kind(set)),
                Change::Delete(set) => format!("DELETE {}", kind(set)),
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
            let gone = InstanceId::parse(OTHER).unwrap();
            let gone = (label == "i-gone's").then_some(&gone);
            let decision = register(&desired(), &observed(source, &addresses, &label), gone);
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

/// Returns a situation in which the ownership TXT, if it is ours, names this share, and the API tells these.
fn with_share(source: Source, addresses: &str, label: &str, text: &str, there: &str) -> Observed {
    let mut seen = observed(source, addresses, label);
    if label == "ours" {
        let owner = Owner { share: shared(text), ..owner(ME) };
        seen.label = Some(RecordSet::txt(name().ownership(), 60, owner.to_string()));
    }
    let own = Desired { owner: Owner { share: shared("turn"), ..owner(ME) }, ..desired() };
    let of = |cell: &str| shared(cell).unwrap().share(&own.addresses(), &own.owner.instance);
    match there {
        "not read" | "none" => {}
        "as wanted" => seen.shares = of("turn"),
        "only A" => seen.shares = of("turn")[..1].to_vec(),
        "elsewhere" => seen.shares = of("elsewhere"),
        "another check" => seen.shares = of("another check"),
        "another A" => {
            seen.shares = of("turn");
            seen.shares[0].values = BTreeSet::from(["198.51.100.7".to_owned()]);
        }
        "no room" => seen.bar = Some("it has a CNAME".to_owned()),
        unknown => panic!("unknown cell {unknown}"),
    }
    seen
}

#[test]
fn the_share_by_the_table() {
    let held = BTreeSet::from([ANOTHER_HOSTS.parse().unwrap()]);
    let me = InstanceId::parse(ME).unwrap();
    let rows = table::rows(include_str!("tables/dns-share.md"));
    for [task, source, addresses, label, text, there, expected] in rows {
        for source in sources(&source) {
            let seen = with_share(source, &addresses, &label, &text, &there);
            let decision = match task.as_str() {
                "leave" => deregister(&me, &own(), &seen, &held),
                wanted => {
                    let cell = wanted.strip_prefix("register, ").unwrap();
                    let owner = Owner { share: shared(cell), ..desired().owner };
                    register(&Desired { owner, ..desired() }, &seen, None)
                }
            };
            assert_eq!(
                words(&decision),
                expected,
                "{task}, {source:?}, {addresses}, {label}, {text}, {there}"
            );
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
    let decision =
        register(&Desired { ipv6: None, ..desired() }, &observed(Source::Dns, "same", "ours"), None);
    assert_eq!(words(&decision), "DELETE AAAA, DELETE TXT, CREATE TXT");
}

#[test]
fn several_texts_are_nobody_we_know() {
    let mut seen = observed(Source::Api, "same", "ours");
    seen.label.as_mut().unwrap().values.insert("v=spf1 -all".into());
    assert_eq!(words(&register(&desired(), &seen, None)), "refuse: unreadable");
}

#[test]
fn liveness_of_one_server() {
    let of = |addresses, label| liveness(&desired(), &observed(Source::Dns, addresses, label));
    assert_eq!(of("same", "ours"), Liveness::Live);
    assert_eq!(of("none", "none"), Liveness::Absent);
    assert_eq!(of("another A", "ours"), Liveness::Different);
    assert_eq!(of("only A", "ours"), Liveness::Different);
    assert_eq!(of("same", "none"), Liveness::Foreign(Refusal::NoOwner));
    let wanted = Desired { owner: Owner { share: shared("turn"), ..owner(ME) }, ..desired() };
    for (source, addresses, text, there, expected) in [
        (Source::Dns, "same", "as wanted", "not read", Liveness::Live),
        (Source::Dns, "same", "none", "not read", Liveness::Shareless),
        (Source::Dns, "same", "another check", "not read", Liveness::Shareless),
        (Source::Dns, "only A", "as wanted", "not read", Liveness::Different),
        (Source::Api, "same", "as wanted", "as wanted", Liveness::Live),
        (Source::Api, "same", "as wanted", "only A", Liveness::Shareless),
        (Source::Api, "same", "none", "as wanted", Liveness::Shareless),
    ] {
        let seen = with_share(source, addresses, "ours", text, there);
        assert_eq!(liveness(&wanted, &seen), expected, "{source:?}, {addresses}, {text}, {there}");
    }
    let seen = with_share(Source::Dns, "same", "ours", "as wanted", "not read");
    assert_eq!(liveness(&desired(), &seen), Liveness::Shareless, "a share that is not wanted any more");
}

/// A zone that applies batches as Route 53 does.
type Zone = BTreeMap<(Name, RecordType, Option<InstanceId>), RecordSet>;

fn key(set: &RecordSet) -> (Name, RecordType, Option<InstanceId>) {
    (set.name.clone(), set.kind, set.share.as_ref().map(|share| share.instance.clone()))
}

fn apply(zone: &Zone, ChangeBatch(changes): &ChangeBatch) -> Option<Zone> {
    let mut zone = zone.clone();
    for change in changes {
        let key = key(change.set());
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
    let get = |name, kind| zone.get(&(name, kind, None)).cloned();
    let addresses = [get(name(), RecordType::A), get(name(), RecordType::Aaaa)];
    let mine = |set: &&RecordSet| set.share.as_ref().is_some_and(|share| share.instance.as_str() == ME);
    Observed {
        addresses: addresses.into_iter().flatten().collect(),
        label: get(name().ownership(), RecordType::Txt),
        shares: zone.values().filter(mine).filter(|_| source == Source::Api).cloned().collect(),
        ..Observed::nothing(source)
    }
}

/// Shares of this host and of another one, in the wanted shared name and in a former one.
fn any_shares() -> impl Strategy<Value = Vec<RecordSet>> {
    let share = (
        prop::sample::select(vec![ME, ME, OTHER]),
        prop::sample::select(vec!["turn", "another check", "elsewhere"]),
        prop::sample::select(vec!["203.0.113.10", "198.51.100.7"]),
        60u32..62,
    );
    let share = share.prop_map(|(instance, named, address, ttl)| RecordSet {
        share: Some(Share {
            instance: InstanceId::parse(instance).unwrap(),
            health_check: shared(named).unwrap().health_check,
        }),
        ..RecordSet::a(shared(named).unwrap().name, ttl, address.parse().unwrap())
    });
    prop::collection::vec(share, 0..4)
}

fn any_label(instance: &'static str) -> impl Strategy<Value = String> {
    prop::sample::select(vec!["none", "turn", "another check", "elsewhere"])
        .prop_map(move |named| Owner { share: shared(named), ..owner(instance) }.to_string())
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let a = prop::option::of((prop::sample::select(vec!["203.0.113.10", "198.51.100.7"]), 60u32..62));
    let aaaa = prop::option::of(prop::sample::select(vec!["2001:db8::10", "2001:db8::99"]));
    let texts = prop_oneof![any_label(ME), any_label(OTHER), Just("v=spf1 -all".to_owned())];
    (a, aaaa, prop::option::of(texts), any_shares()).prop_map(|(a, aaaa, text, shares)| {
        let a = a.map(|(address, ttl)| RecordSet::a(name(), ttl, address.parse().unwrap()));
        let aaaa = aaaa.map(|address| RecordSet::aaaa(name(), 60, address.parse().unwrap()));
        let text = text.map(|text| RecordSet::txt(name().ownership(), 60, text));
        let sets = a.into_iter().chain(aaaa).chain(text).chain(shares);
        sets.map(|set| (key(&set), set)).collect()
    })
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let share = prop::sample::select(vec!["none", "turn"]);
    (any::<bool>(), any::<bool>(), share).prop_map(|(ipv4, ipv6, share)| {
        let full = Desired { owner: Owner { share: shared(share), ..desired().owner }, ..desired() };
        Desired { ipv4: full.ipv4.filter(|_| ipv4), ipv6: full.ipv6.filter(|_| ipv6 || !ipv4), ..full }
    })
}

proptest! {
    #[test]
    fn applying_reaches_desired_and_then_plans_nothing(
        zone in any_zone(), desired in any_desired(), heir in any::<bool>(),
    ) {
        let other = InstanceId::parse(OTHER).unwrap();
        let gone = heir.then_some(&other);
        if let Decision::Change(batch) = register(&desired, &look(&zone, Source::Api), gone) {
            let after = look(&apply(&zone, &batch).unwrap(), Source::Api);
            prop_assert_eq!(liveness(&desired, &after), Liveness::Live);
            prop_assert_eq!(register(&desired, &after, gone), Decision::Nothing);
        }
    }

    #[test]
    fn deregistering_leaves_nothing_of_ours(zone in any_zone()) {
        let me = InstanceId::parse(ME).unwrap();
        if let Decision::Change(batch) = deregister(&me, &own(), &look(&zone, Source::Api), &BTreeSet::new()) {
            let after = look(&apply(&zone, &batch).unwrap(), Source::Api);
            prop_assert!(after.shares.is_empty());
            if let Holder::Me(_) = look(&zone, Source::Api).holder(&me) {
                prop_assert_eq!(after.holder(&me), Holder::Nobody);
            }
            let again = deregister(&me, &own(), &after, &BTreeSet::new());
            prop_assert!(matches!(again, Decision::Nothing | Decision::Refuse(_)), "{:?}", again);
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
                false => register(&desired, &seen, None),
            };
            if let Decision::Change(batch) = decision
                && let Holder::Other(refusal) = look(&now, Source::Api).holder(&me)
                && refusal != Refusal::NoOwner
            {
                let own_name = batch.0.iter().any(|change| change.set().share.is_none());
                prop_assert!(!own_name || apply(&now, &batch).is_none(), "{:?}", refusal);
            }
        }
    }

    #[test]
    fn deletes_only_what_it_read_under_our_label(read in any_zone(), desired in any_desired()) {
        let [me, other] = [ME, OTHER].map(|id| InstanceId::parse(id).unwrap());
        let seen = look(&read, Source::Dns);
        let plans = [register(&desired, &seen, Some(&other)), deregister(&me, &own(), &seen, &BTreeSet::new())];
        for plan in plans {
            let Decision::Change(ChangeBatch(changes)) = plan else { continue };
            let deletes = changes.iter().filter(|change| matches!(change, Change::Delete(_))).count();
            prop_assert!(deletes == 0 || matches!(seen.holder(&me), Holder::Me(_)));
        }
    }

    /// Whatever a host reads, it changes no other host's share, and none of its own without its own identifier.
    #[test]
    fn the_shares_of_others_stay(zone in any_zone(), desired in any_desired(), bar in any::<bool>()) {
        let [me, other] = [ME, OTHER].map(|id| InstanceId::parse(id).unwrap());
        for source in [Source::Dns, Source::Api] {
            let mut seen = look(&zone, source);
            seen.bar = bar.then(|| "no room".to_owned());
            let planned = register(&desired, &seen, Some(&other));
            for plan in [planned.clone(), deregister(&me, &own(), &seen, &BTreeSet::new())] {
                let Decision::Change(ChangeBatch(changes)) = plan else { continue };
                let is_mine = |share: &Share| share.instance == me;
                prop_assert!(changes.iter().all(|change| change.set().share.as_ref().is_none_or(is_mine)));
            }
            if bar && let Decision::Change(ChangeBatch(changes)) = planned {
                let creates = |change: &Change| matches!(change, Change::Create(set) if set.share.is_some());
                prop_assert!(!changes.iter().any(creates));
            }
        }
    }
    /// A successor's batch gets through only against the very owner that is proven gone, whoever has the name by then.
    #[test]
    fn a_succession_takes_the_name_of_the_one_that_is_gone_and_of_no_other(
        read in any_zone(), now in any_zone(), desired in any_desired(),
    ) {
        let [me, other] = [ME, OTHER].map(|id| InstanceId::parse(id).unwrap());
        for source in [Source::Dns, Source::Api] {
            let seen = look(&read, source);
            let Decision::Change(batch) = register(&desired, &seen, Some(&other)) else { continue };
            let foreign = match look(&now, Source::Api).holder(&me) {
                Holder::Other(Refusal::Owner(owner)) => owner.instance != other || owner.share.is_some(),
                Holder::Other(refusal) => refusal != Refusal::NoOwner,
                Holder::Nobody | Holder::Me(_) => false,
            };
            prop_assert!(!foreign || apply(&now, &batch).is_none());
            let takes = matches!(seen.holder(&me), Holder::Other(_));
            prop_assert!(!takes || source == Source::Api, "DNS is no ground for it");
        }
    }
}
