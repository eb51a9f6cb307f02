//! The first and the last step of the service and every command: reading the configuration and reporting the end.

use crate::agent::Agent;
use crate::cli::Common;
use crate::config;
use crate::config::settings::Settings;
use crate::report::{self, Exit, Failure};

/// Reports a failure on standard error and returns the exit code.
pub fn plain(agent: &Agent, result: Result<Exit, Failure>) -> Exit {
    result.unwrap_or_else(|failure| {
        report::complain(agent.name, &failure);
        failure.exit
    })
}

/// Reads the configuration from all its places. The failure lists every problem.
pub(crate) fn configured(agent: &Agent, common: &Common) -> Result<Settings, Failure> {
    config::settings::read(agent, &common.flags()).map_err(|error| {
        let problems = error.problems.join("\n  ");
        Failure::new(Exit::Usage, format!("the configuration cannot be used:\n  {problems}"))
    })
}
