//! The disk of a guest: the cached root, and in memory over it the guest's own files. It outlives the guest.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::world::{self, World};
use crate::{Outcome, say};

/// The files that make the root a host of this test: its network, UserData, and the stand-ins for BBB.
const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guest");

/// The disk of a guest, mounted on this machine.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: TempDir,
}

impl Disk {
    /// Makes a new disk.
    pub(crate) async fn new(world: &World) -> Outcome<Self> {
        let disk = Self { directory: tempfile::Builder::new().prefix("disk-").tempdir_in("/run")? };
        fs::create_dir(disk.written())?;
        // The root directory of a disk must be readable for all users of the guest.
        fs::set_permissions(disk.written(), fs::Permissions::from_mode(0o755))?;
        let root = disk.mount(world).await?;
        world::run("cp", &["-RP", "--preserve=mode", &format!("{GUEST}/."), &root]).await?;
        disk.write("/etc/machine-id", "", 0o444)?;
        disk.write("/etc/hostname", "ip-10-0-0-10\n", 0o644)?;
        // The journal outlives the guest.
        fs::create_dir_all(disk.path("/var/log/journal"))?;
        Ok(disk)
    }

    /// Makes a new disk with everything that is on this one, whose guest is switched off.
    pub(crate) async fn image(&self, world: &World) -> Outcome<Self> {
        let disk = Self { directory: tempfile::Builder::new().prefix("disk-").tempdir_in("/run")? };
        let (from, to) = (self.written().display().to_string(), disk.written().display().to_string());
        world::run("cp", &["--archive", &from, &to]).await?;
        disk.mount(world).await?;
        Ok(disk)
    }

    /// Mounts the disk, and returns the path of its root directory.
    async fn mount(&self, world: &World) -> Outcome<String> {
        for part in [self.part("work"), self.root()] {
            fs::create_dir(part)?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            world.root.display(),
            self.written().display(),
            self.part("work").display()
        );
        let root = self.root().display().to_string();
        world::run("mount", &["-t", "overlay", "-o", &options, "overlay", &root]).await?;
        Ok(root)
    }

    /// Makes the guest trust this certificate authority, as an administrator would.
    pub(crate) async fn trust(&self, pem: &str) -> Outcome {
        self.write("/usr/local/share/ca-certificates/outside.crt", pem, 0o644)?;
        let root = self.root().display().to_string();
        world::run("chroot", &[&root, "update-ca-certificates"]).await.map(drop)
    }

    /// Writes a file, and makes the directories above it.
    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) -> Outcome {
        let path = self.path(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&path, text)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
    }

    /// Returns the path of a guest's file on this machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Returns the path of the guest's root directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.part("root")
    }

    /// Returns the directory with everything that differs from the cached root.
    pub(crate) fn written(&self) -> PathBuf {
        self.part("written")
    }

    fn part(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the journal of all boots, read with these options of journalctl's.
    pub(crate) async fn journal(&self, options: &[&str]) -> Outcome<String> {
        let directory = self.path("/var/log/journal").display().to_string();
        world::run("journalctl", &[&["--directory", &directory, "--no-pager", "--quiet"], options].concat())
            .await
    }

    /// Returns all paths on the disk except those below these directories, sorted.
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
