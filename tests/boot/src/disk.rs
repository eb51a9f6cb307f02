//! A guest's disk: the cached root, and over it, in memory, what the guest writes. It outlives the guest, as a disk does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::world::{self, World};
use crate::{Outcome, say};

/// The files that make the root a host of this test: its network, UserData, what stands for BBB.
const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guest");

/// A disk.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: TempDir,
}

impl Disk {
    /// A new one.
    pub(crate) async fn new(world: &World) -> Outcome<Self> {
        let disk = Self { directory: tempfile::Builder::new().prefix("disk-").tempdir_in("/run")? };
        for part in [disk.written(), disk.part("work"), disk.root()] {
            fs::create_dir(part)?;
        }
        // What is at the root of a disk may be seen by all of its users.
        fs::set_permissions(disk.written(), fs::Permissions::from_mode(0o755))?;
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            world.root.display(),
            disk.written().display(),
            disk.part("work").display()
        );
        let root = disk.root().display().to_string();
        world::run("mount", &["-t", "overlay", "-o", &options, "overlay", &root]).await?;
        world::run("cp", &["-RP", "--preserve=mode", &format!("{GUEST}/."), &root]).await?;
        disk.write("/etc/machine-id", "", 0o444)?;
        disk.write("/etc/hostname", "ip-10-0-0-10\n", 0o644)?;
        // The journal outlives the guest.
        fs::create_dir_all(disk.path("/var/log/journal"))?;
        Ok(disk)
    }

    /// Makes the guest trust this certificate authority, as an administrator would.
    pub(crate) async fn trust(&self, pem: &str) -> Outcome {
        self.write("/usr/local/share/ca-certificates/outside.crt", pem, 0o644)?;
        let root = self.root().display().to_string();
        world::run("chroot", &[&root, "update-ca-certificates"]).await.map(drop)
    }

    /// Writes a file, with the directories that it needs.
    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) -> Outcome {
        let path = self.path(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&path, text)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
    }

    /// Where a file of the guest is on this machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Where the guest's root directory is.
    pub(crate) fn root(&self) -> PathBuf {
        self.part("root")
    }

    /// Where everything is that is not as in the cached root.
    pub(crate) fn written(&self) -> PathBuf {
        self.part("written")
    }

    fn part(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The journal of all boots, with these options of journalctl's.
    pub(crate) async fn journal(&self, options: &[&str]) -> Outcome<String> {
        let directory = self.path("/var/log/journal").display().to_string();
        world::run("journalctl", &[&["--directory", &directory, "--no-pager", "--quiet"], options].concat())
            .await
    }

    /// All paths on it but those below these directories, in order.
    pub(crate) fn paths(&self, without: &[&str]) -> Outcome<Vec<String>> {
        let root = self.root();
        let mut found = Vec::new();
        let mut waiting = vec![root.clone()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let shown = Path::new("/").join(entry.path().strip_prefix(&root)?).display().to_string();
                if without.iter().any(|prefix| shown.starts_with(prefix)) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    waiting.push(entry.path());
                }
                found.push(shown);
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg("--lazy").arg(self.root()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            say(&format!("boot: {} stays mounted until the end of all", self.root().display()));
        }
    }
}
