//! A host that is to rest gets no new meetings, whatever the reason and whatever comes between: a poll of Scalelite's, a
//! restart, an order for another reason.

use std::time::Duration;

use e2e::{Rig, Service, at_once, maintained};
use sandbox::cloud::{HostOptions, Options};
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::Scalelite;
use sandbox::scalelite::ServerState;

/// Sets protection aside: it is a change of its own.
const PLAIN: [&str; 1] = ["protection.enabled=false"];
const UNIT: &str = "bbb-agent.service";

/// The reasons for which a planned event takes a host out of service for a while.
const REASONS: [&str; 3] = ["standby", "rebalance", "maintenance"];

/// A host that is not the only one of its pool.
async fn pooled() -> Rig {
    let rig = Rig::bbb().await;
    rig.neighbour();
    rig
}

fn told(rig: &Rig, reason: &str) {
    let fleet = &rig.cloud.fleet;
    match reason {
        "standby" => fleet.set_lifecycle_state(rig.host.id(), LifecycleState::Standby),
        "rebalance" => {
            rig.recommended();
            Ok(())
        }
        _ => rig.host.imds.update(|facts| maintained(facts, Duration::from_secs(3600))),
    }
    .unwrap();
}

fn untold(rig: &Rig, reason: &str) {
    match reason {
        "standby" => rig.cloud.fleet.set_lifecycle_state(rig.host.id(), LifecycleState::InService),
        "rebalance" => rig.host.imds.update(|facts| facts.rebalance = None),
        _ => rig.host.imds.update(|facts| facts.maintenance.clear()),
    }
    .unwrap();
}

/// The states that the host's entry has come into since then.
fn states(rig: &Rig, since: usize) -> Vec<ServerState> {
    rig.cloud.scalelite.history().into_iter().skip(since).map(|(_, state)| state).collect()
}

fn rests(rig: &Rig) {
    let entry = rig.entry();
    assert_eq!((entry.state, entry.in_placement), (ServerState::Cordoned, false));
    assert_eq!(rig.records(), rig.registered_now());
}

#[tokio::test]
async fn a_cordon_that_a_poll_overtook_is_made_again_whatever_it_is_for() {
    at_once(REASONS, async |reason| {
        let rig = pooled().await;
        let mut service = rig.serving(&PLAIN).await;
        rig.cloud.scalelite.poll().await;
        rig.meet("room");
        rig.cloud.journal.clear();
        rig.loses_the_cordon(|| told(&rig, reason)).await;
        service.comes_to("cordoned", 1).await;
        rig.counted(2).await;
        // One at most comes to a host that is to rest.
        rig.cloud.scalelite.create_meeting("late").await.unwrap();
        rig.cloud.journal.reached(Scalelite, "updateServer", 3).await;
        rig.counted(3).await;
        rests(&rig);
        assert_eq!(rig.changes_in_scalelite(), ["updateServer"; 3], "{reason}: enabled and cordoned, once");
        assert!(rig.cloud.scalelite.create_meeting("later").await.is_err(), "{reason}: placed elsewhere");
        assert_eq!(rig.meetings(), ["late", "room"], "{reason}: no meeting has ended");
        untold(&rig, reason);
        service.comes_to("serving", 2).await;
        assert_eq!(rig.entry().state, ServerState::Enabled);
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn somebody_who_enables_a_host_that_is_to_rest_is_obeyed_until_the_next_reason() {
    // What people decide in Scalelite is respected: a recommendation is not an order.
    let rig = pooled().await;
    let mut service = rig.serving(&PLAIN).await;
    told(&rig, "rebalance");
    service.comes_to("cordoned", 1).await;
    rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
    // The cordon has been read back, so whoever changes it is somebody else.
    rig.checked(&service).await;
    rig.counted(2).await;
    rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Enabled);
    rig.checked(&service).await;
    service.comes_to("serving", 2).await;
    rig.ticked(3).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    told(&rig, "standby");
    service.comes_to("cordoned", 2).await;
    rig.counted(2).await;
    rests(&rig);
    service.end(&[]).await;
}

#[tokio::test]
async fn register_overrules_a_recommendation_and_nothing_else() {
    at_once(["standby", "maintenance"], async |later| {
        let rig = pooled().await;
        let mut service = rig.serving(&PLAIN).await;
        told(&rig, "rebalance");
        service.comes_to("cordoned", 1).await;
        rig.expect(0, &["register"]).await;
        service.comes_to("serving", 2).await;
        rig.ticked(3).await;
        assert_eq!(rig.entry().state, ServerState::Enabled, "the recommendation never goes away");
        told(&rig, later);
        service.comes_to("cordoned", 2).await;
        rig.counted(2).await;
        rests(&rig);
        // Neither does the order.
        untold(&rig, later);
        service.comes_to("serving", 3).await;
        assert_eq!(rig.entry().state, ServerState::Enabled, "{later}");
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn what_register_has_overruled_stays_overruled_after_a_restart() {
    let rig = pooled().await;
    let mut service = rig.serving(&PLAIN).await;
    told(&rig, "rebalance");
    service.comes_to("cordoned", 1).await;
    rig.expect(0, &["register"]).await;
    service.comes_to("serving", 2).await;
    service.restart(UNIT).await;
    let before = rig.cloud.scalelite.history().len();
    let mut service = rig.serving(&PLAIN).await;
    rig.ticked(3).await;
    assert_eq!(states(&rig, before), [], "it serves all the time");
    // What comes after the order is another matter.
    told(&rig, "standby");
    service.comes_to("cordoned", 1).await;
    rig.counted(2).await;
    rests(&rig);
    service.end(&[]).await;
}

/// A host in this state, with an entry and a name from before it was booted.
async fn booted(reason: &str) -> (Rig, Service, usize) {
    let rig = pooled().await;
    let service = rig.serving(&PLAIN).await;
    told(&rig, reason);
    rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
    let run = service.end(&["reboot.target start", "bbb-agent.service stop"]).await;
    assert_eq!(run.code, 0, "{run}");
    // A boot empties /run.
    std::fs::remove_dir_all(rig.agent.directory()).unwrap();
    let before = rig.cloud.scalelite.history().len();
    let service = rig.service(&PLAIN);
    (rig, service, before)
}

#[tokio::test]
async fn a_host_that_boots_while_it_is_to_rest_is_never_enabled() {
    at_once(["standby", "rebalance"], async |reason| {
        let (rig, mut service, before) = booted(reason).await;
        service.comes_to("cordoned", 1).await;
        rig.cloud.scalelite.poll().await;
        rig.checked(&service).await;
        assert!(
            !states(&rig, before).contains(&ServerState::Enabled),
            "{reason}: {:?}",
            states(&rig, before)
        );
        assert!(!rig.entry().in_placement, "{reason}");
        untold(&rig, reason);
        service.comes_to("serving", 1).await;
        assert_eq!(rig.entry().state, ServerState::Enabled);
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_new_host_that_begins_in_standby_is_never_enabled() {
    let mut host = HostOptions::default();
    host.facts.target_lifecycle_state = Some("Standby".to_owned());
    let rig = Rig::start(Options { host, ..Options::with_tls() }).await;
    let mut service = rig.service(&PLAIN);
    service.comes_to("cordoned", 1).await;
    rig.ticked(2).await;
    assert!(!states(&rig, 0).contains(&ServerState::Enabled), "{:?}", states(&rig, 0));
    rig.host.imds.update(|facts| facts.target_lifecycle_state = Some("InService".to_owned())).unwrap();
    service.comes_to("serving", 1).await;
    service.end(&[]).await;
}

#[tokio::test]
async fn a_restart_keeps_a_host_at_rest() {
    at_once(REASONS, async |reason| {
        let rig = pooled().await;
        let mut service = rig.serving(&PLAIN).await;
        rig.meet("room");
        told(&rig, reason);
        service.comes_to("cordoned", 1).await;
        rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
        service.restart(UNIT).await;
        let before = rig.cloud.scalelite.history().len();
        let mut service = rig.service(&PLAIN);
        service.comes_to("cordoned", 1).await;
        rig.checked(&service).await;
        rests(&rig);
        assert_eq!(states(&rig, before), [], "{reason}: it was cordoned all the time");
        assert_eq!(rig.meetings(), ["room"]);
        service.end(&[]).await;
    })
    .await;
}
