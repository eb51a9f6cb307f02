//! One certificate for a whole fleet: the service fetches it from its secret and has it put into place.

use e2e::{Installer, Rig, Service};
use serde_json::Value;

/// A wildcard for the hosts of the rig.
const WILDCARD: &str = "*.example.org";

/// Looks again and again until the certificate is in place.
async fn placed(rig: &Rig, service: &Service, installer: &Installer, wanted: &str) {
    let there = async {
        while installer.kept() != wanted {
            rig.ticked(1).await;
        }
    };
    rig.until(service, there).await;
}

/// Looks again and again until `status` tells this of the certificate.
async fn told(rig: &Rig, service: &Service, tells: impl Fn(&Value) -> bool) {
    let told = async {
        loop {
            let run = rig.run(&["status", "--json"]).await;
            let status: Value = serde_json::from_str(&run.stdout).unwrap();
            if tells(&status["service"]["certificate"]) {
                return;
            }
            rig.ticked(1).await;
        }
    };
    rig.until(service, told).await;
}

#[tokio::test]
async fn it_is_put_into_place_and_follows_its_secret() {
    for rig in [Rig::bbb().await, Rig::turn().await] {
        let installer = rig.installer();
        let first = rig.certify(&[WILDCARD]);
        let service = rig.serving(&[]).await;
        placed(&rig, &service, &installer, &first).await;
        told(&rig, &service, |facts| facts["error"].is_null() && facts["end"].is_u64()).await;
        rig.run(&["status"])
            .await
            .says(&["certificate  good until ", "from secretsmanager:fleet-certificate"]);
        rig.expect(0, &["check"]).await.says(&["is good for this host until"]);
        rig.expect(0, &["status", "--wait-for", "certificate"])
            .await
            .says(&["certificate is in place, until "]);
        // Renewed.
        let second = rig.certify(&[WILDCARD]);
        placed(&rig, &service, &installer, &second).await;
        // No part of the key is in the log.
        let run = service.end(&["x.service restart"]).await;
        for line in second.lines().filter(|line| line.len() == 64) {
            assert!(!run.stderr.contains(line) && !run.stdout.contains(line), "{run}");
        }
    }
}

#[tokio::test]
async fn one_that_no_client_would_accept_does_not_take_the_place_of_another() {
    let rig = Rig::bbb().await;
    let installer = rig.installer();
    let good = rig.certify(&[WILDCARD]);
    let service = rig.serving(&[]).await;
    placed(&rig, &service, &installer, &good).await;
    rig.certify(&["*.example.net"]);
    let words = "its certificate is not for ";
    told(&rig, &service, |facts| facts["error"].as_str().is_some_and(|why| why.contains(words))).await;
    assert_eq!(installer.kept(), good);
    rig.run(&["status"]).await.says(&["certificate  good until ", words]);
    rig.expect(1, &["check"]).await.says(&[words]);
    rig.certify(&[WILDCARD]);
    told(&rig, &service, |facts| facts["error"].is_null()).await;
}

#[tokio::test]
async fn a_host_that_never_gets_one_says_so_and_is_registered_all_the_same() {
    let rig = Rig::bbb().await;
    let installer = rig.installer();
    let service = rig.serving(&[]).await;
    let words = "there is no such secret";
    told(&rig, &service, |facts| facts["error"].as_str().is_some_and(|why| why.contains(words))).await;
    rig.expect(4, &["status"]).await.says(&["certificate  not in place", words]);
    let wait = ["status", "--wait-for", "certificate", "--timeout", "0"];
    rig.expect(8, &wait).await.says(&["the fleet's certificate is not in place yet", words]);
    assert_eq!(installer.kept(), "");
}

#[tokio::test]
async fn servers_that_did_not_take_it_are_told_again() {
    let rig = Rig::bbb().await;
    let installer = rig.installer();
    installer.fails(1);
    let good = rig.certify(&[WILDCARD]);
    let mut service = rig.serving(&[]).await;
    service.running.said("it is not read by: nginx", 1).await;
    assert_eq!(installer.kept(), good, "what is kept is the new one: a boot begins with it");
    told(&rig, &service, |facts| facts["error"].is_null() && facts["end"].is_u64()).await;
}
