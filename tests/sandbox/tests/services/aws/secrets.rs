//! GetSecretValue.

use serde_json::{Value, json};

use super::client::{Aws, Call};

async fn get(aws: &Aws, body: Value) -> (u16, Value) {
    let (status, text) = aws.send(&Call::secret(&body)).await;
    (status.as_u16(), serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn secrets_are_found_by_name_and_arn() {
    let aws = Aws::start().await;
    let arn = aws.cloud.secrets.put("team/turn", "a&b/c$d");
    assert!(arn.starts_with("arn:aws:secretsmanager:eu-central-1:123456789012:secret:team/turn-"));
    let partial = arn.rsplit_once('-').unwrap().0.to_owned();
    for id in ["team/turn".to_owned(), arn.clone(), partial] {
        let (status, secret) = get(&aws, json!({ "SecretId": id })).await;
        assert_eq!(status, 200, "{id}: {secret}");
        assert_eq!(secret["SecretString"], "a&b/c$d");
        assert_eq!(secret["ARN"], arn.as_str());
        assert_eq!(secret["VersionStages"], json!(["AWSCURRENT"]));
    }
    aws.cloud.secrets.put_binary("bytes", &[0, 255]);
    let (_, secret) = get(&aws, json!({ "SecretId": "bytes" })).await;
    assert_eq!(secret["SecretBinary"], "AP8=");
    assert!(secret.get("SecretString").is_none());
}

#[tokio::test]
async fn a_new_value_makes_the_old_one_previous() {
    let aws = Aws::start().await;
    aws.cloud.secrets.put("s", "old");
    let (_, old) = get(&aws, json!({ "SecretId": "s" })).await;
    aws.cloud.secrets.put("s", "new");
    let value = |stage: &str| json!({ "SecretId": "s", "VersionStage": stage });
    assert_eq!(get(&aws, value("AWSCURRENT")).await.1["SecretString"], "new");
    assert_eq!(get(&aws, value("AWSPREVIOUS")).await.1["SecretString"], "old");
    let by_id = json!({ "SecretId": "s", "VersionId": old["VersionId"] });
    assert_eq!(get(&aws, by_id).await.1["SecretString"], "old");
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let aws = Aws::start().await;
    aws.cloud.secrets.put("s", "value");
    aws.cloud.secrets.put("gone", "value");
    assert!(aws.cloud.secrets.delete("gone"));
    for (body, code) in [
        (json!({ "SecretId": "none" }), "ResourceNotFoundException"),
        (json!({ "SecretId": "s", "VersionStage": "AWSPREVIOUS" }), "ResourceNotFoundException"),
        (json!({ "SecretId": "s", "VersionId": "x" }), "ResourceNotFoundException"),
        (json!({ "SecretId": "gone" }), "InvalidRequestException"),
        (json!({}), "ValidationException"),
        (json!({ "SecretId": 7 }), "SerializationException"),
    ] {
        let (status, answer) = get(&aws, body.clone()).await;
        assert_eq!((status, answer["__type"].as_str().unwrap()), (400, code), "{body}");
    }
    let headers =
        [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "secretsmanager.DeleteSecret")];
    let (status, body) = aws.send(&Call::post("secretsmanager", "/", &headers, b"{}".to_vec())).await;
    assert_eq!(status, 400);
    assert!(body.contains("UnknownOperationException"), "{body}");
}
