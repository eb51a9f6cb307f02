//! A host whose BBB announces another address than the host's gets no meetings, because audio and video would fail: one
//! that was stopped overnight and started with another address, and one that gets another address while it serves.

use e2e::{Rig, Service};
use sandbox::scalelite::ServerState;
use serde_json::Value;

const OLD: &str = "203.0.113.10";
const NEW: &str = "203.0.113.99";
const UNIT: &str = "bbb-agent.service";
/// Looks as often as is allowed.
const OFTEN: [&str; 3] = ["checks.name=5", "checks.work=1", "protection.enabled=false"];

/// A host whose BBB was installed with this address.
async fn installed(address: &str) -> Rig {
    let rig = Rig::bbb().await;
    rig.neighbour();
    rig.announces(address);
    rig
}

fn differs(words: &str) -> [String; 2] {
    let whole = format!(
        "BBB announces {OLD}, the host has {NEW} (external_rtp_ip in /opt/freeswitch/etc/freeswitch/vars.xml"
    );
    [words.to_owned(), whole]
}

async fn shows(service: &Service, words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    service.systemd.shows(&words).await;
}

fn enabled(rig: &Rig) {
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

#[tokio::test]
async fn a_host_that_was_started_with_another_address_does_not_join_until_its_bbb_is_set_right() {
    let rig = installed(OLD).await;
    rig.readdress(NEW);
    let service = rig.service(&OFTEN);
    shows(&service, &differs("the name is registered; not joining Scalelite: ")).await;
    // Its name leads to it, and systemd may start what waits for that.
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(service.systemd.readies(), 1);
    assert_eq!(rig.changes_in_scalelite(), [""; 0], "nobody is told of it");
    let status: Value = rig.status(3).await;
    assert_eq!(status["bbb"]["addresses"]["right"], false);
    assert_eq!(status["reasons"][0], "it does not join Scalelite while BBB announces another address");
    rig.announces(NEW);
    service.systemd.shows_exactly("registered").await;
    enabled(&rig);
}

#[tokio::test]
async fn a_host_that_gets_another_address_takes_no_new_meetings_and_keeps_its_own() {
    let rig = installed(OLD).await;
    let service = rig.serving(&OFTEN).await;
    rig.meet("lesson");
    rig.readdress(NEW);
    shows(&service, &differs("registered, but cordoned: ")).await;
    assert_eq!(rig.records(), rig.registered_now(), "the name follows all the same");
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(rig.meetings(), ["lesson"]);
    rig.announces(NEW);
    service.systemd.shows_exactly("registered").await;
    enabled(&rig);
    assert_eq!(rig.meetings(), ["lesson"]);
}

#[tokio::test]
async fn an_operator_may_have_it_serve_all_the_same() {
    let rig = installed(OLD).await;
    let service = rig.serving(&OFTEN).await;
    rig.readdress(NEW);
    shows(&service, &differs("registered, but cordoned: ")).await;
    rig.expect(0, &["register"]).await;
    enabled(&rig);
    // The order outlives the service, which does not know at its start what BBB announces.
    service.restart(UNIT).await;
    let mut service = rig.service(&OFTEN);
    service.comes_to("serving", 1).await;
    let name = rig.ownership();
    let looks = rig.cloud.dns.asked(&name);
    rig.cloud.dns.reached(&name, looks + 4 * rig.cloud.dns.addresses().len()).await;
    enabled(&rig);
    service.end(&[]).await;
    // So does the setting.
    let mut service = rig.service(&[&OFTEN[..], &["bbb.addresses=ignore"]].concat());
    service.comes_to("serving", 1).await;
    enabled(&rig);
    let service_status = rig.run(&["status", "--set", "bbb.addresses=ignore"]).await;
    service_status.says(&["external_rtp_ip is 203.0.113.10, not 203.0.113.99"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_understood_keeps_no_host_out() {
    let rig = installed(OLD).await;
    let sfu = rig.host.root.join("etc/bigbluebutton/bbb-webrtc-sfu/production.yml");
    std::fs::write(&sfu, "freeswitch: [").unwrap();
    let service = rig.serving(&OFTEN).await;
    enabled(&rig);
    let status = rig.status(5).await;
    assert_eq!(status["bbb"]["addresses"]["right"], Value::Null);
    let error = status["bbb"]["addresses"]["error"].as_str().unwrap();
    assert!(error.contains("production.yml: it is no YAML at line "), "{error}");
    // A difference that is known counts all the same.
    rig.readdress(NEW);
    shows(&service, &differs("registered, but cordoned: ")).await;
}

/// The host went down without warning, and left its entry. Its BBB answers Scalelite's polls, so rooms would come.
#[tokio::test]
async fn an_entry_that_a_crash_has_left_gets_no_meetings() {
    let rig = installed(OLD).await;
    let service = rig.serving(&OFTEN).await;
    service.running.signal("KILL").await;
    service.end(&[]).await;
    rig.boots();
    rig.readdress(NEW);
    enabled(&rig);
    let service = rig.service(&OFTEN);
    shows(&service, &differs("registered, but cordoned: ")).await;
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    rig.announces(NEW);
    service.systemd.shows_exactly("registered").await;
    enabled(&rig);
}

// ---- setting it right

const REPAIRED: &str = "/etc/turnserver.conf: allowed-peer-ip is 203.0.113.99 now, not 203.0.113.10";

#[tokio::test]
async fn a_host_that_was_started_with_another_address_sets_its_bbb_right_and_joins() {
    let rig = installed(OLD).await;
    let repairer = rig.repairer();
    rig.readdress(NEW);
    let service = rig.service(&OFTEN);
    service.systemd.shows_exactly("registered").await;
    enabled(&rig);
    assert_eq!(repairer.restarts(), [[""; 0]]);
    let right: Value = rig.status(0).await;
    assert_eq!(right["bbb"]["addresses"]["right"], true);
    let run = service.end(&[]).await;
    run.says(&["set right what is announced", REPAIRED, "freeswitch is restarted"]);
}

#[tokio::test]
async fn a_repair_waits_for_the_meetings_of_a_host_that_serves() {
    let rig = installed(OLD).await;
    let repairer = rig.repairer();
    let service = rig.serving(&OFTEN).await;
    rig.meet("lesson");
    rig.readdress(NEW);
    shows(&service, &differs("registered, but cordoned: ")).await;
    service.systemd.shows(&["setting it right waits for 1 meeting"]).await;
    rig.counted(4).await;
    assert_eq!((repairer.restarts().len(), rig.meetings()), (0, vec!["lesson".to_owned()]));
    rig.host.bbb.end_meeting("lesson");
    service.systemd.shows_exactly("registered").await;
    enabled(&rig);
    assert_eq!(repairer.restarts(), [[""; 0]]);
}

/// The files are right, but FreeSWITCH still has the old address: that is no host for meetings, even after a restart of
/// the service.
#[tokio::test]
async fn files_that_are_right_are_not_enough() {
    let rig = installed(OLD).await;
    let repairer = rig.repairer();
    repairer.fails(1);
    rig.readdress(NEW);
    let service = rig.service(&OFTEN);
    service.systemd.shows(&["setting it right has failed: cannot be restarted", "freeswitch"]).await;
    let half: Value = rig.status(3).await;
    assert_eq!(half["bbb"]["addresses"]["right"], Value::Null);
    rig.expect(1, &["check"]).await.says(&["the programs still have to be restarted"]);
    service.restart(UNIT).await;
    let service = rig.service(&OFTEN);
    service.systemd.shows_exactly("registered").await;
    enabled(&rig);
    assert_eq!(repairer.restarts().len(), 2);
}

#[tokio::test]
async fn a_repair_that_cannot_be_asked_for_is_told() {
    let rig = installed(OLD).await;
    rig.drop_in("repair", "[bbb]\naddresses = \"repair\"\nrepairer = \"/nonexistent/addresses.sock\"\n");
    rig.readdress(NEW);
    let service = rig.service(&OFTEN);
    service
        .systemd
        .shows(&["/nonexistent/addresses.sock is not there", "is bbb-agent-addresses.socket started?"])
        .await;
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    drop(service);
    // The command for the socket does nothing that the configuration does not want.
    let run = rig.expect(2, &["addresses", "--set", "bbb.addresses=refuse"]).await;
    run.says(&["bbb.addresses is not \"repair\""]);
}
