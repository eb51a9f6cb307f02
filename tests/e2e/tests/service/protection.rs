//! Scale-in protection: on while the host is busy, off once it was idle for a while, and a call only when that changes.

use e2e::{Rig, Running};
use sandbox::cloud::{HostOptions, Options};
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::{AutoScaling, Bbb};
use sandbox::recordings::Stage;

const SERVING: &str = "-> serving:";
const SET: &str = "SetInstanceProtection";
const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

async fn serving(options: Options, settings: &[&str]) -> (Rig, Running) {
    let rig = Rig::start(options).await;
    let mut service = rig.serve(None, settings);
    service.said(SERVING, 1).await;
    (rig, service)
}

/// The questions of a service that starts: which group the host is in, and which hooks that has.
const ASKED: [&str; 2] = ["DescribeAutoScalingInstances", "DescribeLifecycleHooks"];

#[tokio::test]
async fn a_busy_host_is_protected_with_one_call_each_way() {
    let (rig, _service) = serving(Options::with_tls(), &["protection.idle=1"]).await;
    rig.counted(2).await;
    assert_eq!(rig.calls(AutoScaling), ASKED, "nothing goes on yet");
    rig.cloud.journal.clear();
    rig.meet("room");
    rig.cloud.journal.reached(AutoScaling, SET, 1).await;
    assert!(rig.member().protected);
    assert_eq!(rig.cloud.fleet.scale_in(&rig.cloud.group).unwrap(), None, "it cannot be chosen");
    rig.counted(4).await;
    rig.meet("another");
    rig.counted(2).await;
    assert_eq!(rig.calls(AutoScaling), [SET], "not repeated while it runs");
    rig.host.bbb.end_all();
    rig.cloud.journal.reached(AutoScaling, SET, 2).await;
    assert!(!rig.member().protected);
    rig.counted(3).await;
    assert_eq!(rig.calls(AutoScaling), [SET, SET]);
}

#[tokio::test]
async fn a_break_between_two_meetings_does_not_count_as_idle() {
    let (rig, _service) = serving(Options::with_tls(), &["protection.idle=300"]).await;
    rig.meet("room");
    rig.cloud.journal.reached(AutoScaling, SET, 1).await;
    rig.host.bbb.end_all();
    rig.counted(3).await;
    rig.meet("room");
    rig.counted(3).await;
    assert!(rig.member().protected);
    assert_eq!(rig.cloud.journal.count(AutoScaling, SET), 1);
}

#[tokio::test]
async fn a_recording_that_has_not_left_keeps_it() {
    let (rig, _service) = serving(Options::with_tls(), &["protection.idle=0"]).await;
    rig.meet("room");
    rig.cloud.journal.reached(AutoScaling, SET, 1).await;
    rig.host.recordings.reach(RECORDING, Stage::Archived).unwrap();
    rig.host.bbb.end_all();
    rig.counted(3).await;
    assert!(rig.member().protected);
    rig.host.recordings.reach(RECORDING, Stage::Sent).unwrap();
    rig.cloud.journal.reached(AutoScaling, SET, 2).await;
    assert!(!rig.member().protected);
}

#[tokio::test]
async fn what_cannot_be_counted_is_not_idle() {
    let (rig, _service) = serving(Options::with_tls(), &["protection.idle=0"]).await;
    rig.meet("room");
    rig.cloud.journal.reached(AutoScaling, SET, 1).await;
    rig.refuse(Bbb, "getMeetings", 504, "", None);
    rig.counted(3).await;
    assert!(rig.member().protected);
    assert_eq!(rig.cloud.journal.count(AutoScaling, SET), 1);
}

#[tokio::test]
async fn a_restart_finds_what_the_group_has() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&["protection.idle=0"]).await;
    rig.meet("room");
    rig.cloud.journal.reached(AutoScaling, SET, 1).await;
    service.restart("bbb-agent.service").await;
    assert!(rig.member().protected, "a service that is restarted changes nothing about it");
    rig.cloud.journal.clear();
    let mut service = rig.serve(None, &["protection.idle=0"]);
    service.said(SERVING, 1).await;
    rig.counted(3).await;
    assert_eq!(rig.calls(AutoScaling), ASKED);
    rig.host.bbb.end_all();
    rig.cloud.journal.reached(AutoScaling, SET, 1).await;
    assert!(!rig.member().protected);
}

#[tokio::test]
async fn switched_off_nothing_is_set() {
    let (rig, _service) = serving(Options::with_tls(), &["protection.enabled=false"]).await;
    rig.meet("room");
    rig.counted(3).await;
    assert_eq!(rig.calls(AutoScaling), ASKED);
}

#[tokio::test]
async fn outside_a_group_nobody_is_asked() {
    let host = HostOptions { group: None, ..HostOptions::default() };
    let (rig, _service) = serving(Options { host, ..Options::with_tls() }, &[]).await;
    rig.meet("room");
    rig.counted(3).await;
    assert_eq!(rig.calls(AutoScaling), [""; 0]);
}

#[tokio::test]
async fn a_permission_that_is_missing_is_said_once_and_disturbs_nothing() {
    let (rig, mut service) = serving(Options::with_tls(), &[]).await;
    rig.counted(2).await;
    rig.refuse(AutoScaling, SET, 403, "AccessDenied", None);
    rig.meet("room");
    service.said("protect: Auto Scaling SetInstanceProtection of ", 1).await;
    let words = rig.status(0).await["service"]["words"].as_str().unwrap_or_default().to_owned();
    assert!(words.starts_with("registered; scale-in protection: "), "{words}");
    rig.cloud.journal.reached(AutoScaling, SET, 2).await;
    rig.counted(1).await;
    service.signal("TERM").await;
    let run = service.end().await;
    assert_eq!(run.stderr.matches("SetInstanceProtection of ").count(), 1, "{run}");
}

#[tokio::test]
async fn throttling_is_survived() {
    let (rig, mut service) = serving(Options::with_tls(), &[]).await;
    rig.refuse(AutoScaling, SET, 400, "Throttling", Some(1));
    rig.meet("room");
    service.said("protect: Auto Scaling SetInstanceProtection of ", 1).await;
    rig.cloud.journal.reached(AutoScaling, SET, 2).await;
    rig.counted(1).await;
    assert!(rig.member().protected);
}

/// A group that is being deleted waits for its protected hosts, and its stack for it: nobody else ends their protection.
#[tokio::test]
async fn a_group_that_is_being_deleted_gets_its_busy_host() {
    type Close = fn(&Rig);
    let rows: [(&str, Close); 2] = [
        ("deleted", |rig| rig.cloud.fleet.delete_group(&rig.cloud.group).unwrap()),
        ("emptied for good", |rig| rig.cloud.fleet.empty(&rig.cloud.group).unwrap()),
    ];
    for (row, close) in rows {
        let rig = Rig::bbb().await;
        let service = rig.serving(&[]).await;
        rig.meet("room");
        rig.cloud.journal.reached(AutoScaling, SET, 1).await;
        rig.checked(&service).await;
        rig.cloud.journal.reached(AutoScaling, "DescribeAutoScalingGroups", 1).await;
        assert!(rig.member().protected, "{row}: the group stays so far");
        close(&rig);
        assert_eq!(rig.member().state, LifecycleState::InService, "{row}: it waits");
        let mut service = service;
        let ended = async { rig.cloud.journal.reached(AutoScaling, SET, 2).await };
        rig.until(&service, ended).await;
        service.comes_to("draining", 1).await;
        assert_eq!(rig.member().state, LifecycleState::TerminatingWait, "{row}");
        assert_eq!(rig.meetings(), ["room"], "{row}: it is drained, as ever");
        assert_eq!(rig.cloud.journal.count(AutoScaling, SET), 2, "{row}: once each way");
    }
}
