//! `tests/storm`.
use std::process::ExitCode;
use std::time::Duration;

use rush::{Error, Options, crowd, storm};
use sandbox::route53::BucketSize;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result =
        if arguments.first().is_some_and(|a| a == "--crowd") { crowd::serve() } else { run(&arguments) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(a: &[String]) -> Result<(), Error> {
    let n = |i: usize, d: f64| a.get(i).and_then(|t| t.parse().ok()).unwrap_or(d);
    let options = Options {
        hosts: n(0, 300.0) as u16,
        quota: BucketSize { capacity: n(2, 50.0) as u32, per_second: n(1, 10.0) },
        spread: n(3, 0.0) as u64,
        processes: 8,
        propagation: Duration::from_secs(1),
        patience: Duration::from_secs(300),
        leave: a.iter().any(|a| a == "--leave").then(|| Duration::from_secs(80)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let figures = runtime.block_on(storm(&options, &std::env::current_exe()?))?;
    println!("{figures:#?}");
    println!(
        "x {:.2} calls/host {:.2}",
        figures.boot.time.as_secs_f64() / figures.least.as_secs_f64().max(0.1),
        figures.boot.total() as f64 / n(0, 300.0)
    );
    Ok(())
}
