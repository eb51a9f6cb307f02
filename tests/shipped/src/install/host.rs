//! A host that install.sh runs on, and a bucket with releases.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use e2e::{Run, Running, skipped};
use sandbox::binaries;
use sandbox::cloud::{BUCKET, Cloud, Options};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{read, root, tool};

pub(crate) const INSTALLER: &str = "packaging/install.sh";

/// What the shell that runs install.sh is, and what it fetches with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// dash, and the aws CLI.
    Aws,
    /// dash, and curl.
    Curl,
    /// Busybox's shell, and curl.
    Busybox,
}

/// How the service of a package behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// It gets ready.
    Ready,
    /// It starts and never gets ready.
    Waits,
    /// It ends at once, and systemd does not start it again.
    Fails,
}

/// The host.
pub(crate) struct Host {
    /// With TLS.
    pub(crate) cloud: Arc<Cloud>,
    root: TempDir,
    with: With,
}

/// A key pair of minisign's.
pub(crate) struct Key {
    directory: TempDir,
    /// As `--public-key` takes it.
    pub(crate) public: String,
}

impl Key {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        minisign(&["-G", "-W", "-p"], &[&here.join("minisign.pub")], &["-s"], &[&here.join("minisign.key")]);
        let public = std::fs::read_to_string(here.join("minisign.pub")).unwrap();
        let public = public.lines().last().unwrap().to_owned();
        Self { directory, public }
    }

    /// The file with the secret key.
    pub(crate) fn secret(&self) -> PathBuf {
        self.directory.path().join("minisign.key")
    }

    /// The signature of a text, with this trusted comment.
    pub(crate) fn sign(&self, text: &[u8], comment: &str) -> Vec<u8> {
        let file = self.directory.path().join("text");
        std::fs::write(&file, text).unwrap();
        minisign(&["-S", "-t", comment, "-s"], &[&self.secret()], &["-m"], &[&file]);
        std::fs::read(self.directory.path().join("text.minisig")).unwrap()
    }
}

fn minisign(first: &[&str], file: &[&Path], second: &[&str], other: &[&Path]) {
    let mut command = std::process::Command::new("minisign");
    let output = command.args(first).args(file).args(second).args(other).output().expect("minisign");
    assert!(output.status.success(), "{output:?}");
}

/// Pretends to be dpkg and systemd: what is installed, what runs, and what was called, in order.
const STAND_INS: [(&str, &str); 5] = [
    (
        "dpkg",
        r#"echo "dpkg $*" >>"$STATE/calls"
case $* in
    --print-architecture) cat "$STATE/architecture" 2>/dev/null || echo amd64; exit ;;
    --compare-versions*) exec /usr/bin/dpkg "$@" ;;
    *--install*) ;;
    *) exit 9 ;;
esac
if [ -s "$STATE/locked" ]; then
    sed -i 1d "$STATE/locked"
    echo 'dpkg: error: dpkg frontend lock was locked by another process with pid 1' >&2
    exit 2
fi
while [ $# -gt 1 ]; do shift; done
[ "$(dpkg-deb --field "$1" X-Broken)" != yes ] || { echo 'dpkg: error processing archive' >&2; exit 1; }
dpkg-deb --field "$1" Version >"$STATE/installed"
dpkg-deb --field "$1" X-Service >"$STATE/service"
systemctl --no-block try-restart bbb-agent.service
"#,
    ),
    ("dpkg-query", r#"[ ! -s "$STATE/installed" ] || echo "installed $(cat "$STATE/installed")""#),
    (
        "systemctl",
        r#"echo "systemctl $*" >>"$STATE/calls"
begin() {
    echo $(($(cat "$STATE/invocation" 2>/dev/null || echo 0) + 1)) >"$STATE/invocation"
    cp "$STATE/service" "$STATE/active"
    grep -q '^log.level = "error"' "/etc/bbb-agent/config.d/50-install.toml" && echo activating >"$STATE/active"
    :
}
case $* in
    'show '*)
        echo "ActiveState=$(cat "$STATE/active" 2>/dev/null || echo inactive)"
        echo 'Result=success'
        echo "InvocationID=$(cat "$STATE/invocation" 2>/dev/null)"
        echo 'StatusText=says the service'
        ;;
    *' is-active bbb-agent-metadata.service') [ -e "$STATE/guarded" ] ;;
    'restart bbb-agent-metadata.service') : >"$STATE/guarded" ;;
    daemon-reload) ;;
    *' try-restart '*) ! grep -q '^activ' "$STATE/active" 2>/dev/null || begin ;;
    *' restart '* | *' start '*) begin ;;
    *' enable '*) ;;
    *) exit 9 ;;
esac
"#,
    ),
    ("journalctl", r#"echo 'the last line of the journal'"#),
    (
        "hostnamectl",
        r#"echo "hostnamectl $*" >>"$STATE/calls"
case $1 in
    --static) cat "$STATE/hostname" 2>/dev/null || echo ip-10-0-0-10 ;;
    *) echo "$2" >"$STATE/hostname" ;;
esac
"#,
    ),
];

/// How unshare gets a mount namespace here: in a user namespace, which the kernel refuses in a chroot, or as root.
static UNSHARE: LazyLock<Option<Vec<&str>>> = LazyLock::new(|| {
    let namespaces = ["--mount --propagation private --map-root-user", "--mount --propagation private"];
    namespaces.into_iter().map(|options| options.split(' ').collect()).find(|options: &Vec<&str>| {
        let mut mount = std::process::Command::new("unshare");
        mount.args(options).args(["mount", "--bind", "/etc", "/etc"]);
        mount.output().is_ok_and(|output| output.status.success())
    })
});

impl Host {
    /// A host; `None`, with a word about it, where the kernel refuses mount namespaces.
    pub(crate) async fn new(with: With) -> Option<Self> {
        Self::in_cloud(with, Options::with_tls()).await
    }

    /// A host of a cloud that is set up like this, with TLS.
    pub(crate) async fn in_cloud(with: With, options: Options) -> Option<Self> {
        if UNSHARE.is_none() {
            skipped("no mount namespace is allowed here");
            return None;
        }
        let cloud = Cloud::start(options).await.unwrap();
        let root = tempfile::Builder::new().prefix("install-").tempdir().unwrap();
        let host = Self { cloud, root, with };
        for directory in ["bin", "etc", "var/cache", "run", "state", "host-etc", "packages"] {
            std::fs::create_dir_all(host.path(directory)).unwrap();
        }
        // What programs of the machine look for below the real /etc.
        for name in ["alternatives", "ld.so.cache", "passwd", "group", "ssl"] {
            symlink(host.path("host-etc").join(name), host.path("etc").join(name)).unwrap();
        }
        for (name, script) in STAND_INS {
            host.program(name, script);
        }
        if with == With::Aws {
            symlink(tool("aws"), host.path("bin/aws")).unwrap();
        }
        Some(host)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Puts a shell script where programs are looked for first.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        let state = self.path("state");
        binaries::script(&path, &format!("#!/bin/sh\nSTATE={}\n{script}", state.display())).unwrap();
    }

    /// A file of the host as it is now; empty when it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The file with the settings that install.sh has written.
    pub(crate) fn settings(&self) -> String {
        self.read("etc/bbb-agent/config.d/50-install.toml")
    }

    /// What dpkg, systemctl and hostnamectl were asked to do since the last call of this, without questions.
    pub(crate) fn changes(&self) -> Vec<String> {
        let calls = self.read("state/calls");
        let _ = std::fs::remove_file(self.path("state/calls"));
        let question = |call: &&str| {
            [
                "--print-architecture",
                "--compare-versions",
                "systemctl show",
                "--static",
                "try-restart",
                "is-active",
            ]
            .iter()
            .any(|part| call.contains(part))
        };
        let short = |call: &str| match call.rsplit_once('/') {
            Some((before, file)) if call.contains("--install") => {
                format!("{} {file}", before.split(' ').next().unwrap_or_default())
            }
            _ => call.to_owned(),
        };
        calls.lines().filter(|call| !question(call)).map(short).collect()
    }

    /// The version that dpkg has installed.
    pub(crate) fn installed(&self) -> String {
        self.read("state/installed").trim().to_owned()
    }

    /// How often the service was started.
    pub(crate) fn starts(&self) -> String {
        self.read("state/invocation").trim().to_owned()
    }

    /// Puts a release with the package of bbb-agent into the bucket, and makes it the latest.
    pub(crate) fn release(&self, version: &str, service: Service) {
        self.release_with(version, service, "");
    }

    /// The same with more fields in the package's control file.
    pub(crate) fn release_with(&self, version: &str, service: Service, fields: &str) {
        self.release_for("amd64", version, service, fields);
    }

    /// The same for another architecture, and for no other.
    pub(crate) fn release_for(&self, architecture: &str, version: &str, service: Service, fields: &str) {
        let name = format!("bbb-agent_{version}_{architecture}.deb");
        let tree = self.path("packages").join(version);
        let active = match service {
            Service::Ready => "active",
            Service::Waits => "activating",
            Service::Fails => "failed",
        };
        let control = format!(
            "Package: bbb-agent\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: nobody <nobody@example.org>\n\
             X-Service: {active}\n{fields}Description: a package for tests\n"
        );
        let agent = binaries::path("bbb-agent").unwrap();
        write(&tree.join("DEBIAN/control"), &control);
        write(&tree.join("etc/bbb-agent/config.toml"), "# as shipped\n");
        let program = tree.join("usr/bin/bbb-agent");
        write(&program, &format!("#!/bin/sh\nexec '{}' \"$@\"\n", agent.display()));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = self.path("packages").join(&name);
        let built = std::process::Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group", "-Zgzip"])
            .args([&tree, &file])
            .output()
            .expect("dpkg-deb");
        assert!(built.status.success(), "{built:?}");
        let s3 = &self.cloud.s3;
        let package = std::fs::read(file).unwrap();
        let installer = read(INSTALLER);
        let mut sums =
            format!("{}  install.sh\n{}  {name}\n", sha256(installer.as_bytes()), sha256(&package));
        s3.put(BUCKET, &format!("agents/{version}/{name}"), package);
        s3.put(BUCKET, &format!("agents/{version}/install.sh"), installer);
        for (name, script) in first_boot() {
            let _ = writeln!(sums, "{}  {name}", sha256(script.as_bytes()));
            s3.put(BUCKET, &format!("agents/{version}/{name}"), script);
        }
        s3.put(BUCKET, &format!("agents/{version}/SHA256SUMS"), sums);
        s3.put(BUCKET, "agents/latest", format!("{version}\n"));
    }

    /// Signs a release, as `publish --sign` does.
    pub(crate) fn sign_release(&self, key: &Key, version: &str) {
        let sums = self.cloud.s3.get(BUCKET, &format!("agents/{version}/SHA256SUMS")).unwrap();
        let signature = key.sign(&sums, &format!("bbb-agents {version}"));
        self.cloud.s3.put(BUCKET, &format!("agents/{version}/SHA256SUMS.minisig"), signature);
    }

    /// Makes a signed version the latest, as `publish --sign` does. `rest` is its date, and what may follow.
    pub(crate) fn sign_latest(&self, key: &Key, version: &str, rest: &str) {
        let text = format!("{version}\n");
        let signature = key.sign(text.as_bytes(), &format!("bbb-agents latest {version} {rest}"));
        self.cloud.s3.put(BUCKET, "agents/latest", text);
        self.cloud.s3.put(BUCKET, "agents/latest.minisig", signature);
    }

    /// A program in this host's own /etc, /var and /run, with its own programs first.
    pub(crate) fn inside(&self, program: &[&str]) -> Command {
        let own = self.root.path().display();
        let enter = format!(
            "mount --bind /etc {own}/host-etc && mount --bind {own}/etc /etc && \
             mount --bind {own}/var /var && mount --bind {own}/run /run && exec \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(UNSHARE.iter().flatten()).args(["sh", "-c", &enter, "sh"]).args(program);
        let authority = self.cloud.ca_file().unwrap();
        command
            .env_clear()
            .env("PATH", format!("{own}/bin:/usr/bin:/bin:/usr/sbin:/sbin"))
            .env("AWS_ENDPOINT_URL", self.cloud.aws_url())
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", self.cloud.imds_address()))
            // As the aws CLI, curl and the agent call it.
            .envs(["AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"].map(|name| (name, authority)));
        command
    }

    /// install.sh with these arguments behind those that it needs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut needed = vec!["--role", "bbb", "--bucket", BUCKET];
        needed.extend(["--zone-id", "Z0123456789EXAMPLE", "--domain", "example.org"]);
        needed.extend(arguments);
        self.bare_command(&needed)
    }

    /// install.sh with these arguments and no others.
    pub(crate) fn bare_command(&self, arguments: &[&str]) -> Command {
        let shell: &[&str] = if self.with == With::Busybox { &["busybox", "sh"] } else { &["dash"] };
        let mut command = self.inside(shell);
        command.arg(root().join(INSTALLER)).args(arguments);
        command
    }

    /// Runs it to its end.
    pub(crate) async fn install(&self, arguments: &[&str]) -> Run {
        Running::start(self.command(arguments)).end().await
    }

    /// Runs it to its end, which must be this exit code.
    pub(crate) async fn expect(&self, code: i32, arguments: &[&str]) -> Run {
        let run = self.install(arguments).await;
        assert_eq!(run.code, code, "{arguments:?} ended otherwise:\n{run}");
        run
    }
}

/// What UserData runs from a release, by name.
pub(crate) fn first_boot() -> Vec<(String, String)> {
    let scripts = std::fs::read_dir(root().join("packaging/host")).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = read(format!("packaging/host/{name}"));
        (name, text)
    });
    let logs = ["bbb-agent.json", "turn-agent.json"];
    let logs = logs.map(|name| (name.to_owned(), read(format!("cloudwatch/{name}"))));
    scripts.chain(logs).collect()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub(crate) fn sha256(content: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
