//! Every parameter of the templates that is in UserData: the rendered UserData runs, and what it does shows the value.

use std::collections::BTreeSet;

use sandbox::cloud::BUCKET;

use super::storage::{calls, equipped};
use crate::install::host::sha256;
use crate::templates::{parameters, user_data};

/// Values that differ from everything else, by the template, and where each shows.
struct Row(&'static str, String, Shows);

enum Shows {
    /// In what install.sh is told.
    Told(String),
    /// In what this program is called with.
    Called(&'static str, String),
    /// In this file of the host.
    File(&'static str, String),
    /// In a signature or a request that would have been refused otherwise.
    Needed,
}

const CERTIFICATE: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:certificate-a1B2c3";

use Shows::{Called, File, Needed, Told};

fn told(name: &'static str, value: &str, option: &str) -> Row {
    Row(name, value.to_owned(), Told(format!("{option} {value}")))
}

fn called(name: &'static str, value: &str, program: &'static str) -> Row {
    Row(name, value.to_owned(), Called(program, value.to_owned()))
}

fn both(version: &str, hash: &str, key: &str) -> Vec<Row> {
    let agent = "https://example.org/ARCHITECTURE/amazon-cloudwatch-agent.deb";
    let fetched = agent.replace("ARCHITECTURE", "amd64");
    vec![
        told("Bucket", BUCKET, "--bucket"),
        told("BucketOwner", "123456789012", "--bucket-owner"),
        told("AgentVersion", version, "--version"),
        told("ReleaseSha256", hash, "--release-sha256"),
        told("PublicKey", key, "--public-key"),
        told("MinimumVersion", "0.1.5", "--minimum"),
        told("HostedZoneId", "Z0123456789EXAMPLE", "--zone-id"),
        told("Domain", "bbb.example.org", "--domain"),
        told("Settings", "dns.spread=17", "--set"),
        told("MetadataUsers", "ec2-instance-connect", "--metadata-user"),
        Row("GuardMetadata", "yes".into(), Told("--guard-metadata".into())),
        Row(
            "ZoneRoleArn",
            "arn:aws:iam::210987654321:role/dns".into(),
            Told("--set dns.role_arn=arn:aws:iam::210987654321:role/dns".into()),
        ),
        Row("ZoneRoleExternalId", "17".into(), Told("--set dns.role_external_id=\"17\"".into())),
        Row("LaunchHook", "yes".into(), Told("--set service.launch_hook=launch".into())),
        Row(
            "CertificateSecretArn",
            CERTIFICATE.into(),
            Told(format!("--set tls.certificate=secretsmanager:{CERTIFICATE}")),
        ),
        Row("LogGroup", "/marked".into(), File("root/cloudwatch.json", "\"/marked/application\"".into())),
        Row("CloudWatchAgent", agent.into(), Called("wget", fetched.clone())),
        Row("CloudWatchAgentSha256", sha256(format!("{fetched}\n").as_bytes()), Needed),
    ]
}

fn of_bbb(installer: &str, helper: &str) -> Vec<Row> {
    let names = ["scalelite_post_publish.rb", "scalelite_batch_import.sh", "scalelite_prune_recordings"];
    let sender: String = names.map(|name| format!("https://example.org/sender/{name}\n")).concat();
    let secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Scalelite-a1B2c3";
    vec![
        told("ScaleliteUrl", "https://marked.example.org", "--scalelite-url"),
        Row("ScaleliteSecretArn", secret.into(), Told(format!("--scalelite-secret secretsmanager:{secret}#"))),
        Row("ScaleliteSecretKey", "marked".into(), Told("#marked ".into())),
        Row(
            "TurnServer",
            "turn.marked.example.org".into(),
            Told("--set bbb.turn_server=turn.marked.example.org".into()),
        ),
        Row("TurnSecretArn", "Turn".into(), Told("--set bbb.turn_secret=secretsmanager:arn:".into())),
        Row("TurnSecretKey", "turnkeyvalue".into(), Told("#turnkeyvalue ".into())),
        Row("OperatorEmail", "marked@example.org".into(), File("state/bbb", "-e marked@example.org -d".into())),
        Row("BbbVersion", "jammy-300".into(), File("state/bbb", "-v jammy-300".into())),
        called("BbbInstaller", "https://example.org/marked/bbb-install.sh", "wget"),
        Row("BbbInstallerSha256", installer.into(), Needed),
        Row("RecordingsSender", "scalelite".into(), Told("--set recordings.sender=/usr/local/bigbluebutton/core/scripts/post_publish/scalelite_post_publish.rb".into())),
        Row("FileSystemId", "fs-11111111".into(), File("etc/fstab", "fs-11111111:/ /mnt/bbb-recordings efs".into())),
        Row("AccessPointId", "fsap-22222222".into(), File("etc/fstab", ",tls,iam,accesspoint=fsap-22222222 ".into())),
        Row("ServerName", "marked".into(), Told("--set dns.name=marked.bbb.example.org".into())),
        // One disk is for that directory: `a_volume_outlives_its_host` is about the other parameter.
        Row("DataVolumeId", String::new(), Needed),
        Row("DataVolumeSize", "17".into(), Called("mkfs.ext4", "-q -L bbb-data /dev/nvme1n1".into())),
        called("SenderSource", "https://example.org/sender", "wget"),
        Row("SenderSha256", sha256(sender.as_bytes()), Needed),
        Row("SenderGems", "marked:1.0".into(), Called("gem", "--no-document marked:1.0".into())),
        called("EfsUtils", "https://example.org/marked/efs-utils.tar.gz", "wget"),
        Row("EfsUtilsSha256", helper.into(), Needed),
    ]
}

fn of_turn() -> Vec<Row> {
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Turn";
    vec![
        Row(
            "TurnSecretArn",
            arn.into(),
            File("etc/turnserver.conf", "static-auth-secret=a-secret-of-coturn".into()),
        ),
        Row("TurnSecretKey", "turnkeyvalue".into(), Needed),
        Row(
            "SharedName",
            "turn.bbb.example.org".into(),
            Told("--set turn.shared_name=turn.bbb.example.org".into()),
        ),
        Row("SharedHealthCheck", "abcdef".into(), Told("--set turn.shared_health_check=abcdef".into())),
        // With the fleet's certificate, which coturn reads, nobody asks Let's Encrypt.
        Row(
            "OperatorEmail",
            "marked@example.org".into(),
            File("etc/turnserver.conf", "pkey=/local/certs/privkey.pem".into()),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_does_something_on_the_host() {
    for (role, path) in
        [("bbb", "packaging/cloudformation/fleet.yaml"), ("turn", "packaging/cloudformation/turn.yaml")]
    {
        let Some(boot) = equipped(role).await else { return };
        let arn = boot.host.cloud.secrets.put("Turn", r#"{"turnkeyvalue":"a-secret-of-coturn"}"#);
        let installer = boot.offer_bbb("the real one");
        let helper = sha256(&std::fs::read(boot.host.path("state/efs-utils.tar.gz")).unwrap());
        let mut rows = both("0.2.0", &boot.hash("0.2.0"), &boot.key.public);
        rows.extend(if role == "bbb" { of_bbb(&installer, &helper) } else { of_turn() });
        for row in rows.iter_mut().filter(|row| row.0 == "TurnSecretArn") {
            row.1.clone_from(&arn);
        }
        let named: BTreeSet<String> = rows.iter().map(|row| row.0.to_owned()).collect();
        assert_eq!(named, parameters(path).into_iter().collect(), "{path}");
        let mut values: Vec<(&str, &str)> = rows.iter().map(|row| (row.0, row.1.as_str())).collect();
        let region = boot.host.cloud.imds.facts().unwrap().region;
        values.extend([("AWS::StackName", super::STACK), ("AWS::AccountId", "123456789012")]);
        values.push(("AWS::Region", &region));
        let run = boot.start(&user_data(path, &values)).end().await;
        assert_eq!(run.code, 0, "{path}: {run}");
        assert_eq!(boot.signals().len(), 1, "{path}: {run}");
        let options = boot.host.read("state/install");
        for Row(name, _, shows) in &rows {
            let (found, wanted) = match shows {
                Told(wanted) => (options.clone(), wanted),
                Called(program, wanted) => (calls(&boot, program).join("\n"), wanted),
                File(file, wanted) => (boot.host.read(file), wanted),
                Needed => continue,
            };
            assert!(found.contains(wanted.as_str()), "{path}: {name}: {wanted} is not in {found}\n{run}");
        }
    }
}

/// With each hash wrong by itself, nothing of what it is for runs: it is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_hash_in_a_parameter_ends_the_first_boot() {
    let path = "packaging/cloudformation/fleet.yaml";
    let rows = [
        ("CloudWatchAgentSha256", "cloudwatch_agent_sha256 says"),
        ("BbbInstallerSha256", "bbb_installer_sha256 says"),
        ("SenderSha256", "sender_sha256 says"),
        ("EfsUtilsSha256", "efs_utils_sha256 says"),
    ];
    e2e::at_once(rows, move |(wrong, words)| async move {
        let Some(boot) = equipped("bbb").await else { return };
        let zeros = "0".repeat(64);
        let region = boot.host.cloud.imds.facts().unwrap().region;
        let values = [
            ("Bucket", BUCKET),
            ("AgentVersion", "latest"),
            ("ReleaseSha256", ""),
            ("PublicKey", boot.key.public.as_str()),
            ("BbbInstallerSha256", ""),
            ("RecordingsSender", "scalelite"),
            ("FileSystemId", "fs-11111111"),
            ("AccessPointId", "fsap-22222222"),
            ("AWS::StackName", super::STACK),
            ("AWS::Region", region.as_str()),
        ];
        let values: Vec<_> = [(wrong, zeros.as_str())].into_iter().chain(values).collect();
        let run = boot.start(&user_data(path, &values)).end().await;
        assert_eq!(run.code, 1, "{wrong}: {run}");
        run.says(&[words, "Nothing of it was run"]);
    })
    .await;
}

/// A Graviton host: bash knows what it runs on.
#[tokio::test(flavor = "multi_thread")]
async fn the_cloudwatch_agent_is_the_hosts_architectures() {
    let Some(boot) = equipped("turn").await else { return };
    let agent = "https://example.org/ARCHITECTURE/amazon-cloudwatch-agent.deb";
    let script = boot.example(&[("log_group", "/marked"), ("cloudwatch_agent", agent)]);
    let run = boot.start(&format!("export HOSTTYPE=aarch64\n{script}")).end().await;
    assert_eq!(run.code, 0, "{run}");
    let fetched = calls(&boot, "wget").join("\n");
    assert!(fetched.contains("https://example.org/arm64/amazon-cloudwatch-agent.deb"), "{fetched}\n{run}");
}
