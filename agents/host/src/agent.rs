//! The differences between the two agents.

use std::path::PathBuf;

use plan::instance::Role;

/// An agent's fixed facts; each binary has one.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    /// The kind of host it looks after.
    pub role: Role,
    /// The binary's name: `bbb-agent`, `turn-agent`.
    pub name: &'static str,
    /// The prefix of its environment variables: `BBB_AGENT_`, `TURN_AGENT_`.
    pub environment_prefix: &'static str,
    /// The template of host names when none is configured.
    pub default_hostname: &'static str,
}

impl Agent {
    /// Returns the path of its configuration, `/etc/<agent>/config.toml`.
    pub fn config_file(&self) -> PathBuf {
        PathBuf::from(format!("/etc/{}/config.toml", self.name))
    }

    /// Returns its runtime directory, `/run/<agent>`, which the unit's `RuntimeDirectory=` creates.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(format!("/run/{}", self.name))
    }

    /// Returns the name of its unit, `<agent>.service`.
    pub fn unit(&self) -> String {
        format!("{}.service", self.name)
    }
}
