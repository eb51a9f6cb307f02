//! `settings`: prints the settings in BBB's property files, with BBB's secret, and the addresses in the files that have
//! the host's, for an agent that may not read them itself. Internal: the agent's socket for it
//! (`bbb-agent-settings.socket`) starts it, and only [`clients::bbb::read_installation`] and [`clients::bbb::addresses::read`] talk to it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use super::configured;
use crate::agent::Agent;
use crate::cli::Common;
use crate::report::{Exit, Failure};
use clients::bbb::reader;

/// Answers on standard output, which must be a socket or a pipe, so that the secret cannot end up on a screen or in a
/// file by mistake.
pub fn settings(agent: &Agent, common: &Common) -> Result<Exit, Failure> {
    let failed = |what: &str| Failure::new(Exit::Failed, what);
    let settings = configured(agent, common)?;
    // std's own buffer is avoided, because it is never wiped.
    let output = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let mut output = output.map_err(|error| failed("standard output").because(error))?;
    let kind = output.metadata().map_err(|error| failed("standard output").because(error))?.file_type();
    if !(kind.is_socket() || kind.is_fifo()) {
        return Err(Failure::new(
            Exit::Usage,
            "secrets are written to a socket or a pipe only, and standard output is neither",
        )
        .advise("this command is for the agent's own socket; a person asks: bbb-conf --secret"));
    }
    let bbb = settings.bbb.as_ref().map(|bbb| [bbb.defaults.as_path(), bbb.properties.as_path()]);
    let answer = reader::answer(bbb, &settings.addresses.root);
    let answer = answer.map_err(|error| failed("the settings cannot be written as JSON").because(error))?;
    output.write_all(&answer).map_err(|error| failed("cannot write to standard output").because(error))?;
    Ok(Exit::Done)
}
