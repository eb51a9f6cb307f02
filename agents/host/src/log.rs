//! The destination of log lines: journald's native protocol under systemd, else standard error in a readable form. A
//! log that cannot be written never stops the work, and one that is not read never stops the service.

mod queue;
mod relay;

use std::fmt::Debug;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use clients::untrusted::visible_line;

/// The severity from which on messages are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Failures for good.
    Error,
    /// Failures that are tried again.
    Warn,
    /// Decisions and actions.
    Info,
    /// Questions and answers, without secrets.
    Debug,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        }
    }
}

/// Reports whether standard error still goes to the journal: systemd sets `JOURNAL_STREAM` to device and inode of the
/// journal's socket, and a redirection would change them (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let ours = std::io::stderr().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata());
    let ours = ours.map(|metadata| format!("{}:{}", metadata.dev(), metadata.ino()));
    ours.is_ok_and(|ours| std::env::var("JOURNAL_STREAM").is_ok_and(|journal| journal == ours))
}

/// The target of the span that names a line's host, for a journal in which the lines of many hosts come together.
pub const HOST: &str = "whose";

/// The fields that only repeat, for programs, a part of the line.
const REPEATED: [&str; 3] = ["action", "state", "reason"];

/// Writes a field for a person at a terminal, where text from others must not look like another line. To the journal a
/// field's length is told, so that no text can look like another field.
fn write(to: &mut format::Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    match field.name() {
        "message" => to.write_str(&visible_line(&format!("{value:?}"))),
        name if REPEATED.contains(&name) => Ok(()),
        name => write!(to, " {name}={}", visible_line(&format!("{value:?}"))),
    }
}

/// The places to which lines may go.
#[derive(Clone)]
enum Destination {
    /// The journal, under this name of a program; standard error where there is no journal.
    Journal(String),
    /// Standard error.
    Terminal,
}

impl Destination {
    fn of(name: &str) -> Self {
        if stderr_is_the_journal() { Self::Journal(name.to_owned()) } else { Self::Terminal }
    }

    /// Connects to the journal, which may make its caller wait.
    fn journal(self) -> Option<tracing_journald::Layer> {
        let Self::Journal(name) = self else { return None };
        let journal = tracing_journald::layer().ok()?;
        Some(journal.with_field_prefix(None).with_syslog_identifier(name))
    }
}

/// Returns the filter: only our own crates are logged, because a library's debug output may contain secrets, such as
/// URLs with a checksum; `whose` lets the host's span pass, too.
fn targets(level: Level, whose: bool) -> Targets {
    Targets::new()
        .with_target("clients", level.filter())
        .with_target("host", level.filter())
        .with_target("bbb_agent", level.filter())
        .with_target("turn_agent", level.filter())
        .with_target(HOST, if whose { LevelFilter::INFO } else { LevelFilter::OFF })
}

/// Returns the layer that writes lines for people to standard error.
fn readable<S: Subscriber + for<'a> LookupSpan<'a>>(ansi: bool) -> impl Layer<S> {
    fmt::layer()
        .fmt_fields(format::debug_fn(write))
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .without_time()
        // Its complaint about a full disk would itself go to standard error, and panic.
        .log_internal_errors(false)
}

/// Has all lines of this process written by a thread of its own from now on, so that nobody who logs ever waits for a
/// reader. What is still unwritten at the end needs a [`flush`].
pub fn in_background() {
    relay::begin();
}

/// Starts logging for the rest of the process.
pub fn start(name: &str, level: Level) {
    let destination = Destination::of(name);
    let registry = tracing_subscriber::registry();
    let _ = match relay::layer(&destination, level) {
        Some(relay) => registry.with(relay.with_filter(targets(level, true))).try_init(),
        None => match destination.journal() {
            Some(journal) => registry.with(journal.with_filter(targets(level, true))).try_init(),
            None => {
                let ansi = std::io::stderr().is_terminal();
                registry.with(readable(ansi).with_filter(targets(level, false))).try_init()
            }
        },
    };
}

/// Writes a line to standard error, in the order of what is logged. A full disk or a closed pipe is no reason to fail.
pub fn complain(line: String) {
    if let Some(line) = relay::text(line) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Returns how many lines were dropped since the process began, because nobody took them in time.
pub fn dropped() -> u64 {
    relay::lost()
}

/// Waits for the last lines to be written, for a second at most.
pub fn flush() {
    relay::flush();
}
