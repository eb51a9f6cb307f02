//! A rig for end-to-end tests: a cloud, an agent installed on a host of it, runs of the real binary with everything that
//! they printed.
//!
//! ```no_run
//! # async fn example() {
//! let rig = e2e::Rig::bbb().await;
//! let run = rig.expect(0, &["register"]).await;
//! assert!(run.stdout.contains("registered"));
//! assert_eq!(rig.calls(sandbox::http::ServiceName::Route53), ["ChangeResourceRecordSets"]);
//! # }
//! ```
//!
//! Everything here panics when it cannot go on: that is how a test fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod addresses;
mod certificates;
mod coturn;
mod process;
mod relays;
mod service;
mod skip;
mod systemd;
mod work;
mod zone;

use std::sync::Arc;

use sandbox::agent::Agent;
use sandbox::cloud::{Cloud, Host, HostOptions, Options};
use sandbox::faults::{Fault, Planned};
use sandbox::http::ServiceName;
use sandbox::scalelite::ServerSnapshot;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use addresses::Repairer;
pub use certificates::Installer;
pub use coturn::Coturn;
pub use process::{Run, Running};
pub use relays::Relays;
pub use service::Service;
pub use skip::skipped;
pub use systemd::{Systemd, Trouble};
pub use work::maintained;
pub use zone::label;

/// A cloud and an agent on one of its hosts.
#[derive(Debug)]
pub struct Rig {
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// The host that the agent is installed on.
    pub host: Arc<Host>,
    /// The agent.
    pub agent: Agent,
    /// What its host names begin with.
    prefix: &'static str,
}

impl Rig {
    /// `bbb-agent` on a host whose BBB is ready; TLS to everything but IMDS.
    pub async fn bbb() -> Self {
        Self::start(Options::with_tls()).await
    }

    /// `bbb-agent` on a host on which BBB is not installed yet.
    pub async fn without_bbb() -> Self {
        let host = HostOptions { installed: false, ..HostOptions::default() };
        Self::start(Options { host, ..Options::with_tls() }).await
    }

    /// `bbb-agent` on the first host of a cloud that is set up like this.
    pub async fn start(options: Options) -> Self {
        let cloud = Cloud::start(options).await.expect("a cloud");
        let host = cloud.hosts().into_iter().next().expect("a host");
        Self::install(cloud, host, "bbb-agent")
    }

    /// `turn-agent` on a host without BBB.
    pub async fn turn() -> Self {
        let host = HostOptions { installed: false, ..HostOptions::default() };
        let cloud = Cloud::start(Options { host, ..Options::with_tls() }).await.expect("a cloud");
        let host = cloud.hosts().into_iter().next().expect("a host");
        Self::install(cloud, host, "turn-agent")
    }

    /// An agent on a host of a cloud that runs already.
    pub fn install(cloud: Arc<Cloud>, host: Arc<Host>, name: &str) -> Self {
        let agent = Agent::install(&cloud, &host, name).expect("an agent");
        let prefix = if name == "turn-agent" { "tu-" } else { "vc-" };
        let rig = Self { cloud, host, agent, prefix };
        // They come at any moment within a minute: in no count of calls but of the tests that are about them.
        rig.drop_in("00-metrics", "[metrics]\nenabled = false\n");
        rig
    }

    /// `bbb-agent` on another host of the same cloud: see [`HostOptions::numbered`].
    pub async fn beside(&self, number: u8) -> Self {
        let host = self.cloud.add_host(HostOptions::numbered(number)).await.expect("another host");
        Self::install(Arc::clone(&self.cloud), host, "bbb-agent")
    }

    /// `turn-agent` on another host of the same cloud.
    pub async fn turn_beside(&self, number: u8) -> Self {
        let options = HostOptions { installed: false, ..HostOptions::numbered(number) };
        let host = self.cloud.add_host(options).await.expect("another host");
        Self::install(Arc::clone(&self.cloud), host, "turn-agent")
    }

    /// The agent's command with the environment that it needs and nothing else.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.agent.command(arguments)
    }

    /// Starts the agent.
    pub fn begin(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Runs the agent to its end.
    pub async fn run(&self, arguments: &[&str]) -> Run {
        self.begin(arguments).end().await
    }

    /// Runs the agent to its end, which must be this exit code.
    pub async fn expect(&self, code: i32, arguments: &[&str]) -> Run {
        let run = self.run(arguments).await;
        assert_eq!(run.code, code, "{arguments:?} ended otherwise:\n{run}");
        run
    }

    /// `status --json`, which must end with this exit code.
    pub async fn status(&self, code: i32) -> Value {
        let run = self.expect(code, &["status", "--json"]).await;
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}:\n{run}"))
    }

    /// Adds settings as a drop-in `config.d/NAME.toml`.
    pub fn drop_in(&self, name: &str, text: &str) {
        let directory = self.agent.config().with_file_name("config.d");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.toml")), text).unwrap();
    }

    /// Lets requests fail whose action contains this text: so many, or until the faults are cleared.
    pub fn fault(&self, service: ServiceName, action: &str, fault: Fault, times: Option<u32>) {
        let action = (!action.is_empty()).then(|| action.to_owned());
        self.cloud.faults.plan(Planned { service, action, fault, times });
    }

    /// Lets requests be answered with this error instead of being acted upon.
    pub fn refuse(&self, service: ServiceName, action: &str, status: u16, code: &str, times: Option<u32>) {
        self.fault(service, action, Fault::Error { status, code: code.to_owned() }, times);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.cloud.faults.clear(None);
    }

    /// The actions that a service was asked for since the journal was cleared, in order.
    pub fn calls(&self, service: ServiceName) -> Vec<String> {
        let entries = self.cloud.journal.entries().into_iter();
        entries.filter(|entry| entry.service == service).map(|entry| entry.action).collect()
    }

    /// Returns once the name servers were looked at twice more: so one whole look began and ended meanwhile.
    pub async fn looked_at(&self) {
        let name = self.ownership();
        let servers = self.cloud.dns.addresses().len();
        self.cloud.dns.reached(&name, self.cloud.dns.asked(&name) + 2 * servers).await;
    }

    /// The state of the whole cloud, without its clock: equal when nothing was changed.
    pub fn state(&self) -> Value {
        let mut state = self.cloud.state();
        let parts = state.as_object_mut().expect("an object");
        parts.remove("time");
        parts.remove("faults");
        state
    }

    /// What is in Scalelite for this host.
    pub fn entries(&self) -> Vec<ServerSnapshot> {
        self.cloud.scalelite.servers_with_url(&self.host.scalelite_entry_url())
    }

    /// The one entry of this host in Scalelite.
    pub fn entry(&self) -> ServerSnapshot {
        let entries = self.entries();
        assert_eq!(entries.len(), 1, "one entry is expected: {entries:?}");
        entries.into_iter().next().expect("one")
    }
}

/// How many rows of tables are tested at the same time: each has a cloud and processes of its own, which have to come to their
/// turns.
static ROWS: Semaphore = Semaphore::const_new(16);

/// Tests the rows of a table at the same time: most of each is waiting.
pub async fn at_once<T, F>(rows: impl IntoIterator<Item = T>, test: impl Fn(T) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let rows = rows.into_iter().map(test).map(|row| {
        skip::named(async {
            let _permit = ROWS.acquire().await.expect("it is never closed");
            row.await;
        })
    });
    let tasks: JoinSet<()> = rows.collect();
    // A row that panics makes this panic with its message.
    tasks.join_all().await;
}
