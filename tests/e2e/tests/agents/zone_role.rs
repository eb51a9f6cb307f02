//! A hosted zone in another account (`dns.role_arn`): Route 53 is called in an assumed role, everything else is not.

use std::time::Duration;

use e2e::{Rig, at_once};
use sandbox::http::ServiceName::{Route53, Sts};

const ARN: &str = "arn:aws:iam::210987654321:role/dns/bbb-dns";
const ID: &str = "bbb-fleet";

/// An agent whose zone takes only that role, which wants an external id; and which is told so.
async fn rig(agent: &str) -> Rig {
    let rig = if agent == "bbb-agent" { Rig::bbb().await } else { Rig::turn().await };
    rig.cloud.sts.trust(ARN, Some(ID));
    rig.cloud.aws.reserve(Route53, Some(ARN));
    settings(&rig, &format!("role_arn = \"{ARN}\"\nrole_external_id = \"{ID}\"\n"));
    rig
}

fn settings(rig: &Rig, dns: &str) {
    rig.drop_in("10-role", &format!("[dns]\n{dns}"));
}

#[tokio::test]
async fn a_hosts_life_with_a_zone_of_another_account() {
    at_once(["bbb-agent", "turn-agent"], async |agent| {
        let rig = rig(agent).await;
        let check = rig.expect(0, &["check"]).await;
        check.says(&[&format!("ok   zone role       {ARN} is assumed for Route 53"), "may change"]);
        rig.cloud.journal.clear();
        rig.expect(0, &["register", "--wait"]).await;
        assert_eq!(rig.records(), rig.registered_now());
        assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
        assert_eq!(rig.calls(Sts), ["AssumeRole"]);
        rig.expect(0, &["sweep", "--dry-run"]).await;
        rig.expect(0, &["deregister", "--wait"]).await;
        assert_eq!(rig.records(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn without_the_role_route_53_refuses() {
    let rig = rig("bbb-agent").await;
    settings(&rig, "");
    let run = rig.expect(1, &["register"]).await;
    run.says(&["Route 53 ChangeResourceRecordSets", "AccessDenied"]);
    assert_eq!(rig.calls(Sts), [""; 0]);
}

/// Where the role cannot be assumed, the error names it and what to do, in a command as in `check`.
#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_named() {
    let other = "arn:aws:iam::210987654321:role/other";
    let rows = [
        ("no external id", ARN, ""),
        ("another external id", ARN, "role_external_id = \"other\"\n"),
        ("a role that is not there", other, "role_external_id = \"bbb-fleet\"\n"),
        ("sts:AssumeRole", ARN, "role_external_id = \"bbb-fleet\"\n"),
    ];
    at_once(rows, async |(what, arn, id)| {
        let rig = rig("bbb-agent").await;
        settings(&rig, &format!("role_arn = \"{arn}\"\n{id}"));
        if what == "sts:AssumeRole" {
            rig.cloud.aws.deny(what);
        }
        let words = [
            &format!("cannot assume the role {arn} (dns.role_arn): AccessDenied: "),
            "its trust policy has to allow the role of this host",
            "dns.role_external_id",
            "sts:AssumeRole",
        ];
        let run = rig.expect(1, &["register"]).await;
        run.says(&["Route 53 ChangeResourceRecordSets on zone"]).says(&words);
        assert_eq!((run.retries(), rig.calls(Route53)), (0, vec![]), "{what}: {run}");
        let check = rig.expect(1, &["check"]).await;
        let line = check.stdout.lines().find(|line| line.contains("zone role")).unwrap();
        assert!(
            line.starts_with("FAIL ") && words.iter().all(|words| line.contains(words)),
            "{what}: {check}"
        );
    })
    .await;
}

#[tokio::test]
async fn sts_may_be_busy_or_away_at_first() {
    for (status, code) in [(400, "Throttling"), (500, "InternalFailure"), (503, "ServiceUnavailable")] {
        let rig = rig("bbb-agent").await;
        rig.refuse(Sts, "", status, code, Some(2));
        let run = rig.expect(0, &["register"]).await;
        assert_eq!(run.retries(), 2, "{run}");
        run.says(&[&format!("cannot assume the role {ARN} (dns.role_arn): {code}")]);
        assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"], "Route 53 was not asked before");
    }
}

/// A session is used until shortly before its end. One that Route 53 no longer takes is replaced.
#[tokio::test]
async fn sessions_are_renewed_before_they_end() {
    let rig = rig("bbb-agent").await;
    let wait = ["register", "--wait", "--only", "dns", "--set", "dns.read=api"];
    rig.expect(0, &wait).await;
    assert!(rig.calls(Route53).len() > 1, "several calls with one session");
    assert_eq!(rig.calls(Sts).len(), 1);
    rig.expect(0, &["deregister"]).await;

    // This one has begun its last five minutes.
    rig.cloud.journal.clear();
    rig.cloud.sts.set_lifetime(Some(Duration::from_secs(200)));
    rig.expect(0, &wait).await;
    assert_eq!(rig.calls(Sts).len(), rig.calls(Route53).len());
    rig.expect(0, &["deregister"]).await;

    rig.cloud.journal.clear();
    rig.cloud.sts.set_lifetime(None);
    rig.refuse(Route53, "Change", 403, "ExpiredToken", Some(1));
    let run = rig.expect(0, &wait).await;
    assert_eq!(run.retries(), 1, "{run}");
    assert_eq!(rig.calls(Sts).len(), 2);
}

/// A session that lasts is used where no new one is to be had.
#[tokio::test]
async fn a_session_that_lasts_is_used_while_sts_is_away() {
    let rig = rig("bbb-agent").await;
    rig.cloud.sts.set_lifetime(Some(Duration::from_secs(200)));
    let service = rig.serving(&[]).await;
    rig.refuse(Sts, "", 503, "ServiceUnavailable", None);
    rig.cloud.journal.clear();
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 99].into())).unwrap();
    let moved = async { rig.cloud.journal.reached(Route53, "Change", 1).await };
    rig.until(&service, moved).await;
    service.end(&[]).await;
    assert!(!rig.calls(Sts).is_empty());
}

#[tokio::test]
async fn keys_of_the_session_are_never_shown() {
    let rig = rig("bbb-agent").await;
    let run = rig.expect(0, &["register", "--log-level", "debug"]).await;
    let keys = rig.cloud.vault.role(ARN);
    for secret in [keys.secret_key, keys.session_token.unwrap()] {
        assert!(!run.stdout.contains(&secret) && !run.stderr.contains(&secret), "{run}");
    }
}
