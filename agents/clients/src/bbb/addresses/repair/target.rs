//! A file that is overwritten by a process which may write to files of others.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::super::MAX_SIZE;

/// An open file, of which it is certain that it is the one that its path names.
#[derive(Debug)]
pub(super) struct Target(File);

impl Target {
    /// Opens the file at this path below the root; returns none where there is none.
    ///
    /// Its directory may belong to a program that was taken over. A symbolic link in the path, a second name of a
    /// file, a FIFO or a device would have the process write where it must not, so none is accepted. `/lib` may be a
    /// link to `/usr/lib`, as on all systems of today.
    pub(super) fn open(root: &Path, path: &Path) -> Result<Option<Self>, String> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(root.join(path)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(format!("cannot be opened for writing: {error}")),
        };
        let found = file.metadata().map_err(|error| error.to_string())?;
        if !found.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        if found.nlink() != 1 {
            return Err("it has other names too (hard links), so it is left alone".to_owned());
        }
        let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let real = real.map_err(|error| format!("its real path cannot be read: {error}"))?;
        let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
        if ![root.join(path), root.join("usr").join(path)].contains(&real) {
            return Err(format!("a link leads to {}, so it is left alone", real.display()));
        }
        Ok(Some(Self(file)))
    }

    /// Reads the whole file.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        let (mut file, mut bytes) = (&self.0, Vec::new());
        let read =
            file.seek(SeekFrom::Start(0)).and_then(|_| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
        read.map_err(|error| format!("cannot be read: {error}"))?;
        match u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_SIZE {
            true => Err(format!("it is larger than {MAX_SIZE} bytes")),
            false => Ok(bytes),
        }
    }

    /// Overwrites the file, and returns when the disk has it.
    pub(super) fn overwrite(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(bytes)?;
        file.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        file.sync_all()
    }
}
