//! The day of a fleet: what it prints is the same every time, and what the agents promise holds in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use simulation::day::{Options, Report, keep, root, run};

/// A day with some hosts only, which takes about a second.
fn small(seed: u64) -> Options {
    Options { seed, peak: 500, ..Options::default() }
}

fn refusal(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_day")).args(arguments).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(if arguments.contains(&"--parameter") { 1 } else { 2 }),
        "{output:?}"
    );
    assert_eq!(output.stdout, b"", "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn assert_is_kept(what: &str, kept: &str, made: &str) {
    let differs = kept.lines().zip(made.lines()).find(|(kept, made)| kept != made);
    assert_eq!(differs, None, "{what} is out of date: tests/day --keep");
    assert_eq!(kept.len(), made.len(), "{what} is out of date: tests/day --keep");
}

/// The kept day is the one that the program simulates without options; with UPDATE=1 it is written.
#[test]
fn the_kept_day_is_what_the_program_prints_and_has_reached_its_aims() {
    let report = run(&Options::default()).unwrap();
    let (page, figure) = (root().join("docs/figures.md"), root().join("docs/day.svg"));
    let kept = std::fs::read_to_string(&page).unwrap();
    let made = keep(&kept, &report).expect("a place for the table");
    let drawn = report.figure().unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, &made).unwrap();
        std::fs::write(&figure, &drawn).unwrap();
    }
    assert_is_kept("docs/figures.md", &std::fs::read_to_string(&page).unwrap(), &made);
    assert_is_kept("docs/day.svg", &std::fs::read_to_string(&figure).unwrap(), &drawn);
    assert_eq!(report.broken(), [""; 0]);
    let ([.., ended], [.., lost], [.., refused]) = (report.ended(), report.lost(), report.refused());
    assert_eq!((ended, lost), (0, 0), "{report}");
    assert!(refused <= 1.0 && report.saved()[2] >= 45.0, "{report}");
    // The README's sentence has the figures of this day.
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap().replace('\n', " ");
    let [_, scripts, _] = report.ended();
    for figure in [format!("{:.0} % fewer", report.saved()[2]), format!("{scripts} meetings")] {
        assert!(readme.contains(&figure), "README.md does not say {figure}");
    }
}

/// Lives through these days beside each other.
fn all(days: &[Options]) -> Vec<Report> {
    thread::scope(|scope| {
        let running: Vec<_> = days.iter().map(|day| scope.spawn(|| run(day).unwrap())).collect();
        running.into_iter().map(|day| day.join().unwrap()).collect()
    })
}

/// Policy and schedule are those of the shipped template: another value there makes another day.
#[test]
fn a_day_is_the_same_every_time_and_another_with_each_seed_and_policy() {
    let with = |name: &str, value: &str| Options {
        parameters: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..small(3)
    };
    let days = [small(3), small(3), small(4), with("Target", "50"), with("TeachingBegin", "15 9 * * *")];
    let reports = all(&days);
    let shown: Vec<_> = reports.iter().map(|report| (report.to_string(), report.figure().unwrap())).collect();
    let (first, others) = shown.split_first().unwrap();
    assert_eq!(first, &others[0]);
    for (day, other) in days.iter().zip(&shown).skip(2) {
        assert_ne!(first, other, "{day:?}");
    }
    let unknown = run(&with("Metric", "Meetings")).map(|report| report.to_string());
    assert_eq!(unknown, Err("the day knows no Sum of Meetings".to_owned()));
}

/// Whatever the meetings are: a scale-in with agents ends none and loses no recording, and one without does.
#[test]
fn no_day_ends_a_meeting_or_loses_a_recording() {
    let days = [
        small(11),
        Options { boot: 3.0, ..small(12) },
        Options { set: vec!["protection.enabled=true".to_owned()], ..small(13) },
        Options { poll: 60, ..small(14) },
    ];
    let reports = all(&days);
    for (day, report) in days.iter().zip(&reports) {
        assert_eq!(report.broken(), [""; 0], "{day:?}");
        let ([fixed, scripts, agents], [.., lost]) = (report.ended(), report.lost());
        assert_eq!((fixed, agents, lost), (0, 0, 0), "{day:?}\n{report}");
        assert!(scripts > 0, "{day:?}\n{report}");
    }
    assert!(reports.iter().any(|report| report.lost()[1] > 0));
}

/// EC2's two minutes are too short for most meetings, with agents too; that is not counted as scale-in.
#[test]
fn spot_interruptions_are_counted_apart() {
    let report = run(&Options { spot: 20.0, ..small(21) }).unwrap();
    assert_eq!(report.broken(), [""; 0]);
    assert_eq!((report.ended()[2], report.lost()[2]), (0, 0), "{report}");
    let interruptions =
        report.to_string().lines().find(|line| line.starts_with("| spot interruptions")).map(str::to_owned);
    let counts: Vec<u32> =
        interruptions.unwrap().split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
    assert!(counts.len() == 3 && counts.into_iter().all(|count| count > 0), "{report}");
}

#[test]
fn bad_input_is_named() {
    for (arguments, words) in [
        (["--days", "0"], "0 is not in 1..=28"),
        (["--peak", "many"], "invalid digit found in string"),
        (["--boot", "0"], "it has to be above 0"),
        (["--spot", "101"], "it has to be from 0 to 100"),
        (["--price", "nan"], "it is not a number"),
        (["--parameter", "Tarket=5"], "has no parameter Tarket"),
    ] {
        let error = refusal(&arguments);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    assert!(refusal(&["--min", "5", "--max", "4"]).contains("--max 4 is less than --min 5"));
}
