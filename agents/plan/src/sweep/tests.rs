//! The tables of the sweep, and its batches.

use super::*;
use crate::dns::{ChangeBatch, Source};
use crate::share::SharedName;
use crate::table;

#[path = "properties.rs"]
mod properties;

pub(crate) const ME: &str = "i-0123456789abcdef0";
const OTHER: &str = "i-0fedcba9876543210";
const THIRD: &str = "i-00000000000000003";
pub(crate) const REGION: &str = "eu-central-1";
const ELSEWHERE: &str = "us-east-1";
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ADDRESS: &str = "203.0.113.7";

pub(crate) fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).unwrap()
}

pub(crate) fn sweeper() -> Sweeper {
    Sweeper {
        me: id(ME),
        role: Role::Bbb,
        region: REGION.into(),
        account: Some(ACCOUNT.into()),
        domain: Name::host("example.org").unwrap(),
        template: Some(HostTemplate::parse("vc-{instance}").unwrap()),
        shared: Some(shared()),
        grace: 3600,
    }
}

fn shared() -> Name {
    Name::host("shared.example.org").unwrap()
}

fn share_of(instance: &str, addresses: &[&str]) -> Vec<RecordSet> {
    let own = observed(&name_of(instance), addresses.first().copied(), addresses.get(1).copied(), None);
    SharedName { name: shared(), health_check: None }.share(&own.addresses, &id(instance))
}

fn name_of(instance: &str) -> Name {
    Name::host(&format!("vc-{}.example.org", instance.trim_start_matches("i-"))).unwrap()
}

fn owner(instance: &str) -> Owner {
    let owner = Owner::new(Role::Bbb, id(instance), REGION.into(), NOW - 7200);
    Owner { account: Some(ACCOUNT.into()), ..owner }
}

fn observed(name: &Name, a: Option<&str>, aaaa: Option<&str>, label: Option<String>) -> Observed {
    let a = a.map(|address| RecordSet::a(name.clone(), 60, address.parse().unwrap()));
    let aaaa = aaaa.map(|address| RecordSet::aaaa(name.clone(), 60, address.parse().unwrap()));
    Observed {
        addresses: a.into_iter().chain(aaaa).collect(),
        label: label.map(|text| RecordSet::txt(name.ownership(), 60, text)),
        ..Observed::nothing(Source::Api)
    }
}

/// Returns one look at one instance of a region, as a cell of a table names it. Where that is not this host's region,
/// this host's does not know the instance, unless the cell says "here".
fn look(instance: &str, region: &str, cell: &str) -> Option<Look> {
    let (cell, here) = match cell.strip_suffix(" here").and_then(|cell| cell.split_once(", ")) {
        Some((cell, here)) => (cell, Seen::There(here.to_owned())),
        None => (cell, Seen::Absent),
    };
    let seen = match cell {
        "nothing" => return None,
        "denied" => {
            let silent = BTreeMap::from([(region.to_owned(), "denied".to_owned())]);
            return Some(Look { silent, ..Look::default() });
        }
        "terminated" => Seen::Terminated,
        "absent" | "absent, as is this host" => Seen::Absent,
        state => Seen::There(state.to_owned()),
    };
    let me = match cell {
        "absent, as is this host" => Seen::Absent,
        _ => Seen::There("running".into()),
    };
    // In this order, because the region may be this host's.
    let seen = [(REGION, instance, here), (REGION, ME, me), (region, instance, seen)];
    let instances = seen.map(|(region, instance, seen)| ((region.to_owned(), id(instance)), seen)).into();
    Some(Look { instances, ..Look::default() })
}

fn said(instance: &str, first: &str, then: &str) -> Evidence {
    said_in(REGION, instance, first, then)
}

fn said_in(region: &str, instance: &str, first: &str, then: &str) -> Evidence {
    let looks = [first, then].into_iter().filter_map(|cell| look(instance, region, cell)).collect();
    Evidence { looks, holders: BTreeMap::from([(ADDRESS.parse().unwrap(), Ok(BTreeSet::new()))]) }
}

fn words(finding: &Finding, gone: &str) -> String {
    in_words(&finding.verdict, gone)
}

fn in_words(verdict: &Conclusion, gone: &str) -> String {
    match verdict {
        Conclusion::Ask => "ask".into(),
        Conclusion::AskAgain => "ask again".into(),
        Conclusion::Gone(_) => gone.into(),
        Conclusion::Leave(reason) => format!("leave: {}", reason_words(reason)),
    }
}

fn reason_words(reason: &Reason) -> String {
    match reason {
        Reason::Own => "this host's own".into(),
        Reason::Young => "young".into(),
        Reason::There(state) => state.clone(),
        Reason::OtherAccount(account) => {
            assert_eq!(account, "999999999999");
            "other account".into()
        }
        Reason::UnknownAccount => "unknown account".into(),
        Reason::NoRegion => "no region".into(),
        Reason::Elsewhere(region) => {
            assert_eq!(region, ELSEWHERE);
            "elsewhere".into()
        }
        Reason::Silent { region, why } => {
            assert_eq!(region, REGION);
            why.clone()
        }
        Reason::Blind => "blind".into(),
        Reason::Misnamed(instance) => {
            assert_eq!(*instance, id(THIRD));
            "misnamed".into()
        }
        Reason::Held(address, instance) => {
            assert_eq!((address.to_string().as_str(), instance), (ADDRESS, &id(THIRD)));
            "held".into()
        }
        Reason::NotKnown(..) => "not known".into(),
        Reason::Unusual => "no name of ours".into(),
        Reason::Others(Refusal::NoOwner) => "no owner".into(),
        Reason::Others(Refusal::Alien(what)) => what.clone(),
        Reason::Others(Refusal::Owner(_)) => "its owner".into(),
        Reason::Others(other) => panic!("{other:?}"),
    }
}

#[test]
fn instances_by_the_table() {
    for [label, written, first, then, expected] in table::rows(include_str!("../tables/sweep-instances.md")) {
        let (mut owner, mut name) = (owner(OTHER), name_of(OTHER));
        match label.as_str() {
            "this host's own" => (owner.instance, name) = (id(ME), name_of(ME)),
            "i-other's" => {}
            "i-other's, without the account" => owner.account = None,
            "i-other's, of another account" => owner.account = Some("999999999999".into()),
            "i-other's, of another region" => owner.region = ELSEWHERE.into(),
            "i-other's, of a region that is none" => owner.region = "x.example.com/".into(),
            "i-other's, at the name of i-third" => name = name_of(THIRD),
            unknown => panic!("unknown cell {unknown}"),
        }
        owner.since = match written.as_str() {
            "long ago" => NOW - 3600,
            "just now" => NOW - 3599,
            "four minutes from now" => NOW + 240,
            "next year" => NOW + 365 * 86_400,
            "not said" => 0,
            unknown => panic!("unknown cell {unknown}"),
        };
        let zone =
            Zone::from([(name.clone(), observed(&name, Some(ADDRESS), None, Some(owner.to_string())))]);
        let region = if owner.region == ELSEWHERE { ELSEWHERE } else { REGION };
        let findings = sweeper().hosts(&zone, &said_in(region, OTHER, &first, &then), NOW);
        assert_eq!(findings.len(), 1);
        assert_eq!(words(&findings[0], "delete"), expected, "{label}, {written}, {first}, {then}");
    }
}

/// The fixed name of this host, with the former owner's records.
fn succession(owner: &Owner, first: &str, then: &str, holder: &str) -> Conclusion {
    let name = Name::host("meet.example.org").unwrap();
    let seen = observed(&name, Some(ADDRESS), None, Some(owner.to_string()));
    let mut evidence = said(OTHER, first, then);
    let holders = match holder {
        "nobody's" => Ok(BTreeSet::new()),
        "this host's" => Ok(BTreeSet::from([id(ME)])),
        "i-third's" => Ok(BTreeSet::from([id(ME), id(THIRD)])),
        "not known" => Err("denied".into()),
        unknown => panic!("unknown cell {unknown}"),
    };
    evidence.holders.insert(ADDRESS.parse().unwrap(), holders);
    Sweeper { template: None, ..sweeper() }.succession(owner, &seen, &evidence, NOW)
}

#[test]
fn succession_by_the_table() {
    let rows = table::rows(include_str!("../tables/succession.md"));
    for [former, written, first, then, holder, expected] in rows {
        let mut owner = owner(OTHER);
        match former.as_str() {
            "i-other" => {}
            "i-other, without the account" => owner.account = None,
            "i-other, of another account" => owner.account = Some("999999999999".into()),
            "i-other, of another region" => owner.region = ELSEWHERE.into(),
            "i-other, of the other role" => owner.role = "turn".into(),
            "i-other, with a share" => {
                owner.share = Some(SharedName { name: shared(), health_check: None });
            }
            unknown => panic!("unknown cell {unknown}"),
        }
        owner.since = match written.as_str() {
            "long ago" => NOW - 3600,
            "just now" => NOW - 3599,
            "next year" => NOW + 365 * 86_400,
            unknown => panic!("unknown cell {unknown}"),
        };
        let decision = succession(&owner, &first, &then, &holder);
        assert_eq!(
            in_words(&decision, "succeed"),
            expected,
            "{former}, {written}, {first}, {then}, {holder}"
        );
    }
}

#[test]
fn records_by_the_table() {
    for [addresses, label, expected] in table::rows(include_str!("../tables/sweep-records.md")) {
        let name = name_of(OTHER);
        let mut evidence = said(OTHER, "terminated", "absent");
        evidence.holders.insert("2001:db8::7".parse().unwrap(), Ok(BTreeSet::new()));
        let (a, aaaa) = match addresses.as_str() {
            "A and AAAA" => (Some(ADDRESS), Some("2001:db8::7")),
            "none" | "a CNAME" => (None, None),
            _ => (Some(ADDRESS), None),
        };
        let text = match label.as_str() {
            "the gone host's" => Some(owner(OTHER).to_string()),
            "the gone host's, of the other role" => {
                Some(Owner { role: "turn".into(), ..owner(OTHER) }.to_string())
            }
            "unreadable" => Some("v=spf1 -all".into()),
            "none" => None,
            unknown => panic!("unknown cell {unknown}"),
        };
        let mut zone = Zone::from([(name.clone(), observed(&name, a, aaaa, text))]);
        let holder = evidence.holders.get_mut(&ADDRESS.parse::<IpAddr>().unwrap()).unwrap();
        match addresses.as_str() {
            "A of a living host with a name of its own" => {
                *holder = Ok(BTreeSet::from([id(THIRD)]));
                let third = name_of(THIRD);
                let there = observed(&third, Some(ADDRESS), None, Some(owner(THIRD).to_string()));
                zone.insert(third, there);
            }
            "A of a living host without any other name" => {
                *holder = Ok(BTreeSet::from([id(THIRD)]));
                // Another host's name with that address does not count.
                let foreign = Name::host("www.example.org").unwrap();
                zone.insert(foreign.clone(), observed(&foreign, Some(ADDRESS), None, None));
            }
            "A about which EC2 could not be asked" => *holder = Err("denied".into()),
            "A about which EC2 was not asked" => evidence.holders.clear(),
            "a CNAME" => zone.get_mut(&name).unwrap().alien = Some("a CNAME".into()),
            "A and AAAA" | "only A" | "none" => {}
            unknown => panic!("unknown cell {unknown}"),
        }
        let findings = sweeper().hosts(&zone, &evidence, NOW);
        let finding = findings.iter().find(|finding| finding.name == name);
        let decision = finding.map_or("not looked at".into(), |finding| {
            let deletes = finding.sets.iter().map(|set| format!("DELETE {}", set.kind));
            words(finding, &deletes.collect::<Vec<_>>().join(", "))
        });
        assert_eq!(decision, expected, "{addresses}, {label}");
    }
}

#[test]
fn shares_by_the_table() {
    for [share, own, first, then, expected] in table::rows(include_str!("../tables/sweep-shares.md")) {
        let mut evidence = said(OTHER, &first, &then);
        evidence.holders.insert("2001:db8::7".parse().unwrap(), Ok(BTreeSet::new()));
        let mut there =
            Observed { alien: Some("a routing policy's A".into()), ..Observed::nothing(Source::Api) };
        let mut addresses = vec![ADDRESS, "2001:db8::7"];
        let mut sweeper = sweeper();
        match share.as_str() {
            "none" => addresses.clear(),
            "only A" => addresses.truncate(1),
            "A and AAAA" | "A and AAAA, of a name that is not this host's" => {}
            "A whose address a living host has" => {
                addresses.truncate(1);
                evidence.holders.clear();
            }
            unknown => panic!("unknown cell {unknown}"),
        }
        if share.ends_with("not this host's") {
            sweeper.shared = None;
        }
        there.shares = share_of(OTHER, &addresses);
        there.shares.extend(share_of(THIRD, &["203.0.113.8"]));
        let named = Some(SharedName { name: shared(), health_check: None });
        let label = match own.as_str() {
            "none" => None,
            "names the share" => Some(Owner { share: named, ..owner(OTHER) }),
            "names no share" => Some(owner(OTHER)),
            "of the other role" => Some(Owner { role: "turn".into(), ..owner(OTHER) }),
            unknown => panic!("unknown cell {unknown}"),
        };
        let mut zone = Zone::from([(shared(), there)]);
        let third = name_of(THIRD);
        zone.insert(
            third.clone(),
            observed(&third, Some("203.0.113.8"), None, Some(owner(THIRD).to_string())),
        );
        if let Some(label) = label {
            let name = name_of(OTHER);
            zone.insert(name.clone(), observed(&name, None, None, Some(label.to_string())));
        }
        let mut findings = sweeper.hosts(&zone, &evidence, NOW);
        findings.extend(sweeper.shares(&zone, &evidence));
        let of_other: Vec<_> = findings.iter().filter(|found| found.instance == Some(id(OTHER))).collect();
        let decision = match of_other.as_slice() {
            [] => "not looked at".to_owned(),
            [finding] => {
                let kind = |set: &RecordSet| match set.share {
                    Some(_) => format!("DELETE share {}", set.kind),
                    None => format!("DELETE {}", set.kind),
                };
                let deletes: Vec<String> = finding.sets.iter().map(kind).collect();
                words(finding, &deletes.join(", "))
            }
            more => panic!("{more:?}"),
        };
        assert_eq!(decision, expected, "{share}, {own}, {first}, {then}");
        // A share of a living host is never among them.
        let deleted =
            findings.iter().filter(|finding| finding.verdict.is_gone()).flat_map(|found| &found.sets);
        assert!(deleted.flat_map(|set| &set.share).all(|share| share.instance == id(OTHER)));
    }
}

#[test]
fn entries_by_the_table() {
    for [host, records, first, then, expected] in table::rows(include_str!("../tables/sweep-entries.md")) {
        let (name, instance) = match host.as_str() {
            "made for i-other" => (name_of(OTHER), OTHER),
            "made for this host" => (name_of(ME), ME),
            "below the domain, made for nobody" => (Name::host("meet.example.org").unwrap(), OTHER),
            "outside the domain" => (Name::host("vc-0fedcba9876543210.example.com").unwrap(), OTHER),
            unknown => panic!("unknown cell {unknown}"),
        };
        let zone = match records.as_str() {
            "none" => Zone::new(),
            "an A without ownership TXT" => {
                Zone::from([(name.clone(), observed(&name, Some(ADDRESS), None, None))])
            }
            "an A of i-other's" => {
                let there = observed(&name, Some(ADDRESS), None, Some(owner(OTHER).to_string()));
                Zone::from([(name.clone(), there)])
            }
            unknown => panic!("unknown cell {unknown}"),
        };
        let evidence = said(instance, &first, &then);
        let findings = sweeper().entries(&zone, &BTreeSet::from([name.clone()]), &evidence);
        let decision = match findings.as_slice() {
            [finding] => {
                assert_eq!(finding.sets, []);
                words(finding, "remove")
            }
            [] if sweeper().hosts(&zone, &evidence, NOW).iter().any(|host| host.verdict.is_gone()) => {
                "goes with its record sets".into()
            }
            [] => "not looked at".into(),
            more => panic!("{more:?}"),
        };
        assert_eq!(decision, expected, "{host}, {records}, {first}, {then}");
    }
}

#[test]
fn only_what_is_open_is_asked() {
    let names = [ME, OTHER, THIRD].map(name_of);
    let mut labels = [ME, OTHER, THIRD].map(owner);
    labels[2].since = NOW;
    let zone: Zone = names
        .iter()
        .zip(labels)
        .map(|(name, owner)| {
            (name.clone(), observed(name, Some(ADDRESS), Some("2001:db8::7"), Some(owner.to_string())))
        })
        .collect();
    let findings = sweeper().hosts(&zone, &Evidence::default(), NOW);
    let asked = BTreeSet::from([id(OTHER), id(ME)]);
    assert_eq!(sweeper().questions(&findings), BTreeMap::from([(REGION.to_owned(), asked)]));
    let open = findings.iter().find(|finding| finding.verdict.is_open()).unwrap();
    let elsewhere = [Finding { region: ELSEWHERE.into(), ..open.clone() }];
    let here = (REGION.to_owned(), BTreeSet::from([id(ME), id(OTHER)]));
    let asked = BTreeMap::from([(ELSEWHERE.to_owned(), BTreeSet::from([id(OTHER)])), here]);
    assert_eq!(sweeper().questions(&elsewhere), asked);
    assert_eq!(sweeper().questions(&[]), BTreeMap::new());
    let asked = BTreeSet::from([ADDRESS, "2001:db8::7"].map(|text| text.parse().unwrap()));
    let here = (REGION.to_owned(), asked.clone());
    assert_eq!(sweeper().addresses(&findings), BTreeMap::from([here.clone()]));
    assert_eq!(sweeper().addresses(&elsewhere), BTreeMap::from([here, (ELSEWHERE.to_owned(), asked)]));
}

#[test]
fn a_host_with_a_fixed_name_knows_no_names_of_others_but_by_their_txt() {
    let sweeper = Sweeper { template: None, ..sweeper() };
    let evidence = said(OTHER, "terminated", "terminated");
    let found = sweeper.entries(&Zone::new(), &BTreeSet::from([name_of(OTHER)]), &evidence);
    assert_eq!(words(&found[0], "remove"), "leave: no name of ours");
    let name = name_of(OTHER);
    let zone = Zone::from([(name.clone(), observed(&name, None, None, Some(owner(OTHER).to_string())))]);
    assert!(sweeper.hosts(&zone, &evidence, NOW)[0].verdict.is_gone());
}

fn gone(number: usize, is_usual: bool) -> Finding {
    let instance = id(&format!("i-{number:017x}"));
    let name = name_of(instance.as_str());
    let label = Owner { instance: instance.clone(), ..owner(OTHER) }.to_string();
    let there = observed(&name, Some(ADDRESS), Some("2001:db8::7"), Some(label));
    let sets = there.addresses.into_iter().chain(there.label).collect();
    let (instance, verdict) = (Some(instance), Conclusion::Gone(Seen::Absent));
    Finding { name, instance, region: REGION.into(), verdict, sets, is_usual }
}

#[test]
fn many_values_are_spread_over_batches_too() {
    let many = (0..20).map(|number| format!("1.1.1.{number}")).collect();
    let host = |number| {
        let mut host = gone(number, true);
        host.sets[0].values = BTreeSet::clone(&many);
        host
    };
    let hosts: Vec<Finding> = (0..100).map(host).collect();
    for (_, ChangeBatch(changes)) in batches(&hosts.iter().collect::<Vec<_>>(), false) {
        let values: usize = changes.iter().map(|change| change.set().values.len()).sum();
        assert!(values <= 1000, "{values}");
    }
}

#[test]
fn hosts_share_batches_within_the_limits_of_route_53() {
    let hosts: Vec<Finding> = (0..500).map(|number| gone(number, true)).collect();
    let hosts: Vec<&Finding> = hosts.iter().collect();
    let batches = batches(&hosts, false);
    for (_, ChangeBatch(changes)) in &batches {
        let characters: usize = changes
            .iter()
            .flat_map(|change| &change.set().values)
            .map(|value| value.len() + if value.contains('=') { 2 } else { 0 })
            .sum();
        assert!(changes.len() <= 1000 && characters <= 32_000, "{} {characters}", changes.len());
        assert_eq!(changes.len() % 3, 0, "a host's record sets stay together");
    }
    assert_eq!(batches.iter().map(|(hosts, _)| hosts.len()).sum::<usize>(), 500);
    // 500 hosts are 1,500 record sets, which come on five pages of 300.
    assert!(batches.len() <= 5 + 1, "{}", batches.len());
    assert_eq!(super::batches(&hosts, true).len(), 500);
}

#[test]
fn an_unusual_name_has_a_batch_of_its_own() {
    let hosts = [gone(1, true), gone(2, true), gone(3, false), gone(4, true), gone(5, true)];
    let hosts: Vec<&Finding> = hosts.iter().collect();
    let sizes: Vec<usize> = batches(&hosts, false).iter().map(|(hosts, _)| hosts.len()).collect();
    assert_eq!(sizes, [2, 1, 2]);
}
