//! The files in which BBB, FreeSWITCH and coturn have the host's address.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use sandbox::cloud::Host;
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::Rig;

/// The addresses in the files of [`cases`].
const PUBLIC: &str = "203.0.113.10";
const PRIVATE: &str = "10.0.0.5";

/// The secret of BBB in an image.
const SECRET_OF_IMAGE: &str = "SecretOfTheImage0123456789abcdefghijklmn";

/// The files of a BBB 3.0 with LiveKit behind NAT, as bbb-install leaves them.
fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents/clients/tests/cases/addresses/bbb-3.0")
}

impl Rig {
    /// Lets the host's BBB be installed with this address, whatever its files said before.
    pub fn announces(&self, address: &str) {
        let private =
            self.host.imds.facts().and_then(|facts| facts.local_ipv4).expect("an address").to_string();
        copy(&cases(), &self.host.root, &|text| text.replace(PUBLIC, address).replace(PRIVATE, &private));
    }

    /// Makes the host one from an image, in which BBB was installed under this name. Returns the secret of its BBB.
    pub fn is_from_image(&self, name: &str) -> &'static str {
        let image =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents/clients/tests/cases/image/bbb-3.0");
        // BBB is at a port of its own here.
        let url = self.host.scalelite_entry_url().trim_end_matches("/bigbluebutton/api").to_owned();
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let url = format!("{scheme}://{}", rest.replacen(&self.fqdn(), name, 1));
        copy(&image, &self.host.root, &|text| {
            text.replace("serverURL=https://bbb-image.invalid", &format!("serverURL={url}"))
                .replace("bbb-image.invalid", name)
        });
        self.host.bbb.set_secret(SECRET_OF_IMAGE);
        SECRET_OF_IMAGE
    }

    /// Lets the host boot: nothing is remembered of the time before.
    pub fn boots(&self) {
        let directory = self.agent.directory();
        fs::remove_dir_all(directory).and_then(|()| fs::create_dir(directory)).expect("a directory");
    }

    /// Lets the host have this public address from now on.
    pub fn readdress(&self, address: &str) {
        let address = Some(address.parse().expect("an address"));
        self.host.imds.update(|facts| facts.public_ipv4 = address).expect("a change");
    }
}

/// A stand-in for `AGENT-addresses.socket` and its unit: each connection starts the real `AGENT addresses`, and
/// then what `restart-for-addresses` does is done, without the programs.
#[derive(Debug)]
pub struct Repairer {
    runs: Arc<Mutex<Runs>>,
    restarted: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Runs {
    /// The meetings on the host at each restart of its programs.
    restarts: Vec<Vec<String>>,
    /// How many restarts fail from now on.
    failures: usize,
}

impl Repairer {
    /// The meetings on the host at each restart of its programs.
    pub fn restarts(&self) -> Vec<Vec<String>> {
        self.runs.lock().expect("no panic").restarts.clone()
    }

    /// Waits until the programs were restarted this many times.
    pub async fn restarted(&self, times: usize) {
        self.restarted.subscribe().wait_for(|restarts| *restarts >= times).await.expect("a sender");
    }

    /// Lets this many restarts fail, as if FreeSWITCH did not start.
    pub fn fails(&self, times: usize) {
        self.runs.lock().expect("no panic").failures = times;
    }
}

impl Rig {
    /// Starts it, and lets the host's configuration have addresses set right.
    pub fn repairer(&self) -> Repairer {
        let socket = self.host.root.join("addresses.sock");
        let (section, name) =
            if self.prefix == "tu-" { ("turn", "turn-agent") } else { ("bbb", "bbb-agent") };
        let settings = format!("[{section}]\naddresses = \"repair\"\nrepairer = \"{}\"\n", socket.display());
        self.drop_in("repair", &settings);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let runs = Arc::<Mutex<Runs>>::default();
        let (host, agent, kept) = (Arc::clone(&self.host), self.agent.clone(), Arc::clone(&runs));
        let restarted = watch::Sender::new(0);
        let tells = restarted.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let connection = connection.into_std().expect("a socket");
                connection.set_nonblocking(false).expect("a socket");
                let [input, output, errors, mut rest] =
                    [(); 4].map(|()| connection.try_clone().expect("a socket"));
                let mut command = agent.command(&["addresses"]);
                command.stdin(Stdio::from(OwnedFd::from(input))).stdout(Stdio::from(OwnedFd::from(output)));
                let ended =
                    command.stderr(Stdio::from(OwnedFd::from(errors))).status().await.expect("a program");
                if ended.success() {
                    let line = {
                        let mut runs = kept.lock().expect("no panic");
                        let line = restart(&host, name, &mut runs);
                        tells.send_replace(runs.restarts.len());
                        line
                    };
                    std::io::Write::write_all(&mut rest, line.as_bytes()).expect("a socket");
                }
            }
        });
        Repairer { runs, restarted }
    }
}

fn restart(host: &Host, agent: &str, runs: &mut Runs) -> &'static str {
    let note = host.root.join(format!("var/lib/{agent}-addresses/unfinished"));
    if !note.exists() {
        return "done\n";
    }
    let meetings = host.bbb.snapshot().meetings.into_iter().map(|meeting| meeting.id);
    runs.restarts.push(meetings.collect());
    if runs.failures > 0 {
        runs.failures -= 1;
        return "cannot be restarted with what was set right: freeswitch\n";
    }
    if fs::read_to_string(&note).expect("a file").lines().any(|line| line == "name") {
        // BBB reads its properties when it starts.
        let properties = fs::read_to_string(host.files.overrides()).expect("a file");
        let salt = properties.lines().rev().find_map(|line| line.strip_prefix("securitySalt="));
        host.bbb.set_secret(salt.expect("a secret"));
    }
    fs::remove_file(note).expect("a file");
    "freeswitch is restarted\ndone\n"
}

fn copy(from: &Path, to: &Path, change: &impl Fn(String) -> String) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to, change);
        } else {
            let text = change(fs::read_to_string(&path).expect("a text"));
            // Whole or not at all, because the agent may look at any moment.
            let new = to.with_extension("new");
            fs::write(&new, text).expect("a file");
            fs::rename(new, to).expect("a file");
        }
    }
}
