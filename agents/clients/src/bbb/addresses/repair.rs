//! The repair of the host's address in the files: what has to be changed, and the change of a file that a crash at any
//! point cannot spoil.
//!
//! The process that repairs may write to these eight files and to its own directory ([`DIRECTORY`]), and to nothing
//! else: see `bbb-agent-addresses@.service`. So a file is not replaced, which would need its directory: it is
//! overwritten, and keeps its owner, mode and links. What it will hold is written down before, and a run that finds
//! such a note finishes it (module `journal`).
//!
//! FreeSWITCH's files belong to its user, which participants' packets reach: a file that is not where its path says is
//! left alone (module `target`), and only addresses are replaced.

mod journal;
mod live;
mod target;

use std::net::Ipv4Addr;
use std::path::Path;

use plan::addresses::{File, Own, Standing, judge};

use self::journal::Journal;
use self::target::Target;
use super::super::files;
use super::{Defect, MAX_SIZE, sites, values};

pub use self::journal::is_unfinished;

/// The directory of the repair, below the root of the host's files: the copy of each file before its first change,
/// what is being written, and the note that the programs have to be restarted.
pub const DIRECTORY: &str = "var/lib/bbb-agent-addresses";

/// The changes of one file.
#[derive(Debug)]
struct Edit {
    file: File,
    target: Target,
    /// The bytes that it holds now.
    old: Vec<u8>,
    /// The bytes that it will hold.
    new: Vec<u8>,
    /// The addresses that are replaced, with their places in words.
    changes: Vec<String>,
}

/// The result of a repair.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// The changes that were made, in words.
    pub changed: Vec<String>,
    /// The failures, each with its reason.
    pub failed: Vec<String>,
}

/// Sets the host's address right in the files below this directory, and finishes what an earlier run has begun. Where
/// the directory is the host's own root, the address on `lo` and the packet filter's rule follow.
///
/// Before the first change it notes that the programs that read the files have to be restarted; who restarts them
/// removes the note ([`is_unfinished`]).
pub fn repair(root: &Path, own: &Own) -> Repaired {
    let mut repaired = Repaired::default();
    let journal = Journal::at(&root.join(DIRECTORY));
    let (mut edits, mut former) = (Vec::new(), Vec::new());
    for file in File::ALL {
        match edit(root, &journal, file, own, &mut former) {
            Ok(edit) => edits.extend(edit),
            Err(why) => repaired.failed.push(format!("{}: {why}", file.path())),
        }
    }
    if !edits.is_empty()
        && let Err(why) = journal.begin(&former)
    {
        repaired.failed.push(why);
        return repaired;
    }
    for edit in edits {
        match journal.carry_out(&edit) {
            Ok(()) if edit.changes.is_empty() => {
                repaired.changed.push(format!("{}: an interrupted repair is finished", edit.file.path()));
            }
            Ok(()) => repaired.changed.extend(edit.changes),
            Err(why) => repaired.failed.push(format!("{}: {why}", edit.file.path())),
        }
    }
    if root == Path::new("/") && repaired.failed.is_empty() {
        match journal.former().and_then(|former| live::follow(&former, own)) {
            Ok(changed) => repaired.changed.extend(changed),
            Err(why) => repaired.failed.push(why),
        }
    }
    repaired
}

/// Finds out what has to be changed in a file; `former` gets the addresses that the host had on `lo`.
fn edit(
    root: &Path,
    journal: &Journal,
    file: File,
    own: &Own,
    former: &mut Vec<Ipv4Addr>,
) -> Result<Option<Edit>, String> {
    let path = Path::new(file.path().trim_start_matches('/'));
    let target = match Target::open(root, path) {
        Ok(Some(target)) => target,
        Ok(None) => {
            journal.forget(file)?;
            return Ok(None);
        }
        // A file that an operator has put elsewhere needs no writing while it is right.
        Err(_) if is_right(&root.join(path), file, own) => return Ok(None),
        Err(why) => return Err(why),
    };
    let old = target.read()?;
    let unfinished = journal.intended(file, &old)?;
    let base = unfinished.as_deref().unwrap_or(&old);
    let (new, changes) = edited(file, base, own).map_err(|defect| defect.to_string())?;
    if file == File::DummyNic {
        former.extend(changes.iter().map(|change| change.found));
    }
    let changes = changes.into_iter().map(|change| change.words).collect();
    Ok((new != old).then_some(Edit { file, target, old, new, changes }))
}

/// Tells whether the file at this path, wherever links lead, can be read and needs no change.
fn is_right(path: &Path, file: File, own: &Own) -> bool {
    let Ok(bytes) = files::bytes(path, MAX_SIZE) else { return false };
    edited(file, &bytes, own).is_ok_and(|(_, changes)| changes.is_empty())
}

/// One address that is replaced.
#[derive(Debug)]
struct Change {
    found: Ipv4Addr,
    words: String,
}

/// Replaces the addresses of a file that are not the host's any more. All other bytes stay.
fn edited(file: File, bytes: &[u8], own: &Own) -> Result<(Vec<u8>, Vec<Change>), Defect> {
    let sites = sites(file, bytes)?;
    let standings = judge(&values(bytes, &sites), own);
    let (mut new, mut changes) = (bytes.to_vec(), Vec::new());
    // From the end, so that the places of those before stay as they are.
    for (site, standing) in sites.iter().zip(standings).rev() {
        let Standing::Other { found, wanted } = standing else { continue };
        new.splice(site.span.clone(), wanted.to_string().into_bytes());
        let words = format!("{}: {} is {wanted} now, not {found}", file.path(), site.place.key());
        changes.push(Change { found, words });
    }
    changes.reverse();
    Ok((new, changes))
}

#[cfg(test)]
#[path = "repair/tests.rs"]
mod tests;
