//! The agents' commands: each observes, plans, executes and reports.

pub mod addresses;
pub mod certificate;
pub mod check;
pub mod delegate;
pub mod deregister;
pub mod fleet;
pub mod hostname;
pub mod register;
pub mod settings;
pub mod status;
pub mod sweep;

use std::future::Future;

use crate::agent::Agent;
use crate::cli::Common;
use crate::interrupt::Interrupt;
use crate::log;
use crate::report::{Exit, Failure};
use crate::session::Session;
use crate::startup::{configured, plain};

/// Reads the configuration, starts logging and signal handling, runs the command, and reports its end.
pub fn run<F>(agent: &Agent, common: &Common, command: impl FnOnce(Session) -> F) -> Exit
where
    F: Future<Output = Result<Exit, Failure>>,
{
    plain(agent, prepare(agent, common, command))
}

fn prepare<F>(agent: &Agent, common: &Common, command: impl FnOnce(Session) -> F) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>>,
{
    let settings = configured(agent, common)?;
    log::start(agent.name, common.log_level.unwrap_or(settings.log_level));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, "cannot start").because(error))?;
    runtime.block_on(async {
        let interrupt = Interrupt::listen();
        let interrupt = interrupt
            .map_err(|error| Failure::new(Exit::Failed, "cannot listen for signals").because(error))?;
        let session = Session::new(*agent, settings, interrupt.clone())?;
        match interrupt.or_stop(command(session)).await {
            Ok(result) => result,
            Err(signal) => {
                Err(Failure::new(Exit::Interrupted(signal), format!("stopped by signal {signal}"))
                    .advise("run the command again; it goes on where this one stopped"))
            }
        }
    })
}
