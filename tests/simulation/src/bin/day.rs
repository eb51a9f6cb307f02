//! The program that simulates the day of a fleet; for its use see `tests/day`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use simulation::day::{Options, Report, keep, root, run};

/// Simulates the day of a university's fleet: the same meetings on a fixed fleet, on an Auto Scaling group with the AWS
/// sample's scripts, and on one with bbb-agent. Prints a table.
#[derive(Parser)]
#[command(name = "tests/day", max_term_width = 100)]
struct Arguments {
    /// Seed of the meetings and of everything else that is drawn
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// Days to simulate; the first is a Monday
    #[arg(long, default_value_t = Options::default().days, value_parser = clap::value_parser!(u32).range(1..=28))]
    days: u32,
    /// About how many people are in meetings at the fullest time, a Monday's or Wednesday's exam
    #[arg(long, default_value_t = Options::default().peak, value_parser = clap::value_parser!(u32).range(100..=15_000))]
    peak: u32,
    /// People that a host can take
    #[arg(long, default_value_t = Options::default().capacity, value_parser = clap::value_parser!(u32).range(50..=1000))]
    capacity: u32,
    /// Seconds between two polls of Scalelite's (its POLL_INTERVAL, 60 by default)
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().poll, value_parser = clap::value_parser!(u32).range(5..=600))]
    poll: u32,
    /// People that a host is to have on average: the parameter Target of the scaling policy
    #[arg(long, value_parser = above_zero)]
    target: Option<f64>,
    /// Minutes from an instance's launch until BigBlueButton answers: 25 for an installation, 3 for an image
    #[arg(long, value_name = "MINUTES", default_value_t = Options::default().boot, value_parser = above_zero)]
    boot: f64,
    /// Percentage of the instances that EC2 takes back in an hour
    #[arg(long, value_name = "PERCENT", default_value_t = Options::default().spot, value_parser = percentage)]
    spot: f64,
    /// Price of an instance hour in USD
    #[arg(long, value_name = "USD", default_value_t = Options::default().price, value_parser = above_zero)]
    price: f64,
    /// Least size of the Auto Scaling groups
    #[arg(long, value_name = "HOSTS", default_value_t = Options::default().sizes.0, value_parser = clap::value_parser!(u32).range(1..=200))]
    min: u32,
    /// Greatest size of the Auto Scaling groups
    #[arg(long, value_name = "HOSTS", default_value_t = Options::default().sizes.1, value_parser = clap::value_parser!(u32).range(1..=200))]
    max: u32,
    /// Hosts in teaching hours, as a percentage of those that the peak needs at the target
    #[arg(long, value_name = "PERCENT", default_value_t = Options::default().teaching, value_parser = percentage)]
    teaching: f64,
    /// Size of the fixed fleet; without it, as many hosts as the fullest time needs at the target
    #[arg(long, value_name = "HOSTS", value_parser = clap::value_parser!(u32).range(1..=200))]
    fixed: Option<u32>,
    /// Template of the scaling policy
    #[arg(long, value_name = "FILE", default_value_os_t = Options::default().scaling)]
    scaling: PathBuf,
    /// A parameter of that template
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
    /// A setting of bbb-agent
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// File for a drawing of hosts, load and drains (SVG)
    #[arg(long, value_name = "FILE")]
    figure: Option<PathBuf>,
    /// Keeps the table in docs/figures.md and the drawing in docs/day.svg; takes no other options
    #[arg(long, exclusive = true)]
    keep: bool,
}

fn number(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if number.is_finite() { Ok(number) } else { Err("it is not a number".to_owned()) }
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if number > 0.0 { Ok(number) } else { Err("it has to be above 0".to_owned()) }
}

fn percentage(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    let fits = (0.0..=100.0).contains(&number);
    if fits { Ok(number) } else { Err("it has to be from 0 to 100".to_owned()) }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or("it is not NAME=VALUE".to_owned())
}

impl Arguments {
    fn options(&self) -> Options {
        let mut options = Options {
            seed: self.seed,
            days: self.days,
            peak: self.peak,
            capacity: self.capacity,
            poll: self.poll,
            boot: self.boot,
            spot: self.spot,
            price: self.price,
            sizes: (self.min, self.max),
            fixed: self.fixed,
            teaching: self.teaching,
            scaling: self.scaling.clone(),
            parameters: self.parameters.iter().cloned().collect(),
            set: self.set.clone(),
        };
        if let Some(target) = self.target {
            options.parameters.insert("Target".to_owned(), target.to_string());
        }
        options
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.max < arguments.min {
        eprintln!("tests/day: --max {} is less than --min {}", arguments.max, arguments.min);
        return ExitCode::from(2);
    }
    match report(&arguments) {
        Ok(well) => well,
        Err(error) => {
            eprintln!("tests/day: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &Arguments) -> Result<ExitCode, String> {
    let report = run(&arguments.options())?;
    print!("{report}");
    if let Some(file) = &arguments.figure {
        std::fs::write(file, report.figure()?).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if arguments.keep {
        keep_in_docs(&report)?;
    }
    for line in report.broken() {
        eprintln!("tests/day: {line}");
    }
    Ok(if report.broken().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the table and the drawing into the documents.
fn keep_in_docs(report: &Report) -> Result<(), String> {
    let (page, figure) = (root().join("docs/figures.md"), root().join("docs/day.svg"));
    let failed = |file: &Path, error: &std::io::Error| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(&page).map_err(|error| failed(&page, &error))?;
    let text = keep(&text, report).ok_or_else(|| format!("{} has no place for the table", page.display()))?;
    std::fs::write(&page, text).map_err(|error| failed(&page, &error))?;
    std::fs::write(&figure, report.figure()?).map_err(|error| failed(&figure, &error))
}
