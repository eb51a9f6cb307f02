use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::recordings::Sender;
use crate::table;

const RULES: Rules =
    Rules { recordings: true, empty_meeting: Duration::from_secs(1800), stuck: Duration::from_secs(7200) };

fn minutes(words: &str) -> Option<Duration> {
    let (_, time) = words.split_once(" for ")?;
    Some(Duration::from_secs(60 * time.strip_suffix(" min").unwrap().parse::<u64>().unwrap()))
}

/// Reads the first cell of a row.
fn meetings(cell: &str) -> Meetings {
    let mut found = Meetings::default();
    for (number, words) in cell.split("; ").enumerate() {
        let people = words.split_once(" with ").map(|(_, rest)| rest.split(' ').next().unwrap());
        let room = match words {
            "none" => continue,
            "unknown" | "the rest unknown" => {
                found.unlisted = Some("BBB does not answer".to_owned());
                continue;
            }
            _ if words.starts_with("its breakout room") => Room::Breakout(Some(format!("i{}", number - 1))),
            _ if words.starts_with("an orphaned breakout room") => Room::Breakout(Some("gone".to_owned())),
            _ => Room::Main,
        };
        found.listed.push(Meeting {
            id: format!("m{number}"),
            internal: Some(format!("i{number}")),
            room,
            people: match people.unwrap().parse() {
                Ok(people) => Figure::Known(people),
                Err(_) => Figure::Unknown("no number".to_owned()),
            },
            voices: None,
            videos: None,
            ended: words.contains("ended by force"),
            empty_for: minutes(words),
        });
    }
    found
}

/// Reads the second and the third cell of a row.
fn recordings(cell: &str, jobs: &str) -> Recordings {
    let mut found = Recordings {
        jobs: match jobs.parse() {
            Ok(jobs) => Figure::Known(jobs),
            Err(_) => Figure::Unknown("Redis does not answer".to_owned()),
        },
        ..Recordings::default()
    };
    for (number, words) in cell.split("; ").enumerate() {
        let part = Part { id: format!("r{number}"), format: None };
        let stages = [Stage::Archive, Stage::Check, Stage::Publish, Stage::Send, Stage::Unsent];
        match words {
            "none" => {}
            "unknown" => found.unlisted = Some("the spool hangs".to_owned()),
            "1 failed" => drop(found.failed.insert(part)),
            _ => {
                let stage = stages.into_iter().find(|stage| words.contains(&stage.to_string())).unwrap();
                found.pending.insert(part, Pending { stage, age: minutes(words).unwrap() });
            }
        }
    }
    found
}

#[test]
fn work_by_the_table() {
    for [rooms, spool, jobs, waited, reported] in table::rows(include_str!("tables/work.md")) {
        let waits = !spool.contains("not waited for: ");
        let rules = Rules { recordings: waits, ..RULES };
        let spool = spool.trim_start_matches("not waited for: ");
        let recordings = recordings(spool, &jobs);
        let work = Work { meetings: meetings(&rooms), recordings, relays: None };
        let row = format!("{rooms} | {spool} | {jobs}");
        assert_eq!(work.waits(&rules).to_string(), waited, "{row}");
        assert_eq!(work.is_idle(&rules), waited == "nothing", "{row}");
        let found = work.reported(&rules);
        let words = if found.is_nothing() { "nothing".to_owned() } else { found.to_string() };
        assert_eq!(words, reported, "{row}");
    }
}

#[test]
fn relays_by_the_table() {
    let why = || "cannot count coturn's relays: no such file".to_owned();
    for [relays, waited] in table::rows(include_str!("tables/work-relays.md")) {
        let known = |count| Some(Figure::Known(count));
        let found = match relays.as_str() {
            "not counted" => None,
            "unknown" => Some(Figure::Unknown(why())),
            count => known(count.parse().unwrap()),
        };
        let work = Work { relays: found, ..Work::default() };
        // Whether recordings are waited for does not matter.
        for recordings in [true, false] {
            let rules = Rules { recordings, ..RULES };
            assert_eq!(work.waits(&rules).to_string(), waited, "{relays}");
            assert_eq!(work.is_idle(&rules), waited == "nothing", "{relays}");
        }
        assert!(
            !work.may_meet(&RULES) && work.has_no_recordings(&RULES),
            "no meeting is told, nothing recorded"
        );
    }
}

#[test]
fn a_breakout_room_belongs_to_its_parent_by_either_id() {
    for id in ["m0", "i0"] {
        let mut found = meetings("a meeting with 7 people; its breakout room with 3 people");
        found.listed[1].room = Room::Breakout(Some(id.to_owned()));
        assert_eq!(found.own().count(), 1, "{id}");
    }
}

#[test]
fn a_meeting_is_empty_for_as_long_as_every_count_has_found_it_empty() {
    let count = |cell| Work { meetings: meetings(cell), ..Work::default() };
    let minute = Duration::from_secs(60);
    let empty_for = |work: &Work| work.meetings.listed[0].empty_for;
    let mut first = count("a meeting with 0 people");
    first.follow(&Work::default(), minute);
    assert_eq!(empty_for(&first), Some(Duration::ZERO), "it was not listed before");
    let mut second = count("a meeting with 0 people");
    second.follow(&first, minute);
    assert_eq!(empty_for(&second), Some(minute));
    let mut known = count("a meeting with 0 people for 90 min");
    known.follow(&second, minute);
    assert_eq!(empty_for(&known), Some(90 * minute), "BBB knows better");
    for occupied in ["a meeting with 1 people", "a meeting with unknown people"] {
        let mut third = count(occupied);
        third.follow(&second, minute);
        assert_eq!(empty_for(&third), None, "{occupied}");
        let mut fourth = count("a meeting with 0 people");
        fourth.follow(&third, minute);
        assert_eq!(empty_for(&fourth), Some(Duration::ZERO), "{occupied}");
    }
    let mut room = count("a meeting with 0 people for 90 min; its breakout room with 2 people");
    room.follow(&second, minute);
    assert_eq!(empty_for(&room), None, "its people are in a breakout room");
}

#[test]
fn a_recording_to_send_keeps_the_host_while_the_sender_is_unknown() {
    let sender = Sender::Unknown("no right to look".to_owned());
    let recordings = Recordings { sender: sender.clone(), ..recordings("1 to send for 500 min", "0") };
    let work = Work { recordings, ..Work::default() };
    assert_eq!(
        work.waits(&RULES).to_string(),
        "1 recording (1 to send) and what is not known (no right to look)"
    );
    // Nothing has to be sent, so it does not matter.
    let work = Work { recordings: Recordings { sender, ..Recordings::default() }, ..Work::default() };
    assert!(work.is_idle(&RULES));
}

fn any_meeting() -> impl Strategy<Value = Meeting> {
    let people = prop_oneof![
        Just(Figure::Known(0)),
        (1..2000u32).prop_map(Figure::Known),
        Just(Figure::Unknown("no number".to_owned()))
    ];
    let room = prop_oneof![Just(Room::Main), prop::option::of("[mi][0-3]").prop_map(Room::Breakout),];
    let empty = prop::option::of((0..4000u64).prop_map(Duration::from_secs));
    ("m[0-3]", prop::option::of("i[0-3]"), room, people, any::<bool>(), empty).prop_map(
        |(id, internal, room, people, ended, empty_for)| Meeting {
            id,
            internal,
            room,
            people,
            voices: None,
            videos: None,
            ended,
            empty_for,
        },
    )
}

fn any_work() -> impl Strategy<Value = Work> {
    let meetings = (prop::collection::vec(any_meeting(), 0..5), prop::option::of(Just("cut off".to_owned())))
        .prop_map(|(listed, unlisted)| Meetings { listed, unlisted });
    let jobs = prop_oneof![
        Just(Figure::Known(0)),
        (1..9u64).prop_map(Figure::Known),
        Just(Figure::Unknown("Redis does not answer".to_owned()))
    ];
    let cells = prop::sample::select(vec![
        "none",
        "unknown",
        "1 to publish for 5 min",
        "1 to send for 500 min",
        "1 without a sender for 500 min",
    ]);
    (meetings, cells, jobs).prop_map(|(meetings, cell, jobs)| {
        let recordings = Recordings { jobs, ..recordings(cell, "0") };
        Work { meetings, recordings, relays: None }
    })
}

proptest! {
    #[test]
    fn whatever_is_unknown_keeps_the_host(work in any_work()) {
        let unknown = work.meetings.unlisted.is_some()
            || work.recordings.unlisted.is_some()
            || work.recordings.jobs.known().is_none()
            || work.meetings.listed.iter().any(|meeting| meeting.people.known().is_none());
        prop_assert!(!(unknown && work.is_idle(&RULES)));
    }

    #[test]
    fn people_keep_the_host_wherever_they_are(work in any_work()) {
        let people = work.meetings.listed.iter().any(|meeting| meeting.people != Figure::Known(0));
        prop_assert!(!(people && work.is_idle(&RULES)));
    }

    #[test]
    fn an_unreadable_part_never_makes_a_host_idle(work in any_work(), lost: prop::sample::Index) {
        let mut spoilt = work.clone();
        if !spoilt.meetings.listed.is_empty() {
            let lost = lost.index(spoilt.meetings.listed.len());
            spoilt.meetings.listed.truncate(lost);
            spoilt.meetings.unlisted = Some("cut off".to_owned());
        }
        prop_assert!(work.is_idle(&RULES) || !spoilt.is_idle(&RULES));
    }

    #[test]
    fn what_is_not_waited_for_is_reported(work in any_work()) {
        let (waits, reported) = (work.waits(&RULES), work.reported(&RULES));
        let ids = |parts: Vec<&Part>| parts.into_iter().map(|part| &part.id).collect::<BTreeSet<_>>().len();
        let all = ids(work.recordings.pending.keys().collect());
        let awaited: usize = waits.recordings.values().sum();
        prop_assert!(awaited + ids(reported.stuck.iter().map(|(part, _)| part).collect()) >= all);
        prop_assert_eq!(reported.failed.len(), work.recordings.failed.len());
    }
}
