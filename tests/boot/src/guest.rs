//! A running guest: systemd-nspawn with a disk, on the bridge. Programs are run in it by `nsenter`, as root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::disk::Disk;
use crate::world::{self, BRIDGE, World};
use crate::{Outcome, ensure};

/// The exit code with which systemd-nspawn asks its starter to boot the guest again (with `--keep-unit` only the
/// starter can do that): the `RestartForceExitStatus=` of systemd-nspawn@.service.
const REBOOT: i32 = 133;

/// The limit of every wait. It measures nothing: it only turns waiting for ever into a failure.
const PATIENCE: Duration = Duration::from_secs(90);

/// The pause between two looks at a state that does not announce its changes.
const PAUSE: Duration = Duration::from_millis(20);

/// The number of boots so far.
static BOOTS: AtomicU32 = AtomicU32::new(0);

/// A running guest. Dropping it is a power cut.
#[derive(Debug)]
pub(crate) struct Guest {
    nspawn: Child,
    /// The guest's first process, as seen from outside the guest.
    leader: u32,
    group: PathBuf,
}

impl Guest {
    /// Switches on a host with this disk, and returns once commands can be run in it.
    pub(crate) async fn boot(world: &World, disk: &Disk) -> Outcome<Self> {
        let root = disk.root();
        // The guest has its own control group, so that a power cut reaches only the guest. It is a new one at each boot: in
        // one that was killed, the kernel kills whatever systemd 257 starts, with CLONE_INTO_CGROUP, in a group below.
        let group = world.group.join(format!("guest-{}", BOOTS.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&group)?;
        // A guest that was cut off leaves its link to the kernel, which deletes it some time after the last process.
        until("the bridge is free", async || {
            Ok(world::run("ip", &["-oneline", "link", "show", "master", BRIDGE]).await?.is_empty())
        })
        .await?;
        let mut command = Command::new("/bin/sh");
        // The guest's control groups are below the one in which systemd-nspawn is started.
        command.args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec systemd-nspawn \"$@\""]).arg(&group);
        command.args([
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--machine=guest",
        ]);
        command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        command.arg(format!("--network-bridge={BRIDGE}")).arg("--directory").arg(root);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let nspawn = command.spawn().map_err(|error| format!("cannot start systemd-nspawn: {error}"))?;
        let mut guest = Self { nspawn, leader: 0, group };
        guest.leader = guest.find_leader().await?;
        Ok(guest)
    }

    /// Returns systemd-nspawn's child with a process namespace of its own, once the systemd in it answers.
    async fn find_leader(&mut self) -> Outcome<u32> {
        let id = self.nspawn.id().ok_or("systemd-nspawn has ended at once")?;
        let children = format!("/proc/{id}/task/{id}/children");
        let found = async {
            loop {
                let children = fs::read_to_string(&children).unwrap_or_default();
                for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
                    if answers(child).await {
                        return Ok(child);
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            found = tokio::time::timeout(PATIENCE, found) => found?,
            ended = self.nspawn.wait() => {
                let ended = ended?;
                let mut words = String::new();
                if let Some(mut stderr) = self.nspawn.stderr.take() {
                    stderr.read_to_string(&mut words).await?;
                }
                Err(format!("the guest does not boot: systemd-nspawn: {ended}\n{words}").into())
            }
        }
    }

    /// Runs a program in the guest, as root, to its end, and returns what it printed.
    ///
    /// # Errors
    /// Fails when the program exits with a code other than 0, with everything that it printed.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str]) -> Outcome<String> {
        let mut command = inside(self.leader, program);
        command.args(arguments);
        world::output(command).await
    }

    /// Runs a program in the guest like [`Guest::run`], but returns its exit code and everything that it printed.
    pub(crate) async fn ends(&self, program: &str, arguments: &[&str]) -> Outcome<(i32, String)> {
        let mut command = inside(self.leader, program);
        let output = command.args(arguments).output().await?;
        let text =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        Ok((output.status.code().unwrap_or(-1), text))
    }

    /// Returns one property of a unit.
    pub(crate) async fn unit(&self, unit: &str, property: &str) -> Outcome<String> {
        let value = self.run("systemctl", &["show", "--value", "--property", property, unit]).await?;
        Ok(value.trim().to_owned())
    }

    /// Waits until a unit is in this state; fails when the unit has failed instead.
    pub(crate) async fn reaches(&self, unit: &str, state: &str) -> Outcome {
        until(&format!("{unit} is {state}"), async || {
            let now = self.unit(unit, "ActiveState").await?;
            ensure(now == state || now != "failed", || format!("{unit} has failed"))?;
            Ok(now == state)
        })
        .await
    }

    /// Returns the id of a unit's main process, as seen in the guest.
    pub(crate) async fn main_process(&self, unit: &str) -> Outcome<u32> {
        let id = self.unit(unit, "MainPID").await?;
        match id.parse() {
            Ok(0) | Err(_) => Err(format!("{unit} has no process").into()),
            Ok(id) => Ok(id),
        }
    }

    /// Lets the guest reboot, and boots it again.
    pub(crate) async fn reboot(
        self,
        world: &World,
        disk: &Disk,
        meanwhile: impl AsyncFnOnce() -> Outcome,
    ) -> Outcome<Self> {
        let code = self.shut_down("reboot").await?;
        ensure(code == REBOOT, || format!("a reboot was to end systemd-nspawn with {REBOOT}, not {code}"))?;
        meanwhile().await?;
        Self::boot(world, disk).await
    }

    /// Lets the guest power itself off, and returns once it is dead.
    pub(crate) async fn power_off(self) -> Outcome {
        let code = self.shut_down("poweroff").await?;
        ensure(code == 0, || format!("the guest ended with {code}"))
    }

    async fn shut_down(mut self, verb: &str) -> Outcome<i32> {
        // The connection to systemd may break before the answer comes; only the end of the guest counts.
        let _ = self.ends("systemctl", &["--no-block", verb]).await;
        let ended = tokio::time::timeout(PATIENCE, self.nspawn.wait()).await;
        let ended = ended.map_err(|_| format!("the guest does not end after systemctl {verb}"))??;
        Ok(ended.code().unwrap_or(-1))
    }

    /// Kills all processes of the guest at once.
    pub(crate) async fn power_cut(mut self) -> Outcome {
        self.cut()?;
        self.nspawn.wait().await?;
        let events = self.group.join("cgroup.events");
        until("nothing of the guest runs", async || Ok(fs::read_to_string(&events)?.contains("populated 0")))
            .await
    }

    fn cut(&self) -> std::io::Result<()> {
        fs::write(self.group.join("cgroup.kill"), "1")
    }

    /// Returns the guest's processes by their ids on this machine.
    pub(crate) fn processes(&self) -> Outcome<Vec<u32>> {
        let mut found = Vec::new();
        let mut groups = vec![self.group.clone()];
        while let Some(group) = groups.pop() {
            // A control group may end meanwhile.
            let ids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            found.extend(ids.lines().filter_map(|id| id.parse::<u32>().ok()));
            groups.extend(below(&group));
        }
        Ok(found)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The guest may have ended by itself.
        let _ = self.cut();
    }
}

fn below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Tells whether this process is a guest's systemd that takes orders.
async fn answers(process: u32) -> bool {
    let own = fs::read_link("/proc/self/ns/pid").ok();
    if fs::read_link(format!("/proc/{process}/ns/pid")).ok() == own {
        return false;
    }
    let mut command = inside(process, "systemctl");
    let asked = command.args(["show", "--property", "Version"]).output().await;
    asked.is_ok_and(|output| output.status.success())
}

/// Returns a program to run in the namespaces of this process, with none of this program's environment.
fn inside(process: u32, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    let target = process.to_string();
    command.args([
        "--target", &target, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", program,
    ]);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    command.kill_on_drop(true);
    command
}

/// Waits until the condition holds.
///
/// # Errors
/// Fails when the condition does not hold within a limit much longer than the wait should take, or when it cannot be
/// checked.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> Outcome<bool>) -> Outcome {
    let waiting = async {
        while !is_so().await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.map_err(|_| format!("waited in vain for this: {what}"))?
}
