//! The world of the guests: a bridge with the cloud's addresses, a directory in memory for their disks, a control
//! group.
//!
//! The program runs in namespaces of its own (see `tests/boot/run`), so nothing has to be undone afterwards.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Outcome;

/// The bridge to which guests are connected. It has all addresses that are not a guest's.
pub(crate) const BRIDGE: &str = "outside";
/// The guest's only route.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The resolver of the VPC, at the base of its network plus two.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The only guest. Its public address, which the metadata service tells, leads nowhere, as inside a real VPC.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// The metadata service.
pub(crate) const IMDS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The address of all named services of AWS.
pub(crate) const AWS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Scalelite.
pub(crate) const SCALELITE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The BBB to which the guest's stand-in for nginx leads.
pub(crate) const BBB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);
/// The zone's authoritative servers.
pub(crate) const NAME_SERVERS: [Ipv4Addr; 2] =
    [Ipv4Addr::new(198, 51, 100, 53), Ipv4Addr::new(198, 51, 100, 54)];

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// The parts that all guests share.
#[derive(Debug)]
pub(crate) struct World {
    /// The root directory from which every disk begins.
    pub(crate) root: PathBuf,
    /// The code name of the root's distribution.
    pub(crate) codename: String,
    /// Releases, each in a directory named by its version.
    pub(crate) releases: PathBuf,
    /// The control group in which guests run.
    pub(crate) group: PathBuf,
}

impl World {
    /// Makes the world.
    pub(crate) async fn make(root: &Path, releases: &Path, group: &str) -> Outcome<Self> {
        // Only version 2, wherever the machine has it: guests would not boot with the other hierarchies around it.
        run("umount", &["--recursive", CONTROL_GROUPS]).await?;
        run("mount", &["-t", "cgroup2", "cgroup2", CONTROL_GROUPS]).await?;
        // This hides the machine's files from systemd-nspawn, and its files from the machine; the disks are here too.
        run("mount", &["-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"]).await?;
        let group = Path::new(CONTROL_GROUPS).join(group);
        std::fs::create_dir(&group)?;
        bridge().await?;
        let codename = codename(&std::fs::read_to_string(root.join("etc/os-release"))?)?;
        Ok(Self { root: root.canonicalize()?, codename, releases: releases.canonicalize()?, group })
    }
}

/// Returns the code name in a file os-release.
fn codename(text: &str) -> Outcome<String> {
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.ok_or("the root's os-release has no code name")?.to_owned())
}

async fn bridge() -> Outcome {
    run("ip", &["link", "set", "lo", "up"]).await?;
    run("ip", &["link", "add", BRIDGE, "type", "bridge"]).await?;
    run("ip", &["link", "set", BRIDGE, "up"]).await?;
    let alone = [RESOLVER, IMDS, AWS, SCALELITE, BBB].into_iter().chain(NAME_SERVERS);
    let addresses = alone.map(|address| format!("{address}/32"));
    for address in addresses.chain([format!("{GATEWAY}/24")]) {
        run("ip", &["address", "add", &address, "dev", BRIDGE]).await?;
    }
    Ok(())
}

/// Converts an address for the sandbox's options.
pub(crate) fn ip(address: Ipv4Addr) -> IpAddr {
    IpAddr::V4(address)
}

/// Runs a program of this machine to its end and returns what it printed.
///
/// # Errors
/// Fails when the program cannot be run, or exits with a code other than 0; the error has everything that it printed.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> Outcome<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command).await
}

/// Runs a prepared command like [`run`].
pub(crate) async fn output(mut command: Command) -> Outcome<String> {
    let shown = || format!("{:?}", command.as_std());
    let shown = shown();
    let output = command.kill_on_drop(true).output().await.map_err(|error| format!("{shown}: {error}"))?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Ok(stdout.into_owned());
    }
    Err(format!("{shown} ended with {}:\n{stdout}{stderr}", output.status).into())
}
