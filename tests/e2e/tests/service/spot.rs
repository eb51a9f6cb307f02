//! What EC2 announces: a spot instance that is taken back, one that should be replaced, scheduled maintenance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Rig, Running, Systemd, at_once};
use sandbox::clock::iso8601;
use sandbox::fleet::InstanceFacts;
use sandbox::http::ServiceName::{Imds, Route53, Scalelite};
use sandbox::scalelite::ServerState;
use serde_json::json;

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

fn gone(rig: &Rig) {
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert_eq!(rig.meetings(), [""; 0]);
}

#[tokio::test]
async fn everything_fits_into_a_spot_notice() {
    at_once(["terminate", "stop"], async |action| {
        let (rig, mut service) = serving(&[]).await;
        // Two seconds for the meetings, and the rest for leaving.
        rig.cloud.interrupt(rig.host.id(), action, Duration::from_secs(32)).unwrap();
        service.said("-> draining:", 1).await;
        service.said("-> unregistered:", 1).await;
        gone(&rig);
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
    gone(&rig);
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

/// As the metadata service words it (EC2 user guide, "View scheduled events").
fn maintained(facts: &mut InstanceFacts, ahead: Duration) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = iso8601((now() + ahead).as_secs());
    let (date, clock) = time.trim_end_matches('Z').split_once('T').unwrap();
    let parts: Vec<&str> = date.split('-').collect();
    let month = MONTHS[parts[1].parse::<usize>().unwrap() - 1];
    let time = format!("{} {month} {} {clock} GMT", parts[2].trim_start_matches('0'), parts[0]);
    facts.maintenance = vec![json!({
        "Code": "system-reboot",
        "Description": "scheduled reboot",
        "EventId": "instance-event-0d59937288b749b32",
        "NotBefore": time,
        "NotAfter": time,
        "State": "active",
    })];
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
async fn what_is_ignored_or_far_away_changes_nothing() {
    at_once([0, 1, 2], async |row| {
        let settings = [&["drain.rebalance=ignore"][..], &["drain.maintenance=ignore"], &[]][row];
        let (rig, mut service) = serving(settings).await;
        announced(&rig, &mut service, |facts| match row {
            0 => recommended(facts),
            1 => maintained(facts, Duration::from_secs(3600)),
            _ => maintained(facts, Duration::from_secs(7 * 86_400)),
        })
        .await;
        // Read, and the entry looked at since.
        let key = if row == 0 { "rebalance" } else { "maintenance" };
        rig.cloud.journal.reached(Imds, key, 1).await;
        rig.cloud.journal.reached(Scalelite, "getServers", 1).await;
        service.signal("USR1").await;
        rig.cloud.journal.reached(Imds, key, 2).await;
        rig.cloud.journal.reached(Scalelite, "getServers", 2).await;
        assert_eq!(rig.entry().state, ServerState::Enabled, "row {row}");
        assert_eq!(rig.changes_in_scalelite(), [""; 0], "row {row}");
    })
    .await;
}

#[tokio::test]
async fn somebody_who_enables_the_host_all_the_same_is_respected() {
    let systemd = Systemd::start();
    let (rig, mut service) = serving_under(Some(&systemd), &[]).await;
    announced(&rig, &mut service, recommended).await;
    // The cordon has been read back, so whoever changes it is somebody else.
    systemd.hears("STATUS=registered, but cordoned: EC2 recommends to replace this instance").await;
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
    announced(&rig, &mut service, recommended).await;
    service.said(CORDONED, 1).await;
    rig.host.bbb.end_all();
    rig.cloud.interrupt(rig.host.id(), "terminate", Duration::from_secs(120)).unwrap();
    service.said("-> unregistered:", 1).await;
    gone(&rig);
}
