//! Where guests live: a bridge that has the cloud's addresses, a directory in memory for their disks, a control group.
//!
//! The program runs in namespaces of its own (see `tests/boot/run`), so nothing here has to be taken back.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Outcome;

/// The bridge that guests are connected to. It has all addresses that are not a guest's.
pub(crate) const BRIDGE: &str = "outside";
/// A guest's only way to anywhere.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The resolver of the VPC: its network's base and two.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The one guest. The public address that the metadata service tells it leads nowhere, as it does inside a VPC.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// The metadata service.
pub(crate) const IMDS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// All services of AWS with names.
pub(crate) const AWS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Scalelite.
pub(crate) const SCALELITE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The BBB that the guest's stand-in for nginx leads to.
pub(crate) const BBB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);
/// The zone's authoritative servers.
pub(crate) const NAME_SERVERS: [Ipv4Addr; 2] =
    [Ipv4Addr::new(198, 51, 100, 53), Ipv4Addr::new(198, 51, 100, 54)];

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// What all guests share.
#[derive(Debug)]
pub(crate) struct World {
    /// The root directory that every disk begins with.
    pub(crate) root: PathBuf,
    /// Releases, each in a directory of its version.
    pub(crate) releases: PathBuf,
    /// The control group that guests run in.
    pub(crate) group: PathBuf,
}

impl World {
    /// Makes it.
    pub(crate) async fn make(root: &Path, releases: &Path, group: &str) -> Outcome<Self> {
        // Version 2 alone, wherever the machine has it; guests would not boot with what is there besides.
        run("umount", &["--recursive", CONTROL_GROUPS]).await?;
        run("mount", &["-t", "cgroup2", "cgroup2", CONTROL_GROUPS]).await?;
        // Nothing of this machine's is seen by systemd-nspawn, nor the other way round; disks are here too.
        run("mount", &["-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"]).await?;
        let group = Path::new(CONTROL_GROUPS).join(group);
        std::fs::create_dir(&group)?;
        bridge().await?;
        Ok(Self { root: root.canonicalize()?, releases: releases.canonicalize()?, group })
    }
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

/// An address as the sandbox's options want it.
pub(crate) fn ip(address: Ipv4Addr) -> IpAddr {
    IpAddr::V4(address)
}

/// Runs a program of this machine to its end and returns what it printed.
///
/// # Errors
/// It cannot be run, or ends otherwise than with 0: then with all that it printed.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> Outcome<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command).await
}

/// The same for a command that is put together already.
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
