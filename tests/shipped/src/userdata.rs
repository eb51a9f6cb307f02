//! packaging/userdata as cloud-init runs it: with the real aws CLI and the real install.sh, against the embedded cloud. The
//! attacker can write to the bucket, owns it, or answers for the metadata service.

use std::process::Output;

use e2e::{Run, Running};
use sandbox::cloud::BUCKET;

use crate::install::host::{Host, Key, Service, With, sha256};
use crate::read;

const SCRIPT: &str = "packaging/userdata/bbb-host.sh";
const OWNER: &str = "123456789012";

/// A host at its first boot, with a signed release.
struct Boot {
    host: Host,
    key: Key,
}

impl Boot {
    async fn new() -> Option<Self> {
        let host = Host::new(With::Aws).await?;
        let key = Key::new();
        for version in ["0.1.0", "0.2.0"] {
            host.release(version, Service::Ready);
            host.sign_release(&key, version);
        }
        host.sign_latest(&key, "0.2.0", "2026-11-01T00:00:00Z");
        std::fs::create_dir(host.path("root")).unwrap();
        let imds = host.cloud.imds_address();
        host.program("curl", &format!("exec /usr/bin/curl \"$@\" --connect-to 169.254.169.254:80:{imds}\n"));
        host.program("wget", "cp \"$STATE/bbb-install\" \"$2\"\n");
        host.program("nft", "");
        let boot = Self { host, key };
        boot.offer_bbb("the real one");
        Some(boot)
    }

    /// Puts this where the installer of BBB comes from. When it runs, it says so.
    fn offer_bbb(&self, words: &str) -> String {
        let state = self.host.path("state");
        let text = format!("# {words}\necho \"$IP $INTERNAL_IP $*\" >'{}/bbb'\n", state.display());
        std::fs::write(state.join("bbb-install"), &text).unwrap();
        sha256(text.as_bytes())
    }

    fn hash(&self, version: &str) -> String {
        sha256(&self.host.cloud.s3.get(BUCKET, &format!("agents/{version}/SHA256SUMS")).unwrap())
    }

    /// UserData with these variables filled in. /root is this host's own: see [`Host::inside`].
    fn started(&self, variables: &[(&str, &str)]) -> Running {
        let mut text = read(SCRIPT).replace("/root/", &format!("{}/", self.host.path("root").display()));
        let own = [
            ("bucket", BUCKET),
            ("zone_id", "Z0123456789EXAMPLE"),
            ("domain", "example.org"),
            ("operator_email", "operator@example.org"),
        ];
        for (name, value) in own.iter().chain(variables) {
            let begin = format!("{name}=");
            let line = text.lines().find(|line| line.starts_with(&begin)).expect("the variable").to_owned();
            text = text.replacen(&format!("\n{line}\n"), &format!("\n{begin}'{value}'\n"), 1);
        }
        let script = self.host.path("user-data");
        std::fs::write(&script, text).unwrap();
        Running::start(self.host.inside(&["bash", script.to_str().unwrap()]))
    }

    async fn expect(&self, code: i32, variables: &[(&str, &str)]) -> Run {
        let run = self.started(variables).end().await;
        assert_eq!(run.code, code, "{variables:?} ended otherwise:\n{run}");
        run
    }

    /// Nothing of the attacker's has run, nothing is installed, and BBB's installer has not begun.
    fn unharmed(&self, run: &Run) {
        let host = &self.host;
        assert!(!host.path("state/owned").exists(), "the attacker's script was run: {run}");
        assert_eq!((host.installed().as_str(), host.read("state/bbb").as_str()), ("", ""), "{run}");
    }

    fn evil_script(&self) -> String {
        format!("touch '{}'\n", self.host.path("state/owned").display())
    }

    /// The attacker's installer as a release's, with checksums that fit it.
    fn evil(&self, version: &str) {
        let script = self.evil_script();
        let s3 = &self.host.cloud.s3;
        let sums = format!("{}  install.sh\n", sha256(script.as_bytes()));
        s3.put(BUCKET, &format!("agents/{version}/SHA256SUMS"), sums);
        s3.put(BUCKET, &format!("agents/{version}/install.sh"), script.clone());
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
    let guard = boot.host.read("etc/systemd/system/bbb-agent-metadata.service.d/50-install.conf");
    assert!(guard.contains("users { ec2-instance-connect }"), "{guard}");
    // With the key alone, it follows what is signed as the latest.
    boot.expect(0, &[("public_key", &key), ("minimum", "0.2.0")]).await;
    assert_eq!(boot.host.installed(), "0.2.0");
    assert_eq!(boot.host.read("var/cache/bbb-agent/latest"), "2026-11-01T00:00:00Z\n");
    // With neither it works as well, and says what that means.
    boot.expect(0, &[]).await.says(&["all who can write to s3://sandbox-sources are root on this host"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_to_the_bucket_does_not_become_root() {
    type Attack = fn(&Boot);
    let rows: [(&str, Attack, &str); 8] = [
        // The words in capitals are replaced below.
        ("version=0.1.0 release_sha256=HASH", |boot| boot.evil("0.1.0"), "is not what release_sha256 says"),
        (
            "version=0.1.0 release_sha256=HASH",
            |boot| boot.host.cloud.s3.put(BUCKET, "agents/0.1.0/install.sh", boot.evil_script()),
            "agents/0.1.0/install.sh was changed",
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
    run.said("attempt 1 failed: aws s3api get-object", 1).await;
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

/// What a part of UserData does alone, on this host.
async fn part(boot: &Boot, function: &str, call: &str) -> Output {
    let script = read(SCRIPT);
    let of = |name: &str| {
        let (_, rest) = script.split_once(&format!("\n{name}() {{\n")).expect("the function");
        let (body, _) = rest.split_once("\n}\n").expect("its end");
        format!("{name}() {{\n{body}\n}}\n")
    };
    let text = format!("set -euo pipefail\n{}{}{call}\n", of("stop"), of(function));
    boot.host.inside(&["bash", "-c", &text]).output().await.unwrap()
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
        "$(id)".to_owned(),
        "host.example.org".to_owned(),
        "::1".to_owned(),
        "1234.1.1.1".to_owned(),
        "\\".to_owned(),
    ];
    answers.push("1".repeat(1 << 20));
    for answer in answers {
        for path in ["meta-data/public-ipv4", "api/token"] {
            imds.forge(path, Some(answer.clone().into()));
            let output = part(&boot, "address", "IP=$(address public-ipv4)\necho \"went on with $IP\"").await;
            imds.forge(path, None);
            let shown = answer.chars().take(100).collect::<String>();
            // A token may be any word; then the service refuses it.
            assert_eq!(output.status.code(), Some(1), "{path} {shown}: {output:?}");
            assert!(output.stdout.is_empty(), "{path} {shown}: {output:?}");
            assert!(!marker.exists(), "{path} {shown}: a file was written");
        }
    }
    let output = part(&boot, "address", "address local-ipv4").await;
    let address = imds.facts().unwrap().local_ipv4.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{address}\n"));
}

/// A mirror, a store or a server may not answer at a first boot: nothing from outside is asked for only once.
#[test]
fn every_fetch_from_outside_is_tried_again() {
    for role in ["bbb", "turn"] {
        let script = read(format!("packaging/userdata/{role}-host.sh"));
        let commands = script.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let outside: Vec<&str> = commands
            .filter(|line| {
                ["apt-get ", "snap install", "wget ", "aws s3api"].iter().any(|part| line.contains(part))
            })
            .collect();
        assert!(outside.len() >= 5, "{outside:?}");
        for line in outside {
            assert!(line.contains("again "), "{role}: {line}");
        }
    }
}
