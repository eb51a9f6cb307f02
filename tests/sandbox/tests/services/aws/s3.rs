//! S3 as a client meets it that signs its requests itself. The aws CLI meets it in tests/e2e.

use sandbox::aws::Keys;
use sandbox::cloud::BUCKET;

use super::client::{Aws, Call, text};

/// SHA-256 of nothing.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn call(method: &'static str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Call {
    Call { method, ..Call::post("s3", path, headers, body.to_vec()) }
}

fn get(key: &str) -> Call {
    call("GET", &format!("/{BUCKET}/{key}"), &[("x-amz-content-sha256", NOTHING)], b"")
}

async fn refused(aws: &Aws, call: &Call, keys: &Keys, status: u16, code: &str) {
    let (got, body) = aws.send_with(call, keys).await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!((got.as_u16(), text(&body, "Code").as_str()), (status, code), "{body}");
}

#[tokio::test]
async fn an_object_is_put_and_got() {
    let aws = Aws::start().await;
    let unsigned = [("x-amz-content-sha256", "UNSIGNED-PAYLOAD")];
    let (status, _) = aws.send(&call("PUT", &format!("/{BUCKET}/a/b"), &unsigned, b"content")).await;
    assert_eq!(status, 200);
    assert_eq!(aws.send(&get("a/b")).await, (status, "content".to_owned()));
    let parts = [("x-amz-content-sha256", NOTHING), ("range", "bytes=2-4")];
    let (status, body) = aws.send(&call("GET", &format!("/{BUCKET}/a/b"), &parts, b"")).await;
    assert_eq!((status.as_u16(), body.as_str()), (206, "nte"));
}

#[tokio::test]
async fn s3_refuses_in_its_own_words() {
    let aws = Aws::start().await;
    let keys = aws.keys();
    refused(&aws, &get("absent"), &keys, 404, "NoSuchKey").await;
    let wrong = Keys { secret_key: "wrong".to_owned(), ..keys.clone() };
    refused(&aws, &get("absent"), &wrong, 403, "SignatureDoesNotMatch").await;
    let unknown = Keys { access_key: "ASIAUNKNOWN".to_owned(), ..keys.clone() };
    refused(&aws, &get("absent"), &unknown, 403, "InvalidAccessKeyId").await;
    let without_token = Keys { session_token: None, ..keys.clone() };
    refused(&aws, &get("absent"), &without_token, 400, "InvalidToken").await;
    let elsewhere = Call { region: "us-east-1", ..get("absent") };
    refused(&aws, &elsewhere, &keys, 400, "AuthorizationHeaderMalformed").await;
    refused(&aws, &Call { skew: -14 * 60, ..get("absent") }, &keys, 404, "NoSuchKey").await;
    refused(&aws, &Call { skew: 16 * 60, ..get("absent") }, &keys, 403, "RequestTimeTooSkewed").await;
    let unhashed = call("GET", &format!("/{BUCKET}/absent"), &[], b"");
    refused(&aws, &unhashed, &keys, 400, "InvalidRequest").await;
    let acl = call("GET", &format!("/{BUCKET}/absent?acl"), &[("x-amz-content-sha256", NOTHING)], b"");
    refused(&aws, &acl, &keys, 501, "NotImplemented").await;
    let anonymous = aws.client.get(format!("{}/{BUCKET}/absent", aws.cloud.aws_url())).send().await.unwrap();
    assert_eq!(anonymous.status(), 403);
    assert_eq!(text(&anonymous.text().await.unwrap(), "Code"), "AccessDenied");
    aws.cloud.s3.create_bucket_in("far-away", "us-west-2");
    let far = call("GET", "/far-away/key", &[("x-amz-content-sha256", NOTHING)], b"");
    refused(&aws, &far, &keys, 301, "PermanentRedirect").await;
}

#[tokio::test]
async fn a_body_is_what_its_headers_say_or_is_refused() {
    let aws = Aws::start().await;
    let path = format!("/{BUCKET}/key");
    // "123456789", whose checksums are in the CRC catalogue.
    let chunked = b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
    let streaming = [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "9"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let (status, body) = aws.send(&call("PUT", &path, &streaming, chunked)).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(aws.cloud.s3.get(BUCKET, "key").unwrap(), "123456789");

    let without_trailer = b"9\r\n123456789\r\n0\r\n\r\n";
    let other_sum = b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    let cut = b"9\r\n12345";
    let (nothing, signed) = ([("x-amz-content-sha256", NOTHING)], "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let sum = [("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")];
    for (headers, body, status, code) in [
        (&streaming[..], &without_trailer[..], 400, "IncompleteBody"),
        (&streaming[..], &other_sum[..], 400, "BadDigest"),
        (&streaming[..], &cut[..], 400, "IncompleteBody"),
        (&nothing[..], &b"something"[..], 400, "XAmzContentSHA256Mismatch"),
        (&sum[..], &b"123456789"[..], 400, "BadDigest"),
        (&[("x-amz-content-sha256", signed)][..], &b""[..], 501, "NotImplemented"),
    ] {
        refused(&aws, &call("PUT", &path, headers, body), &aws.keys(), status, code).await;
    }
    assert_eq!(aws.cloud.s3.get(BUCKET, "key").unwrap(), "123456789", "what is refused changes nothing");
}
