//! The embedded S3 with the aws CLI, a client that is not ours.

use std::path::Path;

use e2e::{Run, Running};
use sandbox::cloud::{BUCKET, Cloud, Options};
use sandbox::http::ServiceName;
use tokio::process::Command;

use crate::tool;

async fn aws(cloud: &Cloud, directory: &Path, arguments: &str) -> Run {
    let mut command = Command::new(tool("aws"));
    command
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", directory)
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_MAX_ATTEMPTS", "1")
        .envs(cloud.environment());
    if let Some(authority) = cloud.ca_file() {
        command.env("AWS_CA_BUNDLE", authority);
    }
    Running::start(command).end().await
}

async fn works(cloud: &Cloud, directory: &Path, arguments: &str) -> Run {
    let run = aws(cloud, directory, arguments).await;
    assert_eq!(run.code, 0, "{arguments}: {run}");
    run
}

/// With TLS the body is not signed and its checksum follows in a trailer; without it is signed. Both have to be understood.
#[tokio::test(flavor = "multi_thread")]
async fn the_cli_copies_and_lists() {
    e2e::at_once([Options::with_tls(), Options::default()], |options| async move {
        let cloud = Cloud::start(options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        // More than the 8 MiB from which the CLI fetches in parts.
        let content: Vec<u8> = (0..9_000_000_u32).map(|number| (number % 251) as u8).collect();
        std::fs::write(here.join("small"), "small\n").unwrap();
        works(&cloud, here, &format!("s3 cp small s3://{BUCKET}/a/b+c/small")).await;
        assert_eq!(cloud.s3.get(BUCKET, "a/b+c/small").unwrap(), "small\n");
        cloud.s3.put(BUCKET, "a/large", content.clone());
        works(&cloud, here, &format!("s3 cp s3://{BUCKET}/a/large large")).await;
        assert!(std::fs::read(here.join("large")).unwrap() == content, "other bytes have arrived");
        assert!(cloud.journal.count(ServiceName::S3, "GetObject a/large") > 1, "in parts");
        let listed = works(&cloud, here, &format!("s3 ls s3://{BUCKET}/a/")).await;
        listed.says(&["PRE b+c/", "9000000 large"]);
        let pages = works(
            &cloud,
            here,
            &format!("s3api list-objects-v2 --bucket {BUCKET} --page-size 1 --output text"),
        )
        .await;
        pages.says(&["a/b+c/small", "a/large"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cli_is_told_what_s3_tells_it() {
    let cloud = Cloud::start(Options::with_tls()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("file"), "new\n").unwrap();
    cloud.s3.put(BUCKET, "taken", "old\n");
    let refused = async |arguments: &str, words: &str| {
        let run = aws(&cloud, here, arguments).await;
        assert_ne!(run.code, 0, "{arguments}: {run}");
        run.says(&[words]);
    };
    let put = format!("s3api put-object --bucket {BUCKET} --body file");
    refused(&format!("{put} --key taken --if-none-match *"), "PreconditionFailed").await;
    assert_eq!(cloud.s3.get(BUCKET, "taken").unwrap(), "old\n");
    works(&cloud, here, &format!("{put} --key free --if-none-match *")).await;
    let get = format!("s3api get-object --bucket {BUCKET} --key absent there");
    refused(&get, "NoSuchKey").await;
    refused("s3api get-object --bucket nobodys --key absent there", "NoSuchBucket").await;
    refused(&format!("s3api head-object --bucket {BUCKET} --key absent"), "(404)").await;
    refused(&format!("{put} --key wrong --checksum-sha256 {}=", "A".repeat(43)), "BadDigest").await;
    cloud.aws.deny("s3:ListBucket");
    refused(&get, "AccessDenied").await;
    refused(&format!("s3 ls s3://{BUCKET}"), "AccessDenied").await;
    cloud.aws.deny("s3:PutObject");
    refused(&format!("{put} --key denied"), "AccessDenied").await;
    assert_eq!(cloud.s3.keys(BUCKET), ["free", "taken"]);
}
