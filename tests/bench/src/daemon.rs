//! A program that goes on: what the kernel says about it, signals, its end.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Error;

/// The kernel counts CPU time for `/proc` in hundredths of a second (`USER_HZ`, proc(5)).
const TICK_MICROSECONDS: u64 = 10_000;

/// What the kernel says about a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// CPU time in user and kernel mode, in microseconds.
    pub(crate) cpu: u64,
    /// The memory that it has now, in bytes.
    pub(crate) resident: u64,
    /// The most memory that it had at once, in bytes.
    pub(crate) peak: u64,
}

/// A process; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts a command. With `until`, returns once a line with this text came on its standard error.
    pub(crate) async fn start(mut command: Command, until: Option<&str>) -> Result<Self, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let mut said = Vec::new();
        if let Some(until) = until {
            while !said.last().is_some_and(|line: &String| line.contains(until)) {
                let line = lines.next_line().await?;
                said.push(line.ok_or_else(|| format!("it ended without {until:?}: {}", said.join("; ")))?);
            }
        }
        // Whoever writes must find a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self(child))
    }

    /// What the kernel says about it now.
    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let id = self.id()?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name may contain anything; what follows it does not. utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/PID/stat is of another kind")?;
        let mut cpu = 0;
        for field in fields.split(' ').skip(11).take(2) {
            cpu += field.parse::<u64>()? * TICK_MICROSECONDS;
        }
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let memory = |name| -> Result<u64, Error> {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such field")?;
            Ok(value.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
        };
        Ok(Usage { cpu, resident: memory("VmRSS:")?, peak: memory("VmHWM:")? })
    }

    /// Sends SIGTERM. Starting the shell for that takes one or two milliseconds.
    pub(crate) async fn terminate(&self) -> Result<(), Error> {
        let id = self.id()?.to_string();
        let status = Command::new("/bin/sh").args(["-c", "kill -s TERM \"$0\"", &id]).status().await?;
        if status.success() { Ok(()) } else { Err(format!("cannot send a signal to {id}").into()) }
    }

    /// Waits until it ends well.
    pub(crate) async fn end(mut self) -> Result<(), Error> {
        let status = self.0.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("the service ended with {status}").into()) }
    }

    /// Ends it at once.
    pub(crate) async fn kill(mut self) -> Result<(), Error> {
        Ok(self.0.kill().await?)
    }

    fn id(&self) -> Result<u32, Error> {
        self.0.id().ok_or_else(|| "it has ended".into())
    }
}
