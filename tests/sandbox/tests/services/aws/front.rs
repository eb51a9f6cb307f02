//! Signatures, keys, IAM.

use sandbox::aws::Keys;
use sandbox::http::ServiceName;
use serde_json::json;

use super::client::{Aws, Call, texts};

fn calls() -> Vec<(Call, ServiceName)> {
    let cbor = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
    let path = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
    vec![
        (
            Call::get("route53", "us-east-1", "/2013-04-01/hostedzone/Z0123456789EXAMPLE"),
            ServiceName::Route53,
        ),
        (Call::ec2("Action=DescribeInstances"), ServiceName::Ec2),
        (Call::autoscaling("Action=DescribeAutoScalingGroups"), ServiceName::AutoScaling),
        (Call::post("monitoring", path, &cbor, metric()), ServiceName::CloudWatch),
        (Call::secret(&json!({ "SecretId": "bbb/scalelite" })), ServiceName::SecretsManager),
    ]
}

fn metric() -> Vec<u8> {
    let text = |text: &str| ciborium::Value::Text(text.to_owned());
    let datum = ciborium::Value::Map(vec![
        (text("MetricName"), text("Meetings")),
        (text("Value"), ciborium::Value::Float(1.0)),
    ]);
    let body = ciborium::Value::Map(vec![
        (text("Namespace"), text("BBB")),
        (text("MetricData"), ciborium::Value::Array(vec![datum])),
    ]);
    let mut bytes = Vec::new();
    ciborium::into_writer(&body, &mut bytes).unwrap();
    bytes
}

/// The error code in whatever format the service has.
fn code(service: ServiceName, body: &[u8]) -> String {
    match service {
        ServiceName::SecretsManager => {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            body["__type"].as_str().unwrap().to_owned()
        }
        ServiceName::CloudWatch => {
            let body: ciborium::Value = ciborium::from_reader(body).unwrap();
            let kind = body.as_map().unwrap()[0].1.as_text().unwrap();
            kind.rsplit('#').next().unwrap().to_owned()
        }
        _ => texts(std::str::from_utf8(body).unwrap(), "Code")[0].clone(),
    }
}

/// Sends every service's call as `prepare` makes it; each must be refused as the table says.
async fn refused(aws: &Aws, keys: &Keys, prepare: impl Fn(&mut Call, &mut Keys), expected: [(u16, &str); 5]) {
    for ((mut call, service), (status, expected)) in calls().into_iter().zip(expected) {
        let mut keys = keys.clone();
        prepare(&mut call, &mut keys);
        let (got, body) = aws.send_with(&call, &keys).await;
        assert_eq!((got.as_u16(), code(service, &body).as_str()), (status, expected), "{service:?}");
    }
}

#[tokio::test]
async fn the_roles_keys_are_accepted_by_every_service() {
    let aws = Aws::start().await;
    for (call, service) in calls() {
        let (status, body) = aws.send_with(&call, &aws.keys()).await;
        assert_eq!(status, 200, "{service:?}: {}", String::from_utf8_lossy(&body));
    }
    assert_eq!(aws.cloud.journal.count(ServiceName::Ec2, "DescribeInstances"), 1);
    assert_eq!(aws.cloud.journal.count(ServiceName::CloudWatch, "PutMetricData"), 1);
    assert_eq!(aws.cloud.journal.count(ServiceName::SecretsManager, "GetSecretValue"), 1);
}

#[tokio::test]
async fn route53_may_be_signed_for_the_clients_region() {
    let aws = Aws::start().await;
    let path = "/2013-04-01/hostedzone/Z0123456789EXAMPLE";
    assert_eq!(aws.send(&Call::get("route53", "eu-central-1", path)).await.0, 200);
    // Regional services are stricter.
    let call = Call { region: "us-east-1", ..Call::ec2("Action=DescribeInstances") };
    assert_eq!(aws.send(&call).await.0, 401);
}

#[tokio::test]
async fn a_users_keys_need_no_token() {
    let aws = Aws::start().await;
    aws.cloud.vault.add_user("AKIAEXAMPLE", "secret");
    let keys = Keys {
        access_key: "AKIAEXAMPLE".to_owned(),
        secret_key: "secret".to_owned(),
        session_token: None,
        expires: None,
    };
    let (status, _) = aws.send_with(&Call::ec2("Action=DescribeInstances"), &keys).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn unknown_keys_are_refused() {
    let aws = Aws::start().await;
    let expected = [
        (403, "InvalidClientTokenId"),
        (401, "AuthFailure"),
        (403, "InvalidClientTokenId"),
        (403, "InvalidClientTokenId"),
        (400, "UnrecognizedClientException"),
    ];
    let keys = aws.keys();
    refused(&aws, &keys, |_, keys| keys.access_key = "ASIAUNKNOWN".to_owned(), expected).await;
    refused(&aws, &keys, |_, keys| keys.session_token = None, expected).await;
    refused(&aws, &keys, |_, keys| keys.session_token = Some("another".to_owned()), expected).await;
}

const MISMATCH: [(u16, &str); 5] = [
    (403, "SignatureDoesNotMatch"),
    (401, "AuthFailure"),
    (403, "SignatureDoesNotMatch"),
    (403, "SignatureDoesNotMatch"),
    (400, "InvalidSignatureException"),
];

#[tokio::test]
async fn wrong_signatures_are_refused() {
    let aws = Aws::start().await;
    let keys = aws.keys();
    refused(&aws, &keys, |_, keys| keys.secret_key = "wrong".to_owned(), MISMATCH).await;
    refused(&aws, &keys, |call, _| call.region = "ap-south-1", MISMATCH).await;
    refused(&aws, &keys, |call, _| call.skew = -400, MISMATCH).await;
    refused(&aws, &keys, |call, _| call.skew = 400, MISMATCH).await;
}

/// The services' clock is the one that counts, and every answer shows it.
#[tokio::test]
async fn the_services_clock_may_differ_from_the_clients() {
    let aws = Aws::start().await;
    let keys = aws.keys();
    let date = async |call: &Call| {
        let response = aws.client.execute(aws.signed(call, &keys)).await.unwrap();
        let date = response.headers().get("date").unwrap().to_str().unwrap().to_owned();
        (response.status().as_u16(), date)
    };
    let call = Call::ec2("Action=DescribeInstances");
    let (status, now) = date(&call).await;
    assert_eq!(status, 200);
    aws.cloud.aws.set_clock(10 * 365 * 86_400);
    refused(&aws, &keys, |_, _| {}, FAR).await;
    let (status, then) = date(&call).await;
    assert_eq!(status, 400);
    let year = |date: &str| date.split(' ').nth(3).unwrap().parse::<u32>().unwrap();
    assert!(year(&then) >= year(&now) + 9, "{now}, {then}");
    aws.cloud.aws.set_clock(600);
    refused(&aws, &keys, |_, _| {}, MISMATCH).await;
    refused(&aws, &keys, |call, _| call.skew = 1600, FAR).await;
    let call = Call { skew: 600, ..call };
    assert_eq!(date(&call).await.0, 200, "signed with the services' time");
}

/// More than a quarter of an hour away.
const FAR: [(u16, &str); 5] = [MISMATCH[0], (400, "RequestExpired"), MISMATCH[2], MISMATCH[3], MISMATCH[4]];

#[tokio::test]
async fn keys_of_a_new_role_may_not_be_known_yet() {
    let aws = Aws::start().await;
    let role = "bbb-fleet-host";
    aws.cloud.vault.set_known(role, false);
    assert_eq!(aws.send(&Call::autoscaling("Action=DescribeAutoScalingInstances")).await.0, 403);
    aws.cloud.vault.set_known(role, true);
    assert_eq!(aws.send(&Call::autoscaling("Action=DescribeAutoScalingInstances")).await.0, 200);
    let age = |keys: &Keys| std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - keys.issued();
    assert!(age(&aws.keys()) >= 3600, "IMDS shows keys that are old");
    aws.cloud.vault.attach(role, 20);
    assert!((20..120).contains(&age(&aws.keys())), "or new ones");
}

#[tokio::test]
async fn a_request_changed_on_its_way_is_refused() {
    let aws = Aws::start().await;
    let call = Call::ec2("Action=DescribeInstances");
    let mut request = aws.signed(&call, &aws.keys());
    *request.body_mut() = Some("Version=2016-11-15&Action=DescribeInstances&MaxResults=5".into());
    assert_eq!(aws.client.execute(request).await.unwrap().status(), 401);
    let mut request = aws.signed(&call, &aws.keys());
    request.headers_mut().insert("x-amz-extra", "unsigned".parse().unwrap());
    assert_eq!(aws.client.execute(request).await.unwrap().status(), 401);
}

#[tokio::test]
async fn unsigned_and_malformed_requests_are_refused() {
    let aws = Aws::start().await;
    let missing = [
        "MissingAuthenticationToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
    ];
    for ((call, service), missing) in calls().into_iter().zip(missing) {
        let mut request = aws.signed(&call, &aws.keys());
        request.headers_mut().remove("authorization");
        let response = aws.client.execute(request).await.unwrap();
        let expected = if service == ServiceName::SecretsManager { 400 } else { 403 };
        assert_eq!(response.status(), expected);
        assert_eq!(code(service, &response.bytes().await.unwrap()), missing);
    }
    let mut request = aws.signed(&Call::ec2("Action=DescribeInstances"), &aws.keys());
    request.headers_mut().insert("authorization", "AWS4-HMAC-SHA256 Credential=x".parse().unwrap());
    assert_eq!(aws.client.execute(request).await.unwrap().status(), 400);
}

#[tokio::test]
async fn expired_keys_are_refused() {
    let aws = Aws::start().await;
    let keys = aws.keys();
    aws.cloud.vault.expire("bbb-fleet-host");
    let expected = [
        (403, "ExpiredToken"),
        (400, "RequestExpired"),
        (403, "ExpiredToken"),
        (403, "ExpiredToken"),
        (400, "ExpiredTokenException"),
    ];
    refused(&aws, &keys, |_, _| {}, expected).await;
    assert_eq!(aws.send(&Call::ec2("Action=DescribeInstances")).await.0, 200);
}

#[tokio::test]
async fn rotated_keys_stay_valid_beside_the_new_ones() {
    let aws = Aws::start().await;
    let old = aws.keys();
    aws.cloud.vault.rotate("bbb-fleet-host");
    assert_ne!(aws.keys(), old);
    let call = Call::ec2("Action=DescribeInstances");
    assert_eq!(aws.send_with(&call, &old).await.0, 200);
    assert_eq!(aws.send(&call).await.0, 200);
}

#[tokio::test]
async fn denied_actions_are_refused() {
    let aws = Aws::start().await;
    let denied = [
        "route53:GetHostedZone",
        "ec2:DescribeInstances",
        "autoscaling:DescribeAutoScalingGroups",
        "cloudwatch:PutMetricData",
        "secretsmanager:GetSecretValue",
    ];
    denied.iter().for_each(|action| aws.cloud.aws.deny(action));
    let expected = [
        (403, "AccessDenied"),
        (403, "UnauthorizedOperation"),
        (403, "AccessDenied"),
        (403, "AccessDenied"),
        (400, "AccessDeniedException"),
    ];
    refused(&aws, &aws.keys(), |_, _| {}, expected).await;
    assert_eq!(aws.send(&Call::autoscaling("Action=DescribeAutoScalingInstances")).await.0, 200);
    denied.iter().for_each(|action| aws.cloud.aws.allow(action));
    for (call, _) in calls() {
        assert_eq!(aws.send_with(&call, &aws.keys()).await.0, 200);
    }
}

#[tokio::test]
async fn services_that_are_not_there_say_so() {
    let aws = Aws::start().await;
    let (status, body) = aws.send(&Call::form("sqs", "Action=ListQueues".to_owned())).await;
    assert_eq!(status, 404);
    assert!(body.contains("no such service"), "{body}");
}
