//! A TURN host whose coturn announces another address than the host's: its relays cannot be reached, so nobody is led to
//! it until that is set right.

use e2e::Rig;

const OLD: &str = "203.0.113.10";
const NEW: &str = "203.0.113.99";
const OFTEN: &str = "checks.name=5";

/// A host whose coturn was set up, as UserData does it, when the host had the old address.
async fn started_elsewhere() -> Rig {
    let rig = Rig::turn().await;
    let settings = format!(
        "listening-ip=10.0.0.5\nexternal-ip={OLD}\nstatic-auth-secret=marked-secret-of-coturn\n\
         denied-peer-ip={OLD}\ndenied-peer-ip=203.0.113.0-203.0.113.255\ndenied-peer-ip=198.51.100.7\n"
    );
    std::fs::create_dir_all(rig.host.root.join("etc")).unwrap();
    std::fs::write(rig.host.root.join("etc/turnserver.conf"), settings).unwrap();
    rig.readdress(NEW);
    rig
}

fn settings(rig: &Rig) -> String {
    std::fs::read_to_string(rig.host.root.join("etc/turnserver.conf")).unwrap()
}

#[tokio::test]
async fn a_host_that_was_started_with_another_address_is_not_registered() {
    let rig = started_elsewhere().await;
    let service = rig.service(&[OFTEN]);
    let words = format!("coturn announces {OLD}, the host has {NEW} (external-ip in /etc/turnserver.conf");
    service.systemd.shows(&["is not registered", &words]).await;
    assert_eq!(rig.records(), [""; 0]);
    rig.expect(3, &["status"]).await.says(&[&words]);
    rig.expect(1, &["check"]).await.says(&[&words]);
    std::fs::write(rig.host.root.join("etc/turnserver.conf"), settings(&rig).replace(OLD, NEW)).unwrap();
    service.systemd.shows_exactly("registered").await;
    assert_eq!(rig.records(), rig.registered_now());
}

#[tokio::test]
async fn a_host_sets_its_coturn_right_and_is_registered() {
    let rig = started_elsewhere().await;
    let repairer = rig.repairer();
    let before = settings(&rig);
    let service = rig.service(&[OFTEN]);
    service.systemd.shows_exactly("registered").await;
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(settings(&rig), before.replace(OLD, NEW), "others that are denied stay");
    assert_eq!(repairer.restarts().len(), 1);
    // An Elastic IP comes late.
    rig.readdress("203.0.113.7");
    rig.until(&service, async {
        while !settings(&rig).contains("external-ip=203.0.113.7\n") {
            rig.ticked(1).await;
        }
    })
    .await;
    service.systemd.shows_exactly("registered").await;
    let run = service.end(&[]).await;
    assert!(!run.to_string().contains("marked-secret-of-coturn"), "{run}");
}

#[tokio::test]
async fn an_operator_may_have_it_registered_all_the_same() {
    let rig = started_elsewhere().await;
    let service = rig.service(&[OFTEN, "turn.addresses=ignore"]);
    service.systemd.shows_exactly("registered").await;
    assert_eq!(rig.records(), rig.registered_now());
}
