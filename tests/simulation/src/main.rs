//! The program that runs seeds of the simulation; for its use see `tests/simulate`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::process::ExitCode;

use simulation::MUTANTS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match arguments.as_slice() {
        ["--seed", seed] => number(seed).map(replay),
        ["--seeds", count] => number(count).map(|count| run(0, count)),
        ["--seeds", count, from] => number(count).zip(number(from)).map(|(count, from)| run(from, count)),
        ["--mutants"] => {
            println!("{}", MUTANTS.len());
            Some(ExitCode::SUCCESS)
        }
        ["--mutate", index, sources] => index.parse().ok().map(|index| mutate(index, Path::new(sources))),
        _ => None,
    }
    .unwrap_or_else(|| {
        eprintln!("simulation: --seed SEED, --seeds COUNT [FROM], --mutants, or --mutate NUMBER SOURCES");
        ExitCode::from(2)
    })
}

/// Puts one fault into a copy of the sources, and prints its name.
fn mutate(index: usize, sources: &Path) -> ExitCode {
    let Some(mutant) = MUTANTS.get(index) else { return ExitCode::from(2) };
    let file = sources.join(mutant.file);
    let changed =
        std::fs::read_to_string(&file).and_then(|source| match source.matches(mutant.from).count() {
            1 => std::fs::write(&file, source.replacen(mutant.from, mutant.to, 1)).map(|()| true),
            _ => Ok(false),
        });
    match changed {
        Ok(false) => {
            eprintln!("simulation: {}: not there exactly once: {}", file.display(), mutant.from);
            ExitCode::FAILURE
        }
        Ok(true) => {
            println!("{}", mutant.name);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simulation: {}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}

fn replay(seed: u64) -> ExitCode {
    match simulation::run(seed, true) {
        Ok(outcome) => {
            for line in &outcome.trace {
                println!("{line}");
            }
            for line in &outcome.broken {
                println!("seed {seed}: {line}");
            }
            if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("simulation: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(from: u64, count: u64) -> ExitCode {
    let report = simulation::run_many(from, count);
    println!("{report}");
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
