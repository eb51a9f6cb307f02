//! The destination of log lines: journald's native protocol under systemd, else standard error in a readable form. A
//! log that cannot be written never stops the work.

use std::fmt::Debug;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::field::Field;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::SubscriberExt;
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

/// Writes a field for a person at a terminal, where text from others must not look like another line. The journal
/// takes fields as they are; journalctl shows those with control characters as blobs.
fn write(to: &mut format::Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    match field.name() {
        "message" => to.write_str(&visible_line(&format!("{value:?}"))),
        name if REPEATED.contains(&name) => Ok(()),
        name => write!(to, " {name}={}", visible_line(&format!("{value:?}"))),
    }
}

/// Starts logging for the rest of the process. Only our own crates are logged: a library's debug output may contain
/// secrets, such as URLs with a checksum.
pub fn start(name: &str, level: Level) {
    let ours = tracing_subscriber::filter::Targets::new()
        .with_target("clients", level.filter())
        .with_target("host", level.filter())
        .with_target("bbb_agent", level.filter())
        .with_target("turn_agent", level.filter());
    match stderr_is_the_journal().then(tracing_journald::layer).and_then(Result::ok) {
        Some(journal) => {
            let journal = journal.with_field_prefix(None).with_syslog_identifier(name.to_owned());
            let ours = ours.with_target(HOST, LevelFilter::INFO);
            let _ = tracing_subscriber::registry().with(journal.with_filter(ours)).try_init();
        }
        None => {
            let readable = fmt::layer()
                .fmt_fields(format::debug_fn(write))
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .without_time()
                // Its complaint about a full disk would itself go to standard error, and panic.
                .log_internal_errors(false);
            let _ = tracing_subscriber::registry().with(readable.with_filter(ours)).try_init();
        }
    }
}
