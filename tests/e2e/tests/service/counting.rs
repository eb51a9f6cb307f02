//! What a host cannot know counts as work: a planned event waits for it, and the host stays protected from scale-in.

use std::net::SocketAddr;

use e2e::{Rig, Running, at_once};
use sandbox::bbb::{Mode, NewMeeting, ParentIds, cases};
use sandbox::cloud::{HostOptions, Options};
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::{AutoScaling, Bbb};
use sandbox::redis::Manner;
use sandbox::scalelite::ServerState;

const SERVING: &str = "-> serving:";
const DRAINING: &str = "-> draining:";
const OUT: &str = "-> unregistered:";
const PROTECT: &str = "SetInstanceProtection";
/// BBB's archive jobs: with a backlog, the only trace of a recording.
const ARCHIVE: &str = "rap:archive";
const NO_MEETING: [&str; 0] = [];

async fn serving(rig: Rig, settings: &[&str]) -> (Rig, Running) {
    let mut service = rig.serve(None, settings);
    service.said(SERVING, 1).await;
    (rig, service)
}

async fn drained(rig: &Rig, service: &mut Running) {
    rig.ends();
    service.said(DRAINING, 1).await;
}

/// Fails unless a host that its group ends is still there some counts later, with these meetings, and says why.
async fn waits(rig: &Rig, meetings: &[&str], words: &[&str]) {
    rig.ticked(4).await;
    rig.is_only_cordoned(meetings);
    rig.says(words).await;
}

// ---- Redis

#[tokio::test]
async fn a_redis_that_does_not_tell_keeps_the_host() {
    let rows = ["locked", "a password", "closed", "silent", "garbage"];
    at_once(rows, async |what| {
        let rig = Rig::bbb().await;
        let redis = rig.host.recordings.redis();
        redis.set_queue(ARCHIVE, 3);
        match what {
            "locked" => redis.set_manner(Manner::Locked),
            "a password" => redis.set_password(Some("unknown to the agent")),
            "closed" => redis.close().await,
            "silent" => redis.set_manner(Manner::Silent),
            _ => redis.set_manner(Manner::Garbage),
        }
        let (rig, mut service) = serving(rig, &["protection.idle=0"]).await;
        rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
        rig.ticked(4).await;
        assert!(rig.member().protected, "{what}: unknown is busy");
        drained(&rig, &mut service).await;
        waits(&rig, &NO_MEETING, &["waiting for", "not known", "Redis at "]).await;
        let redis = rig.host.recordings.redis();
        redis.set_manner(Manner::Answer);
        redis.set_password(None);
        redis.open().await.unwrap();
        waits(&rig, &NO_MEETING, &["waiting for 3 "]).await;
        redis.set_queue(ARCHIVE, 0);
        service.said(OUT, 1).await;
        rig.is_gone();
    })
    .await;
}

#[tokio::test]
async fn jobs_are_waited_for_in_any_queue_and_in_a_workers_hands() {
    let rig = Rig::bbb().await;
    rig.host.recordings.redis().set_queue("rap:events", 1);
    let (rig, mut service) = serving(rig, &[]).await;
    let redis = rig.host.recordings.redis();
    drained(&rig, &mut service).await;
    waits(&rig, &NO_MEETING, &["waiting for 1 "]).await;
    redis.set_worker("bbb:4711:rap:archive,rap:publish", true);
    redis.set_queue("rap:events", 0);
    waits(&rig, &NO_MEETING, &["waiting for 1 "]).await;
    redis.set_worker("bbb:4711:rap:archive,rap:publish", false);
    service.said(OUT, 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn redis_is_given_its_password() {
    let rig = Rig::bbb().await;
    let file = rig.host.root.join("redis-password");
    std::fs::write(&file, "wrong\n").unwrap();
    rig.drop_in("redis", &format!("[recordings]\nredis_password = \"file:{}\"\n", file.display()));
    let redis = rig.host.recordings.redis();
    redis.set_password(Some("sesame-4711"));
    redis.set_queue(ARCHIVE, 2);
    let (rig, mut service) = serving(rig, &[]).await;
    drained(&rig, &mut service).await;
    waits(&rig, &NO_MEETING, &["not known", "Redis at ", "password"]).await;
    std::fs::write(&file, "sesame-4711\n").unwrap();
    waits(&rig, &NO_MEETING, &["waiting for 2 "]).await;
    let redis = rig.host.recordings.redis();
    redis.set_queue(ARCHIVE, 0);
    service.said(OUT, 1).await;
    rig.is_gone();
    service.signal("TERM").await;
    let run = service.end().await;
    assert!(!run.to_string().contains("sesame") && !run.to_string().contains("wrong"), "{run}");
}

#[tokio::test]
async fn a_redis_that_is_never_to_be_asked_is_not_waited_for() {
    let rig = Rig::bbb().await;
    rig.host.recordings.redis().close().await;
    let (rig, mut service) = serving(rig, &["recordings.redis="]).await;
    rig.ends();
    service.said(OUT, 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn no_redis_before_bbb_is_installed_means_no_jobs() {
    let rig = Rig::without_bbb().await;
    rig.host.recordings.redis().close().await;
    let mut service = rig.serve(None, &[]);
    service.said("waiting: ", 1).await;
    rig.ends();
    service.said(OUT, 1).await;
    rig.is_gone();
}

// ---- BBB's settings

#[tokio::test]
async fn settings_that_a_restarted_service_does_not_find_hide_no_exam() {
    let (rig, service) = serving(Rig::bbb().await, &[]).await;
    rig.meet("exam");
    // What it remembers is written by now.
    rig.counted(1).await;
    service.signal("KILL").await;
    service.end().await;
    rig.host.files.remove().unwrap();
    let mut service = rig.serve(None, &["protection.idle=0"]);
    service.said("starting -> ", 1).await;
    rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
    assert!(rig.member().protected);
    drained(&rig, &mut service).await;
    waits(&rig, &["exam"], &["not known", "bbb-web.properties does not exist"]).await;
    rig.host.install("sandbox-bbb-secret").unwrap();
    waits(&rig, &["exam"], &["waiting for 1 meeting with 3 people"]).await;
    rig.host.bbb.end_meeting("exam");
    service.said(OUT, 1).await;
    rig.is_gone();
}

/// An address of loopback at which a BBB can have HTTPS' own port.
fn https() -> Result<SocketAddr, std::io::Error> {
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = SocketAddr::from(([127, 192 | (high & 63), low, 43], 443));
    std::net::TcpListener::bind(address).map(|_| address)
}

#[tokio::test]
async fn a_bbb_that_answers_is_installed_whatever_its_files_say() {
    let bbb = match https() {
        Ok(address) => address,
        Err(error) => return e2e::skipped(&format!("port 443: {error}")),
    };
    let host = HostOptions { installed: false, bbb, ..HostOptions::default() };
    let rig = Rig::start(Options { host, ..Options::with_tls() }).await;
    rig.host.bbb.set_mode(Mode::Ready);
    rig.host.bbb.start_meeting("exam", 3);
    let setting = format!("bbb.address={}", bbb.ip());
    let mut service = rig.serve(None, &[&setting]);
    service.said("waiting: ", 1).await;
    drained(&rig, &mut service).await;
    rig.ticked(4).await;
    rig.says(&["not known", "bbb-web.properties does not exist"]).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingWait);
    assert_eq!((rig.meetings(), rig.records()), (vec!["exam".to_owned()], rig.registered_now()));
    // Neither files nor an answer: it is not there.
    rig.host.bbb.end_all();
    rig.host.bbb.set_mode(Mode::NotInstalled);
    service.said(OUT, 1).await;
    rig.is_gone();
}

// ---- breakout rooms

#[tokio::test]
async fn people_in_breakout_rooms_without_a_listed_parent_are_waited_for() {
    at_once([ParentIds::Internal, ParentIds::External], async |ids| {
        let (rig, mut service) = serving(Rig::bbb().await, &["protection.idle=0"]).await;
        let bbb = &rig.host.bbb;
        bbb.set_parent_ids(ids);
        bbb.start_meeting("class", 2);
        for room in ["class-1", "class-2", "class-3"] {
            bbb.start_breakout(room, "class", 6);
        }
        bbb.end_meeting("class");
        rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
        drained(&rig, &mut service).await;
        let rooms = ["class-1", "class-2", "class-3"];
        waits(&rig, &rooms, &["waiting for 3 meetings with 18 people"]).await;
        let status = rig.standing().await;
        assert_eq!((&status["bbb"]["meetings"], &status["bbb"]["participants"]), (&3.into(), &18.into()));
        // Empty ones are not waited for.
        rooms.iter().for_each(|room| assert!(rig.host.bbb.set_participants(room, 0)));
        service.said(OUT, 1).await;
    })
    .await;
}

#[tokio::test]
async fn breakout_rooms_are_a_part_of_the_meeting_that_is_listed() {
    at_once([ParentIds::Internal, ParentIds::External], async |ids| {
        let (rig, mut service) = serving(Rig::bbb().await, &[]).await;
        let bbb = &rig.host.bbb;
        bbb.set_parent_ids(ids);
        bbb.start_meeting("class", 1);
        bbb.start_breakout("class-1", "class", 6);
        drained(&rig, &mut service).await;
        waits(&rig, &["class", "class-1"], &["waiting for 1 meeting with "]).await;
        assert_eq!(rig.standing().await["bbb"]["meetings"], 1);
        // All are in the room.
        rig.host.bbb.set_participants("class", 0);
        waits(&rig, &["class", "class-1"], &["waiting for 1 meeting with "]).await;
        rig.host.bbb.end_all();
        service.said(OUT, 1).await;
    })
    .await;
}

// ---- lists that one meeting spoils

/// Answers to `getMeetings`, and what is said of them.
const SPOILED: [(&str, &str, &[&str]); 4] = [
    ("cut off", cases::CUT_OFF, &["waiting for ", "cut off"]),
    ("an element's name", cases::ELEMENT_NAME, &["waiting for 1 meeting with 1 person"]),
    ("a count", cases::THOUSAND, &["waiting for 1 meeting with "]),
    ("rooms without a parent", cases::ORPHAN_BREAKOUTS, &["waiting for 3 meetings with 18 people"]),
];

#[tokio::test]
async fn a_list_that_one_meeting_spoils_is_no_reason_not_to_join() {
    at_once(SPOILED, async |(what, list, _)| {
        let rig = Rig::bbb().await;
        rig.host.bbb.set_listing(Some(list));
        let (rig, _service) = serving(rig, &[]).await;
        assert_eq!(rig.entry().state, ServerState::Enabled, "{what}");
    })
    .await;
}

#[tokio::test]
async fn a_list_that_one_meeting_spoils_counts_all_the_same() {
    at_once(SPOILED, async |(what, list, words)| {
        let (rig, mut service) = serving(Rig::bbb().await, &["protection.idle=0"]).await;
        rig.counted(2).await;
        rig.host.bbb.set_listing(Some(list));
        rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
        assert!(rig.member().protected, "{what}");
        drained(&rig, &mut service).await;
        waits(&rig, &NO_MEETING, words).await;
        rig.host.bbb.set_listing(None);
        service.said(OUT, 1).await;
        rig.is_gone();
    })
    .await;
}

#[tokio::test]
async fn what_people_bring_along_spoils_no_list() {
    let (rig, mut service) = serving(Rig::bbb().await, &[]).await;
    let userdata =
        ["1st", "lms:course", "a b", "&", "-->", "<![CDATA["].map(|name| (name.to_owned(), "x".to_owned()));
    rig.host.bbb.start(NewMeeting {
        id: "spoiled".to_owned(),
        participants: 1500.into(),
        names: vec!["bell\u{7}\u{0}\u{1b}[2J".to_owned()],
        userdata: userdata.into(),
        ..NewMeeting::default()
    });
    rig.host.bbb.start_meeting("whole", 2);
    drained(&rig, &mut service).await;
    waits(&rig, &["spoiled", "whole"], &["waiting for 2 meetings with 1502 people"]).await;
    rig.host.bbb.end_all();
    service.said(OUT, 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn a_breakout_room_without_a_parent_hides_the_meetings_after_it_and_ends_none() {
    let (rig, mut service) = serving(Rig::bbb().await, &[]).await;
    rig.host.bbb.start_meeting("a", 2);
    rig.host.bbb.start_breakout("b", "", 1);
    rig.host.bbb.start_meeting("c", 4);
    drained(&rig, &mut service).await;
    waits(&rig, &["a", "b", "c"], &["cut off"]).await;
    // Whatever could be read, there may be more.
    rig.host.bbb.end_meeting("a");
    rig.host.bbb.set_participants("b", 0);
    waits(&rig, &["b", "c"], &["cut off"]).await;
    rig.host.bbb.end_all();
    service.said(OUT, 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn what_answers_in_bbbs_place_is_named() {
    at_once([301, 401, 403, 429], async |status| {
        let (rig, mut service) = serving(Rig::bbb().await, &[]).await;
        rig.meet("room");
        rig.refuse(Bbb, "getMeetings", status, "", None);
        drained(&rig, &mut service).await;
        waits(&rig, &["room"], &["not known", &status.to_string()]).await;
        let words = rig.words().await;
        assert!(!words.contains("is this the address of a BigBlueButton?"), "{words}");
        assert!(!words.contains("checksum=0123"), "{words}");
        rig.heal();
        rig.host.bbb.end_meeting("room");
        service.said(OUT, 1).await;
    })
    .await;
}

// ---- one source

#[tokio::test]
async fn recordings_that_nothing_waits_for_do_not_protect_and_are_not_said_to_be_waited_for() {
    let rig = Rig::bbb().await;
    rig.host.recordings.redis().set_queue(ARCHIVE, 3);
    let (rig, mut service) = serving(rig, &["recordings.wait=false", "protection.idle=0"]).await;
    rig.counted(4).await;
    assert_eq!(rig.cloud.journal.count(AutoScaling, PROTECT), 0, "it is idle");
    rig.meet("room");
    rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
    drained(&rig, &mut service).await;
    waits(&rig, &["room"], &["waiting for 1 meeting with 3 people"]).await;
    let words = rig.words().await;
    assert!(!words.contains("recording"), "{words}");
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn status_beside_the_service_shows_what_the_service_has_counted() {
    let (rig, mut service) = serving(Rig::bbb().await, &["checks.work=3600"]).await;
    rig.meet("one");
    rig.meet("two");
    drained(&rig, &mut service).await;
    rig.says(&["waiting for 2 meetings with 6 people"]).await;
    let counts = rig.cloud.journal.count(Bbb, "getMeetings");
    rig.host.bbb.end_meeting("one");
    let status = rig.standing().await;
    assert_eq!(
        (&status["bbb"]["meetings"], &status["bbb"]["participants"]),
        (&2.into(), &6.into()),
        "{status:#}"
    );
    let screen = rig.run(&["status"]).await;
    screen.says(&["2 meetings with 6 people", "waiting for 2 meetings with 6 people"]);
    // The service alone asks BBB.
    assert_eq!(rig.cloud.journal.count(Bbb, "getMeetings"), counts);
}
