//! IMDSv2 over real sockets: tokens, keys, listings, refusals.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use sandbox::cloud::{Cloud, HostOptions, Options};
use sandbox::fleet::{LifecycleState, SpotNotice};

struct Host {
    cloud: Arc<Cloud>,
    client: Client,
    base: String,
}

impl Host {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cloud = Cloud::start(Options::default()).await.unwrap();
        let base = format!("http://{}", cloud.imds_address());
        Self { cloud, client: Client::builder().no_proxy().build().unwrap(), base }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn token(&self, ttl: &str) -> String {
        let (status, token) = self
            .send(Method::PUT, "/latest/api/token", &[("x-aws-ec2-metadata-token-ttl-seconds", ttl)])
            .await;
        assert_eq!(status, 200);
        token
    }

    async fn get(&self, token: &str, path: &str) -> (u16, String) {
        let (status, body) = self.send(Method::GET, path, &[("x-aws-ec2-metadata-token", token)]).await;
        (status.as_u16(), body)
    }

    async fn meta(&self, token: &str, key: &str) -> (u16, String) {
        self.get(token, &format!("/latest/meta-data/{key}")).await
    }
}

#[tokio::test]
async fn a_token_needs_a_valid_ttl_and_no_proxy() {
    let host = Host::start().await;
    let ttl = "x-aws-ec2-metadata-token-ttl-seconds";
    for (headers, expected) in [
        (vec![], 400),
        (vec![(ttl, "0")], 400),
        (vec![(ttl, "21601")], 400),
        (vec![(ttl, "-1")], 400),
        (vec![(ttl, "soon")], 400),
        (vec![(ttl, "1")], 200),
        (vec![(ttl, "21600")], 200),
        (vec![(ttl, "60"), ("x-forwarded-for", "203.0.113.1")], 403),
    ] {
        let (status, _) = host.send(Method::PUT, "/latest/api/token", &headers).await;
        assert_eq!(status, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn requests_without_a_valid_token_are_refused() {
    let host = Host::start().await;
    let path = "/latest/meta-data/instance-id";
    let (status, body) = host.send(Method::GET, path, &[]).await;
    assert_eq!(status, 401);
    assert!(body.contains("<title>401 - Unauthorized</title>"), "{body}");
    assert_eq!(host.get("made up", path).await.0, 401);
    assert_eq!(host.send(Method::POST, path, &[]).await.0, 405);
    assert_eq!(host.send(Method::GET, "/latest/api/token", &[]).await.0, 405);
    let token = host.token("60").await;
    assert_eq!(host.get(&token, path).await, (200, "i-0123456789abcdef0".to_owned()));
}

#[tokio::test]
async fn tokens_end_by_time_and_on_demand() {
    let host = Host::start().await;
    let (short, long) = (host.token("60").await, host.token("21600").await);
    host.cloud.clock.advance(Duration::from_secs(61));
    assert_eq!(host.meta(&short, "mac").await.0, 401);
    assert_eq!(host.meta(&long, "mac").await.0, 200);
    host.cloud.imds.expire_tokens();
    assert_eq!(host.meta(&long, "mac").await.0, 401);
    let fresh = host.token("60").await;
    assert_eq!(host.meta(&fresh, "mac").await.0, 200);
}

#[tokio::test]
async fn a_token_is_one_hosts_own() {
    let host = Host::start().await;
    let other = host.cloud.add_host(HostOptions::numbered(2)).await.unwrap();
    let token = host.token("60").await;
    let url = format!("http://{}/latest/meta-data/instance-id", other.imds_address());
    let answer = host.client.get(url).header("x-aws-ec2-metadata-token", &token).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn disabled_means_403_for_everything() {
    let host = Host::start().await;
    let token = host.token("60").await;
    host.cloud.imds.set_disabled(true);
    assert_eq!(host.meta(&token, "mac").await.0, 403);
    let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "60")];
    assert_eq!(host.send(Method::PUT, "/latest/api/token", &ttl).await.0, 403);
    host.cloud.imds.set_disabled(false);
    assert_eq!(host.meta(&token, "mac").await.0, 200);
}

#[tokio::test]
async fn keys_have_their_values() {
    let host = Host::start().await;
    let token = host.token("60").await;
    for (key, value) in [
        ("instance-id", "i-0123456789abcdef0"),
        ("public-ipv4", "203.0.113.10"),
        ("ipv6", "2001:db8::10"),
        ("local-ipv4", "10.0.0.10"),
        ("mac", "0a:00:00:00:00:10"),
        ("placement/region", "eu-central-1"),
        ("placement/availability-zone", "eu-central-1a"),
        ("instance-type", "c5.xlarge"),
        ("ami-id", "ami-0abcdef1234567890"),
        ("instance-life-cycle", "on-demand"),
        ("tags/instance/Name", "bbb-0"),
        ("autoscaling/target-lifecycle-state", "InService"),
        ("events/maintenance/scheduled", "[]"),
        ("network/interfaces/macs/0a:00:00:00:00:10/public-ipv4s", "203.0.113.10"),
        ("network/interfaces/macs/0a:00:00:00:00:10/vpc-ipv4-cidr-blocks", "10.0.0.0/16"),
        ("network/interfaces/macs/0a:00:00:00:00:10/subnet-ipv4-cidr-block", "10.0.0.0/24"),
        ("network/interfaces/macs/0a:00:00:00:00:10/ipv4-associations/203.0.113.10", "10.0.0.10"),
        ("instance-action", "none"),
    ] {
        assert_eq!(host.meta(&token, key).await, (200, value.to_owned()), "{key}");
    }
    let (status, document) = host.get(&token, "/latest/dynamic/instance-identity/document").await;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(status, 200);
    assert_eq!(document["instanceId"], "i-0123456789abcdef0");
    assert_eq!(document["region"], "eu-central-1");
    assert_eq!(document["accountId"], "123456789012");
    assert_eq!(document["privateIp"], "10.0.0.10");
}

#[tokio::test]
async fn directories_are_listed() {
    let host = Host::start().await;
    host.cloud.imds.update(|facts| drop(facts.tags.insert("role".to_owned(), "bbb".to_owned()))).unwrap();
    let token = host.token("60").await;
    for (path, lines) in [
        ("/latest/", vec!["dynamic/", "meta-data/"]),
        ("/latest/meta-data/tags/instance/", vec!["Name", "aws:autoscaling:groupName", "role"]),
        ("/latest/meta-data/tags/instance", vec!["Name", "aws:autoscaling:groupName", "role"]),
        ("/latest/meta-data/iam/", vec!["info", "security-credentials/"]),
        ("/latest/meta-data/iam/security-credentials/", vec!["bbb-fleet-host"]),
        ("/2021-07-15/meta-data/placement/", vec!["availability-zone", "region"]),
    ] {
        assert_eq!(host.get(&token, path).await, (200, lines.join("\n")), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let host = Host::start().await;
    let token = host.token("60").await;
    let absent =
        ["spot/instance-action", "spot/termination-time", "events/recommendations/rebalance", "no/such/key"];
    for key in absent {
        let (status, body) = host.meta(&token, key).await;
        assert_eq!(status, 404, "{key}");
        assert!(body.contains("<title>404 - Not Found</title>"), "{body}");
    }
    host.cloud
        .imds
        .update(|facts| {
            facts.public_ipv4 = None;
            facts.ipv6 = None;
            facts.tags_in_metadata = false;
            facts.role = None;
        })
        .unwrap();
    for key in
        ["public-ipv4", "ipv6", "tags/instance/", "tags/instance/Name", "iam/", "iam/security-credentials/"]
    {
        assert_eq!(host.meta(&token, key).await.0, 404, "{key}");
    }
    assert_eq!(host.get(&token, "/somewhere/meta-data/mac").await.0, 404);
}

#[tokio::test]
async fn notices_appear_and_go() {
    let host = Host::start().await;
    let token = host.token("60").await;
    let notice =
        |action: &str| SpotNotice { action: action.to_owned(), time: "2026-01-31T12:00:00Z".to_owned() };
    host.cloud.imds.update(|facts| facts.spot = Some(notice("terminate"))).unwrap();
    let (_, body) = host.meta(&token, "spot/instance-action").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, serde_json::json!({ "action": "terminate", "time": "2026-01-31T12:00:00Z" }));
    assert_eq!(host.meta(&token, "spot/termination-time").await.1, "2026-01-31T12:00:00Z");
    host.cloud.imds.update(|facts| facts.spot = Some(notice("stop"))).unwrap();
    assert_eq!(host.meta(&token, "spot/instance-action").await.0, 200);
    assert_eq!(host.meta(&token, "spot/termination-time").await.0, 404);
    host.cloud.imds.update(|facts| facts.rebalance = Some("2026-01-31T11:58:00Z".to_owned())).unwrap();
    let (_, body) = host.meta(&token, "events/recommendations/rebalance").await;
    assert_eq!(body, r#"{"noticeTime":"2026-01-31T11:58:00Z"}"#);
}

#[tokio::test]
async fn the_target_state_follows_the_group() {
    let host = Host::start().await;
    let (fleet, id) = (&host.cloud.fleet, "i-0123456789abcdef0");
    let token = host.token("60").await;
    let key = "autoscaling/target-lifecycle-state";
    for (state, target) in [
        (LifecycleState::PendingWait, "InService"),
        (LifecycleState::Standby, "Standby"),
        (LifecycleState::WarmedPendingWait, "Warmed:Stopped"),
        (LifecycleState::WarmedRunning, "Warmed:Running"),
        (LifecycleState::InService, "InService"),
    ] {
        fleet.set_lifecycle_state(id, state).unwrap();
        assert_eq!(host.meta(&token, key).await, (200, target.to_owned()), "{state:?}");
    }
    assert_eq!(fleet.terminate(id).unwrap(), LifecycleState::TerminatingWait);
    assert_eq!(host.meta(&token, key).await, (200, "Terminated".to_owned()));
    fleet.finish_termination(id).unwrap();
    assert_eq!(host.meta(&token, key).await.0, 404);
}

#[tokio::test]
async fn the_role_has_keys_that_change_when_they_end() {
    let host = Host::start().await;
    let token = host.token("60").await;
    let key = "iam/security-credentials/bbb-fleet-host";
    let read = || async {
        let (status, body) = host.meta(&token, key).await;
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    let first = read().await;
    assert_eq!(first["Code"], "Success");
    assert_eq!(first["Type"], "AWS-HMAC");
    assert!(first["AccessKeyId"].as_str().unwrap().starts_with("ASIA"));
    assert_eq!(read().await["AccessKeyId"], first["AccessKeyId"]);
    host.cloud.vault.expire("bbb-fleet-host");
    assert_ne!(read().await["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(host.meta(&token, "iam/security-credentials/another").await.0, 404);
}

#[tokio::test]
async fn whole_requests_are_kept_while_somebody_wants_them() {
    let host = Host::start().await;
    let journal = &host.cloud.journal;
    host.token("60").await;
    assert!(journal.take_requests().is_empty(), "nobody wanted it");
    journal.keep_requests();
    let token = host.token("61").await;
    host.get(&token, "/latest/meta-data/public-ipv4").await;
    let kept = journal.take_requests();
    let paths: Vec<&str> = kept.iter().map(|(_, request)| request.path.as_str()).collect();
    assert_eq!(paths, ["/latest/api/token", "/latest/meta-data/public-ipv4"]);
    assert_eq!(kept[0].1.header("x-aws-ec2-metadata-token-ttl-seconds"), "61");
    assert_eq!(kept[1].1.header("x-aws-ec2-metadata-token"), token);
    host.token("62").await;
    assert!(journal.take_requests().is_empty(), "nobody wants it any more");
}
