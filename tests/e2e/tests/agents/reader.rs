//! BBB's property files that only root and a group may read: the agent, as a user without powers, has them read for it.
//! The reader is the real `bbb-agent settings`, started for each connection by a loop that stands for systemd's socket
//! activation (`Accept=yes`). BBB's secret is marked, and everything that is given away is searched for it.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use e2e::{Rig, Run, Running, at_once, skipped};
use plan::addresses::File;
use sandbox::cloud::{HostOptions, Options};
use sandbox::scalelite::{self, ServerState};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;

use crate::leaks::{BBB, SCALELITE, search};

/// The user that the agent runs as, and the group that may read BBB's files; neither has to exist.
const USER: u32 = 64_321;
const GROUP: u32 = 64_322;

/// Whether this process may become another user.
fn is_root() -> bool {
    // The owner of a process's own entry is its effective user.
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// An agent that has no powers, beside a reader that has.
struct Unprivileged {
    rig: Rig,
    binary: PathBuf,
    socket: PathBuf,
    /// What readers wrote to standard error.
    complaints: Arc<Mutex<String>>,
    _directory: tempfile::TempDir,
}

impl Unprivileged {
    async fn new(installed: bool) -> Self {
        let host = HostOptions { installed, secret: BBB.to_owned(), ..HostOptions::default() };
        let config = scalelite::Config { polled_at_once: true, ..scalelite::Config::new(SCALELITE) };
        let options = Options { host, scalelite: config, ..Options::with_tls() };
        let rig = Rig::start(options).await;
        let directory = tempfile::tempdir().unwrap();
        open(directory.path());
        // The checkout may be where only its owner gets.
        let binary = directory.path().join("bbb-agent");
        sandbox::binaries::copy(rig.agent.binary(), &binary).unwrap();
        let socket = directory.path().join("settings.sock");
        rig.drop_in("reader", &format!("[bbb]\nreader = \"{}\"\n", socket.display()));
        let unprivileged = Self { rig, binary, socket, complaints: Arc::default(), _directory: directory };
        unprivileged.open();
        unprivileged
    }

    /// Lets every user in to the host's files and the cloud's certificate, but not to BBB's property files.
    fn open(&self) {
        open(self.rig.host.root.parent().unwrap());
        let files = &self.rig.host.files;
        for path in [files.overrides(), files.defaults()] {
            if path.exists() {
                fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
                chown(&path, Some(0), Some(GROUP)).unwrap();
            }
        }
    }

    /// The agent as that user.
    async fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(&self.binary);
        command.args(arguments).args(["--log-level", "debug"]).env_clear().envs(self.rig.agent.environment());
        let run = Running::start(as_user(command)).end().await;
        search(&format!("{arguments:?}: standard output"), run.stdout.as_bytes());
        search(&format!("{arguments:?}: standard error"), run.stderr.as_bytes());
        search("the readers' standard error", self.complaints.lock().unwrap().as_bytes());
        run
    }

    async fn expect(&self, code: i32, arguments: &[&str]) -> Run {
        let run = self.run(arguments).await;
        assert_eq!(run.code, code, "{arguments:?}:\n{run}\nreaders: {}", self.complaints.lock().unwrap());
        run
    }

    /// The socket as its unit makes it.
    fn listen(&self) -> UnixListener {
        let listener = UnixListener::bind(&self.socket).unwrap();
        fs::set_permissions(&self.socket, Permissions::from_mode(0o600)).unwrap();
        chown(&self.socket, Some(USER), Some(USER)).unwrap();
        listener
    }

    /// Starts a reader for each connection, with the connection as its standard input and output.
    fn serve(&self, arguments: &'static [&'static str]) {
        self.serve_as(|reader| reader, arguments);
    }

    fn serve_as(&self, user: fn(Command) -> Command, arguments: &'static [&'static str]) {
        let listener = self.listen();
        let (binary, environment) = (self.binary.clone(), self.rig.agent.environment());
        let complaints = Arc::clone(&self.complaints);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let connection = connection.into_std().unwrap();
                connection.set_nonblocking(false).unwrap();
                let other = OwnedFd::from(connection.try_clone().unwrap());
                let mut reader = user(Command::new(&binary));
                reader.arg("settings").args(arguments).env_clear().envs(environment.iter().cloned());
                reader.stdin(Stdio::from(other)).stdout(Stdio::from(OwnedFd::from(connection)));
                let output = reader.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
                // The command held both ends of the connection open.
                drop(reader);
                let output = output.wait_with_output().await.unwrap();
                complaints.lock().unwrap().push_str(&String::from_utf8_lossy(&output.stderr));
            }
        });
    }

    /// What the reader answers.
    async fn answer(&self) -> String {
        let mut connection = UnixStream::connect(&self.socket).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Answers each connection with this text.
    fn pretend(&self, answer: Vec<u8>) {
        let listener = self.listen();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                // Whoever has heard enough goes away.
                let _ = connection.write_all(&answer).await;
            }
        });
    }
}

fn as_user(mut command: Command) -> Command {
    command.uid(USER).gid(USER);
    command
}

/// Lets every user read everything below.
fn open(path: &Path) {
    let directory = path.is_dir();
    fs::set_permissions(path, Permissions::from_mode(if directory { 0o755 } else { 0o644 })).unwrap();
    if directory {
        fs::read_dir(path).unwrap().for_each(|entry| open(&entry.unwrap().path()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_powers_joins_shows_and_leaves() {
    if !is_root() {
        return skipped("becoming another user needs root");
    }
    let agent = Unprivileged::new(true).await;
    agent.serve(&[]);
    agent.expect(0, &["register", "--wait"]).await.says(&["is enabled: "]);
    assert!(agent.rig.entry().state == ServerState::Enabled);
    let status = agent.expect(0, &["status", "--json"]).await;
    assert!(status.stdout.contains("\"secret_matches\": true"), "{status}");
    agent.expect(0, &["check"]).await.says(&["answers, 0 meetings"]);
    agent.expect(0, &["deregister"]).await;
    assert!(agent.rig.entries().is_empty());
    assert_eq!(*agent.complaints.lock().unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_installer_brings_later_is_read_without_a_restart() {
    if !is_root() {
        return skipped("becoming another user needs root");
    }
    let agent = Unprivileged::new(false).await;
    agent.serve(&[]);
    let waits = agent.expect(7, &["register"]).await;
    assert!(!waits.stderr.contains("settings.sock"), "nothing was denied, so nobody was asked: {waits}");
    agent.rig.host.install(BBB).unwrap();
    agent.open();
    agent.expect(0, &["register"]).await;
    assert!(agent.rig.entry().state == ServerState::Enabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_nobody_may_enter_is_read_too() {
    if !is_root() {
        return skipped("becoming another user needs root");
    }
    let agent = Unprivileged::new(true).await;
    let directory = agent.rig.host.files.overrides().parent().unwrap().to_owned();
    fs::set_permissions(&directory, Permissions::from_mode(0o750)).unwrap();
    agent.serve(&[]);
    agent.expect(0, &["register"]).await;
    fs::remove_file(agent.rig.host.files.overrides()).unwrap();
    agent.expect(7, &["register"]).await.says(&["bbb-web.properties does not exist"]);
}

/// The files with the host's address, each of which only root and a group may read, as coturn's and LiveKit's are.
fn close_addresses(agent: &Unprivileged) {
    agent.rig.announces("203.0.113.10");
    open(&agent.rig.host.root);
    agent.open();
    for file in File::ALL {
        let path = agent.rig.host.root.join(file.path().trim_start_matches('/'));
        if file == File::Coturn {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("secret-of", BBB)).unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_addresses_in_files_that_only_root_may_read_are_read_for_it() {
    if !is_root() {
        return skipped("becoming another user needs root");
    }
    let agent = Unprivileged::new(true).await;
    close_addresses(&agent);
    agent.serve(&[]);
    agent.expect(0, &["check"]).await.says(&["this host's address is announced"]);
    agent.rig.readdress("203.0.113.99");
    agent.expect(1, &["check"]).await.says(&["BBB announces 203.0.113.10", "and 13 more places"]);
    let asked = agent.answer().await;
    for secret in ["-coturn", "-livekit", "-the-sfu", "-freeswitch", "APIexample"] {
        assert!(!asked.contains(secret), "{secret}: {asked}");
    }
    assert_eq!(asked.matches("203.0.113.10").count(), 14, "{asked}");
}

/// A service of this version beside a reader of the one before, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_another_version_is_named_or_understood() {
    if !is_root() {
        return skipped("becoming another user needs root");
    }
    let agent = Unprivileged::new(true).await;
    close_addresses(&agent);
    agent.serve(&[]);
    let mut older: Value = serde_json::from_str(&agent.answer().await).unwrap();
    let mut newer = older.clone();
    older.as_object_mut().unwrap().remove("addresses");
    newer["more"] = json!({ "of": "it" });
    newer["addresses"] = json!({
        "root": agent.rig.host.root,
        "files": File::ALL.map(|file| json!([file.path(), { "values": [["a new key", "192.0.2.1"]] }])),
    });
    fs::remove_file(&agent.socket).unwrap();
    agent.pretend(older.to_string().into_bytes());
    let run = agent.expect(1, &["check"]).await;
    run.says(&["answers, 0 meetings", "is of an older version and does not read it"]);
    fs::remove_file(&agent.socket).unwrap();
    agent.pretend(newer.to_string().into_bytes());
    let run = agent.expect(0, &["check"]).await;
    run.says(&["answers, 0 meetings", "names an address of this host"]);
}

/// What goes wrong with the reader.
#[derive(Clone, Debug)]
enum Trouble {
    NoSocket,
    NobodyListens,
    NotAllowed,
    Off,
    Pretends(&'static str),
    PretendsMuch,
    Silent,
    ReadsElse,
    WrongConfiguration,
    NoPowers,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_help_is_named_with_the_file() {
    if !is_root() {
        return skipped("becoming another user needs root");
    }
    use Trouble::*;
    let rows = [
        (NoSocket, "is not there", "is bbb-agent-settings.socket started?"),
        (NobodyListens, "is not there", "is bbb-agent-settings.socket started?"),
        (NotAllowed, "may not be asked", "only root and the user bbb-agent may"),
        (Off, "Permission denied", "must run as root or as a user that may read it"),
        (Pretends(""), "gave no answer", "journalctl -u 'bbb-agent-settings@*'"),
        (Pretends("QmBbbHostW4Rt"), "gave an answer that is none", "line 1"),
        (Pretends("{\"defaults\":\"QmBbbHostW4Rt\"}"), "gave an answer that is none", "line 1"),
        (PretendsMuch, "gave an answer of more than 1048576 bytes", ""),
        (Silent, "gave no answer within 5 s", ""),
        (ReadsElse, "is configured to read", "/elsewhere"),
        (WrongConfiguration, "gave no answer", "journalctl"),
        (NoPowers, "Permission denied", "must run as root"),
    ];
    at_once(rows, async |(trouble, wanted, also)| {
        let agent = Unprivileged::new(true).await;
        // It lives as long as the row.
        let listener = bring_about(&agent, &trouble);
        let run = agent.expect(9, &["register"]).await;
        let file = agent.rig.host.files.defaults().display().to_string();
        run.says(&[&format!("cannot read {file}: "), wanted, also]);
        assert!(run.stderr.contains("Permission denied"), "{trouble:?}: {run}");
        let names_socket = run.stderr.contains(&agent.socket.display().to_string());
        assert_eq!(names_socket, !matches!(trouble, Off | NoPowers), "{trouble:?}: {run}");
        assert!(agent.rig.entries().is_empty());
        drop(listener);
    })
    .await;
}

fn bring_about(agent: &Unprivileged, trouble: &Trouble) -> Option<UnixListener> {
    match trouble {
        Trouble::NoSocket => {}
        Trouble::NobodyListens => drop(agent.listen()),
        Trouble::NotAllowed => {
            agent.serve(&[]);
            chown(&agent.socket, Some(0), Some(0)).unwrap();
        }
        Trouble::Off => {
            agent.rig.drop_in("reader", "[bbb]\nreader = \"\"\n");
            agent.open();
        }
        Trouble::Pretends(text) => agent.pretend(text.as_bytes().to_vec()),
        Trouble::PretendsMuch => agent.pretend(vec![b' '; 1024 * 1024 + 1]),
        Trouble::Silent => return Some(agent.listen()),
        Trouble::ReadsElse => agent.serve(&["--set", "bbb.properties=/elsewhere"]),
        Trouble::WrongConfiguration => agent.serve(&["--set", "dns.ttl=0"]),
        Trouble::NoPowers => agent.serve_as(as_user, &[]),
    }
    None
}

/// Runs `settings` with this as its standard output.
async fn settings(rig: &Rig, output: impl Into<Stdio>) -> (Option<i32>, String) {
    let child = rig.command(&["settings"]).stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).spawn();
    let output = child.unwrap().wait_with_output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_goes_to_a_socket_or_a_pipe_only() {
    let options = Options::with_tls();
    let host = HostOptions { secret: BBB.to_owned(), ..options.host };
    let rig = Rig::start(Options { host, ..options }).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    for (what, output) in [
        ("a file", Stdio::from(file.reopen().unwrap())),
        ("a device", Stdio::from(fs::File::create("/dev/null").unwrap())),
        ("a terminal", Stdio::from(fs::File::options().write(true).open("/dev/ptmx").unwrap())),
    ] {
        let (code, complaint) = settings(&rig, output).await;
        assert_eq!(code, Some(2), "{what}: {complaint}");
        assert!(complaint.contains("to a socket or a pipe only"), "{what}: {complaint}");
        search(what, complaint.as_bytes());
    }
    assert_eq!(fs::read(file.path()).unwrap(), b"");

    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let (code, complaint) = settings(&rig, Stdio::from(OwnedFd::from(theirs))).await;
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["properties"]["content"]["values"]["securitySalt"], BBB);
    for file in ["properties", "defaults"] {
        let values = answer[file]["content"]["values"].as_object().unwrap();
        let needed = ["bigbluebutton.web.serverURL", "securitySalt", "supportedChecksumAlgorithms"];
        assert!(values.keys().all(|key| needed.contains(&key.as_str())), "{:?}", values.keys());
    }
    let run = rig.expect(0, &["settings"]).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap(), answer, "through a pipe");
}
