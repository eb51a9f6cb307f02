//! The host is taken out: by its group, by hand; with meetings and recordings that end early, late and never.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Rig, Running, at_once};
use sandbox::cloud::{GroupOptions, HostOptions, Options};
use sandbox::faults::Fault;
use sandbox::fleet::{Hook, HookResult, LifecycleState, Member, Transition};
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

fn member(rig: &Rig) -> Member {
    rig.cloud.fleet.membership(rig.host.id()).expect("a member of the group").1
}

/// The group ends the host.
fn ends(rig: &Rig) {
    rig.cloud.fleet.terminate(rig.host.id()).unwrap();
}

/// Returns once what goes on was counted so often again.
async fn counted(rig: &Rig, times: usize) {
    let before = rig.cloud.journal.count(Bbb, "getMeetings");
    rig.cloud.journal.reached(Bbb, "getMeetings", before + times).await;
}

fn gone(rig: &Rig) {
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert_eq!(rig.meetings(), [""; 0]);
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
    assert_eq!(member(&rig).state, LifecycleState::TerminatingWait);
    service.said(OUT, 1).await;
    gone(&rig);
    assert_eq!(member(&rig).state, LifecycleState::TerminatingProceed);
    // The cordon first, and alone; then disable, panic, delete.
    assert_eq!(rig.changes_in_scalelite(), ["updateServer", "updateServer", "panicServer", "deleteServer"]);
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    let mut calls = rig.calls(AutoScaling);
    assert_eq!(calls.pop().as_deref(), Some("CompleteLifecycleAction"));
    let heartbeats = calls.iter().filter(|call| *call == "RecordLifecycleActionHeartbeat").count();
    assert_eq!(heartbeats, 1, "{calls:?}");
    let asked = ["DescribeAutoScalingInstances", "DescribeLifecycleHooks", "RecordLifecycleActionHeartbeat"];
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
    ends(&rig);
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
    ends(&rig);
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    rig.host.bbb.end_meeting("early");
    counted(&rig, 3).await;
    only_cordoned(&rig, &["late", "latest"]);
    rig.host.bbb.end_meeting("late");
    counted(&rig, 3).await;
    only_cordoned(&rig, &["latest"]);
    assert_eq!(member(&rig).state, LifecycleState::TerminatingWait);
    rig.host.bbb.end_meeting("latest");
    service.said(OUT, 1).await;
    gone(&rig);
    assert_eq!(member(&rig).state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn somebody_who_comes_in_the_last_moment_is_waited_for() {
    let (rig, mut service) = on_one_host(&["drain.quiet=3"]).await;
    rig.meet("room");
    ends(&rig);
    service.said(DRAINING, 1).await;
    counted(&rig, 2).await;
    rig.host.bbb.end_meeting("room");
    counted(&rig, 2).await;
    // The same meeting begins again, as its people still have the link.
    rig.host.bbb.start_meeting("room", 2);
    counted(&rig, 5).await;
    only_cordoned_but_joined(&rig);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    gone(&rig);
}

fn only_cordoned_but_joined(rig: &Rig) {
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(rig.meetings(), ["room"]);
}

/// A meeting that never ends and what the lifecycle action comes to, with another hook that holds the host too: it goes on
/// holding only where the agent's own is completed with CONTINUE.
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
        ends(&rig);
        service.said(DRAINING, 1).await;
        rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
        counted(&rig, 2).await;
        assert_eq!(rig.meetings(), ["room"], "{verdict}");
        if forced {
            rig.expect(0, &["drain", "--deadline", "1"]).await;
        } else {
            rig.host.bbb.end_meeting("room");
        }
        service.said(OUT, 1).await;
        gone(&rig);
        assert_eq!(member(&rig).state, state, "{verdict}, {forced}");
        let left: Vec<String> = member(&rig).actions.into_iter().map(|action| action.hook).collect();
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
    ends(&rig);
    service.said(DRAINING, 1).await;
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 1).await;
    let status = rig.status(4).await;
    let deadline = status["service"]["deadline"].as_u64().expect("a deadline");
    let bound = begin + 3000 - 120;
    assert!((bound..bound + 60).contains(&deadline), "{deadline}, not {bound}: {status:#}");
}

#[tokio::test]
async fn heartbeats_hold_the_host_beyond_the_hooks_timeout() {
    let (rig, mut service) = serving(with_hooks(&[hook("drain", 30)]), &[]).await;
    rig.meet("room");
    ends(&rig);
    service.said(DRAINING, 1).await;
    for heartbeats in 1..=3 {
        rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", heartbeats).await;
        // The next one comes a third of the timeout later.
        rig.cloud.clock.advance(Duration::from_secs(11));
        assert_eq!(member(&rig).state, LifecycleState::TerminatingWait, "after {heartbeats} heartbeats");
    }
    assert_eq!(member(&rig).actions[0].heartbeats, 3);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    assert_eq!(member(&rig).state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_heartbeat_that_is_throttled_is_sent_again() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.refuse(AutoScaling, "RecordLifecycleActionHeartbeat", 400, "Throttling", Some(2));
    ends(&rig);
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 3).await;
    assert_eq!(member(&rig).actions[0].heartbeats, 1);
    service.said("heartbeat: Auto Scaling RecordLifecycleActionHeartbeat of ", 1).await;
    only_cordoned_but_joined(&rig);
}

#[tokio::test]
async fn a_completion_that_is_throttled_is_sent_again() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.refuse(AutoScaling, "CompleteLifecycleAction", 400, "Throttling", Some(1));
    ends(&rig);
    service.said(OUT, 1).await;
    assert_eq!(rig.cloud.journal.count(AutoScaling, "CompleteLifecycleAction"), 2);
    assert_eq!(member(&rig).state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_group_without_a_hook_is_drained_as_far_as_it_gets() {
    let (rig, mut service) = serving(with_hooks(&[]), &[]).await;
    ends(&rig);
    assert_eq!(member(&rig).state, LifecycleState::Terminating);
    service.said("has the termination hooks [], of which drain.hook names none", 1).await;
    service.said(OUT, 1).await;
    gone(&rig);
    assert_eq!(rig.cloud.journal.count(AutoScaling, "LifecycleAction"), 0);
}

#[tokio::test]
async fn which_of_several_hooks_is_the_agents_has_to_be_said() {
    let hooks = [hook("backup", 900), hook("drain", 900)];
    let (rig, mut service) = serving(with_hooks(&hooks), &[]).await;
    ends(&rig);
    service.said("has the termination hooks [backup, drain], of which drain.hook names none", 1).await;
    service.said(OUT, 1).await;
    gone(&rig);
    assert_eq!(rig.cloud.journal.count(AutoScaling, "LifecycleAction"), 0, "none is touched");
    assert_eq!(member(&rig).actions.len(), 2);
}

#[tokio::test]
async fn a_hook_that_ended_by_itself_meanwhile_is_no_failure() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    ends(&rig);
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 1).await;
    counted(&rig, 2).await;
    rig.cloud.clock.advance(Duration::from_secs(901));
    assert_eq!(member(&rig).state, LifecycleState::TerminatingProceed);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    service.said("No active Lifecycle Action found", 1).await;
    gone(&rig);
}

#[tokio::test]
async fn recordings_leave_first() {
    // Between the queue and the worker's first file nobody can see a recording.
    let (rig, mut service) = on_one_host(&["drain.quiet=3"]).await;
    rig.host.recordings.reach(RECORDING, Stage::Recorded).unwrap();
    ends(&rig);
    service.said(DRAINING, 1).await;
    for stage in [Stage::Queued, Stage::Archiving, Stage::Checked, Stage::Processed] {
        rig.host.recordings.reach(RECORDING, stage).unwrap();
        counted(&rig, 2).await;
        assert_eq!(rig.entry().state, ServerState::Cordoned, "{stage:?}");
    }
    let status = rig.status(4).await;
    assert_eq!(status["service"]["recordings"], 1, "{status:#}");
    rig.host.recordings.reach(RECORDING, Stage::Published).unwrap();
    service.said(OUT, 1).await;
    gone(&rig);
}

#[tokio::test]
async fn a_recording_that_has_failed_is_reported_and_not_waited_for() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.host.recordings.reach(RECORDING, Stage::Archived).unwrap();
    ends(&rig);
    service.said(DRAINING, 1).await;
    counted(&rig, 2).await;
    rig.host.recordings.fail(RECORDING).unwrap();
    counted(&rig, 2).await;
    let words = rig.status(4).await["service"]["words"].as_str().unwrap_or_default().to_owned();
    assert!(words.contains("1 meeting and 0 recordings (1 recordings have failed"), "{words}");
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    gone(&rig);
    assert_eq!(member(&rig).state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_recording_that_stays_is_waited_for_until_the_deadline_or_not_at_all() {
    at_once([true, false], async |wait| {
        let setting = format!("recordings.wait={wait}");
        let (rig, mut service) = on_one_host(&[&setting]).await;
        rig.host.recordings.reach(RECORDING, Stage::Archived).unwrap();
        ends(&rig);
        service.said(DRAINING, 1).await;
        if wait {
            counted(&rig, 4).await;
            assert_eq!(rig.entry().state, ServerState::Cordoned);
            rig.expect(0, &["drain", "--deadline", "1"]).await;
        }
        service.said(OUT, 1).await;
        gone(&rig);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_ended_before_the_cordon_is_there() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.fault(Scalelite, "", Fault::Close, None);
    rig.cloud.journal.clear();
    ends(&rig);
    service.said("it is tried again", 1).await;
    let words = rig.status(5).await["service"]["words"].as_str().unwrap_or_default().to_owned();
    assert!(words.contains("not cordoned yet: Scalelite entry"), "{words}");
    // An empty host is none while anything may still begin on it.
    rig.host.bbb.end_meeting("room");
    rig.cloud.scalelite.forget_meeting("room");
    counted(&rig, 3).await;
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    rig.heal();
    service.said(OUT, 1).await;
    gone(&rig);
    assert_eq!(rig.changes_in_scalelite(), ["updateServer", "updateServer", "panicServer", "deleteServer"]);
}

#[tokio::test]
async fn a_cordon_that_a_poll_overtook_is_made_again() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.cloud.scalelite.poll().await;
    rig.meet("room");
    rig.cloud.scalelite.poll_begin().await;
    rig.cloud.journal.clear();
    ends(&rig);
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    rig.cloud.scalelite.poll_end().await;
    let entry = rig.entry();
    assert_eq!((entry.state, entry.in_placement), (ServerState::Cordoned, true), "the race is there");
    service.said(DRAINING, 1).await;
    counted(&rig, 3).await;
    assert_eq!(rig.changes_in_scalelite().len(), 1);
    rig.cloud.scalelite.create_meeting("late").await.unwrap();
    // Enabled and cordoned once more, which takes the host out of the placement.
    rig.cloud.journal.reached(Scalelite, "updateServer", 3).await;
    counted(&rig, 3).await;
    only_cordoned(&rig, &["late", "room"]);
    assert_eq!(rig.changes_in_scalelite().len(), 3, "once");
    assert!(!rig.entry().in_placement);
    assert!(rig.cloud.scalelite.create_meeting("later").await.is_err(), "placed elsewhere");
    rig.host.bbb.end_all();
    service.said(OUT, 1).await;
    gone(&rig);
}

#[tokio::test]
async fn a_poller_that_disables_the_idle_host_is_right() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.host.recordings.reach(RECORDING, Stage::Archived).unwrap();
    ends(&rig);
    rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
    rig.cloud.scalelite.poll().await;
    assert_eq!(rig.entry().state, ServerState::Disabled);
    rig.cloud.journal.clear();
    // Looked at after a poll.
    rig.cloud.journal.reached(Scalelite, "getServers", 1).await;
    counted(&rig, 2).await;
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    rig.host.recordings.reach(RECORDING, Stage::Published).unwrap();
    service.said(OUT, 1).await;
    gone(&rig);
}

#[tokio::test]
async fn somebody_who_enables_a_host_that_its_group_ends_is_overruled() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    rig.cloud.journal.clear();
    ends(&rig);
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
            ends(&rig);
            service.said(DRAINING, 1).await;
            rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
        }
        service.signal("KILL").await;
        service.end().await;
        rig.cloud.journal.clear();
        let mut service = rig.serve(None, &[]);
        service.said("starting -> draining:", 1).await;
        counted(&rig, 3).await;
        assert_eq!(rig.entry().state, ServerState::Cordoned);
        assert_eq!(rig.meetings(), ["room"], "by hand: {by_hand}");
        assert_eq!(rig.changes_in_scalelite(), [""; 0], "it is cordoned already");
        rig.host.bbb.end_meeting("room");
        service.said(OUT, 1).await;
        gone(&rig);
        if !by_hand {
            assert_eq!(member(&rig).state, LifecycleState::TerminatingProceed);
        }
    })
    .await;
}

#[tokio::test]
async fn a_host_that_its_group_keeps_after_all_takes_meetings_again() {
    let (rig, mut service) = on_one_host(&[]).await;
    rig.meet("room");
    ends(&rig);
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
    counted(&rig, 2).await;
    let chat = |room: &str| rig.host.bbb.meeting(room).expect("a meeting").chat;
    rig.expect(0, &["drain", "--deadline", "70"]).await;
    rig.cloud.journal.reached(Bbb, "sendChatMessage", 4).await;
    for room in ["one", "two"] {
        assert_eq!(chat(room), ["It ends in 2 min", "It ends in 1 min"], "{room}");
    }
    counted(&rig, 3).await;
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
    counted(&rig, 2).await;
    rig.expect(0, &["drain", "--deadline", "62"]).await;
    rig.cloud.journal.reached(Bbb, "sendChatMessage", 1).await;
    service.said("meetings are not told that they end", 1).await;
    rig.expect(0, &["drain", "--deadline", "1"]).await;
    service.said(LEAVING, 1).await;
    service.said(OUT, 1).await;
    gone(&rig);
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
    ends(&rig);
    service.said(DRAINING, 1).await;
    counted(&rig, 4).await;
    assert_eq!(rig.meetings(), ["room"]);
    assert_eq!(member(&rig).state, LifecycleState::TerminatingWait);
    rig.host.bbb.end_meeting("room");
    service.said(OUT, 1).await;
    assert_eq!(member(&rig).state, LifecycleState::TerminatingProceed);
}
