//! A launch hook, the warm pool, and a BBB that has died: what the group is told on a host's way into service.

use std::time::Duration;

use e2e::{Rig, at_once};
use sandbox::cloud::{GroupOptions, Options};
use sandbox::fleet::{Hook, HookResult, LifecycleState, Transition};
use sandbox::http::ServiceName::{AutoScaling, Bbb};
use sandbox::scalelite::ServerState;

/// The limit counts from the boot, which may be long ago where the tests run.
const LAUNCH: [&str; 3] =
    ["service.launch_hook=launch", "service.launch_limit=172800", "protection.enabled=false"];
const HEARTBEAT: &str = "RecordLifecycleActionHeartbeat";

/// A host that its group launches, held by a launch hook.
async fn launched() -> Rig {
    let hook = |name: &str, transition| Hook {
        name: name.to_owned(),
        transition,
        heartbeat_timeout: 60,
        default_result: HookResult::Abandon,
    };
    let hooks = vec![hook("launch", Transition::Launching), hook("drain", Transition::Terminating)];
    let group = GroupOptions { hooks, ..GroupOptions::default() };
    let rig = Rig::start(Options { group, ..Options::with_tls() }).await;
    let (fleet, id) = (&rig.cloud.fleet, rig.host.id());
    fleet.set_lifecycle_state(id, LifecycleState::WarmedStopped).unwrap();
    assert_eq!(fleet.launch_from_pool(id).unwrap(), LifecycleState::PendingWait);
    rig
}

#[tokio::test]
async fn a_launch_waits_for_a_bbb_that_is_still_installed() {
    let rig = launched().await;
    rig.cloud.close(Bbb).await;
    let mut service = rig.service(&LAUNCH);
    // A minute would be its end.
    rig.cloud.journal.reached(AutoScaling, HEARTBEAT, 3).await;
    assert_eq!(rig.member().state, LifecycleState::PendingWait);
    rig.cloud.open(Bbb).await;
    service.comes_to("serving", 1).await;
    rig.cloud.journal.reached(AutoScaling, "CompleteLifecycleAction", 1).await;
    assert_eq!(rig.member().state, LifecycleState::InService);
    // Once, and for no other hook.
    rig.ticked(5).await;
    assert_eq!(rig.cloud.journal.count(AutoScaling, "CompleteLifecycleAction"), 1);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_launch_that_takes_too_long_ends_as_the_settings_say() {
    let rows = [
        (&[][..], LifecycleState::TerminatingWait),
        (&["service.launch_at_limit=continue"], LifecycleState::InService),
    ];
    at_once(rows, async |(settings, state)| {
        let rig = launched().await;
        rig.cloud.close(Bbb).await;
        let settings = [&LAUNCH[..], &["service.launch_limit=60"], settings].concat();
        let _service = rig.service(&settings);
        rig.cloud.journal.reached(AutoScaling, "CompleteLifecycleAction", 1).await;
        assert_eq!(rig.member().state, state);
    })
    .await;
}

#[tokio::test]
async fn without_the_setting_nobody_touches_the_launch_hook() {
    let rig = launched().await;
    let _service = rig.serving(&["protection.enabled=false"]).await;
    rig.ticked(5).await;
    assert_eq!(rig.cloud.journal.count(AutoScaling, "LifecycleAction"), 0);
    assert_eq!(rig.member().state, LifecycleState::PendingWait);
}

#[tokio::test]
async fn a_bbb_that_has_died_has_its_host_replaced_where_no_meeting_ran() {
    at_once([("empty", true), ("busy", false), ("off", false)], async |(what, replaced)| {
        let after = if what == "off" { "service.unhealthy_after=0" } else { "service.unhealthy_after=1" };
        let rig = Rig::bbb().await;
        let mut service = rig.serving(&["checks.work=1", after]).await;
        if what == "busy" {
            rig.meet("room");
        }
        rig.counted(2).await;
        rig.cloud.close(Bbb).await;
        if replaced {
            rig.cloud.journal.reached(AutoScaling, "SetInstanceHealth", 1).await;
            service.comes_to("draining", 1).await;
            assert_eq!(rig.member().state, LifecycleState::TerminatingWait);
        } else {
            rig.ticked(8).await;
            assert_eq!(rig.cloud.journal.count(AutoScaling, "SetInstanceHealth"), 0, "{what}");
            assert_eq!(rig.member().state, LifecycleState::InService, "{what}");
            assert_eq!(rig.entry().state, ServerState::Enabled, "{what}");
        }
    })
    .await;
}

/// The time for which nobody waits.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test]
async fn who_waits_for_a_host_learns_whether_it_is_meant_to_serve() {
    let wait = ["status", "--wait-for", "registered", "--timeout", &PATIENCE.as_secs().to_string()]
        .map(str::to_owned);
    let wait: Vec<&str> = wait.iter().map(String::as_str).collect();
    // A host that registers itself while somebody waits.
    let rig = Rig::bbb().await;
    let waiting = rig.begin(&wait);
    let mut service = rig.service(&[]);
    let run = waiting.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["registered"]);
    service.comes_to("serving", 1).await;
    // One of a warm pool, which is not to be registered.
    let pooled = Rig::bbb().await;
    pooled.cloud.fleet.set_lifecycle_state(pooled.host.id(), LifecycleState::WarmedRunning).unwrap();
    let _service = pooled.service(&[]);
    let run = pooled.run(&wait).await;
    assert_eq!(run.code, 6, "{run}");
    run.says(&["this host is in the warm pool"]);
    // Nobody registers it.
    let nobody = Rig::bbb().await;
    let run = nobody.run(&["status", "--wait-for", "registered", "--timeout", "1"]).await;
    assert_eq!(run.code, 8, "{run}");
}
