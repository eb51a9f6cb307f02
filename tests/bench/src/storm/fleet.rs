//! The cloud with its hosts, and the processes that are their agents.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rustix::process::{Pid, Signal, kill_process};
use sandbox::agent::Agent;
use sandbox::cloud::{self, Cloud, HostOptions};
use sandbox::dns::Propagation;
use sandbox::fleet::InstanceFacts;
use sandbox::route53::Throttle;
use sandbox::scalelite::Polling;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::crowd::{GO, Place, READY};
use super::{Error, Options};

/// How many hosts share a process: each needs about eight open files.
const TOGETHER: usize = 250;
/// How long a process may take to read what its hosts are.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time between two polls of Scalelite's: what the agents' settings say.
const POLL: Duration = Duration::from_secs(5);

/// Everything that a storm needs.
pub(crate) struct Fleet {
    pub(crate) cloud: Arc<Cloud>,
    _polling: Polling,
    /// The hosts that are a process each, and what runs there.
    single: Vec<(Agent, Option<Child>)>,
    crowds: Vec<Child>,
}

impl Fleet {
    /// Starts the cloud and the processes that will be its hosts.
    pub(crate) async fn prepare(options: &Options, crowd: &Path) -> Result<Self, Error> {
        let cloud = Cloud::start(cloud_options(options)).await?;
        for number in 1..options.hosts {
            cloud.add_host(host(number)).await?;
        }
        let mut single = Vec::new();
        let mut places = Vec::new();
        for (number, host) in cloud.hosts().iter().enumerate() {
            let agent = Agent::install(&cloud, host, "bbb-agent")?;
            let directory = agent.config().with_file_name("config.d");
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join("storm.toml"), settings(options))?;
            if number < usize::from(options.processes) {
                single.push((agent, None));
            } else {
                let imds = format!("http://{}", host.imds_address());
                places.push(Place { imds, config: agent.config().to_owned() });
            }
        }
        let crowds = places.chunks(TOGETHER).map(|places| assemble(&cloud, crowd, places));
        let crowds = try_join_all(crowds).await?;
        Ok(Self { _polling: cloud.scalelite.keep_polling(POLL), cloud, single, crowds })
    }

    /// All hosts boot.
    pub(crate) async fn register(&mut self) -> Result<(), Error> {
        for crowd in &mut self.crowds {
            let stdin = crowd.stdin.as_mut().ok_or("a crowd does not listen")?;
            stdin.write_all(format!("{GO}\n").as_bytes()).await?;
        }
        for (agent, process) in &mut self.single {
            *process = Some(
                agent
                    .command(&["register", "--wait", "--log-level", "error"])
                    .stdout(Stdio::null())
                    .spawn()?,
            );
        }
        Ok(())
    }

    /// Waits for the hosts that are a process each; the others stay.
    pub(crate) async fn registered(&mut self) -> Result<(), Error> {
        for (_, process) in &mut self.single {
            if let Some(mut process) = process.take() {
                let status = process.wait().await?;
                if !status.success() {
                    return Err(format!("bbb-agent register ended with {status}").into());
                }
            }
        }
        Ok(())
    }

    /// All hosts leave. Returns once they have, or have given up.
    pub(crate) async fn leave(&mut self) -> Result<(), Error> {
        let mut leaving = Vec::new();
        for crowd in &self.crowds {
            let id = crowd.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            kill_process(id.ok_or("a crowd has ended")?, Signal::TERM)?;
        }
        for (agent, _) in &self.single {
            leaving
                .push(agent.command(&["deregister", "--log-level", "error"]).stdout(Stdio::null()).spawn()?);
        }
        for process in self.crowds.iter_mut().chain(&mut leaving) {
            // What it could not undo is counted.
            process.wait().await?;
        }
        Ok(())
    }
}

fn cloud_options(options: &Options) -> cloud::Options {
    let mut cloud = cloud::Options { host: host(0), ..cloud::Options::default() };
    cloud.route53.throttle = Some(Throttle { requests: options.quota, ..Throttle::default() });
    cloud.route53.processing = options.processing;
    cloud.dns.propagation = Propagation::After(options.propagation);
    if let Some(seed) = options.unkind {
        cloud.scalelite = cloud.scalelite.as_observed(seed);
    }
    cloud
}

/// A host by its number.
fn host(number: u16) -> HostOptions {
    let [high, low] = number.to_be_bytes();
    let facts = InstanceFacts {
        instance_id: format!("i-0123456789abc{number:04x}"),
        local_ipv4: Some(Ipv4Addr::new(10, 1, high, low)),
        public_ipv4: Some(Ipv4Addr::new(198, 18, high, low)),
        ipv6: Some(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, number)),
        ..InstanceFacts::default()
    };
    HostOptions { facts, ..HostOptions::default() }
}

/// What differs from a host that is alone on its machine: it is not asked every two seconds what is intended with it,
/// and sends no metrics.
fn settings(options: &Options) -> String {
    let mut text = format!(
        "[checks]\nmetadata = 60\n[metrics]\nenabled = false\n[sweep]\nenabled = false\n[timeouts]\nregister = {}\n",
        options.patience.as_secs()
    );
    if let Some(patience) = options.leave {
        let _ = writeln!(text, "deregister = {}", patience.as_secs());
    }
    if options.spread > 0 {
        let _ = writeln!(text, "[dns]\nspread = {}", options.spread);
    }
    text
}

/// Starts a process with these hosts; it waits for a word.
async fn assemble(cloud: &Cloud, program: &Path, places: &[Place]) -> Result<Child, Error> {
    let mut command = Command::new(program);
    command.arg("--crowd").env_clear().envs(cloud.environment());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut crowd = command.spawn()?;
    let mut text = String::new();
    for place in places {
        let _ = writeln!(text, "{}", serde_json::to_string(place)?);
    }
    let stdin = crowd.stdin.as_mut().ok_or("a crowd does not listen")?;
    stdin.write_all(format!("{text}{READY}\n").as_bytes()).await?;
    let stdout = crowd.stdout.take().ok_or("a crowd does not speak")?;
    let mut answers = BufReader::new(stdout).lines();
    match tokio::time::timeout(PATIENCE, answers.next_line()).await?? {
        Some(line) if line == READY => Ok(crowd),
        line => Err(format!("a crowd is not ready: {line:?}").into()),
    }
}
