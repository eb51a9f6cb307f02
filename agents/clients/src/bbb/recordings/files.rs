//! The spool's directories. Everything here may block for ever.

use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use plan::recordings::Spool;

use super::Error;

/// Lists the spool. A missing directory counts as empty, because BBB creates each when it first needs it. Links are
/// not followed: a link counts as itself. The directories are listed in the order in which a recording passes through
/// them, so that one that moves on meanwhile is seen at least once.
pub(super) fn list(directory: &Path, sender: &Path) -> Result<Spool, Error> {
    let at = |below: &str| directory.join(below);
    Ok(Spool {
        recorded: names(&at("status/recorded"))?,
        raw: names(&at("raw"))?,
        archived: names(&at("status/archived"))?,
        sanity: names(&at("status/sanity"))?,
        processed: names(&at("status/processed"))?,
        published: each(&at("status/published"), modified)?,
        outbox: names(&at("scalelite"))?,
        sender: sender.try_exists().map_err(|error| unreadable(sender, &error))?,
        jobs: 0,
    })
}

fn names<C: FromIterator<String>>(directory: &Path) -> Result<C, Error> {
    each(directory, |_, name| Ok(name))
}

/// Returns the entry's name with its modification time, as a duration since 1970.
fn modified(entry: &DirEntry, name: String) -> io::Result<(String, Duration)> {
    let time = entry.metadata()?.modified()?;
    Ok((name, time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
}

/// Collects the result of `read` for each entry of a directory, except those that disappear meanwhile.
fn each<T, C: FromIterator<T>>(
    directory: &Path,
    read: impl Fn(&DirEntry, String) -> io::Result<T>,
) -> Result<C, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(C::from_iter([])),
        Err(error) => return Err(unreadable(directory, &error)),
    };
    let read = entries.map(|entry| {
        let entry = entry?;
        // A name that is not UTF-8 belongs to no recording; that of a package stays recognisable.
        let name = entry.file_name().to_string_lossy().into_owned();
        read(&entry, name)
    });
    let there = read.filter(|result| !matches!(result, Err(error) if error.kind() == ErrorKind::NotFound));
    there.collect::<io::Result<C>>().map_err(|error| unreadable(directory, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Unreadable { path: path.to_owned(), why: error.to_string() }
}
