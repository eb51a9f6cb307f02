//! The agents' settings: `/etc/<agent>/config.toml`, then drop-ins `config.d/*.toml` beside it in the order of their names,
//! then environment variables `BBB_AGENT_*` or `TURN_AGENT_*`, then `--set KEY=VALUE`. The later wins, setting by setting.
//!
//! [`table`] has a row for each setting ([`row`] says what is in it, [`choices`] has the words of some), [`load`] reads values
//! from all places and knows where each came from, [`settings`] checks them and makes them usable, [`defaults`] writes the
//! commented file that the packages ship.

mod checker;
pub mod choices;
pub mod defaults;
pub mod load;
pub mod row;
pub mod settings;
pub mod table;

use std::fmt;

/// All problems of the configuration, each with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One sentence for each problem: file, line, setting, what is wrong.
    pub problems: Vec<String>,
}

impl ConfigError {
    /// Takes these problems. Some quote what is configured, and people see them on a terminal: control characters become escapes.
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
