//! The agents' settings: `/etc/<agent>/config.toml`, then drop-ins `config.d/*.toml` beside it in the order of their names,
//! then environment variables `BBB_AGENT_*` or `TURN_AGENT_*`, then `--set KEY=VALUE`. The later wins, key by key.
//!
//! [`keys`] says which keys there are, [`load`] reads them from all places and knows where each came from, [`settings`]
//! checks them and makes them usable, [`mod@reference`] writes the commented file that the packages ship.

mod checker;
pub mod keys;
pub mod load;
pub mod reference;
pub mod settings;

use std::fmt;

/// Everything that is wrong with the configuration, each with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One sentence for each problem: file, line, key, what is wrong.
    pub problems: Vec<String>,
}

impl ConfigError {
    /// These problems. Some quote what is configured, and people see them on a terminal: control characters become escapes.
    fn new(problems: &[String]) -> Self {
        let shown = |problem: &String| {
            let escaped =
                |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
            problem.chars().map(escaped).collect()
        };
        Self { problems: problems.iter().map(shown).collect() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
