//! The table of the fleet, and what holds for every fleet.

use super::*;
use crate::dns::Source;
use crate::instance::Role;
use crate::ownership::Owner;
use crate::record::RecordSet;
use crate::sweep::tests::{ACCOUNT, ADDRESS, ME, NOW, REGION, id};
use crate::table;

#[path = "properties.rs"]
mod properties;

const HOST: &str = "i-0fedcba9876543210";
const OTHER: &str = "i-00000000000000bad";

fn sweeper() -> Sweeper {
    Sweeper { shared: None, ..crate::sweep::tests::sweeper() }
}

fn name_of(instance: &InstanceId) -> Name {
    Name::host(&format!("vc-{}.example.org", instance.digits())).unwrap()
}

fn owner(instance: &InstanceId) -> Owner {
    let owner = Owner::new(Role::Bbb, instance.clone(), REGION.into(), NOW - 7200);
    Owner { account: Some(ACCOUNT.into()), ..owner }
}

fn observed(name: &Name, address: &str, owner: Option<Owner>) -> Observed {
    Observed {
        addresses: vec![RecordSet::a(name.clone(), 60, address.parse().unwrap())],
        label: owner.map(|owner| RecordSet::txt(name.ownership(), 60, owner.to_string())),
        ..Observed::nothing(Source::Api)
    }
}

fn instance(state: Seen, address: &str, group: Option<&str>) -> Instance {
    let ipv4: Ipv4Addr = address.parse().unwrap();
    Instance {
        state,
        availability_zone: Some("eu-central-1a".into()),
        launched: Some(NOW - 9000),
        group: group.map(str::to_owned),
        ipv4: Some(ipv4),
        ipv6: BTreeSet::new(),
        addresses: BTreeSet::from([IpAddr::V4(ipv4)]),
    }
}

fn member(state: &str) -> Member {
    Member { group: "bbb".into(), state: state.into(), protected: Some(false), availability_zone: None }
}

fn listed(host: &Name, state: State, online: bool, load: Option<f64>) -> Listed {
    Listed { host: host.clone(), values: Ok(Values { state, online, load }) }
}

/// Returns a fleet of the asking host alone, which is in order.
fn alone() -> Observations {
    let (me, mine) = (id(ME), name_of(&id(ME)));
    let own = "203.0.113.1";
    Observations {
        zone: Ok(Zone::from([(mine.clone(), observed(&mine, own, Some(owner(&me))))])),
        entries: Some(Ok(vec![listed(&mine, State::Enabled, true, Some(0.0))])),
        instances: Ok(BTreeMap::from([(
            me.clone(),
            instance(Seen::There("running".into()), own, Some("bbb")),
        )])),
        members: Ok(BTreeMap::from([(me, member("InService"))])),
    }
}

fn unasked() -> String {
    "it could not be asked".to_owned()
}

fn with_ec2(seen: &mut Observations, cell: &str, group: &str) {
    let tag = (group != "none").then_some("bbb");
    let state = match cell {
        "unknown" => return seen.instances = Err(unasked()),
        "absent" => return,
        "terminated" => Seen::Terminated,
        state => Seen::There(state.into()),
    };
    seen.instances.as_mut().unwrap().insert(id(HOST), instance(state, ADDRESS, tag));
}

fn with_group(seen: &mut Observations, cell: &str) {
    match cell {
        "none" | "not listed" => {}
        "unknown" => seen.members = Err(unasked()),
        state => drop(seen.members.as_mut().unwrap().insert(id(HOST), member(state))),
    }
}

fn with_name(seen: &mut Observations, cell: &str) {
    let (host, name) = (id(HOST), name_of(&id(HOST)));
    let own = owner(&host);
    let (address, owner) = match cell {
        "none" => return,
        "unknown" => return seen.zone = Err(unasked()),
        "wrong address" => ("203.0.113.99", Some(own)),
        "another's" => (ADDRESS, Some(owner(&id(OTHER)))),
        "without a TXT" => (ADDRESS, None),
        "young" => (ADDRESS, Some(Owner { since: NOW - 60, ..own })),
        "of another account" => (ADDRESS, Some(Owner { account: Some("999999999999".into()), ..own })),
        "of another region" => (ADDRESS, Some(Owner { region: "us-east-1".into(), ..own })),
        "right" | "two" => (ADDRESS, Some(own)),
        unknown => panic!("unknown cell {unknown}"),
    };
    let zone = seen.zone.as_mut().unwrap();
    if cell == "two" {
        let second = Name::host("old.example.org").unwrap();
        zone.insert(second.clone(), observed(&second, ADDRESS, owner.clone()));
    }
    zone.insert(name.clone(), observed(&name, address, owner));
}

fn with_entries(seen: &mut Observations, cell: &str) {
    let name = name_of(&id(HOST));
    let entries = match cell {
        "none" => return,
        "unknown" => return seen.entries = Some(Err(unasked())),
        "not used" => return seen.entries = None,
        "odd" => vec![Listed { host: name, values: Err("an unknown state".into()) }],
        these => these
            .split(" + ")
            .map(|entry| match entry {
                "enabled" => listed(&name, State::Enabled, true, Some(3.0)),
                "enabled, offline" => listed(&name, State::Enabled, false, None),
                "enabled, no load" => listed(&name, State::Enabled, true, None),
                "cordoned" => listed(&name, State::Cordoned, true, None),
                "disabled" => listed(&name, State::Disabled, true, None),
                unknown => panic!("unknown cell {unknown}"),
            })
            .collect(),
    };
    seen.entries.as_mut().unwrap().as_mut().unwrap().extend(entries);
}

fn row<'a>(fleet: &'a Fleet, instance: &str) -> &'a Row {
    let mut rows = fleet.rows.iter().filter(|row| row.instance == id(instance));
    let row = rows.next().unwrap_or_else(|| panic!("no row for {instance}: {fleet:?}"));
    assert_eq!(rows.next(), None);
    row
}

#[test]
fn by_the_table() {
    for [ec2, group, name, entry, standing, words] in table::rows(include_str!("../tables/fleet.md")) {
        let mut seen = alone();
        with_group(&mut seen, &group);
        with_name(&mut seen, &name);
        with_entries(&mut seen, &entry);
        with_ec2(&mut seen, &ec2, &group);
        let fleet = judge(&sweeper(), &seen, NOW);
        let row = row(&fleet, HOST);
        let case = format!("{ec2} | {group} | {name} | {entry}: {row:?}");
        assert_eq!(row.standing.as_str().replace('-', " "), standing, "{case}");
        match words.as_str() {
            "" => assert_eq!(row.words, [""; 0], "{case}"),
            words => assert!(row.words.iter().any(|line| line.contains(words)), "{words:?}: {case}"),
        }
    }
}

#[test]
fn the_owner_of_anothers_name_is_told_too() {
    let mut seen = alone();
    with_name(&mut seen, "another's");
    let there = instance(Seen::There("running".into()), "203.0.113.9", None);
    seen.instances.as_mut().unwrap().insert(id(OTHER), there);
    let fleet = judge(&sweeper(), &seen, NOW);
    assert_eq!(row(&fleet, OTHER).standing, Standing::Wrong);
    assert_eq!(row(&fleet, OTHER).name, Some(name_of(&id(HOST))), "the only one that it has");
}

#[test]
fn an_ec2_that_does_not_know_this_host_is_not_believed() {
    let mut seen = alone();
    with_name(&mut seen, "right");
    seen.instances.as_mut().unwrap().remove(&id(ME));
    let fleet = judge(&sweeper(), &seen, NOW);
    assert!(fleet.disbelieved.is_some());
    assert_eq!(row(&fleet, HOST).standing, Standing::Unknown, "not debris");
}

#[test]
fn entries_of_others_are_counted_only_where_the_zone_is_known() {
    let mut seen = alone();
    let foreign = Name::host("bbb.elsewhere.org").unwrap();
    seen.entries.as_mut().unwrap().as_mut().unwrap().push(listed(&foreign, State::Enabled, true, None));
    let fleet = judge(&sweeper(), &seen, NOW);
    assert_eq!((fleet.others, fleet.rows.len()), (Some(1), 1));
    seen.zone = Err(unasked());
    assert_eq!(judge(&sweeper(), &seen, NOW).others, None);
}

#[test]
fn instances_of_no_group_of_the_fleet_are_no_hosts() {
    let mut seen = alone();
    let instances = seen.instances.as_mut().unwrap();
    let running = || Seen::There("running".into());
    instances.insert(id(HOST), instance(running(), ADDRESS, Some("web")));
    instances.insert(id(OTHER), instance(running(), "203.0.113.9", Some("bbb")));
    assert_eq!(groups(&sweeper(), &seen), BTreeSet::from(["bbb".to_owned()]));
    let fleet = judge(&sweeper(), &seen, NOW);
    assert_eq!(fleet.rows.len(), 2, "{fleet:?}");
    assert_eq!(row(&fleet, OTHER).standing, Standing::Out, "its group does not list it");
}

#[test]
fn the_whole() {
    let mut seen = alone();
    let verdict = |seen: &Observations| judge(&sweeper(), seen, NOW).verdict(seen);
    assert_eq!(verdict(&seen), Verdict::InOrder);
    for (cell, expected) in [("of another account", Verdict::CannotTell), ("wrong address", Verdict::Wrong)] {
        let mut seen = seen.clone();
        with_name(&mut seen, cell);
        if cell == "wrong address" {
            with_ec2(&mut seen, "running", "none");
        }
        assert_eq!(verdict(&seen), expected, "{cell}");
        seen.members = Err(unasked());
        assert_eq!(verdict(&seen), Verdict::CannotTell, "{cell}, and a source is silent");
    }
    seen.entries.as_mut().unwrap().as_mut().unwrap().clear();
    let fleet = judge(&sweeper(), &seen, NOW);
    let totals = fleet.totals(&seen);
    assert_eq!((totals.hosts, totals.wrong, totals.taking, totals.load), (1, 1, Some(0), Some(0.0)));
    seen.entries = Some(Err(unasked()));
    let totals = judge(&sweeper(), &seen, NOW).totals(&seen);
    assert_eq!((totals.unknown, totals.taking, totals.load), (1, None, None), "unknown is never zero");
}
