//! The agents on a host whose only resolver is the distribution's real systemd-resolved, at 127.0.0.53 as its own
//! `stub-resolv.conf` says. It asks the sandbox's resolver.
//!
//! Each test runs its own program once more, in new namespaces (network, mounts, processes): cloud, systemd-resolved
//! and agents live there together, nothing of the machine changes, and all of them end with the test. They need root
//! and the systemd-resolved that `tests/prepare` has unpacked, or the machine's own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use e2e::Running;
use sandbox::binaries;
use sandbox::cloud::{AWS_NAME, Cloud};
use sandbox::http::ServiceName::Route53;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::jail::{self, Jail};

/// What the program runs below in its namespaces. systemd-resolved wants a user of its own, and asks no server as long
/// as no interface but the loopback has an address.
const NAMESPACES: &str = "
    set -e
    ip link set lo up
    ip link add outward type veth peer name beyond
    ip address add 198.51.100.1/24 dev outward
    ip link set outward up
    ip link set beyond up
    mount -t tmpfs tmpfs /run
    for file in passwd group; do cp /etc/$file /run/$file; done
    echo systemd-resolve:x:193:193::/:/usr/sbin/nologin >>/run/passwd
    echo systemd-resolve:x:193: >>/run/group
    for file in passwd group; do mount --bind /run/$file /etc/$file; done
    exec \"$0\" \"$@\"";
/// The variable that tells a program that it runs in the namespaces.
const INSIDE: &str = "IN_NAMESPACES_OF_RESOLVED";
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/systemd-resolved");
const PROGRAM: &str = "lib/systemd/systemd-resolved";
const STUB: &str = "/run/systemd/resolve/stub-resolv.conf";
const PATIENCE: Duration = Duration::from_secs(60);

const NAME: &str = "vc-0123456789abcdef0.example.org";
const REGISTER: [&str; 4] = ["register", "--wait", "--only", "dns"];
const LIVE: &str = "is live on every authoritative server";

/// A host with systemd-resolved, and the cloud around it.
struct Host {
    cloud: Arc<Cloud>,
    jail: Jail,
}

impl Host {
    /// Returns a host with this agent inside of the namespaces. Outside, runs the test of this name there, and returns
    /// nothing.
    async fn new(test: &str, agent: &'static str) -> Option<Self> {
        if std::env::var_os(INSIDE).is_none() {
            run_inside(test).await;
            return None;
        }
        let cloud = Cloud::start(jail::options()).await.unwrap();
        let jail = match agent {
            "bbb-agent" => Jail::new(&cloud),
            other => Jail::with(other, &cloud),
        };
        Some(Self { cloud, jail })
    }

    /// Starts systemd-resolved, and makes it the agent's only resolver. Returns once it is ready.
    async fn resolve(&self) -> Running {
        let settings = format!("[Resolve]\nDNS={}\nFallbackDNS=\n", self.cloud.resolver.address());
        std::fs::create_dir_all("/run/systemd/resolved.conf.d").unwrap();
        std::fs::write("/run/systemd/resolved.conf.d/sandbox.conf", settings).unwrap();
        let socket = "/run/notify";
        let ready = UnixDatagram::bind(socket).unwrap();
        // By then it runs as its own user.
        std::fs::set_permissions(socket, PermissionsExt::from_mode(0o666)).unwrap();
        let (program, libraries) = program().unwrap();
        let mut command = Command::new(program);
        command.env("NOTIFY_SOCKET", socket).env("LD_LIBRARY_PATH", libraries);
        let resolved = Running::start(command);
        let mut said = [0; 4096];
        let ready = async {
            while let Ok(length) = ready.recv(&mut said).await {
                if String::from_utf8_lossy(&said[..length]).contains("READY=1") {
                    return;
                }
            }
        };
        timeout(PATIENCE, ready).await.unwrap_or_else(|_| panic!("{}", resolved.complaints()));
        self.jail.write("etc/resolv.conf", &std::fs::read_to_string(STUB).unwrap());
        resolved
    }

    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.jail.command(arguments).output().await.unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// Runs the agent, which must end with this exit code. Returns what it said.
    async fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let (ended, said) = self.run(arguments).await;
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        said
    }
}

/// Returns the program and the directory with its library; `None` if there is none.
fn program() -> Option<(PathBuf, PathBuf)> {
    let found =
        [UNPACKED, "/usr", "/"].into_iter().map(Path::new).find(|root| root.join(PROGRAM).is_file())?;
    let libraries = format!("usr/lib/{}-linux-gnu/systemd", std::env::consts::ARCH);
    Some((found.join(PROGRAM), found.join(libraries)))
}

fn namespaces() -> Command {
    // They end with the thread that starts them, even where a signal ends the whole process.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--propagation", "private"]);
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", NAMESPACES]);
    command.kill_on_drop(true);
    command
}

/// Runs a test of this file in new namespaces, or says why it is skipped.
async fn run_inside(test: &str) {
    if let Some(why) = jail::impossible() {
        return e2e::skipped(why);
    }
    if program().is_none() {
        return e2e::skipped("there is no systemd-resolved (tests/prepare unpacks it where apt-get has it)");
    }
    let allowed = namespaces().arg("true").output().await.unwrap();
    if !allowed.status.success() {
        let why = String::from_utf8_lossy(&allowed.stderr);
        return e2e::skipped(&format!("no namespaces with a network are allowed here: {}", why.trim()));
    }
    let mut command = namespaces();
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture"]);
    command.arg(format!("resolved::{test}")).env(INSIDE, "1");
    command.env(binaries::DIRECTORY_VARIABLE, binaries::path("bbb-agent").unwrap().parent().unwrap());
    let run = Running::start(command).end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["1 passed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_zone_and_its_name_servers_are_found() {
    let Some(host) = Host::new("the_zone_and_its_name_servers_are_found", "bbb-agent").await else { return };
    let _resolved = host.resolve().await;
    let resolv_conf = std::fs::read_to_string(host.jail.root().join("etc/resolv.conf")).unwrap();
    let servers: Vec<&str> = resolv_conf.lines().filter(|line| line.starts_with("nameserver")).collect();
    assert_eq!(servers, ["nameserver 127.0.0.53"]);

    host.expect(0, &["check"]).await;
    assert!(host.expect(0, &REGISTER).await.contains(LIVE));
    assert_eq!(host.cloud.route53.records_named(&host.cloud.zone_id, NAME).len(), 2, "A and AAAA");
    for name in [AWS_NAME, &host.cloud.zone_name, "ns-1.awsdns.test", "ns-2.awsdns.test"] {
        assert!(host.cloud.resolver.asked(name) > 0, "systemd-resolved did not ask for {name}");
    }
    assert_eq!(host.cloud.resolver.asked(NAME), 0, "a recursive resolver was asked for the host's own name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_host_finds_its_zone() {
    let Some(host) = Host::new("a_turn_host_finds_its_zone", "turn-agent").await else { return };
    let _resolved = host.resolve().await;
    host.expect(0, &["check"]).await;
    assert!(host.expect(0, &["register", "--wait"]).await.contains(LIVE));
    host.expect(0, &["deregister", "--wait"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn negative_answers() {
    let Some(host) = Host::new("negative_answers", "bbb-agent").await else { return };
    let _resolved = host.resolve().await;
    // The domain has no SOA of its own: the zone's comes with the answer that says so.
    let below = ["--set", "dns.domain=fleet.example.org"];
    assert!(host.expect(0, &[&REGISTER, &below[..]].concat()).await.contains(LIVE));
    assert_eq!(host.cloud.journal.count(Route53, ""), 1, "Route 53 is not read");

    host.cloud.resolver.hide_soa();
    let below = ["--set", "dns.domain=other.example.org"];
    assert!(host.expect(0, &[&REGISTER, &below[..]].concat()).await.contains(LIVE));
    assert_eq!(host.cloud.journal.count(Route53, ""), 2, "Route 53 is not read");

    let said = host.expect(1, &["check", "--set", "scalelite.url=https://absent.example.org"]).await;
    assert!(said.contains("the name absent.example.org does not resolve: it has no address"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_whose_address_is_not_found_at_first() {
    let test = "a_name_server_whose_address_is_not_found_at_first";
    let Some(host) = Host::new(test, "bbb-agent").await else { return };
    host.cloud.resolver.fail("ns-1.awsdns.test", true).unwrap();
    let _resolved = host.resolve().await;
    assert!(host.expect(0, &REGISTER).await.contains(LIVE));
    let said = host.expect(1, &["check"]).await;
    assert!(said.contains("1 of 2 do not answer: ns-1.awsdns.test cannot be asked"), "{said}");

    // systemd-resolved remembers the failure for a while.
    host.cloud.resolver.fail("ns-1.awsdns.test", false).unwrap();
    let since = Instant::now();
    while let (code, said) = host.run(&["check"]).await
        && code != Some(0)
    {
        assert!(since.elapsed() < PATIENCE, "{said}");
    }
}

/// Begins a command, and returns it once it has failed to find a name.
async fn begin_in_vain(host: &Host, arguments: &[&str]) -> Running {
    let mut running = Running::start(host.jail.command(arguments));
    running.said("does not resolve", 1).await;
    running
}

async fn expect_end(running: Running, words: &str) {
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&[words]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_comes_after_the_agent() {
    let Some(host) = Host::new("a_resolver_that_comes_after_the_agent", "bbb-agent").await else { return };
    host.jail.write("etc/resolv.conf", "nameserver 127.0.0.53\n");
    let register = begin_in_vain(&host, &REGISTER).await;
    let _resolved = host.resolve().await;
    expect_end(register, LIVE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolv_conf_that_names_it_later() {
    let Some(host) = Host::new("a_resolv_conf_that_names_it_later", "turn-agent").await else { return };
    let _resolved = host.resolve().await;
    let stub = std::fs::read_to_string(STUB).unwrap();
    let name = NAME.replace("vc-", "tu-");
    for (command, end) in [("register", LIVE), ("deregister", "is gone everywhere")] {
        host.jail.write("etc/resolv.conf", "nameserver 127.0.0.99\n");
        let asked = host.cloud.dns.asked(&name);
        let running = begin_in_vain(&host, &[command, "--wait"]).await;
        host.jail.write("etc/resolv.conf", &stub);
        expect_end(running, end).await;
        assert!(host.cloud.dns.asked(&name) > asked, "{command}: no authoritative server was asked");
    }
}
