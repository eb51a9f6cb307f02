//! `bench`: the cost of the agents, compared with the least that any program would need for the same requests.
//!
//! All services are the embedded cloud's, on loopback, with TLS; so the times are those of the agent and the
//! stand-ins, and a network would add the same to both columns. Run it with `tests/benchmark`, which builds all it
//! needs.

mod agents;
mod book;
mod commands;
mod daemon;
mod distance;
mod machine;
mod metrics;
mod record;
mod replay;
mod rig;
mod service;
mod today;

use std::io::Write;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use bench::arguments::{Arguments, USAGE};
use bench::figures::{self, Figure};
use bench::kept::compare;
use bench::storm::said;
use sandbox::clock::{Clock, iso8601};
use tokio::process::Command;

use crate::agents::Agents;
use crate::rig::Rig;
use crate::service::Change;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The number of first runs that are not counted: they fill the page cache, and the sandbox allocates memory.
const DISCARDED: usize = 3;

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        say(USAGE);
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Measures, prints, keeps and compares the figures; tells whether none is worse than it should be.
fn run(arguments: &Arguments) -> Result<bool, Error> {
    // A file that cannot be read is reported before anything takes time.
    let kept = arguments.compare.as_ref().map(book::open).transpose()?;
    let agents = agents::find()?;
    if agents.are_debug_builds() {
        if arguments.keep {
            return Err("figures of development builds are not kept: they say nothing about a release".into());
        }
        say("THESE ARE DEVELOPMENT BUILDS: times and sizes say nothing about a release");
    }
    let machine = machine::this(&agents.bbb_agent())?;
    let date = iso8601(Clock::default().seconds()).chars().take(10).collect::<String>();
    let load = machine::load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (figures, trusted) = runtime.block_on(measure(&agents, arguments))?;
    let conditions =
        format!("Load before: {load}; TLS to all but the metadata, {trusted} certificate authorities");
    say(&format!("{} on {}; {conditions}\n\n{}", machine.agents, machine.cpu, figures::table(&figures)));
    if arguments.keep {
        let table = book::keep(&date, &machine, arguments.effort, &conditions, &figures)?;
        say(&format!("kept in {table}"));
    }
    let Some((file, kept)) = kept else { return Ok(true) };
    let worse = compare(&kept.ratios, &figures, arguments.effort.whole);
    for worse in &worse {
        say(&format!("WORSE  {worse}"));
    }
    say(&format!("{} figures are worse than they should be, compared with {file}", worse.len()));
    Ok(worse.is_empty())
}

/// Measures all figures; returns them with the number of certificate authorities that are trusted.
async fn measure(agents: &Agents, arguments: &Arguments) -> Result<(Vec<Figure>, usize), Error> {
    let effort = arguments.effort;
    let rig = Rig::start(agents).await?;
    if arguments.far {
        return Ok((distance::figures(agents, effort.reactions).await?, rig.trusted));
    }
    let mut figures = agents.figures()?;
    figures.extend(rig.version(effort.runs).await?);
    let mut deregister = None;
    for case in &commands::CASES {
        let runs = if case.waits > 0 { effort.sweeps } else { effort.runs };
        let measured = rig.case(case, runs).await?;
        figures.extend(case.figures(&measured));
        match case.arguments {
            ["register", "--only", "dns"] => figures.extend(rig.today(&measured).await?),
            ["deregister"] => deregister = Some(measured),
            _ => {}
        }
    }
    for change in [Change::Terminated, Change::Spot] {
        figures.push(rig.cordoned(change, effort.reactions).await?);
    }
    let deregister = deregister.ok_or("deregister was not measured")?;
    for systemd in [true, false] {
        figures.push(rig.undone(effort.reactions, systemd, &deregister).await?);
    }
    figures.extend(distance::figures(agents, effort.reactions).await?);
    figures.extend(rig.scraped(effort.runs).await?);
    let (plain, talkative) = (Rig::start(agents).await?, Rig::start(agents).await?);
    figures.extend(rig.idle(&plain, &talkative, effort.seconds).await?);
    if effort.whole {
        figures.extend(storm().await?);
    }
    Ok((figures, rig.trusted))
}

/// Measures many hosts that boot at once.
async fn storm() -> Result<Vec<Figure>, Error> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../storm");
    // It fails when an aim is missed, which the figures show too.
    let output = Command::new(&program).arg("--json").stderr(Stdio::null()).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    said::figures(&text)
        .map_err(|error| format!("tests/storm --json said no figures: {error}: {text}").into())
}

/// Prints a text to standard output.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
