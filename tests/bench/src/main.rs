//! `bench [RUNS [SECONDS]]`: what the agents cost, beside the least that any program would need for the same requests.
//!
//! All services are the embedded cloud's, on loopback, with TLS; so times are those of the agent and the stand-ins, and
//! a network would add the same to both columns. Run it by `tests/benchmark`, which builds what it needs.

mod agents;
mod daemon;
mod record;
mod requests;
mod rig;
mod service;
mod table;

use std::io::Write;
use std::process::ExitCode;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs that are not counted: files are read into the page cache, the sandbox allocates.
const DISCARDED: usize = 3;
const DEFAULT_RUNS: usize = 30;
/// How long the service is watched while nothing happens.
const DEFAULT_SECONDS: u64 = 600;
/// Runs of the service for each reaction: each takes seconds.
const REACTIONS: usize = 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bench [RUNS [SECONDS]]";
    let runs = arguments.next().map_or(Ok(DEFAULT_RUNS), |runs| runs.parse()).map_err(|_| usage)?;
    let seconds =
        arguments.next().map_or(Ok(DEFAULT_SECONDS), |seconds| seconds.parse()).map_err(|_| usage)?;
    let agents = agents::find()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let rig = rig::Rig::start(&agents).await?;
        let mut rows = vec![rig.version(runs).await?];
        for case in rig::CASES {
            rows.push(rig.case(case, runs).await?);
        }
        table::print(&agents, &rig, &rows, runs);
        let reactions = runs.min(REACTIONS);
        let reactions = [
            rig.cordoned(reactions).await?,
            rig.undone(reactions, true).await?,
            rig.undone(reactions, false).await?,
        ];
        table::service(&rig.idle(seconds).await?, &reactions);
        Ok(())
    })
}

/// Says something on standard output.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
