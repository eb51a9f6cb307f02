//! Every outside command of a first boot fails once: UserData goes on. It fails for good: UserData ends with a line that
//! names it, and a signal with the same words.

use sandbox::cloud::BUCKET;
use sandbox::faults::{Fault, Planned};
use sandbox::http::ServiceName::{self, CloudFormation, Imds, S3, SecretsManager};

use super::{Boot, STACK};
use crate::install::host::sha256;
use crate::read;

/// The beginning of a program that fails as [`Trouble::Program`] has it.
pub(super) fn planned(name: &str) -> String {
    format!(
        r#"if [ -s "$STATE/trouble" ]; then
    read -r often pattern <"$STATE/trouble"
    case "{name} $*" in *"$pattern"*)
        echo "{name} $*" >>"$STATE/troubled"
        [ "$often" = always ] || rm "$STATE/trouble"
        exit 7 ;;
    esac
fi"#
    )
}

/// What fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// A program whose command line contains this.
    Program(&'static str),
    /// A service, for actions that begin like this.
    Service(ServiceName, &'static str),
}

use Trouble::{Program, Service};

impl Trouble {
    pub(super) fn begins(self, boot: &Boot, often: &str) {
        match self {
            Program(pattern) => {
                std::fs::write(boot.host.path("state/trouble"), format!("{often} {pattern}\n")).unwrap();
            }
            Service(service, action) => {
                let times = (often == "once").then_some(1);
                let fault = Fault::Error { status: 503, code: "ServiceUnavailable".to_owned() };
                boot.host.cloud.faults.plan(Planned {
                    service,
                    action: Some(action.to_owned()),
                    fault,
                    times,
                });
            }
        }
    }

    pub(super) fn happened(self, boot: &Boot) -> usize {
        match self {
            Program(_) => boot.host.read("state/troubled").lines().count(),
            Service(service, action) => {
                let entries = boot.host.cloud.journal.entries().into_iter();
                let asked =
                    entries.filter(|entry| entry.service == service && entry.action.starts_with(action));
                asked.filter(|entry| entry.status == Some(503)).count()
            }
        }
    }
}

/// The role, what fails, how often it is tried, and what is said when it has failed for good.
const ROWS: [(&str, Trouble, usize, &str); 25] = [
    ("bbb", Program("apt-get -qq update"), 30, "30 times: apt-get -qq update"),
    ("bbb", Program("install -y nftables"), 30, "30 times: apt-get"),
    ("bbb", Program("wget "), 30, "30 times: wget"),
    ("bbb", Program("bbb-install.sh -v"), 3, "three times: run_installer"),
    ("bbb", Program("ss -Hltn"), 3, "three times: run_installer"),
    ("bbb", Service(S3, "GetObject agents/latest.minisig"), 30, "30 times: call s3"),
    ("bbb", Service(S3, "GetObject agents/0.2.0/SHA256SUMS"), 30, "30 times: call s3"),
    ("bbb", Service(S3, "GetObject agents/0.2.0/SHA256SUMS.minisig"), 30, "30 times: call s3"),
    ("bbb", Service(S3, "GetObject agents/0.2.0/host.sh"), 30, "30 times: call s3"),
    ("bbb", Service(S3, "GetObject agents/0.2.0/bbb.sh"), 30, "30 times: call s3"),
    ("bbb", Service(S3, "GetObject agents/0.2.0/install.sh"), 30, "30 times: call s3"),
    ("bbb", Service(Imds, "GET /latest/meta-data/public-ipv4"), 30, "install BigBlueButton (jammy-300)"),
    ("bbb", Service(Imds, "GET /latest/meta-data/local-ipv4"), 30, "install BigBlueButton (jammy-300)"),
    ("turn", Program("apt-get -qq update"), 30, "30 times: apt-get -qq update"),
    ("turn", Program("install -y coturn certbot"), 30, "30 times: apt-get"),
    ("turn", Program("certbot certonly"), 3, "three times: certbot certonly"),
    ("turn", Program("systemctl mask"), 30, "30 times: systemctl mask"),
    ("turn", Program("systemctl stop"), 30, "30 times: systemctl stop"),
    ("turn", Program("systemctl unmask"), 30, "30 times: systemctl unmask"),
    ("turn", Program("systemctl daemon-reload"), 30, "30 times: systemctl daemon-reload"),
    ("turn", Program("systemctl enable"), 30, "30 times: systemctl enable"),
    ("turn", Program("systemctl restart"), 30, "30 times: systemctl restart"),
    ("turn", Service(SecretsManager, "GetSecretValue"), 30, "configure coturn"),
    ("turn", Service(S3, "GetObject agents/0.2.0/turn.sh"), 30, "30 times: call s3"),
    ("turn", Service(S3, "GetObject agents/0.2.0/host.sh"), 30, "30 times: call s3"),
];

/// Programs of a host whose agent is installed by a script that only says so: install.sh has tests of its own.
const PROGRAMS: [(&str, &str); 9] = [
    ("sleep", ""),
    (
        "apt-get",
        r#"case $* in *nftables*) printf '#!/bin/sh\n' >"${0%/*}/nft"; chmod 755 "${0%/*}/nft" ;; esac"#,
    ),
    ("systemctl", r#"case $* in *is-enabled*) echo masked ;; esac"#),
    (
        "certbot",
        r#"echo "certbot $*" >>"$STATE/commands"
for name; do :; done
mkdir -p "/etc/letsencrypt/live/$name"
touch "/etc/letsencrypt/live/$name/fullchain.pem" "/etc/letsencrypt/live/$name/privkey.pem""#,
    ),
    // There is no group of coturn's here.
    ("chown", ""),
    (
        "install",
        r#"for word; do shift; case $word in root | turnserver | adm | -o | -g) ;; *) set -- "$@" "$word" ;; esac; done
exec /usr/bin/install "$@""#,
    ),
    ("turn-agent", r#"echo "$*" >>"$STATE/agent""#),
    ("use-certificate", r#"echo "$*" >>"$STATE/used""#),
    ("install-agent", ""),
];

pub(super) async fn boot(role: &'static str) -> Option<Boot> {
    let boot = Boot::of(role).await?;
    for (name, script) in PROGRAMS {
        boot.program(name, script);
    }
    std::fs::remove_file(boot.host.path("bin/nft")).unwrap();
    let s3 = &boot.host.cloud.s3;
    let installer = format!("#!/bin/sh\necho \"$*\" >'{}'\n", boot.host.path("state/install").display());
    let sums = String::from_utf8(s3.get(BUCKET, "agents/0.2.0/SHA256SUMS").unwrap().to_vec()).unwrap();
    let others = sums.lines().filter(|line| !line.ends_with("  install.sh"));
    let mut sums: String = others.map(|line| format!("{line}\n")).collect();
    sums.push_str(&format!("{}  install.sh\n", sha256(installer.as_bytes())));
    s3.put(BUCKET, "agents/0.2.0/SHA256SUMS", sums);
    s3.put(BUCKET, "agents/0.2.0/install.sh", installer);
    boot.host.sign_release(&boot.key, "0.2.0");
    let secret = serde_json::json!({ "turnkeyvalue": "a-secret-of-coturn" });
    boot.host.cloud.secrets.put("Turn", &secret.to_string());
    Some(boot)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_once_is_tried_again() {
    e2e::at_once(ROWS, |(role, trouble, ..)| async move {
        let Some(boot) = boot(role).await else { return };
        trouble.begins(&boot, "once");
        let run = boot.expect(0, &[("public_key", &boot.key.public)]).await;
        assert_eq!(trouble.happened(&boot), 1, "{role} {trouble:?}: {run}");
        assert_eq!(
            boot.signals(),
            [(true, boot.host.cloud.imds.instance().to_owned())],
            "{role} {trouble:?}: {run}"
        );
        assert!(boot.host.read("state/install").starts_with(&format!("--wait 1800 --role {role} ")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_ends_with_its_reason_and_a_signal() {
    e2e::at_once(ROWS, |(role, trouble, times, words)| async move {
        let Some(boot) = boot(role).await else { return };
        let (cloud, instance) = (&boot.host.cloud, boot.host.cloud.imds.instance().to_owned());
        cloud.fleet.protect(&cloud.group, std::slice::from_ref(&instance), true).unwrap();
        trouble.begins(&boot, "always");
        // A group is named as its stack.
        cloud.cloudformation.create(&cloud.group, "Group");
        let run = boot.expect(1, &[("public_key", &boot.key.public), ("stack", &cloud.group)]).await;
        assert_eq!(trouble.happened(&boot), times, "{role} {trouble:?}: {run}");
        let last = run.stderr.lines().rfind(|line| line.starts_with("UserData: this host is not ready."));
        assert!(last.is_some_and(|line| line.contains(words)), "{role} {trouble:?}: {run}");
        let signals = cloud.cloudformation.signals(&cloud.group);
        let [signal] = &signals[..] else { panic!("{role} {trouble:?}: {signals:?}\n{run}") };
        let reason = signal.id.strip_suffix(instance.as_str()).expect("the instance");
        let shown = last.unwrap().rsplit_once("failed: ").unwrap().1.chars().take(20);
        let shown: String = shown.collect();
        assert!(!signal.success && reason.starts_with(&shown), "{role} {trouble:?}: {signal:?} {shown}");
        // The group, or a stack that is deleted, may end it.
        let protected = cloud.fleet.membership(&instance).unwrap().1.protected;
        assert_eq!(
            protected,
            role == "turn",
            "{role} {trouble:?}: only hosts of BigBlueButton are protected\n{run}"
        );
    })
    .await;
}

/// The agent's word counts, with its exit codes.
#[tokio::test(flavor = "multi_thread")]
async fn the_signal_is_what_the_agent_says() {
    for (code, ends, signals) in
        [(0, 0, vec![true]), (6, 0, vec![]), (4, 1, vec![false]), (1, 1, vec![false])]
    {
        let Some(boot) = boot("bbb").await else { return };
        boot.program("bbb-agent", &format!("exit {code}"));
        let run = boot.expect(ends, &[("public_key", &boot.key.public)]).await;
        let sent: Vec<bool> = boot.signals().into_iter().map(|(success, _)| success).collect();
        assert_eq!(sent, signals, "{code}: {run}");
    }
}

/// Nothing depends on a signal that cannot be sent, and it is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_is_lost_is_sent_again() {
    for often in ["once", "always"] {
        let Some(boot) = boot("turn").await else { return };
        let trouble = Service(CloudFormation, "SignalResource");
        trouble.begins(&boot, often);
        let run = boot.expect(0, &[("public_key", &boot.key.public)]).await;
        assert_eq!(trouble.happened(&boot), if often == "once" { 1 } else { 5 }, "{run}");
        assert_eq!(boot.signals().len(), usize::from(often == "once"), "{run}");
        if often == "always" {
            run.says(&["SignalResource", "answered 503 ServiceUnavailable"]);
        }
    }
}

/// Hosts without a stack say nothing, and a host that comes when its stack is complete is no failure.
#[tokio::test(flavor = "multi_thread")]
async fn not_every_host_has_a_stack_that_waits() {
    let Some(boot) = boot("turn").await else { return };
    boot.expect(0, &[("public_key", &boot.key.public), ("stack", "")]).await;
    assert_eq!(boot.host.cloud.journal.count(CloudFormation, ""), 0);
    boot.host.cloud.cloudformation.complete(STACK);
    boot.expect(0, &[("public_key", &boot.key.public)]).await.says(&["answered 400 ValidationError"]);
    assert_eq!(boot.host.cloud.journal.count(CloudFormation, ""), 1, "once is enough");
}

/// A mirror, a store or a server may not answer at a first boot: nothing from outside is asked for only once. A function
/// that tells failures apart is itself tried again.
#[test]
fn nothing_from_outside_is_asked_for_only_once() {
    let outside =
        ["apt-get ", "wget ", "curl ", "call s3", "call secretsmanager", "certbot certonly", "gem install"];
    let files = [
        "userdata/bbb-host.sh",
        "userdata/turn-host.sh",
        "host/host.sh",
        "host/bbb.sh",
        "host/turn.sh",
        "host/storage.sh",
        "host/logs.sh",
    ];
    let mut found = 0;
    for file in files {
        let script = read(format!("packaging/{file}"));
        let mut function = "";
        for line in script.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            function = line.strip_suffix("() {").unwrap_or(function);
            if outside.iter().any(|part| line.contains(part)) {
                let again = ["again ", "slowly "].iter().any(|word| line.contains(word))
                    || script.contains(&format!("again {function} "));
                assert!(again, "{file}: {line}");
                found += 1;
            }
        }
    }
    assert!(found >= 9, "{found}");
}
