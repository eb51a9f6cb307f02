//! The IMDSv2 client against the sandbox's strict service.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clients::imds::{Error, Identity, Imds, Maintenance, SpotNotice};
use futures_util::future::{BoxFuture, join_all};
use plan::instance::InstanceId;
use sandbox::cloud::{Cloud, Options};
use sandbox::faults::{Fault, Faults, Planned};
use sandbox::fleet;
use sandbox::http::{Gate, Request, Response, Service, ServiceName, reply};
use sandbox::journal::Journal;

const TOKEN: &str = "PUT /latest/api/token";

struct Rig {
    cloud: Arc<Cloud>,
    imds: Imds,
}

impl Rig {
    async fn start(options: Options) -> Self {
        let cloud = Cloud::start(options).await.unwrap();
        let imds = Imds::new(&format!("http://{}", cloud.imds_address())).unwrap();
        Self { cloud, imds }
    }

    fn fail(&self, action: &str, fault: Fault, times: Option<u32>) {
        let action = Some(action.to_owned());
        self.cloud.faults.plan(Planned { service: ServiceName::Imds, action, fault, times });
    }

    fn asked(&self, action: &str) -> usize {
        self.cloud.journal.count(ServiceName::Imds, action)
    }
}

#[tokio::test]
async fn what_an_instance_is_told() {
    let rig = Rig::start(Options::default()).await;
    let notice = fleet::SpotNotice { action: "terminate".into(), time: "2026-01-31T23:59:59Z".into() };
    rig.cloud
        .imds
        .update(|facts| {
            facts.spot = Some(notice);
            facts.tags.insert("aws:autoscaling:groupName".into(), "bbb-fleet".into());
        })
        .unwrap();

    assert_eq!(
        rig.imds.identity().await.unwrap(),
        Identity {
            instance: InstanceId::parse("i-0123456789abcdef0").unwrap(),
            region: "eu-central-1".into(),
            account: Some("123456789012".into()),
            availability_zone: "eu-central-1a".into(),
            instance_type: "c5.xlarge".into(),
            private_ipv4: Ipv4Addr::new(10, 0, 0, 10),
        }
    );
    assert_eq!(rig.imds.public_ipv4().await.unwrap(), Some(Ipv4Addr::new(203, 0, 113, 10)));
    assert_eq!(rig.imds.ipv6().await.unwrap().unwrap().to_string(), "2001:db8::10");
    assert_eq!(rig.imds.target_lifecycle_state().await.unwrap().as_deref(), Some("InService"));
    assert_eq!(rig.imds.group_name().await.unwrap().as_deref(), Some("bbb-fleet"));
    assert_eq!(
        rig.imds.spot_notice().await.unwrap(),
        Some(SpotNotice { action: "terminate".into(), time: 1_769_903_999 })
    );
    assert_eq!(rig.asked(TOKEN), 1);
}

#[tokio::test]
async fn what_ec2_plans() {
    let rig = Rig::start(Options::default()).await;
    assert_eq!(rig.imds.rebalance_notice().await.unwrap(), None);
    assert_eq!(rig.imds.maintenance().await.unwrap(), []);
    // An event as the EC2 user guide shows it.
    let reboot = serde_json::json!({
        "NotBefore": "21 Jan 2019 09:00:43 GMT",
        "Code": "system-reboot",
        "Description": "scheduled reboot",
        "EventId": "instance-event-0d59937288b749b32",
        "NotAfter": "21 Jan 2019 09:17:23 GMT",
        "State": "active",
    });
    let over = serde_json::json!({
        "NotBefore": "1 Feb 2026 00:00:00 GMT",
        "Code": "instance-retirement",
        "Description": "[Canceled] a reason",
        "EventId": "instance-event-00000000000000000",
        "State": "canceled",
    });
    rig.cloud
        .imds
        .update(|facts| {
            facts.rebalance = Some("2026-01-31T23:59:59Z".into());
            facts.maintenance = vec![reboot, over];
        })
        .unwrap();
    assert_eq!(rig.imds.rebalance_notice().await.unwrap(), Some(1_769_903_999));
    let event = |code: &str, state: &str, not_before| Maintenance {
        code: code.into(),
        state: state.into(),
        not_before,
    };
    assert_eq!(
        rig.imds.maintenance().await.unwrap(),
        [
            event("system-reboot", "active", 1_548_061_243),
            event("instance-retirement", "canceled", 1_769_904_000)
        ]
    );
    rig.fail("scheduled", Fault::Error { status: 404, code: String::new() }, Some(1));
    assert_eq!(rig.imds.maintenance().await.unwrap(), [], "an older service has no such key");
}

#[tokio::test]
async fn times_that_cannot_be_read_are_errors() {
    for time in ["", "soon", "2026-01-31", "1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z"] {
        let notice = format!(r#"{{"action":"terminate","time":"{time}"}}"#);
        let (imds, _gate) = parrot(notice.as_bytes()).await;
        let spot = imds.spot_notice().await.map(drop).unwrap_err();
        let (imds, _gate) = parrot(format!(r#"{{"noticeTime":"{time}"}}"#).as_bytes()).await;
        let rebalance = imds.rebalance_notice().await.map(drop).unwrap_err();
        let event = format!(r#"[{{"Code":"c","State":"active","NotBefore":"{time}"}}]"#);
        let (imds, _gate) = parrot(event.as_bytes()).await;
        let maintenance = imds.maintenance().await.map(drop).unwrap_err();
        for error in [spot, rebalance, maintenance] {
            assert!(matches!(error, Error::Invalid { .. }) && !error.is_retryable(), "{error:?}");
            assert!(error.to_string().contains(&format!("{time:?} is not a time such as ")), "{error}");
        }
    }
    let (imds, _gate) = parrot(br#"[{"Code":"c","State":"active"}]"#).await;
    assert!(matches!(imds.maintenance().await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn what_is_absent_is_no_error() {
    let rig = Rig::start(Options::default()).await;
    rig.cloud
        .imds
        .update(|facts| {
            facts.public_ipv4 = None;
            facts.ipv6 = None;
            facts.tags_in_metadata = false;
        })
        .unwrap();
    assert_eq!(rig.imds.public_ipv4().await.unwrap(), None);
    assert_eq!(rig.imds.ipv6().await.unwrap(), None);
    assert_eq!(rig.imds.group_name().await.unwrap(), None);
    assert_eq!(rig.imds.spot_notice().await.unwrap(), None);

    let mut alone = Options::default();
    alone.host.group = None;
    assert_eq!(Rig::start(alone).await.imds.target_lifecycle_state().await.unwrap(), None);
}

#[tokio::test]
async fn an_expired_token_is_replaced_once() {
    let rig = Rig::start(Options::default()).await;
    rig.imds.identity().await.unwrap();
    rig.cloud.imds.expire_tokens();
    rig.imds.identity().await.unwrap();
    rig.imds.identity().await.unwrap();
    assert_eq!(rig.asked(TOKEN), 2);
}

#[tokio::test]
async fn a_token_that_is_never_accepted_ends_in_an_error() {
    let rig = Rig::start(Options::default()).await;
    rig.fail("GET", Fault::Error { status: 401, code: String::new() }, None);
    let error = rig.imds.public_ipv4().await.unwrap_err();
    assert_eq!(error, Error::Unexpected { status: 401, path: "meta-data/public-ipv4".into() });
    assert!(!error.is_retryable());
    assert_eq!((rig.asked(TOKEN), rig.asked("GET")), (2, 2));
}

#[tokio::test]
async fn many_at_once_share_one_token() {
    let rig = Rig::start(Options::default()).await;
    for tokens in [1, 2] {
        for answer in join_all((0..16).map(|_| rig.imds.public_ipv4())).await {
            assert!(answer.unwrap().is_some());
        }
        assert_eq!(rig.asked(TOKEN), tokens);
        rig.cloud.imds.expire_tokens();
    }
}

#[tokio::test]
async fn disabled_is_final() {
    let rig = Rig::start(Options::default()).await;
    rig.cloud.imds.set_disabled(true);
    let error = rig.imds.identity().await.unwrap_err();
    assert_eq!(error, Error::Disabled);
    assert!(!error.is_retryable());
    assert_eq!(rig.asked(""), 1, "nothing is retried here");
}

#[tokio::test]
async fn refused_at_first_and_there_later() {
    let options = Options { closed: vec![ServiceName::Imds], ..Options::default() };
    let rig = Rig::start(options).await;
    let error = rig.imds.identity().await.unwrap_err();
    assert_eq!(error, Error::Unreachable("connection refused".into()));
    assert!(error.is_retryable());
    rig.cloud.open(ServiceName::Imds).await;
    rig.imds.identity().await.unwrap();
}

#[tokio::test]
async fn trouble_on_the_way_is_retryable() {
    for (fault, words) in [
        (Fault::Error { status: 503, code: String::new() }, "answered 503 to meta-data/ipv6"),
        (Fault::Error { status: 500, code: String::new() }, "answered 500 to meta-data/ipv6"),
        (Fault::Error { status: 429, code: String::new() }, "answered 429 to meta-data/ipv6"),
        (Fault::Close, "is not reachable: connection closed before message completed"),
        (Fault::Hang, "is not reachable: no answer in time"),
    ] {
        let rig = Rig::start(Options::default()).await;
        rig.fail("GET", fault.clone(), Some(1));
        let error = rig.imds.ipv6().await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().ends_with(words), "{fault:?}: {error}");
        assert_eq!(rig.asked("GET"), 1, "nothing is retried here");
        assert!(rig.imds.ipv6().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_required_key_that_is_missing_is_an_error() {
    let rig = Rig::start(Options::default()).await;
    rig.fail("instance-identity", Fault::Error { status: 404, code: String::new() }, None);
    let error = rig.imds.identity().await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { status: 404, .. }) && !error.is_retryable());
}

/// A service that answers everything with one body.
struct Parrot(Vec<u8>);

impl Service for Parrot {
    fn name(&self) -> ServiceName {
        ServiceName::Imds
    }

    fn action(&self, request: &Request) -> String {
        request.path.clone()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let body = if request.method == "PUT" { b"token".to_vec() } else { self.0.clone() };
        Box::pin(std::future::ready(reply(200, "text/plain", body)))
    }

    fn error(&self, status: u16, _: &str) -> Response {
        reply(status, "text/plain", "")
    }
}

/// Starts a parrot, whose listener lives as long as its gate.
async fn parrot(body: &[u8]) -> (Imds, Gate) {
    let service: Arc<dyn Service> = Arc::new(Parrot(body.to_vec()));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let route = Arc::new(move |_: &Request| Arc::clone(&service));
    let (address, gate) =
        Gate::listen(any, true, None, route, Faults::default(), Journal::default()).await.unwrap();
    (Imds::new(&format!("http://{address}/")).unwrap(), gate)
}

#[tokio::test]
async fn answers_that_make_no_sense() {
    let (imds, _gate) = parrot(b"not an address").await;
    let error = imds.public_ipv4().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the instance metadata service's answer to meta-data/public-ipv4 is not usable: \
         it is not an address"
    );
    assert!(!error.is_retryable());

    for body in ["<html>Please log in</html>", "In Service", "", &"x".repeat(41)] {
        let (imds, _gate) = parrot(body.as_bytes()).await;
        let error = imds.target_lifecycle_state().await.unwrap_err();
        assert!(error.to_string().ends_with("it is not a state such as InService"), "{error}");
    }
    let (imds, _gate) = parrot(b"Warmed:Something-new").await;
    assert_eq!(imds.target_lifecycle_state().await.unwrap().as_deref(), Some("Warmed:Something-new"));

    let long = vec![b'x'; 64 * 1024 + 1];
    let (imds, _gate) = parrot(&long).await;
    let error = imds.group_name().await.unwrap_err();
    assert!(error.to_string().ends_with("the answer has more than 65536 bytes"), "{error}");
    let (imds, _gate) = parrot(&long[1..]).await;
    assert_eq!(imds.group_name().await.unwrap().unwrap().len(), 64 * 1024);

    for body in [&b"\xff"[..], b"{}", b"[", b""] {
        let (imds, _gate) = parrot(body).await;
        let error = imds.identity().await.unwrap_err();
        assert!(matches!(&error, Error::Invalid { path, .. } if path.contains("identity")), "{error}");
    }
    let stranger = br#"{"instanceId":"vm-1","region":"r","availabilityZone":"z","accountId":"1",
        "instanceType":"t","privateIp":"10.0.0.1"}"#;
    let (imds, _gate) = parrot(stranger).await;
    let error = imds.identity().await.unwrap_err();
    assert!(error.to_string().contains("\"vm-1\" is not an EC2 instance id"), "{error}");
}

#[tokio::test]
async fn endpoints() {
    for (endpoint, words) in [
        ("169.254.169.254", "\"169.254.169.254\" is not a URL"),
        ("https://169.254.169.254", "is not an http:// URL"),
        ("", "\"\" is not a URL"),
    ] {
        let error = Imds::new(endpoint).unwrap_err();
        assert!(error.to_string().starts_with("AWS_EC2_METADATA_SERVICE_ENDPOINT: "), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let by_name = Rig::start(Options::default()).await;
    let port = by_name.cloud.imds_address().port();
    Imds::new(&format!("http://localhost:{port}")).unwrap().identity().await.unwrap();
}
