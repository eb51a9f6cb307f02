//! systemd as a service meets it: a `systemctl` that lists jobs, and a socket that takes notifications.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use sandbox::http::ServiceName;

use crate::{Rig, Running};

/// Lists what stands in the file beside it, to whoever asks as systemctl can be asked.
const SYSTEMCTL: &str = "test \"$*\" = 'list-jobs --full --no-legend --no-pager' || exit 9\n\
    exec cat \"${0%/*}/jobs\"\n";

/// Fails as where systemd does not answer.
const FAILS: &str = "echo 'Failed to list jobs: Connection timed out' >&2\nexit 1\n";

/// What is wrong with a `systemctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It ends with an error, as where systemd does not answer.
    Fails,
    /// It prints nothing and does not end.
    Silent,
    /// It prints the jobs after a while that nobody waits for.
    Late,
    /// There is none.
    Missing,
}

/// One systemd, for one service.
#[derive(Debug)]
pub struct Systemd {
    directory: TempDir,
    told: watch::Receiver<Vec<String>>,
    reader: JoinHandle<()>,
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Systemd {
    /// Without a job.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        let (sender, told) = watch::channel(Vec::new());
        let reader = tokio::spawn(async move {
            let mut part = [0; 4096];
            while let Ok(length) = socket.recv(&mut part).await {
                let text = String::from_utf8_lossy(part.get(..length).unwrap_or_default()).into_owned();
                sender.send_modify(|told| told.push(text.trim_end().to_owned()));
            }
        });
        let systemd = Self { directory, told, reader };
        systemd.answers_with(SYSTEMCTL);
        // Whoever signals a service in a test stands for an operator's `systemctl stop`, unless the test says more.
        systemd.does(&["bbb-agent.service stop", "turn-agent.service stop"]);
        systemd
    }

    /// Its `systemctl` has this trouble from now on.
    pub fn has(&self, trouble: Trouble) {
        match trouble {
            Trouble::Fails => self.answers_with(FAILS),
            Trouble::Silent => self.answers_with("exec sleep 600\n"),
            Trouble::Late => self.answers_with(&format!("sleep 30\n{SYSTEMCTL}")),
            Trouble::Missing => std::fs::remove_file(self.systemctl()).expect("a program"),
        }
    }

    fn answers_with(&self, script: &str) {
        sandbox::binaries::script(&self.systemctl(), &format!("#!/bin/sh\n{script}")).expect("a program");
    }

    /// Its jobs from now on, such as `reboot.target start`.
    pub fn does(&self, jobs: &[&str]) {
        let line = |(number, job): (usize, &&str)| {
            let (unit, kind) = job.split_once(' ').expect("a unit and what is done to it");
            format!("{:4} {unit:<24} {kind:<7} waiting\n", number + 1)
        };
        let lines: String = jobs.iter().enumerate().map(line).collect();
        std::fs::write(self.file("jobs"), lines).expect("a file");
    }

    /// Makes this command one that systemd has started.
    pub fn starts(&self, command: &mut Command) {
        command
            .env("PATH", format!("{}:/usr/bin:/bin", self.directory.path().display()))
            .env("NOTIFY_SOCKET", self.file("notify"))
            .env("INVOCATION_ID", "0123456789abcdef0123456789abcdef");
    }

    /// Where its `systemctl` is.
    pub fn systemctl(&self) -> PathBuf {
        self.file("systemctl")
    }

    /// What it was told so far, a notification each.
    pub fn told(&self) -> Vec<String> {
        self.told.borrow().clone()
    }

    /// Returns once it was told something in which this text stands.
    pub async fn hears(&self, words: &str) {
        self.hears_again(words, 1).await;
    }

    /// Returns once it was told something in which this text stands so often.
    pub async fn hears_again(&self, words: &str, times: usize) {
        let heard = |told: &Vec<String>| told.iter().filter(|one| one.contains(words)).count() >= times;
        self.wait(&format!("{words:?} {times} times"), heard).await;
    }

    /// How often it was told that the service is ready.
    pub fn readies(&self) -> usize {
        self.told.borrow().iter().filter(|one| *one == "READY=1").count()
    }

    /// What the service said last that it does.
    pub fn status(&self) -> String {
        status(&self.told.borrow()).to_owned()
    }

    /// Returns once the service says that it does something in which all these texts stand.
    pub async fn shows(&self, words: &[&str]) {
        let shown = |told: &Vec<String>| words.iter().all(|words| status(told).contains(words));
        self.wait(&format!("a status with {words:?}"), shown).await;
    }

    /// Returns once the service says exactly this.
    pub async fn shows_exactly(&self, words: &str) {
        self.wait(&format!("the status {words:?}"), |told| status(told) == words).await;
    }

    async fn wait(&self, what: &str, heard: impl FnMut(&Vec<String>) -> bool) {
        let mut told = self.told.clone();
        if tokio::time::timeout(crate::process::PATIENCE, told.wait_for(heard)).await.is_err() {
            panic!("systemd does not hear {what}, but {:#?}", self.told());
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn status(told: &[String]) -> &str {
    told.iter().rev().find_map(|one| one.strip_prefix("STATUS=")).unwrap_or_default()
}

/// What makes whatever a service waits for come soon, and nothing come by chance ...
const SOON: [&str; 2] = ["checks.metadata=1", "sweep.enabled=false"];
/// ... on a BBB host.
const SOON_OF_BBB: [&str; 3] = ["checks.work=1", "drain.quiet=0", "scalelite.poll_interval=5"];

impl Rig {
    /// Starts the service with these settings, as systemd does where one is given; what it looks at again and again, it
    /// looks at every second.
    pub fn serve(&self, systemd: Option<&Systemd>, settings: &[&str]) -> Running {
        let bbb = SOON_OF_BBB.iter().filter(|_| self.prefix != "tu-");
        let settings = SOON.iter().chain(bbb).chain(settings).flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = std::iter::once("run").chain(settings).collect();
        let mut command = self.command(&arguments);
        if let Some(systemd) = systemd {
            systemd.starts(&mut command);
        }
        Running::start(command)
    }

    /// Puts a meeting onto the host that was created through Scalelite.
    pub fn meet(&self, id: &str) {
        self.host.bbb.start_meeting(id, 3);
        self.cloud.scalelite.map_meeting(id, &self.entry().id);
    }

    /// The ids of the meetings that run on the host.
    pub fn meetings(&self) -> Vec<String> {
        self.host.bbb.snapshot().meetings.into_iter().map(|meeting| meeting.id).collect()
    }

    /// The agent's requests to Scalelite that change something, in order.
    pub fn changes_in_scalelite(&self) -> Vec<String> {
        self.calls(ServiceName::Scalelite).into_iter().filter(|call| !call.starts_with("get")).collect()
    }
}
