//! A TURN host in namespaces of its own (network, mounts, processes): the distribution's real coturn, which its package's
//! own script starts, the shipped UserData, and around it a cloud with the metadata service at its real address.
//!
//! Each test runs its own program once more in there. Nothing of the machine changes, and all of it ends with the test.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Run, Running, skipped};
use sandbox::agent::Agent;
use sandbox::binaries;
use sandbox::cloud::{Cloud, Options, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};
use serde_json::json;
use tokio::process::Command;

use super::client::{Client, Credentials, Relayed};
use crate::read;
use crate::userdata::{host_functions, user_data_functions};

pub(super) const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// Addresses of documentation are no peers, so these are others: nothing of it leaves the namespace.
pub(super) const PUBLIC: Ipv4Addr = Ipv4Addr::new(18, 184, 0, 10);
pub(super) const SECRET: &str = "the-secret-of-the-relay";
const DOMAIN: &str = "bbb.example.org";

/// Where everything of the host is: in a file system of the namespace.
const PLACE: &str = "/run/host";
/// Where `tests/prepare` has unpacked coturn, and what it needs.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/coturn");
/// The variable that tells a program that it runs in the namespaces.
const INSIDE: &str = "IN_NAMESPACES_OF_A_TURN_HOST";

/// What the program runs below in its namespaces: the host's addresses and those of peers; directories of which the
/// package's script and UserData change something. A machine may forbid packages to start services: a host does not.
const NAMESPACES: &str = r#"
    set -e
    ip link set lo up
    ip link add outward type veth peer name beyond
    ip link set outward up
    ip link set beyond up
    for address in 10.0.0.10 10.0.0.99 18.184.0.10 18.184.0.77 169.254.169.254; do
        ip address add "$address/32" dev outward
    done
    for address in 2a05:d014::10 2a05:d014::77 fd00:ec2::254 fd00:1::99; do
        ip address add "$address/128" dev outward nodad
    done
    mount -t tmpfs tmpfs /run
    mkdir -p /run/host/bin /run/host/state /run/etc /run/units /run/systemd/system
    cp -a /etc/. /run/etc
    mount --bind /run/etc /etc
    cp -a /lib/systemd/system/. /run/units
    mount --bind /run/units /lib/systemd/system
    for directory in /var/lib/dpkg /var/lib/systemd /var/log; do mount -t tmpfs tmpfs "$directory"; done
    mkdir /var/lib/dpkg/updates
    touch /var/lib/dpkg/status
    if [ -e /usr/sbin/policy-rc.d ]; then mount --bind /dev/null /usr/sbin/policy-rc.d; fi
    cp -a "$UNPACKED" /run/host/coturn
    exec "$0" "$@""#;

/// Programs of the host. Each begins with a step, at which the test looks at the relay.
const STAND_INS: [(&str, &str); 6] = [
    // The archive's package: its files, then its own script, which starts the service.
    (
        "apt-get",
        r#"case $* in
    *install*coturn*)
        cp -an "$HOST/coturn/etc/." /etc/
        cp "$HOST/coturn/lib/systemd/system/coturn.service" /lib/systemd/system/
        DPKG_MAINTSCRIPT_PACKAGE=coturn sh "$HOST/coturn/DEBIAN/postinst" configure
        ;;
esac"#,
    ),
    // systemctl as far as UserData, the package's script and the hook use it, for coturn.
    ("systemctl", include_str!("systemctl")),
    // Let's Encrypt, which knows the host, or never does. As the real one it runs the hooks, and only logs that one fails.
    (
        "certbot",
        r#"[ -e "$HOST/state/certificate" ] || { echo 'certbot: the name does not lead here' >&2; exit 1; }
for name; do :; done
export RENEWED_LINEAGE="/etc/letsencrypt/live/$name"
mkdir -p "$RENEWED_LINEAGE"
openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj "/CN=$name" \
    -out "$RENEWED_LINEAGE/fullchain.pem" -keyout "$RENEWED_LINEAGE/privkey.pem" 2>/dev/null
for hook in /etc/letsencrypt/renewal-hooks/deploy/*; do "$hook" || echo "certbot: the hook $hook failed"; done"#,
    ),
    // Nothing is waited for.
    ("sleep", ":"),
    ("install", r#"exec /usr/bin/install "$@""#),
    ("mv", r#"exec /usr/bin/mv "$@""#),
];

/// What the relay does for somebody without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relay {
    /// Nothing listens.
    Off,
    /// It relays.
    Open,
    /// It wants credentials.
    Closed,
}

pub(super) struct Host {
    cloud: Arc<Cloud>,
}

/// Runs the test of this name in new namespaces, or says why it is skipped; true in there.
pub(super) async fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if let Some(why) = impossible().await {
        skipped(&why);
        return false;
    }
    let mut command = namespaces();
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture"]);
    command.arg(format!("relay::{test}")).env(INSIDE, "1").env("UNPACKED", UNPACKED);
    let agents = binaries::path("turn-agent").unwrap();
    command.env(binaries::DIRECTORY_VARIABLE, agents.parent().unwrap());
    let run = Running::start(command).end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["1 passed"]);
    false
}

async fn impossible() -> Option<String> {
    // The owner of a process's own entry is its effective user.
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        return Some("coturn's addresses and files need root".to_owned());
    }
    if !Path::new(UNPACKED).join("usr/bin/turnserver").is_file() {
        return Some("there is no coturn (tests/prepare unpacks it where apt-get has it)".to_owned());
    }
    let allowed = namespaces().arg("true").env("UNPACKED", UNPACKED).output().await.unwrap();
    let why = String::from_utf8_lossy(&allowed.stderr);
    (!allowed.status.success())
        .then(|| format!("no namespaces with a network are allowed here: {}", why.trim()))
}

fn namespaces() -> Command {
    // They end with the thread that starts them, even where a signal ends the whole process.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--propagation", "private"]);
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", NAMESPACES]);
    command.kill_on_drop(true);
    command
}

impl Host {
    pub(super) async fn new() -> Self {
        let mut options = Options::default();
        options.host.imds = "169.254.169.254:80".parse().unwrap();
        options.host.facts.public_ipv4 = Some(PUBLIC);
        options.host.facts.local_ipv4 = Some(PRIVATE);
        let host = Self { cloud: Cloud::start(options).await.unwrap() };
        host.share(SECRET);
        for (name, script) in STAND_INS {
            let step = format!(
                "#!/bin/sh\nset -e\nHOST={PLACE}\necho \"{name} $*\" >$HOST/state/steps\nread -r _ <$HOST/state/go\n{script}\n"
            );
            binaries::script(&Path::new(PLACE).join("bin").join(name), &step).unwrap();
        }
        for fifo in ["steps", "go"] {
            let made = Command::new("mkfifo").arg(Path::new(PLACE).join("state").join(fifo)).status().await;
            assert!(made.unwrap().success());
        }
        host
    }

    /// Puts coturn's secret into Secrets Manager.
    pub(super) fn share(&self, secret: &str) {
        self.cloud.secrets.put(SCALELITE_SECRET_ID, &json!({ SCALELITE_SECRET_KEY: secret }).to_string());
    }

    /// Puts the secret there that is to be coturn's next one.
    pub(super) fn prepare(&self, secret: &str) {
        let text = json!({ SCALELITE_SECRET_KEY: secret }).to_string();
        assert!(self.cloud.secrets.put_pending(SCALELITE_SECRET_ID, &text));
    }

    /// Whether Let's Encrypt gives the host a certificate.
    pub(super) fn certify(&self) {
        fs::write(Path::new(PLACE).join("state/certificate"), "").unwrap();
    }

    pub(super) fn move_to(&self, address: Option<Ipv4Addr>) {
        self.cloud.imds.update(|facts| facts.public_ipv4 = address).unwrap();
    }

    /// Runs the part of UserData that is about coturn. Returns how it ended, and for each step what is about to run, and
    /// what the relay does at that moment.
    pub(super) async fn user_data(&self) -> (Run, Vec<(String, Relay)>) {
        let functions = user_data_functions("turn");
        let host = host_functions();
        let turn = read("packaging/host/turn.sh");
        let (functions_of_coturn, steps) = turn.split_once("\ninstall_agent\n").expect("the agent's part");
        let region = self.cloud.imds.facts().unwrap().region;
        let mut script = String::from("set -euo pipefail\n");
        for (name, value) in [
            ("role", "turn"),
            ("stack", ""),
            ("region", region.as_str()),
            ("domain", DOMAIN),
            ("turn_secret", SCALELITE_SECRET_ID),
            ("turn_secret_key", SCALELITE_SECRET_KEY),
            ("operator_email", "operator@example.org"),
            ("certificate", ""),
        ] {
            writeln!(script, "{name}='{value}'").unwrap();
        }
        write!(script, "{functions}\n{host}\n{functions_of_coturn}\n{steps}").unwrap();
        self.steps(&script).await
    }

    /// What `turn-agent check` says about coturn.
    pub(super) async fn check(&self) -> String {
        self.checked("coturn", &[]).await
    }

    /// What it says about the relays in use, where it may do everything.
    pub(super) async fn relays(&self) -> String {
        self.checked("relays", &[]).await
    }

    /// The same where it sees users and processes as in its unit (`PrivateUsers=`, `ProtectProc=`, `ProcSubset=`).
    pub(super) async fn relays_seen_by_the_unit(&self) -> String {
        let sees = r#"mount -t proc -o hidepid=invisible,subset=pid proc /proc && [ ! -e /proc/net ] && exec "$0" "$@""#;
        let wrapper =
            ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c", sees];
        self.checked("relays", &wrapper).await
    }

    /// Runs `turn-agent check` through the wrapper, with the agent's own defaults, and returns a line of it.
    async fn checked(&self, what: &str, wrapper: &[&str]) -> String {
        let host = self.cloud.hosts().into_iter().next().unwrap();
        let agent = Agent::install(&self.cloud, &host, "turn-agent").unwrap();
        let binary = agent.binary().display().to_string();
        let defaults = ["--set", "metrics.coturn=127.0.0.1:3478", "--set", "drain.relays=1024-65535"];
        let words: Vec<&str> =
            wrapper.iter().copied().chain([binary.as_str(), "check"]).chain(defaults).collect();
        let (program, arguments) = words.split_first().unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(agent.environment())
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        let output = command.output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(what));
        line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))).to_owned()
    }

    /// Has `turn-agent addresses` set the host's address right in coturn's settings; returns these, and what it said.
    pub(super) async fn set_right(&self) -> (String, String) {
        let root = Path::new(PLACE).join("set-right");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::copy("/etc/turnserver.conf", root.join("etc/turnserver.conf")).unwrap();
        let host = self.cloud.hosts().into_iter().next().unwrap();
        let agent = Agent::install(&self.cloud, &host, "turn-agent").unwrap();
        let place = format!("turn.root={}", root.display());
        let mut command = agent.command(&["addresses", "--set", "turn.addresses=repair", "--set", &place]);
        let output = command.output().await.unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(output.status.success(), "{said}");
        (fs::read_to_string(root.join("etc/turnserver.conf")).unwrap(), said)
    }

    /// Installs coturn as somebody does by hand.
    pub(super) async fn install(&self) -> (Run, Vec<(String, Relay)>) {
        self.steps("apt-get install -y coturn").await
    }

    /// Starts coturn again, with these lines instead of its settings.
    pub(super) async fn restart_with(&self, settings: &str) {
        fs::write("/etc/turnserver.conf", settings).unwrap();
        let (run, _) = self.steps("systemctl restart coturn.service").await;
        assert_eq!(run.code, 0, "{run}");
    }

    async fn steps(&self, script: &str) -> (Run, Vec<(String, Relay)>) {
        let mut command = Command::new("bash");
        command.args(["-c", script]).env_clear();
        command.env("PATH", format!("{PLACE}/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.env("AWS_ENDPOINT_URL", self.cloud.aws_url()).env("HOME", PLACE);
        let observer = tokio::task::spawn_blocking(observe);
        let run = Running::start(command).end().await;
        // The last step of all.
        let last = Command::new("sh").args(["-c", &format!("echo end >{PLACE}/state/steps")]).status().await;
        assert!(last.unwrap().success());
        (run, observer.await.unwrap())
    }
}

/// Looks at the relay at each step, before it goes on.
fn observe() -> Vec<(String, Relay)> {
    let state = Path::new(PLACE).join("state");
    let mut steps = Vec::new();
    loop {
        let step = fs::read_to_string(state.join("steps")).unwrap();
        steps.push((step.trim().to_owned(), relay()));
        if step == "end\n" {
            return steps;
        }
        fs::write(state.join("go"), "\n").unwrap();
    }
}

/// Asks each address of the host for a relay, without credentials.
pub(super) fn relay() -> Relay {
    let asked = [PRIVATE, PUBLIC, Ipv4Addr::LOCALHOST].map(|address| {
        match Client::udp(SocketAddr::new(address.into(), 3478), None).allocate(Relayed::Udp, false) {
            Ok(_) => Relay::Open,
            Err(0) => Relay::Off,
            Err(401) => Relay::Closed,
            Err(code) => panic!("coturn answers {code}"),
        }
    });
    [Relay::Open, Relay::Closed].into_iter().find(|one| asked.contains(one)).unwrap_or(Relay::Off)
}

/// The settings that UserData has written.
pub(super) fn settings() -> String {
    fs::read_to_string("/etc/turnserver.conf").unwrap()
}

/// Owner, group and mode of a file, as text.
pub(super) fn access(path: &str) -> String {
    let found = fs::metadata(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let database = |file: &str, id: u32| {
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().find(|line| line.split(':').nth(2) == Some(&id.to_string()));
        line.and_then(|line| line.split(':').next()).unwrap_or("nobody").to_owned()
    };
    let (user, group) = (database("/etc/passwd", found.uid()), database("/etc/group", found.gid()));
    format!("{user}:{group} {:o}", found.permissions().mode() & 0o7777)
}

/// Credentials of a BBB user for an hour.
pub(super) fn credentials(user: &str) -> Credentials {
    credentials_by(SECRET, user)
}

/// The same, made with this secret.
pub(super) fn credentials_by(secret: &str, user: &str) -> Credentials {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Credentials::new(secret, user, (now + Duration::from_secs(3600)).as_secs())
}
