//! An EBS volume: it outlives the guests that it is attached to.

use std::fs::File;

use tempfile::NamedTempFile;

use crate::guest::Guest;
use crate::{Outcome, world};

/// Enough for a file system; the file has holes.
const SIZE: u64 = 64 << 20;

/// Makes the device of the number `$1`, and says as udev does that it is the volume with the serial number `$2`. A guest
/// has no udev, and no device that it was not given.
const PLUG: &str = "mknod --mode=660 /dev/loop$1 b 7 $1
mkdir -p /run/udev/data
echo E:ID_SERIAL_SHORT=$2 >/run/udev/data/b7:$1";

/// A volume: a block device of this machine, which guests get when EC2 says that they have the volume.
#[derive(Debug)]
pub(crate) struct Volume {
    serial: String,
    number: u32,
    _content: NamedTempFile,
    /// The kernel frees the device when nobody has it open any more, however this program ends.
    _device: File,
}

impl Volume {
    /// Makes an empty volume with this id, `vol-...`.
    pub(crate) async fn new(id: &str) -> Outcome<Self> {
        let content = tempfile::Builder::new().prefix("volume-").tempfile_in("/run")?;
        content.as_file().set_len(SIZE)?;
        let path = content.path().display().to_string();
        let device = world::run("losetup", &["--find", "--show", &path]).await?;
        let opened = File::open(device.trim());
        world::run("losetup", &["--detach", device.trim()]).await?;
        let number = device.trim().trim_start_matches("/dev/loop").parse()?;
        Ok(Self { serial: id.replacen('-', "", 1), number, _content: content, _device: opened? })
    }

    /// Gives the volume to a guest.
    pub(crate) async fn plug(&self, guest: &Guest) -> Outcome {
        let (number, serial) = (self.number.to_string(), &self.serial);
        guest.run("/bin/sh", &["-ec", PLUG, "plug", &number, serial]).await.map(drop)
    }
}
