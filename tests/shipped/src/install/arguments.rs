//! The command line, and the settings that are made from it.

use e2e::Running;
use sandbox::http::ServiceName;

use super::host::{Host, Service, With};

const SECRET: &str = "4d6c2fTheSecretItself";
const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test(flavor = "multi_thread")]
async fn bad_arguments_are_refused_before_anything_is_done() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    let rows: [(&[&str], &str); 35] = [
        (&["--role", "web"], "--role: bbb or turn, not 'web'"),
        (&["--bucket", "s3://sources"], "without s3://"),
        (&["--bucket", "Sources"], "not the name of a bucket"),
        (&["--zone-id", "/hostedzone/Z1"], "not the id of a hosted zone"),
        (&["--zone-id", "A123"], "not the id of a hosted zone"),
        (&["--domain", "example"], "not a domain"),
        (&["--domain", "-a.example.org"], "not a domain"),
        (&["--domain", "a\"b.example.org"], "not a domain"),
        (&["--domain", "example.org\n[x]"], "a control character"),
        (&["--version", "../0.1.0"], "not a version"),
        (&["--prefix", "/agents"], "not a prefix"),
        (&["--prefix", "a/../b"], "not a prefix"),
        (&["--region", "eu central"], "not a region"),
        (&["--wait", "soon"], "a number of seconds"),
        (&["--wait", "0"], "a number of seconds"),
        (&["--public-key", "ABC"], "not a minisign key"),
        (&["--metadata-user", "cwagent"], "it needs --guard-metadata"),
        (&["--guard-metadata", "--metadata-user", "a }; flush ruleset"], "is not the name of a user"),
        (&["--bucket-owner", "12345678901"], "an account's number of 12 digits"),
        (&["--bucket-owner", "12345678901\""], "an account's number of 12 digits"),
        (&["--minimum", "latest"], "--minimum: 'latest' is not a version"),
        (&["--version", "0.1.0", "--release-sha256", "0123"], "64 hexadecimal digits"),
        (&["--release-sha256", HASH], "--version has to say which"),
        (&["--scalelite-url", "https://s.example.org"], "the one needs the other"),
        (&["--scalelite-secret", "file:/etc/x"], "the one needs the other"),
        (
            &["--scalelite-url", "ftp://s.example.org", "--scalelite-secret", "file:/etc/x"],
            "https:// or http://",
        ),
        (
            &["--scalelite-url", "https://u:p@s.example.org", "--scalelite-secret", "file:/etc/x"],
            "without user",
        ),
        (&["--scalelite-secret", SECRET], "say where the secret is"),
        (&["--set", SECRET], "KEY=VALUE is needed"),
        (&["--set", "scalelite.secret=4d6c2fTheSecretItself"], "has an option of its own"),
        (&["--set", "other.secret=4d6c2fTheSecretItself"], "a secret is no setting"),
        (&["--set", "dns.ttl=1", "--set", "dns.ttl=2"], "dns.ttl stands there twice"),
        (&["--set", "dns.ttl]=1"], "a key such as dns.ttl"),
        (&["--nothing", "1"], "there is no such option"),
        (&["--version"], "a value has to follow"),
    ];
    for (arguments, words) in rows {
        let run = host.expect(2, arguments).await;
        run.says(&[words, "Nothing was changed"]);
        assert!(!run.stderr.contains(SECRET), "{run}");
    }
    for missing in ["--role", "--bucket", "--zone-id", "--domain"] {
        let all = [["--role", "bbb"], ["--bucket", "abc"], ["--zone-id", "Z1"], ["--domain", "a.org"]];
        let rest: Vec<&str> = all.into_iter().filter(|[name, _]| *name != missing).flatten().collect();
        let run = Running::start(host.bare_command(&rest)).end().await;
        assert_eq!(run.code, 2, "{run}");
        run.says(&[missing, "is missing"]);
    }
    let mut turn = host.command(&["--role", "turn", "--scalelite-url", "https://s.example.org"]);
    turn.arg("--scalelite-secret").arg("file:/x");
    let run = Running::start(turn).end().await;
    assert_eq!(run.code, 2, "{run}");
    assert_eq!(host.cloud.journal.count(ServiceName::S3, ""), 0);
    assert_eq!(host.changes(), [""; 0]);
}

/// A domain with which the default name has this many characters.
fn domain_for(length: usize) -> String {
    let rest = length - "vc-0123456789abcdef0..example.org".len();
    format!("{}.example.org", "x".repeat(rest))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_linux_does_not_take_is_refused_with_the_arithmetic() {
    let Some(host) = Host::new(With::Busybox).await else { return };
    host.release("0.1.0", Service::Ready);
    let long = domain_for(65);
    for role in ["bbb", "turn"] {
        let run = host.expect(2, &["--hostname", "--role", role, "--domain", &long]).await;
        run.says(&[
            &long,
            "has 65 characters (20 before the first dot, the dot, 44 after it)",
            "Linux allows 64 in the name of a host",
            "Nothing was changed",
        ]);
    }
    assert_eq!(host.cloud.journal.count(ServiceName::S3, ""), 0, "nothing was fetched");

    // Another template: only the agent knows the name.
    let template = ["--hostname", "--domain", &long, "--set", "dns.hostname=server-{instance}"];
    let run = host.expect(1, &template).await;
    run.says(&["has 69 characters (24 before the first dot, the dot, 44 after it)", "Nothing was changed"]);
    assert_eq!(host.changes(), [""; 0]);
    host.expect(0, &["--domain", &long]).await;
    let short = ["--hostname", "--domain", &long, "--set", "dns.hostname=s-{instance}"];
    host.expect(0, &short).await.says(&["this host is called s-0123456789abcdef0."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_name_is_taken() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    host.expect(0, &["--hostname", "--domain", &domain_for(64)]).await.says(&["this host is called vc-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_is_the_scripts_own_head() {
    let Some(host) = Host::new(With::Busybox).await else { return };
    let run = host.expect(0, &["--help"]).await;
    run.says(&["install.sh --role bbb|turn", "--scalelite-secret REFERENCE", "Exit codes: 0 ready"]);
    assert!(!run.stdout.contains("set -eu"), "{run}");
}

/// The agent itself reads the file with the settings, so quoting that is wrong ends the run.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_quoted_as_toml_wants_them() {
    e2e::at_once([With::Curl, With::Busybox], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.release("0.1.0", Service::Ready);
        let settings = [
            r#"drain.message=say "hi" \ {minutes} 'x' # $HOME `id`"#,
            "dns.ttl=120",
            "dns.ipv6=false",
            "scalelite.load_multiplier=1.5",
            r#"drain.announce=["30", "5"]"#,
            r#"scalelite.tag="007""#,
            "bbb.reader=",
        ];
        let mut arguments = vec!["--scalelite-url", "https://scalelite.example.org"];
        arguments.extend(["--scalelite-secret", r#"file:/etc/a"b\c"#]);
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        host.expect(0, &arguments).await;
        let expected = r#"
dns.zone_id = "Z0123456789EXAMPLE"
dns.domain = "example.org"
scalelite.url = "https://scalelite.example.org"
scalelite.secret = "file:/etc/a\"b\\c"
drain.message = "say \"hi\" \\ {minutes} 'x' # $HOME `id`"
dns.ttl = 120
dns.ipv6 = false
scalelite.load_multiplier = 1.5
drain.announce = ["30", "5"]
scalelite.tag = "007"
bbb.reader = ""
"#;
        let settings = host.settings();
        assert_eq!(settings.split_once('\n').unwrap().1, expected.trim_start(), "{settings}");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &host.path("etc/bbb-agent/config.d/50-install.toml").metadata().unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o644);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_the_agent_does_not_accept_change_nothing() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    let run = host.expect(1, &["--set", "dns.ttl=soon", "--set", "dns.nothing=1"]).await;
    run.says(&[
        "does not accept the settings",
        "/etc/bbb-agent/config.d/50-install.toml:",
        "dns.ttl",
        "dns.nothing",
    ]);
    assert_eq!(host.changes(), [""; 0]);
    assert_eq!(host.settings(), "");
}
