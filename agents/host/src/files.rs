//! The agent's small files in its own directories: the lock, the memory of a boot, the notes on the Scalelite entry.
//!
//! Root's commands use them too, in a directory that belongs to the service's user. A service that was taken over can
//! put anything there: a link to a file of root's, a FIFO that never answers. So no link is followed, and only a
//! regular file of root or of the directory's owner, without a second name, is opened. What is written is a new file
//! that takes the old one's place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The most bytes of a file that is read: each of them has some lines.
const MAX_SIZE: u64 = 64 * 1024;

/// Opens an existing file for reading and writing.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    opened(OpenOptions::new().read(true).write(true), path)
}

/// Creates a file that does not exist yet, and opens it for reading and writing. It gets the directory's owner, because
/// a file of root's must not lock the service out.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    let (owner, own) = (directory(path).metadata()?, file.metadata()?);
    if owner.uid() != own.uid() {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(file)
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    opened(OpenOptions::new().read(true), path)?.take(MAX_SIZE).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file, whole or not at all.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let new = path.with_extension("new");
    remove(&new)?;
    create(&new)?.write_all(content.as_ref())?;
    fs::rename(new, path)
}

/// Removes a file, if there is one.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens an existing file. Opening a FIFO does not wait for its other end.
fn opened(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = match options.custom_flags(flags.cast_signed()).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(foreign("it is a symbolic link, and none is followed there"));
        }
        result => result?,
    };
    let (found, owner) = (file.metadata()?, directory(path).metadata()?.uid());
    if !found.is_file() {
        return Err(foreign("it is no regular file"));
    }
    if ![0, owner].contains(&found.uid()) {
        let uid = found.uid();
        return Err(foreign(&format!("it belongs to another user than its directory does (uid {uid})")));
    }
    if found.nlink() > 1 {
        return Err(foreign("it is a file that has other names too (hard links)"));
    }
    Ok(file)
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn foreign(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn refusals(path: &Path) -> [String; 2] {
        [open(path).unwrap_err().to_string(), read(path).unwrap_err().to_string()]
    }

    #[test]
    fn a_file_is_replaced_and_only_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note");
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::NotFound);
        for text in ["first\n", "second, which is longer\n", ""] {
            write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap(), text);
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_service_that_was_taken_over_puts_there_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note");
        let victim = directory.path().join("victim");
        fs::write(&victim, "root's own").unwrap();
        symlink(&victim, &path).unwrap();
        assert!(refusals(&path).iter().all(|why| why.contains("symbolic link")), "{:?}", refusals(&path));
        remove(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        assert!(refusals(&path).iter().all(|why| why.contains("hard links")), "{:?}", refusals(&path));
        remove(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        assert!(refusals(&path).iter().all(|why| why.contains("regular file")), "{:?}", refusals(&path));
        remove(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("regular file"));
    }

    #[test]
    fn writing_touches_nothing_that_links_lead_to() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("note"), directory.path().join("victim"));
        fs::write(&victim, "root's own").unwrap();
        symlink(&victim, &path).unwrap();
        symlink(&victim, path.with_extension("new")).unwrap();
        write(&path, "the note").unwrap();
        assert_eq!(
            (read(&path).unwrap().as_str(), fs::read_to_string(&victim).unwrap().as_str()),
            ("the note", "root's own")
        );
    }

    #[test]
    fn files_in_the_directory_of_another_user_are_that_users() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note");
        // Only root can give a directory away; for another user the question does not arise.
        if chown(directory.path(), Some(4711), Some(4711)).is_err() {
            return;
        }
        write(&path, "for the service").unwrap();
        let owner = path.metadata().unwrap();
        assert_eq!((owner.uid(), owner.gid()), (4711, 4711));
        chown(&path, Some(4712), None).unwrap();
        assert!(refusals(&path).iter().all(|why| why.contains("uid 4712")), "{:?}", refusals(&path));
    }
}
