//! A command's report to its user: lines on standard output, one error chain on standard error, and an exit code for
//! the kind of its end.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clients::untrusted::{visible, visible_line};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::log;

/// An exit code. The codes are part of the interface: scripts and units branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or healthy.
    Done,
    /// It failed, and trying again will not help: see the message.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// `status`: not registered.
    NotRegistered,
    /// `status`: registered, but not as it should be. `fleet`: something is wrong.
    Drift,
    /// `status`, `fleet`: could not be determined.
    CannotTell,
    /// The name belongs to another instance, or the host's group terminates it; nothing was changed.
    Refused,
    /// The name is registered; BBB is not ready yet, so the host has not joined Scalelite.
    WaitingForBbb,
    /// A service did not answer as it should within the time; trying again may help.
    TryAgain,
    /// The name is registered, but the rest is not done: it is not live everywhere in time, or joining Scalelite
    /// failed.
    Partly,
    /// Stopped by this signal.
    Interrupted(i32),
}

/// Every exit code with its meaning, for `--help`, the manual page and docs/reference.md.
pub const EXIT_CODES: [(Exit, &str); 12] = [
    (Exit::Done, "done; status: registered; fleet: in order"),
    (Exit::Failed, "failed for good: see the message"),
    (Exit::Usage, "the command line or the configuration is wrong"),
    (Exit::NotRegistered, "status: not registered"),
    (Exit::Drift, "status: registered, but not as it should be; fleet: something is wrong"),
    (Exit::CannotTell, "status, fleet: cannot tell"),
    (
        Exit::Refused,
        "refused, nothing was changed: the name is another instance's, or this host is on its way out or in a warm pool",
    ),
    (Exit::WaitingForBbb, "the name is registered, BBB is not ready yet: not in Scalelite"),
    (Exit::TryAgain, "a service did not answer in time: try again"),
    (Exit::Partly, "the name is registered, but not live everywhere in time, or joining Scalelite failed"),
    (Exit::Interrupted(SIGINT), "stopped by SIGINT: run it again to complete"),
    (Exit::Interrupted(SIGTERM), "stopped by SIGTERM: run it again to complete"),
];

/// Returns the exit codes for the end of a help text.
pub fn exit_codes() -> String {
    let lines = EXIT_CODES.iter().map(|(exit, meaning)| format!("\n  {}  {meaning}", exit.code()));
    format!("Exit codes:{}", lines.collect::<String>())
}

impl Exit {
    /// Returns the number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRegistered => 3,
            Self::Drift => 4,
            Self::CannotTell => 5,
            Self::Refused => 6,
            Self::WaitingForBbb => 7,
            Self::TryAgain => 8,
            Self::Partly => 9,
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

/// Converts the code of another process. A number that no [`Exit`] has counts as a plain failure.
impl From<u8> for Exit {
    fn from(code: u8) -> Self {
        let known = EXIT_CODES.iter().map(|(exit, _)| *exit).find(|exit| exit.code() == code);
        match code {
            129.. => Self::Interrupted(i32::from(code) - 128),
            _ => known.unwrap_or(Self::Failed),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A command's failure: the action and its object, the answer, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of end.
    pub exit: Exit,
    what: String,
    cause: Option<String>,
    advice: Option<String>,
    turn: Option<Duration>,
}

impl Failure {
    /// Creates a failure of this action on its object.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), cause: None, advice: None, turn: None }
    }

    /// Replaces the exit code.
    #[must_use]
    pub fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Adds the answer.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Returns the action and the answer in one line.
    pub fn headline(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {cause}", self.what),
            None => self.what.clone(),
        }
    }

    /// Adds the time from now at which it is this host's turn to try again.
    #[must_use]
    pub fn at(mut self, turn: Duration) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Returns the time from then at which it is this host's turn to try again, if it has to wait for others.
    pub fn turn(&self) -> Option<Duration> {
        self.turn
    }

    /// Adds advice for the operator.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some(advice) = &self.advice {
            write!(f, "\n  what to do: {advice}")?;
        }
        Ok(())
    }
}

/// Prints a line that is useful but not the purpose of the command: a full disk or a closed pipe is no reason to fail.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{}", visible(&line.to_string()));
}

/// A step's account of what it has done.
#[derive(Debug)]
pub enum Said {
    /// Something was changed.
    Done(String),
    /// Something was left alone, because it is another host's.
    LeftAlone(String),
    /// There was nothing to do.
    Nothing(String),
    /// The executor has shown what it would do.
    Shown,
}

impl Said {
    /// Prints the words on standard output.
    pub fn say(&self) {
        match self {
            Self::Done(words) | Self::LeftAlone(words) | Self::Nothing(words) => say(words),
            Self::Shown => {}
        }
    }

    /// Returns the words for people who did not ask: that there was nothing to do is no news.
    pub fn news(self) -> Option<String> {
        match self {
            Self::Done(words) | Self::LeftAlone(words) => Some(words),
            Self::Nothing(_) | Self::Shown => None,
        }
    }
}

/// Prints the answer that is the purpose of the command: if it cannot be written, the command has failed.
pub fn answer(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| Failure::new(Exit::Failed, "cannot write to standard output").because(error))
}

/// The sequence that clears a terminal and goes to its first line (ECMA-48: ED, CUP).
pub const CLEAR: &str = "\x1b[2J\x1b[H";

/// Draws a screen over the one before: nothing flickers, and nothing of that one is left.
pub fn redraw(screen: &str) -> Result<(), Failure> {
    let lines: String = screen.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    answer(format_args!("\x1b[H{lines}\x1b[J"))
}

/// Prints the whole answer of a command.
pub fn done(text: impl fmt::Display) -> Result<Exit, Failure> {
    answer(text).map(|()| Exit::Done)
}

/// Prints a failure on standard error: a [`Failure`], as a command's last line, or the service's words about one.
pub fn complain(agent: &str, failure: impl fmt::Display) {
    log::complain(format!("{agent}: {}", visible(&failure.to_string())));
}

/// Replaces a line on a terminal; prints nothing elsewhere, because a log has no use for progress.
pub fn progress(line: &str) {
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        let _ = write!(std::io::stderr(), "\r\x1b[2K{}", visible_line(line));
    }
}

/// Ends the progress line.
pub fn progress_done() {
    progress("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_way_back() {
        for code in 0..=u8::MAX {
            let exit = Exit::from(code);
            let known = matches!(code, 0..=9 | 129..);
            assert_eq!(exit.code(), if known { code } else { Exit::Failed.code() });
        }
        for exit in [Exit::Done, Exit::Partly, Exit::Interrupted(2), Exit::Interrupted(15)] {
            assert_eq!(Exit::from(exit.code()), exit);
        }
    }
}
