//! The service of a TURN host looks after its share in the name of the fleet as after its own name.

use e2e::{Rig, Service, at_once};
use sandbox::http::ServiceName::Route53;
use sandbox::route53::RecordType::{A, Aaaa};

const SHARED: &str = "turn.example.org";
const CHECK: &str = "abcdef11-2222-3333-4444-555555fedcba";
const UNIT: &str = "turn-agent.service";
const OFTEN: &str = "checks.name=5";

async fn host(check: Option<&str>) -> Rig {
    let rig = Rig::turn().await;
    let check = check.map(|id| format!("shared_health_check = \"{id}\"\n")).unwrap_or_default();
    rig.drop_in("shared", &format!("[turn]\nshared_name = \"{SHARED}\"\n{check}"));
    rig
}

/// Returns once the servers were looked at so often, of the host's own name and of the shared one.
async fn looks(rig: &Rig, service: &Service, times: usize) {
    for _ in 0..times {
        service.running.signal("USR1").await;
        rig.looked_at().await;
    }
}

async fn has(rig: &Rig, records: impl Fn() -> Vec<String>) {
    while rig.records() != records() {
        rig.ticked(1).await;
    }
}

#[tokio::test]
async fn a_boot_an_address_change_and_a_reboot() {
    let rig = host(None).await;
    let service = rig.serving(&[OFTEN]).await;
    assert_eq!(rig.records(), rig.shares_now(SHARED, None));
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"], "a clean boot");

    rig.cloud.journal.clear();
    looks(&rig, &service, 3).await;
    assert_eq!(rig.calls(Route53), [""; 0], "a quiet time");

    rig.readdress("203.0.113.99");
    rig.until(&service, has(&rig, || rig.shares_now(SHARED, None))).await;
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"], "another address");

    rig.cloud.journal.clear();
    let run = service.end(&["reboot.target start"]).await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.records(), rig.shares_now(SHARED, None));
    let service = rig.serving(&[OFTEN]).await;
    looks(&rig, &service, 1).await;
    assert_eq!(rig.calls(Route53), [""; 0], "a reboot");
    service.end(&[]).await;
}

#[tokio::test]
async fn the_share_goes_when_the_name_goes() {
    let rows = [
        (vec!["poweroff.target start"], false),
        (vec!["turn-agent.service stop"], false),
        (vec!["turn-agent.service restart"], true),
        (vec!["reboot.target start"], true),
    ];
    at_once(rows, |(jobs, stays): (Vec<&'static str>, bool)| async move {
        let rig = host(None).await;
        let service = rig.serving(&[OFTEN]).await;
        service.end(&jobs).await;
        let expected = if stays { rig.shares_now(SHARED, None) } else { Vec::new() };
        assert_eq!(rig.records(), expected, "{jobs:?}");
        let calls = if stays { 1 } else { 2 };
        assert_eq!(rig.calls(Route53), vec!["ChangeResourceRecordSets"; calls], "{jobs:?}");
    })
    .await;
}

#[tokio::test]
async fn a_share_that_somebody_deletes_is_made_again_and_a_full_answer_is_no_proof() {
    let rig = host(None).await;
    let service = rig.serving(&[OFTEN]).await;
    rig.cloud.journal.clear();
    for kind in [A, Aaaa] {
        assert!(rig.cloud.route53.remove(&rig.cloud.zone_id, SHARED, kind, Some(rig.host.id())));
    }
    rig.until(&service, has(&rig, || rig.shares_now(SHARED, None))).await;
    service.systemd.shows_exactly("registered").await;
    let calls = ["ListResourceRecordSets", "ListResourceRecordSets", "ChangeResourceRecordSets"];
    assert_eq!(rig.calls(Route53), calls);

    rig.cloud.journal.clear();
    for n in 1..=40 {
        rig.put_share(A, SHARED, &format!("other {n}"), &format!("198.51.100.{n}"));
        rig.put_share(Aaaa, SHARED, &format!("other {n}"), &format!("2001:db8:7::{n}"));
    }
    looks(&rig, &service, 4).await;
    assert_eq!(rig.calls(Route53), [""; 0]);
    service.systemd.shows_exactly("registered").await;
}

#[tokio::test]
async fn a_share_that_its_health_check_leaves_out_is_left_alone() {
    let rig = host(Some(CHECK)).await;
    let service = rig.serving(&[OFTEN]).await;
    rig.put_share(A, SHARED, "other", "198.51.100.1");
    rig.put_share(Aaaa, SHARED, "other", "2001:db8:7::1");
    rig.cloud.route53.set_health(CHECK, false);
    rig.cloud.journal.clear();
    looks(&rig, &service, 4).await;
    assert_eq!(rig.calls(Route53), [""; 0]);
    service.systemd.shows_exactly("registered").await;
    service.restart(UNIT).await;
    let service = rig.serving(&[OFTEN]).await;
    looks(&rig, &service, 2).await;
    assert_eq!(rig.calls(Route53), [""; 0]);
}

#[tokio::test]
async fn a_host_that_can_have_no_share_serves_without_and_asks_seldom() {
    let rig = host(None).await;
    rig.put(A, SHARED, &["198.51.100.7"]);
    let mut service = rig.service(&[OFTEN]);
    service.running.said("has no share in turn.example.org: ", 1).await;
    service.systemd.shows_exactly("registered").await;
    let mut expected = rig.registered_now();
    expected.push("A turn.example.org. 60 198.51.100.7".to_owned());
    assert_eq!(rig.records(), expected);
    let calls = rig.calls(Route53).len();
    let name = rig.ownership();
    let looks = rig.cloud.dns.asked(&name);
    rig.cloud.dns.reached(&name, looks + 3 * rig.cloud.dns.addresses().len()).await;
    assert_eq!(rig.calls(Route53).len(), calls, "it is believed for a while");
    // An order looks again.
    rig.cloud.route53.remove(&rig.cloud.zone_id, SHARED, A, None);
    rig.until(&service, has(&rig, || rig.shares_now(SHARED, None))).await;
    service.end(&["turn-agent.service stop"]).await;
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn a_changed_setting_is_taken_up_by_a_reload() {
    let rig = Rig::turn().await;
    let service = rig.serving(&[OFTEN]).await;
    rig.drop_in("shared", &format!("[turn]\nshared_name = \"{SHARED}\"\n"));
    service.running.signal("HUP").await;
    rig.until(&service, has(&rig, || rig.shares_now(SHARED, None))).await;
    rig.drop_in("shared", "");
    service.running.signal("HUP").await;
    rig.until(&service, has(&rig, || rig.registered_now())).await;
}
