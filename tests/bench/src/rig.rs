//! A cloud with one host and an agent on it, in which agent and floor run in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bench::figures::Figure;
use bench::measure::Run;
use bench::script::Script;
use sandbox::cloud::{Cloud, Host, Options, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};
use sandbox::http::ServiceName;
use sandbox::route53::{RecordSet, RecordType};
use tokio::process::Command;

use crate::agents::Agents;
use crate::commands::{self, Case, Measured, Situation};
use crate::record::{Births, Runs};
use crate::replay::Recording;
use crate::{DISCARDED, Error};

/// The file in which Debian and Ubuntu keep the authorities that a host trusts; a real host reads it too.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The services whose calls are shown.
const SERVICES: [ServiceName; 4] =
    [ServiceName::Route53, ServiceName::Ec2, ServiceName::AutoScaling, ServiceName::Scalelite];

pub(crate) struct Rig {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) host: Arc<Host>,
    pub(crate) agent: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) authorities: PathBuf,
    /// The number of trusted authorities.
    pub(crate) trusted: usize,
    pub(crate) bbb_secret: String,
    pub(crate) directory: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn start(agents: &Agents) -> Result<Self, Error> {
        Self::start_in(agents, Options::with_tls()).await
    }

    /// The same in a cloud with these options.
    pub(crate) async fn start_in(agents: &Agents, mut options: Options) -> Result<Self, Error> {
        // Time in which the stand-ins only wait would hide the agent's own.
        options.scalelite.processing = Duration::ZERO;
        options.route53.processing = Duration::ZERO;
        let bbb_secret = options.host.secret.clone();
        let cloud = Cloud::start(options).await?;
        // The runs follow each other faster than an account may change its zones.
        cloud.route53.set_throttle(None);
        let host = cloud.hosts().into_iter().next().ok_or("the cloud has no host")?;
        let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let authorities = directory.path().join("authorities.pem");
        let mut pem = std::fs::read_to_string(SYSTEM_AUTHORITIES).unwrap_or_default();
        pem.push_str(cloud.authority().ok_or("the cloud has no TLS")?.pem());
        std::fs::write(&authorities, &pem)?;
        let trusted = pem.matches("BEGIN CERTIFICATE").count();
        let config = directory.path().join("config.toml");
        std::fs::write(&config, configuration(&cloud, &host)?)?;
        let mut environment = cloud.environment_on(&host);
        // The agent finds the system's authorities by itself, as on a real host; the cloud's authority is in an extra
        // bundle.
        environment.retain(|(name, _)| name != "SSL_CERT_FILE");
        environment.push(("BBB_AGENT_CONFIG".to_owned(), config.display().to_string()));
        let agent = agents.bbb_agent();
        Ok(Self { cloud, host, agent, environment, authorities, trusted, bbb_secret, directory })
    }

    /// Measures `--version`, which makes no request, and a floor that has nothing to do.
    pub(crate) async fn version(&self, runs: usize) -> Result<Vec<Figure>, Error> {
        let arguments = ["--version"];
        let script =
            Script { authorities: self.authorities.clone(), connections: Vec::new(), steps: Vec::new() };
        let (mut agent, mut floor) = (Runs::default(), Runs::default());
        for number in 0..runs + DISCARDED {
            let agent_run = self.measure(&self.agent, &arguments).await?;
            let floor_run = self.floor(&script).await?;
            if number >= DISCARDED {
                agent.add(agent_run);
                floor.add(floor_run);
            }
        }
        Ok(commands::version(&agent, &floor, self.births(&arguments).await))
    }

    /// Measures a command and its floor, in turn.
    pub(crate) async fn case(&self, case: &Case, runs: usize) -> Result<Measured, Error> {
        let situation = case.situation(self).await?;
        let recording = self.record(case, &situation).await?;
        let (mut agent, mut floor) = (Runs::default(), Runs::default());
        for number in 0..runs + DISCARDED {
            situation.establish(self)?;
            let run = self.measure(&self.agent, case.arguments).await?;
            case.ended_well(self)?;
            let agent_run = Run { wall: run.wall.saturating_sub(case.waits), ..run };
            let floor_run = self.replay(&recording, &situation).await?;
            case.ended_well(self)?;
            if number >= DISCARDED {
                agent.add(agent_run);
                floor.add(floor_run);
            }
        }
        situation.establish(self)?;
        let births = self.births(case.arguments).await;
        let asked = SERVICES.map(|service| (service, recording.asked(service)));
        // A row that shows no call to Route 53 is worth having.
        let asked = asked
            .into_iter()
            .filter(|(service, calls)| *calls > 0 || *service == ServiceName::Route53)
            .collect();
        Ok(Measured { agent, floor, asked, births, recording, situation })
    }

    /// Runs a command once and records all its requests.
    async fn record(&self, case: &Case, situation: &Situation) -> Result<Recording, Error> {
        situation.establish(self)?;
        let servers = || self.cloud.scalelite.servers().into_iter();
        let entries: BTreeMap<String, String> = servers().map(|server| (server.id, server.url)).collect();
        self.cloud.dns.clear_queries();
        self.cloud.journal.keep_requests();
        self.measure(&self.agent, case.arguments).await?;
        Ok(Recording {
            cloud: Arc::clone(&self.cloud),
            host: Arc::clone(&self.host),
            requests: self.cloud.journal.take_requests(),
            queries: self.cloud.dns.queries(),
            added: servers().map(|server| server.id).filter(|id| !entries.contains_key(id)).collect(),
            entries,
        })
    }

    /// Runs the agent once; fails unless it exits successfully.
    pub(crate) async fn agent_once(&self, arguments: &[&str]) -> Result<(), Error> {
        self.measure(&self.agent, arguments).await.map(drop)
    }

    /// Returns the present contents of the zone and of Scalelite.
    pub(crate) fn situation(&self) -> Situation {
        let entries = self.cloud.scalelite.servers().into_iter().map(|server| server.url).collect();
        Situation { records: self.records(), entries }
    }

    /// Removes all hosts from DNS and Scalelite directly, without calls to the services.
    pub(crate) fn clean(&self) -> Result<(), Error> {
        for set in self.records() {
            if !self.cloud.route53.remove(&self.cloud.zone_id, &set.name, set.record_type, None) {
                return Err(format!("cannot remove {} from the zone", set.name).into());
            }
        }
        for server in self.cloud.scalelite.servers() {
            self.cloud.scalelite.delete_server(&server.id);
        }
        Ok(())
    }

    pub(crate) fn records(&self) -> Vec<RecordSet> {
        let sets = self.cloud.route53.records(&self.cloud.zone_id).unwrap_or_default();
        let own = |set: &RecordSet| !matches!(set.record_type, RecordType::Ns | RecordType::Soa);
        sets.into_iter().filter(own).collect()
    }

    /// Measures one run of the floor with the requests of a command.
    pub(crate) async fn replay(&self, recording: &Recording, situation: &Situation) -> Result<Run, Error> {
        situation.establish(self)?;
        self.floor(&recording.script(&self.authorities)?).await
    }

    /// Measures one run of the floor.
    async fn floor(&self, script: &Script) -> Result<Run, Error> {
        let path = self.directory.path().join("script.json");
        std::fs::write(&path, serde_json::to_vec(script)?)?;
        self.measure(&beside("floor")?, &[&path.display().to_string()]).await
    }

    pub(crate) async fn measure(&self, program: &Path, arguments: &[&str]) -> Result<Run, Error> {
        self.measure_with(program, arguments, &[]).await
    }

    /// Measures a program, which has to exit successfully, with these variables in addition to the cloud's.
    pub(crate) async fn measure_with(
        &self,
        program: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<Run, Error> {
        let mut command = Command::new(beside("measure")?);
        command.arg(program).args(arguments).env_clear().envs(self.environment.iter().cloned());
        command.envs(environment.iter().cloned());
        let output = command.output().await?;
        let what = || format!("{} {}", program.display(), arguments.join(" "));
        let run: Run = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{}: {error}: {}", what(), String::from_utf8_lossy(&output.stderr)))?;
        match run.code {
            Some(0) => Ok(run),
            code => {
                let errors = String::from_utf8_lossy(&output.stderr);
                Err(format!("{} ended with {code:?}: {errors}", what()).into())
            }
        }
    }

    /// Counts the processes and threads of a command with strace; none without strace.
    async fn births(&self, arguments: &[&str]) -> Option<Births> {
        let trace = self.directory.path().join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=clone,clone3,fork,vfork", "-o"]).arg(&trace);
        command.arg(&self.agent).args(arguments).env_clear().envs(self.environment.iter().cloned());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().await.ok()?;
        let trace = std::fs::read_to_string(trace).ok().filter(|_| status.success())?;
        Some(Births::in_trace(&trace))
    }
}

/// Returns the path of a program that was built with this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf, Error> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

fn configuration(cloud: &Cloud, host: &Host) -> Result<String, Error> {
    let authority = cloud.ca_file().ok_or("the cloud has no TLS")?;
    let servers: Vec<String> = cloud.dns.addresses().iter().map(|address| format!("\"{address}\"")).collect();
    Ok(format!(
        "[tls]\nca_bundle = \"{}\"\n\n[dns]\nzone_id = \"{}\"\ndomain = \"{}\"\nservers = [{}]\n\n[scalelite]\nurl = \"{}\"\n\
         secret = \"secretsmanager:{SCALELITE_SECRET_ID}#{SCALELITE_SECRET_KEY}\"\n\n\
         [bbb]\nproperties = \"{}\"\ndefaults = \"{}\"\n\n\
         [recordings]\ndirectory = \"{}\"\nredis = \"{}\"\n\n[service]\ndirectory = \"{}\"\n\n[sweep]\npause = 1\n\n\
         [metrics]\ncoturn = \"\"\n",
        authority.display(),
        cloud.zone_id,
        cloud.zone_name,
        servers.join(", "),
        cloud.scalelite_url(),
        host.files.overrides().display(),
        host.files.defaults().display(),
        host.recordings.directory().display(),
        host.recordings.redis().address(),
        host.root.join("run/bbb-agent").display(),
    ))
}
