//! Runs of the real binaries on a host of the cloud: the configuration file, the environment, the command.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;

use crate::binaries;
use crate::cloud::{Cloud, Host, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};

/// An agent's place on a host: its binary, and its configuration as an operator would write it.
#[derive(Clone, Debug)]
pub struct Agent {
    binary: PathBuf,
    config: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, String)>,
}

impl Agent {
    /// Installs `bbb-agent` or `turn-agent` on a host, with a configuration in the host's directory.
    pub fn install(cloud: &Arc<Cloud>, host: &Host, name: &str) -> Result<Self, String> {
        let directory = host.root.join("etc").join(name);
        let failed = |error: io::Error| format!("cannot write into {}: {error}", directory.display());
        std::fs::create_dir_all(&directory).map_err(failed)?;
        std::fs::create_dir_all(state(host, name)).map_err(failed)?;
        let config = directory.join("config.toml");
        std::fs::write(&config, configuration(cloud, host, name)).map_err(failed)?;
        let environment = cloud.environment_on(host);
        Ok(Self {
            binary: binaries::path(name)?,
            config,
            directory: self::directory(host, name),
            environment,
        })
    }

    /// Returns the path of the configuration; drop-ins go into `config.d` beside it.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Returns the directory in which the service keeps its lock and its socket.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the path of the binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Returns the environment that the agent needs to find the cloud and its configuration.
    pub fn environment(&self) -> Vec<(String, String)> {
        let name =
            self.binary.file_name().map(|name| name.to_string_lossy().replace('-', "_").to_uppercase());
        let config = (format!("{}_CONFIG", name.unwrap_or_default()), self.config.display().to_string());
        self.environment.iter().cloned().chain([config]).collect()
    }

    /// Returns a command with that environment and nothing else, so that the caller's own settings cannot get in.
    pub fn command(&self, arguments: &[&str]) -> Command {
        // The agent ends with the thread that starts it, even where a signal ends the whole process.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.binary);
        command.args(arguments).env_clear().envs(self.environment()).kill_on_drop(true);
        command
    }
}

/// Returns the directory that replaces `/run/<agent>` of a real host.
fn directory(host: &Host, name: &str) -> PathBuf {
    host.root.join("run").join(name)
}

/// Returns the directory that replaces `/var/lib/<agent>`.
fn state(host: &Host, name: &str) -> PathBuf {
    host.root.join("var/lib").join(name)
}

/// Returns the configuration of an agent on a host. Times are short: in the cloud only a test makes things slow.
fn configuration(cloud: &Cloud, host: &Host, name: &str) -> String {
    let servers: Vec<String> = cloud.dns.addresses().iter().map(|address| format!("\"{address}\"")).collect();
    let mut text = format!(
        "[dns]\nzone_id = \"{}\"\ndomain = \"{}\"\nservers = [{}]\n\n[service]\ndirectory = \"{}\"\n",
        cloud.zone_id,
        cloud.zone_name,
        servers.join(", "),
        // Hosts of the cloud share a machine, so each has a lock of its own.
        directory(host, name).display()
    );
    if name == "bbb-agent" {
        text += &format!("state = \"{}\"\n", state(host, name).display());
        text += &format!(
            "\n[scalelite]\nurl = \"{}\"\nsecret = \"secretsmanager:{SCALELITE_SECRET_ID}#{SCALELITE_SECRET_KEY}\"\npoll_interval = 5\n\
             \n[bbb]\nproperties = \"{}\"\ndefaults = \"{}\"\nroot = \"{}\"\n\
             \n[recordings]\ndirectory = \"{}\"\nredis = \"{}\"\nsender = \"{}\"\n",
            cloud.scalelite_url(),
            host.files.overrides().display(),
            host.files.defaults().display(),
            host.root.display(),
            host.recordings.directory().display(),
            host.recordings.redis().address(),
            // The machine's own scripts are none of this host's.
            host.recordings.sender().display(),
        );
    }
    // Nothing may be sent to a host's private address, and other hosts of the cloud have sockets on this machine.
    text += "\n[metrics]\ncoturn = \"\"\n";
    if name == "turn-agent" {
        text += "\n[drain]\nrelays = \"\"\n";
        // The machine's own coturn is none of this host's.
        text += &format!("\n[turn]\nroot = \"{}\"\n", host.root.display());
    }
    text
}
