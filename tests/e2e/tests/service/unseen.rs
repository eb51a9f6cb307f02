//! A name that nobody shows, and an address that is lost: in every state the same. What Route 53 has said is believed for
//! a quarter of an hour, but not about an address that the host does not have any more.

use e2e::{Rig, Service, at_once};
use sandbox::dns::Behaviour;
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::{Bbb, Imds, Route53};
use sandbox::scalelite::ServerState;

/// The key of the metadata service that each look at the name begins with.
const ADDRESS: &str = "public-ipv4";
const CHANGE: &str = "ChangeResourceRecordSets";
const STATES: [&str; 4] = ["joining", "serving", "cordoned", "draining"];

/// A host in this state, that looks at its name every five seconds; while it joins, its BBB does not answer.
async fn host_in(state: &str, settings: &[&str]) -> (Rig, Service) {
    let rig = Rig::bbb().await;
    let settings = [&["checks.name=5", "protection.enabled=false"], settings].concat();
    let mut service = if state == "joining" {
        rig.cloud.close(Bbb).await;
        let service = rig.service(&settings);
        service.systemd.shows(&["the name is registered; joining Scalelite"]).await;
        service
    } else {
        rig.serving(&settings).await
    };
    match state {
        "cordoned" => rig.cloud.fleet.set_lifecycle_state(rig.host.id(), LifecycleState::Standby).unwrap(),
        "draining" => {
            rig.meet("room");
            rig.ends();
        }
        _ => {}
    }
    if state == "cordoned" || state == "draining" {
        service.comes_to(state, 1).await;
    }
    looked(&rig, 1).await;
    rig.cloud.journal.clear();
    (rig, service)
}

/// Lets the service look at its name so often by itself.
async fn looked(rig: &Rig, times: usize) {
    // A look ends before the next one begins.
    let before = rig.cloud.journal.count(Imds, ADDRESS);
    rig.cloud.journal.reached(Imds, ADDRESS, before + times + 1).await;
}

fn behave(rig: &Rig, behaviour: Behaviour) {
    (0..2).for_each(|server| rig.cloud.dns.behave(server, behaviour));
}

fn addresses(rig: &Rig, ipv4: Option<[u8; 4]>) {
    rig.host.imds.update(|facts| facts.public_ipv4 = ipv4.map(Into::into)).unwrap();
}

#[tokio::test]
async fn where_nobody_shows_the_name_only_a_changed_address_costs_calls() {
    let rows = STATES.iter().flat_map(|state| [(state, Behaviour::Silent), (state, Behaviour::Refuse)]);
    at_once(rows, async |(state, behaviour)| {
        let (rig, _service) = host_in(state, &[]).await;
        behave(&rig, behaviour);
        looked(&rig, 2).await;
        assert_eq!(rig.calls(Route53), [""; 0], "{state}, {behaviour:?}");
        addresses(&rig, Some([203, 0, 113, 77]));
        rig.cloud.journal.reached(Route53, CHANGE, 1).await;
        assert_eq!(rig.records(), rig.registered(Some("203.0.113.77"), Some("2001:db8::10")), "{state}");
        rig.cloud.journal.reached(Route53, "GetChange", 1).await;
        looked(&rig, 1).await;
        rig.cloud.journal.clear();
        looked(&rig, 1).await;
        assert_eq!(rig.calls(Route53), [""; 0], "{state}, {behaviour:?}");
    })
    .await;
}

#[tokio::test]
async fn an_operator_who_asks_is_not_told_what_is_only_believed() {
    let (rig, service) = host_in("serving", &[]).await;
    behave(&rig, Behaviour::Silent);
    looked(&rig, 1).await;
    service.running.signal("USR1").await;
    rig.cloud.journal.reached(Route53, "ListResourceRecordSets", 1).await;
    looked(&rig, 1).await;
    assert_eq!(rig.calls(Route53), ["ListResourceRecordSets"]);
    assert_eq!(service.systemd.status(), "registered");
}

#[tokio::test]
async fn a_host_that_loses_its_address_gives_up_its_name_and_gets_no_meetings() {
    at_once(STATES, async |state| {
        let (rig, mut service) = host_in(state, &[]).await;
        // IPv6 is still there.
        addresses(&rig, None);
        rig.cloud.journal.reached(Route53, CHANGE, 1).await;
        service.systemd.shows(&["reports no public IPv4 address, which dns.ipv4"]).await;
        assert_eq!(rig.records(), [""; 0], "{state}");
        match state {
            "serving" => {
                service.comes_to("cordoned", 1).await;
                service.systemd.shows(&["cordoned: this host has no address to register"]).await;
            }
            "joining" => service.systemd.shows(&["registering the name: "]).await,
            _ => {}
        }
        let enabled = rig.entries().iter().any(|entry| entry.state == ServerState::Enabled);
        assert!(!enabled, "{state}");
        looked(&rig, 2).await;
        let calls = rig.calls(Route53);
        assert_eq!(calls.iter().filter(|call| *call == CHANGE).count(), 1, "{state}: {calls:?}");
        assert!(calls.len() <= 3, "{state}: {calls:?}");
        // Another one is associated.
        addresses(&rig, Some([203, 0, 113, 88]));
        rig.cloud.journal.reached(Route53, CHANGE, 2).await;
        assert_eq!(rig.records(), rig.registered(Some("203.0.113.88"), Some("2001:db8::10")), "{state}");
        if state == "serving" {
            service.comes_to("serving", 2).await;
            assert_eq!(rig.entry().state, ServerState::Enabled);
        }
        if state == "draining" {
            assert_eq!(rig.meetings(), ["room"]);
        }
    })
    .await;
}

#[tokio::test]
async fn one_odd_answer_about_the_address_changes_nothing() {
    let (rig, service) = host_in("serving", &[]).await;
    let before = rig.records();
    addresses(&rig, None);
    service.systemd.shows(&["looking again before the name is given up"]).await;
    addresses(&rig, Some([203, 0, 113, 10]));
    service.systemd.shows_exactly("registered").await;
    assert_eq!(rig.records(), before);
    assert_eq!(rig.calls(Route53), [""; 0]);
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

#[tokio::test]
async fn where_ipv6_is_enough_the_host_stays() {
    let (rig, service) = host_in("serving", &["dns.ipv4=public-if-any"]).await;
    addresses(&rig, None);
    rig.cloud.journal.reached(Route53, CHANGE, 1).await;
    assert_eq!(rig.records(), rig.registered(None, Some("2001:db8::10")));
    looked(&rig, 1).await;
    assert_eq!(service.systemd.status(), "registered");
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

#[tokio::test]
async fn a_turn_host_without_its_address_is_not_registered() {
    let rig = Rig::turn().await;
    addresses(&rig, None);
    let service = rig.service(&["checks.name=5"]);
    service.systemd.shows(&["registering the name: ", "reports no public IPv4 address"]).await;
    looked(&rig, 2).await;
    assert_eq!(rig.records(), [""; 0]);
    addresses(&rig, Some([203, 0, 113, 10]));
    service.systemd.shows_exactly("registered").await;
    addresses(&rig, None);
    rig.cloud.journal.reached(Route53, CHANGE, 2).await;
    assert_eq!(rig.records(), [""; 0]);
    service.systemd.shows(&["registering the name: ", "reports no public IPv4 address"]).await;
}
