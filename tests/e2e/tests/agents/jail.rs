//! An otherwise empty root directory with an agent in it, run under chroot: no `/dev`, no `/proc`, no libraries.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sandbox::binaries;
use sandbox::cloud::{Cloud, Options, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};
use tokio::process::Command;

const CHROOT: [&str; 2] = ["/usr/sbin/chroot", "/usr/bin/chroot"];
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Why a jail cannot be made by this process, if it cannot.
pub(crate) fn impossible() -> Option<&'static str> {
    if !is_root() {
        return Some("chroot and port 53 need root");
    }
    let Some(chroot) = chroot() else { return Some("there is no chroot command (package coreutils)") };
    let allowed = std::process::Command::new(chroot).args(["/", "/bin/true"]).status();
    (!allowed.is_ok_and(|status| status.success())).then_some("chroot is not allowed here")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // The owner of a process's own entry is its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn chroot() -> Option<&'static str> {
    CHROOT.into_iter().find(|path| Path::new(path).is_file())
}

/// Returns port 53 of loopback addresses that nothing else uses: a resolv.conf cannot say a port, nor can an NS
/// record.
pub(crate) fn addresses(count: usize) -> Vec<SocketAddr> {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = || {
        // 127.64.0.0/10, told apart by process and by use; most hosts have nothing of their own there.
        let use_of_process = NEXT.fetch_add(1, Ordering::Relaxed);
        let ip = Ipv4Addr::new(127, 64 | (high & 63), low, use_of_process);
        SocketAddr::new(IpAddr::V4(ip), 53)
    };
    (0..count).map(|_| address()).collect()
}

/// A cloud with TLS whose name servers and resolver listen on port 53.
pub(crate) fn options() -> Options {
    let mut options = Options::with_tls();
    let mut addresses = addresses(3);
    options.addresses.resolver = addresses.remove(2);
    options.dns.addresses = addresses;
    options
}

/// The directory. It is removed with the value.
pub(crate) struct Jail {
    directory: tempfile::TempDir,
    agent: &'static str,
    environment: Vec<(String, String)>,
}

impl Jail {
    /// Puts bbb-agent, its configuration, resolv.conf, the cloud's certificate authority and BBB's property files
    /// into a new directory, each where it is on a host, and nothing else.
    pub(crate) fn new(cloud: &Arc<Cloud>) -> Self {
        let jail = Self::with("bbb-agent", cloud);
        for (from, to) in [
            (cloud.files.overrides(), "etc/bigbluebutton/bbb-web.properties"),
            (cloud.files.defaults(), "usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties"),
        ] {
            jail.write(to, &std::fs::read_to_string(from).unwrap());
        }
        jail
    }

    /// Puts this agent, its configuration, resolv.conf and the cloud's certificate authority into a new directory.
    pub(crate) fn with(agent: &'static str, cloud: &Arc<Cloud>) -> Self {
        let directory = tempfile::Builder::new().prefix("jail-").tempdir().unwrap();
        let environment = vec![
            ("AWS_ENDPOINT_URL".to_owned(), cloud.aws_url_by_name()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), format!("http://{}", cloud.imds_address())),
        ];
        let jail = Self { directory, agent, environment };
        binaries::copy(&binaries::path(agent).unwrap(), &jail.root().join(agent)).unwrap();
        // What else is in it must not matter: many a parser refuses these lines.
        let resolv_conf = format!(
            "search .example.com bad..name\noptions timeout:0 attempts:99 no-aaaa\nnameserver {} # VPC\n",
            cloud.resolver.address().ip()
        );
        jail.write("etc/resolv.conf", &resolv_conf);
        jail.trust(cloud.authority().unwrap().pem());
        jail.write(&format!("etc/{agent}/config.toml"), &configuration(agent, cloud));
        jail
    }

    /// The directory that becomes the root.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file below the root.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Replaces the certificate authorities that the host trusts.
    pub(crate) fn trust(&self, pem: &str) {
        self.write(AUTHORITIES, pem);
    }

    /// Every file below the root, sorted.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut directories = vec![self.root().to_owned()];
        let mut files = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { directories.push(path) } else { files.push(path) }
            }
        }
        let mut files: Vec<PathBuf> =
            files.iter().map(|path| path.strip_prefix(self.root()).unwrap().to_owned()).collect();
        files.sort();
        files
    }

    /// The agent under chroot, with the environment that leads it to the cloud and nothing else.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(chroot().unwrap());
        command.arg(self.root()).arg(format!("/{}", self.agent)).args(arguments);
        command.env_clear().envs(self.environment.iter().cloned()).kill_on_drop(true);
        command
    }
}

/// Name servers are not configured: they have to be found. Everything else is reached by name.
fn configuration(agent: &str, cloud: &Cloud) -> String {
    let mut text = format!("[dns]\nzone_id = \"{}\"\ndomain = \"{}\"\n", cloud.zone_id, cloud.zone_name);
    if agent == "bbb-agent" {
        text += &format!(
            "\n[scalelite]\nurl = \"{}\"\nsecret = \"secretsmanager:{SCALELITE_SECRET_ID}#{SCALELITE_SECRET_KEY}\"\n\n\
             [recordings]\nredis = \"\"\n",
            cloud.scalelite_url_by_name(),
        );
    } else {
        // There is no list of sockets in an empty root, and no other host's counts.
        text += "\n[drain]\nrelays = \"\"\n";
    }
    text += "\n[metrics]\ncoturn = \"\"\n";
    text
}

/// A cloud with a jail in it, or nothing where that is impossible: then the reason was printed.
pub(crate) async fn jailed() -> Option<(Arc<Cloud>, Jail)> {
    if let Some(why) = impossible() {
        e2e::skipped(why);
        return None;
    }
    let cloud = Cloud::start(options()).await.unwrap();
    let jail = Jail::new(&cloud);
    Some((cloud, jail))
}
