//! STS: roles of other accounts, and what their keys are good for.

use std::time::Duration;

use sandbox::aws::Keys;
use sandbox::http::ServiceName;

use super::client::{Aws, Call, text};

const ARN: &str = "arn:aws:iam::210987654321:role/bbb-dns";

fn assume(more: &str) -> Call {
    let role = format!("RoleArn={ARN}&RoleSessionName=i-0123456789abcdef0");
    Call::form("sts", format!("Version=2011-06-15&Action=AssumeRole&{role}&{more}"))
}

fn zone() -> Call {
    Call::get("route53", "us-east-1", "/2013-04-01/hostedzone/Z0123456789EXAMPLE")
}

async fn keys(aws: &Aws) -> Keys {
    let (status, answer) = aws.send(&assume("ExternalId=bbb")).await;
    assert_eq!(status, 200, "{answer}");
    let value = |name: &str| text(&answer, name);
    Keys {
        access_key: value("AccessKeyId"),
        secret_key: value("SecretAccessKey"),
        session_token: Some(value("SessionToken")),
        expires: None,
    }
}

#[tokio::test]
async fn a_roles_keys_are_for_the_service_that_is_reserved_for_it() {
    let aws = Aws::start().await;
    aws.cloud.sts.trust(ARN, Some("bbb"));
    aws.cloud.aws.reserve(ServiceName::Route53, Some(ARN));
    let keys = keys(&aws).await;
    assert_eq!(aws.send_with(&zone(), &keys).await.0, 200);
    assert_eq!(aws.send(&zone()).await.0, 403, "the host's own role");
    assert_eq!(aws.send_with(&Call::ec2("Action=DescribeInstances"), &keys).await.0, 403, "nothing else");
    aws.cloud.aws.reserve(ServiceName::Route53, None);
    assert_eq!(aws.send_with(&zone(), &keys).await.0, 403);
    assert_eq!(aws.send(&zone()).await.0, 200);
}

#[tokio::test]
async fn who_may_not_assume_the_role_is_refused() {
    let aws = Aws::start().await;
    let denied = async |more: &str| {
        let (status, answer) = aws.send(&assume(more)).await;
        assert_eq!((status.as_u16(), text(&answer, "Code").as_str()), (403, "AccessDenied"), "{answer}");
    };
    denied("ExternalId=bbb").await;
    aws.cloud.sts.trust(ARN, Some("bbb"));
    denied("").await;
    denied("ExternalId=other").await;
    aws.cloud.aws.deny("sts:AssumeRole");
    denied("ExternalId=bbb").await;
    aws.cloud.aws.allow("sts:AssumeRole");
    assert_eq!(aws.send(&assume("ExternalId=bbb")).await.0, 200);
    aws.cloud.sts.distrust(ARN);
    denied("ExternalId=bbb").await;
    // A role that wants no external id takes any.
    aws.cloud.sts.trust(ARN, None);
    assert_eq!(aws.send(&assume("ExternalId=bbb")).await.0, 200);
}

#[tokio::test]
async fn requests_that_are_not_valid_are_refused() {
    let aws = Aws::start().await;
    aws.cloud.sts.trust(ARN, None);
    for more in ["DurationSeconds=899", "DurationSeconds=3601", "DurationSeconds=x"] {
        let (status, answer) = aws.send(&assume(more)).await;
        assert_eq!((status.as_u16(), text(&answer, "Code").as_str()), (400, "ValidationError"), "{more}");
    }
    let call = Call::form(
        "sts",
        format!("Version=2011-06-15&Action=AssumeRole&RoleArn={ARN}&RoleSessionName=a%20b"),
    );
    assert_eq!(aws.send(&call).await.0, 400);
    // Its endpoint is the region's.
    let call = Call { region: "us-east-1", ..assume("") };
    assert_eq!(aws.send(&call).await.0, 403);
}

#[tokio::test]
async fn sessions_end() {
    let aws = Aws::start().await;
    aws.cloud.sts.trust(ARN, Some("bbb"));
    aws.cloud.aws.reserve(ServiceName::Route53, Some(ARN));
    let before = keys(&aws).await;
    aws.cloud.vault.expire(ARN);
    let (status, body) = aws.send_with(&zone(), &before).await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!((status.as_u16(), text(&body, "Code").as_str()), (403, "ExpiredToken"));
    aws.cloud.sts.set_lifetime(Some(Duration::ZERO));
    let none = keys(&aws).await;
    assert_eq!(aws.send_with(&zone(), &none).await.0, 403);
}
