//! Recordings in every state that BBB leaves them in: what is waited for, what is reported and not waited for, and what
//! exists on this host only.

use std::time::Duration;

use e2e::{Rig, Running, at_once};
use sandbox::bbb::{NewMeeting, cases};
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::AutoScaling;
use sandbox::recordings::Stage;
use sandbox::redis::Manner;
use sandbox::scalelite::ServerState;

const SERVING: &str = "-> serving:";
const DRAINING: &str = "-> draining:";
const OUT: &str = "-> unregistered:";
const PROTECT: &str = "SetInstanceProtection";
const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";
const NO_MEETING: [&str; 0] = [];
const DAY: Duration = Duration::from_secs(86_400);
const NOW: Duration = Duration::ZERO;

async fn serving(rig: Rig, settings: &[&str]) -> (Rig, Running) {
    let mut service = rig.serve(None, settings);
    service.said(SERVING, 1).await;
    (rig, service)
}

/// Fails unless a host that its group ends is still there some counts later, and says why.
async fn waits(rig: &Rig, words: &[&str]) {
    rig.counted(4).await;
    rig.is_only_cordoned(&NO_MEETING);
    rig.says(words).await;
}

async fn is_let_go(rig: &Rig, service: &mut Running) {
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

// ---- each format has a fate of its own

#[tokio::test]
async fn a_format_that_has_failed_hides_no_other() {
    let rows = [
        ("sanity/R.done published/R-presentation.done processed/R-video.fail", "1 to send"),
        ("raw/R archived/R.done sanity/R.done processed/R-video.fail", "1 to publish"),
        ("sanity/R.done processed/R-presentation.done published/R-video.fail", "1 to publish"),
        ("published/R-video.fail scalelite/R-presentation.tar", "1 to send"),
    ];
    at_once(rows, async |(files, words)| {
        let rig = Rig::bbb().await;
        rig.host.recordings.put(RECORDING, files, NOW).unwrap();
        let (rig, mut service) = serving(rig, &[]).await;
        rig.ends();
        service.said(DRAINING, 1).await;
        waits(&rig, &["waiting for 1 recording", words, "failed"]).await;
        let package = rig.host.recordings.directory().join(format!("scalelite/{RECORDING}-presentation.tar"));
        let _ = std::fs::remove_file(package);
        rig.host
            .recordings
            .put(RECORDING, "published/R-presentation.done published/R-sender.done", NOW)
            .unwrap();
        is_let_go(&rig, &mut service).await;
    })
    .await;
}

// ---- what nobody works on any more

/// The files of recordings that nobody will ever finish.
const STUCK: [&str; 5] = [
    "raw/R archived/R.done sanity/R.done",
    "archived/R.done sanity/R.done processed/R-presentation.done published/R-presentation.done",
    "raw/R",
    "recorded/R.done",
    "scalelite/R-presentation.tar",
];

#[tokio::test]
async fn a_recording_that_nobody_works_on_is_reported_and_not_waited_for() {
    at_once(STUCK, async |files| {
        let rig = Rig::bbb().await;
        rig.host.recordings.put(RECORDING, files, 20 * DAY).unwrap();
        let (rig, mut service) = serving(rig, &["protection.idle=0"]).await;
        rig.counted(4).await;
        assert_eq!(rig.cloud.journal.count(AutoScaling, PROTECT), 0, "{files}: it protects nothing");
        let screen = rig.run(&["status"]).await;
        screen.says(&[RECORDING, "stuck", "20 d"]);
        rig.ends();
        is_let_go(&rig, &mut service).await;
    })
    .await;
}

#[tokio::test]
async fn a_recording_may_still_be_worked_on() {
    let rows =
        ["a job is queued", "a worker has a job", "redis is silent", "it has just changed", "patience"];
    at_once(rows, async |what| {
        let rig = Rig::bbb().await;
        let recordings = &rig.host.recordings;
        recordings.put(RECORDING, STUCK[0], 20 * DAY).unwrap();
        let mut settings = Vec::new();
        match what {
            "a job is queued" => recordings.redis().set_queue("rap:process", 1),
            "a worker has a job" => recordings.redis().set_worker("bbb:1:rap:process", true),
            "redis is silent" => recordings.redis().set_manner(Manner::Silent),
            "it has just changed" => recordings.put(RECORDING, "archived/R.done", NOW).unwrap(),
            _ => {
                recordings.grow_old(RECORDING, 6 * DAY).unwrap();
                settings.push("recordings.stuck=604800");
            }
        }
        let (rig, mut service) = serving(rig, &settings).await;
        rig.ends();
        service.said(DRAINING, 1).await;
        waits(&rig, &["waiting for "]).await;
        rig.host.recordings.redis().set_manner(Manner::Answer);
        rig.host.recordings.redis().set_queue("rap:process", 0);
        rig.host.recordings.redis().set_worker("bbb:1:rap:process", false);
        rig.host
            .recordings
            .put(RECORDING, "published/R-presentation.done published/R-sender.done", NOW)
            .unwrap();
        is_let_go(&rig, &mut service).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_stuck_is_a_matter_of_a_setting() {
    let rig = Rig::bbb().await;
    rig.host.recordings.put(RECORDING, STUCK[0], Duration::from_secs(600)).unwrap();
    let (rig, mut service) = serving(rig, &["recordings.stuck=300"]).await;
    rig.ends();
    is_let_go(&rig, &mut service).await;
}

#[tokio::test]
async fn a_recording_that_gets_stuck_while_the_host_is_drained_is_let_go() {
    let rig = Rig::bbb().await;
    rig.host.recordings.put(RECORDING, STUCK[0], Duration::from_secs(60)).unwrap();
    let (rig, mut service) = serving(rig, &["recordings.stuck=7200"]).await;
    rig.ends();
    service.said(DRAINING, 1).await;
    waits(&rig, &["1 to publish"]).await;
    rig.host.recordings.grow_old(RECORDING, 2 * DAY).unwrap();
    is_let_go(&rig, &mut service).await;
}

// ---- meetings with nobody in them

#[tokio::test]
async fn a_meeting_that_nobody_joins_is_not_waited_for_for_ever() {
    for (list, id) in [(cases::NEVER_JOINED, "b418e603"), (cases::FORCIBLY_ENDED, "room-a")] {
        let rig = Rig::bbb().await;
        rig.host.bbb.set_listing(Some(list));
        let (rig, mut service) = serving(rig, &["protection.idle=0"]).await;
        rig.counted(4).await;
        assert_eq!(rig.cloud.journal.count(AutoScaling, PROTECT), 0, "{id}: it protects nothing");
        rig.run(&["status"]).await.says(&[id]);
        rig.ends();
        is_let_go(&rig, &mut service).await;
    }
}

#[tokio::test]
async fn a_meeting_that_was_just_created_is_waited_for() {
    let rig = Rig::bbb().await;
    rig.host.bbb.start(NewMeeting { id: "soon".to_owned(), lingers: true, ..NewMeeting::default() });
    let (rig, mut service) = serving(rig, &["protection.idle=0"]).await;
    rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
    assert!(rig.member().protected);
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.counted(4).await;
    rig.is_only_cordoned(&["soon"]);
    rig.says(&["waiting for 1 meeting with 0 people"]).await;
    // Somebody comes, and goes; then BBB ends it, and goes on listing it.
    rig.host.bbb.set_participants("soon", 1);
    rig.says(&["waiting for 1 meeting with 1 person"]).await;
    rig.host.bbb.start(NewMeeting { id: "soon".to_owned(), forcibly_ended: true, ..NewMeeting::default() });
    service.said(OUT, 1).await;
}

#[tokio::test]
async fn how_long_an_empty_meeting_is_waited_for_is_a_matter_of_a_setting() {
    let rig = Rig::bbb().await;
    let (rig, mut service) = serving(rig, &["drain.empty_meeting=4"]).await;
    rig.meet("room");
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.counted(6).await;
    rig.is_only_cordoned(&["room"]);
    // All have left; BBB would keep it for a while.
    rig.host.bbb.set_participants("room", 0);
    rig.says(&["waiting for 1 meeting with 0 people"]).await;
    is_let_go(&rig, &mut service).await;
}

// ---- nobody sends them

#[tokio::test]
async fn a_recording_that_nobody_sends_is_waited_for_until_the_operator_says_otherwise() {
    let rig = Rig::bbb().await;
    std::fs::remove_file(rig.host.recordings.sender()).unwrap();
    rig.host.recordings.put(RECORDING, STUCK[1], 30 * DAY).unwrap();
    let (rig, mut service) = serving(rig, &[]).await;
    rig.counted(1).await;
    let status = rig.status(4).await;
    let reasons = status["reasons"].to_string();
    assert!(reasons.contains("sender"), "{status:#}");
    let check = rig.run(&["check"]).await;
    check.says(&["no sender"]);
    rig.ends();
    service.said(DRAINING, 1).await;
    waits(&rig, &["waiting for 1 recording", "without a sender"]).await;
    rig.drop_in("sender", "[recordings]\nsender = \"none\"\n");
    service.signal("HUP").await;
    is_let_go(&rig, &mut service).await;
}

#[tokio::test]
async fn the_sender_may_have_another_name() {
    let rig = Rig::bbb().await;
    let recordings = &rig.host.recordings;
    recordings.install_sender_as("post_publish_scalelite.rb").unwrap();
    let path = recordings.post_publish().join("post_publish_scalelite.rb");
    rig.drop_in("sender", &format!("[recordings]\nsender = \"{}\"\n", path.display()));
    recordings.put(RECORDING, "sanity/R.done published/R-presentation.done", NOW).unwrap();
    let (rig, mut service) = serving(rig, &[]).await;
    rig.ends();
    service.said(DRAINING, 1).await;
    waits(&rig, &["1 to send"]).await;
    rig.host.recordings.put(RECORDING, "published/R-sender.done", NOW).unwrap();
    is_let_go(&rig, &mut service).await;
}

// ---- after the deadline

/// A host that is drained with a meeting and a recording until a deadline that ends the meeting.
async fn overdue(settings: &[&str]) -> (Rig, Running) {
    let rig = Rig::bbb().await;
    rig.host.recordings.reach(RECORDING, Stage::Recorded).unwrap();
    let (rig, mut service) = serving(rig, settings).await;
    rig.meet("room");
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.counted(2).await;
    rig.is_only_cordoned(&["room"]);
    rig.expect(0, &["drain", "--deadline", "1"]).await;
    (rig, service)
}

#[tokio::test]
async fn recordings_are_waited_for_after_a_deadline_that_ended_meetings() {
    let (rig, mut service) = overdue(&[]).await;
    rig.until_ended().await;
    rig.ticked(5).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingWait, "the hook still holds the host");
    rig.says(&["1 recording"]).await;
    rig.host.recordings.reach(RECORDING, Stage::Sent).unwrap();
    service.said(OUT, 1).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
    rig.is_gone();
}

#[tokio::test]
async fn recordings_are_not_waited_for_after_a_deadline_for_longer_than_is_set() {
    let (rig, mut service) = overdue(&["recordings.after_deadline=3"]).await;
    rig.until_ended().await;
    is_let_go(&rig, &mut service).await;
}

#[tokio::test]
async fn a_deadline_that_was_not_needed_changes_nothing_for_recordings() {
    let rig = Rig::bbb().await;
    rig.host.recordings.reach(RECORDING, Stage::Archived).unwrap();
    let (rig, mut service) = serving(rig, &["recordings.after_deadline=0"]).await;
    rig.ends();
    service.said(DRAINING, 1).await;
    waits(&rig, &["1 to check"]).await;
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    rig.host.recordings.reach(RECORDING, Stage::Sent).unwrap();
    is_let_go(&rig, &mut service).await;
}
