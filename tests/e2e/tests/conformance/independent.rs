//! Clients by other people on the embedded cloud, each as its own users run it. What one of them cannot do here, but can
//! with the real service, is a fault of the stand-in.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::{Run, Running};
use sandbox::bbb::Participants;
use sandbox::bbb::checksum::Algorithm;
use sandbox::cloud::{Cloud, HostOptions, Options};
use sandbox::fleet::InstanceFacts;
use sandbox::http::ServiceName;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// What `tests/prepare test` installs or unpacks.
fn tool(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools").join(path)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/clients").join(name)
}

/// A program of `target/tools` that trusts the cloud, and nothing of this machine's settings.
fn client(cloud: &Cloud, program: &str) -> Command {
    let program = tool(program);
    assert!(program.is_file(), "{} is missing: run tests/prepare test", program.display());
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", cloud.root());
    command.env("SSL_CERT_FILE", cloud.ca_file().expect("TLS"));
    command
}

/// `bbbctl` with this secret and these words.
async fn bbbctl(cloud: &Cloud, secret: &str, words: &[&str]) -> Run {
    let mut command = client(cloud, "bin/bbbctl");
    command.env("BBBCTL_SERVER", format!("https://{}", cloud.bbb_address())).env("BBBCTL_SECRET", secret);
    Running::start({
        command.args(["--format", "jsonline"]).args(words);
        command
    })
    .end()
    .await
}

/// What `bbbctl` printed, a value a line.
async fn said(cloud: &Cloud, words: &[&str]) -> Vec<Value> {
    let run = bbbctl(cloud, "sandbox-bbb-secret", words).await;
    assert_eq!(run.code, 0, "{words:?}: {run}");
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `bbbctl` said when it was refused.
async fn refused(cloud: &Cloud, secret: &str, words: &[&str], key: &str) {
    let run = bbbctl(cloud, secret, words).await;
    assert_eq!(run.code, 1, "{words:?}: {run}");
    run.says(&["returncode: FAILED", &format!("messageKey: {key}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bbbctl_leads_a_meeting_from_its_beginning_to_its_end() {
    let cloud = Cloud::start(Options::with_tls()).await.unwrap();
    assert_eq!(said(&cloud, &["meeting", "list"]).await, [] as [Value; 0]);
    said(&cloud, &["meeting", "create", "room-1", "Räume & <Zeit>", "--record", "--meta", "course=b 2"])
        .await;
    let created = said(&cloud, &["meeting", "info", "room-1"]).await.remove(0);
    assert_eq!(created["meetingName"], "Räume & <Zeit>");
    assert_eq!((&created["recording"], &created["running"]), (&json!(true), &json!(false)), "{created}");
    assert_eq!(created["metadata"]["course"], "b 2", "{created}");

    let people = Participants { moderators: 1, viewers: 2, listeners: 1, voices: 2, videos: 1 };
    assert!(cloud.bbb.set_participants("room-1", people));
    let listed = said(&cloud, &["meeting", "list", "--sort", "participantCount"]).await.remove(0);
    for (name, value) in [
        ("meetingID", json!("room-1")),
        ("participantCount", json!(3)),
        ("moderatorCount", json!(1)),
        ("listenerCount", json!(1)),
        ("voiceParticipantCount", json!(2)),
        ("videoCount", json!(1)),
        ("running", json!(true)),
        ("hasUserJoined", json!(true)),
        ("createTime", created["createTime"].clone()),
        ("internalMeetingID", created["internalMeetingID"].clone()),
    ] {
        assert_eq!(listed[name], value, "{name}: {listed}");
    }
    assert_eq!(listed["attendees"].as_array().unwrap().len(), 3, "{listed}");

    said(&cloud, &["meeting", "chat", "room-1", "We move on to \"B\" & C."]).await;
    said(&cloud, &["meeting", "chat", "BROADCAST", "Bye"]).await;
    assert_eq!(cloud.bbb.meeting("room-1").unwrap().chat, ["We move on to \"B\" & C.", "Bye"]);

    said(&cloud, &["meeting", "end", "room-1"]).await;
    assert!(cloud.bbb.meeting("room-1").is_none());
    refused(&cloud, "sandbox-bbb-secret", &["meeting", "info", "room-1"], "notFound").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bbbctl_is_told_what_bbb_tells_it() {
    let cloud = Cloud::start(Options::with_tls()).await.unwrap();
    let secret = "sandbox-bbb-secret";
    refused(&cloud, "another", &["meeting", "list"], "checksumError").await;
    said(&cloud, &["meeting", "create", "room-1", "One", "moderatorPW=m"]).await;
    // Once more, with the same parameters, is no fault.
    said(&cloud, &["meeting", "create", "room-1", "One", "moderatorPW=m"]).await;
    refused(&cloud, secret, &["meeting", "create", "room-1", "One", "moderatorPW=n"], "idNotUnique").await;
    refused(&cloud, secret, &["meeting", "chat", "room-2", "Hello"], "notFound").await;
    // It signs by SHA-1, which a host can refuse.
    cloud.bbb.set_algorithms(&[Algorithm::Sha256]);
    refused(&cloud, secret, &["meeting", "list"], "checksumError").await;
    cloud.bbb.set_algorithms(&Algorithm::ALL);
    cloud.bbb.set_version("2.7.17");
    refused(&cloud, secret, &["meeting", "chat", "room-1", "Hello"], "unsupportedRequest").await;

    cloud.bbb.start_meeting("room-2", 2);
    let dry = bbbctl(&cloud, secret, &["meeting", "nuke"]).await;
    dry.says(&["(dry run) id=room-1 user=0 name='One'", "(dry run) id=room-2 user=2 name='room-2'"]);
    assert_eq!(cloud.bbb.snapshot().meetings.len(), 2);
    bbbctl(&cloud, secret, &["meeting", "nuke", "--doit"]).await;
    assert_eq!(cloud.bbb.snapshot().meetings.len(), 0);
}

/// A client that botocore is in, with the keys of the host's role.
fn of_aws(cloud: &Cloud, program: &str) -> Command {
    let keys = cloud.vault.role("bbb-fleet-host");
    let mut command = client(cloud, program);
    command
        .envs(cloud.environment())
        .env("AWS_CA_BUNDLE", cloud.ca_file().unwrap())
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("AWS_ACCESS_KEY_ID", keys.access_key)
        .env("AWS_SECRET_ACCESS_KEY", keys.secret_key)
        .env("AWS_SESSION_TOKEN", keys.session_token.unwrap_or_default());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn botocore_is_refused_what_route_53_refuses() {
    let cloud = Cloud::start(Options::with_tls()).await.unwrap();
    let before = cloud.route53.records(&cloud.zone_id).unwrap().len();
    let mut command = of_aws(&cloud, "bin/python");
    command.arg(script("route53.py")).arg(&cloud.zone_id);
    let run = Running::start(command).end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.stdout.matches("refused: ").count(), 17, "{run}");
    // The state itself, and not only what the client was told.
    assert_eq!(cloud.route53.records(&cloud.zone_id).unwrap().len(), before + 4);
    assert_eq!(cloud.route53.changes().len(), 2, "the two batches that fit");
}

/// It speaks another protocol than the SDK of the agents.
#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_puts_metrics() {
    let cloud = Cloud::start(Options::with_tls()).await.unwrap();
    let put = async |data: &str| {
        let mut command = of_aws(&cloud, "bin/aws");
        command.args(["cloudwatch", "put-metric-data", "--namespace", "BBB", "--metric-data", data]);
        Running::start(command).end().await
    };
    let time = sandbox::clock::iso8601(cloud.clock.seconds());
    let data = json!([
        { "MetricName": "Meetings", "Value": 3, "Unit": "Count", "Timestamp": time,
          "Dimensions": [{ "Name": "AutoScalingGroupName", "Value": "bbb-fleet" }] },
        { "MetricName": "Load", "Value": 2.5 },
    ]);
    let run = put(&data.to_string()).await;
    assert_eq!(run.code, 0, "{run}");
    let stored = cloud.cloudwatch.data();
    let seen: Vec<(&str, &[f64])> =
        stored.iter().map(|datum| (datum.name.as_str(), datum.values.as_slice())).collect();
    assert_eq!(seen, [("Meetings", &[3.0][..]), ("Load", &[2.5])]);
    assert_eq!(stored[0].dimensions["AutoScalingGroupName"], "bbb-fleet");
    assert!(stored[0].timestamp.is_some());
    let long = json!([{ "MetricName": "M".repeat(256), "Value": 1 }]);
    let run = put(&long.to_string()).await;
    assert_ne!(run.code, 0, "{run}");
    run.says(&["InvalidParameterValue", "MetricName"]);
    assert_eq!(cloud.cloudwatch.data().len(), 2);
}

/// Python and the modules of cloud-init; none where they are not, which is told.
fn cloud_init(script_name: &str, address: &str) -> Option<Command> {
    let (python, modules) = (Path::new("/usr/bin/python3"), tool("cloud-init/usr/lib/python3/dist-packages"));
    if !python.is_file() || !modules.is_dir() {
        e2e::skipped("cloud-init is not in target/tools: run tests/prepare test");
        return None;
    }
    let mut command = Command::new(python);
    command.arg(script(script_name)).arg(address).env_clear().env("PYTHONPATH", modules);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    Some(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_init_finds_all_it_needs_in_the_metadata() {
    let facts = InstanceFacts {
        user_data: Some("#!/bin/bash\necho ü\n".to_owned()),
        role: Some("bbb-fleet-host".to_owned()),
        ..InstanceFacts::default()
    };
    let host = HostOptions { facts: facts.clone(), ..HostOptions::default() };
    let cloud = Cloud::start(Options { host, ..Options::default() }).await.unwrap();
    let Some(mut command) = cloud_init("metadata.py", &format!("http://{}", cloud.imds_address())) else {
        return;
    };
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = lines.next_line().await.unwrap().expect("the script ends only after its last line");
        serde_json::from_str(&line).unwrap()
    };
    let found = next().await;
    let wanted = json!({
        "instance": facts.instance_id, "region": facts.region, "zone": facts.availability_zone, "classic": false,
        "hostname": "ip-10-0-0-10.eu-central-1.compute.internal", "public_keys": [], "version": "2021-03-23",
        "user_data": facts.user_data,
        "network": { "version": 2, "ethernets": { "ens5": {
            "match": { "macaddress": facts.mac }, "set-name": "ens5", "dhcp4": true, "dhcp6": true,
        } } },
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(found[name], *value, "{name}: {found:#}");
    }
    assert_eq!(found["metadata"]["tags"]["instance"]["Name"], "bbb-0", "{found:#}");
    assert_eq!(found["metadata"]["iam"]["info"]["Code"], "Success", "{found:#}");

    // Its token ends while it has it: it gets another one by itself.
    cloud.journal.clear();
    cloud.imds.expire_tokens();
    child.stdin.take().unwrap().write_all(b"go on\n").await.unwrap();
    let document = next().await;
    assert_eq!(document["instanceId"], facts.instance_id.as_str());
    assert_eq!(next().await, 401, "version 1");
    assert!(child.wait().await.unwrap().success());
    assert_eq!(cloud.journal.count(ServiceName::Imds, "PUT /latest/api/token"), 1);
}
