//! What cannot be read at the moment is as it was when it was read last: nothing is begun and nothing is undone because
//! of it.

use std::time::Duration;

use e2e::{Rig, Service, at_once, maintained};
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::{Imds, Scalelite};
use sandbox::scalelite::ServerState;

const TARGET: &str = "target-lifecycle-state";
const SPOT: &str = "spot/instance-action";
const REBALANCE: &str = "recommendations/rebalance";
const MAINTENANCE: &str = "maintenance/scheduled";

/// A host that serves, with a meeting.
async fn busy(settings: &[&str]) -> (Rig, Service) {
    let rig = Rig::bbb().await;
    let service = rig.serving(settings).await;
    rig.meet("room");
    rig.cloud.journal.clear();
    (rig, service)
}

/// Lets a key of the metadata service say that the host should take no new meetings. Returns the state that follows.
fn announced(rig: &Rig, key: &str) -> &'static str {
    let update = |change: &dyn Fn(&mut sandbox::fleet::InstanceFacts)| {
        rig.host.imds.update(|facts| change(facts)).unwrap();
    };
    match key {
        TARGET => rig.cloud.fleet.set_lifecycle_state(rig.host.id(), LifecycleState::Standby).unwrap(),
        SPOT => rig.cloud.interrupt(rig.host.id(), "terminate", Duration::from_secs(3600)).unwrap(),
        REBALANCE => {
            rig.neighbour();
            rig.recommended();
        }
        _ => update(&|facts| maintained(facts, Duration::from_secs(3600))),
    }
    if key == SPOT { "draining" } else { "cordoned" }
}

/// Lets the service ask for a key so often again, all else at once.
async fn asked(rig: &Rig, service: &Service, key: &str, times: usize) {
    for _ in 0..times {
        let before = rig.cloud.journal.count(Imds, key);
        service.running.signal("USR1").await;
        rig.cloud.journal.reached(Imds, key, before + 1).await;
    }
}

/// Nothing has happened but the one cordon.
fn rests(rig: &Rig, key: &str) {
    assert_eq!(rig.changes_in_scalelite(), ["updateServer"], "{key}");
    assert_eq!(rig.entry().state, ServerState::Cordoned, "{key}");
    assert_eq!(rig.meetings(), ["room"], "{key}");
}

#[tokio::test]
async fn what_was_announced_holds_while_it_cannot_be_read() {
    at_once([TARGET, SPOT, REBALANCE, MAINTENANCE], async |key| {
        let (rig, mut service) = busy(&[]).await;
        let state = announced(&rig, key);
        service.running.signal("USR1").await;
        service.comes_to(state, 1).await;
        rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
        rig.refuse(Imds, key, 500, "", None);
        asked(&rig, &service, key, 3).await;
        for _ in 0..2 {
            rig.checked(&service).await;
        }
        rests(&rig, key);
        rig.heal();
        asked(&rig, &service, key, 2).await;
        rig.checked(&service).await;
        rests(&rig, key);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_cannot_be_read_hides_no_other() {
    let rows = [(TARGET, SPOT), (TARGET, REBALANCE), (SPOT, MAINTENANCE), (REBALANCE, MAINTENANCE)];
    at_once(rows, async |(fails, key)| {
        let (rig, mut service) = busy(&[]).await;
        rig.refuse(Imds, fails, 500, "", None);
        let state = announced(&rig, key);
        service.running.signal("USR1").await;
        service.comes_to(state, 1).await;
        rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
        rests(&rig, key);
    })
    .await;
}

#[tokio::test]
async fn before_the_groups_intention_is_known_nothing_is_begun() {
    let rig = Rig::bbb().await;
    rig.refuse(Imds, TARGET, 500, "", None);
    let service = rig.service(&[]);
    rig.ticked(1).await;
    // Everything else is told, and would do for a host outside a group.
    asked(&rig, &service, MAINTENANCE, 3).await;
    rig.ticked(2).await;
    assert_eq!(service.systemd.status(), "waiting for the instance metadata service");
    assert_eq!((rig.records(), rig.entries()), (vec![], vec![]));
    rig.heal();
    service.systemd.shows_exactly("registered").await;
}

#[tokio::test]
async fn the_last_word_before_a_host_knows_its_name_counts() {
    let rig = Rig::bbb().await;
    rig.refuse(Imds, "identity/document", 500, "", None);
    let mut service = rig.service(&[]);
    // It was told to serve; meanwhile its group has changed its mind, and says it only once.
    rig.ticked(2).await;
    rig.ends();
    rig.ticked(2).await;
    rig.heal();
    service.comes_to("draining", 1).await;
    service.comes_to("unregistered", 1).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
    assert_eq!((rig.records(), rig.changes_in_scalelite()), (vec![], vec![]));
}
