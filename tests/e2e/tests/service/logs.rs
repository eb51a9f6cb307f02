//! What the service writes into the journal: a line for each decision, with the fields that people filter by, and none
//! while nothing happens.

use std::collections::BTreeMap;
use std::process::Stdio;

use e2e::{Rig, Running, Service, Systemd, skipped};
use sandbox::bbb::Mode;
use sandbox::http::ServiceName::Bbb;
use sandbox::scalelite::ServerState;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PLAIN: [&str; 1] = ["protection.enabled=false"];
const OTHER: &str = "i-0fedcba9876543210";

/// Puts the test's own journal where the real one is, for this process only, and says that standard error leads there.
const BELOW_A_JOURNAL: &str = "
    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal || exit 98
    mount --bind \"$JOURNAL\" /run/systemd/journal || exit 99
    JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)
    export JOURNAL_STREAM
    exec \"$0\" \"$@\"";

type Line = BTreeMap<String, String>;

/// A journald that keeps what it gets.
struct Journal {
    directory: TempDir,
    lines: watch::Receiver<Vec<Line>>,
    reader: JoinHandle<()>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Journal {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
        let (sender, lines) = watch::channel(Vec::new());
        let reader = tokio::spawn(async move {
            let mut part = vec![0; 256 * 1024];
            while let Ok(length) = socket.recv(&mut part).await {
                let line = fields(&part[..length]);
                // The first one is empty: the logging library tries whether anybody listens.
                sender.send_modify(|lines| lines.extend((!line.is_empty()).then_some(line)));
            }
        });
        Self { directory, lines, reader }
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
    async fn service(&self, rig: &Rig, settings: &[&str]) -> Option<Service> {
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

    fn lines(&self) -> Vec<Line> {
        self.lines.borrow().clone()
    }

    /// Returns once a line has come in whose message has this text.
    async fn says(&self, text: &str) {
        let said = |lines: &Vec<Line>| lines.iter().any(|line| line["MESSAGE"].contains(text));
        self.lines.clone().wait_for(said).await.unwrap();
    }

    /// The lines with this field.
    fn with(&self, field: &str, value: &str) -> Vec<Line> {
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

#[tokio::test]
async fn what_people_filter_by_is_in_the_journal() {
    let rig = Rig::bbb().await;
    rig.host.bbb.set_mode(Mode::Starting);
    let journal = Journal::start();
    let Some(service) = journal.service(&rig, &PLAIN).await else { return };
    journal.says("waiting: ").await;
    rig.host.bbb.set_mode(Mode::Ready);
    service.systemd.shows_exactly("registered").await;
    rig.meet("room");
    rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Cordoned);
    rig.checked(&service).await;
    service.systemd.shows(&["somebody has it cordoned"]).await;
    rig.expect(0, &["register"]).await;
    rig.expect(0, &["drain"]).await;
    rig.host.bbb.end_meeting("room");
    service.systemd.shows(&["not registered: taken out by hand"]).await;
    let run = service.end(&[]).await;
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "all went into the journal");

    let lines = journal.lines();
    let known = lines.iter().position(|line| line["MESSAGE"].starts_with("this host is ")).unwrap();
    for line in &lines {
        assert_eq!(line["SYSLOG_IDENTIFIER"], "bbb-agent", "{line:?}");
    }
    for line in &lines[known..] {
        assert_eq!(line.get("INSTANCE_ID").map(String::as_str), Some(rig.host.id()), "{line:?}");
        assert_eq!(line.get("FQDN"), Some(&rig.fqdn()), "{line:?}");
    }
    let changes: Vec<(&str, &str)> = lines
        .iter()
        .filter_map(|line| line["MESSAGE"].split_once(" -> "))
        .map(|(before, after)| (before, after.split_once(':').unwrap().0))
        .collect();
    let life = [
        ("starting", "joining"),
        ("joining", "serving"),
        ("serving", "cordoned"),
        ("cordoned", "joining"),
        ("joining", "serving"),
        ("serving", "draining"),
        ("draining", "leaving"),
        ("leaving", "unregistered"),
    ];
    assert_eq!(changes[..life.len()], life);
    for line in lines.iter().filter(|line| line["MESSAGE"].contains(" -> ")) {
        let (state, words) = line["MESSAGE"].split_once(" -> ").unwrap().1.split_once(": ").unwrap();
        assert_eq!((line["STATE"].as_str(), line["REASON"].as_str()), (state, words), "{line:?}");
    }
    for action in ["change", "add", "enable", "cordon", "disable", "panic", "delete", "check", "join"] {
        assert!(!journal.with("ACTION", action).is_empty(), "no line has ACTION={action}: {lines:#?}");
    }
    let waiting = &journal.with("ACTION", "join")[0];
    assert_eq!(waiting["STATE"], "joining");
    assert!(waiting["REASON"].contains("504"), "{waiting:?}");
    // Every action once: the cordon of the drain, and what leaving takes.
    for (action, times) in
        [("add", 1), ("cordon", 1), ("disable", 1), ("panic", 1), ("delete", 1), ("change", 2)]
    {
        assert_eq!(journal.with("ACTION", action).len(), times, "{action}");
    }
}

#[tokio::test]
async fn trouble_is_a_warning_with_its_reason() {
    let rig = Rig::bbb().await;
    rig.give_away(OTHER, "192.0.2.7");
    let journal = Journal::start();
    let Some(service) = journal.service(&rig, &PLAIN).await else { return };
    journal.says(OTHER).await;
    let warnings = journal.with("ACTION", "name");
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    // As syslog numbers them.
    assert_eq!((warning["PRIORITY"].as_str(), warning["STATE"].as_str()), ("4", "joining"), "{warning:?}");
    assert!(warning["REASON"].contains(OTHER), "{warning:?}");
    rig.expect(6, &["register"]).await;
    assert_eq!(journal.with("ACTION", "name").len(), 1, "it is said once");
    rig.drop_in("wrong", "checks.name = 1\n");
    service.running.signal("HUP").await;
    journal.says("SIGHUP: the old configuration stays in use").await;
    let refused = &journal.with("ACTION", "reload")[0];
    assert_eq!(refused["PRIORITY"], "3", "{refused:?}");
    assert!(refused["MESSAGE"].contains("checks.name"), "{refused:?}");
}

fn lines(service: &Service) -> usize {
    service.running.complaints().lines().count()
}

#[tokio::test]
async fn a_host_that_is_as_it_should_be_says_nothing() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&["checks.name=5", "checks.scalelite=5"]).await;
    rig.meet("room");
    // Until its protection has begun, which is said.
    rig.cloud.journal.reached(sandbox::http::ServiceName::AutoScaling, "SetInstanceProtection", 1).await;
    rig.checked(&service).await;
    let before = lines(&service);
    rig.cloud.journal.clear();
    // The name, the entry, the work and what is intended with the host are looked at again, some of it often.
    rig.cloud.journal.reached(sandbox::http::ServiceName::Scalelite, "getServers", 1).await;
    rig.looked_at().await;
    rig.cloud.journal.reached(Bbb, "getMeetings", 5).await;
    rig.ticked(5).await;
    assert_eq!(lines(&service), before, "{}", service.running.complaints());
    // Whoever asks for a look gets a line for it, and no other.
    for _ in 0..10 {
        rig.checked(&service).await;
    }
    let complaints = service.running.complaints();
    let new: Vec<&str> = complaints.lines().skip(before).collect();
    assert!(new.len() >= 10, "{complaints}");
    assert!(new.iter().all(|line| line.contains("SIGUSR1: looking at everything again")), "{complaints}");
    service.restart("bbb-agent.service").await;
}

#[tokio::test]
async fn what_stays_wrong_is_said_once() {
    let rig = Rig::bbb().await;
    let mut service = rig.serving(&PLAIN).await;
    let records = rig.records();
    for time in 1..=2 {
        rig.give_away(OTHER, "192.0.2.7");
        service.running.signal("USR1").await;
        service.running.said(OTHER, time).await;
        for _ in 0..3 {
            rig.until(&service, rig.looked_at()).await;
        }
        let complaints = service.running.complaints();
        assert_eq!(complaints.matches(OTHER).count(), time, "{complaints}");
        // It is the host's own again: what happens after that is news.
        for (name, kind) in [
            (rig.fqdn(), sandbox::route53::RecordType::A),
            (rig.fqdn(), sandbox::route53::RecordType::Aaaa),
            (rig.ownership(), sandbox::route53::RecordType::Txt),
        ] {
            rig.cloud.route53.remove(&rig.cloud.zone_id, &name, kind, None);
        }
        rig.until(&service, service.systemd.shows_exactly("registered")).await;
        rig.checked(&service).await;
        assert_eq!(rig.records(), records);
    }
    service.end(&[]).await;
}
