//! The program behind `tests/storm`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bench::storm::{self, Error, Figures, Options, crowd};
use clap::Parser;
use sandbox::route53::BucketSize;

/// Lets many hosts boot at once, and leave at once, on an account with a quota of Route 53 calls, and says what that
/// came to. The exit code is 1 when an aim is missed.
#[derive(Debug, Parser)]
#[command(name = "storm")]
struct Arguments {
    /// How many hosts
    #[arg(default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=2000))]
    hosts: u16,
    /// Route 53 calls a second that the account has
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// How many calls it has saved up at most
    #[arg(long, default_value_t = 50)]
    burst: u32,
    /// How long Route 53 processes a change, in milliseconds: another one is refused meanwhile
    #[arg(long, default_value_t = 3)]
    processing: u64,
    /// dns.spread in seconds; by default what docs/install.md recommends for so many hosts
    #[arg(long)]
    spread: Option<u64>,
    /// How many of the hosts are processes of `bbb-agent register --wait`, which waits for no turn (default: 8, but
    /// no more than a twentieth)
    #[arg(long)]
    processes: Option<u16>,
    /// timeouts.register in seconds
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// All hosts leave at once afterwards
    #[arg(long)]
    leave: bool,
    /// timeouts.deregister in seconds
    #[arg(long, default_value_t = 80)]
    leave_timeout: u64,
    /// The seed of what Scalelite leaves to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Scalelite has no conflicts but those of adds that meet, loses no polls and answers at once
    #[arg(long, conflicts_with = "seed")]
    kind: bool,
    /// Print the figures as a line of JSON too
    #[arg(long)]
    json: bool,
    /// Be some of the hosts: the program starts itself so
    #[arg(long, hide = true)]
    crowd: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.crowd { crowd::serve().map(|()| true) } else { run(&arguments) };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "storm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all aims were reached.
fn run(arguments: &Arguments) -> Result<bool, Error> {
    let options = options(arguments);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let figures: Figures = runtime.block_on(storm::run(&options, &std::env::current_exe()?))?;
    let mut out = std::io::stdout();
    write!(out, "{}", figures.table())?;
    if arguments.json {
        writeln!(out, "{}", figures.json())?;
    }
    Ok(figures.aims().iter().all(|aim| aim.met))
}

fn options(arguments: &Arguments) -> Options {
    let quota = BucketSize { capacity: arguments.burst, per_second: arguments.rate };
    Options {
        hosts: arguments.hosts,
        quota,
        processing: Duration::from_millis(arguments.processing),
        spread: arguments.spread.unwrap_or_else(|| storm::recommended(arguments.hosts, quota)),
        processes: arguments.processes.unwrap_or(8.min(arguments.hosts / 20)).min(arguments.hosts),
        propagation: Duration::from_secs(1),
        patience: Duration::from_secs(arguments.timeout),
        unkind: (!arguments.kind).then_some(arguments.seed),
        leave: arguments.leave.then(|| Duration::from_secs(arguments.leave_timeout)),
    }
}
