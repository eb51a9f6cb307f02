//! What comes from S3, with what, and what happens when it does not come.

use std::path::Path;

use e2e::Running;
use sandbox::aws::{PARTITIONS, Partition};
use sandbox::cloud::{BUCKET, Options};
use sandbox::http::ServiceName;

use super::host::{Host, Service, With};

const SUMS: &str = "agents/0.1.0/SHA256SUMS";
const PACKAGE: &str = "agents/0.1.0/bbb-agent_0.1.0_amd64.deb";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_with_aws_and_with_curl_under_all_shells() {
    e2e::at_once([With::Aws, With::Curl, With::Busybox], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        let run = host.expect(0, &["--hostname"]).await;
        let client = if with == With::Aws { "with aws" } else { "with curl" };
        run.says(&[client, "bbb-agent 0.1.0 is ready: says the service"]);
        assert_eq!(
            host.changes(),
            [
                "dpkg bbb-agent_0.1.0_amd64.deb",
                "systemctl --no-block restart bbb-agent.service",
                "systemctl --quiet enable bbb-agent.service",
                // Whoever looks for the name before it is live is told for a quarter of an hour that there is none.
                "hostnamectl set-hostname vc-0123456789abcdef0.example.org",
            ],
            "{run}"
        );
        assert!(
            host.settings().contains("dns.zone_id = \"Z0123456789EXAMPLE\"\ndns.domain = \"example.org\"\n")
        );
        assert!(host.path("var/cache/bbb-agent/bbb-agent_0.1.0_amd64.deb").is_file());
        assert!(!host.path("var/cache/bbb-agent/work").exists());
    })
    .await;
}

/// As dpkg says it, which has to install the package: a kernel of 64 bits may have programs of 32.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_the_package_of_its_architecture() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release_for("arm64", "0.1.0", Service::Ready, "");
    let run = host.expect(1, &[]).await;
    run.says(&["release 0.1.0 has no bbb-agent_0.1.0_amd64.deb; it has:", "bbb-agent_0.1.0_arm64.deb"]);
    std::fs::write(host.path("state/architecture"), "arm64\n").unwrap();
    host.expect(0, &[]).await.says(&["bbb-agent 0.1.0 for arm64, from"]);
    assert!(host.changes().contains(&"dpkg bbb-agent_0.1.0_arm64.deb".to_owned()));
}

/// Where no endpoint is given, the bucket is part of the host's name, and S3's certificate is checked for it.
#[tokio::test(flavor = "multi_thread")]
async fn curl_asks_the_host_that_has_the_buckets_name() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    let real = host.cloud.aws_address();
    let lead = format!("{BUCKET}.s3.eu-central-1.amazonaws.com:443:{real}");
    host.program("curl", &format!("exec /usr/bin/curl \"$@\" --connect-to {lead}\n"));
    let mut command = host.command(&[]);
    command.env_remove("AWS_ENDPOINT_URL");
    let run = Running::start(command).end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(host.installed(), "0.1.0");
}

/// A host of a partition, on which curl finds this S3 endpoint in the embedded cloud, and no other.
async fn host_in(partition: Partition, endpoint: &str) -> Option<Host> {
    let mut options = Options::with_tls();
    let Partition { name, region, domain } = partition;
    options.host.facts.partition = name.to_owned();
    options.host.facts.region = region.to_owned();
    options.host.facts.domain = domain.to_owned();
    let host = Host::in_cloud(With::Curl, options).await?;
    host.release("0.1.0", Service::Ready);
    let lead = format!("{endpoint}:443:{}", host.cloud.aws_address());
    host.program("curl", &format!("exec /usr/bin/curl \"$@\" --connect-to {lead}\n"));
    Some(host)
}

/// Each partition has a domain of its own. That the SDK uses the same is compared in the clients' tests.
#[tokio::test(flavor = "multi_thread")]
async fn each_partition_has_its_own_domain() {
    e2e::at_once(PARTITIONS, |partition| async move {
        let endpoint = format!("{BUCKET}.s3.{}.{}", partition.region, partition.domain);
        let Some(host) = host_in(partition, &endpoint).await else { return };
        let mut command = host.command(&[]);
        command.env_remove("AWS_ENDPOINT_URL");
        let run = Running::start(command).end().await;
        assert_eq!(run.code, 0, "{partition:?}: {run}");
        assert_eq!(host.installed(), "0.1.0");
    })
    .await;
}

/// Requests are signed with the role's keys, so they go nowhere but to a domain.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_is_none_is_not_used() {
    let domains = [
        "amazonaws.com/",
        "evil.example@x",
        "a b.c",
        "-.com",
        "com",
        "a..b",
        "[::1]",
        "x.y:443",
        "x.y\"",
        "",
        // Domains, but none of AWS's.
        "evil.example",
        "amazonaws.com.evil.example",
        "amazonaws.com.",
    ];
    e2e::at_once(domains, |domain| async move {
        let Some(host) = host_in(Partition { domain, ..PARTITIONS[0] }, "nowhere").await else { return };
        let mut command = host.command(&["--wait", "2"]);
        command.env_remove("AWS_ENDPOINT_URL");
        let run = Running::start(command).end().await;
        assert_eq!(run.code, 1, "{domain}: {run}");
        run.says(&["services/domain", "Nothing was changed"]);
        assert_eq!(host.cloud.journal.count(ServiceName::S3, ""), 0, "{domain}");
        untouched(&host);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_and_no_token_reaches_a_command_line() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    let programs = "awk cat chmod cmp cp curl cut date dpkg-deb flock grep head id ln mkdir mktemp mv od rm sed sha256sum \
                    sleep sort tail timeout tr wc";
    for name in programs.split_whitespace() {
        let real = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(name));
        let real = real.iter().find(|path| path.is_file()).unwrap().display();
        let path = format!("exec {real} \"$@\"\n");
        host.program(name, &format!("printf '%s ' {name} \"$@\" >\"$STATE/line.$$\"\n{path}"));
    }
    host.expect(0, &[]).await;
    // A file each: what curl may write is limited.
    let files = std::fs::read_dir(host.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("line."));
    let lines: String = files.map(|path| std::fs::read_to_string(path).unwrap() + "\n").collect();
    assert!(lines.matches("curl -q --config -").count() > 10, "{lines}");
    assert!(lines.contains("sha256sum") && lines.contains("od -An"), "{lines}");
    let keys = host.cloud.vault.role("bbb-fleet-host");
    for secret in [keys.secret_key, keys.session_token.unwrap(), keys.access_key] {
        assert!(!lines.contains(&secret), "{lines}");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!lines.contains(&hex), "{lines}");
    }
    assert!(!lines.contains("Signature") && !lines.contains("metadata-token"), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_is_waited_for() {
    e2e::at_once([With::Aws, With::Curl], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        host.cloud.close(ServiceName::S3).await;
        host.cloud.close(ServiceName::Imds).await;
        let mut run = Running::start(host.command(&[]));
        run.said("trying again", 1).await;
        host.cloud.open(ServiceName::Imds).await;
        run.said("trying again", 2).await;
        host.cloud.open(ServiceName::S3).await;
        let run = run.end().await;
        assert_eq!(run.code, 0, "{run}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_comes_is_given_up_after_a_while() {
    e2e::at_once([With::Aws, With::Curl], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        host.cloud.close(ServiceName::S3).await;
        let run = host.expect(1, &["--wait", "2"]).await;
        run.says(&["could not fetch s3://sandbox-sources/agents/latest within 2 s", "Nothing was changed"]);
        untouched(&host);
    })
    .await;
}

fn untouched(host: &Host) {
    assert_eq!(host.changes(), [""; 0]);
    assert_eq!(host.settings(), "");
    assert_eq!(host.installed(), "");
}

/// Refusals that trying again does not change: each is said at once, with what to do, and nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_s3_refuses_is_said_at_once() {
    type Break = fn(&Host);
    let rows: [(&[&str], Break, &[&str]); 6] = [
        (
            &["--version", "9.9.9"],
            |_| {},
            &["agents/9.9.9/SHA256SUMS", "NoSuchKey", "Is that release published"],
        ),
        (&["--prefix", "other"], |_| {}, &["s3://sandbox-sources/other/latest", "NoSuchKey"]),
        (
            &[],
            |host| host.cloud.s3.put(BUCKET, "agents/latest", "no version\n"),
            &["agents/latest holds no version"],
        ),
        (&[], |host| host.cloud.s3.put(BUCKET, "agents/latest", vec![b'1'; 5000]), &["is larger than 1 KiB"]),
        (
            &[],
            |host| host.cloud.s3.put(BUCKET, SUMS, format!("{}  other\n", "0".repeat(64))),
            &["has no bbb-agent_0.1.0_amd64.deb"],
        ),
        (
            &[],
            |host| {
                let content = host.cloud.s3.get(BUCKET, PACKAGE).unwrap();
                host.cloud.s3.put(BUCKET, PACKAGE, [&content[..], b"more"].concat());
            },
            &["but SHA256SUMS says", "changed after it was published"],
        ),
    ];
    let both = rows.into_iter().flat_map(|row| [(With::Aws, row), (With::Curl, row)]);
    e2e::at_once(both, |(with, (arguments, breaks, words))| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        breaks(&host);
        let run = host.expect(1, arguments).await;
        run.says(words).says(&["Nothing was changed"]);
        assert!(!run.stdout.contains("trying again"), "{run}");
        untouched(&host);
    })
    .await;
}

/// The name of a bucket that was deleted is free: its new owner may let everybody read what is in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_another_account_is_not_used() {
    e2e::at_once([With::Aws, With::Curl, With::Busybox], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        host.cloud.s3.give_away(BUCKET, "666666666666");
        let run = host.expect(1, &["--bucket-owner", "123456789012", "--wait", "15"]).await;
        run.says(&["AccessDenied", "a bucket that account 123456789012 does not own", "Nothing was changed"]);
        untouched(&host);
        host.cloud.s3.give_away(BUCKET, "123456789012");
        host.expect(0, &["--bucket-owner", "123456789012"]).await;
    })
    .await;
}

/// The words are those of Ubuntu 20.04's CLI (1.18.69).
#[tokio::test(flavor = "multi_thread")]
async fn a_cli_that_knows_no_owner_leaves_the_work_to_curl() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    host.program(
        "aws",
        "echo 'usage: aws [options]' >&2\necho \"Unknown options: --expected-bucket-owner, 123456789012\" >&2\nexit 255\n",
    );
    host.expect(0, &["--bucket-owner", "123456789012"]).await.says(&["Unknown options", "0.1.0 is ready"]);
}

/// A role that was made a moment ago gets its permissions later.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_may_pass() {
    e2e::at_once([With::Aws, With::Curl], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        host.cloud.aws.deny("s3:GetObject");
        let run = host.expect(1, &["--wait", "15"]).await;
        run.says(&["agents/latest", "AccessDenied", "s3:GetObject on arn:aws:s3:::", "Nothing was changed"]);
        untouched(&host);
        let mut run = Running::start(host.command(&[]));
        run.said("trying again", 1).await;
        host.cloud.aws.allow("s3:GetObject");
        let run = run.end().await;
        assert_eq!(run.code, 0, "{run}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_listed_is_denied_when_it_is_missing() {
    e2e::at_once([With::Aws, With::Curl], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        host.cloud.aws.deny("s3:ListBucket");
        let run = host.expect(1, &["--version", "9.9.9", "--wait", "15"]).await;
        run.says(&["AccessDenied", "also the answer for an object that is not there", "Nothing was changed"]);
        untouched(&host);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_another_region_is_named_with_its_region() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.cloud.s3.create_bucket_in("far-away", "us-west-2");
    let arguments = [
        "--role",
        "bbb",
        "--bucket",
        "far-away",
        "--zone-id",
        "Z0123456789EXAMPLE",
        "--domain",
        "example.org",
    ];
    let run = Running::start(host.bare_command(&arguments)).end().await;
    assert_eq!(run.code, 1, "{run}");
    run.says(&["PermanentRedirect", "the bucket's region is us-west-2", "--region"]);
    untouched(&host);
}
