//! The service: its cost while nothing happens, and how soon it reacts.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use bench::figures::{Aim, Figure, Unit};
use bench::measure::quantile;
use sandbox::cloud::{Cloud, Options};
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName;
use tokio::time::sleep;

use crate::commands::Measured;
use crate::daemon::{Daemon, Usage};
use crate::rig::{Rig, beside};
use crate::{DISCARDED, Error};

/// The default interval at which the service asks the metadata service: a change comes at any time in between.
const POLL: Duration = Duration::from_secs(2);
/// The aim for the time from the change to the cordon, in microseconds.
const CORDON: u64 = 2_000_000;
/// The aim for the time from SIGTERM until everything is undone, in microseconds.
const UNDO: u64 = 300_000;

/// The interval of metrics, in seconds, at which their cost stands out against the rest: the least that may be set.
const OFTEN: &str = "10";

/// The aim for the memory of the service, in bytes.
const RESIDENT: u64 = 12 * 1024 * 1024;
/// The aim for the CPU time of the service in a second, in microseconds: 0.1 % of a core.
const CPU_SHARE: u64 = 1_000;
/// The aims for calls in an hour; the other services' calls are shown without an aim.
const HOURLY: [(ServiceName, u64); 4] = [
    (ServiceName::Route53, 0),
    (ServiceName::Ec2, 0),
    (ServiceName::AutoScaling, 0),
    (ServiceName::CloudWatch, 60),
];
const SHOWN: [ServiceName; 4] =
    [ServiceName::SecretsManager, ServiceName::Scalelite, ServiceName::Bbb, ServiceName::Imds];

/// The variable's value by which the service knows that systemd runs it.
pub(crate) const INVOCATION: &str = "0123456789abcdef0123456789abcdef";

const SYSTEMCTL: &str = "#!/bin/sh\n\
    echo '   1 poweroff.target          start   waiting'\n\
    echo '   2 bbb-agent.service        stop    waiting'\n";

/// A change of the metadata to which the service reacts with a cordon.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// The group ends the host.
    Terminated,
    /// EC2 takes the spot instance back.
    Spot,
}

impl Rig {
    /// Measures the service, the service without metrics, the one that sends them often, and the floor at the same time,
    /// while nothing happens.
    pub(crate) async fn idle(
        &self,
        plain: &Rig,
        talkative: &Rig,
        seconds: u64,
    ) -> Result<Vec<Figure>, Error> {
        self.cloud.journal.clear();
        let agent = self.serving(&[]).await?;
        // This is the last of the questions that are asked only once.
        self.cloud.journal.reached(ServiceName::AutoScaling, "", 1).await;
        let without = plain.serving(&[("BBB_AGENT_METRICS_ENABLED", "false")]).await?;
        let often = talkative.serving(&[("BBB_AGENT_METRICS_INTERVAL", OFTEN)]).await?;
        // The floor has a cloud of its own: otherwise its requests could not be told from the agents'.
        let cloud = Cloud::start(Options::default()).await?;
        let mut command = Command::new(beside("poll")?);
        command.arg(cloud.imds_address().to_string()).env_clear();
        let floor = Daemon::start(command, None).await?;
        cloud.journal.reached(ServiceName::Imds, "maintenance", 1).await;
        self.cloud.journal.clear();
        self.cloud.dns.clear_queries();
        talkative.cloud.journal.keep_requests();
        let daemons = [agent, without, often, floor];
        let mut before = Vec::new();
        for daemon in &daemons {
            before.push(daemon.cpu()?);
        }
        sleep(Duration::from_secs(seconds)).await;
        let mut figures = self.hourly(seconds);
        let (mut spent, mut usages) = (Vec::new(), Vec::new());
        for (daemon, before) in daemons.into_iter().zip(before) {
            usages.push(daemon.usage()?);
            spent.push(daemon.kill().await? - before);
        }
        let ([agent, without, often, floor], [usage, .., bare]) = (spent.as_slice(), usages.as_slice())
        else {
            return Err("four programs were measured".into());
        };
        let share = |what: &str, spent: &u64| {
            let figure = Figure::new(format!("idle: {what}"), Unit::Share, *spent / seconds);
            figure.floor(*floor / seconds).aim(Aim::AtMost(CPU_SHARE))
        };
        let mut all = vec![share("CPU", agent), share("CPU without metrics", without)];
        all.extend(memory(*usage, *bare));
        all.append(&mut figures);
        all.extend(talkative.sent(often.saturating_sub(*without)).await?);
        Ok(all)
    }

    /// Returns the calls in an hour, computed from those in this many seconds.
    fn hourly(&self, seconds: u64) -> Vec<Figure> {
        let entries = self.cloud.journal.entries();
        let figure = |name: &str, count: usize| {
            let hourly = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(3600) / seconds;
            Figure::new(format!("idle: {name} an hour"), Unit::Count, hourly)
        };
        let made = |service: ServiceName| {
            let count = entries.iter().filter(|entry| entry.service == service).count();
            figure(&format!("{service:?} calls"), count)
        };
        let aimed = HOURLY.iter().map(|(service, most)| made(*service).aim(Aim::AtMost(*most)));
        let mut figures: Vec<Figure> = aimed.chain(SHOWN.map(made)).collect();
        figures.push(figure("DNS questions", self.cloud.dns.queries().len()));
        figures
    }

    /// Measures the time from a change of the metadata until the cordon arrives at Scalelite. The floor is the time
    /// until the service next asks for the metadata.
    pub(crate) async fn cordoned(&self, change: Change, runs: usize) -> Result<Figure, Error> {
        let (mut times, mut asked) = (Vec::new(), Vec::new());
        for number in 0..runs {
            let service = self.serving(&[]).await?;
            // The changes come at all times between two polls, so that the runs cover them evenly.
            sleep(POLL * u32::try_from(number)? / u32::try_from(runs)?).await;
            self.cloud.journal.clear();
            let started = Instant::now();
            let key = self.change(change)?;
            let journal = &self.cloud.journal;
            let poll = async {
                journal.reached(ServiceName::Imds, key, 1).await;
                microseconds(started)
            };
            let cordon = async {
                journal.reached(ServiceName::Scalelite, "updateServer", 1).await;
                microseconds(started)
            };
            let (poll, cordon) = tokio::join!(poll, cordon);
            asked.push(poll?);
            times.push(cordon?);
            service.kill().await?;
            self.cloud.fleet.set_lifecycle_state(self.host.id(), LifecycleState::InService)?;
            self.cloud.fleet.change(self.host.id(), |instance| instance.facts.spot = None)?;
        }
        let name = match change {
            Change::Terminated => "group ends the host: until cordoned",
            Change::Spot => "spot notice: until cordoned",
        };
        Ok(reaction(name, &times, CORDON).floor(quantile(&asked, 0.5)))
    }

    /// Makes the change and returns the metadata key by which the service learns of it.
    fn change(&self, change: Change) -> Result<&'static str, Error> {
        match change {
            Change::Terminated => {
                self.cloud.fleet.terminate(self.host.id())?;
                Ok("target-lifecycle-state")
            }
            Change::Spot => {
                self.cloud.interrupt(self.host.id(), "terminate", Duration::from_secs(120))?;
                Ok("spot/instance-action")
            }
        }
    }

    /// Measures the time from SIGTERM until the host is disabled in Scalelite and its record sets are gone. The floor
    /// is that of `deregister`, measured in turn: a program that has yet to start and makes a few more calls.
    pub(crate) async fn undone(
        &self,
        runs: usize,
        systemd: bool,
        deregister: &Measured,
    ) -> Result<Figure, Error> {
        let path = self.power_off()?;
        let environment = [("PATH", path.as_str()), ("INVOCATION_ID", INVOCATION)];
        let environment = if systemd { environment.as_slice() } else { &[] };
        let (mut times, mut floors) = (Vec::new(), Vec::new());
        for number in 0..runs + DISCARDED {
            let service = self.serving(environment).await?;
            self.cloud.journal.clear();
            let started = Instant::now();
            service.terminate()?;
            tokio::join!(
                self.cloud.journal.reached(ServiceName::Scalelite, "updateServer", 1),
                self.cloud.journal.reached(ServiceName::Route53, "ChangeResourceRecordSets", 1),
            );
            let time = microseconds(started)?;
            service.end().await?;
            if !self.records().is_empty() {
                return Err("the service has left its record sets".into());
            }
            let floor = self.replay(&deregister.recording, &deregister.situation).await?;
            if number >= DISCARDED {
                times.push(time);
                floors.push(floor.wall);
            }
        }
        let name = if systemd {
            "SIGTERM at power-off: until undone"
        } else {
            "SIGTERM without systemd: until undone"
        };
        Ok(reaction(name, &times, UNDO).floor(quantile(&floors, 0.5)))
    }

    /// Puts a stand-in of systemctl into a directory, by which the host powers off. Returns the `PATH` with it.
    pub(crate) fn power_off(&self) -> Result<String, Error> {
        let bin = self.directory.path().join("bin");
        std::fs::create_dir_all(&bin)?;
        std::fs::write(bin.join("systemctl"), SYSTEMCTL)?;
        std::fs::set_permissions(bin.join("systemctl"), PermissionsExt::from_mode(0o755))?;
        Ok(format!("{}:/usr/bin:/bin", bin.display()))
    }

    /// Starts the service on a clean host, and returns once the host is in service.
    pub(crate) async fn serving(&self, environment: &[(&str, &str)]) -> Result<Daemon, Error> {
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

fn memory(agent: Usage, floor: Usage) -> [Figure; 4] {
    let figure = |what: &str, unit, value| Figure::new(format!("idle: {what}"), unit, value);
    [
        figure("resident memory", Unit::Bytes, agent.resident)
            .floor(floor.resident)
            .aim(Aim::AtMost(RESIDENT)),
        figure("peak memory", Unit::Bytes, agent.peak).floor(floor.peak).aim(Aim::AtMost(RESIDENT)),
        figure("processes", Unit::Count, 1 + agent.children).aim(Aim::AtMost(1)),
        figure("threads", Unit::Count, agent.threads),
    ]
}

fn reaction(name: &str, times: &[u64], aim: u64) -> Figure {
    let figure = Figure::new(name, Unit::Microseconds, quantile(times, 0.5));
    figure.late(quantile(times, 0.9)).aim(Aim::AtMost(aim))
}

pub(crate) fn microseconds(since: Instant) -> Result<u64, Error> {
    Ok(u64::try_from(since.elapsed().as_micros())?)
}
