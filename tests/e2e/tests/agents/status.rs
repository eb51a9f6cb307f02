//! `status`: the verdicts with their exit codes and reasons, the shape of its JSON, and that it changes nothing.

use std::collections::BTreeSet;

use e2e::{Coturn, Rig};
use plan::relay::Relay;
use sandbox::bbb::Mode;
use sandbox::cloud::{HostOptions, Options};
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Imds, Route53, Scalelite, SecretsManager};
use sandbox::recordings::Stage;
use sandbox::redis::Manner;
use sandbox::scalelite::ServerState;
use serde_json::Value;

const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

/// Registered, polled, in order.
async fn serving() -> Rig {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    rig.cloud.scalelite.poll().await;
    rig.cloud.journal.clear();
    rig
}

/// Both forms of `status` must end with this code and give these words as a reason; nothing may be changed.
async fn verdict(rig: &Rig, code: i32, word: &str, reason: &str) -> Value {
    let before = rig.state();
    let screen = rig.expect(code, &["status"]).await;
    let status = rig.status(code).await;
    assert_eq!(rig.state(), before, "status changes nothing");
    assert_eq!(status["verdict"], word, "{status:#}");
    let reasons: Vec<&str> =
        status["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap()).collect();
    assert!(reasons.iter().any(|text| text.contains(reason)), "{reason:?} is no reason of {reasons:?}");
    for reason in reasons {
        screen.says(&[reason]);
    }
    status
}

#[tokio::test]
async fn registered() {
    let rig = serving().await;
    let status = rig.status(0).await;
    assert_eq!(status["verdict"], "registered");
    assert_eq!(status["reasons"], serde_json::json!([]));
    assert_eq!(rig.calls(Route53), [""; 0], "steady state costs no Route 53 call");
    assert_eq!(status["dns"]["route53_calls"], 0);
    assert_eq!(status["dns"]["owner"], "i-0123456789abcdef0");
    assert_eq!(status["scalelite"]["blocked"], Value::Null);
    assert_eq!(status["bbb"]["answers"], true);
    assert_eq!(status["auto_scaling"]["group"], "bbb-fleet");
    assert_eq!(status["auto_scaling"]["target_state"], "InService");

    rig.cloud.scalelite.create_meeting("room").await.unwrap();
    rig.host.bbb.set_participants("room", 7);
    rig.host.bbb.reveal_version(true);
    let screen = rig.expect(0, &["status"]).await;
    screen.says(&[
        "host         i-0123456789abcdef0, c5.xlarge, eu-central-1a",
        &format!("{} (203.0.113.10, 2001:db8::10)", rig.fqdn()),
        "owned by i-0123456789abcdef0 since 20",
        "Route 53 calls: 0",
        "enabled, online, load ",
        "1 meeting with 7 people",
        "3.0.4",
        "group bbb-fleet, target state InService",
        "verdict      registered\n",
    ]);
}

/// The paths of all values; list items count as one.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| paths(value, &format!("{at}.{name}"), found));
        }
        Value::Array(items) if items.first().is_some_and(Value::is_object) => {
            items.iter().for_each(|item| paths(item, &format!("{at}[]"), found));
        }
        _ => drop(found.insert(at.trim_start_matches('.').to_owned())),
    }
}

#[tokio::test]
async fn the_shape_of_the_json() {
    let golden = "schema agent version verdict reasons \
        identity.instance identity.region identity.availability_zone identity.instance_type identity.role \
        identity.fqdn identity.ipv4 identity.ipv6 identity.error \
        dns.desired dns.servers[].server dns.servers[].state dns.servers[].detail dns.owner dns.since dns.error \
        dns.route53_calls dns.share \
        scalelite.url scalelite.server_url scalelite.entries[].id scalelite.entries[].state \
        scalelite.entries[].online scalelite.entries[].load scalelite.entries[].load_multiplier \
        scalelite.entries[].tag scalelite.entries[].secret_matches scalelite.entries[].url_matches scalelite.blocked scalelite.error \
        bbb.answers bbb.version bbb.meetings bbb.participants bbb.meetings_unknown bbb.empty_meetings bbb.waits_for \
        bbb.addresses.right bbb.addresses.differences bbb.addresses.error \
        bbb.error bbb.recordings.summary bbb.recordings.pending[].id bbb.recordings.pending[].format \
        bbb.recordings.pending[].stage bbb.recordings.pending[].minutes bbb.recordings.stuck \
        bbb.recordings.failed bbb.recordings.jobs bbb.recordings.unsent bbb.recordings.error \
        coturn.address coturn.addresses coturn.answer coturn.words coturn.relays coturn.error \
        auto_scaling.group auto_scaling.target_state auto_scaling.spot_notice auto_scaling.error \
        service.running service.error";
    let golden: BTreeSet<String> = golden.split_whitespace().map(str::to_owned).collect();
    let rig = serving().await;
    rig.host.recordings.reach(RECORDING, Stage::Recorded).unwrap();
    let coturn = Coturn::start(Relay::Closed).await;
    rig.drop_in("50-coturn", &format!("[metrics]\ncoturn = \"{}\"\n", coturn.address));
    let status = rig.status(0).await;
    let mut found = BTreeSet::new();
    paths(&status, "", &mut found);
    assert_eq!(found, golden);

    assert_eq!(status["schema"], 1);
    assert_eq!(status["agent"], "bbb-agent");
    assert!(status["version"].as_str().unwrap().contains("(commit "), "{}", status["version"]);
    assert_eq!(status["dns"]["desired"].as_array().unwrap().len(), 2);
    assert_eq!(status["dns"]["servers"].as_array().unwrap().len(), 2);
    for (path, is_right) in [
        ("/dns/since", Value::is_u64 as fn(&Value) -> bool),
        ("/dns/route53_calls", Value::is_u64),
        ("/scalelite/entries/0/online", Value::is_boolean),
        ("/scalelite/entries/0/load", Value::is_f64),
        ("/scalelite/entries/0/load_multiplier", Value::is_f64),
        ("/scalelite/entries/0/secret_matches", Value::is_boolean),
        ("/bbb/meetings", Value::is_u64),
        ("/bbb/participants", Value::is_u64),
        ("/identity/role", Value::is_string),
    ] {
        assert!(status.pointer(path).is_some_and(is_right), "{path}: {:?}", status.pointer(path));
    }
}

#[tokio::test]
async fn not_registered_without_a_record() {
    let rig = Rig::bbb().await;
    let status = verdict(&rig, 3, "not-registered", "has no record set: register makes it").await;
    assert_eq!(status["dns"]["servers"][0]["state"], "absent");
    assert!(status["scalelite"]["blocked"].as_str().unwrap().contains("no entry for this host"));
    rig.expect(3, &["status"])
        .await
        .says(&["no entry for this host", "verdict      not registered, because "]);
}

#[tokio::test]
async fn not_registered_without_an_entry() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register", "--only", "dns"]).await;
    verdict(&rig, 3, "not-registered", "Scalelite has no entry for this host: register adds it").await;
}

#[tokio::test]
async fn not_registered_without_any_address() {
    let rig = serving().await;
    rig.host.imds.update(|facts| (facts.public_ipv4, facts.ipv6) = (None, None)).unwrap();
    verdict(
        &rig,
        3,
        "not-registered",
        "cannot be registered: the metadata service reports no public IPv4 address",
    )
    .await;
}

#[tokio::test]
async fn drift_of_the_address_the_ttl() {
    let rig = serving().await;
    let run = rig.expect(4, &["status", "--set", "dns.ttl=300"]).await;
    run.says(&["different"]);
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 99].into())).unwrap();
    let status = verdict(&rig, 4, "drift", "has other addresses or another TTL than this host").await;
    assert_eq!(status["dns"]["servers"][1]["state"], "different");
}

#[tokio::test]
async fn drift_of_the_entry() {
    let rig = serving().await;
    let id = rig.entry().id;
    rig.cloud.scalelite.set_state(&id, ServerState::Cordoned);
    let status = verdict(&rig, 4, "drift", "cordoned in Scalelite: running meetings go on").await;
    assert_eq!(status["scalelite"]["entries"][0]["state"], "cordoned");
    rig.cloud.scalelite.set_state(&id, ServerState::Disabled);
    verdict(&rig, 4, "drift", "disabled in Scalelite: no meeting is placed here and nobody can join").await;
    rig.cloud.scalelite.set_state(&id, ServerState::Enabled);

    rig.host.install("a new secret").unwrap();
    let status = verdict(&rig, 4, "drift", "Scalelite has another secret than this host's BBB").await;
    assert_eq!(status["scalelite"]["entries"][0]["secret_matches"], false);
    assert!(!status.to_string().contains("a new secret"));
    rig.expect(0, &["register"]).await;
    rig.cloud.scalelite.poll().await;
    rig.status(0).await;

    let url = rig.host.scalelite_entry_url();
    rig.cloud.scalelite.add_server(&url, "a new secret", ServerState::Cordoned);
    let status = verdict(&rig, 4, "drift", "2 entries for this host instead of one").await;
    assert_eq!(status["scalelite"]["entries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn drift_when_offline_long_after_enabling() {
    let rig = serving().await;
    // Enabled at the boot: more than three polls ago.
    std::fs::write(rig.agent.directory().join("enabled"), "0\n").unwrap();
    rig.host.close(sandbox::http::ServiceName::Bbb).await;
    rig.cloud.scalelite.poll().await;
    rig.cloud.scalelite.poll().await;
    let status =
        verdict(&rig, 4, "drift", "offline in Scalelite: its polls (every 5 s) do not reach this host's BBB")
            .await;
    assert_eq!(status["scalelite"]["entries"][0]["online"], false);
    assert_eq!(status["bbb"]["answers"], false);
    rig.expect(4, &["status"]).await.says(&["offline, load not known yet", "does not answer"]);
}

#[tokio::test]
async fn registered_but_waiting_for_the_first_poll() {
    let rig = Rig::start(Options::with_tls().polled_by_hand()).await;
    // The name is registered long before: BBB's installation takes half an hour.
    let old = format!(
        "\"heritage=bbb-agents,role=bbb,instance={},region=eu-central-1,since=1767225600\"",
        rig.host.id()
    );
    rig.expect(0, &["register", "--only", "dns"]).await;
    rig.put(sandbox::route53::RecordType::Txt, &rig.ownership(), &[&old]);
    let run = rig.expect(0, &["register"]).await;
    run.says(&[
        "the first meeting is placed here once a poll of Scalelite's (every 5 s) has reached this host",
    ]);
    let status = verdict(&rig, 0, "registered", "before Scalelite's next poll (every 5 s)").await;
    assert_eq!(status["scalelite"]["entries"][0]["load"], Value::Null);
    rig.expect(0, &["status"]).await.says(&["verdict      registered, but no meeting is placed here before"]);
}

#[tokio::test]
async fn registered_but_not_on_every_server_yet() {
    let rig = Rig::bbb().await;
    rig.cloud.dns.set_propagation(1, sandbox::dns::Propagation::Held);
    rig.expect(0, &["register"]).await;
    let status = verdict(&rig, 0, "registered", "1 of 2 authoritative servers do not answer with").await;
    assert_eq!(status["dns"]["servers"][0]["state"], "live");
    assert_eq!(status["dns"]["servers"][1]["state"], "absent");
}

#[tokio::test]
async fn drift_when_bbb_does_not_answer() {
    let rig = serving().await;
    rig.host.bbb.set_mode(Mode::Starting);
    verdict(&rig, 4, "drift", "BBB does not answer on this host").await;
}

#[tokio::test]
async fn drift_when_bbb_is_not_installed_any_more() {
    let rig = Rig::without_bbb().await;
    rig.expect(7, &["register"]).await;
    // Without BBB's own word, its URL follows from the host's name; whose secret the entry has cannot be said.
    let url = format!("https://{}/bigbluebutton/api", rig.fqdn());
    rig.cloud.scalelite.add_server(&url, "of the BBB that was here", ServerState::Enabled);
    let status = verdict(&rig, 4, "drift", "BigBlueButton is not installed yet").await;
    assert_eq!(status["scalelite"]["server_url"], url);
    assert_eq!(status["scalelite"]["entries"][0]["secret_matches"], Value::Null);
    assert_eq!((&status["bbb"]["answers"], &status["bbb"]["meetings"]), (&Value::Bool(false), &Value::Null));
}

#[tokio::test]
async fn recordings_are_shown_and_change_no_verdict() {
    let rig = serving().await;
    let recordings = &rig.host.recordings;
    let failed = RECORDING.replace('8', "9");
    rig.expect(0, &["status"]).await.says(&["recordings   no recordings pending\n"]);
    recordings.reach(RECORDING, Stage::Checked).unwrap();
    recordings.reach(&failed, Stage::Archiving).unwrap();
    recordings.fail(&failed).unwrap();
    recordings.redis().set_queue("rap:process", 1);
    let words = "1 recording (1 to publish) and 1 recording job, 1 failed recording";
    rig.expect(0, &["status"]).await.says(&[&format!("recordings   {words}\n")]);
    let status = rig.status(0).await;
    let expected = serde_json::json!({
        "summary": words,
        "pending": [{ "id": RECORDING, "format": null, "stage": "publish", "minutes": 0 }],
        "stuck": [],
        "failed": [failed],
        "jobs": 1,
        "unsent": false,
        "error": null,
    });
    assert_eq!(status["bbb"]["recordings"], expected);

    recordings.redis().set_manner(Manner::Locked);
    rig.expect(0, &["status"]).await.says(&[
        "recordings   1 recording (1 to publish), 1 failed recording\n",
        "! BBB's recording jobs were not counted: ",
        "it wants a password",
    ]);
}

#[tokio::test]
async fn recordings_that_cannot_be_listed_are_not_none() {
    let rig = serving().await;
    let directory = rig.host.recordings.directory();
    std::fs::create_dir_all(directory.join("status")).unwrap();
    std::fs::write(directory.join("status/archived"), "a file").unwrap();
    let why = format!("! cannot list the recordings: {}/status/archived: ", directory.display());
    rig.expect(0, &["status"]).await.says(&["recordings   not known\n", &why]);
    let status = rig.status(0).await;
    assert_eq!(status["bbb"]["recordings"]["pending"], Value::Null);
}

#[tokio::test]
async fn cannot_tell_without_metadata() {
    let rig = serving().await;
    rig.host.close(Imds).await;
    let quick = ["status", "--json", "--set", "timeouts.status=1"];
    let run = rig.expect(5, &quick).await;
    let status: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(status["verdict"], "cannot-tell");
    assert_eq!(status["identity"]["instance"], Value::Null);
    assert!(status["identity"]["error"].as_str().unwrap().contains("instance metadata"));
    rig.expect(5, &["status", "--set", "timeouts.status=1"]).await.says(&["host         not known"]);
}

#[tokio::test]
async fn cannot_tell_without_scalelite() {
    let rig = serving().await;
    rig.cloud.close(Scalelite).await;
    let status =
        verdict(&rig, 5, "cannot-tell", "Scalelite could not be asked: cannot list the servers").await;
    assert!(status["scalelite"]["error"].is_string());
    assert_eq!(status["scalelite"]["entries"], serde_json::json!([]));
    rig.cloud.open(Scalelite).await;

    rig.fault(Scalelite, "", Fault::Hang, None);
    let run = rig.expect(5, &["status", "--set", "timeouts.status=1"]).await;
    run.says(&["Scalelite could not be asked: no answer in time"]);
    rig.heal();

    rig.cloud.aws.deny("secretsmanager:GetSecretValue");
    verdict(&rig, 5, "cannot-tell", "secretsmanager:GetSecretValue").await;
    assert!(!rig.calls(SecretsManager).is_empty());
}

#[tokio::test]
async fn cannot_tell_without_any_word_on_the_name() {
    let rig = serving().await;
    (0..2).for_each(|server| rig.cloud.dns.down(server));
    rig.cloud.aws.deny("route53:ListResourceRecordSets");
    let status = verdict(&rig, 5, "cannot-tell", "nobody could say whether").await;
    let servers = status["dns"]["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    assert!(servers.iter().all(|server| server["state"] == "unknown"));
    assert!(servers[2]["detail"].as_str().unwrap().contains("AccessDenied"));
}

#[tokio::test]
async fn the_gravest_reason_comes_first() {
    let rig = serving().await;
    rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Cordoned);
    rig.cloud.route53.remove(&rig.cloud.zone_id, &rig.fqdn(), sandbox::route53::RecordType::A, None);
    rig.cloud.route53.remove(&rig.cloud.zone_id, &rig.fqdn(), sandbox::route53::RecordType::Aaaa, None);
    rig.cloud.route53.remove(&rig.cloud.zone_id, &rig.ownership(), sandbox::route53::RecordType::Txt, None);
    let status = verdict(&rig, 3, "not-registered", "cordoned in Scalelite").await;
    assert!(status["reasons"][0].as_str().unwrap().contains("has no record set"), "{status:#}");
}

#[tokio::test]
async fn a_spot_notice_and_the_target_state_are_shown() {
    let rig = serving().await;
    rig.cloud.interrupt(rig.host.id(), "terminate", std::time::Duration::from_secs(120)).unwrap();
    rig.host.imds.update(|facts| facts.target_lifecycle_state = Some("Terminated".into())).unwrap();
    let status = rig.status(0).await;
    assert_eq!(status["auto_scaling"]["target_state"], "Terminated");
    assert!(status["auto_scaling"]["spot_notice"].as_str().unwrap().starts_with("terminate at 20"));
    rig.expect(0, &["status"])
        .await
        .says(&["spot         EC2 will terminate at 20", "target state Terminated"]);
}

#[tokio::test]
async fn the_group_is_asked_of_ec2_where_tags_are_not_in_the_metadata() {
    let mut host = HostOptions::default();
    host.facts.tags_in_metadata = false;
    let rig = Rig::start(Options { host, ..Options::with_tls() }).await;
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.status(0).await["auto_scaling"]["group"], "bbb-fleet");

    rig.cloud.aws.deny("ec2:DescribeInstances");
    let status = rig.status(0).await;
    assert_eq!(status["auto_scaling"]["group"], Value::Null);
    assert!(status["auto_scaling"]["error"].as_str().unwrap().contains("EC2 DescribeInstances"));
}

#[tokio::test]
async fn a_host_outside_of_any_group() {
    let host = HostOptions { group: None, ..HostOptions::default() };
    let rig = Rig::start(Options { host, ..Options::with_tls() }).await;
    rig.expect(0, &["register"]).await;
    rig.expect(0, &["status"]).await.says(&["auto scaling not in a group"]);
}
