//! What tells one agent from the other.

use std::path::PathBuf;

use plan::instance::Role;

/// An agent's fixed facts; each binary has one.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    /// The kind of host it looks after.
    pub role: Role,
    /// The binary's name: `bbb-agent`, `turn-agent`.
    pub name: &'static str,
    /// What its environment variables begin with: `BBB_AGENT_`, `TURN_AGENT_`.
    pub environment_prefix: &'static str,
    /// The template of host names when none is configured.
    pub default_hostname: &'static str,
}

impl Agent {
    /// `/etc/<agent>/config.toml`.
    pub fn config_file(&self) -> PathBuf {
        PathBuf::from(format!("/etc/{}/config.toml", self.name))
    }

    /// `/run/<agent>`: what the unit's `RuntimeDirectory=` makes.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(format!("/run/{}", self.name))
    }

    /// `<agent>.service`, the unit that runs it.
    pub fn unit(&self) -> String {
        format!("{}.service", self.name)
    }
}
