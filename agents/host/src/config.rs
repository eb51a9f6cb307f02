//! The agents' settings: `/etc/<agent>/config.toml`, then drop-ins `config.d/*.toml` beside it in the order of their
//! names, then environment variables `BBB_AGENT_*` or `TURN_AGENT_*`, then `--set KEY=VALUE`. For each setting, the
//! last one of these counts.
//!
//! [`table`] has a row for each setting ([`row`] defines its columns, [`choices`] has the words of some), [`load`]
//! reads the values from all places and remembers their origin, [`settings`] checks them and makes them usable,
//! [`defaults`] writes the commented file that the packages ship.

mod checker;
pub mod choices;
pub mod defaults;
pub mod load;
pub mod row;
pub mod settings;
pub mod table;

use std::fmt;

/// All problems of the configuration, each with the place of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One sentence for each problem: the file, the line, the setting and the defect.
    pub problems: Vec<String>,
}

impl ConfigError {
    /// Creates the error. Some problems quote the configuration and are shown on a terminal: control characters become
    /// escapes.
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
