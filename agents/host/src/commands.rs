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

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use secrecy::zeroize::Zeroizing;

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

/// Reads standard input to its end, which must come within this many bytes. It must be a socket or a pipe, so that
/// nobody types a secret.
fn input(most: usize) -> std::io::Result<Zeroizing<String>> {
    use std::io::{Error, ErrorKind};
    // std's own buffer is avoided, because it is never wiped.
    let input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let kind = input.metadata()?.file_type();
    if !(kind.is_socket() || kind.is_fifo()) {
        return Err(Error::new(ErrorKind::InvalidInput, "it is neither a socket nor a pipe"));
    }
    // The text has its full size from the start: growing would leave copies behind that are never wiped.
    let mut text = Zeroizing::new(String::with_capacity(most + 1));
    let limit = u64::try_from(most + 1).unwrap_or(u64::MAX);
    if input.take(limit).read_to_string(&mut text)? > most {
        return Err(Error::new(ErrorKind::InvalidData, format!("it has more than {most} bytes")));
    }
    Ok(text)
}
