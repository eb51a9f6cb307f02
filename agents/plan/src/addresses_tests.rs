use proptest::prelude::*;

use super::*;
use crate::table;

const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const PUBLIC: Own = Own { announced: Ipv4Addr::new(203, 0, 113, 99), private: PRIVATE };
const INSIDE: Own = Own { announced: PRIVATE, private: PRIVATE };

fn reading(place: Place, cell: &str) -> Reading {
    let value = |text: &str| Value { place, text: text.to_owned() };
    match cell {
        "nothing, or only in a comment" => Reading::Values(Vec::new()),
        "no file" => Reading::Absent,
        "a file that cannot be read" => Reading::Unreadable("no permission".to_owned()),
        "nothing but a port" => Reading::Values(vec![value("")]),
        texts => Reading::Values(texts.split(", then ").map(value).collect()),
    }
}

fn word(standing: &Standing, with_wanted: bool) -> String {
    match standing {
        Standing::Right => "as it should be".to_owned(),
        Standing::Other { wanted, .. } if with_wanted => format!("other, wanted {wanted}"),
        Standing::Other { .. } => "other".to_owned(),
        Standing::NotOurs => "not ours".to_owned(),
        Standing::Unknown(_) => "not known".to_owned(),
    }
}

fn words(reading: &Reading, own: &Own) -> String {
    match reading {
        Reading::Absent => "nothing".to_owned(),
        Reading::Unreadable(_) => "not known".to_owned(),
        Reading::Values(values) => {
            let standings = judge(values, own);
            let words: Vec<String> =
                standings.iter().map(|standing| word(standing, values.len() == 1)).collect();
            if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
        }
    }
}

#[test]
fn places_by_the_table() {
    let mut seen = Vec::new();
    for [key, cell, public, inside] in table::rows(include_str!("tables/addresses.md")) {
        let place = Place::of_key(&key).unwrap_or_else(|| panic!("no place {key}"));
        seen.push(place);
        let reading = reading(place, &cell);
        for (own, expected) in [(PUBLIC, &public), (INSIDE, &inside)] {
            assert_eq!(words(&reading, &own), *expected, "{key}: {cell}, {own:?}");
            // The one value for the host says the same.
            let announced = Announced::of(&[(place.file(), reading.clone())], Ok(false), Some(&own));
            let expected = match announced {
                Announced::Other(_) => expected.contains("other"),
                Announced::Unknown(_) => expected.contains("not known") && !expected.contains("other"),
                Announced::Unfinished | Announced::Image(_) | Announced::OtherTurn => false,
                Announced::Right => expected.contains("as it should be") && !expected.contains("other"),
                Announced::Nothing(_) => {
                    ["as it should be", "other", "not known"].iter().all(|word| !expected.contains(word))
                }
            };
            assert!(expected, "{key}: {cell}, {own:?}: {announced:?}");
        }
    }
    for place in Place::ALL {
        assert!(seen.contains(&place), "the table has no row for {place:?}");
    }
}

fn other() -> Announced {
    let found = Ipv4Addr::new(203, 0, 113, 10);
    Announced::Other(vec![Difference { place: Place::ExternalRtp, found, wanted: PUBLIC.announced }])
}

#[test]
fn decisions_by_the_table() {
    for [on, announced, expected] in table::rows(include_str!("tables/addresses-decision.md")) {
        let on = match on.as_str() {
            "ignore" => OnAddresses::Ignore,
            "refuse" => OnAddresses::Refuse,
            "repair" => OnAddresses::Repair,
            unknown => panic!("{unknown}"),
        };
        let known = match announced.as_str() {
            "not looked at yet" => None,
            "the host's address" => Some(Announced::Right),
            "another address" => Some(other()),
            "not known" => Some(Announced::Unknown("no answer".to_owned())),
            "an unfinished repair" => Some(Announced::Unfinished),
            "an image's name" => Some(Announced::Image("bbb-image.invalid".to_owned())),
            "other TURN servers" => Some(Announced::OtherTurn),
            "nothing to compare" => Some(Announced::Nothing("no address")),
            unknown => panic!("{unknown}"),
        };
        let word = match decide(on, known.as_ref()) {
            Decision::Join => "may join",
            Decision::LookFirst => "look first",
            Decision::StayOut => "must not join",
            Decision::Repair => "must not join before a repair",
            Decision::RepairWhenIdle => "may join, and is repaired when idle",
        };
        assert_eq!(word, expected, "{on:?}, {announced}");
    }
}

/// A TURN host relays to nobody at its own public address. Other addresses that are denied stay.
#[test]
fn a_denied_address_follows_the_announced_one() {
    let value = |place, text: &str| Value { place, text: text.to_owned() };
    let external = value(Place::TurnExternal, "203.0.113.10");
    let denied = ["203.0.113.10", "198.51.100.1"].map(|text| value(Place::DeniedPeer, text));
    let standings = judge(&[external, denied[0].clone(), denied[1].clone()], &PUBLIC);
    let words: Vec<String> = standings.iter().map(|standing| word(standing, true)).collect();
    assert_eq!(words, ["other, wanted 203.0.113.99", "other, wanted 203.0.113.99", "not ours"]);
}

#[test]
fn what_is_not_known_is_never_right() {
    let unreadable = (File::Rules, Reading::Unreadable("no permission".to_owned()));
    let value = |text: &str| Value { place: Place::ExternalRtp, text: text.to_owned() };
    let right_vars = (File::Vars, Reading::Values(vec![value("203.0.113.99")]));
    let wrong = (File::Vars, Reading::Values(vec![value("203.0.113.10")]));
    let seen = Announced::of(&[right_vars, unreadable.clone()], Ok(false), Some(&PUBLIC));
    assert_eq!(seen, Announced::Unknown("/etc/iptables/rules.v4: no permission".to_owned()));
    assert_eq!(seen.wrong(), None);
    // A repair that was cut short may have left an unreadable file.
    let cut_short = Announced::of(std::slice::from_ref(&unreadable), Ok(true), Some(&PUBLIC));
    assert_eq!((cut_short.wrong(), &cut_short), (None, &Announced::Unfinished));
    assert_eq!(seen.clone().after(Some(&cut_short)), cut_short);
    let right = [(File::Vars, Reading::Values(vec![value("203.0.113.99")]))];
    assert_eq!(Announced::of(&right, Ok(true), Some(&PUBLIC)), Announced::Unfinished);
    let why = "no permission".to_owned();
    assert_eq!(Announced::of(&right, Err(why.clone()), Some(&PUBLIC)), Announced::Unknown(why));
    // A difference that is known counts whatever else is not.
    assert_eq!(Announced::of(&[unreadable, wrong], Ok(false), Some(&PUBLIC)), other());
    // A host that was found wrong is not let in by a look that shows nothing.
    assert_eq!(seen.clone().after(Some(&other())), other());
    assert_eq!(seen.clone().after(Some(&Announced::Right)), seen);
    assert_eq!(Announced::Right.after(Some(&other())), Announced::Right);
    assert!(matches!(Announced::of(&[], Ok(false), None), Announced::Nothing(_)));
    assert!(matches!(Announced::of(&[], Ok(false), Some(&PUBLIC)), Announced::Nothing(_)));
}

#[test]
fn a_difference_names_both_addresses_the_key_and_the_file() {
    let words = other().to_string();
    assert_eq!(
        words,
        "BBB announces 203.0.113.10, the host has 203.0.113.99 (external_rtp_ip in \
         /opt/freeswitch/etc/freeswitch/vars.xml)"
    );
    let Announced::Other(mut differences) = other() else { panic!() };
    differences.push(Difference { place: Place::ExternalSip, ..differences[0] });
    assert!(Announced::Other(differences.clone()).to_string().ends_with("vars.xml, and 1 more place)"));
    differences.push(Difference { place: Place::WsBinding, ..differences[0] });
    assert!(Announced::Other(differences).to_string().ends_with("vars.xml, and 2 more places)"));
}

#[test]
fn the_own_address_comes_before_the_turn_servers() {
    let unknown = || Err("no answer".to_owned());
    assert_eq!(Announced::Right.with_turn(Ok(true)), Announced::Right);
    assert_eq!(Announced::Right.with_turn(Ok(false)), Announced::OtherTurn);
    assert_eq!(Announced::Nothing("no address").with_turn(Ok(false)), Announced::OtherTurn);
    assert_eq!(Announced::Right.with_turn(unknown()), Announced::Unknown("no answer".to_owned()));
    for worse in [other(), Announced::Unfinished, Announced::Image("bbb-image.invalid".to_owned())] {
        assert_eq!(worse.clone().with_turn(Ok(false)), worse);
        assert_eq!(worse.clone().with_turn(unknown()), worse);
    }
    // The secret cannot be read any more: then nothing is known to be wrong.
    let seen = Announced::Right.with_turn(unknown());
    assert_eq!(seen.clone().after(Some(&Announced::OtherTurn)), seen);
}

proptest! {
    /// Where each wrong address is replaced by the wanted one, nothing is wrong any more.
    #[test]
    fn a_repaired_host_is_right(
        places in prop::collection::vec((0..Place::ALL.len(), any::<[u8; 4]>()), 0..20),
        announced in any::<[u8; 4]>(),
    ) {
        let own = Own { announced: announced.into(), private: PRIVATE };
        let mut values: Vec<Value> = places
            .into_iter()
            .map(|(index, address)| Value { place: Place::ALL[index], text: Ipv4Addr::from(address).to_string() })
            .collect();
        let standings = judge(&values, &own);
        for (value, standing) in values.iter_mut().zip(standings) {
            if let Standing::Other { wanted, .. } = standing {
                value.text = wanted.to_string();
            }
        }
        let left = judge(&values, &own);
        prop_assert!(left.iter().all(|standing| !matches!(standing, Standing::Other { .. })), "{values:?} {left:?}");
    }
}
