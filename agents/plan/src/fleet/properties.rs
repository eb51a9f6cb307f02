//! What holds for every fleet.

use proptest::prelude::*;

use super::*;

/// A host as the sources tell of it.
#[derive(Clone, Debug)]
struct Truth {
    ec2: &'static str,
    group: &'static str,
    name: &'static str,
    entry: &'static str,
}

fn truths() -> impl Strategy<Value = Vec<Truth>> {
    let truth = (
        prop::sample::select(vec!["running", "running", "stopped", "pending", "terminated", "absent"]),
        prop::sample::select(vec!["none", "not listed", "InService", "Terminating:Wait", "Standby", "Odd"]),
        prop::sample::select(vec![
            "none",
            "right",
            "wrong address",
            "another's",
            "without a TXT",
            "young",
            "of another account",
            "of another region",
        ]),
        prop::sample::select(vec!["none", "enabled", "enabled, offline", "cordoned", "odd", "two"]),
    );
    let truth = truth.prop_map(|(ec2, group, name, entry)| Truth { ec2, group, name, entry });
    prop::collection::vec(truth, 0..6)
}

fn number(number: usize) -> InstanceId {
    id(&format!("i-{:017x}", number + 100))
}

/// Returns what the sources say of these hosts, and the instances that they name.
fn fleet_of(truths: &[Truth]) -> (Observations, BTreeSet<InstanceId>) {
    let (mut seen, mut named) = (alone(), BTreeSet::from([id(ME)]));
    for (index, truth) in truths.iter().enumerate() {
        let mut one = alone();
        with_group(&mut one, truth.group);
        with_name(&mut one, truth.name);
        with_entries(&mut one, truth.entry.replace("two", "enabled + enabled").as_str());
        with_ec2(&mut one, truth.ec2, truth.group);
        // Each host has an id of its own.
        let (host, name) = (number(index), name_of(&number(index)));
        let renamed = |at: &Name| if *at == name_of(&id(HOST)) { name.clone() } else { at.clone() };
        for (at, mut there) in one.zone.unwrap() {
            there.label = there.label.map(|mut label| {
                let text = |text: &String| text.replace(HOST, host.as_str());
                label.values = label.values.iter().map(text).collect();
                label
            });
            seen.zone.as_mut().unwrap().insert(renamed(&at), there);
        }
        let entries =
            one.entries.unwrap().unwrap().into_iter().filter(|entry| entry.host != name_of(&id(ME)));
        let entries = entries.map(|entry| Listed { host: renamed(&entry.host), ..entry });
        seen.entries.as_mut().unwrap().as_mut().unwrap().extend(entries);
        let of_host = |at: &InstanceId| if *at == id(HOST) { host.clone() } else { at.clone() };
        seen.instances
            .as_mut()
            .unwrap()
            .extend(one.instances.unwrap().iter().map(|(at, it)| (of_host(at), it.clone())));
        seen.members
            .as_mut()
            .unwrap()
            .extend(one.members.unwrap().iter().map(|(at, it)| (of_host(at), it.clone())));
        let is_of_group = !matches!(truth.group, "none" | "not listed")
            || truth.group == "not listed" && !matches!(truth.ec2, "terminated" | "absent");
        if is_of_group || truth.name != "none" || truth.entry != "none" {
            named.insert(host);
        }
        if truth.name == "another's" {
            named.insert(id(OTHER));
        }
    }
    (seen, named)
}

proptest! {
    #[test]
    fn every_instance_that_a_source_names_has_one_row(truths in truths()) {
        let (seen, named) = fleet_of(&truths);
        let fleet = judge(&sweeper(), &seen, NOW);
        let rows: Vec<InstanceId> = fleet.rows.iter().map(|row| row.instance.clone()).collect();
        prop_assert_eq!(rows, named.into_iter().collect::<Vec<_>>());
    }

    /// What a host is without a source, it is not because of that.
    #[test]
    fn a_source_that_is_unknown_makes_no_host_in_order_or_wrong(truths in truths(), mask in 1u8..16) {
        let (seen, _) = fleet_of(&truths);
        let whole = judge(&sweeper(), &seen, NOW);
        let is_hidden = |bit: u8| mask & bit != 0;
        let masked = Observations {
            zone: if is_hidden(1) { Err(unasked()) } else { seen.zone.clone() },
            entries: if is_hidden(2) { Some(Err(unasked())) } else { seen.entries.clone() },
            instances: if is_hidden(4) { Err(unasked()) } else { seen.instances.clone() },
            members: if is_hidden(8) { Err(unasked()) } else { seen.members },
        };
        let fleet = judge(&sweeper(), &masked, NOW);
        for row in &fleet.rows {
            let full = whole.rows.iter().find(|full| full.instance == row.instance);
            prop_assert!(full.is_some(), "it is named by what is known: {row:?}");
            let full = full.unwrap();
            match row.standing {
                Standing::InOrder => {
                    // Auto Scaling has nothing to say of an instance without its tag.
                    prop_assert!(mask == 8 && row.place == Place::NoGroup, "{row:?}");
                    prop_assert_eq!(full.standing, Standing::InOrder);
                }
                Standing::Wrong | Standing::Debris => {
                    prop_assert!(matches!(full.standing, Standing::Wrong | Standing::Debris), "{row:?}\n{full:?}");
                }
                Standing::Out | Standing::Unknown => {}
            }
        }
    }
}
