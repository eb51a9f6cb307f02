//! A journald of a test's own.

use std::collections::BTreeMap;
use std::process::Stdio;

use e2e::{Rig, Running, Service, Systemd, skipped};
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Puts the test's own journal where the real one is, for this process only, and says that standard error leads there.
const BELOW_A_JOURNAL: &str = "
    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal || exit 98
    mount --bind \"$JOURNAL\" /run/systemd/journal || exit 99
    JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)
    export JOURNAL_STREAM
    exec \"$0\" \"$@\"";

pub(crate) type Line = BTreeMap<String, String>;

/// A journald that keeps what it gets.
pub(crate) struct Journal {
    directory: TempDir,
    lines: watch::Receiver<Vec<Line>>,
    /// Whether it reads.
    reads: watch::Sender<bool>,
    reader: JoinHandle<()>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Journal {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
        let (sender, lines) = watch::channel(Vec::new());
        let (reads, mut reading) = watch::channel(true);
        let reader = tokio::spawn(async move {
            let mut part = vec![0; 256 * 1024];
            while reading.wait_for(|reads| *reads).await.is_ok() {
                let length = tokio::select! {
                    Ok(length) = socket.recv(&mut part) => length,
                    _ = reading.changed() => continue,
                };
                let line = fields(&part[..length]);
                // The first one is empty: the logging library tries whether anybody listens.
                sender.send_modify(|lines| lines.extend((!line.is_empty()).then_some(line)));
            }
        });
        Self { directory, lines, reads, reader }
    }

    /// A command of this rig's agent that writes into this journal.
    fn command(&self, rig: &Rig, systemd: &Systemd, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
        command.arg(rig.agent.binary()).args(arguments).env_clear().envs(rig.agent.environment());
        systemd.starts(&mut command);
        command.env("JOURNAL", self.directory.path()).kill_on_drop(true);
        command
    }

    /// The service; `None`, with a word about it, where this process may not mount.
    pub(crate) async fn service(&self, rig: &Rig, settings: &[&str]) -> Option<Service> {
        let systemd = Systemd::start();
        let script = BELOW_A_JOURNAL.replace("exec \"$0\" \"$@\"", "exit 0");
        let mut allowed = self.command(rig, &systemd, &script, &[]);
        let allowed = allowed.stdin(Stdio::null()).stderr(Stdio::null()).status().await;
        if !allowed.is_ok_and(|status| status.success()) {
            skipped("a journal of the test's own needs root, who may mount");
            return None;
        }
        let soon = ["checks.metadata=1", "checks.work=1", "drain.quiet=0", "scalelite.poll_interval=5"];
        let settings = soon.iter().chain(settings).flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = std::iter::once("run").chain(settings).collect();
        let running = Running::start(self.command(rig, &systemd, BELOW_A_JOURNAL, &arguments));
        Some(Service { running, systemd })
    }

    /// Lets it read, or not.
    pub(crate) fn reads(&self, reads: bool) {
        self.reads.send_replace(reads);
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.borrow().clone()
    }

    /// Returns once a line has come in whose message has this text.
    pub(crate) async fn says(&self, text: &str) {
        let said = |lines: &Vec<Line>| lines.iter().any(|line| line["MESSAGE"].contains(text));
        self.lines.clone().wait_for(said).await.unwrap();
    }

    /// The lines with this field.
    pub(crate) fn with(&self, field: &str, value: &str) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.get(field).is_some_and(|it| it == value)).collect()
    }
}

/// Reads an entry of journald's native protocol: `KEY=value`, or `KEY`, the length as eight bytes and the value.
fn fields(mut entry: &[u8]) -> Line {
    let mut line = Line::new();
    while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
        let (head, rest) = (&entry[..end], &entry[end + 1..]);
        let head = String::from_utf8(head.to_vec()).unwrap();
        if let Some((key, value)) = head.split_once('=') {
            line.insert(key.to_owned(), value.to_owned());
            entry = rest;
        } else {
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            line.insert(head, String::from_utf8(rest[8..8 + length].to_vec()).unwrap());
            entry = &rest[8 + length + 1..];
        }
    }
    line
}
