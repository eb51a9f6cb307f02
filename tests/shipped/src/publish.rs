//! packaging/publish with the real aws CLI, against the embedded S3.

use std::path::PathBuf;
use std::sync::Arc;

use e2e::{Run, Running};
use sandbox::cloud::{BUCKET, Cloud, Options};
use sandbox::faults::{Fault, Planned};
use sandbox::http::ServiceName;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

use crate::install::host::{Key, sha256};
use crate::{root, tool};

/// Somebody with a release to publish.
struct Publisher {
    cloud: Arc<Cloud>,
    directory: TempDir,
}

impl Publisher {
    async fn new() -> Self {
        let cloud = Cloud::start(Options::with_tls()).await.unwrap();
        let publisher = Self { cloud, directory: tempfile::tempdir().unwrap() };
        publisher.build("0.1.0", "the first");
        publisher
    }

    fn dist(&self) -> PathBuf {
        self.directory.path().join("dist")
    }

    /// What packaging/build leaves behind, with this in all files.
    fn build(&self, version: &str, content: &str) {
        let _ = std::fs::remove_dir_all(self.dist());
        std::fs::create_dir(self.dist()).unwrap();
        let packages = ["bbb-agent", "turn-agent"].map(|agent| format!("{agent}_{version}_amd64.deb"));
        for name in ["install.sh", "SECURITY-CONTACT", &packages[0], &packages[1]] {
            std::fs::write(self.dist().join(name), format!("{name}: {content}\n")).unwrap();
        }
        self.sum();
    }

    fn sum(&self) {
        let names = std::fs::read_dir(self.dist()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != "SHA256SUMS");
        names.sort();
        let line = |name: &String| {
            let sum = Sha256::digest(std::fs::read(self.dist().join(name)).unwrap());
            format!("{}  {name}\n", sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        let sums: String = names.iter().map(line).collect();
        std::fs::write(self.dist().join("SHA256SUMS"), sums).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let bin = self.directory.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let _ = std::os::unix::fs::symlink(tool("aws"), bin.join("aws"));
        let mut command = Command::new(root().join("packaging/publish"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", self.directory.path())
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            // What fails is not tried again by the CLI itself, unless it is told so.
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_CA_BUNDLE", self.cloud.ca_file().unwrap())
            .envs(self.cloud.environment());
        command
    }

    async fn expect(&self, code: i32, options: &[&str]) -> Run {
        let dist = self.dist();
        let mut arguments = options.to_vec();
        arguments.extend([BUCKET, dist.to_str().unwrap()]);
        self.run(code, &arguments).await
    }

    async fn run(&self, code: i32, arguments: &[&str]) -> Run {
        let run = Running::start(self.command(arguments)).end().await;
        assert_eq!(run.code, code, "{arguments:?} ended otherwise:\n{run}");
        run
    }

    /// Puts what is in the directory where publishing it would: the CLI takes its time.
    fn published(&self, version: &str) {
        let put = |from: &str, to: &str| {
            self.cloud.s3.put(
                BUCKET,
                &format!("agents/{to}"),
                std::fs::read(self.dist().join(from)).unwrap(),
            );
        };
        for entry in std::fs::read_dir(self.dist()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            put(&name, &format!("{version}/{name}"));
        }
        put("install.sh", "install.sh");
        self.cloud.s3.put(BUCKET, "agents/latest", format!("{version}\n"));
    }

    /// The trusted comment of what says which is the latest, after it was verified.
    fn latest(&self, key: &Key) -> String {
        let here = self.directory.path();
        std::fs::write(here.join("latest"), self.text("agents/latest")).unwrap();
        std::fs::write(here.join("latest.minisig"), self.text("agents/latest.minisig")).unwrap();
        let mut verify = std::process::Command::new("minisign");
        verify.args(["-V", "-Q", "-P", &key.public, "-m", "latest"]).current_dir(here);
        let output = verify.output().expect("minisign");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn keys(&self) -> Vec<String> {
        self.cloud.s3.keys(BUCKET)
    }

    fn text(&self, key: &str) -> String {
        let content = self.cloud.s3.get(BUCKET, key).unwrap_or_default();
        String::from_utf8(content.to_vec()).unwrap()
    }

    fn fault(&self, action: &str, fault: Fault) {
        let action = Some(action.to_owned());
        self.cloud.faults.plan(Planned { service: ServiceName::S3, action, fault, times: Some(1) });
    }

    /// The objects that were put, in order.
    fn puts(&self) -> Vec<String> {
        let entries = self.cloud.journal.entries().into_iter();
        entries.filter_map(|entry| Some(entry.action.strip_prefix("PutObject agents/")?.to_owned())).collect()
    }
}

const ALL: [&str; 7] = [
    "agents/0.1.0/SECURITY-CONTACT",
    "agents/0.1.0/SHA256SUMS",
    "agents/0.1.0/bbb-agent_0.1.0_amd64.deb",
    "agents/0.1.0/install.sh",
    "agents/0.1.0/turn-agent_0.1.0_amd64.deb",
    "agents/install.sh",
    "agents/latest",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_published_and_publishing_it_again_changes_nothing() {
    let publisher = Publisher::new().await;
    publisher
        .expect(0, &["--dry-run"])
        .await
        .says(&["would put s3://sandbox-sources/agents/0.1.0/SHA256SUMS"]);
    assert_eq!(publisher.keys(), [""; 0]);
    publisher.expect(0, &[]).await.says(&["hosts that install the latest get 0.1.0"]);
    assert_eq!(publisher.keys(), ALL);
    assert_eq!(publisher.text("agents/latest"), "0.1.0\n");
    assert_eq!(publisher.text("agents/install.sh"), "install.sh: the first\n");
    let puts = publisher.puts();
    assert_eq!(puts.first().unwrap(), "0.1.0/SHA256SUMS");
    assert_eq!(puts[puts.len() - 2..], ["install.sh", "latest"]);
    publisher.expect(0, &[]).await.says(&["agents/0.1.0/SHA256SUMS: is there already"]);
    assert_eq!(publisher.keys(), ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_may_be_for_more_than_one_architecture() {
    let publisher = Publisher::new().await;
    let packages = ["bbb-agent_0.1.0_arm64.deb", "turn-agent_0.1.0_arm64.deb"];
    for name in packages {
        std::fs::write(publisher.dist().join(name), name).unwrap();
    }
    publisher.sum();
    publisher.expect(0, &[]).await;
    assert_eq!(publisher.keys().len(), ALL.len() + 2);
    for name in packages {
        assert_eq!(publisher.text(&format!("agents/0.1.0/{name}")), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_version_is_never_changed() {
    let publisher = Publisher::new().await;
    publisher.published("0.1.0");
    publisher.build("0.1.0", "the second");
    let run = publisher.expect(1, &[]).await;
    run.says(&["agents/0.1.0/SHA256SUMS is there with another content", "publish this as a new version"]);
    assert_eq!(publisher.text("agents/0.1.0/install.sh"), "install.sh: the first\n");
    assert_eq!(publisher.text("agents/install.sh"), "install.sh: the first\n");
    // Nor is a part of it that somebody has put there meanwhile.
    publisher.build("0.2.0", "the second");
    publisher.cloud.s3.put(BUCKET, "agents/0.2.0/install.sh", "theirs");
    publisher.expect(1, &[]).await.says(&["agents/0.2.0/install.sh is there with another content"]);
    assert_eq!(publisher.text("agents/0.2.0/install.sh"), "theirs");
    assert_eq!(publisher.text("agents/latest"), "0.1.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_uploaded_by_halves_is_completed() {
    let publisher = Publisher::new().await;
    publisher
        .fault("PutObject agents/0.1.0/turn", Fault::Error { status: 403, code: "AccessDenied".to_owned() });
    publisher
        .expect(1, &[])
        .await
        .says(&["cannot put s3://sandbox-sources/agents/0.1.0/turn-agent", "AccessDenied"]);
    assert_eq!(publisher.keys(), ALL[..4], "neither install.sh nor latest point to it");
    // Put, but the answer is lost.
    publisher.fault("PutObject agents/0.1.0/turn", Fault::LoseReply);
    publisher.expect(1, &[]).await;
    assert_eq!(publisher.keys(), ALL[..5]);
    publisher.expect(0, &[]).await.says(&["turn-agent_0.1.0_amd64.deb: is there already"]);
    assert_eq!(publisher.keys(), ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pointer_stays_where_it_was_until_all_is_there() {
    let publisher = Publisher::new().await;
    publisher.published("0.1.0");
    publisher.build("0.2.0", "the second");
    publisher.fault("PutObject agents/0.2.0/turn", Fault::HoldReply);
    let dist = publisher.dist();
    let run = Running::start(publisher.command(&[BUCKET, dist.to_str().unwrap()]));
    publisher.cloud.faults.held(1).await;
    run.signal("KILL").await;
    run.end().await;
    publisher.cloud.faults.release(1);
    assert_eq!(publisher.text("agents/latest"), "0.1.0\n");
    assert_eq!(publisher.text("agents/install.sh"), "install.sh: the first\n");
    publisher.expect(0, &[]).await;
    assert_eq!(publisher.text("agents/latest"), "0.2.0\n");
    assert_eq!(publisher.text("agents/install.sh"), "install.sh: the second\n");
    // And back to the first.
    publisher.run(0, &["--latest", "0.1.0", BUCKET]).await.says(&["get 0.1.0 from now on"]);
    assert_eq!(publisher.text("agents/latest"), "0.1.0\n");
    assert_eq!(publisher.text("agents/install.sh"), "install.sh: the first\n");
    publisher.run(1, &["--latest", "9.9.9", BUCKET]).await.says(&["there is no release 9.9.9"]);
    publisher.cloud.s3.put(BUCKET, "agents/0.2.0/install.sh", "tampered");
    publisher.run(1, &["--latest", "0.2.0", BUCKET]).await.says(&["is not what its SHA256SUMS says"]);
    assert_eq!(publisher.text("agents/latest"), "0.1.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_no_release_is_refused() {
    let publisher = Publisher::new().await;
    type Break = fn(&Publisher);
    let rows: [(Break, &str); 7] = [
        (
            |own| std::fs::write(own.dist().join("install.sh"), "other").unwrap(),
            "is not what its SHA256SUMS says",
        ),
        (|own| std::fs::write(own.dist().join("stray"), "").unwrap(), "stray is not in SHA256SUMS"),
        (
            |own| {
                std::fs::write(own.dist().join("bbb-agent_0.0.9_amd64.deb"), "").unwrap();
                own.sum();
            },
            "of no version or of several (0.0.9, 0.1.0)",
        ),
        (
            |own| {
                std::fs::remove_file(own.dist().join("turn-agent_0.1.0_amd64.deb")).unwrap();
                own.sum();
            },
            "there is no package of turn-agent for amd64",
        ),
        (
            |own| {
                std::fs::write(own.dist().join("bbb-agent_0.1.0_arm64.deb"), "").unwrap();
                own.sum();
            },
            "there is no package of turn-agent for arm64",
        ),
        (
            |own| {
                std::fs::remove_file(own.dist().join("SECURITY-CONTACT")).unwrap();
                own.sum();
            },
            "does not say who is told of vulnerabilities: write that into packaging/security-contact",
        ),
        (|own| std::fs::remove_file(own.dist().join("SHA256SUMS")).unwrap(), "there is no SHA256SUMS"),
    ];
    for (breaks, words) in rows {
        publisher.build("0.1.0", "the first");
        breaks(&publisher);
        publisher.expect(1, &[]).await.says(&[words]);
    }
    publisher.run(2, &["s3://sources"]).await.says(&["not the name of a bucket"]);
    publisher.run(2, &[]).await.says(&["a bucket is needed"]);
    publisher.run(2, &["--nothing", BUCKET]).await.says(&["there is no such option"]);
    assert_eq!(publisher.cloud.journal.count(ServiceName::S3, ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_release_is_not_followed_by_an_unsigned_one_unnoticed() {
    let publisher = Publisher::new().await;
    let key = Key::new();
    let secret = key.secret();
    let secret = secret.to_str().unwrap();
    publisher.expect(0, &["--sign", secret]).await;
    let (sums, signature) = (publisher.dist().join("SHA256SUMS"), publisher.directory.path().join("fetched"));
    std::fs::write(&signature, publisher.text("agents/0.1.0/SHA256SUMS.minisig")).unwrap();
    let mut verify = Command::new("minisign");
    verify.args(["-V", "-m"]).arg(&sums).arg("-x").arg(&signature).args(["-P", &key.public]);
    assert!(verify.output().await.unwrap().status.success());
    // Signing again gives the same bytes, so that what was uploaded by halves can be completed.
    publisher.expect(0, &["--sign", secret]).await.says(&["SHA256SUMS.minisig: is there already"]);

    publisher.build("0.2.0", "the second");
    publisher.expect(1, &[]).await.says(&["the latest release is signed and this is not"]);
    publisher.run(1, &["--latest", "0.1.0", BUCKET]).await.says(&["is signed and this is not"]);
    assert_eq!(publisher.text("agents/latest"), "0.1.0\n");
    assert_eq!(publisher.keys().iter().filter(|key| key.contains("0.2.0")).count(), 0);
    publisher.expect(0, &["--unsigned"]).await;
    assert_eq!(publisher.text("agents/latest"), "0.2.0\n");
}

/// What is signed as the latest has a date, and remembers from which versions hosts go back.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_is_signed() {
    let publisher = Publisher::new().await;
    let key = Key::new();
    let secret = key.secret();
    let sign = ["--sign", secret.to_str().unwrap()];
    for version in ["0.9.0", "0.10.0"] {
        publisher.build(version, "a release");
        publisher.expect(0, &sign).await;
        let comment = publisher.latest(&key);
        assert!(comment.starts_with(&format!("bbb-agents latest {version} 20")), "{comment}");
        assert!(comment.ends_with("Z\n"), "nobody goes back: {comment}");
    }
    let back = async |version: &str| {
        let run = publisher.run(0, &[&sign[..], &["--latest", version, BUCKET]].concat()).await;
        (run, publisher.latest(&key))
    };
    let (run, comment) = back("0.9.0").await;
    run.says(&["get 0.9.0 from now on, and go back to it from 0.10.0"]);
    assert!(comment.ends_with("Z back from 0.10.0\n"), "{comment}");
    // Some hosts may have 0.10.0 still.
    publisher.build("0.9.1", "a repair");
    publisher.expect(0, &sign).await;
    let comment = publisher.latest(&key);
    assert!(comment.ends_with("Z back from 0.10.0\n"), "{comment}");
    let (_, comment) = back("0.10.0").await;
    assert!(comment.ends_with("Z\n"), "{comment}");

    // Hosts would take a signature that is older than what they have seen for a replay.
    let later = key.sign(b"0.10.0\n", "bbb-agents latest 0.10.0 2999-01-01T00:00:00Z");
    publisher.cloud.s3.put(BUCKET, "agents/latest.minisig", later);
    let run = publisher.run(1, &[&sign[..], &["--latest", "0.9.0", BUCKET]].concat()).await;
    run.says(&["is of 2999-01-01T00:00:00Z", "Correct this machine's clock"]);
    // Nor is a release signed as the latest that is not what was signed.
    publisher.cloud.s3.remove(BUCKET, "agents/latest.minisig");
    let installer = "touch /owned\n";
    publisher.cloud.s3.put(BUCKET, "agents/0.9.0/install.sh", installer);
    let sums = format!("{}  install.sh\n", sha256(installer.as_bytes()));
    publisher.cloud.s3.put(BUCKET, "agents/0.9.0/SHA256SUMS", sums);
    let run = publisher.run(1, &[&sign[..], &["--latest", "0.9.0", BUCKET]].concat()).await;
    run.says(&["release 0.9.0 is not signed with the key"]);
    assert_eq!(publisher.text("agents/latest"), "0.10.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fixes_hosts_to_a_release_is_said() {
    let publisher = Publisher::new().await;
    let key = Key::new();
    let run = publisher.expect(0, &["--sign", key.secret().to_str().unwrap()]).await;
    let sums = std::fs::read(publisher.dist().join("SHA256SUMS")).unwrap();
    run.says(&[
        "BucketOwner=123456789012",
        &format!("AgentVersion=0.1.0 ReleaseSha256={}\n", sha256(&sums)),
        &format!("PublicKey={}", key.public),
    ]);
    // A signature that was made elsewhere has to be one that UserData accepts.
    publisher.build("0.2.0", "the second");
    let sums = std::fs::read(publisher.dist().join("SHA256SUMS")).unwrap();
    let file = publisher.dist().join("SHA256SUMS.minisig");
    std::fs::write(&file, key.sign(&sums, "bbb-agents 0.1.0")).unwrap();
    let run = publisher.expect(1, &[]).await;
    run.says(&["another trusted comment than 'bbb-agents 0.2.0'"]);
    std::fs::write(&file, key.sign(&sums, "bbb-agents 0.2.0")).unwrap();
    publisher.expect(0, &[]).await.says(&["latest is not signed, without --sign"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_to_the_bucket_of_another_account() {
    let publisher = Publisher::new().await;
    publisher.cloud.s3.give_away(BUCKET, "666666666666");
    publisher.expect(1, &[]).await.says(&["(403)", "in a bucket of account 123456789012"]);
    assert_eq!(publisher.keys(), [""; 0]);
    publisher.expect(2, &["--bucket-owner", "6666"]).await.says(&["not an account's number"]);
    // Unless that is meant.
    publisher.expect(0, &["--bucket-owner", "666666666666"]).await.says(&["BucketOwner=666666666666"]);
}
