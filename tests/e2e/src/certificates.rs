//! The fleet's certificate: the secret that holds it, and the helper that puts it into place.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UnixListener;

use crate::Rig;

/// The secret's name.
const SECRET: &str = "fleet-certificate";

/// A stand-in for the agent's certificate socket and its unit: each connection starts the real `certificate` command;
/// what root's part does is tested where there is a root directory for it (`tests/boot`).
#[derive(Debug)]
pub struct Installer {
    directory: PathBuf,
    failures: Arc<AtomicUsize>,
}

impl Installer {
    /// Returns the certificate that is in place, with its key; empty if none is.
    pub fn kept(&self) -> String {
        fs::read_to_string(self.directory.join("bundle.pem")).unwrap_or_default()
    }

    /// Lets root's part fail this many times, as if nginx did not take the certificate.
    pub fn fails(&self, times: usize) {
        self.failures.store(times, Ordering::SeqCst);
    }
}

impl Rig {
    /// Puts a certificate for these names into the secret; returns it with its key in PEM.
    pub fn certify(&self, names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let authority = self.cloud.authority().expect("an authority");
        let [certificate, key] = authority.issue(&names).expect("a certificate");
        // PEM of either kind of line end is taken; what is kept has one.
        let text = (certificate + &key).replace("\r\n", "\n");
        self.cloud.secrets.put(SECRET, &text);
        text
    }

    /// Starts the helper, and lets the host's configuration name it and the secret.
    pub fn installer(&self) -> Installer {
        let socket = self.host.root.join("certificate.sock");
        let directory = self.host.root.join("certificate");
        fs::create_dir(&directory).expect("a directory");
        let settings = format!(
            "[tls]\ncertificate = \"secretsmanager:{SECRET}\"\ninstaller = \"{}\"\n",
            socket.display()
        );
        self.drop_in("certificate", &settings);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let failures = Arc::<AtomicUsize>::default();
        let (agent, place, failing) = (self.agent.clone(), directory.clone(), Arc::clone(&failures));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let connection = connection.into_std().expect("a socket");
                connection.set_nonblocking(false).expect("a socket");
                let [input, output, errors, mut rest] =
                    [(); 4].map(|()| connection.try_clone().expect("a socket"));
                let mut command = agent.command(&["certificate"]);
                command.env("STATE_DIRECTORY", &place);
                command.stdin(Stdio::from(OwnedFd::from(input))).stdout(Stdio::from(OwnedFd::from(output)));
                let ended =
                    command.stderr(Stdio::from(OwnedFd::from(errors))).status().await.expect("a program");
                if ended.success() {
                    let left =
                        failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                    let line = match left {
                        Ok(_) => "the certificate cannot be used: it is not read by: nginx\n",
                        Err(_) => "done\n",
                    };
                    std::io::Write::write_all(&mut rest, line.as_bytes()).expect("a socket");
                }
            }
        });
        Installer { directory, failures }
    }
}
