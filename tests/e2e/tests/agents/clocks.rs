//! What passes by itself, though AWS calls it by the names of what does not: a host's clock that is wrong, and a role
//! that was attached a moment ago.

use e2e::{Rig, at_once};
use sandbox::http::ServiceName::{Ec2, Route53, SecretsManager};

const ROLE: &str = "bbb-fleet-host";
const BEHIND: &str = "this host's clock is 47 minutes behind AWS's; set it right";

async fn rig(agent: &str) -> Rig {
    if agent == "bbb-agent" { Rig::bbb().await } else { Rig::turn().await }
}

#[tokio::test]
async fn a_wrong_clock_is_named_and_waited_for() {
    let rows = [
        (2820, BEHIND),
        (-2820, "this host's clock is 47 minutes ahead of AWS's"),
        (360, "6 minutes behind AWS's"),
    ];
    let rows = rows.into_iter().flat_map(|row| ["bbb-agent", "turn-agent"].map(|agent| (agent, row)));
    at_once(rows, async |(agent, (ahead, words))| {
        let rig = rig(agent).await;
        rig.cloud.aws.set_clock(ahead);
        let run = rig.expect(8, &["register", "--set", "timeouts.register=2"]).await;
        run.says(&[
            "Route 53 ChangeResourceRecordSets",
            "SignatureDoesNotMatch: ",
            words,
            "run the same command again",
        ]);
        assert!(run.retries() > 0, "{run}");

        let mut running = rig.begin(&["register", "--wait"]);
        running.said("trying again in", 2).await;
        rig.cloud.aws.set_clock(0);
        let run = running.end().await;
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(rig.records(), rig.registered_now());
    })
    .await;
}

/// Each service has its own words for it.
#[tokio::test]
async fn every_services_words_for_a_wrong_clock_are_understood() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    rig.cloud.aws.set_clock(2820);
    let check = rig.expect(1, &["check"]).await;
    for (what, code) in [
        ("hosted zone", "SignatureDoesNotMatch"),
        ("change records", "SignatureDoesNotMatch"),
        ("ec2", "RequestExpired"),
        ("scalelite", "InvalidSignatureException"),
    ] {
        let line = check.stdout.lines().find(|line| line.contains(what)).unwrap();
        assert!(line.contains(&format!("{code}: {BEHIND}")), "{check}");
    }
    // Within the quarter of an hour EC2 has another word.
    rig.cloud.aws.set_clock(-600);
    let words = "AuthFailure: this host's clock is 10 minutes ahead of AWS's";
    rig.expect(1, &["check"]).await.says(&[words]);

    // Leaving waits as well, and does not take a refusal for an answer.
    let run = rig.expect(8, &["deregister", "--set", "timeouts.deregister=2"]).await;
    run.says(&["10 minutes ahead of AWS's"]);
    assert_eq!(rig.records(), rig.registered_now());
    rig.cloud.aws.set_clock(0);
    rig.expect(0, &["deregister"]).await;
}

#[tokio::test]
async fn a_service_with_a_wrong_clock_says_so_and_registers_when_it_is_right() {
    let rig = Rig::bbb().await;
    rig.cloud.aws.set_clock(2820);
    let service = rig.service(&[]);
    service.systemd.shows(&[BEHIND]).await;
    assert_eq!(rig.status(3).await["service"]["state"], "joining");
    rig.cloud.aws.set_clock(0);
    let registered = async { service.systemd.shows_exactly("registered").await };
    rig.until(&service, registered).await;
}

/// Keys that are not known and permissions that are not there are waited for as long as they are young.
#[tokio::test]
async fn a_young_role_is_waited_for() {
    let rows = [
        ("keys", "InvalidClientTokenId", 0),
        ("route53:ChangeResourceRecordSets", "AccessDenied", 0),
        ("secretsmanager:GetSecretValue", "AccessDeniedException", 0),
    ];
    at_once(rows, async |(what, code, end)| {
        let rig = Rig::bbb().await;
        let young = |young: bool| match what {
            "keys" => rig.cloud.vault.set_known(ROLE, !young),
            action if young => rig.cloud.aws.deny(action),
            action => rig.cloud.aws.allow(action),
        };
        rig.cloud.vault.attach(ROLE, 20);
        young(true);
        let mut running = rig.begin(&["register"]);
        running.said("trying again in", 2).await;
        young(false);
        let run = running.end().await;
        assert_eq!(run.code, end, "{what}: {run}");
        run.says(&[
            code,
            "the role's keys are 2",
            "AWS may not know them and their permissions everywhere yet",
        ]);
        rig.entry();
    })
    .await;
}

#[tokio::test]
async fn what_an_old_role_may_not_do_is_final() {
    let rig = Rig::bbb().await;
    rig.cloud.vault.attach(ROLE, 400);
    rig.cloud.vault.set_known(ROLE, false);
    let run = rig.expect(1, &["register"]).await;
    run.says(&["InvalidClientTokenId"]);
    assert_eq!((run.retries(), rig.calls(Route53).len()), (0, 1), "{run}");
    assert_eq!((rig.calls(SecretsManager), rig.calls(Ec2)), (vec![], vec![]));
}

/// A role that never gets the permission is given up once it is old.
#[tokio::test]
async fn a_young_role_grows_old() {
    let rig = Rig::bbb().await;
    rig.cloud.vault.attach(ROLE, 298);
    rig.cloud.aws.deny("route53:ChangeResourceRecordSets");
    let run = rig.expect(1, &["register"]).await;
    run.says(&["AccessDenied"]);
    assert!(run.retries() > 0, "{run}");
}
