//! The service: what it costs while nothing happens, and how soon it reacts.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sandbox::cloud::{Cloud, Options};
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName;
use tokio::process::Command;
use tokio::time::sleep;

use crate::daemon::{Daemon, Usage};
use crate::rig::{Rig, beside};
use crate::{DISCARDED, Error};

/// How often the metadata service is asked by default: the change comes at any time in between.
const POLL: Duration = Duration::from_secs(2);

const SYSTEMCTL: &str = "#!/bin/sh\n\
    echo '   1 poweroff.target          start   waiting'\n\
    echo '   2 bbb-agent.service        stop    waiting'\n";

/// The service and its floor over some time in which nothing happened.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    /// How long, in seconds.
    pub(crate) seconds: u64,
    pub(crate) agent: Usage,
    pub(crate) floor: Usage,
    /// Requests of the service, and its questions to the name servers.
    pub(crate) calls: BTreeMap<ServiceName, usize>,
    pub(crate) questions: usize,
}

/// Times from a cause to its effect, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Reaction {
    pub(crate) name: &'static str,
    pub(crate) times: Vec<u64>,
    /// What the median should be below, in microseconds.
    pub(crate) aim: u64,
}

impl Rig {
    /// Lets the service and its floor run at the same time, without anything happening.
    pub(crate) async fn idle(&self, seconds: u64) -> Result<Idle, Error> {
        self.cloud.journal.clear();
        let agent = self.serving(&[]).await?;
        // The last of the questions that are asked once.
        self.cloud.journal.reached(ServiceName::AutoScaling, "", 1).await;
        // In a cloud of its own: whose requests they are could not be told.
        let cloud = Cloud::start(Options::default()).await?;
        let mut command = Command::new(beside("poll")?);
        command.arg(cloud.imds_address().to_string()).env_clear();
        let floor = Daemon::start(command, None).await?;
        cloud.journal.reached(ServiceName::Imds, "maintenance", 1).await;
        self.cloud.journal.clear();
        self.cloud.dns.clear_queries();
        let before = (agent.usage()?, floor.usage()?);
        sleep(Duration::from_secs(seconds)).await;
        let after = (agent.usage()?, floor.usage()?);
        let mut calls = BTreeMap::new();
        for entry in self.cloud.journal.entries() {
            *calls.entry(entry.service).or_insert(0) += 1;
        }
        let questions = self.cloud.dns.queries().len();
        agent.kill().await?;
        floor.kill().await?;
        let between = |before: Usage, after: Usage| Usage { cpu: after.cpu - before.cpu, ..after };
        let (agent, floor) = (between(before.0, after.0), between(before.1, after.1));
        Ok(Idle { seconds, agent, floor, calls, questions })
    }

    /// From the target state turning `Terminated` to the cordon arriving at Scalelite.
    pub(crate) async fn cordoned(&self, runs: usize) -> Result<Reaction, Error> {
        let mut times = Vec::new();
        for number in 0..runs {
            let service = self.serving(&[]).await?;
            // At every time between two polls, so that the runs cover them evenly.
            sleep(POLL * u32::try_from(number)? / u32::try_from(runs)?).await;
            self.cloud.journal.clear();
            let started = Instant::now();
            self.cloud.fleet.terminate(self.host.id())?;
            self.cloud.journal.reached(ServiceName::Scalelite, "updateServer", 1).await;
            times.push(microseconds(started)?);
            service.kill().await?;
            self.cloud.fleet.set_lifecycle_state(self.host.id(), LifecycleState::InService)?;
        }
        Ok(Reaction { name: "Terminated at IMDS to cordon", times, aim: 2_000_000 })
    }

    /// From SIGTERM to the host disabled in Scalelite and its record gone.
    pub(crate) async fn undone(&self, runs: usize, systemd: bool) -> Result<Reaction, Error> {
        let bin = self.directory.path().join("bin");
        std::fs::create_dir_all(&bin)?;
        std::fs::write(bin.join("systemctl"), SYSTEMCTL)?;
        std::fs::set_permissions(bin.join("systemctl"), PermissionsExt::from_mode(0o755))?;
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let environment = [("PATH", path.as_str()), ("INVOCATION_ID", "0123456789abcdef0123456789abcdef")];
        let environment = if systemd { environment.as_slice() } else { &[] };
        let mut times = Vec::new();
        for number in 0..runs + DISCARDED {
            let service = self.serving(environment).await?;
            self.cloud.journal.clear();
            let started = Instant::now();
            service.terminate().await?;
            tokio::join!(
                self.cloud.journal.reached(ServiceName::Scalelite, "updateServer", 1),
                self.cloud.journal.reached(ServiceName::Route53, "ChangeResourceRecordSets", 1),
            );
            if number >= DISCARDED {
                times.push(microseconds(started)?);
            }
            service.end().await?;
            if !self.records().is_empty() {
                return Err("the service has left its record sets".into());
            }
        }
        let name = if systemd { "SIGTERM (power off) to undone" } else { "SIGTERM (no systemd) to undone" };
        Ok(Reaction { name, times, aim: 300_000 })
    }

    /// A service that has just come into service on a clean host.
    async fn serving(&self, environment: &[(&str, &str)]) -> Result<Daemon, Error> {
        self.clean()?;
        let _ = std::fs::remove_dir_all(self.host.root.join("run"));
        let mut command = Command::new(&self.agent);
        command
            .arg("run")
            .env_clear()
            .envs(self.environment.iter().cloned())
            .envs(environment.iter().copied());
        Daemon::start(command, Some("-> serving")).await
    }
}

fn microseconds(since: Instant) -> Result<u64, Error> {
    Ok(u64::try_from(since.elapsed().as_micros())?)
}
