//! Services that are away, slow, busy or forbidden: what comes back is waited for within bounds, what does not come back
//! ends with a clear message and exit code, and few calls are wasted meanwhile.

use e2e::{Rig, Run, at_once};
use sandbox::bbb::Secret;
use sandbox::cloud::Options;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{self, Imds, Route53, Scalelite, SecretsManager};
use sandbox::scalelite::Config;

/// Registered after all, and every wasted call was followed by a wait.
fn came_through(rig: &Rig, run: &Run, service: ServiceName, action: &str, most: usize) {
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.records(), rig.registered_now());
    let entries = rig.cloud.journal.entries().into_iter();
    let failed = entries.filter(|entry| {
        entry.service == service && entry.action.contains(action) && entry.status != Some(200)
    });
    let failed = failed.count();
    assert_eq!(run.retries(), failed, "no try without a wait, nothing is retried twice over:\n{run}");
    assert!(failed <= most, "{failed} wasted calls:\n{run}");
}

#[tokio::test]
async fn imds_is_refused_at_first() {
    let rig = Rig::start(Options { closed: vec![Imds], ..Options::with_tls() }).await;
    let mut running = rig.begin(&["register"]);
    running.said("trying again in", 3).await;
    rig.host.open(Imds).await;
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["the instance metadata service is not reachable: connection refused"]);
    assert_eq!(rig.records(), rig.registered_now());
    rig.entry();
}

#[tokio::test]
async fn imds_answers_503_at_first() {
    let rig = Rig::bbb().await;
    rig.refuse(Imds, "", 503, "", None);
    let running = rig.begin(&["register"]);
    rig.cloud.journal.reached(Imds, "token", 3).await;
    rig.heal();
    let run = running.end().await;
    run.says(&["the instance metadata service answered 503"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.records(), rig.registered_now());
    assert!(run.retries() <= 4, "{run}");
}

#[tokio::test]
async fn imds_is_silent_at_first() {
    let rig = Rig::bbb().await;
    rig.fault(Imds, "", Fault::Hang, None);
    let running = rig.begin(&["register"]);
    rig.cloud.journal.reached(Imds, "token", 2).await;
    rig.heal();
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.records(), rig.registered_now());
}

#[tokio::test]
async fn imds_answers_the_token_but_not_the_rest_at_first() {
    let rig = Rig::bbb().await;
    rig.refuse(Imds, "identity/document", 500, "", Some(2));
    rig.refuse(Imds, "public-ipv4", 503, "", Some(1));
    let run = rig.expect(0, &["register"]).await;
    assert_eq!(run.retries(), 3, "{run}");
    assert_eq!(rig.records(), rig.registered(Some("203.0.113.10"), Some("2001:db8::10")));
}

#[tokio::test]
async fn imds_never_comes() {
    let rows = [("closed", "connection refused"), ("503", "answered 503"), ("silent", "not reachable")];
    at_once(rows, async |(how, words)| {
        let rig = Rig::bbb().await;
        match how {
            "closed" => rig.host.close(Imds).await,
            "503" => rig.refuse(Imds, "", 503, "", None),
            _ => rig.fault(Imds, "", Fault::Hang, None),
        }
        let before = rig.state();
        for command in ["register", "deregister", "hostname"] {
            let run = rig.expect(8, &[command, "--set", "timeouts.imds=1"]).await;
            run.says(&["instance metadata (IMDSv2): gave up waiting", words, "what to do: "]);
        }
        assert_eq!(rig.state(), before);
        assert_eq!(rig.calls(Route53), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn imds_is_disabled_which_no_waiting_helps() {
    let rig = Rig::bbb().await;
    rig.host.imds.set_disabled(true);
    let run = rig.expect(1, &["register"]).await;
    run.says(&["cannot read instance metadata (IMDSv2)", "(403): it is disabled", "what to do: "]);
    assert_eq!(run.retries(), 0);
}

#[tokio::test]
async fn an_imds_token_that_expires_in_between_is_replaced() {
    let rig = Rig::bbb().await;
    rig.refuse(Imds, "public-ipv4", 401, "", Some(1));
    let run = rig.expect(0, &["register"]).await;
    assert_eq!(run.retries(), 0, "{run}");
    assert_eq!(rig.cloud.journal.count(Imds, "PUT /latest/api/token"), 2);
}

#[tokio::test]
async fn route_53_is_busy_at_first() {
    at_once(
        [
            (400, "Throttling"),
            (400, "PriorRequestNotComplete"),
            (500, "InternalFailure"),
            (503, "ServiceUnavailable"),
        ],
        async |(status, code)| {
            let rig = Rig::bbb().await;
            rig.refuse(Route53, "", status, code, None);
            let running = rig.begin(&["register"]);
            rig.cloud.journal.reached(Route53, "Change", 3).await;
            rig.heal();
            let run = running.end().await;
            came_through(&rig, &run, Route53, "", 4);
            run.says(&[&format!("Route 53 ChangeResourceRecordSets on zone {}: {code}", rig.cloud.zone_id)]);
            rig.entry();
        },
    )
    .await;
}

#[tokio::test]
async fn the_accounts_budget_is_used_up_by_others() {
    let mut options = Options::with_tls();
    options.route53.clock = sandbox::route53::Clock::manual();
    let clock = options.route53.clock.clone();
    let rig = Rig::start(options).await;
    rig.cloud.route53.use_up(50);
    let running = rig.begin(&["register"]);
    rig.cloud.journal.reached(Route53, "Change", 2).await;
    clock.advance(std::time::Duration::from_secs(1));
    let run = running.end().await;
    came_through(&rig, &run, Route53, "", 3);
    run.says(&["Throttling: Rate exceeded"]);
}

#[tokio::test]
async fn the_zone_is_busy_with_somebody_elses_change() {
    let rig = Rig::bbb().await;
    rig.cloud.route53.hold_processing(&rig.cloud.zone_id);
    let running = rig.begin(&["register"]);
    rig.cloud.journal.reached(Route53, "Change", 2).await;
    rig.cloud.route53.finish_processing(&rig.cloud.zone_id);
    let run = running.end().await;
    came_through(&rig, &run, Route53, "", 3);
    run.says(&["PriorRequestNotComplete"]);
}

#[tokio::test]
async fn route_53_is_busy_while_the_name_is_read_and_deleted() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    (0..2).for_each(|server| rig.cloud.dns.down(server));
    rig.cloud.journal.clear();
    rig.refuse(Route53, "List", 400, "Throttling", Some(1));
    rig.refuse(Route53, "Change", 500, "", Some(1));
    let run = rig.expect(0, &["deregister"]).await;
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(run.retries(), 2, "{run}");
}

#[tokio::test]
async fn route_53_never_comes() {
    let rig = Rig::bbb().await;
    rig.refuse(Route53, "", 400, "Throttling", None);
    let run = rig.expect(8, &["register", "--set", "timeouts.register=2"]).await;
    run.says(&[
        &format!("DNS name {}: gave up waiting", rig.fqdn()),
        "Route 53 ChangeResourceRecordSets on zone",
        "Throttling: Rate exceeded",
        "what to do: run the same command again",
    ]);
    assert!(rig.calls(Route53).len() <= 5 + run.retries(), "{run}");
    assert_eq!(rig.calls(Route53).len(), run.retries() + 1);
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
}

#[tokio::test]
async fn aws_cannot_be_reached_at_first() {
    let rig = Rig::start(Options { closed: vec![Route53], ..Options::with_tls() }).await;
    let mut running = rig.begin(&["register"]);
    running.said("trying again in", 2).await;
    rig.cloud.open(Route53).await;
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["Route 53 ChangeResourceRecordSets", "connection refused"]);
    assert_eq!(rig.records(), rig.registered_now());
}

#[tokio::test]
async fn what_is_forbidden_is_named_and_not_tried_again() {
    at_once(
        [
            ("route53:ChangeResourceRecordSets", "Route 53 ChangeResourceRecordSets on zone", 1),
            ("secretsmanager:GetSecretValue", "secretsmanager:GetSecretValue", 9),
        ],
        async |(action, words, code)| {
            let rig = Rig::bbb().await;
            rig.cloud.aws.deny(action);
            let run = rig.expect(code, &["register"]).await;
            run.says(&[words, "AccessDenied"]);
            assert_eq!(run.retries(), 0, "{run}");
            assert_eq!(rig.cloud.scalelite.servers(), []);
        },
    )
    .await;
}

#[tokio::test]
async fn credentials_that_expired_are_fetched_anew() {
    let rig = Rig::bbb().await;
    rig.refuse(Route53, "Change", 403, "ExpiredToken", Some(1));
    let run = rig.expect(0, &["register"]).await;
    came_through(&rig, &run, Route53, "", 1);
}

#[tokio::test]
async fn the_zone_does_not_exist() {
    let rig = Rig::bbb().await;
    let run = rig.expect(1, &["register", "--set", "dns.zone_id=Z0987654321EXAMPLE"]).await;
    run.says(&["Route 53 ChangeResourceRecordSets on zone Z0987654321EXAMPLE", "NoSuchHostedZone"]);
    assert_eq!(run.retries(), 0, "{run}");
}

#[tokio::test]
async fn secrets_manager_is_busy_at_first() {
    let rig = Rig::bbb().await;
    rig.refuse(SecretsManager, "", 400, "ThrottlingException", Some(1));
    rig.refuse(SecretsManager, "", 500, "InternalServiceError", Some(1));
    let run = rig.expect(0, &["register"]).await;
    came_through(&rig, &run, SecretsManager, "", 2);
}

#[tokio::test]
async fn the_secret_is_not_there_or_not_what_was_expected() {
    let rig = Rig::bbb().await;
    for (reference, words) in [
        ("secretsmanager:no/such#x", "there is no such secret"),
        ("secretsmanager:bbb/scalelite#other", "has no key other"),
        ("file:/nonexistent/secret", "/nonexistent/secret"),
        ("credential:scalelite", "credential:scalelite"),
    ] {
        let run = rig.expect(9, &["register", "--set", &format!("scalelite.secret={reference}")]).await;
        run.says(&["scalelite.secret", words]);
        assert_eq!(rig.calls(Scalelite), [""; 0]);
        assert_eq!(rig.records(), rig.registered_now(), "the name does not depend on it");
    }
}

#[tokio::test]
async fn the_secret_comes_from_a_file_or_a_systemd_credential() {
    let rig = Rig::bbb().await;
    let file = rig.host.root.join("lb-secret");
    std::fs::write(&file, "sandbox-loadbalancer-secret\n").unwrap();
    let by_file = format!("scalelite.secret=file:{}", file.display());
    rig.expect(0, &["register", "--set", &by_file]).await;

    let mut command = rig.command(&["deregister", "--set", "scalelite.secret=credential:lb-secret"]);
    command.env("CREDENTIALS_DIRECTORY", &rig.host.root);
    let run = e2e::Running::start(command).end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.calls(SecretsManager), [""; 0]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
}

#[tokio::test]
async fn scalelite_is_away_at_first() {
    let rig = Rig::start(Options { closed: vec![Scalelite], ..Options::with_tls() }).await;
    let mut running = rig.begin(&["register"]);
    running.said("trying again in", 2).await;
    rig.cloud.open(Scalelite).await;
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["cannot list the servers of Scalelite at", "connection refused"]);
    rig.entry();
}

/// Every one of these calls with every one of these faults.
fn pairs(calls: &[&'static str], faults: &[Fault]) -> Vec<(&'static str, Fault)> {
    calls.iter().flat_map(|call| faults.iter().map(|fault| (*call, fault.clone()))).collect()
}

#[tokio::test]
async fn every_scalelite_call_may_fail_once_in_every_way() {
    let faults = [
        Fault::Error { status: 500, code: String::new() },
        Fault::Error { status: 502, code: "html".to_owned() },
        Fault::ErrorAfter { status: 500, code: String::new() },
        Fault::Close,
        Fault::LoseReply,
    ];
    at_once(pairs(&["getServers", "addServer", "updateServer"], &faults), async |(call, fault)| {
        let rig = Rig::bbb().await;
        rig.fault(Scalelite, call, fault.clone(), Some(1));
        let run = rig.expect(0, &["register", "--only", "scalelite"]).await;
        assert_eq!(run.retries(), 1, "{call} {fault:?}:\n{run}");
        rig.entry();
        assert_eq!(rig.cloud.scalelite.servers().len(), 1, "{call} {fault:?}");
    })
    .await;
}

#[tokio::test]
async fn every_scalelite_call_of_leaving_may_fail_once_in_every_way() {
    let faults = [
        Fault::Error { status: 500, code: String::new() },
        Fault::ErrorAfter { status: 500, code: String::new() },
        Fault::LoseReply,
    ];
    at_once(pairs(&["updateServer", "panicServer", "deleteServer"], &faults), async |(call, fault)| {
        let rig = Rig::bbb().await;
        rig.expect(0, &["register", "--only", "scalelite"]).await;
        rig.fault(Scalelite, call, fault.clone(), Some(1));
        let run = rig.expect(0, &["deregister"]).await;
        assert_eq!(rig.cloud.scalelite.servers(), [], "{call} {fault:?}:\n{run}");
    })
    .await;
}

#[tokio::test]
async fn scalelite_never_comes_and_the_name_is_registered_all_the_same() {
    at_once(["closed", "502", "redis"], async |how| {
        let rig = Rig::bbb().await;
        match how {
            "closed" => rig.cloud.close(Scalelite).await,
            "502" => rig.refuse(Scalelite, "", 502, "html", None),
            _ => rig.cloud.scalelite.set_redis_down(true),
        }
        let run = rig.expect(9, &["register", "--set", "timeouts.register=10"]).await;
        run.says(&[
            &format!("Scalelite entry {}: gave up waiting", rig.host.scalelite_entry_url()),
            &format!("the servers of Scalelite at {}", rig.cloud.scalelite_url()),
        ]);
        assert_eq!(rig.records(), rig.registered_now());
    })
    .await;
}

#[tokio::test]
async fn a_failure_of_scalelite_alone_has_its_own_exit_code() {
    let rig = Rig::bbb().await;
    rig.cloud.scalelite.set_redis_down(true);
    let only = ["register", "--only", "scalelite", "--set", "timeouts.register=1"];
    rig.expect(8, &only).await.says(&["gave up waiting"]);
    rig.cloud.aws.deny("secretsmanager:GetSecretValue");
    rig.expect(1, &only).await.says(&["secretsmanager:GetSecretValue"]);
}

#[tokio::test]
async fn scalelite_refuses_the_secret() {
    let mut options = Options::with_tls();
    options.scalelite = Config::new("another secret than the one in Secrets Manager");
    options.secrets = vec![("lb".to_owned(), "sandbox-loadbalancer-secret".to_owned())];
    let rig = Rig::start(options).await;
    let run = rig.expect(9, &["register", "--set", "scalelite.secret=secretsmanager:lb"]).await;
    run.says(&["checksumError", "this is the wrong load balancer secret (LOADBALANCER_SECRET)"]);
    assert_eq!(run.retries(), 0, "{run}");
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert_ne!(rig.cloud.bbb.snapshot().secret, Secret::new(""));
}

#[tokio::test]
async fn what_is_behind_the_address_is_no_scalelite_api() {
    let old = Rig::start(Options {
        scalelite: Config { version: (1, 5, 0), ..Config::new("sandbox-loadbalancer-secret") },
        ..Options::with_tls()
    });
    let old = old.await;
    old.expect(9, &["register"]).await.says(&["unsupportedRequest", "older than 1.5.1"]);

    let recordings = Rig::bbb().await;
    recordings.cloud.scalelite.set_recordings_only(true);
    recordings
        .expect(9, &["register"])
        .await
        .says(&["HTTP status 404", "is this the address of a Scalelite's API?"]);

    let other = Rig::start(Options {
        scalelite: Config {
            url_host: Some("scalelite.example.org".to_owned()),
            ..Config::new("sandbox-loadbalancer-secret")
        },
        ..Options::with_tls()
    });
    let other = other.await;
    other.expect(9, &["register"]).await.says(&["HTTP status 403", "URL_HOST"]);
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_not_trusted_and_not_tried_again() {
    let rig = Rig::bbb().await;
    let stranger = sandbox::tls::Authority::new().unwrap();
    let file = rig.host.root.join("stranger.pem");
    std::fs::write(&file, stranger.pem()).unwrap();
    let mut command = rig.command(&["register"]);
    command.env("SSL_CERT_FILE", &file);
    let run = e2e::Running::start(command).end().await;
    assert_eq!(run.code, 1, "{run}");
    run.says(&["not trusted"]);
    assert_eq!(run.retries(), 0, "{run}");

    // The same authority, given by the setting beside a stranger's: both are trusted.
    let mut command = rig.command(&["register"]);
    command.env("SSL_CERT_FILE", &file).env("BBB_AGENT_TLS_CA_BUNDLE", rig.cloud.ca_file().unwrap());
    let run = e2e::Running::start(command).end().await;
    assert_eq!(run.code, 0, "{run}");
}
