//! The lock that makes its holder the only writer on this host.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info};

use super::lock_file;
use crate::files;
use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience};

/// An exclusive flock(2) on the file `lock` in the service's directory. The kernel releases it however its holder
/// ends, so a crash leaves nothing to clean up.
#[derive(Debug)]
pub struct Lock {
    directory: PathBuf,
    /// The locked file; `None` where there is no directory and none can be created.
    file: Option<File>,
}

impl Lock {
    /// Takes the lock if it is free; returns `None` while another process holds it.
    ///
    /// Creates the directory (0700) where it is missing. Where that is not possible (not root, a read-only file
    /// system), no service can use the directory either: then there is nothing to lock, and this succeeds. Fails where
    /// the directory or its lock exists and is not accessible.
    pub fn try_take(directory: &Path) -> Result<Option<Self>, Failure> {
        let taken = |file| Some(Self { directory: directory.to_owned(), file });
        if let Err(error) = make(directory)? {
            debug!("no lock is taken: {} is missing and cannot be made: {error}", directory.display());
            return Ok(taken(None));
        }
        let path = lock_file(directory);
        let file = match open(&path) {
            Ok(file) => file,
            // The directory disappeared meanwhile, because a service is being stopped.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(&path, &error)),
        };
        let locked = lock(file, &path).map_err(|error| refused(&path, &error))?;
        Ok(locked.and_then(|file| taken(Some(file))))
    }

    /// Takes the lock, waiting for its holder until `deadline`. For the service: a command should rather ask the
    /// service, see [`super::ask`].
    pub async fn take(directory: &Path, deadline: Instant) -> Result<Self, Failure> {
        let mut pace = pace(deadline);
        let mut told = false;
        loop {
            if let Some(lock) = Self::try_take(directory)? {
                return Ok(lock);
            }
            if !told {
                info!("waiting for the lock {}: another command has it", lock_file(directory).display());
                told = true;
            }
            if !pace.look_again().await {
                return Err(busy(directory));
            }
        }
    }

    /// Returns the directory of the lock; `None` where there is none that could be locked.
    pub fn directory(&self) -> Option<&Path> {
        self.file.as_ref().map(|_| self.directory.as_path())
    }
}

/// Returns the intervals at which a waiting process tries the lock: it is a local file whose release is not announced.
pub(crate) fn pace(deadline: Instant) -> Pace {
    Pace::new(Patience::quietly(deadline), Duration::from_millis(100), Duration::from_millis(500))
}

/// Returns the failure of waiting for the lock in vain.
pub(crate) fn busy(directory: &Path) -> Failure {
    let path = lock_file(directory);
    Failure::new(Exit::TryAgain, format!("the lock {}: gave up waiting", path.display()))
        .because("another command on this host has it all the time")
        .advise(format!("`fuser -v {}` shows which; run this again when it has ended", path.display()))
}

/// Creates the directory where it is missing. The inner error says why that is not possible while it is still missing.
fn make(directory: &Path) -> Result<io::Result<()>, Failure> {
    if directory.is_dir() {
        return Ok(Ok(()));
    }
    // The directories above it (/run) are for all users.
    let above = directory.parent().map_or(Ok(()), fs::create_dir_all);
    let made = above.and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(directory));
    let Err(error) = made else { return Ok(Ok(())) };
    match fs::symlink_metadata(directory) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(Err(error)),
        Err(hidden) => Err(refused(directory, &hidden)),
        Ok(_) => Err(refused(directory, &error)),
    }
}

/// Opens the lock's file, and creates it where it is missing.
fn open(path: &Path) -> io::Result<File> {
    match files::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        result => return result,
    }
    match files::create(path) {
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => files::open(path),
        result => result,
    }
}

/// Locks a file that was opened at the path; returns `None` where that excludes no other process, or another process
/// holds the lock.
fn lock(file: File, path: &Path) -> io::Result<Option<File>> {
    match file.try_lock() {
        // The file may have been removed or replaced after it was opened.
        Ok(()) => Ok(is_at(&file, path).then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Reports whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(found)) = (file.metadata(), fs::metadata(path)) else { return false };
    (own.dev(), own.ino()) == (found.dev(), found.ino())
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(
        Exit::Failed,
        format!("cannot tell whether the service works on this host: {}", path.display()),
    )
    .because(error);
    match error.kind() {
        ErrorKind::PermissionDenied => failure.advise("run this as root"),
        _ => failure.advise("repair or remove it, or set service.directory to another place"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::session::within;

    fn free(directory: &Path) -> bool {
        Lock::try_take(directory).unwrap().is_some()
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn one_at_a_time_and_free_again_afterwards() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("run/agent");
        let lock = Lock::try_take(&directory).unwrap().unwrap();
        assert_eq!(lock.directory(), Some(directory.as_path()));
        assert_eq!((mode(&directory), mode(&lock_file(&directory))), (0o700, 0o600));
        // The directories above are not the agent's own and have the usual mode.
        fs::create_dir(root.path().join("plain")).unwrap();
        assert_eq!(mode(&root.path().join("run")), mode(&root.path().join("plain")));
        assert!(!free(&directory));
        drop(lock);
        assert!(free(&directory), "the file that is left behind locks nobody out");
    }

    #[test]
    fn a_lock_on_a_file_that_is_not_there_any_more_is_none() {
        let root = tempfile::tempdir().unwrap();
        let path = lock_file(root.path());
        let opened = || open(&path).unwrap();
        assert!(lock(opened(), &path).unwrap().is_some());
        let (removed, replaced) = (opened(), opened());
        fs::remove_file(&path).unwrap();
        assert!(lock(removed, &path).unwrap().is_none(), "removed");
        let held = lock(opened(), &path).unwrap();
        assert!(held.is_some(), "made again");
        // Two holders at once: each would take itself for the only writer.
        assert!(lock(replaced, &path).unwrap().is_none(), "replaced");
        assert!(!free(root.path()));
        drop(held);
        assert!(free(root.path()));
    }

    #[test]
    fn without_a_directory_that_can_be_made_there_is_nothing_to_lock() {
        // No user, not even root, can create a directory there.
        let directory = Path::new("/proc/no-such-agent");
        let locks =
            [Lock::try_take(directory).unwrap().unwrap(), Lock::try_take(directory).unwrap().unwrap()];
        assert_eq!(locks.map(|lock| lock.directory().map(Path::to_owned)), [None, None]);
    }

    #[test]
    fn what_exists_and_is_no_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("agent");
        fs::write(&file, "").unwrap();
        let failure = Lock::try_take(&file).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.to_string().contains("service.directory"), "{failure}");
        let failure = Lock::try_take(&file.join("below")).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed, "{failure}");
    }

    #[test]
    fn a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = root.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, lock_file(root.path())).unwrap();
        let refused = || Lock::try_take(root.path()).unwrap_err().to_string();
        assert!(
            refused().contains("symbolic link") && refused().contains("repair or remove it"),
            "{}",
            refused()
        );
        assert!(!elsewhere.exists(), "nothing is made where a link leads");
        fs::write(&elsewhere, "").unwrap();
        assert!(refused().contains("symbolic link"), "{}", refused());
        let free = File::open(&elsewhere).unwrap();
        free.try_lock().expect("what the link leads to is not locked");
    }

    #[tokio::test]
    async fn waiting_ends_when_the_lock_is_given_back() {
        let root = tempfile::tempdir().unwrap();
        let lock = Lock::try_take(root.path()).unwrap().unwrap();
        let waiting = Lock::take(root.path(), within(Duration::from_secs(300)));
        let giving = async {
            tokio::task::yield_now().await;
            drop(lock);
        };
        let (taken, ()) = tokio::join!(waiting, giving);
        assert!(taken.unwrap().directory().is_some());
    }

    #[tokio::test]
    async fn waiting_ends_at_the_deadline() {
        let root = tempfile::tempdir().unwrap();
        let _lock = Lock::try_take(root.path()).unwrap().unwrap();
        let failure = Lock::take(root.path(), Instant::now()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::TryAgain);
        assert!(failure.to_string().contains("fuser -v "), "{failure}");
    }
}
