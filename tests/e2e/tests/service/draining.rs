//! The host is taken out: by its group, by hand; with meetings and recordings that end early, late and never.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Rig, Running, at_once};
use sandbox::cloud::{GroupOptions, HostOptions, Options};
use sandbox::faults::Fault;
use sandbox::fleet::{Hook, HookResult, LifecycleState, Transition};
use sandbox::http::ServiceName::{AutoScaling, Bbb, Route53, Scalelite};
use sandbox::recordings::Stage;
use sandbox::scalelite::ServerState;

const SERVING: &str = "-> serving:";
const DRAINING: &str = "-> draining:";
const LEAVING: &str = "-> leaving:";
const OUT: &str = "-> unregistered:";
const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

async fn serving(options: Options, settings: &[&str]) -> (Rig, Running) {
    let rig = Rig::start(options).await;
    let mut service = rig.serve(None, settings);
    service.said(SERVING, 1).await;
    (rig, service)
}

async fn on_one_host(settings: &[&str]) -> (Rig, Running) {
    serving(Options::with_tls(), settings).await
}

fn hook(name: &str, heartbeat_timeout: u64) -> Hook {
    let default_result = HookResult::Continue;
    Hook { name: name.to_owned(), transition: Transition::Terminating, heartbeat_timeout, default_result }
}

fn with_hooks(hooks: &[Hook]) -> Options {
    Options {
        group: GroupOptions { hooks: hooks.to_vec(), ..GroupOptions::default() },
        ..Options::with_tls()
    }
}

/// Nothing has happened to the host but that new meetings go elsewhere.
fn only_cordoned(rig: &Rig, meetings: &[&str]) {
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(rig.meetings(), meetings);
    assert_eq!(rig.records(), rig.registered_now());
    let changes = rig.changes_in_scalelite();
    assert!(changes.iter().all(|call| call == "updateServer"), "{changes:?}");
}

#[tokio::test]
async fn its_group_ends_an_empty_host() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.cloud.journal.clear();
    let chosen = rig.cloud.fleet.scale_in(&rig.cloud.group).unwrap();
    assert_eq!(chosen.as_deref(), Some(rig.host.id()));
    assert_eq!(rig.member().state, LifecycleState::TerminatingWait);
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
    // The cordon first, and alone; then disable, panic, delete.
    assert_eq!(rig.changes_in_scalelite(), ["updateServer", "updateServer", "panicServer", "deleteServer"]);
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    let mut calls = rig.calls(AutoScaling);
    assert_eq!(calls.pop().as_deref(), Some("CompleteLifecycleAction"));
    let heartbeats = calls.iter().filter(|call| *call == "RecordLifecycleActionHeartbeat").count();
    assert_eq!(heartbeats, 1, "{calls:?}");
    let asked = ["DescribeLifecycleHooks", "RecordLifecycleActionHeartbeat"];
    calls.sort();
    assert_eq!(calls, asked);
    // Nothing is begun any more, and nobody else is disturbed.
    rig.cloud.journal.clear();
    service.signal("USR1").await;
    rig.cloud.journal.reached(sandbox::http::ServiceName::Imds, "target-lifecycle-state", 3).await;
    for quiet in [Scalelite, Route53, AutoScaling, Bbb] {
        assert_eq!(rig.calls(quiet), [""; 0]);
    }
    assert!(service.goes_on());
}

#[tokio::test]
async fn the_cordon_follows_the_target_state_by_itself() {
    // Nothing else is due for a long time.
    let (rig, _service) = on_one_host(&["checks.work=3600", "checks.scalelite=86400"]).await;
    rig.meet("room");
    rig.cloud.journal.clear();
    rig.ends();
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    only_cordoned(&rig, &["room"]);
    assert_eq!(rig.changes_in_scalelite(), ["updateServer"]);
}

#[tokio::test]
async fn meetings_run_to_their_end() {
    let (rig, mut service) = on_one_host(&[]).await;
    for room in ["early", "late", "latest"] {
        rig.meet(room);
    }
    rig.cloud.journal.clear();
    rig.ends();
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    rig.host.bbb.end_meeting("early");
    rig.counted(3).await;
    only_cordoned(&rig, &["late", "latest"]);
    rig.host.bbb.end_meeting("late");
    rig.counted(3).await;
    only_cordoned(&rig, &["latest"]);
    assert_eq!(rig.member().state, LifecycleState::TerminatingWait);
    rig.host.bbb.end_meeting("latest");
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn somebody_who_comes_in_the_last_moment_is_waited_for() {
    let (rig, mut service) = on_one_host(&["drain.quiet=3"]).await;
    rig.meet("room");
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.counted(2).await;
    rig.host.bbb.end_meeting("room");
    rig.counted(2).await;
    // The same meeting begins again, as its people still have the link.
    rig.host.bbb.start_meeting("room", 2);
    rig.counted(5).await;
    only_cordoned_but_joined(&rig);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    rig.is_gone();
}

fn only_cordoned_but_joined(rig: &Rig) {
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(rig.meetings(), ["room"]);
}

/// A meeting that never ends and what the lifecycle action comes to, with another hook that holds the host too: it
/// goes on holding only where the agent's own is completed with CONTINUE.
#[tokio::test]
async fn at_the_deadline_meetings_are_ended_and_the_group_is_told_as_configured() {
    let rows = [
        ("continue", true, LifecycleState::TerminatingWait),
        ("abandon", true, LifecycleState::TerminatingProceed),
        ("abandon", false, LifecycleState::TerminatingWait),
    ];
    at_once(rows, async |(verdict, forced, state)| {
        let setting = format!("drain.at_deadline={verdict}");
        let hooks = with_hooks(&[hook("drain", 900), hook("other", 900)]);
        let (rig, mut service) = serving(hooks, &[&setting, "drain.hook=drain"]).await;
        rig.meet("room");
        rig.ends();
        service.said(DRAINING, 1).await;
        rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
        rig.counted(2).await;
        assert_eq!(rig.meetings(), ["room"], "{verdict}");
        if forced {
            rig.expect(0, &["drain", "--deadline", "1"]).await;
        } else {
            rig.host.bbb.end_meeting("room");
        }
        service.said(OUT, 1).await;
        rig.is_gone();
        assert_eq!(rig.member().state, state, "{verdict}, {forced}");
        let left: Vec<String> = rig.member().actions.into_iter().map(|action| action.hook).collect();
        assert!(!left.contains(&"drain".to_owned()), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn a_short_hook_bounds_the_drain() {
    // A hundred times thirty seconds, of which two minutes are for leaving.
    let (rig, mut service) = serving(with_hooks(&[hook("drain", 30)]), &[]).await;
    rig.meet("room");
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 1).await;
    let status = rig.status(4).await;
    let deadline = status["service"]["deadline"].as_u64().expect("a deadline");
    let bound = begin + 3000 - 120;
    // The time of day and what is left are each cut to whole seconds.
    assert!((bound - 1..bound + 60).contains(&deadline), "{deadline}, not {bound}: {status:#}");
}

#[tokio::test]
async fn heartbeats_hold_the_host_beyond_the_hooks_timeout() {
    let (rig, mut service) = serving(with_hooks(&[hook("drain", 30)]), &[]).await;
    rig.meet("room");
    rig.ends();
    service.said(DRAINING, 1).await;
    for heartbeats in 1..=3 {
        rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", heartbeats).await;
        // The next one comes a third of the timeout later.
        rig.cloud.clock.advance(Duration::from_secs(11));
        assert_eq!(rig.member().state, LifecycleState::TerminatingWait, "after {heartbeats} heartbeats");
    }
    assert_eq!(rig.member().actions[0].heartbeats, 3);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_heartbeat_that_is_throttled_is_sent_again() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.refuse(AutoScaling, "RecordLifecycleActionHeartbeat", 400, "Throttling", Some(2));
    rig.ends();
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 3).await;
    assert_eq!(rig.member().actions[0].heartbeats, 1);
    service.said("heartbeat: Auto Scaling RecordLifecycleActionHeartbeat of ", 1).await;
    only_cordoned_but_joined(&rig);
}

#[tokio::test]
async fn a_completion_that_is_throttled_is_sent_again() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.refuse(AutoScaling, "CompleteLifecycleAction", 400, "Throttling", Some(1));
    rig.ends();
    service.said(OUT, 1).await;
    assert_eq!(rig.cloud.journal.count(AutoScaling, "CompleteLifecycleAction"), 2);
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_group_without_a_hook_is_drained_as_far_as_it_gets() {
    let (rig, mut service) = serving(with_hooks(&[]), &[]).await;
    rig.ends();
    assert_eq!(rig.member().state, LifecycleState::Terminating);
    service.said("has no termination hook: an instance that it ends goes without being drained", 1).await;
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.cloud.journal.count(AutoScaling, "LifecycleAction"), 0);
}

#[tokio::test]
async fn which_of_several_hooks_is_the_agents_has_to_be_said() {
    let hooks = [hook("backup", 900), hook("drain", 900)];
    let (rig, mut service) = serving(with_hooks(&hooks), &[]).await;
    rig.ends();
    service.said("none of which this agent completes: name one in drain.hook", 1).await;
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.cloud.journal.count(AutoScaling, "CompleteLifecycleAction"), 0, "none is completed");
    assert_eq!(rig.member().actions.len(), 2);
}

#[tokio::test]
async fn every_hook_is_kept_alive_and_all_are_completed_where_that_is_set() {
    let hooks = [hook("backup", 60), hook("drain", 900)];
    let (rig, mut service) = serving(with_hooks(&hooks), &["drain.hooks=all"]).await;
    rig.meet("room");
    rig.ends();
    // The shorter one is told in time, and the other one too.
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 4).await;
    let beats: Vec<u32> = rig.member().actions.iter().map(|action| action.heartbeats).collect();
    assert_eq!(beats.len(), 2);
    assert!(beats.iter().all(|beats| *beats >= 2), "{beats:?}");
    assert_eq!(rig.meetings(), ["room"]);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
    assert_eq!(rig.cloud.journal.count(AutoScaling, "CompleteLifecycleAction"), 2);
}

#[tokio::test]
async fn the_deadline_that_is_shown_is_that_of_the_hook_that_ends_first() {
    let hooks = [hook("logs", 30), hook("drain", 900)];
    let (rig, mut service) = serving(with_hooks(&hooks), &["drain.hook=drain"]).await;
    let before = rig.standing().await;
    let named: Vec<(&str, bool)> = before["service"]["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hook| (hook["name"].as_str().unwrap(), hook["own"].as_bool().unwrap()))
        .collect();
    assert_eq!(named, [("logs", false), ("drain", true)], "before anything ends: {before:#}");
    rig.meet("room");
    rig.ends();
    service.said("-> draining:", 1).await;
    // 100 heartbeat timeouts of the log shipper's hook, less the time to leave.
    rig.says(&["at most 47 min more"]).await;
}

#[tokio::test]
async fn a_hook_that_is_added_while_the_host_drains_is_kept_alive_too() {
    let (rig, service) = serving(with_hooks(&[hook("drain", 900)]), &["drain.hook=drain"]).await;
    rig.meet("room");
    rig.ends();
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 1).await;
    rig.cloud.fleet.put_hook(&rig.cloud.group, hook("logs", 60)).unwrap();
    service.signal("USR1").await;
    rig.says(&["at most 1 h 37 min more"]).await;
}

#[tokio::test]
async fn a_hook_that_ended_by_itself_meanwhile_is_no_failure() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.ends();
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 1).await;
    rig.counted(2).await;
    rig.cloud.clock.advance(Duration::from_secs(901));
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    service.said("No active Lifecycle Action found", 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn a_heartbeat_for_a_hook_that_has_ended_is_no_trouble() {
    let (rig, mut service) = serving(with_hooks(&[hook("drain", 30)]), &["protection.enabled=false"]).await;
    rig.meet("room");
    rig.ends();
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 1).await;
    // Somebody else has completed it.
    rig.cloud.clock.advance(Duration::from_secs(31));
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 2).await;
    service.said("No active Lifecycle Action found", 1).await;
    assert_eq!(rig.meetings(), ["room"], "nothing is ended because of it");
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    let said = service.complaints();
    assert!(!said.contains("it is tried again"), "{said}");
}

#[tokio::test]
async fn recordings_leave_first() {
    // Between the queue and the worker's first file nobody can see a recording.
    let (rig, mut service) = on_one_host(&["drain.quiet=3"]).await;
    rig.host.recordings.reach(RECORDING, Stage::Recorded).unwrap();
    rig.ends();
    service.said(DRAINING, 1).await;
    let stages = [Stage::Queued, Stage::Archiving, Stage::Checked, Stage::Processed, Stage::Published];
    for stage in stages.into_iter().chain([Stage::Packed]) {
        rig.host.recordings.reach(RECORDING, stage).unwrap();
        rig.counted(2).await;
        assert_eq!(rig.entry().state, ServerState::Cordoned, "{stage:?}");
    }
    let status = rig.status(4).await;
    assert_eq!(status["service"]["recordings"], 1, "{status:#}");
    rig.host.recordings.reach(RECORDING, Stage::Sent).unwrap();
    service.said(OUT, 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn a_recording_that_has_failed_is_reported_and_not_waited_for() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.host.recordings.reach(RECORDING, Stage::Archived).unwrap();
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.counted(2).await;
    rig.host.recordings.fail(RECORDING).unwrap();
    rig.counted(2).await;
    let words = rig.status(4).await["service"]["words"].as_str().unwrap_or_default().to_owned();
    assert!(words.contains("waiting for 1 meeting with 3 people, not for 1 failed recording"), "{words}");
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_recording_that_stays_is_waited_for_until_the_deadline_or_not_at_all() {
    at_once([true, false], async |wait| {
        let setting = format!("recordings.wait={wait}");
        let (rig, mut service) = on_one_host(&[&setting]).await;
        rig.host.recordings.reach(RECORDING, Stage::Archived).unwrap();
        rig.ends();
        service.said(DRAINING, 1).await;
        if wait {
            rig.counted(4).await;
            assert_eq!(rig.entry().state, ServerState::Cordoned);
            rig.expect(0, &["drain", "--deadline", "1"]).await;
        }
        service.said(OUT, 1).await;
        rig.is_gone();
    })
    .await;
}

#[tokio::test]
async fn nothing_is_ended_before_the_cordon_is_there() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.fault(Scalelite, "", Fault::Close, None);
    rig.cloud.journal.clear();
    rig.ends();
    service.said("it is tried again", 1).await;
    let words = rig.status(5).await["service"]["words"].as_str().unwrap_or_default().to_owned();
    assert!(words.contains("not cordoned yet: Scalelite entry"), "{words}");
    // An empty host is none while anything may still begin on it.
    rig.host.bbb.end_meeting("room");
    rig.cloud.scalelite.forget_meeting("room");
    rig.counted(3).await;
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    rig.heal();
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.changes_in_scalelite(), ["updateServer", "updateServer", "panicServer", "deleteServer"]);
}

#[tokio::test]
async fn a_cordon_that_a_poll_overtook_is_made_again() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.cloud.scalelite.poll().await;
    rig.meet("room");
    rig.cloud.scalelite.poll_begin().await;
    rig.cloud.journal.clear();
    rig.ends();
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    rig.cloud.scalelite.poll_end().await;
    let entry = rig.entry();
    assert_eq!((entry.state, entry.in_placement), (ServerState::Cordoned, true), "the race is there");
    service.said(DRAINING, 1).await;
    rig.counted(3).await;
    assert_eq!(rig.changes_in_scalelite().len(), 1);
    rig.cloud.scalelite.create_meeting("late").await.unwrap();
    // Enabled and cordoned once more, which takes the host out of the placement.
    rig.cloud.journal.reached(Scalelite, "updateServer", 3).await;
    rig.counted(3).await;
    only_cordoned(&rig, &["late", "room"]);
    assert_eq!(rig.changes_in_scalelite().len(), 3, "once");
    assert!(!rig.entry().in_placement);
    assert!(rig.cloud.scalelite.create_meeting("later").await.is_err(), "placed elsewhere");
    rig.host.bbb.end_all();
    service.said(OUT, 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn a_poller_that_disables_the_idle_host_is_right() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.host.recordings.reach(RECORDING, Stage::Archived).unwrap();
    rig.ends();
    rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
    rig.cloud.scalelite.poll().await;
    assert_eq!(rig.entry().state, ServerState::Disabled);
    rig.cloud.journal.clear();
    // Looked at after a poll.
    rig.cloud.journal.reached(Scalelite, "getServer", 1).await;
    rig.counted(2).await;
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    rig.host.recordings.reach(RECORDING, Stage::Sent).unwrap();
    service.said(OUT, 1).await;
    rig.is_gone();
}

#[tokio::test]
async fn somebody_who_enables_a_host_that_its_group_ends_is_overruled() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.cloud.journal.clear();
    rig.ends();
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    service.said(DRAINING, 1).await;
    rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Enabled);
    rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
    only_cordoned(&rig, &["room"]);
}

#[tokio::test]
async fn a_service_that_was_killed_goes_on() {
    at_once([true, false], async |by_hand| {
        let (rig, mut service) = on_one_host(&[]).await;
        rig.meet("room");
        if by_hand {
            rig.expect(0, &["drain"]).await;
        } else {
            rig.ends();
            service.said(DRAINING, 1).await;
            rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
        }
        service.signal("KILL").await;
        service.end().await;
        rig.cloud.journal.clear();
        let mut service = rig.serve(None, &[]);
        service.said("starting -> draining:", 1).await;
        rig.counted(3).await;
        assert_eq!(rig.entry().state, ServerState::Cordoned);
        assert_eq!(rig.meetings(), ["room"], "by hand: {by_hand}");
        assert_eq!(rig.changes_in_scalelite(), [""; 0], "it is cordoned already");
        rig.host.bbb.end_meeting("room");
        service.said(OUT, 1).await;
        rig.is_gone();
        if !by_hand {
            assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
        }
    })
    .await;
}

#[tokio::test]
async fn a_host_that_its_group_keeps_after_all_takes_meetings_again() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
    rig.cloud.fleet.set_lifecycle_state(rig.host.id(), LifecycleState::InService).unwrap();
    service.said(SERVING, 2).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.meetings(), ["room"]);
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.cloud.journal.count(AutoScaling, "Complete"), 0);
}

#[tokio::test]
async fn people_are_told_before_their_meetings_end() {
    let (rig, mut service) =
        on_one_host(&["drain.announce=1,2", "drain.message=It ends in {minutes} min"]).await;
    rig.meet("one");
    rig.meet("two");
    rig.counted(2).await;
    let chat = |room: &str| rig.host.bbb.meeting(room).expect("a meeting").chat;
    rig.expect(0, &["drain", "--deadline", "70"]).await;
    rig.cloud.journal.reached(Bbb, "sendChatMessage", 4).await;
    for room in ["one", "two"] {
        assert_eq!(chat(room), ["It ends in 2 min", "It ends in 1 min"], "{room}");
    }
    rig.counted(3).await;
    assert_eq!(chat("one").len(), 2, "each of them once");
    rig.host.bbb.end_all();
    service.said(OUT, 1).await;
}

#[tokio::test]
async fn a_bbb_without_that_call_is_no_obstacle() {
    let host = HostOptions { version: "2.7.10".to_owned(), ..HostOptions::default() };
    let (rig, mut service) = serving(Options { host, ..Options::with_tls() }, &["drain.announce=1,2"]).await;
    rig.meet("one");
    rig.meet("two");
    rig.counted(2).await;
    rig.expect(0, &["drain", "--deadline", "62"]).await;
    rig.cloud.journal.reached(Bbb, "sendChatMessage", 1).await;
    service.said("meetings are not told that they end", 1).await;
    rig.expect(0, &["drain", "--deadline", "1"]).await;
    service.said(LEAVING, 1).await;
    service.said(OUT, 1).await;
    rig.is_gone();
    assert!(rig.cloud.journal.count(Bbb, "sendChatMessage") >= 2, "each time it is tried");
    service.signal("TERM").await;
    let run = service.end().await;
    assert_eq!(run.stderr.matches("meetings are not told that they end").count(), 1, "{run}");
}

#[tokio::test]
async fn meetings_of_the_name_that_the_host_had_before_count_too() {
    let (rig, service) = on_one_host(&[]).await;
    rig.meet("room");
    service.signal("KILL").await;
    service.end().await;
    // Somebody has changed the template and restarts the service; BBB is still set up for the old name.
    let mut service = rig.serve(None, &["dns.hostname=vd-{instance}"]);
    service.said("-> joining:", 1).await;
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.counted(4).await;
    assert_eq!(rig.meetings(), ["room"]);
    assert_eq!(rig.member().state, LifecycleState::TerminatingWait);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}
