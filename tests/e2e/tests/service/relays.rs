//! A TURN host is taken out: it gives up its name, then waits for the relays in use.

use std::time::Duration;

use e2e::{Relays, Rig, Running};
use sandbox::cloud::{Cloud, GroupOptions, HostOptions, Options};
use sandbox::faults::Fault;
use sandbox::fleet::{Hook, HookResult, LifecycleState, Transition};
use sandbox::http::ServiceName::{AutoScaling, Route53, Scalelite};

const SERVING: &str = "-> serving:";
const DRAINING: &str = "-> draining:";
const OUT: &str = "-> unregistered:";

/// What makes its waits short: resolvers forget its name in a second.
const SOON: [&str; 2] = ["dns.ttl=1", "drain.quiet=0"];

async fn serving(heartbeat_timeout: u64, settings: &[&str]) -> (Rig, Relays, Running) {
    let default_result = HookResult::Continue;
    let transition = Transition::Terminating;
    let hook = Hook { name: "drain".to_owned(), transition, heartbeat_timeout, default_result };
    let group = GroupOptions { hooks: vec![hook], ..GroupOptions::default() };
    let host = HostOptions { installed: false, ..HostOptions::default() };
    let cloud = Cloud::start(Options { host, group, ..Options::with_tls() }).await.unwrap();
    let host = cloud.hosts().into_iter().next().unwrap();
    let rig = Rig::install(cloud, host, "turn-agent");
    let relays = Relays::reserve();
    let ports = relays.setting();
    let all: Vec<&str> = SOON.into_iter().chain([ports.as_str()]).chain(settings.iter().copied()).collect();
    let mut service = rig.serve(None, &all);
    service.said(SERVING, 1).await;
    rig.cloud.journal.clear();
    (rig, relays, service)
}

/// Returns once the host has no name.
async fn nameless(rig: &Rig) {
    while !rig.records().is_empty() {
        rig.ticked(1).await;
    }
}

#[tokio::test]
async fn relays_run_to_their_end() {
    let (rig, relays, mut service) = serving(30, &["checks.work=1"]).await;
    let (early, late) = (relays.begin(), relays.begin());
    rig.ends();
    service.said(DRAINING, 1).await;
    // The name comes first.
    nameless(&rig).await;
    rig.says(&["its Auto Scaling group ends this host", "waiting for 2 relays; at most "]).await;
    drop(early);
    rig.says(&["waiting for 1 relay; "]).await;
    // Beyond the hook's timeout.
    for heartbeats in 1..=3 {
        rig.cloud.journal.reached(AutoScaling, "RecordLifecycleActionHeartbeat", heartbeats).await;
        // The next one comes a third of the timeout later.
        rig.cloud.clock.advance(Duration::from_secs(11));
        assert_eq!(rig.member().state, LifecycleState::TerminatingWait, "after {heartbeats} heartbeats");
    }
    assert_eq!(rig.calls(Route53)[..1], ["ChangeResourceRecordSets"]);
    drop(late);
    service.said(OUT, 1).await;
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
    assert_eq!(rig.calls(Scalelite), [""; 0]);
}

#[tokio::test]
async fn a_relay_that_begins_while_the_name_is_still_known_is_waited_for() {
    let (rig, relays, mut service) = serving(900, &["checks.work=1", "dns.ttl=3"]).await;
    rig.ends();
    service.said(DRAINING, 1).await;
    nameless(&rig).await;
    let relay = relays.begin();
    rig.says(&["waiting for 1 relay; "]).await;
    rig.ticked(5).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingWait);
    drop(relay);
    service.said(OUT, 1).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_name_that_cannot_be_given_up_keeps_a_host_without_relays() {
    let (rig, _relays, mut service) = serving(900, &["checks.work=1"]).await;
    rig.fault(Route53, "Change", Fault::Error { status: 503, code: "ServiceUnavailable".to_owned() }, None);
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.says(&["waiting for nothing", "the name is not given up yet: ", "ServiceUnavailable"]).await;
    rig.ticked(3).await;
    assert_ne!(rig.records(), [""; 0]);
    assert_eq!(rig.member().state, LifecycleState::TerminatingWait);
    rig.heal();
    service.said(OUT, 1).await;
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_spot_notice_is_the_deadline() {
    let (rig, relays, mut service) = serving(900, &["checks.work=1"]).await;
    let _relay = relays.begin();
    // Ten seconds for the relays, and the rest for leaving.
    rig.cloud.interrupt(rig.host.id(), "terminate", Duration::from_secs(40)).unwrap();
    service.said(DRAINING, 1).await;
    nameless(&rig).await;
    rig.says(&["EC2 takes this spot instance back", "waiting for 1 relay; "]).await;
    service.said("as its time is over, with 1 relay", 1).await;
    service.said(OUT, 1).await;
}

#[tokio::test]
async fn by_hand() {
    let (rig, relays, mut service) = serving(900, &["checks.work=1"]).await;
    let relay = relays.begin();
    // It returns when the name is given up.
    rig.expect(0, &["drain"]).await.says(&["turn-agent: draining (by hand): "]);
    assert_eq!(rig.records(), [""; 0]);
    rig.says(&["waiting for 1 relay; at most "]).await;
    let status = rig.standing().await;
    assert_eq!(status.pointer("/service/relays/count"), Some(&1.into()), "{status:#}");
    assert_eq!(status.pointer("/service/work"), None, "{status:#}");

    rig.expect(0, &["register"]).await;
    assert_eq!(rig.records().len(), rig.registered_now().len());
    service.said(SERVING, 2).await;

    // The deadline ends no relay by itself: it lets the host go.
    rig.expect(0, &["drain", "--wait", "--deadline", "2"]).await.says(&["not registered: taken out by hand"]);
    assert_eq!(rig.records(), [""; 0]);

    rig.expect(0, &["register"]).await;
    service.said(SERVING, 3).await;
    drop(relay);
    rig.expect(0, &["drain", "--wait"]).await.says(&["not registered: taken out by hand"]);
    service.signal("TERM").await;
    service.end().await;
    rig.expect(1, &["drain"]).await.says(&["only it can wait for relays", "turn-agent deregister"]);
}

#[tokio::test]
async fn the_share_in_the_name_of_the_fleet_goes_with_the_name() {
    let settings = ["checks.work=1", "turn.shared_name=turn.example.org"];
    let (rig, relays, mut service) = serving(900, &settings).await;
    assert_eq!(rig.records().len(), rig.shares_now("turn.example.org", None).len());
    let relay = relays.begin();
    rig.ends();
    service.said(DRAINING, 1).await;
    nameless(&rig).await;
    rig.says(&["waiting for 1 relay; "]).await;
    drop(relay);
    service.said(OUT, 1).await;
    let changes: Vec<String> =
        rig.calls(Route53).into_iter().filter(|call| call.starts_with("Change")).collect();
    assert_eq!(changes, ["ChangeResourceRecordSets"], "one batch takes both");
}
