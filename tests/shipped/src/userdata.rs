//! packaging/userdata as cloud-init runs it, with what it runs from a release (packaging/host), against the embedded cloud:
//! without the aws CLI. The attacker can write to the bucket, owns it, or answers for the metadata service.

mod failures;
mod parameters;
mod storage;

use std::process::Output;

use e2e::{Run, Running};
use sandbox::cloud::BUCKET;

use failures::boot as planned_boot;

use crate::install::host::{Host, Key, Service, With, first_boot, sha256};
use crate::read;

const OWNER: &str = "123456789012";
/// The stack that waits for the host, and so the name of its group.
const STACK: &str = "bbb-fleet";

/// What both UserData and the templates do, without the settings at the beginning and the release at the end.
pub(crate) fn user_data_functions(role: &str) -> String {
    let script = read(format!("packaging/userdata/{role}-host.sh"));
    let (_, functions) = script.split_once("\n# ---\n").expect("the functions");
    functions.split_once("\n# release_sha256 is the hash").expect("their end").0.to_owned()
}

/// The functions of packaging/host/host.sh without what it does with them.
pub(crate) fn host_functions() -> String {
    let script = read("packaging/host/host.sh");
    script.split_once("\nif [ -n \"$log_group\" ]; then\n    released").expect("their end").0.to_owned()
}

/// A host at its first boot, with a signed release.
struct Boot {
    host: Host,
    key: Key,
    role: &'static str,
}

/// Programs of the host, beside those of [`Host`]. Each begins with what [`failures`] plans.
const STAND_INS: [(&str, &str); 4] = [
    ("wget", r#"cp "$STATE/bbb-install" "$2""#),
    ("nft", ""),
    ("ss", "echo LISTEN 0 511 0.0.0.0:443"),
    ("bbb-agent", r#"echo "$*" >>"$STATE/agent""#),
];

impl Boot {
    async fn new() -> Option<Self> {
        Self::of("bbb").await
    }

    async fn of(role: &'static str) -> Option<Self> {
        let host = Host::new(With::Curl).await?;
        let key = Key::new();
        for version in ["0.1.0", "0.2.0"] {
            host.release(version, Service::Ready);
            host.sign_release(&key, version);
        }
        host.sign_latest(&key, "0.2.0", "2026-11-01T00:00:00Z");
        for directory in ["root", "local", "mnt", "opt", "var/log", "etc/bigbluebutton"] {
            std::fs::create_dir(host.path(directory)).unwrap();
        }
        std::fs::write(host.path("etc/os-release"), "VERSION_CODENAME=jammy\n").unwrap();
        host.cloud.cloudformation.create(STACK, "Group");
        let boot = Self { host, key, role };
        for (name, script) in STAND_INS {
            boot.program(name, script);
        }
        boot.offer_bbb("the real one");
        Some(boot)
    }

    /// Puts a program into the host that fails as is planned.
    fn program(&self, name: &str, script: &str) {
        self.host.program(name, &format!("{}\n{script}\n", failures::planned(name)));
    }

    /// Puts this where the installer of BBB comes from. When it runs, it says so.
    fn offer_bbb(&self, words: &str) -> String {
        let state = self.host.path("state");
        let text = format!(
            "# {words}\nSTATE={0}\n{1}\necho \"$IP $INTERNAL_IP $*\" >'{0}/bbb'\n",
            state.display(),
            failures::planned("bbb-install.sh")
        );
        std::fs::write(state.join("bbb-install"), &text).unwrap();
        sha256(text.as_bytes())
    }

    fn hash(&self, version: &str) -> String {
        sha256(&self.host.cloud.s3.get(BUCKET, &format!("agents/{version}/SHA256SUMS")).unwrap())
    }

    fn started(&self, variables: &[(&str, &str)]) -> Running {
        self.start(&self.example(variables))
    }

    /// The example with these variables filled in.
    fn example(&self, variables: &[(&str, &str)]) -> String {
        let mut text = read(format!("packaging/userdata/{}-host.sh", self.role));
        let own = [
            ("bucket", BUCKET),
            ("stack", STACK),
            ("zone_id", "Z0123456789EXAMPLE"),
            ("domain", "example.org"),
            ("operator_email", "operator@example.org"),
            ("recordings_sender", "none"),
        ];
        let other = |name: &&(&str, &str)| self.role == "bbb" || name.0 != "recordings_sender";
        for (name, value) in own.iter().filter(other).chain(variables) {
            let begin = format!("{name}=");
            let line = text.lines().find(|line| line.starts_with(&begin)).expect("the variable").to_owned();
            text = text.replacen(&format!("\n{line}\n"), &format!("\n{begin}'{value}'\n"), 1);
        }
        text
    }

    /// Starts UserData. /root, /usr/local, /mnt and /opt are this host's own; it has no nft before it is installed.
    fn start(&self, user_data: &str) -> Running {
        let script = self.host.path("user-data");
        std::fs::write(&script, user_data).unwrap();
        let mut enter = "[ ! -e /usr/sbin/nft ] || mount --bind /dev/null /usr/sbin/nft\n".to_owned();
        for (own, at) in [("root", "/root"), ("local", "/usr/local"), ("mnt", "/mnt"), ("opt", "/opt")] {
            enter.push_str(&format!("mount --bind '{}' {at}\n", self.host.path(own).display()));
        }
        enter.push_str(&format!("exec bash '{}'\n", script.display()));
        Running::start(self.host.inside(&["sh", "-ec", &enter]))
    }

    async fn expect(&self, code: i32, variables: &[(&str, &str)]) -> Run {
        let run = self.started(variables).end().await;
        assert_eq!(run.code, code, "{variables:?} ended otherwise:\n{run}");
        run
    }

    /// The signals that the stack has got: whether each is of a success, and its id.
    fn signals(&self) -> Vec<(bool, String)> {
        let signals = self.host.cloud.cloudformation.signals(STACK);
        signals.into_iter().map(|signal| (signal.success, signal.id)).collect()
    }

    /// Nothing of the attacker's has run, nothing is installed, BBB's installer has not begun, and the stack knows.
    fn unharmed(&self, run: &Run) {
        let host = &self.host;
        assert!(!host.path("state/owned").exists(), "the attacker's script was run: {run}");
        assert_eq!((host.installed().as_str(), host.read("state/bbb").as_str()), ("", ""), "{run}");
    }

    fn evil_script(&self) -> String {
        format!("touch '{}'\n", self.host.path("state/owned").display())
    }

    /// The attacker's scripts as a release's, with checksums that fit them.
    fn evil(&self, version: &str) {
        let script = self.evil_script();
        let s3 = &self.host.cloud.s3;
        let mut sums = format!("{}  install.sh\n", sha256(script.as_bytes()));
        s3.put(BUCKET, &format!("agents/{version}/install.sh"), script.clone());
        for (name, _) in first_boot() {
            sums.push_str(&format!("{}  {name}\n", sha256(script.as_bytes())));
            s3.put(BUCKET, &format!("agents/{version}/{name}"), script.clone());
        }
        s3.put(BUCKET, &format!("agents/{version}/SHA256SUMS"), sums);
        s3.put(BUCKET, "agents/install.sh", script);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_the_release_that_its_user_data_trusts() {
    let Some(boot) = Boot::new().await else { return };
    let (hash, key) = (boot.hash("0.1.0"), boot.key.public.clone());
    let bbb = boot.offer_bbb("the real one");
    let fixed = [
        ("version", "0.1.0"),
        ("release_sha256", hash.as_str()),
        ("public_key", key.as_str()),
        ("bbb_installer_sha256", bbb.as_str()),
    ];
    let run = boot.expect(0, &fixed).await;
    assert_eq!(boot.host.installed(), "0.1.0", "{run}");
    assert!(!run.stderr.contains("all who can write"), "{run}");
    let facts = boot.host.cloud.imds.facts().unwrap();
    let (public, private) = (facts.public_ipv4.unwrap(), facts.local_ipv4.unwrap());
    assert!(boot.host.read("state/bbb").starts_with(&format!("{public} {private} -v jammy-300")), "{run}");
    assert_eq!(boot.host.read("state/agent"), "status --wait-for registered --timeout 1800\n");
    assert_eq!(boot.signals(), [(true, boot.host.cloud.imds.instance().to_owned())]);
    let guard = boot.host.read("etc/systemd/system/bbb-agent-metadata.service.d/50-install.conf");
    assert!(guard.contains("users { ec2-instance-connect }"), "{guard}");
    // A host that comes later finds a stack that waits for nobody. With the key alone, it follows what is signed as the
    // latest.
    boot.host.cloud.cloudformation.complete(STACK);
    boot.expect(0, &[("public_key", &key), ("minimum", "0.2.0")]).await;
    assert_eq!(boot.host.installed(), "0.2.0");
    assert_eq!(boot.host.read("var/cache/bbb-agent/latest"), "2026-11-01T00:00:00Z\n");
    // With neither it works as well, and says what that means.
    boot.expect(0, &[]).await.says(&["all who can write to s3://sandbox-sources are root on this host"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_to_the_bucket_does_not_become_root() {
    type Attack = fn(&Boot);
    let rows: [(&str, Attack, &str); 9] = [
        // The words in capitals are replaced below.
        ("version=0.1.0 release_sha256=HASH", |boot| boot.evil("0.1.0"), "is not what release_sha256 says"),
        (
            "version=0.1.0 release_sha256=HASH",
            |boot| boot.host.cloud.s3.put(BUCKET, "agents/0.1.0/install.sh", boot.evil_script()),
            "agents/0.1.0/install.sh was changed",
        ),
        (
            "version=0.1.0 release_sha256=HASH",
            |boot| boot.host.cloud.s3.put(BUCKET, "agents/0.1.0/host.sh", boot.evil_script()),
            "agents/0.1.0/host.sh was changed",
        ),
        ("release_sha256=HASH", |boot| boot.evil("0.2.0"), "the version cannot be latest"),
        ("public_key=KEY", |boot| boot.evil("0.2.0"), "agents/0.2.0 is not signed with public_key"),
        (
            "version=0.1.0 public_key=KEY",
            |boot| boot.evil("0.1.0"),
            "agents/0.1.0 is not signed with public_key",
        ),
        (
            "public_key=KEY",
            |boot| {
                let key = Key::new();
                boot.evil("0.2.0");
                boot.host.sign_release(&key, "0.2.0");
                boot.host.sign_latest(&key, "0.2.0", "2026-12-01T00:00:00Z");
            },
            "agents/latest is not signed with public_key",
        ),
        // An old release is signed as well, but as what it is.
        (
            "version=0.2.0 public_key=KEY",
            |boot| {
                for name in ["SHA256SUMS", "SHA256SUMS.minisig", "install.sh"] {
                    let old = boot.host.cloud.s3.get(BUCKET, &format!("agents/0.1.0/{name}")).unwrap();
                    boot.host.cloud.s3.put(BUCKET, &format!("agents/0.2.0/{name}"), old);
                }
            },
            "agents/0.2.0 is not signed with public_key",
        ),
        (
            "public_key=KEY minimum=0.2.0",
            |boot| boot.host.sign_latest(&boot.key, "0.1.0", "2026-10-01T00:00:00Z"),
            "0.1.0 is lower than the minimum 0.2.0",
        ),
    ];
    e2e::at_once(rows, |(variables, attack, words)| async move {
        let Some(boot) = Boot::new().await else { return };
        let variables = variables.replace("HASH", &boot.hash("0.1.0")).replace("KEY", &boot.key.public);
        // A key may end with equals signs.
        let variables: Vec<(&str, &str)> =
            variables.split(' ').filter_map(|variable| variable.split_once('=')).collect();
        attack(&boot);
        let run = boot.expect(1, &variables).await;
        run.says(&[words, "Nothing of it was run"]);
        boot.unharmed(&run);
        let signals = boot.signals();
        assert!(signals.len() == 1 && !signals[0].0, "{signals:?}\n{run}");
    })
    .await;
}

/// The bucket was deleted, and somebody else has registered its name.
#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_of_another_account_is_not_used() {
    let Some(boot) = Boot::new().await else { return };
    boot.evil("0.2.0");
    boot.host.cloud.s3.give_away(BUCKET, "666666666666");
    let mut run = boot.started(&[("bucket_owner", OWNER)]);
    run.said("attempt 1 failed: call s3", 1).await;
    run.signal("KILL").await;
    let run = run.end().await;
    run.says(&["AccessDenied"]);
    boot.unharmed(&run);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_installer_of_bbb_is_not_run() {
    let Some(boot) = Boot::new().await else { return };
    let hash = boot.offer_bbb("the real one");
    boot.offer_bbb("another one");
    let run = boot.expect(1, &[("bbb_installer_sha256", &hash)]).await;
    run.says(&["is not what bbb_installer_sha256 says", "Nothing of it was run"]);
    assert_eq!(boot.host.read("state/bbb"), "");
    assert_eq!(boot.host.installed(), "0.2.0", "the agent does not depend on it");
}

/// Each name that a first boot fetches is a file that packaging/build puts into a release.
#[test]
fn a_release_has_what_a_first_boot_fetches() {
    let built = "packaging/host/* cloudwatch/{bbb,turn}-agent.json";
    for script in ["packaging/build", "tests/boot/run"] {
        assert!(read(script).contains(built), "{script}");
    }
    let mut there: Vec<String> = first_boot().into_iter().map(|(name, _)| name).collect();
    there.push("install.sh".to_owned());
    let mut fetched = Vec::new();
    let files = [
        "userdata/bbb-host.sh",
        "host/host.sh",
        "host/bbb.sh",
        "host/turn.sh",
        "host/storage.sh",
        "host/logs.sh",
    ];
    for file in files {
        let script = read(format!("packaging/{file}"));
        let calls = script.lines().map(str::trim).filter_map(|line| line.strip_prefix("released "));
        let names =
            calls.flat_map(|name| ["bbb", "turn"].map(|role| name.trim_matches('"').replace("$role", role)));
        fetched.extend(names);
    }
    fetched.sort();
    fetched.dedup();
    there.sort();
    assert_eq!(fetched, there);
}

/// What UserData's functions do alone, on this host.
async fn part(boot: &Boot, call: &str) -> Output {
    let functions = user_data_functions("bbb");
    let text = format!("set -euo pipefail\nregion=eu-central-1 role=bbb stack=\n{functions}\n{call}\n");
    boot.host.inside(&["bash", "-c", &text]).output().await.unwrap()
}

/// The way in which `address` of packaging/host/host.sh asks, without its retries.
fn question() -> String {
    let functions = host_functions();
    let (_, function) = functions.split_once("\naddress() { again ").expect("the function");
    let (question, _) = function.split_once("; }\n").expect("its end");
    question.replace("\"$1\"", "public-ipv4")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_address_is_an_address() {
    let Some(boot) = Boot::new().await else { return };
    let (imds, marker) = (&boot.host.cloud.imds, boot.host.path("written"));
    let written = marker.display();
    let mut answers = vec![
        String::new(),
        format!("1.2.3.4\"\noutput = \"{written}"),
        format!("1.2.3.4\noutput = {written}"),
        format!("x\0\"\noutput = \"{written}"),
        "1.2.3.4/5".to_owned(),
        "1.2.3".to_owned(),
        "1.2.3.4.5".to_owned(),
        "1.2.3.4 -x".to_owned(),
        "1.2.3.4\n".to_owned(),
        "$(id)".to_owned(),
        "host.example.org".to_owned(),
        "::1".to_owned(),
        "1234.1.1.1".to_owned(),
        "\u{661}.\u{661}.\u{661}.\u{661}".to_owned(),
        "\\".to_owned(),
    ];
    answers.push("1".repeat(1 << 20));
    let call = format!("IP=$({})\necho \"went on with $IP\"", question());
    for answer in answers {
        for path in ["meta-data/public-ipv4", "api/token"] {
            imds.forge(path, Some(answer.clone().into()));
            let output = part(&boot, &call).await;
            imds.forge(path, None);
            let shown = answer.chars().take(100).collect::<String>();
            // A token may be any word; then the service refuses it.
            assert_eq!(output.status.code(), Some(1), "{path} {shown}: {output:?}");
            assert!(output.stdout.is_empty(), "{path} {shown}: {output:?}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!said.contains("Traceback") && said.len() < 1000, "{path} {shown}: {said}");
        }
    }
    let output = part(&boot, &question()).await;
    let address = imds.facts().unwrap().public_ipv4.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), address.to_string());
}

/// Whoever answers for the metadata service cannot have a request signed for a domain that is not AWS's, nor have words
/// of his in a header; and no key or token is in what is printed.
#[tokio::test(flavor = "multi_thread")]
async fn who_answers_for_the_metadata_service_gets_no_signature() {
    let Some(boot) = Boot::new().await else { return };
    let imds = &boot.host.cloud.imds;
    let role = "meta-data/iam/security-credentials/";
    let keys = |token: &str| {
        format!(r#"{{"AccessKeyId":"AKIA1","SecretAccessKey":"marked-secret","Token":"{token}"}}"#)
    };
    for (path, answer) in [
        ("meta-data/services/domain", "evil.example.org".to_owned()),
        ("meta-data/services/domain", "amazonaws.com\n.evil.example.org".to_owned()),
        ("meta-data/services/domain", "amazonawsxcom".to_owned()),
        (role, "../../user-data".to_owned()),
        (role, "a b".to_owned()),
        ("meta-data/iam/security-credentials/ROLE", keys("marked-secret\\nX-Evil: 1")),
        ("meta-data/iam/security-credentials/ROLE", "[]".to_owned()),
        ("meta-data/iam/security-credentials/ROLE", "marked-secret".to_owned()),
    ] {
        let own = part(&boot, "call imds iam/security-credentials/ '.*'").await;
        let path = path.replace("ROLE", &String::from_utf8(own.stdout).unwrap());
        imds.forge(&path, Some(answer.clone().into()));
        // Without the endpoint of the embedded cloud, it would have to go to AWS's.
        let output = part(&boot, "unset AWS_ENDPOINT_URL\ncall s3 /bucket/key ''").await;
        imds.forge(&path, None);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{path} {answer}: {said}");
        assert!(output.stdout.is_empty() && !said.contains("marked-secret"), "{path} {answer}: {said}");
        assert!(!said.contains("gaierror"), "{path} {answer}: it asked for a name: {said}");
    }
}
