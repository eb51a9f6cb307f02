//! Every client of a service by HTTP with every hostile answer.

use std::net::SocketAddr;
use std::sync::Arc;

use e2e::{Rig, Run, Running, label};
use sandbox::cloud::Options;
use sandbox::route53::RecordType;
use tokio::process::Command;

use crate::server::{Answer, Server, Trap};
use crate::table::{self, BAIT};

/// What the agent may have as data of its own, in KiB: more than that fails as if the machine had no more. Stricter than
/// what is resident, as memory counts that was never touched.
const MEMORY: &str = "40960";

/// Times are short: most answers never end.
const IMPATIENT: [&str; 14] = [
    "--set",
    "timeouts.sweep=2",
    "--set",
    "sweep.pause=1",
    "--set",
    "timeouts.imds=1",
    "--set",
    "timeouts.register=2",
    "--set",
    "timeouts.deregister=2",
    "--set",
    "timeouts.bbb=1",
    "--set",
    "timeouts.status=1",
];

/// Where the real service is.
pub(crate) fn real(service: &str, rig: &Rig) -> SocketAddr {
    match service {
        "imds" => rig.cloud.imds_address(),
        "scalelite" => rig.cloud.scalelite_url().trim_start_matches("http://").parse().unwrap(),
        "bbb" => rig.cloud.bbb_address(),
        _ => rig.cloud.aws_address(),
    }
}

/// Lets the command ask the stand-in for the service.
pub(crate) fn point(command: &mut Command, service: &str, server: &Server) {
    match service {
        "imds" => command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url()),
        "scalelite" => command.args(["--set", &format!("scalelite.url={}", server.url())]),
        // Nothing but the address: the port is that of BBB's own URL.
        "bbb" => command.args(["--set", &format!("bbb.address={}", server.address.ip())]),
        _ => command.env("AWS_ENDPOINT_URL", server.url()),
    };
}

/// The agent without arguments, and with little memory.
pub(crate) fn limited(rig: &Rig) -> Command {
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(rig.agent.environment());
    command.args(["-c", &format!("ulimit -d {MEMORY} && exec \"$0\" \"$@\"")]).arg(rig.agent.binary());
    command
}

/// A client of a service.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// The service.
    service: &'static str,
    /// Requests whose head has this are answered by the hostile service, all others by the real one.
    request: &'static str,
    /// The command on a host that is registered nowhere yet or, where `registered`, everywhere.
    command: &'static [&'static str],
    registered: bool,
}

impl Client {
    async fn run(self, rig: &Rig, server: &Server) -> Run {
        let mut command = limited(rig);
        command.args(self.command).args(IMPATIENT).args(["--log-level", "debug"]);
        point(&mut command, self.service, server);
        Running::start(command).end().await
    }

    async fn endure(self, what: &str, answer: Answer, trap: &Trap) {
        let rig = Rig::start(Options::default()).await;
        let request = self.request;
        let server = Server::before(
            real(self.service, &rig),
            Arc::new(move |head| head.contains(request).then(|| answer.clone())),
        );
        let server = server.await;
        if self.registered {
            rig.expect(0, &["register"]).await;
        }
        leave_debris(&rig);
        if self.request.contains("ec2") && self.command != ["sweep"] {
            // Only for an address that is not its own a host asks EC2.
            rig.put(RecordType::A, &rig.fqdn(), &["203.0.113.99"]);
        }
        let before = rig.state();
        let run = self.run(&rig, &server).await;
        let row = format!("{:?} with {} {}: {what}:\n{run}", self.command, self.service, self.request);
        assert!(run.code > 0, "not an exit code of a failure: {row}");
        assert_eq!(rig.state(), before, "something was changed: {row}");
        assert!(trap.is_empty(), "it was led elsewhere: {row}");
        // Who waits for a BBB that is not ready says so, and a verdict is no error.
        let errors = run.stderr.lines().filter(|line| line.starts_with("bbb-agent: ")).count();
        let expected = usize::from(run.code != 7 && self.command != ["status"]);
        assert_eq!(errors, expected, "not one error: {row}");
        clean(&run, &row);
    }
}

/// What a host has left that nobody has heard of for a year.
fn leave_debris(rig: &Rig) {
    let name = format!("vc-00000000deadbeef0.{}", rig.cloud.zone_name);
    rig.put(RecordType::A, &name, &["198.51.100.1"]);
    rig.put(
        RecordType::Txt,
        &format!("_agent.{name}"),
        &[&label("bbb", "i-00000000deadbeef0", "1767225600")],
    );
}

/// What no output may have.
pub(crate) fn clean(run: &Run, row: &str) {
    let output = format!("{}{}", run.stdout, run.stderr);
    for never in ["panicked", "memory allocation", "overflowed", BAIT, "sandbox-loadbalancer-secret"] {
        assert!(!output.contains(never), "{never:?} is in the output of {row}");
    }
    assert!(!output.contains(|c: char| c.is_control() && c != '\n'), "control characters: {row}");
    assert!(output.len() < 20_000, "{} bytes of output: {row}", output.len());
}

/// Who asks what when: every kind of answer has a parser of its own.
const CLIENTS: &[Client] = &[
    Client { service: "imds", request: "PUT /latest/api/token", command: &["register"], registered: false },
    Client {
        service: "imds",
        request: "GET /latest/dynamic/instance-id",
        command: &["register"],
        registered: false,
    },
    Client {
        service: "imds",
        request: "GET /latest/meta-data/public-ipv4",
        command: &["register"],
        registered: false,
    },
    Client {
        service: "imds",
        request: "GET /latest/dynamic/instance-id",
        command: &["deregister"],
        registered: true,
    },
    Client { service: "scalelite", request: "getServers", command: SCALELITE_JOIN, registered: false },
    Client { service: "scalelite", request: "addServer", command: SCALELITE_JOIN, registered: false },
    Client { service: "scalelite", request: "getServers", command: SCALELITE_LEAVE, registered: true },
    Client { service: "scalelite", request: "getServers", command: &["status"], registered: true },
    Client {
        service: "aws",
        request: "/secretsmanager/aws4_request",
        command: SCALELITE_JOIN,
        registered: false,
    },
    Client {
        service: "aws",
        request: "/route53/aws4_request",
        command: &["register", "--only", "dns"],
        registered: false,
    },
    // Whoever believed any of it would take the dead for gone, or an address for nobody's.
    Client { service: "aws", request: "/ec2/aws4_request", command: &["sweep"], registered: true },
    Client { service: "aws", request: "/route53/aws4_request", command: &["sweep"], registered: true },
    Client {
        service: "aws",
        request: "/ec2/aws4_request",
        command: &["deregister", "--only", "dns"],
        registered: true,
    },
    Client { service: "bbb", request: "/bigbluebutton/api", command: SCALELITE_JOIN, registered: false },
    Client { service: "bbb", request: "/bigbluebutton/api", command: &["status"], registered: true },
];

const SCALELITE_JOIN: &[&str] = &["register", "--only", "scalelite"];
const SCALELITE_LEAVE: &[&str] = &["deregister", "--only", "scalelite"];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_service_answers_the_agent_ends_with_an_error_and_nothing_is_changed() {
    table::against_all(CLIENTS, async |client, what, answer, trap| client.endure(what, answer, &trap).await)
        .await;
}
