//! The spool's directories. Everything here may block for ever.

use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use plan::recordings::{Names, Sender, Spool};

use super::{Error, Sending};

/// Lists the spool. A missing directory counts as empty, because BBB creates each when it first needs it. Links are
/// not followed: a link counts as itself. The directories are listed in the order in which a recording passes through
/// them, so that one that moves on meanwhile is seen at least once.
pub(super) fn list(directory: &Path, sending: &Sending) -> Result<Spool, Error> {
    let names = |below: &str| {
        let directory = directory.join(below);
        each::<_, Names>(&directory, modified).map_err(|error| unreadable(&directory, &error))
    };
    Ok(Spool {
        recorded: names("status/recorded")?,
        raw: names("raw")?,
        archived: names("status/archived")?,
        sanity: names("status/sanity")?,
        processed: names("status/processed")?,
        published: names("status/published")?,
        outbox: names("scalelite")?,
        sender: sender(sending),
        now: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
    })
}

/// Looks for the program that sends recordings to Scalelite. One that cannot be looked for is unknown, and the spool is
/// not.
fn sender(sending: &Sending) -> Sender {
    let (directory, needed) = match sending {
        Sending::Unused => return Sender::Unused,
        Sending::At(path) => match fs::metadata(path) {
            Ok(_) => return Sender::There,
            Err(error) if is_absent(&error) => return Sender::Missing,
            Err(error) => return unknown(path, &error),
        },
        Sending::Below { directory, needed } => (directory, *needed),
    };
    match each::<_, Vec<bool>>(directory, |entry, name| is_sender(entry, &name)) {
        Ok(scripts) if scripts.contains(&true) => Sender::There,
        Ok(_) if needed => Sender::Missing,
        Ok(_) => Sender::Unused,
        Err(error) => unknown(directory, &error),
    }
}

/// Reports whether BBB runs this program (all `*.rb` files, links included) and its name says that it sends to
/// Scalelite: `scalelite_post_publish.rb` upstream, `post_publish_scalelite.rb` in guides.
fn is_sender(entry: &DirEntry, name: &str) -> io::Result<bool> {
    let sends =
        name.to_ascii_lowercase().contains("scalelite") && name.ends_with(".rb") && !name.starts_with('.');
    Ok(sends && fs::metadata(entry.path())?.is_file())
}

fn unknown(path: &Path, error: &io::Error) -> Sender {
    Sender::Unknown(format!(
        "cannot look for the program that sends recordings to Scalelite: {}: {error}; let the agent read that, or set \
         recordings.sender",
        path.display()
    ))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Returns the entry's name with its modification time, as a duration since 1970.
fn modified(entry: &DirEntry, name: String) -> io::Result<(String, Duration)> {
    let time = entry.metadata()?.modified()?;
    Ok((name, time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
}

/// Collects the result of `read` for each entry of a directory, except those that disappear meanwhile. One that does
/// not exist has none.
fn each<T, C: FromIterator<T>>(
    directory: &Path,
    read: impl Fn(&DirEntry, String) -> io::Result<T>,
) -> io::Result<C> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(C::from_iter([])),
        Err(error) => return Err(error),
    };
    let read = entries.map(|entry| {
        let entry = entry?;
        // A name that is not UTF-8 belongs to no recording; that of a package stays recognisable.
        let name = entry.file_name().to_string_lossy().into_owned();
        read(&entry, name)
    });
    let there = read.filter(|result| !matches!(result, Err(error) if error.kind() == ErrorKind::NotFound));
    there.collect()
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Unreadable { path: path.to_owned(), why: error.to_string() }
}
