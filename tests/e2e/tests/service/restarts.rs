//! What is under way outlives an odd answer and a restart: a way out is left only with proof, a deadline stays what it
//! was, an order has its own result, and nothing is protected for longer than there is a reason.

use std::time::Duration;

use e2e::{Rig, Running, Service, Systemd, Trouble, at_once};
use sandbox::cloud::{GroupOptions, Options};
use sandbox::fleet::{Hook, HookResult, LifecycleState, Transition};
use sandbox::http::ServiceName::{AutoScaling, Imds, Scalelite};
use sandbox::scalelite::ServerState;

const SERVING: &str = "-> serving:";
const DRAINING: &str = "-> draining:";
const LEAVING: &str = "-> leaving:";
const OUT: &str = "-> unregistered:";
const PROTECT: &str = "SetInstanceProtection";
const UNIT: &str = "bbb-agent.service";
const TARGET: &str = "target-lifecycle-state";
const PLAIN: [&str; 1] = ["protection.enabled=false"];

async fn busy(settings: &[&str]) -> (Rig, Running) {
    let rig = Rig::bbb().await;
    let mut service = rig.serve(None, settings);
    service.said(SERVING, 1).await;
    rig.meet("room");
    (rig, service)
}

async fn killed(service: Running) {
    service.signal("KILL").await;
    service.end().await;
}

async fn deadline(rig: &Rig) -> u64 {
    let status = rig.standing().await;
    status["service"]["deadline"].as_u64().unwrap_or_else(|| panic!("no deadline: {status:#}"))
}

// ---- proof

#[tokio::test]
async fn one_answer_that_is_missing_does_not_end_a_drain() {
    at_once([404, 500], async |status| {
        let (rig, mut service) = busy(&[]).await;
        rig.ends();
        service.said(DRAINING, 1).await;
        rig.counted(2).await;
        for _ in 0..3 {
            rig.refuse(Imds, TARGET, status, "", Some(1));
            rig.ticked(3).await;
        }
        rig.is_only_cordoned(&["room"]);
        assert_eq!(rig.member().state, LifecycleState::TerminatingWait, "{status}");
        let states: Vec<ServerState> =
            rig.cloud.scalelite.history().into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, [ServerState::Enabled, ServerState::Cordoned], "{status}: once each");
        rig.host.bbb.end_meeting("room");
        service.said(OUT, 1).await;
        rig.is_gone();
    })
    .await;
}

#[tokio::test]
async fn one_answer_that_is_missing_brings_no_host_back() {
    let (rig, mut service) = busy(&[]).await;
    rig.host.bbb.end_all();
    rig.ends();
    service.said(OUT, 1).await;
    for _ in 0..3 {
        rig.refuse(Imds, TARGET, 404, "", Some(1));
        rig.ticked(3).await;
    }
    rig.is_gone();
    assert_eq!(rig.cloud.journal.count(Scalelite, "addServer"), 1);
}

#[tokio::test]
async fn one_answer_that_is_missing_stops_no_host_on_its_way_out() {
    let (rig, mut service) = busy(&[]).await;
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.refuse(Scalelite, "panicServer", 500, "", None);
    rig.expect(0, &["drain", "--deadline", "1"]).await;
    service.said(LEAVING, 1).await;
    rig.refuse(Imds, TARGET, 404, "", Some(1));
    rig.ticked(4).await;
    assert_eq!(rig.entry().state, ServerState::Disabled, "it still leaves");
    rig.heal();
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

// ---- deadlines

#[tokio::test]
async fn a_forced_leave_goes_on_after_a_restart() {
    let (rig, mut service) = busy(&[]).await;
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.refuse(Scalelite, "panicServer", 500, "", None);
    rig.expect(0, &["drain", "--deadline", "1"]).await;
    service.said(LEAVING, 1).await;
    killed(service).await;
    rig.heal();
    let mut service = rig.serve(None, &[]);
    // Its time is over: nobody has six hours more.
    service.said(OUT, 1).await;
    rig.is_gone();
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_restart_keeps_the_deadline_of_a_drain_by_hand_that_became_the_groups() {
    let default_result = HookResult::Continue;
    let hook = Hook {
        name: "drain".to_owned(),
        transition: Transition::Terminating,
        heartbeat_timeout: 60,
        default_result,
    };
    let group = GroupOptions { hooks: vec![hook], ..GroupOptions::default() };
    let rig = Rig::start(Options { group, ..Options::with_tls() }).await;
    let mut service = rig.serve(None, &[]);
    service.said(SERVING, 1).await;
    rig.meet("room");
    rig.expect(0, &["drain"]).await;
    // The hook's ceiling, a hundred minutes from the group's order on, bounds the deadline.
    rig.ticked(8).await;
    rig.ends();
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 1).await;
    let before = deadline(&rig).await;
    killed(service).await;
    let mut service = rig.serve(None, &[]);
    service.said("starting -> draining:", 1).await;
    rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", 2).await;
    rig.counted(2).await;
    let after = deadline(&rig).await;
    assert!(before.abs_diff(after) <= 2, "{before}, then {after}");
    rig.is_only_cordoned(&["room"]);
}

#[tokio::test]
async fn a_restart_keeps_the_deadline_that_somebody_has_set() {
    let (rig, service) = busy(&[]).await;
    rig.expect(0, &["drain", "--deadline", "600"]).await;
    let before = deadline(&rig).await;
    killed(service).await;
    let mut service = rig.serve(None, &[]);
    service.said("starting -> draining:", 1).await;
    let after = deadline(&rig).await;
    assert!(before.abs_diff(after) <= 2, "{before}, then {after}");
}

// ---- protection

#[tokio::test]
async fn the_protection_ends_where_deregister_cannot_finish() {
    let (rig, mut service) = busy(&["protection.idle=0"]).await;
    rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
    assert!(rig.member().protected);
    rig.refuse(Scalelite, "panicServer", 500, "", None);
    let _asking = rig.begin(&["deregister"]);
    service.said(LEAVING, 1).await;
    rig.cloud.journal.reached(AutoScaling, PROTECT, 2).await;
    assert!(!rig.member().protected, "the group may end a host that has to leave anyway");
}

#[tokio::test]
async fn the_protection_ends_with_a_service_that_is_stopped_by_hand() {
    at_once(["keep", "cordon", "leave"], async |on_stop| {
        let rig = Rig::bbb().await;
        let setting = format!("service.on_stop={on_stop}");
        let service = rig.serving(&[&setting]).await;
        rig.meet("room");
        rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
        let run = service.end(&["bbb-agent.service stop"]).await;
        assert_eq!(run.code, 0, "{run}");
        assert!(!rig.member().protected, "{on_stop}: nobody would end it");
        let meetings: &[&str] = if on_stop == "leave" { &[] } else { &["room"] };
        assert_eq!(rig.meetings(), meetings);
    })
    .await;
}

#[tokio::test]
async fn the_protection_outlives_a_restart_and_what_systemd_does_not_explain() {
    at_once([true, false], async |restart| {
        let rig = Rig::bbb().await;
        let service = rig.serving(&[]).await;
        rig.meet("room");
        rig.cloud.journal.reached(AutoScaling, PROTECT, 1).await;
        if !restart {
            service.systemd.has(Trouble::Fails);
        }
        assert_eq!(service.restart(UNIT).await.code, 0);
        assert!(rig.member().protected, "its meeting goes on");
        assert_eq!(rig.meetings(), ["room"]);
    })
    .await;
}

// ---- stops

#[tokio::test]
async fn a_stop_that_systemd_does_not_explain_ends_no_meeting() {
    at_once([Trouble::Fails, Trouble::Silent, Trouble::Late, Trouble::Missing], async |trouble| {
        for on_stop in ["leave", "keep"] {
            let rig = Rig::bbb().await;
            let setting = format!("service.on_stop={on_stop}");
            let service = rig.serving(&[&setting]).await;
            rig.meet("room");
            service.systemd.has(trouble);
            // It is a shutdown of the host, perhaps: nobody knows.
            service.running.signal("TERM").await;
            let run = service.running.end().await;
            assert_eq!(run.code, 0, "{trouble:?}: {run}");
            run.says(&["systemd does not say why it stops bbb-agent.service"]);
            rig.is_only_cordoned(&["room"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_host_that_stopped_for_an_unknown_cause_serves_again() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&PLAIN).await;
    rig.meet("room");
    service.systemd.has(Trouble::Fails);
    service.end(&[]).await;
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    let service = rig.serving(&PLAIN).await;
    assert_eq!((rig.entry().state, rig.meetings()), (ServerState::Enabled, vec!["room".to_owned()]));
    service.end(&[]).await;
}

// ---- orders

/// A service that hears nothing of the metadata service.
async fn without_metadata() -> (Rig, Service) {
    let rig = Rig::start(Options { closed: vec![Imds], ..Options::with_tls() }).await;
    let systemd = Systemd::start();
    let running = rig.serve(Some(&systemd), &["timeouts.imds=3600"]);
    systemd.shows(&["waiting for the instance metadata service"]).await;
    (rig, Service { running, systemd })
}

#[tokio::test]
async fn register_before_the_metadata_service_has_answered_may_be_tried_again() {
    let (rig, service) = without_metadata().await;
    let run = rig.run(&["register"]).await;
    assert_eq!(run.code, 8, "{run}");
    run.says(&["metadata service"]);
    rig.host.open(Imds).await;
    service.systemd.shows_exactly("registered").await;
    rig.expect(0, &["register"]).await;
    service.end(&[]).await;
}

#[tokio::test]
async fn a_service_that_knows_nothing_does_not_wait_long_for_what_it_cannot_undo() {
    let (_rig, service) = without_metadata().await;
    let ended = tokio::time::timeout(Duration::from_secs(40), service.end(&["bbb-agent.service stop"])).await;
    let run = ended.expect("timeouts.deregister is for a host that is known");
    // The host may be registered since an earlier boot, which nobody can see.
    assert!(matches!(run.code, 0 | 8), "{run}");
}

#[tokio::test]
async fn drain_returns_the_result_of_its_own_order() {
    let (rig, service) = busy(&[]).await;
    rig.expect(0, &["drain"]).await;
    let waiting = rig.begin(&["drain", "--wait"]);
    rig.counted(2).await;
    // A failure that comes again as long as nobody repairs it, and is repaired.
    rig.refuse(Scalelite, "getServers", 200, "checksumError", None);
    let asked = rig.cloud.journal.count(Scalelite, "getServers");
    service.signal("USR1").await;
    rig.cloud.journal.reached(Scalelite, "getServers", asked + 2).await;
    rig.heal();
    service.signal("USR1").await;
    rig.counted(3).await;
    rig.host.bbb.end_meeting("room");
    let run = waiting.end().await;
    assert_eq!(run.code, 0, "{run}");
    rig.is_gone();
}
