//! What happens to a host that has the agent already, or nearly.

use e2e::Running;
use sandbox::cloud::BUCKET;
use sandbox::http::ServiceName;

use super::host::{Host, Service, With};

/// Enabled again, which changes nothing.
const ENABLED: &str = "systemctl --quiet enable bbb-agent.service";

async fn installed() -> Option<Host> {
    let host = Host::new(With::Curl).await?;
    host.release("0.1.0", Service::Ready);
    host.expect(0, &[]).await;
    host.changes();
    host.cloud.journal.clear();
    Some(host)
}

fn packages(host: &Host) -> Vec<String> {
    let entries = std::fs::read_dir(host.path("var/cache/bbb-agent")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_run_changes_nothing_and_fetches_little() {
    let Some(host) = installed().await else { return };
    host.expect(0, &[]).await.says(&["is here already", "installed with these settings", "0.1.0 is ready"]);
    assert_eq!(host.changes(), [ENABLED]);
    assert_eq!(host.starts(), "1");
    assert_eq!(host.cloud.journal.count(ServiceName::S3, "GetObject"), 2, "latest and SHA256SUMS");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_restarts_the_service_once() {
    let Some(host) = installed().await else { return };
    host.release("0.2.0", Service::Ready);
    host.expect(0, &["--set", "dns.ttl=120"]).await.says(&["0.2.0 is ready"]);
    assert_eq!(host.changes(), ["dpkg bbb-agent_0.2.0_amd64.deb", ENABLED]);
    assert_eq!((host.installed().as_str(), host.starts().as_str()), ("0.2.0", "2"));
    assert!(host.settings().contains("dns.ttl = 120\n"), "{}", host.settings());
    assert_eq!(packages(&host), ["bbb-agent_0.2.0_amd64.deb"]);
    // And back, which has to be meant.
    let run = host.expect(1, &["--version", "0.1.0"]).await;
    run.says(&["bbb-agent 0.2.0 is installed, and 0.1.0 is lower: --allow-downgrade", "Nothing was changed"]);
    host.cloud.s3.put(BUCKET, "agents/latest", "0.1.0\n");
    host.expect(1, &[]).await.says(&["--allow-downgrade installs it", "Nothing was changed"]);
    assert_eq!((host.changes(), host.starts().as_str()), (vec![], "2"));
    host.expect(0, &["--allow-downgrade"]).await;
    assert_eq!((host.installed().as_str(), host.starts().as_str()), ("0.1.0", "3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_settings_restart_the_service_and_install_nothing() {
    let Some(host) = installed().await else { return };
    host.expect(0, &["--set", "dns.ttl=120"]).await;
    assert_eq!(host.changes(), ["systemctl --no-block restart bbb-agent.service", ENABLED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_get_ready_is_taken_back() {
    e2e::at_once(
        [(Service::Waits, "activating"), (Service::Fails, "failed")],
        |(service, word)| async move {
            let Some(host) = installed().await else { return };
            let before = host.settings();
            host.release("0.2.0", service);
            let run = host.expect(1, &["--wait", "2", "--set", "dns.ttl=120"]).await;
            run.says(&[
                "0.2.0 is not ready",
                word,
                "the last line of the journal",
                "0.2.0 was not taken over",
            ]);
            assert_eq!(host.installed(), "0.1.0");
            assert_eq!(host.settings(), before);
            assert_eq!(host.read("state/active"), "active\n");
            assert_eq!(packages(&host), ["bbb-agent_0.1.0_amd64.deb"]);
            assert_eq!(host.starts(), "3", "the old one, the new one, the old one");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_with_which_the_service_does_not_get_ready_are_taken_back() {
    let Some(host) = installed().await else { return };
    let before = host.settings();
    // The stand-in for systemd has a service that never gets ready with this.
    host.expect(1, &["--wait", "2", "--set", "log.level=error"]).await.says(&["the service runs as before"]);
    assert_eq!((host.settings(), host.installed()), (before, "0.1.0".to_owned()));
    assert_eq!(host.read("state/active"), "active\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_dpkg_refuses_is_taken_back() {
    let Some(host) = installed().await else { return };
    let before = host.settings();
    host.release_with("0.2.0", Service::Ready, "X-Broken: yes\n");
    let run = host.expect(1, &["--set", "dns.ttl=120"]).await;
    run.says(&["error processing archive", "the service runs as before"]);
    assert_eq!((host.settings(), host.installed()), (before, "0.1.0".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_installation_that_does_not_get_ready_stays() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Waits);
    let run = host.expect(1, &["--wait", "1"]).await;
    run.says(&["0.1.0 stays installed", "keeps trying by itself"]);
    assert_eq!(host.installed(), "0.1.0");
    assert!(host.settings().contains("example.org"));
    // A version that repairs it has nothing to lose.
    host.release("0.2.0", Service::Ready);
    host.expect(0, &["--wait", "1"]).await;
    assert_eq!(host.installed(), "0.2.0");
}

/// What counts is what was there before the run that was cut short.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_is_completed_or_taken_back_by_the_next() {
    let Some(host) = installed().await else { return };
    let before = host.settings();
    host.release("0.2.0", Service::Waits);
    let arguments = ["--set", "dns.ttl=120", "--wait"];
    let mut first = Running::start(host.command(&[&arguments[..], &["900"]].concat()));
    first.said("waiting until bbb-agent is ready", 1).await;
    let waits = Running::start(host.command(&[&arguments[..], &["5"]].concat()));
    let mut second = waits;
    second.said("another install.sh is at work", 1).await;
    first.signal("KILL").await;
    first.end().await;
    let run = second.end().await;
    assert_eq!(run.code, 1, "{run}");
    run.says(&["0.2.0 was not taken over; the service runs as before"]);
    assert_eq!((host.installed(), host.settings()), ("0.1.0".to_owned(), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_else_installs_packages_is_waited_for() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    std::fs::write(host.path("state/locked"), "once\n").unwrap();
    host.expect(0, &[]).await.says(&["another process installs packages; waiting for it"]);
    assert_eq!(host.installed(), "0.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_service_is_guarded_where_that_is_wanted() {
    let Some(host) = installed().await else { return };
    host.program("nft", "");
    let drop_in = || host.read("etc/systemd/system/bbb-agent-metadata.service.d/50-install.conf");
    let changed = [
        "systemctl daemon-reload",
        "systemctl --quiet enable bbb-agent-metadata.service",
        "systemctl restart bbb-agent-metadata.service",
        ENABLED,
    ];
    let cwagent = ["--guard-metadata", "--metadata-user", "cwagent"];
    host.expect(0, &cwagent).await.says(&["only root, bbb-agent and cwagent reach the metadata service now"]);
    assert_eq!(host.changes(), changed);
    let line = "ExecStart=-/usr/sbin/nft add element inet bbb-agent-metadata users { cwagent }\n";
    assert!(drop_in().ends_with(&format!("[Service]\n{line}")), "{}", drop_in());
    host.expect(0, &cwagent).await;
    assert_eq!(host.changes(), [ENABLED], "the second time");
    host.expect(0, &["--guard-metadata"]).await;
    assert_eq!(host.changes(), changed, "a user less");
    assert!(!drop_in().contains("cwagent"), "{}", drop_in());
    // Whoever does not mention it leaves it as it is.
    host.expect(0, &[]).await;
    assert_eq!(host.changes(), [ENABLED]);
}

/// The options that an upgrade does not repeat.
const FIRST: [&str; 12] = [
    "--scalelite-url",
    "https://scalelite.example.org",
    "--scalelite-secret",
    "secretsmanager:Scalelite#LOADBALANCER_SECRET",
    "--set",
    "dns.ttl=120",
    "--set",
    "drain.announce=[\"30\", \"5\"]",
    "--set",
    "drain.message=Goodbye \"all\"",
    "--hostname",
    "--guard-metadata",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_keeps_the_options_of_the_installation() {
    e2e::at_once([With::Curl, With::Busybox], |with| async move {
        let Some(host) = Host::new(with).await else { return };
        host.program("nft", "");
        host.release("0.1.0", Service::Ready);
        let run = Running::start(host.bare_command(&["--keep"])).end().await;
        assert_eq!(run.code, 2, "{run}");
        run.says(&["no options of an installation are here yet", "Nothing was changed"]);
        host.expect(0, &FIRST).await;
        let before = host.settings();
        host.release("0.2.0", Service::Ready);
        let keep = async |code: i32, more: &[&str]| {
            let run = Running::start(host.bare_command(&[&["--keep"], more].concat())).end().await;
            assert_eq!(run.code, code, "{more:?}: {run}");
            run
        };
        keep(0, &[]).await.says(&["bbb-agent 0.2.0 is ready"]);
        assert_eq!((host.installed().as_str(), host.settings()), ("0.2.0", before.clone()));
        // What is said now counts more, also for the next time, and the rest stays.
        keep(0, &["--set", "dns.ttl=60", "--metadata-user", "cwagent"]).await;
        assert!(
            host.settings().contains("dns.ttl = 60\n") && !host.settings().contains("120"),
            "{}",
            host.settings()
        );
        keep(0, &["--role", "bbb"]).await;
        assert!(host.settings().contains("dns.ttl = 60\n"), "{}", host.settings());
        assert_eq!(host.settings().lines().count(), before.lines().count());
        let guard = host.read("etc/systemd/system/bbb-agent-metadata.service.d/50-install.conf");
        assert_eq!(guard.matches("cwagent").count(), 1, "{guard}");
        keep(2, &["--role", "turn"]).await.says(&["no options of an installation are here yet"]);
        // Without it, what was forgotten is said.
        let run = host.expect(0, &[]).await;
        run.says(&[
            "no longer set: dns.ttl = 60 (--keep keeps what was set)",
            "no longer set: scalelite.url",
        ]);
    })
    .await;
}

/// A host that a hash alone has fixed to a release would take whatever is the latest.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_hash_has_fixed_is_not_kept_without_one() {
    let Some(host) = Host::new(With::Curl).await else { return };
    host.release("0.1.0", Service::Ready);
    host.release("0.2.0", Service::Ready);
    let hash = |version: &str| {
        super::host::sha256(&host.cloud.s3.get(BUCKET, &format!("agents/{version}/SHA256SUMS")).unwrap())
    };
    let (first, second) = (hash("0.1.0"), hash("0.2.0"));
    host.expect(0, &["--version", "0.1.0", "--release-sha256", &first]).await;
    let again = ["--keep", "--version", "0.2.0", "--release-sha256", &second];
    for (code, more) in [(2, &again[..1]), (0, &again[..])] {
        let run = Running::start(host.bare_command(more)).end().await;
        assert_eq!(run.code, code, "{run}");
        if code == 2 {
            run.says(&["nothing would verify another one"]);
        }
    }
    assert_eq!(host.installed(), "0.2.0");
}
