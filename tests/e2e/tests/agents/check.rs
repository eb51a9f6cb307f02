//! `check` and `hostname`: what they need, what they say, and that they change nothing.

use std::time::Duration;

use e2e::{Rig, Run};
use sandbox::bbb::Mode;
use sandbox::cloud::Options;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{self, Imds, Route53, Scalelite};
use sandbox::route53::RecordType;

const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

/// Every line of a check, by what was checked.
fn line<'a>(run: &'a Run, what: &str) -> &'a str {
    let found = run.stdout.lines().find(|line| line.get(5..).is_some_and(|rest| rest.starts_with(what)));
    found.unwrap_or_else(|| panic!("no check of {what:?}:\n{run}"))
}

/// The check must fail in this one line with these words, and change nothing.
async fn fails(rig: &Rig, arguments: &[&str], what: &str, words: &[&str]) {
    let before = rig.state();
    let run = rig.expect(1, &[&["check"], arguments].concat()).await;
    assert_eq!(rig.state(), before, "check changes nothing");
    let failed: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("FAIL ")).collect();
    assert_eq!(failed, [line(&run, what)], "{run}");
    for words in words {
        assert!(failed[0].contains(words), "{words:?} is missing: {}", failed[0]);
    }
}

#[tokio::test]
async fn all_is_well_and_nothing_is_changed() {
    let rig = Rig::bbb().await;
    let before = rig.state();
    let run = rig.expect(0, &["check"]).await;
    assert_eq!(rig.state(), before);
    assert!(!run.stdout.contains("FAIL"), "{run}");
    for (what, words) in [
        ("configuration", "valid"),
        ("tls", "certificate authorities found"),
        ("metadata", "i-0123456789abcdef0 in eu-central-1a"),
        ("addresses", "203.0.113.10"),
        ("credentials", "those of the instance's role "),
        ("hosted zone", "example.org (public)"),
        ("read records", "can read"),
        ("change records", "may change"),
        ("name servers", "all 2 answer"),
        ("ec2", "in the group bbb-fleet"),
        ("bbb", "answers, 0 meetings"),
        ("recordings", "can be read"),
        ("sender", "a program sends recordings to Scalelite"),
        ("scalelite", "accepts the load balancer's secret"),
    ] {
        assert!(line(&run, what).starts_with("ok "), "{run}");
        assert!(line(&run, what).contains(words), "{run}");
    }
    rig.expect(0, &["register"]).await;
    let before = rig.state();
    rig.expect(0, &["check"]).await;
    assert_eq!(rig.state(), before, "on a registered host neither");
}

#[tokio::test]
async fn the_address_that_bbb_announces() {
    let rig = Rig::bbb().await;
    let run = rig.expect(0, &["check"]).await;
    assert!(line(&run, "announced").starts_with("note "), "nothing is installed there: {run}");
    rig.announces("203.0.113.10");
    let run = rig.expect(0, &["check"]).await;
    assert!(line(&run, "announced").starts_with("ok "), "{run}");
    rig.readdress("203.0.113.99");
    let words = "BBB announces 203.0.113.10, the host has 203.0.113.99 (external_rtp_ip in /opt/freeswitch";
    fails(&rig, &[], "announced", &[words, "and 13 more places"]).await;
    let run = rig.expect(0, &["check", "--set", "bbb.addresses=ignore"]).await;
    assert!(line(&run, "announced").starts_with("note "), "{run}");
    assert!(line(&run, "announced").contains(words), "{run}");
    // What is not known is not right.
    rig.announces("203.0.113.99");
    std::fs::write(rig.host.root.join("etc/turnserver.conf"), [0xff]).unwrap();
    fails(&rig, &[], "announced", &["turnserver.conf: it is not UTF-8 from byte 0 on"]).await;
}

#[tokio::test]
async fn a_command_does_not_join_a_host_either_whose_bbb_announces_another_address() {
    let rig = Rig::bbb().await;
    rig.announces("203.0.113.10");
    rig.readdress("203.0.113.99");
    let run = rig.expect(7, &["register"]).await;
    run.says(&["not joined: BBB announces 203.0.113.10, the host has 203.0.113.99"]);
    assert!(rig.entries().is_empty());
    assert_eq!(rig.records(), rig.registered_now());
    rig.expect(0, &["register", "--set", "bbb.addresses=ignore"]).await;
    rig.expect(0, &["deregister"]).await;
    rig.announces("203.0.113.99");
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.entry().state, sandbox::scalelite::ServerState::Enabled);
}

#[tokio::test]
async fn recordings_that_cannot_be_seen_or_are_never_sent() {
    let rig = Rig::bbb().await;
    let recordings = &rig.host.recordings;
    recordings.redis().set_password(Some("not the agent's"));
    fails(&rig, &[], "recordings", &["Redis at ", "wants a password"]).await;
    recordings.redis().set_password(None);
    std::fs::remove_file(recordings.sender()).unwrap();
    let run = rig.expect(0, &["check"]).await;
    assert!(line(&run, "sender").starts_with("note "), "nothing is lost yet: {run}");
    recordings.put(RECORDING, "sanity/R.done published/R-presentation.done", Duration::ZERO).unwrap();
    fails(&rig, &[], "sender", &["no sender", "recordings.sender"]).await;
    let run = rig.expect(0, &["check", "--set", "recordings.sender=none"]).await;
    assert!(!run.stdout.contains("sender"), "{run}");
}

#[tokio::test]
async fn denied_actions() {
    for (action, what, words) in [
        ("route53:GetHostedZone", "hosted zone", "GetHostedZone"),
        ("route53:ListResourceRecordSets", "read records", "ListResourceRecordSets"),
        ("route53:ChangeResourceRecordSets", "change records", "ChangeResourceRecordSets"),
        ("ec2:DescribeInstances", "ec2", "EC2 DescribeInstances: UnauthorizedOperation"),
        ("secretsmanager:GetSecretValue", "scalelite", "secretsmanager:GetSecretValue for it"),
    ] {
        let rig = Rig::bbb().await;
        rig.cloud.aws.deny(action);
        fails(&rig, &[], what, &[words, "not authorized to perform this"]).await;
    }
}

#[tokio::test]
async fn a_zone_that_is_not_the_domains() {
    let rig = Rig::bbb().await;
    let run = rig.expect(1, &["check", "--set", "dns.zone_id=Z0987654321EXAMPLE"]).await;
    for what in ["hosted zone", "read records", "change records"] {
        assert!(line(&run, what).starts_with("FAIL "), "{run}");
        assert!(line(&run, what).contains("NoSuchHostedZone"), "{run}");
    }
    let run = rig.expect(1, &["check", "--set", "dns.domain=example.net"]).await;
    assert!(
        line(&run, "hosted zone").contains("is example.org, and dns.domain example.net is not below"),
        "{run}"
    );
}

#[tokio::test]
async fn another_load_balancer_secret() {
    let secrets = vec![("wrong".to_owned(), "not the load balancer's".to_owned())];
    let rig = Rig::start(Options { secrets, ..Options::with_tls() }).await;
    let wrong = ["--set", "scalelite.secret=secretsmanager:wrong"];
    fails(&rig, &wrong, "scalelite", &["checksumError", "wrong load balancer secret"]).await;
    fails(&rig, &["--set", "scalelite.secret=secretsmanager:none"], "scalelite", &["no such secret"]).await;
}

#[tokio::test]
async fn scalelite_does_not_answer() {
    let rig = Rig::bbb().await;
    rig.cloud.close(Scalelite).await;
    fails(&rig, &[], "scalelite", &["connection refused"]).await;
    rig.cloud.open(Scalelite).await;
    rig.fault(Scalelite, "", Fault::Hang, None);
    fails(&rig, &["--set", "timeouts.status=1"], "scalelite", &["no answer within 1 s"]).await;
}

#[tokio::test]
async fn a_dead_name_server() {
    let rig = Rig::bbb().await;
    rig.cloud.dns.down(1);
    let dead = rig.cloud.dns.addresses()[1].to_string();
    fails(&rig, &[], "name servers", &["1 of 2 do not answer", &dead]).await;
}

#[tokio::test]
async fn no_address_to_register() {
    let rig = Rig::bbb().await;
    rig.host.imds.update(|facts| (facts.public_ipv4, facts.ipv6) = (None, None)).unwrap();
    fails(&rig, &[], "addresses", &["reports no public IPv4 address"]).await;
    fails(&rig, &["--set", "dns.ipv4=public-if-any"], "addresses", &["reports no address of the kind"]).await;
}

#[tokio::test]
async fn no_metadata() {
    let rig = Rig::bbb().await;
    rig.host.imds.set_disabled(true);
    fails(&rig, &[], "metadata", &["it is disabled in the instance's metadata options"]).await;
}

#[tokio::test]
async fn no_certificate_authorities() {
    let rig = Rig::bbb().await;
    let run = rig.expect(1, &["check", "--set", "tls.ca_bundle=/nonexistent.pem"]).await;
    assert!(line(&run, "tls").starts_with("FAIL "), "{run}");
    assert!(line(&run, "tls").contains("cannot read the CA bundle /nonexistent.pem"), "{run}");
    assert!(line(&run, "metadata").starts_with("ok "), "{run}");
}

#[tokio::test]
async fn bbb_that_was_not_restarted_since_its_secret_changed() {
    let rig = Rig::bbb().await;
    rig.host.bbb.set_secret("changed, not restarted");
    let run = rig.expect(1, &["check"]).await;
    assert!(line(&run, "bbb").starts_with("FAIL "), "{run}");
    assert!(line(&run, "bbb").contains("checksumError"), "{run}");
}

#[tokio::test]
async fn bbb_that_is_not_there_yet_is_only_a_note() {
    let rig = Rig::without_bbb().await;
    let run = rig.expect(0, &["check"]).await;
    assert!(line(&run, "bbb").starts_with("note "), "{run}");
    let rig = Rig::bbb().await;
    rig.host.bbb.set_mode(Mode::Starting);
    let run = rig.expect(0, &["check"]).await;
    assert!(line(&run, "bbb").starts_with("note ") && line(&run, "bbb").contains("not ready"), "{run}");
}

#[tokio::test]
async fn a_host_that_ec2_does_not_know_yet_is_only_a_note() {
    let rig = Rig::bbb().await;
    rig.cloud.fleet.hide(rig.host.id()).unwrap();
    let run = rig.expect(0, &["check"]).await;
    assert!(line(&run, "ec2").starts_with("note "), "{run}");
}

#[tokio::test]
async fn plain_http_to_scalelite_is_a_note() {
    let rig = Rig::start(Options::default()).await;
    let mut command = rig.command(&["check"]);
    // This cloud has no authority of its own; any makes TLS usable.
    let authority = rig.host.root.join("ca.pem");
    std::fs::write(&authority, sandbox::tls::Authority::new().unwrap().pem()).unwrap();
    command.env("SSL_CERT_FILE", &authority);
    let run = e2e::Running::start(command).end().await;
    assert_eq!(run.code, 0, "{run}");
    assert!(line(&run, "scalelite.url").starts_with("note "), "{run}");
}

#[tokio::test]
async fn a_name_that_belongs_to_somebody_else_is_not_touched_by_the_probe() {
    let rig = Rig::bbb().await;
    rig.put(RecordType::A, &rig.fqdn(), &["192.0.2.7"]);
    let before = rig.state();
    rig.expect(0, &["check"]).await;
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn hostname_needs_the_metadata_only() {
    let rig = Rig::bbb().await;
    for service in [Route53, Scalelite, ServiceName::Bbb] {
        rig.cloud.close(service).await;
    }
    (0..2).for_each(|server| rig.cloud.dns.down(server));
    rig.host.files.remove().unwrap();
    let mut command = rig.command(&["hostname"]);
    command.env_remove("SSL_CERT_FILE");
    let run = e2e::Running::start(command).end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.stdout, format!("{}\n", rig.fqdn()));
    assert_eq!(run.stderr, "");
    assert_eq!(rig.cloud.dns.queries(), []);
    assert!(rig.cloud.journal.entries().iter().all(|entry| entry.service == Imds));
}

#[tokio::test]
async fn hostname_follows_the_template() {
    let rig = Rig::bbb().await;
    let run = rig.expect(0, &["hostname", "--set", "dns.hostname=bbb-{instance}"]).await;
    assert_eq!(run.stdout, "bbb-0123456789abcdef0.example.org\n");
    let run = rig.expect(0, &["hostname", "--set", "dns.name=meet.example.org"]).await;
    assert_eq!(run.stdout, "meet.example.org\n");
}
