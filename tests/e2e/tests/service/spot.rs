//! What EC2 announces: a spot instance that is taken back, one that should be replaced, scheduled maintenance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Rig, Running, Systemd, at_once, maintained};
use sandbox::clock::iso8601;
use sandbox::fleet::InstanceFacts;
use sandbox::http::ServiceName::{Imds, Route53, Scalelite};
use sandbox::scalelite::ServerState;

const SERVING: &str = "-> serving:";
const CORDONED: &str = "-> cordoned:";

async fn serving(settings: &[&str]) -> (Rig, Running) {
    serving_under(None, settings).await
}

async fn serving_under(systemd: Option<&Systemd>, settings: &[&str]) -> (Rig, Running) {
    let rig = Rig::bbb().await;
    let mut service = rig.serve(systemd, settings);
    service.said(SERVING, 1).await;
    rig.meet("room");
    rig.cloud.journal.clear();
    (rig, service)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// EC2 announces something, and the agent looks at once: what comes with long notice is read seldom.
async fn announced(rig: &Rig, service: &mut Running, change: impl FnOnce(&mut InstanceFacts)) {
    rig.host.imds.update(change).unwrap();
    service.signal("USR1").await;
}

#[tokio::test]
async fn everything_fits_into_a_spot_notice() {
    at_once(["terminate", "stop"], async |action| {
        let (rig, mut service) = serving(&[]).await;
        // Two seconds for the meetings, and the rest for leaving.
        rig.cloud.interrupt(rig.host.id(), action, Duration::from_secs(32)).unwrap();
        service.said("-> draining:", 1).await;
        service.said("-> unregistered:", 1).await;
        rig.is_gone();
        assert_eq!(
            rig.changes_in_scalelite(),
            ["updateServer", "updateServer", "panicServer", "deleteServer"],
            "{action}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_empty_leaves_as_soon_as_the_notice_comes() {
    let (rig, mut service) = serving(&[]).await;
    rig.host.bbb.end_all();
    rig.cloud.interrupt(rig.host.id(), "terminate", Duration::from_secs(120)).unwrap();
    let latest = now() + Duration::from_secs(90);
    service.said("-> unregistered:", 1).await;
    assert!(now() < latest, "it did not wait for the last moment");
    rig.is_gone();
}

#[tokio::test]
async fn a_notice_that_is_withdrawn_is_forgotten() {
    let (rig, mut service) = serving(&[]).await;
    rig.cloud.interrupt(rig.host.id(), "terminate", Duration::from_secs(120)).unwrap();
    service.said("-> draining:", 1).await;
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    rig.host.imds.update(|facts| facts.spot = None).unwrap();
    service.said(SERVING, 2).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.meetings(), ["room"]);
}

fn recommended(facts: &mut InstanceFacts) {
    facts.rebalance = Some(iso8601(now().as_secs()));
}

/// The same in another state than "active".
fn maintained_in(facts: &mut InstanceFacts, ahead: Duration, state: &str) {
    maintained(facts, ahead);
    facts.maintenance[0]["State"] = state.into();
}

/// Cordoned, and nothing else.
fn rests(rig: &Rig) {
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(rig.meetings(), ["room"]);
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.changes_in_scalelite(), ["updateServer"]);
    assert_eq!(rig.calls(Route53), [""; 0]);
}

#[tokio::test]
async fn what_comes_with_long_notice_cordons_until_it_is_withdrawn() {
    at_once([true, false], async |rebalance| {
        let (rig, mut service) = serving(&[]).await;
        rig.neighbour();
        let change = |facts: &mut InstanceFacts| match rebalance {
            true => recommended(facts),
            false => maintained(facts, Duration::from_secs(3600)),
        };
        announced(&rig, &mut service, change).await;
        service.said(CORDONED, 1).await;
        rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
        rests(&rig);
        announced(&rig, &mut service, |facts| {
            (facts.rebalance, facts.maintenance) = (None, Vec::new());
        })
        .await;
        service.said(SERVING, 2).await;
        assert_eq!(rig.entry().state, ServerState::Enabled);
        assert_eq!(rig.calls(Route53), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn what_is_ignored_far_away_or_over_changes_nothing() {
    let soon = Duration::from_secs(3600);
    let rows: [(&str, &[&str], Duration, &str); 5] = [
        ("rebalance", &["drain.rebalance=ignore"], soon, ""),
        ("maintenance", &["drain.maintenance=ignore"], soon, "active"),
        ("maintenance", &[], Duration::from_secs(7 * 86_400), "active"),
        ("maintenance", &[], soon, "completed"),
        ("maintenance", &[], soon, "canceled"),
    ];
    at_once(rows, async |row| {
        let (key, settings, ahead, state) = row;
        let (rig, mut service) = serving(settings).await;
        announced(&rig, &mut service, |facts| match key {
            "rebalance" => recommended(facts),
            _ => maintained_in(facts, ahead, state),
        })
        .await;
        // Read, and the entry looked at since.
        rig.cloud.journal.reached(Imds, key, 1).await;
        rig.cloud.journal.reached(Scalelite, "getServers", 1).await;
        service.signal("USR1").await;
        rig.cloud.journal.reached(Imds, key, 2).await;
        rig.cloud.journal.reached(Scalelite, "getServers", 2).await;
        assert_eq!(rig.entry().state, ServerState::Enabled, "{row:?}");
        assert_eq!(rig.changes_in_scalelite(), [""; 0], "{row:?}");
    })
    .await;
}

#[tokio::test]
async fn somebody_who_enables_the_host_all_the_same_is_respected() {
    let systemd = Systemd::start();
    let (rig, mut service) = serving_under(Some(&systemd), &[]).await;
    rig.neighbour();
    announced(&rig, &mut service, recommended).await;
    // The cordon has been read back, so whoever changes it is somebody else.
    systemd.hears("STATUS=registered, but cordoned: EC2 recommends replacing this instance").await;
    rests(&rig);
    rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Enabled);
    service.signal("USR1").await;
    service.said(SERVING, 2).await;
    rig.cloud.journal.clear();
    service.signal("USR1").await;
    rig.cloud.journal.reached(Scalelite, "getServers", 1).await;
    rig.cloud.journal.reached(Imds, "rebalance", 1).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
}

#[tokio::test]
async fn a_spot_notice_goes_before_a_recommendation() {
    let (rig, mut service) = serving(&[]).await;
    rig.neighbour();
    announced(&rig, &mut service, recommended).await;
    service.said(CORDONED, 1).await;
    rig.host.bbb.end_all();
    rig.cloud.interrupt(rig.host.id(), "terminate", Duration::from_secs(120)).unwrap();
    service.said("-> unregistered:", 1).await;
    assert_eq!((rig.records(), rig.entries(), rig.meetings()), (vec![], vec![], vec![]));
}

#[tokio::test]
async fn the_last_server_of_a_pool_serves_on_in_spite_of_a_recommendation() {
    let (rig, mut service) = serving(&[]).await;
    announced(&rig, &mut service, recommended).await;
    service.said("no other server is enabled and online, so this one is not cordoned", 1).await;
    service.said(SERVING, 2).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
}

#[tokio::test]
async fn a_recommendation_that_nothing_follows_is_over_after_a_while() {
    let (rig, mut service) = serving(&["drain.rebalance_for=60"]).await;
    rig.neighbour();
    let begun = now().as_secs() - 55;
    announced(&rig, &mut service, |facts| facts.rebalance = Some(iso8601(begun))).await;
    service.said(CORDONED, 1).await;
    service.said(SERVING, 2).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    // It is still there, and does not begin anew.
    service.signal("USR1").await;
    rig.cloud.journal.reached(Imds, "rebalance", 3).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
}
