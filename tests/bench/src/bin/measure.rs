//! `measure PROGRAM ARGUMENT...`: runs the program and prints its cost as JSON. The program's standard output is
//! discarded.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use bench::measure::Run;
use wait4::Wait4;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let mut command = Command::new(arguments.next().ok_or("which program?")?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let ended = command.spawn()?.wait4()?;
    let wall = started.elapsed();
    let run = Run {
        wall: u64::try_from(wall.as_micros())?,
        cpu: u64::try_from((ended.rusage.utime + ended.rusage.stime).as_micros())?,
        peak: ended.rusage.maxrss,
        code: ended.status.code(),
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&run)?)?;
    Ok(())
}
