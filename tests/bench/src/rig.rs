//! A cloud with one host, an agent on it, and the runs of both programs in turn.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bench::measure::Run;
use sandbox::cloud::{Cloud, Host, Options, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};
use sandbox::http::ServiceName;
use sandbox::route53::{RecordSet, RecordType};
use tokio::process::Command;

use crate::agents::Agents;
use crate::record::{Asked, Row, Runs};
use crate::requests::Recording;
use crate::{DISCARDED, Error};

/// Where Debian and Ubuntu have the authorities that a host trusts; reading them is part of what a real host does.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// One command to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Whether the host is neither in DNS nor in Scalelite before each run; else it is in both.
    clean: bool,
}

/// The commands that are measured beside the floor.
pub(crate) const CASES: [Case; 3] = [
    Case { name: "register --only dns, clean boot", arguments: &["register", "--only", "dns"], clean: true },
    Case { name: "register, clean host (full join)", arguments: &["register"], clean: true },
    Case { name: "register, second time", arguments: &["register"], clean: false },
];

pub(crate) struct Rig {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) host: Arc<Host>,
    pub(crate) agent: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
    authorities: PathBuf,
    /// How many authorities there are.
    pub(crate) trusted: usize,
    bbb_secret: String,
    scalelite_secret: String,
    pub(crate) directory: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn start(agents: &Agents) -> Result<Self, Error> {
        let mut options = Options::with_tls();
        // Time that the stand-ins only wait would hide what the agent adds.
        options.scalelite.processing = Duration::ZERO;
        options.route53.processing = Duration::ZERO;
        let bbb_secret = options.host.secret.clone();
        let scalelite_secret = options.scalelite.secret.expose().to_owned();
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
        // The agent looks for the system's authorities itself, as on a real host; the cloud's one is an extra bundle.
        environment.retain(|(name, _)| name != "SSL_CERT_FILE");
        environment.push(("BBB_AGENT_CONFIG".to_owned(), config.display().to_string()));
        let agent = agents.bbb_agent();
        Ok(Self {
            cloud,
            host,
            agent,
            environment,
            authorities,
            trusted,
            bbb_secret,
            scalelite_secret,
            directory,
        })
    }

    /// `--version`, which asks nobody.
    pub(crate) async fn version(&self, runs: usize) -> Result<Row, Error> {
        let mut agent = Runs::default();
        for number in 0..runs + DISCARDED {
            let run = self.measure(&self.agent, &["--version"]).await?;
            if number >= DISCARDED {
                agent.add(run);
            }
        }
        let processes = self.processes(&["--version"]).await;
        Ok(Row { name: "--version".to_owned(), agent, floor: None, asked: None, processes })
    }

    /// A command and its floor, in turn.
    pub(crate) async fn case(&self, case: Case, runs: usize) -> Result<Row, Error> {
        self.clean()?;
        if !case.clean {
            self.measure(&self.agent, case.arguments).await?;
        }
        self.cloud.journal.clear();
        self.cloud.dns.clear_queries();
        self.measure(&self.agent, case.arguments).await?;
        let recording = self.recording();
        let floor_program = beside("floor")?;
        let script = self.directory.path().join("script.json");
        let script_argument = script.display().to_string();
        let (mut agent, mut floor) = (Runs::default(), Runs::default());
        for number in 0..runs + DISCARDED {
            self.prepare(case)?;
            let agent_run = self.measure(&self.agent, case.arguments).await?;
            self.prepare(case)?;
            std::fs::write(&script, serde_json::to_vec(&recording.script(&self.authorities)?)?)?;
            let floor_run = self.measure(&floor_program, &[&script_argument]).await?;
            if number >= DISCARDED {
                agent.add(agent_run);
                floor.add(floor_run);
            }
        }
        self.prepare(case)?;
        let processes = self.processes(case.arguments).await;
        let asked = Some(asked(&recording));
        Ok(Row { name: case.name.to_owned(), agent, floor: Some(floor), asked, processes })
    }

    fn prepare(&self, case: Case) -> Result<(), Error> {
        if case.clean { self.clean() } else { Ok(()) }
    }

    /// Takes the host out of DNS and Scalelite, behind the services' backs.
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

    fn recording(&self) -> Recording {
        Recording {
            cloud: Arc::clone(&self.cloud),
            host: Arc::clone(&self.host),
            entries: self.cloud.journal.entries(),
            queries: self.cloud.dns.queries(),
            records: self.records(),
            bbb_secret: self.bbb_secret.clone(),
            scalelite_secret: self.scalelite_secret.clone(),
        }
    }

    async fn measure(&self, program: &Path, arguments: &[&str]) -> Result<Run, Error> {
        let mut command = Command::new(beside("measure")?);
        command.arg(program).args(arguments).env_clear().envs(self.environment.iter().cloned());
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

    /// How many processes a command is, as strace sees them; none without strace.
    async fn processes(&self, arguments: &[&str]) -> Option<usize> {
        let trace = self.directory.path().join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=clone,clone3,fork,vfork", "-o"]).arg(&trace);
        command.arg(&self.agent).args(arguments).env_clear().envs(self.environment.iter().cloned());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().await.ok()?;
        let trace = std::fs::read_to_string(trace).ok().filter(|_| status.success())?;
        let births = trace.lines().filter(|line| line.contains("fork(") || line.contains("clone"));
        // strace splits calls that overlap: the second half has no flags.
        let children = births.filter(|line| !line.contains("CLONE_THREAD") && !line.contains("resumed"));
        Some(1 + children.count())
    }
}

fn asked(recording: &Recording) -> Asked {
    let count = |service| recording.entries.iter().filter(|entry| entry.service == service).count();
    Asked {
        imds: count(ServiceName::Imds),
        dns: recording.queries.len(),
        route53: count(ServiceName::Route53),
        secrets: count(ServiceName::SecretsManager),
        bbb: count(ServiceName::Bbb),
        scalelite: count(ServiceName::Scalelite),
    }
}

/// A program that was built with this one.
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
         [recordings]\ndirectory = \"{}\"\nredis = \"{}\"\n\n[service]\ndirectory = \"{}\"\n",
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
