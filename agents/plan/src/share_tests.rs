use super::*;
use crate::table;

const IPV4: &str = "203.0.113.10";
const IPV6: &str = "2001:db8::10";

fn glimpse(addresses: &[&str], partial: &[RecordType]) -> Glimpse {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Glimpse { addresses, partial: partial.iter().copied().collect(), alien: None }
}

/// Returns the host's addresses and what the servers show, as a cell of the table names it.
fn shown(cell: &str) -> (Vec<&'static str>, Vec<Glimpse>) {
    let both = [RecordType::A, RecordType::Aaaa];
    let few = glimpse(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], &[]);
    let eight = glimpse(&["192.0.2.1", "2001:db8::1"], &both);
    match cell {
        "the host's addresses" => (vec![IPV4, IPV6], vec![glimpse(&[IPV4, IPV6, "192.0.2.1"], &[])]),
        "the address of a host with one, by one server of two" => {
            (vec![IPV4], vec![few, glimpse(&[IPV4], &both)])
        }
        "the A, of AAAA fewer than eight others" => {
            (vec![IPV4, IPV6], vec![glimpse(&[IPV4, "2001:db8::1"], &[RecordType::A])])
        }
        "fewer than eight others" => (vec![IPV4, IPV6], vec![few.clone(), few]),
        "nothing" => (vec![IPV4, IPV6], vec![Glimpse::default(); 2]),
        "a CNAME" => (vec![IPV4], vec![Glimpse { alien: Some("a CNAME".into()), ..Glimpse::default() }]),
        "eight others" => (vec![IPV4, IPV6], vec![eight.clone(), eight]),
        "eight others, one server fewer" => (vec![IPV4, IPV6], vec![eight, few]),
        "no server answers" => (vec![IPV4, IPV6], Vec::new()),
        unknown => panic!("unknown cell {unknown}"),
    }
}

#[test]
fn by_the_table() {
    for [cell, check, told, known, expected] in table::rows(include_str!("tables/share.md")) {
        let (own, glimpses) = shown(&cell);
        let own = own.into_iter().map(|address| address.parse().unwrap()).collect();
        let checks: &[bool] = match check.as_str() {
            "any" => &[false, true],
            "none" => &[false],
            "set" => &[true],
            unknown => panic!("unknown cell {unknown}"),
        };
        let told: &[Option<u64>] = match told.as_str() {
            "any" => &[None, Some(0), Some(900), Some(90_000)],
            "never" => &[None],
            "< 15 min ago" => &[Some(0), Some(899)],
            ">= 15 min ago" => &[Some(900), Some(90_000)],
            unknown => panic!("unknown cell {unknown}"),
        };
        let known: &[u64] = match known.as_str() {
            "any" => &[0, 3599, 3600, 90_000],
            "< 1 h ago" => &[0, 3599],
            ">= 1 h ago" => &[3600, 90_000],
            unknown => panic!("unknown cell {unknown}"),
        };
        for (check, told, known) in checks.iter().flat_map(|check| {
            told.iter().flat_map(move |told| known.iter().map(move |known| (*check, *told, *known)))
        }) {
            let told = told.map(Duration::from_secs);
            let found = match next(sight(&glimpses, &own), check, told, Duration::from_secs(known)) {
                Next::Seen => "seen",
                Next::Believe => "believe",
                Next::Wait => "wait",
                Next::AskRoute53 => "ask Route 53",
            };
            assert_eq!(found, expected, "{cell}, check: {check}, told: {told:?}, known: {known}");
        }
    }
}

/// However a share stays hidden, the API is asked within the hour; and never twice within a quarter of an hour.
#[test]
fn the_api_stands_behind_dns_at_a_bounded_rate() {
    for sight in [Sight::LeftOut, Sight::Unknown] {
        for has_check in [false, true] {
            assert_eq!(next(sight, has_check, Some(UNSEEN), UNSEEN), Next::AskRoute53, "{sight:?}");
            let now = next(sight, has_check, Some(Duration::ZERO), Duration::ZERO);
            assert_ne!(now, Next::AskRoute53, "{sight:?}");
        }
    }
}

#[test]
fn ids_of_health_checks() {
    for (text, expected) in [
        ("abcdef11-2222-3333-4444-555555fedcba", true),
        ("", false),
        ("a,since=1", false),
        ("a b", false),
        (&"a".repeat(64), true),
        (&"a".repeat(65), false),
    ] {
        assert_eq!(is_health_check(text), expected, "{text:?}");
    }
}
