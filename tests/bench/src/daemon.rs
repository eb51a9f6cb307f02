//! A program that keeps running: its use of resources, signals to it, and its end.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStderr;
use tokio::task::spawn_blocking;
use wait4::Wait4;

use crate::Error;

/// The kernel's figures for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// The present memory, in bytes.
    pub(crate) resident: u64,
    /// The highest memory so far, in bytes.
    pub(crate) peak: u64,
    /// The present number of threads.
    pub(crate) threads: u64,
    /// The present number of children.
    pub(crate) children: u64,
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon(Option<Child>);

impl Daemon {
    /// Starts a command. With `until`, returns once a line with this text has come on its standard error.
    pub(crate) async fn start(mut command: Command, until: Option<&str>) -> Result<Self, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stderr = child.stderr.take();
        let daemon = Self(Some(child));
        let stderr = ChildStderr::from_std(stderr.ok_or("no standard error")?)?;
        let mut lines = BufReader::new(stderr).lines();
        let mut said = Vec::new();
        if let Some(until) = until {
            while !said.last().is_some_and(|line: &String| line.contains(until)) {
                let line = lines.next_line().await?;
                said.push(line.ok_or_else(|| format!("it ended without {until:?}: {}", said.join("; ")))?);
            }
        }
        // The process must always find a reader for its output.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(daemon)
    }

    /// Returns the kernel's present figures for the process.
    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let id = self.id()?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name| -> Result<u64, Error> {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such field")?;
            Ok(value.trim().trim_end_matches(" kB").parse()?)
        };
        let mut children = 0;
        for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
            let list = std::fs::read_to_string(task?.path().join("children"))?;
            children += u64::try_from(list.split_whitespace().count())?;
        }
        let (resident, peak) = (field("VmRSS:")? * 1024, field("VmHWM:")? * 1024);
        Ok(Usage { resident, peak, threads: field("Threads:")?, children })
    }

    /// Returns the CPU time of the present threads, in microseconds; that is all CPU time as long as no thread has
    /// ended.
    pub(crate) fn cpu(&self) -> Result<u64, Error> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.id()?))? {
            // The scheduler counts exactly; other files count in hundredths of a second (proc(5)).
            let spent = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += spent.split(' ').next().ok_or("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(nanoseconds / 1000)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> Result<(), Error> {
        let id = Pid::from_raw(i32::try_from(self.id()?)?).ok_or("no process has the number zero")?;
        Ok(kill_process(id, Signal::TERM)?)
    }

    /// Waits until the process ends successfully.
    pub(crate) async fn end(self) -> Result<(), Error> {
        let (status, _) = self.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("the service ended with {status}").into()) }
    }

    /// Kills the process. Returns the CPU time of its whole life, in microseconds.
    pub(crate) async fn kill(mut self) -> Result<u64, Error> {
        self.0.as_mut().ok_or("it has ended")?.kill()?;
        match self.wait().await? {
            (status, cpu) if status.signal() == Some(Signal::KILL.as_raw()) => Ok(cpu),
            (status, _) => Err(format!("it had ended before, with {status}").into()),
        }
    }

    async fn wait(mut self) -> Result<(std::process::ExitStatus, u64), Error> {
        let child = self.0.take().ok_or("it has ended")?;
        let ended = spawn_blocking(move || child.wait4()).await??;
        Ok((ended.status, u64::try_from((ended.rusage.utime + ended.rusage.stime).as_micros())?))
    }

    fn id(&self) -> Result<u32, Error> {
        self.0.as_ref().map(Child::id).ok_or_else(|| "it has ended".into())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // The process may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
