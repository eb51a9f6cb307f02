//! The machine on which figures are taken.

use std::fs;
use std::path::Path;
use std::process::Command;

use bench::kept::Machine;

use crate::Error;

/// Describes this machine, and the agents in this file.
pub(crate) fn this(agent: &Path) -> Result<Machine, Error> {
    let field = |path: &str, name: &str| -> Result<String, Error> {
        let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.unwrap_or_default().trim_matches([' ', '\t', ':']).to_owned())
    };
    let memory: u64 = field("/proc/meminfo", "MemTotal:")?.trim_end_matches(" kB").parse()?;
    Ok(Machine {
        cpu: field("/proc/cpuinfo", "model name")?,
        cores: std::thread::available_parallelism()?.get(),
        memory: memory / 1024,
        // The distributor's additions to the release are left out.
        kernel: field("/proc/sys/kernel/osrelease", "")?.split('-').next().unwrap_or_default().to_owned(),
        compiler: first_line(Command::new("rustc").arg("--version"))?,
        agents: first_line(Command::new(agent).arg("--version"))?,
    })
}

/// Returns the average number of processes that ran or were ready to run in the last minute.
pub(crate) fn load() -> Result<String, Error> {
    let averages = fs::read_to_string("/proc/loadavg")?;
    Ok(averages.split(' ').next().unwrap_or_default().to_owned())
}

fn first_line(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().ok_or_else(|| format!("{program} said nothing"))?.to_owned())
}
