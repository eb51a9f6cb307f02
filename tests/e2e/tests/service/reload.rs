//! A reload that would move the host: refused as long as anything of it exists, or may exist, under the old name.

use e2e::{Rig, Service, at_once};
use sandbox::dns::Propagation;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Imds, Route53};
use sandbox::scalelite::ServerState;

const PLAIN: [&str; 1] = ["protection.enabled=false"];

/// Settings that move the host, with the key that the service names.
const MOVES: [(&str, &str); 3] = [
    ("dns.hostname = \"other-{instance}\"\n", "dns.name and dns.hostname"),
    ("dns.domain = \"sub.example.org\"\n", "dns.domain"),
    ("scalelite.url = \"https://other.example.org\"\n", "scalelite.url"),
];

/// Reloads with these settings, which the service refuses for this reason.
async fn refuses(rig: &Rig, service: &mut Service, why: &str) {
    for (text, key) in MOVES {
        rig.drop_in("moved", text);
        service.running.signal("HUP").await;
        service.running.said(&format!("{key} cannot be changed while {why}"), 1).await;
    }
    rig.drop_in("moved", "");
}

#[tokio::test]
async fn a_name_that_is_not_live_yet_is_not_left_behind() {
    let rig = Rig::bbb().await;
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    let mut service = rig.service(&PLAIN);
    service.systemd.shows(&["registering the name: ", "is registered, but not live everywhere yet"]).await;
    let before = rig.records();
    assert_eq!(service.systemd.readies(), 0);
    refuses(&rig, &mut service, "the host is registered with the old one: run bbb-agent deregister").await;
    (0..2).for_each(|server| rig.cloud.dns.release(server));
    rig.until(&service, service.systemd.shows_exactly("registered")).await;
    assert_eq!(rig.records(), before);
    assert_eq!(service.end(&[]).await.code, 0);
    assert_eq!((rig.records(), rig.entries()), (vec![], vec![]));
}

#[tokio::test]
async fn what_nobody_knows_is_no_reason_to_move() {
    let rows = ["nobody has said who this host is", "the first change is under way", "its answer is lost"];
    at_once(rows, async |what| {
        let rig = Rig::bbb().await;
        match what {
            "nobody has said who this host is" => rig.refuse(Imds, "", 503, "", None),
            "the first change is under way" => rig.fault(Route53, "Change", Fault::Hang, Some(1)),
            _ => {
                (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
                rig.fault(Route53, "Change", Fault::LoseReply, Some(1));
                rig.refuse(Route53, "", 503, "ServiceUnavailable", None);
            }
        }
        let mut service = rig.service(&PLAIN);
        match what {
            "nobody has said who this host is" => rig.cloud.journal.reached(Imds, "", 3).await,
            "the first change is under way" => service.running.said("Route 53: CREATE A", 1).await,
            _ => service.running.said("it is tried again", 1).await,
        }
        refuses(&rig, &mut service, "it is not known whether the host is registered with the old one").await;
        rig.heal();
        (0..2).for_each(|server| rig.cloud.dns.release(server));
        rig.until(&service, service.systemd.shows_exactly("registered")).await;
        assert_eq!(rig.records(), rig.registered_now(), "{what}");
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_zone_in_which_nothing_was_written_can_be_replaced() {
    at_once(["no such zone", "denied"], async |what| {
        let rig = Rig::bbb().await;
        match what {
            "denied" => rig.cloud.aws.deny("route53:ChangeResourceRecordSets"),
            _ => rig.drop_in("moved", "dns.zone_id = \"Z0000000000WRONG0\"\n"),
        }
        let mut service = rig.service(&PLAIN);
        let why = if what == "denied" { "AccessDenied" } else { "NoSuchHostedZone" };
        service.systemd.shows(&["registering the name: ", why]).await;
        rig.cloud.aws.allow("route53:ChangeResourceRecordSets");
        let text = if what == "denied" { "dns.hostname = \"other-{instance}\"\n" } else { "" };
        rig.drop_in("moved", &format!("timeouts.bbb = 1\n{text}"));
        service.running.signal("HUP").await;
        service.running.said("SIGHUP: the configuration was read again", 1).await;
        service.systemd.hears("READY=1").await;
        assert_eq!(rig.records().len(), 3);
        let name = if what == "denied" { "other-" } else { "vc-" };
        assert!(rig.records().iter().all(|record| record.contains(name)), "{:?}", rig.records());
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn another_directory_is_used_by_nobody_before_a_restart() {
    let rig = Rig::bbb().await;
    let mut service = rig.serving(&PLAIN).await;
    let former = rig.agent.directory();
    let other = former.with_file_name("elsewhere");
    std::fs::create_dir(&other).unwrap();
    rig.drop_in(
        "directory",
        &format!("service.directory = \"{}\"\nscalelite.tag = \"big\"\n", other.display()),
    );
    service.running.signal("HUP").await;
    service.running.said("until the service is restarted", 1).await;
    // The rest is taken up.
    service.running.said("update the tag of entry", 1).await;
    rig.neighbour();
    rig.recommended();
    service.running.signal("USR1").await;
    service.systemd.shows(&["registered, but cordoned"]).await;
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0, "nothing is there");
    assert_eq!(std::fs::read_to_string(former.join("memory")).unwrap(), "cordoned\nentered\n");
    service.end(&[]).await;
}
