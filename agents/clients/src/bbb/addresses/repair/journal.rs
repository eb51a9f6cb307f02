//! The directory of the repair: whatever a crash leaves behind, the next run finishes.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};
use secrecy::zeroize::Zeroizing;

use super::{Edit, Places};

/// The note that the programs have to be restarted: the addresses that the host had on `lo`, and what was changed, one
/// a line.
const UNFINISHED: &str = "unfinished";
/// The line of a repair that has changed an address.
pub(super) const ADDRESS: &str = "address";
/// The line of a repair that has changed the TURN servers: then all of BBB is restarted, as BBB's documentation has it.
pub(super) const TOLD: &str = "turn";
/// The line of a repair that has changed the host's name: then all of BBB is restarted.
pub(super) const RENAMED: &str = "name";
/// The secrets that a host made from an image gets, a line each: its kind and the secret.
const SECRETS: &str = "secrets";

/// Tells whether a repair of these files has begun, and the programs that read them have not been restarted since. The
/// error says why that is not known.
pub fn is_unfinished(places: &Places<'_>) -> Result<bool, String> {
    let path = places.directory.join(UNFINISHED);
    path.try_exists().map_err(|error| format!("{}: {error}", path.display()))
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
}

impl Journal {
    pub(super) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Notes that a repair begins, which has to end with a restart of the programs.
    pub(super) fn begin(&self, lines: impl IntoIterator<Item = String>) -> Result<(), String> {
        let mut all = self.lines(UNFINISHED)?;
        all.extend(lines);
        // The service, which may read nothing else here, has to see it.
        self.put(UNFINISHED, 0o644, &joined(all))
    }

    /// Returns the addresses that the host had on `lo` before the repairs that have not ended.
    pub(super) fn former(&self) -> Result<Vec<Ipv4Addr>, String> {
        Ok(self.lines(UNFINISHED)?.iter().filter_map(|line| line.parse().ok()).collect())
    }

    /// Returns the secret of this kind that the host gets, also after a crash: it is drawn once.
    pub(super) fn secret(&self, kind: &str) -> Result<String, String> {
        let mut all = self.lines(SECRETS)?;
        let known = all.iter().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
        if let Some(known) = known {
            return Ok(known.to_owned());
        }
        let new = drawn()?;
        all.insert(format!("{kind} {new}"));
        self.put(SECRETS, 0o600, &joined(all))?;
        Ok(new)
    }

    /// Forgets the secrets: the files have them.
    pub(super) fn forget_secrets(&self) -> Result<(), String> {
        self.remove(SECRETS)
    }

    /// Overwrites a file: a copy of its first content and a note of the change come before.
    pub(super) fn carry_out(&self, edit: &Edit) -> Result<(), String> {
        let original = original(edit.path);
        if self.get(&original)?.is_none() {
            self.put(&original, 0o600, &edit.old)?;
        }
        self.intend(edit)?;
        edit.target.overwrite(&edit.new).map_err(|error| format!("cannot be written: {error}"))?;
        self.forget(edit.path)
    }

    /// Notes what a file will hold.
    pub(super) fn intend(&self, edit: &Edit) -> Result<(), String> {
        self.put(&pending(edit.path), 0o600, &note(&edit.old, &edit.new))
    }

    /// Returns what an interrupted run was about to write into a file that holds `bytes` now; none where nothing was
    /// interrupted, and where the file has been written by others since.
    pub(super) fn intended(&self, path: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some(note) = self.get(&pending(path))? else { return Ok(None) };
        let (old, new) = parts(&note);
        if is_mixture(bytes, old, new) {
            return Ok(Some(new.to_owned()));
        }
        self.forget(path)?;
        Ok(None)
    }

    /// Tells whether a run was interrupted while it wrote this file.
    pub(super) fn is_pending(&self, path: &str) -> Result<bool, String> {
        Ok(self.get(&pending(path))?.is_some())
    }

    /// Drops the note about a file.
    pub(super) fn forget(&self, path: &str) -> Result<(), String> {
        self.remove(&pending(path))
    }

    /// Returns the lines of a file of the directory; none where it does not exist.
    fn lines(&self, name: &str) -> Result<BTreeSet<String>, String> {
        let text = Zeroizing::new(self.get(name)?.unwrap_or_default());
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let path = self.directory.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// Writes a file of the directory, whole or not at all, and returns when the disk has it.
    fn put(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), String> {
        let path = self.directory.join(name);
        self.put_at(&path, mode, bytes).map_err(|error| failed("write", &path, &error))
    }

    fn put_at(&self, path: &Path, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.directory)?;
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
        // The process's umask must not hide the note from the service.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.directory)?.sync_all()
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        let path = self.directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &path, &error)),
            _ => Ok(()),
        }
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

fn original(path: &str) -> String {
    format!("original-{}", name(path))
}

fn pending(path: &str) -> String {
    format!("pending-{}", name(path))
}

fn name(path: &str) -> String {
    path.trim_start_matches('/').replace('/', "_")
}

fn joined(lines: BTreeSet<String>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(lines.into_iter().flat_map(|line| [line.into_bytes(), vec![b'\n']]).flatten().collect())
}

/// Draws a secret that nobody can guess: 256 bits, in letters and digits that need no quoting anywhere.
fn drawn() -> Result<String, String> {
    let mut bytes = [0; 32];
    let count = getrandom(&mut bytes, GetRandomFlags::empty());
    if count.map_err(|error| format!("the system gives no random numbers: {error}"))? != bytes.len() {
        return Err("the system gives too few random numbers".to_owned());
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Builds the note of a change: the length of the old content, the old content, the new one.
fn note(old: &[u8], new: &[u8]) -> Vec<u8> {
    let length = u64::try_from(old.len()).unwrap_or(u64::MAX).to_le_bytes();
    [&length[..], old, new].concat()
}

/// Takes a note apart. One that is too short, which no run leaves, gives nothing that a file could be a mixture of.
fn parts(note: &[u8]) -> (&[u8], &[u8]) {
    let split = note.split_first_chunk().and_then(|(length, rest)| {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    split.unwrap_or_default()
}

/// Tells whether a file holds what an interrupted change from `old` to `new` can have left: each byte is that of the
/// one or of the other, whatever of it had reached the disk.
fn is_mixture(bytes: &[u8], old: &[u8], new: &[u8]) -> bool {
    let lengths = old.len().min(new.len())..=old.len().max(new.len());
    let either = |(at, byte): (usize, &u8)| old.get(at) == Some(byte) || new.get(at) == Some(byte);
    lengths.contains(&bytes.len()) && bytes.iter().enumerate().all(either)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_an_interrupted_change_leaves_is_known(
            old in prop::collection::vec(any::<u8>(), 0..40),
            new in prop::collection::vec(any::<u8>(), 0..40),
            from_new in prop::collection::vec(any::<bool>(), 40),
            cut in any::<prop::sample::Index>(),
        ) {
            let longest = old.len().max(new.len());
            let length = old.len().min(new.len()) + cut.index(longest - old.len().min(new.len()) + 1);
            let byte = |at: usize| match (old.get(at), new.get(at)) {
                (Some(old), Some(new)) => Some(if from_new[at] { *new } else { *old }),
                (old, new) => old.or(new).copied(),
            };
            let left: Vec<u8> = (0..length).filter_map(byte).collect();
            prop_assert!(is_mixture(&left, &old, &new));
            let note = note(&old, &new);
            prop_assert_eq!(parts(&note), (&old[..], &new[..]));
        }

        #[test]
        fn any_note_is_read(note in prop::collection::vec(any::<u8>(), 0..40)) {
            let (old, new) = parts(&note);
            prop_assert!(old.len() + new.len() <= note.len());
        }
    }

    #[test]
    fn a_file_of_others_is_no_mixture() {
        assert!(!is_mixture(b"address=203.0.113.1", b"address=203.0.113.2", b"address=203.0.113.3"));
        assert!(!is_mixture(b"short", b"longer", b"longest"));
        assert!(!is_mixture(b"x", b"", b""));
    }
}
