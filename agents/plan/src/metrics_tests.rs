use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::recordings::{Pending, Stage};
use crate::table;
use crate::work::{Figure, Room};

const RULES: Rules =
    Rules { recordings: true, empty_meeting: Duration::from_secs(1800), stuck: Duration::from_secs(7200) };

fn data(role: Role, phases: &PhaseFigures, findings: &Findings) -> Vec<Datum> {
    super::data(role, phases, findings, &RULES)
}

/// Reads a cell such as `starting 40, joining 50`.
fn phases(text: &str) -> Vec<(Phase, Moment)> {
    let phase = |words: &str| match words {
        "starting" | "joining" | "offline" => Phase::Trying,
        "serving" | "serving without BBB" => Phase::Serving,
        "cordoned" => Phase::Cordoned,
        "draining" | "draining without BBB" => Phase::Draining,
        "leaving" => Phase::Leaving { over_deadline: false, left: false },
        "leaving over the deadline" => Phase::Leaving { over_deadline: true, left: false },
        "left" => Phase::Leaving { over_deadline: true, left: true },
        "unregistered" => Phase::Unregistered,
        other => panic!("no phase: {other}"),
    };
    let read = |part: &str| {
        let (words, seconds) = part.rsplit_once(' ').unwrap();
        (phase(words), Duration::from_secs(seconds.parse().unwrap()))
    };
    text.split(", ").map(read).collect()
}

fn value(data: &[Datum], metric: Metric) -> Option<f64> {
    let found: Vec<f64> =
        data.iter().filter(|datum| datum.metric == metric).map(|datum| datum.value).collect();
    assert!(found.len() <= 1, "{metric:?} twice");
    found.first().copied()
}

#[test]
fn how_the_host_stands() {
    use Metric::{DrainOverDeadline, Draining, Registered, UnregisteredSeconds};
    for [text, values @ ..] in table::rows::<5>(include_str!("tables/metrics.md")) {
        let mut history = History::default();
        let mut now = Duration::from_secs(1000);
        for (phase, lasts) in phases(&text) {
            // The result does not depend on how often the phase is looked at.
            for _ in 0..3 {
                history.follow(phase, now);
            }
            now += lasts;
        }
        let silent = text.contains("without BBB").then(|| phases(&text).last().unwrap().1);
        let bbb = data(Role::Bbb, &history.figures(now), &Findings { silent, ..Findings::default() });
        let metrics = [Registered, UnregisteredSeconds, Draining, DrainOverDeadline];
        for (metric, expected) in metrics.into_iter().zip(&values) {
            assert_eq!(value(&bbb, metric), expected.parse().ok(), "{text}: {metric:?}");
        }
        assert_eq!(bbb.len(), metrics.len(), "all else is unknown: {bbb:?}");
        let turn = data(Role::Turn, &history.figures(now), &Findings::default());
        assert!(silent.is_some() || turn == bbb, "{text}: {turn:?}");
    }
}

#[test]
fn what_is_told_at_once() {
    let urgent = |text: &str| {
        let mut history = History::default();
        let mut at = |phase| history.follow(phase, Duration::ZERO);
        phases(text).into_iter().map(|(phase, _)| at(phase)).collect::<Vec<_>>()
    };
    assert_eq!(urgent("starting 0, joining 0, serving 0, draining 0, leaving 0"), [false; 5]);
    assert_eq!(urgent("starting 0, unregistered 0, joining 0"), [false; 3]);
    // First the deadline, then the departure, each once.
    let over = urgent(
        "draining 0, leaving over the deadline 0, leaving over the deadline 0, left 0, left 0, unregistered 0",
    );
    assert_eq!(over, [false, true, false, true, false, false]);
    assert_eq!(urgent("leaving 0, unregistered 0, unregistered 0"), [false, true, false]);
}

/// Reads a cell of the second table's first column.
fn findings(text: &str) -> Findings {
    let unknown = || "no answer".to_owned();
    let mut work = Work {
        meetings: Meetings::unknown(unknown()),
        recordings: crate::recordings::Recordings::unknown(unknown()),
        relays: None,
    };
    if let Some(addresses) = text.strip_suffix(" in BBB's files") {
        let wrong_addresses = match addresses {
            "addresses unknown" => None,
            "no other address" => Some(0),
            some => count(some).map(|count| count as usize),
        };
        return Findings { wrong_addresses, ..Findings::default() };
    }
    let certificate = match text {
        "a certificate for 36 hours" => Some(36 * 3600),
        "a certificate that ended 12 hours ago" => Some(-12 * 3600),
        "certificate unknown" => None,
        _ if text.contains("recording") => {
            work.recordings = recordings(text);
            None
        }
        _ => {
            work.meetings = meetings(text);
            None
        }
    };
    Findings { work: Some(work), certificate, ..Findings::default() }
}

fn count(words: &str) -> Option<u32> {
    words.split(' ').find_map(|word| word.parse().ok())
}

fn recordings(text: &str) -> crate::recordings::Recordings {
    let mut found = crate::recordings::Recordings::default();
    for (kind, words) in text.split(", ").enumerate() {
        let number = count(words).unwrap_or_default();
        if words.contains("unknown") {
            match words.contains("jobs") {
                true => found.jobs = Figure::Unknown("no answer".to_owned()),
                false => found.unlisted = Some("no answer".to_owned()),
            }
        } else if words.contains("jobs") {
            found.jobs = Figure::Known(number.into());
        }
        for number in 0..if words.contains("recording") { number } else { 0 } {
            for format in ["presentation", "video"] {
                let part = Part { id: format!("{kind}-{number}"), format: Some(format.to_owned()) };
                let age = RULES.stuck * u32::from(words.contains("stuck"));
                match words.contains("failed") {
                    true => drop(found.failed.insert(part)),
                    false => drop(found.pending.insert(part, Pending { stage: Stage::Publish, age })),
                }
            }
        }
    }
    found
}

fn meetings(text: &str) -> Meetings {
    let mut found = Meetings::default();
    for (number, words) in text.split("; ").enumerate() {
        match words {
            "no meeting" => continue,
            "meetings unknown" | "the rest unknown" => {
                found.unlisted = Some("no answer".to_owned());
                continue;
            }
            _ => {}
        }
        let mut numbers = words.split(", ").map(count);
        found.listed.push(Meeting {
            id: number.to_string(),
            internal: None,
            room: match words {
                _ if words.starts_with("its breakout room") => Room::Breakout(Some((number - 1).to_string())),
                _ if words.starts_with("an orphaned breakout room") => Room::Breakout(None),
                _ => Room::Main,
            },
            people: match numbers.next().unwrap() {
                Some(people) => Figure::Known(people),
                None => Figure::Unknown("no number".to_owned()),
            },
            voices: numbers.next().unwrap(),
            videos: numbers.next().unwrap(),
            ended: false,
            empty_for: None,
        });
    }
    found
}

#[test]
fn what_goes_on_on_the_host() {
    for [text, expected] in table::rows::<2>(include_str!("tables/metrics-work.md")) {
        let all = data(Role::Bbb, &PhaseFigures::default(), &findings(&text));
        let known = data(Role::Bbb, &PhaseFigures::default(), &Findings::default());
        let new: Vec<String> = all
            .iter()
            .filter(|datum| !known.contains(datum))
            .map(|datum| format!("{} {}", datum.metric.name(), datum.value))
            .collect();
        assert_eq!(if new.is_empty() { "nothing".to_owned() } else { new.join(", ") }, expected, "{text}");
    }
}

#[test]
fn a_turn_host_tells_what_it_has() {
    let names = |coturn, relays| {
        let work = Some(Work { relays, ..Work::default() });
        let findings = Findings { coturn, certificate: Some(0), work, ..Findings::default() };
        let data = data(Role::Turn, &PhaseFigures::default(), &findings);
        data.into_iter().map(|datum| (datum.metric.name(), datum.value)).collect::<Vec<_>>()
    };
    let always = [
        ("Registered", 0.0),
        ("UnregisteredSeconds", 0.0),
        ("CertificateDaysLeft", 0.0),
        ("Draining", 0.0),
        ("DrainOverDeadline", 0.0),
    ];
    let unknown = || Some(Figure::Unknown("no answer".to_owned()));
    assert_eq!(names(None, None), always);
    for (coturn, answers) in [(Relay::Closed, 1.0), (Relay::Silent, 0.0), (Relay::Open, 0.0)] {
        let expected = [always.as_slice(), &[("CoturnAnswers", answers)]].concat();
        assert_eq!(names(Some(coturn), unknown()), expected);
    }
    let expected = [always.as_slice(), &[("Relays", 3.0)]].concat();
    assert_eq!(names(None, Some(Figure::Known(3))), expected);
}

#[test]
fn a_bbb_host_tells_of_its_coturn() {
    let told = |coturn| {
        let data = data(Role::Bbb, &PhaseFigures::default(), &Findings { coturn, ..Findings::default() });
        value(&data, Metric::CoturnAnswers)
    };
    assert_eq!(told(Some(Relay::Closed)), Some(1.0));
    assert_eq!(told(Some(Relay::Silent)), Some(0.0));
    assert_eq!(told(Some(Relay::Absent)), None);
    assert_eq!(told(None), None);
}

#[test]
fn every_metric_has_a_name_of_its_own_and_a_host_that_has_it() {
    let names: BTreeSet<&str> = Metric::ALL.into_iter().map(Metric::name).collect();
    assert_eq!(names.len(), Metric::ALL.len());
    for metric in Metric::ALL {
        assert_eq!(metric.name(), format!("{metric:?}"));
        assert!(metric.is_of(Role::Bbb) || metric.is_of(Role::Turn), "{metric:?}");
    }
}
