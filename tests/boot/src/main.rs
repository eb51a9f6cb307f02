//! The program `boot`: real hosts, from their first boot to their end, with the embedded cloud around them. Run it
//! with `tests/boot/run`, which prepares everything and makes the namespaces: the program begins with an empty network
//! and with mounts of its own.
//!
//! A guest has the files of a host, and nothing that leads the agents elsewhere: they ask the metadata service at
//! 169.254.169.254, resolve AWS's names with the resolver in `/etc/resolv.conf`, and trust the authorities of the
//! system.

mod cloud;
mod disk;
mod guest;
mod measure;
mod scenarios;
mod stage;
mod volume;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use scenarios::Scenario;
use stage::Stage;
use world::World;

/// A failed check of a scenario, or the reason why something could not be done at all.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T = ()> = Result<T, Error>;

/// The command line; `tests/boot/run` gives the first three options.
#[derive(Debug, Parser)]
struct Arguments {
    /// The root directory from which all guests begin.
    #[arg(long)]
    root: PathBuf,
    /// Releases, each in a directory named by its version.
    #[arg(long)]
    releases: PathBuf,
    /// The name of the control group that guests run in.
    #[arg(long)]
    group: String,
    /// Lists the scenarios.
    #[arg(long)]
    list: bool,
    /// Measures this many times instead of checking anything.
    #[arg(long)]
    measure: Option<usize>,
    /// The scenarios to run; all when none is named.
    scenarios: Vec<String>,
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("boot: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the chosen scenarios or the measurement; tells whether all went well.
fn start(arguments: &Arguments) -> Outcome<bool> {
    let chosen = scenarios::chosen(&arguments.scenarios)?;
    if arguments.list {
        chosen.iter().for_each(|scenario| say(&format!("{:<14} {}", scenario.name, scenario.about)));
        return Ok(true);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = World::make(&arguments.root, &arguments.releases, &arguments.group).await?;
        match arguments.measure {
            Some(runs) => measure::measure(&world, runs).await.map(|()| true),
            None => run(&world, &chosen).await,
        }
    })
}

async fn run(world: &World, chosen: &[&Scenario]) -> Outcome<bool> {
    let (began, mut failed) = (Instant::now(), Vec::new());
    for scenario in chosen {
        let began = Instant::now();
        let stage = Stage::set(world, scenario.role).await?;
        let outcome = scenario.play(&stage).await;
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        let seconds = began.elapsed().as_secs_f64();
        say(&format!("{verdict:<6} {:<14} {seconds:5.1} s  {}", scenario.name, scenario.about));
        if let Err(error) = outcome {
            failed.push(scenario.name);
            say(&format!("       {error}\n{}", stage.report().await));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    match failed.as_slice() {
        [] => say(&format!("boot: all {} scenarios passed ({seconds:.0} s)", chosen.len())),
        some => say(&format!("boot: FAILED: {} of {}: {}", some.len(), chosen.len(), some.join(", "))),
    }
    Ok(failed.is_empty())
}

/// Prints a line. A reader that has gone away is not a failure.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Fails with these words unless the condition holds.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
