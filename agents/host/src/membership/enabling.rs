//! The time at which this host's entry was enabled, for `status`: what waits for Scalelite's first poll is in order
//! for as long as the poll may take. The file is in the directory that a boot empties.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files;
use crate::session::since_boot;

/// Notes that the entry was enabled now.
pub fn note(directory: &Path) {
    // Without it, `status` only knows less.
    let _ = files::write(&file(directory), format!("{}\n", since_boot().as_secs()));
}

/// Notes that the entry is gone.
pub fn forget(directory: &Path) {
    let _ = files::remove(&file(directory));
}

/// Returns how long ago that was, if it is known.
pub fn elapsed(directory: &Path) -> Option<Duration> {
    let seconds: u64 = files::read(&file(directory)).ok()?.trim().parse().ok()?;
    since_boot().checked_sub(Duration::from_secs(seconds))
}

fn file(directory: &Path) -> PathBuf {
    directory.join("enabled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_again_and_nothing_else_is_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(elapsed(directory.path()), None);
        note(directory.path());
        assert!(elapsed(directory.path()).unwrap() < Duration::from_secs(60));
        forget(directory.path());
        assert_eq!(elapsed(directory.path()), None);
        for text in ["", "x", "-1", "99999999999"] {
            files::write(&file(directory.path()), text).unwrap();
            assert_eq!(elapsed(directory.path()), None, "{text:?}");
        }
    }
}
