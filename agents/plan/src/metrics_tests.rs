use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::table;

/// Reads a cell such as `starting 40, joining 50`.
fn phases(text: &str) -> Vec<(Phase, Moment)> {
    let phase = |words: &str| match words {
        "starting" | "joining" => Phase::Trying,
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
        assert!(silent.is_some() || turn == bbb[..2], "{text}: {turn:?}");
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
    let number = |words: &str| words.split(' ').find_map(|word| word.parse::<u32>().ok());
    let mut found = Findings::default();
    match text {
        "no meeting" => found.meetings = Some(Vec::new()),
        "meetings unknown" | "recordings unknown" | "certificate unknown" => {}
        "a certificate for 36 hours" => found.certificate = Some(36 * 3600),
        "a certificate that ended 12 hours ago" => found.certificate = Some(-12 * 3600),
        _ if text.contains("recordings") => {
            let numbers: Vec<usize> =
                text.split(", ").map(|words| number(words).unwrap().try_into().unwrap()).collect();
            found.recordings = Some(Recordings { pending: numbers[0], failed: numbers[1] });
        }
        _ => {
            let meetings = text.split("; ").map(|meeting| {
                let mut numbers = meeting.split(", ").map(number);
                Meeting {
                    participants: numbers.next().unwrap().unwrap(),
                    voices: numbers.next().unwrap(),
                    videos: numbers.next().unwrap(),
                    breakout: meeting.starts_with("a breakout room"),
                }
            });
            found.meetings = Some(meetings.collect());
        }
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
    let names = |coturn| {
        let findings =
            Findings { coturn, certificate: Some(0), meetings: Some(Vec::new()), ..Findings::default() };
        let data = data(Role::Turn, &PhaseFigures::default(), &findings);
        data.into_iter().map(|datum| (datum.metric.name(), datum.value)).collect::<Vec<_>>()
    };
    let always = [("Registered", 0.0), ("UnregisteredSeconds", 0.0), ("CertificateDaysLeft", 0.0)];
    assert_eq!(names(None), always);
    assert_eq!(names(Some(true)), [always.as_slice(), &[("CoturnAnswers", 1.0)]].concat());
    assert_eq!(names(Some(false)), [always.as_slice(), &[("CoturnAnswers", 0.0)]].concat());
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
