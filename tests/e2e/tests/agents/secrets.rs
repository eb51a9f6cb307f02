//! No secret gets out: not by an argument, the environment, an output, a log, an error, a file or a core dump, whatever
//! fails. Marked secrets are planted wherever an agent meets one; then everything that it gives away is searched.

mod lives;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;

use e2e::{Rig, Run, Running, skipped};
use sandbox::aws::Keys;
use sandbox::cloud::{Cloud, Options, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};
use sandbox::faults::Fault;
use sandbox::http::{Gate, Request, Response, Route, Service, ServiceName, reply};
use sandbox::scalelite::{self, ServerState};
use sandbox::tls::Authority;
use tokio::net::UnixDatagram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::jail::{self, Jail};
use crate::leaks::{BBB, OTHER, PROXY, ROLE_KEY, ROLE_TOKEN, SCALELITE, WRONG, search};

const ROLE: &str = "bbb-fleet-host";
/// Everything that an agent can be asked, but for what it prints of itself, and for `settings`, which is there to
/// hand a secret on: see `reader.rs`.
const COMMANDS: [&[&str]; 7] = [
    &["register", "--wait"],
    &["register", "--dry-run"],
    &["status"],
    &["status", "--json"],
    &["check"],
    &["deregister", "--dry-run"],
    &["deregister"],
];
/// Retries are not what is tested here.
const IMPATIENT: [&str; 10] = [
    "--set",
    "timeouts.imds=1",
    "--set",
    "timeouts.register=1",
    "--set",
    "timeouts.deregister=1",
    "--set",
    "timeouts.bbb=1",
    "--set",
    "timeouts.status=1",
];

/// A cloud that is full of secrets.
fn options() -> Options {
    plant(Options::with_tls())
}

fn plant(mut options: Options) -> Options {
    options.scalelite = scalelite::Config { polled_at_once: true, ..scalelite::Config::new(SCALELITE) };
    options.host.secret = BBB.to_owned();
    options
}

fn plant_keys(cloud: &Cloud) {
    let keys = Keys {
        access_key: "ASIASANDBOXMARKEDKEY".to_owned(),
        secret_key: ROLE_KEY.to_owned(),
        session_token: Some(ROLE_TOKEN.to_owned()),
        expires: None,
    };
    cloud.vault.set_role(ROLE, keys);
}

/// Other hosts with their secrets, and this one with an old secret.
fn plant_servers(rig: &Rig) {
    rig.cloud.scalelite.add_server(
        "https://other.example.org/bigbluebutton/api",
        OTHER,
        ServerState::Enabled,
    );
    rig.cloud.scalelite.add_server(&rig.host.scalelite_entry_url(), OTHER, ServerState::Disabled);
}

async fn rig() -> Rig {
    let rig = Rig::start(options()).await;
    plant_keys(&rig.cloud);
    rig
}

/// A rig with a home directory of its own, in which nothing may appear.
struct Watched {
    rig: Rig,
    home: tempfile::TempDir,
    environment: Vec<(String, String)>,
    settings: Vec<String>,
    gates: Vec<Gate>,
}

impl Watched {
    fn new(rig: Rig) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { rig, home, environment: Vec::new(), settings: Vec::new(), gates: Vec::new() }
    }

    fn set(&mut self, setting: String) {
        self.settings.extend(["--set".to_owned(), setting]);
    }

    /// Runs a command and searches all that it leaves behind.
    async fn run(&self, scenario: &str, arguments: &[&str]) -> Run {
        let files = files(&self.rig.host.root);
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let arguments = [arguments, settings.as_slice()].concat();
        let mut command = self.rig.command(&arguments);
        let home = self.home.path();
        command.current_dir(home).env("HOME", home).env("TMPDIR", home);
        command.envs(self.environment.iter().cloned());
        let run = Running::start(command).end().await;
        let what = format!("{scenario}: {arguments:?}");
        search(&format!("{what}: standard output"), run.stdout.as_bytes());
        search(&format!("{what}: standard error"), run.stderr.as_bytes());
        assert!(!run.stderr.contains("panicked"), "{what}:\n{run}");
        assert_eq!(std::fs::read_dir(home).unwrap().count(), 0, "{what}: a file was written");
        let mut left = self::files(&self.rig.host.root);
        // The time at which the entry was enabled is kept until the host leaves.
        let enabled = self.rig.agent.directory().join("enabled");
        let mut files = files;
        for files in [&mut left, &mut files] {
            let text = files.remove(&enabled).unwrap_or_default();
            assert!(text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\n'), "{what}: {text:?}");
        }
        // The lock may be made, and stays empty: it says all by being held.
        let lock = self.rig.agent.directory().join("lock");
        if !files.contains_key(&lock) {
            assert!(left.remove(&lock).unwrap_or_default().is_empty(), "{what}: something is in the lock");
        }
        assert_eq!(left, files, "{what}: a file of the host was changed");
        run
    }
}

/// Every file below a directory with its content; a socket has none.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.is_file() {
                all.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn success_at_every_level_gives_nothing_away() {
    for level in ["error", "warn", "info", "debug"] {
        let watched = Watched::new(rig().await);
        plant_servers(&watched.rig);
        watched.rig.host.bbb.start_meeting("room", 3);
        let scenario = format!("success at level {level}");
        for command in COMMANDS.into_iter().chain([["hostname"].as_slice()]) {
            let run = watched.run(&scenario, &[command, &["--log-level", level]].concat()).await;
            assert!([0, 3, 4].contains(&run.code), "{scenario}: {command:?}:\n{run}");
        }
        let addresses = watched.rig.cloud.journal.count(ServiceName::Scalelite, "updateServer");
        assert!(addresses > 0, "the old secret was replaced, so both secrets were in use");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_files_and_credentials_stay_there() {
    for (secret, fails) in [(SCALELITE, false), (WRONG, true)] {
        for kind in ["file", "credential"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("scalelite-secret");
            std::fs::write(&path, format!("{secret}\n")).unwrap();
            let mut watched = Watched::new(rig().await);
            plant_servers(&watched.rig);
            let reference = match kind {
                "file" => format!("file:{}", path.display()),
                _ => "credential:scalelite-secret".to_owned(),
            };
            watched.set(format!("scalelite.secret={reference}"));
            let variable = ("CREDENTIALS_DIRECTORY".to_owned(), directory.path().display().to_string());
            watched.environment.push(variable);
            for command in COMMANDS {
                watched.run(kind, &[command, &["--log-level", "debug"], &IMPATIENT].concat()).await;
            }
            let run = watched.run(kind, &["register", "--log-level", "debug"]).await;
            assert_eq!(run.code != 0, fails, "{kind}:\n{run}");
            assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{secret}\n"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_pasted_into_the_configuration_is_not_echoed() {
    for (name, text) in [
        ("instead of a reference", format!("[scalelite]\nsecret = '''{SCALELITE}'''\n")),
        ("in a line that is not TOML", format!("[scalelite]\nsecret = \"{SCALELITE}\nurl = 1\n")),
        ("as a number of wrong type", format!("[scalelite]\nload_multiplier = '''{SCALELITE}'''\n")),
        ("in place of the zone", format!("[dns]\nzone_id = '''{SCALELITE}'''\n")),
    ] {
        let watched = Watched::new(rig().await);
        watched.rig.drop_in("50-pasted", &text);
        for command in COMMANDS {
            let run = watched.run(name, command).await;
            assert_eq!(run.code, 2, "{name}: {command:?}:\n{run}");
        }
    }
}

/// One way in which something fails.
#[derive(Clone, Debug)]
enum Spoil {
    Fault(ServiceName, Fault),
    Closed(ServiceName),
    Denied(&'static str),
    /// The content of the secret in Secrets Manager.
    Secret(String),
    BinarySecret,
    NoSecret,
    /// BBB's API has another secret than its property file.
    OtherBbbSecret,
    /// What stands in BBB's property file after the secret.
    Properties(&'static str),
    OtherAuthority,
    /// The environment's credentials are not known to AWS.
    UnknownCredentials,
    /// A proxy that wants a password and is not there.
    Proxy,
    RedisDown,
    RecordingsOnly,
    PanicsRefused,
    /// Every answer of Scalelite, IMDS's credentials, Secrets Manager.
    Answer(ServiceName, u16, &'static str, String),
}

fn spoils() -> Vec<Spoil> {
    use ServiceName::{Bbb, Ec2, Imds, Route53, Scalelite, SecretsManager};
    let error = |status, code: &str| Fault::Error { status, code: code.to_owned() };
    let mut all = Vec::new();
    for service in [Imds, Route53, SecretsManager, Scalelite, Bbb] {
        all.extend(
            [error(500, ""), error(403, "AccessDenied"), Fault::Close, Fault::Hang]
                .map(|fault| Spoil::Fault(service, fault)),
        );
        all.push(Spoil::Closed(service));
    }
    for service in [Route53, SecretsManager, Ec2] {
        for code in ["SignatureDoesNotMatch", "ExpiredToken", "Throttling"] {
            all.push(Spoil::Fault(service, error(400, code)));
        }
    }
    all.push(Spoil::Fault(Scalelite, error(200, "checksumError")));
    all.push(Spoil::Fault(Scalelite, error(500, "html")));
    all.push(Spoil::Fault(Scalelite, Fault::ErrorAfter { status: 500, code: String::new() }));
    all.extend(["secretsmanager:GetSecretValue", "route53:*"].map(Spoil::Denied));
    let other_key = serde_json::json!({ "other key": SCALELITE }).to_string();
    let not_text = serde_json::json!({ SCALELITE_SECRET_KEY: [SCALELITE, 1] }).to_string();
    let wrong = serde_json::json!({ SCALELITE_SECRET_KEY: WRONG }).to_string();
    let cut = format!("{{\"{SCALELITE_SECRET_KEY}\":\"{SCALELITE}");
    all.extend([other_key, not_text, wrong, cut, SCALELITE.to_owned()].map(Spoil::Secret));
    all.extend([Spoil::BinarySecret, Spoil::NoSecret, Spoil::OtherBbbSecret]);
    all.push(Spoil::Properties("\nsupportedChecksumAlgorithms=md5\n"));
    all.push(Spoil::Properties("\nsecuritySalt=\n"));
    all.push(Spoil::Properties("\nbigbluebutton.web.serverURL=not a URL\n"));
    all.extend([Spoil::OtherAuthority, Spoil::UnknownCredentials, Spoil::Proxy]);
    all.extend([Spoil::RedisDown, Spoil::RecordingsOnly, Spoil::PanicsRefused]);
    for (content_type, text) in [
        ("application/json", format!("[{{\"id\":\"1\",\"url\":\"https://h/\",\"secret\":\"{OTHER}")),
        ("application/json", format!("[{{\"id\":\"1\",\"url\":\"https://h/\",\"secret\":[\"{OTHER}\"]}}]")),
        ("application/json", format!("{{\"secret\":\"{OTHER}\",\"SecretString\":[\"{SCALELITE}\"]}}")),
        (
            "application/json",
            format!(
                "{{\"Code\":\"Success\",\"SecretAccessKey\":\"{ROLE_KEY}\",\"Token\":[\"{ROLE_TOKEN}\"]}}"
            ),
        ),
        ("text/html", format!("<html><body>{OTHER} {SCALELITE} {ROLE_TOKEN}</body></html>")),
        ("application/xml", format!("<response><returncode>{OTHER}</returncode></response>")),
    ] {
        for service in [Imds, SecretsManager, Scalelite] {
            for status in [200, 500] {
                all.push(Spoil::Answer(service, status, content_type, text.clone()));
            }
        }
    }
    all
}

/// Gives one answer to everything.
struct Constant(u16, &'static str, String);

impl Service for Constant {
    fn name(&self) -> ServiceName {
        ServiceName::Scalelite
    }
    fn action(&self, _: &Request) -> String {
        "constant".to_owned()
    }
    fn answer<'a>(&'a self, _: &'a Request) -> Pin<Box<dyn Future<Output = Response> + Send + 'a>> {
        Box::pin(std::future::ready(self.error(self.0, "")))
    }
    fn error(&self, _: u16, _: &str) -> Response {
        reply(self.0, self.1, self.2.clone())
    }
}

/// A service in front of a part of the cloud that gives one answer where secrets are handed out: its address, and
/// what it lives by.
async fn distort(cloud: &Arc<Cloud>, service: ServiceName, constant: Constant) -> (String, Gate) {
    let constant: Arc<dyn Service> = Arc::new(constant);
    let (aws, imds) = (cloud.aws.route(), Arc::clone(&cloud.imds));
    let route: Route = Arc::new(move |request| match service {
        ServiceName::Imds if !request.path.ends_with(ROLE) => Arc::clone(&imds) as Arc<dyn Service>,
        ServiceName::SecretsManager if !request.header("x-amz-target").ends_with("GetSecretValue") => {
            aws(request)
        }
        _ => Arc::clone(&constant),
    });
    let any = ([127, 0, 0, 1], 0).into();
    let gate = Gate::listen(any, true, None, route, cloud.faults.clone(), cloud.journal.clone()).await;
    let (address, gate) = gate.unwrap();
    (format!("http://{address}"), gate)
}

impl Watched {
    async fn spoil(&mut self, spoil: &Spoil) {
        let cloud = Arc::clone(&self.rig.cloud);
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match spoil.clone() {
            Spoil::Fault(service, fault) => self.rig.fault(service, "", fault, None),
            Spoil::Closed(service) => cloud.close(service).await,
            Spoil::Denied(action) => cloud.aws.deny(action),
            Spoil::Secret(content) => drop(cloud.secrets.put(SCALELITE_SECRET_ID, &content)),
            Spoil::BinarySecret => drop(cloud.secrets.put_binary(SCALELITE_SECRET_ID, SCALELITE.as_bytes())),
            Spoil::NoSecret => assert!(cloud.secrets.delete(SCALELITE_SECRET_ID)),
            Spoil::OtherBbbSecret => self.rig.host.bbb.set_secret(WRONG),
            Spoil::Properties(text) => {
                let path = self.rig.host.files.overrides();
                let old = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, old + text).unwrap();
            }
            Spoil::OtherAuthority => {
                let path = self.rig.host.root.join("other-authority.pem");
                std::fs::write(&path, Authority::new().unwrap().pem()).unwrap();
                self.environment.push(variable("SSL_CERT_FILE", path.to_str().unwrap()));
            }
            Spoil::UnknownCredentials => {
                // The environment counts only where the instance has no role.
                self.rig.host.imds.update(|facts| facts.role = None).unwrap();
                self.environment.extend([
                    variable("AWS_ACCESS_KEY_ID", "ASIAUNKNOWN"),
                    variable("AWS_SECRET_ACCESS_KEY", ROLE_KEY),
                    variable("AWS_SESSION_TOKEN", ROLE_TOKEN),
                ]);
            }
            Spoil::Proxy => {
                let proxy = format!("http://user:{PROXY}@127.0.0.1:1");
                self.environment.push(variable("HTTPS_PROXY", &proxy));
            }
            Spoil::RedisDown => cloud.scalelite.set_redis_down(true),
            Spoil::RecordingsOnly => cloud.scalelite.set_recordings_only(true),
            Spoil::PanicsRefused => cloud.scalelite.refuse_panics(1000),
            Spoil::Answer(service, status, content_type, text) => {
                let (url, gate) = distort(&cloud, service, Constant(status, content_type, text)).await;
                self.gates.push(gate);
                match service {
                    ServiceName::Scalelite => self.set(format!("scalelite.url={url}")),
                    ServiceName::Imds => {
                        self.environment.push(variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url));
                    }
                    _ => self.environment.push(variable("AWS_ENDPOINT_URL", &url)),
                }
            }
        }
    }
}

/// All commands, each on a host that is in Scalelite with an old secret, while something fails.
async fn endure(spoil: Spoil) {
    let mut watched = Watched::new(rig().await);
    plant_servers(&watched.rig);
    watched.spoil(&spoil).await;
    let scenario = format!("{spoil:?}");
    // A service that never answers is waited for; a few commands show enough.
    let hangs = matches!(spoil, Spoil::Fault(_, Fault::Hang));
    let commands = if hangs { &COMMANDS[..3] } else { &COMMANDS[..] };
    let mut codes = Vec::new();
    for command in commands {
        let run = watched
            .run(&scenario, &[command, ["--log-level", "debug"].as_slice(), &IMPATIENT].concat())
            .await;
        codes.push(run.code);
    }
    assert!(codes.iter().any(|code| *code != 0), "{scenario}: nothing failed: {codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_failure_of_any_service_gives_anything_away() {
    // Most of them wait, but each has a cloud of its own.
    let limit = Arc::new(Semaphore::new(12));
    let mut running = JoinSet::new();
    for spoil in spoils() {
        let limit = Arc::clone(&limit);
        running.spawn(async move {
            let _permit = limit.acquire_owned().await.unwrap();
            endure(spoil).await;
        });
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        failed.extend(ended.err().map(|error| error.to_string()));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Starts a command that a service leaves hanging, and returns once it hangs.
async fn hang(rig: &Rig, service: ServiceName, command: tokio::process::Command) -> tokio::process::Child {
    let mut command = command;
    rig.fault(service, "", Fault::Hang, None);
    rig.cloud.journal.clear();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    rig.cloud.journal.reached(service, "", 1).await;
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_agent_has_no_secret_in_its_arguments_or_environment_and_no_children() {
    use ServiceName::{Bbb, Imds, Route53, Scalelite, SecretsManager};
    for service in [Imds, Route53, SecretsManager, Bbb, Scalelite] {
        let rig = rig().await;
        let mut child = hang(&rig, service, rig.command(&["register", "--wait"])).await;
        let id = child.id().unwrap();
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap();
        assert!(arguments.ends_with(b"register\0--wait\0"), "{}", String::from_utf8_lossy(&arguments));
        search("its arguments", &arguments);
        // A process that cannot be dumped hides its environment from other users than root, its own included.
        match std::fs::read(format!("/proc/{id}/environ")) {
            Ok(environment) => {
                assert!(!environment.is_empty());
                search("its environment", &environment);
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}"),
        }
        assert_eq!(children(id), Vec::<u32>::new(), "while {service:?} hangs");
        assert!(children(std::process::id()).contains(&id), "the search for children finds this test's own");
        child.kill().await.unwrap();
    }
}

/// The processes whose parent is this one.
fn children(parent: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) else { continue };
        let of = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        if of.is_some_and(|of| of.trim() == parent.to_string()) {
            children.push(id);
        }
    }
    children
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_no_core_dump() {
    let rig = rig().await;
    let directory = tempfile::tempdir().unwrap();
    let agent = rig.command(&["register"]);
    let mut command = tokio::process::Command::new("/bin/sh");
    // Without root the limit can only be raised as far as the hard one.
    let script = "ulimit -c unlimited 2>/dev/null || ulimit -c \"$(ulimit -H -c)\"; exec \"$0\" register";
    command.args(["-c", script]).arg(rig.agent.binary()).current_dir(directory.path()).kill_on_drop(true);
    command.env_clear().envs(agent.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = hang(&rig, ServiceName::Scalelite, command).await;
    let id = child.id().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{core}");
    // Rust's runtime takes the first SIGSEGV for its own and only returns to the default; SIGQUIT dumps by default too.
    let kill = format!("kill -s SEGV {id}; kill -s QUIT {id}");
    let sent = tokio::process::Command::new("/bin/sh").args(["-c", &kill]).status().await.unwrap();
    assert!(sent.success());
    let status = child.wait().await.unwrap();
    assert!(status.signal().is_some(), "{status}");
    assert!(!status.core_dumped(), "{status}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "a core file was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_gets_no_secret() {
    if let Some(why) = jail::impossible() {
        // The journal's socket has a fixed path, so the test needs a root directory of its own.
        return skipped(&format!("the journal's socket: {why}"));
    }
    let cloud = Cloud::start(plant(jail::options())).await.unwrap();
    plant_keys(&cloud);
    let jail = Jail::new(&cloud);
    let socket = jail.root().join("run/systemd/journal/socket");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let journal = UnixDatagram::bind(&socket).unwrap();
    let levels = ["--log-level", "debug"];
    let mut entries = 0;
    for (command, wrong) in [
        (["register", "--wait"].as_slice(), false),
        (&["status"], false),
        (&["deregister"], true),
        (&["register"], true),
        (&["deregister"], false),
    ] {
        let secret = if wrong { WRONG } else { SCALELITE };
        let content = serde_json::json!({ SCALELITE_SECRET_KEY: secret }).to_string();
        cloud.secrets.put(SCALELITE_SECRET_ID, &content);
        // systemd connects standard error to the journal and says in the environment which socket that is.
        let (stderr, mut other_end) = std::os::unix::net::UnixStream::pair().unwrap();
        let stderr = std::fs::File::from(std::os::fd::OwnedFd::from(stderr));
        let metadata = stderr.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        // What is to succeed has its time.
        let impatient: &[&str] = if wrong { &IMPATIENT } else { &[] };
        let mut process = jail.command(&[command, &levels, impatient].concat());
        process.env("JOURNAL_STREAM", stream).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut output = std::pin::pin!(process.spawn().unwrap().wait_with_output());
        let mut entry = vec![0; 256 * 1024];
        let ended = loop {
            tokio::select! {
                biased;
                received = journal.recv(&mut entry) => {
                    // The first one is empty: the logging library tries whether anybody listens.
                    let entry = &entry[..received.unwrap()];
                    search(&format!("{command:?}: the journal"), entry);
                    entries += usize::from(contains(entry, b"SYSLOG_IDENTIFIER"));
                }
                ended = &mut output => break ended.unwrap(),
            }
        };
        search(&format!("{command:?}: standard output"), &ended.stdout);
        // The command held this end of the socket open.
        drop(process);
        let mut complaint = Vec::new();
        other_end.read_to_end(&mut complaint).unwrap();
        assert_ne!(complaint.is_empty(), wrong, "{command:?}: {}", String::from_utf8_lossy(&complaint));
        search(&format!("{command:?}: standard error"), &complaint);
        assert_eq!(ended.status.success(), !wrong, "{command:?}: {}", String::from_utf8_lossy(&ended.stdout));
    }
    assert!(entries > 5, "the journal got {entries} entries only");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
