use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::table;

const ID: &str = "0123456789abcdef0123456789abcdef01234567-1700000000123";
const OTHER: &str = "76543210fedcba9876543210fedcba9876543210-1700000000456";

/// Builds a spool of these names, each modified a second after the one before.
fn spool(names: &[String], sender: Sender) -> Spool {
    let mut spool = Spool { sender, now: Duration::from_secs(100), ..Spool::default() };
    for (at, path) in names.iter().enumerate() {
        put(&mut spool, path, u64::try_from(at).unwrap());
    }
    spool
}

fn directory<'a>(spool: &'a mut Spool, name: &str) -> &'a mut Names {
    match name {
        "recorded" => &mut spool.recorded,
        "raw" => &mut spool.raw,
        "archived" => &mut spool.archived,
        "sanity" => &mut spool.sanity,
        "processed" => &mut spool.processed,
        "scalelite" => &mut spool.outbox,
        "published" => &mut spool.published,
        unknown => panic!("unknown directory {unknown}"),
    }
}

fn put(spool: &mut Spool, path: &str, seconds: u64) {
    let (below, name) = path.split_once('/').unwrap();
    directory(spool, below).insert(name.to_owned(), Duration::from_secs(seconds));
}

fn look(spool: &Spool) -> Recordings {
    recordings(spool, Figure::Known(0))
}

fn words(found: &Recordings) -> String {
    let words = |part: &Part, what: &str| match &part.format {
        Some(format) => format!("{format} {what}"),
        None => what.to_owned(),
    };
    let pending = found.pending.iter().map(|(part, pending)| words(part, &pending.stage.to_string()));
    let failed = found.failed.iter().map(|part| words(part, "failed"));
    let words: Vec<String> = pending.chain(failed).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn senders() -> [(Sender, &'static str); 4] {
    let unknown = Sender::Unknown("no right to look".to_owned());
    [(Sender::Unused, "unused"), (Sender::There, "there"), (Sender::Missing, "missing"), (unknown, "unknown")]
}

#[test]
fn recordings_by_the_table() {
    for [files, cell, expected] in table::rows(include_str!("tables/recordings.md")) {
        let names: Vec<String> =
            files.split(' ').filter(|name| *name != "none").map(|name| name.replace('R', ID)).collect();
        let senders = senders().into_iter().filter(|(_, word)| cell == "any" || cell == *word);
        let mut rows = 0;
        for (sender, word) in senders {
            rows += 1;
            let found = look(&spool(&names, sender));
            assert_eq!(words(&found), expected, "{files}, {word}");
            for part in found.pending.keys().chain(&found.failed) {
                assert!(part.id.starts_with(ID) || part.id == "other.tar", "{files}: {part}");
            }
        }
        assert!(rows > 0, "unknown cell {cell}");
    }
}

#[test]
fn stuck_recordings_by_the_table() {
    for [step, newest, jobs, expected] in table::rows(include_str!("tables/recordings-stuck.md")) {
        let files: &[&str] = match step.as_str() {
            "to archive" => &["raw/R"],
            "to check" => &["raw/R", "archived/R.done"],
            "to publish" => &["raw/R", "archived/R.done", "sanity/R.done"],
            _ => &["raw/R", "archived/R.done", "sanity/R.done", "published/R-presentation.done"],
        };
        let age = match newest.split_once(' ').unwrap() {
            (number, "min old") => 60 * number.parse::<u64>().unwrap(),
            (number, _) => 86_400 * number.parse::<u64>().unwrap(),
        };
        let (step, sender) = match step.split_once(", sender ") {
            Some((step, "unknown")) => (step.to_owned(), Sender::Unknown("no right to look".to_owned())),
            _ if step == "without a sender" => (step, Sender::Missing),
            _ => (step, Sender::There),
        };
        let mut spool = Spool { sender, now: Duration::from_secs(100 * 86_400), ..Spool::default() };
        let newest = spool.now.as_secs() - age;
        for (number, file) in files.iter().rev().enumerate() {
            put(&mut spool, &file.replace('R', ID), newest - 1000 * u64::try_from(number).unwrap());
        }
        let jobs = match jobs.parse() {
            Ok(jobs) => Figure::Known(jobs),
            Err(_) => Figure::Unknown("no answer".to_owned()),
        };
        let found = recordings(&spool, jobs);
        let pending: Vec<&Pending> = found.pending.values().collect();
        assert_eq!(pending.len(), 1, "{step}");
        assert_eq!(pending[0].stage.to_string(), step);
        let stuck = found.is_stuck(pending[0], Duration::from_secs(7200));
        assert_eq!(if stuck { "yes" } else { "no" }, expected, "{step}, {newest}");
    }
}

#[test]
fn a_part_of_a_meeting_is_a_recording_of_its_own() {
    let part = format!("{ID}-1700000000999");
    let names = [format!("archived/{part}.done"), format!("sanity/{ID}.done")];
    let found = look(&spool(&names, Sender::Unused));
    let found: Vec<(&str, Stage)> =
        found.pending.iter().map(|(part, pending)| (part.id.as_str(), pending.stage)).collect();
    assert_eq!(found, [(ID, Stage::Publish), (part.as_str(), Stage::Check)]);
}

#[test]
fn a_file_of_the_future_makes_a_recording_young() {
    let mut spool = spool(&[], Sender::Unused);
    put(&mut spool, &format!("raw/{ID}"), 10_000);
    assert_eq!(look(&spool).pending.values().next().unwrap().age, Duration::ZERO);
}

/// Generates names as they occur, and some that only resemble them.
fn any_names() -> impl Strategy<Value = Vec<String>> {
    let directory = prop::sample::select(vec![
        "recorded",
        "raw",
        "archived",
        "sanity",
        "processed",
        "published",
        "scalelite",
    ]);
    let id = prop::sample::select(vec![ID.to_owned(), OTHER.to_owned(), format!("{ID}-17"), "R".to_owned()]);
    let format = prop::sample::select(vec!["", "-presentation", "-video", "-sender", "-", "-1"]);
    let end = prop::sample::select(vec![".done", ".fail", ".norecord", "", ".tar", ".tar.gz"]);
    let name = (directory, id, format, end)
        .prop_map(|(directory, id, format, end)| format!("{directory}/{id}{format}{end}"));
    let odd =
        "(recorded|raw|archived|sanity|processed|published|scalelite)/[0-9a-f\u{e9}.-]{0,12}(.done|.tar)?";
    prop::collection::vec(prop_oneof![9 => name, 1 => odd], 0..14).prop_map(|mut names| {
        names.dedup();
        names
    })
}

fn any_sender() -> impl Strategy<Value = Sender> {
    prop::sample::select(senders().map(|(sender, _)| sender).to_vec())
}

fn stages(found: &Recordings) -> BTreeMap<&Part, Stage> {
    found.pending.iter().map(|(part, pending)| (part, pending.stage)).collect()
}

proptest! {
    #[test]
    fn nothing_is_pending_and_failed(names in any_names(), sender in any_sender()) {
        let found = look(&spool(&names, sender));
        prop_assert!(found.pending.keys().all(|part| !found.failed.contains(part)));
    }

    #[test]
    fn a_format_that_fails_hides_no_other(names in any_names(), sender in any_sender()) {
        let mut spool = spool(&names, sender);
        let before = look(&spool);
        put(&mut spool, &format!("processed/{ID}-video.fail"), 50);
        let after = look(&spool);
        let video = |part: &Part| part.id == ID && part.format.as_deref() == Some("video");
        let after = stages(&after);
        for (part, stage) in stages(&before).into_iter().filter(|(part, _)| !video(part)) {
            // What was one recording without any format may be named by the format that is still expected.
            let named = Part { format: Some("presentation".to_owned()), ..part.clone() };
            let stages = [after.get(part), after.get(&named)];
            // A part is named once, with its earliest stage.
            prop_assert!(stages.into_iter().flatten().any(|after| *after <= stage), "{part}: {stages:?}");
        }
    }

    #[test]
    fn publishing_is_the_end_without_a_sender(names in any_names()) {
        let mut spool = spool(&names, Sender::Unused);
        spool.outbox.clear();
        let before = look(&spool);
        put(&mut spool, &format!("published/{ID}-presentation.done"), 99);
        let after = look(&spool);
        let was = stages(&before);
        prop_assert!(stages(&after).iter().all(|(part, stage)| was.get(*part).is_some_and(|was| was <= stage)));
        let part = Part { id: ID.to_owned(), format: Some("presentation".to_owned()) };
        prop_assert!(!after.pending.contains_key(&part));
    }

    #[test]
    fn the_mark_is_the_end_with_a_sender(names in any_names()) {
        let mut spool = spool(&names, Sender::There);
        spool.outbox.clear();
        let before = look(&spool);
        put(&mut spool, &format!("published/{ID}-sender.done"), 99);
        let after = look(&spool);
        let was = stages(&before);
        prop_assert!(stages(&after).iter().all(|(part, stage)| was.get(*part) == Some(stage)));
        prop_assert!(stages(&after).iter().all(|(part, stage)| part.id != ID || *stage != Stage::Send));
    }

    #[test]
    fn what_would_be_sent_is_unsent_without_a_sender(names in any_names()) {
        let mut spool = spool(&names, Sender::There);
        spool.outbox.clear();
        let there = look(&spool);
        spool.sender = Sender::Missing;
        let missing = look(&spool);
        let unsent = |stage: &Stage| if *stage == Stage::Send { Stage::Unsent } else { *stage };
        let expected: Vec<_> = stages(&there).iter().map(|(part, stage)| (*part, unsent(stage))).collect();
        prop_assert_eq!(stages(&missing).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nothing_is_stuck_while_jobs_are_or_may_be_there(names in any_names(), sender in any_sender(), jobs in 1..9u64) {
        let mut spool = spool(&names, sender);
        spool.now = Duration::from_secs(1_000_000);
        for jobs in [Figure::Known(jobs), Figure::Unknown("no answer".to_owned())] {
            let found = recordings(&spool, jobs);
            prop_assert!(found.pending.values().all(|pending| !found.is_stuck(pending, Duration::ZERO)));
        }
    }

    #[test]
    fn any_name_can_be_split(name in "\\PC{0,20}") {
        if let Some((id, rest)) = split(&name) {
            prop_assert_eq!(&format!("{id}{rest}"), &name);
            prop_assert_eq!(split(id), Some((id, "")));
        }
    }
}
