use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::table;

const ID: &str = "0123456789abcdef0123456789abcdef01234567-1700000000123";
const OTHER: &str = "76543210fedcba9876543210fedcba9876543210-1700000000456";

/// Builds a spool of these names, each modified a second after the one before.
fn spool(names: &[String], sender: bool) -> Spool {
    let mut spool = Spool { sender, ..Spool::default() };
    for (age, path) in names.iter().enumerate() {
        put(&mut spool, path, u64::try_from(age).unwrap());
    }
    spool
}

fn put(spool: &mut Spool, path: &str, seconds: u64) {
    let (directory, name) = path.split_once('/').unwrap();
    let names = match directory {
        "recorded" => &mut spool.recorded,
        "raw" => &mut spool.raw,
        "archived" => &mut spool.archived,
        "sanity" => &mut spool.sanity,
        "processed" => &mut spool.processed,
        "scalelite" => &mut spool.outbox,
        "published" => {
            spool.published.insert(name.to_owned(), Duration::from_secs(seconds));
            return;
        }
        unknown => panic!("unknown directory {unknown}"),
    };
    names.insert(name.to_owned());
}

fn words(found: &Recordings) -> String {
    let pending = found.pending.values().map(ToString::to_string);
    let failed = found.failed.iter().map(|_| "failed".to_owned());
    let words: Vec<String> = pending.chain(failed).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

#[test]
fn recordings_by_the_table() {
    for [files, sender, expected] in table::rows(include_str!("tables/recordings.md")) {
        let names: Vec<String> =
            files.split(' ').filter(|name| *name != "none").map(|name| name.replace('R', ID)).collect();
        let installed = match sender.as_str() {
            "any" => vec![false, true],
            "yes" => vec![true],
            "no" => vec![false],
            unknown => panic!("unknown cell {unknown}"),
        };
        for sender in installed {
            let found = recordings(&spool(&names, sender));
            assert_eq!(words(&found), expected, "{files}, {sender}");
            for id in found.pending.keys().chain(&found.failed) {
                assert!(id.starts_with(ID) || id == "other.tar", "{files}: {id}");
            }
        }
    }
}

#[test]
fn a_part_of_a_meeting_is_a_recording_of_its_own() {
    let part = format!("{ID}-1700000000999");
    let names = [format!("archived/{part}.done"), format!("sanity/{ID}.done")];
    let found = recordings(&spool(&names, false));
    let expected = [(ID.to_owned(), Stage::Publish), (part, Stage::Check)];
    assert_eq!(found.pending, BTreeMap::from(expected));
}

#[test]
fn in_words() {
    let mut found = Recordings::default();
    assert_eq!(found.to_string(), "no recordings pending");
    assert!(!found.is_pending());
    found.jobs = 1;
    assert_eq!(found.to_string(), "no recordings pending, 1 job under way");
    assert!(found.is_pending());
    found.jobs = 0;
    found.failed.insert("c".to_owned());
    assert_eq!(found.to_string(), "no recordings pending, 1 failed");
    assert!(!found.is_pending(), "nobody waits for what has failed");
    found.pending.insert("a".to_owned(), Stage::Publish);
    assert_eq!(found.to_string(), "1 recording pending (1 to publish), 1 failed");
    found.pending.insert("b".to_owned(), Stage::Archive);
    found.jobs = 2;
    assert_eq!(
        found.to_string(),
        "2 recordings pending (1 to archive, 1 to publish), 2 jobs under way, 1 failed"
    );
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

proptest! {
    #[test]
    fn nothing_is_pending_and_failed(names in any_names(), sender: bool) {
        let found = recordings(&spool(&names, sender));
        prop_assert!(found.pending.keys().all(|id| !found.failed.contains(id)));
    }

    #[test]
    fn publishing_is_the_end_without_a_sender(names in any_names()) {
        let mut spool = spool(&names, false);
        let before = recordings(&spool).pending;
        put(&mut spool, &format!("published/{ID}-presentation.done"), 99);
        let after = recordings(&spool).pending;
        prop_assert!(after.iter().all(|(id, stage)| before.get(id).is_some_and(|was| was <= stage)));
        prop_assert_ne!(after.get(ID), Some(&Stage::Publish));
    }

    #[test]
    fn the_mark_is_the_end_with_a_sender(names in any_names()) {
        let mut spool = spool(&names, true);
        spool.outbox.clear();
        let before = recordings(&spool).pending;
        put(&mut spool, &format!("published/{ID}-sender.done"), 99);
        let after = recordings(&spool).pending;
        prop_assert!(after.iter().all(|(id, stage)| before.get(id) == Some(stage)));
        prop_assert_ne!(after.get(ID), Some(&Stage::Send));
    }

    #[test]
    fn a_failure_ends_the_waiting_unless_it_is_queued_again(names in any_names(), sender: bool) {
        let mut spool = spool(&names, sender);
        put(&mut spool, &format!("published/{ID}-video.fail"), 99);
        let queued = spool.recorded.contains(&format!("{ID}.done"));
        let found = recordings(&spool);
        prop_assert_eq!(found.pending.contains_key(ID), queued);
        prop_assert_eq!(found.failed.contains(ID), !queued);
    }

    #[test]
    fn a_sender_never_makes_less_pending(names in any_names()) {
        let without = recordings(&spool(&names, false)).pending;
        let with = recordings(&spool(&names, true)).pending;
        prop_assert!(without.iter().all(|(id, stage)| with.get(id) == Some(stage)));
    }

    #[test]
    fn any_name_can_be_split(name in "\\PC{0,20}") {
        if let Some((id, rest)) = split(&name) {
            prop_assert_eq!(&format!("{id}{rest}"), &name);
            prop_assert_eq!(split(id), Some((id, "")));
        }
    }
}
