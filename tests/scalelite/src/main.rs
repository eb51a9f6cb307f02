//! The program behind `tests/contract`.

use std::io::{Read, Write};
use std::process::ExitCode;

use clap::Parser;
use contract::{Problem, Report, Target, replay};
use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

/// Compares a running Scalelite with the recorded answers of its management API, and leaves it as it was.
///
/// The load balancer's secret comes on standard input. The exit code is 1 when an answer differs, when Scalelite
/// cannot be asked, or when an entry is left behind.
#[derive(Debug, Parser)]
#[command(name = "contract")]
struct Arguments {
    /// The base URL, e.g. https://scalelite.example.org
    base_url: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.base_url) {
        Ok(report) => {
            let _ = writeln!(std::io::stdout(), "{report}");
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "contract: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(base_url: &str) -> Result<Report, Problem> {
    let mut secret = String::new();
    std::io::stdin().read_to_string(&mut secret).map_err(|error| format!("standard input: {error}"))?;
    let target = Target::new(base_url, secret.trim_end_matches(['\r', '\n']))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(|error| error.to_string())?;
        Ok(replay(&target, async {
            let _ = signals.next().await;
        })
        .await)
    })
}
