//! The repair of the host's address in the files, and of its name and secrets where it was made from an image: what has
//! to be changed, and the change of a file that a crash at any point cannot spoil.
//!
//! The process that repairs may write to these files and to its own directory ([`Places`]), and to nothing else: see
//! `bbb-agent-addresses@.service`. So a file is not replaced, which would need its directory: it is overwritten, and
//! keeps its owner, mode and links. What it will hold is written down before, and a run that finds such a note finishes
//! it (module `journal`).
//!
//! FreeSWITCH's files belong to its user, which participants' packets reach: a file that is not where its path says is
//! left alone (module `target`), and only addresses are replaced in it.

mod journal;
mod live;
mod names;
mod target;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use plan::addresses::{File, Own, Standing, TURN_SERVERS, judge};
use plan::record::{HostTemplate, Name};

use self::journal::{ADDRESS, Journal, TOLD};
use self::target::Target;
use super::super::files;
use super::super::turn_servers::TurnServers;
use super::{Defect, MAX_SIZE, below, sites, values};

pub use self::journal::is_unfinished;

/// The files of a host, and the directory of the repair: the copy of each file before its first change, what is being
/// written, and the note that the programs have to be restarted.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// The directory below which the files are.
    pub root: &'a Path,
    /// The directory of the repair.
    pub directory: PathBuf,
}

impl<'a> Places<'a> {
    /// Returns those of a host below this root that this agent looks after, as its unit has them.
    pub fn of(agent: &str, root: &'a Path) -> Self {
        Self { root, directory: root.join("var/lib").join(format!("{agent}-addresses")) }
    }
}

/// The names of the host, and of the others in its fleet.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The host's own.
    pub own: &'a Name,
    /// How the fleet names its hosts by their instances, with its domain; `None` where it does not.
    pub fleet: Option<(&'a HostTemplate, &'a Name)>,
}

/// The changes of one file.
#[derive(Debug)]
struct Edit {
    /// Its path on the host.
    path: &'static str,
    target: Target,
    /// The bytes that it holds now.
    old: Vec<u8>,
    /// The bytes that it will hold.
    new: Vec<u8>,
    /// The replacements, in words.
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

/// Sets the address of this host right in the files below this directory, and gives one that was made from an image its
/// own name and secrets; has BBB tell its clients these TURN servers; finishes what an earlier run has begun. Where the
/// directory is the host's own root, the address on `lo` and the packet filter's rule follow.
///
/// Before the first change it notes that the programs that read the files have to be restarted; who restarts them
/// removes the note ([`is_unfinished`]).
pub fn repair(
    places: &Places<'_>,
    host: Option<(&Own, &Names<'_>)>,
    turn_servers: Option<&TurnServers>,
) -> Repaired {
    let (mut repaired, root) = (Repaired::default(), places.root);
    let journal = Journal::at(&places.directory);
    let (mut edits, mut former) = (Vec::new(), Vec::new());
    if let Some((own, names)) = host {
        // A host that has not become itself has no address either: what is left to be done is done by the next run.
        if let Err(why) = names::rename(root, &journal, names, &mut repaired) {
            repaired.failed.push(why);
        }
        if !repaired.failed.is_empty() {
            return repaired;
        }
        for file in File::ALL {
            match edit(root, &journal, file, own, &mut former) {
                Ok(edit) => edits.extend(edit),
                Err(why) => repaired.failed.push(format!("{}: {why}", file.path())),
            }
        }
    }
    let mut notes: Vec<String> = former.iter().map(ToString::to_string).collect();
    notes.extend((!edits.is_empty()).then(|| ADDRESS.to_owned()));
    match turn_servers.map_or(Ok(None), |servers| tell(root, &journal, servers)) {
        Ok(told) => {
            notes.extend(told.is_some().then(|| TOLD.to_owned()));
            edits.extend(told);
        }
        Err(why) => repaired.failed.push(format!("{TURN_SERVERS}: {why}")),
    }
    if !edits.is_empty()
        && let Err(why) = journal.begin(notes)
    {
        repaired.failed.push(why);
        return repaired;
    }
    for edit in edits {
        repaired.carry_out(&journal, edit);
    }
    if let Some((own, _)) = host
        && root == Path::new("/")
        && repaired.failed.is_empty()
    {
        match journal.former().and_then(|former| live::follow(&former, own)) {
            Ok(changed) => repaired.changed.extend(changed),
            Err(why) => repaired.failed.push(why),
        }
    }
    repaired
}

impl Repaired {
    /// Writes a file, and takes down what has come of it.
    fn carry_out(&mut self, journal: &Journal, edit: Edit) {
        match journal.carry_out(&edit) {
            Ok(()) if edit.changes.is_empty() => {
                self.changed.push(format!("{}: an interrupted repair is finished", edit.path));
            }
            Ok(()) => self.changed.extend(edit.changes),
            Err(why) => self.failed.push(format!("{}: {why}", edit.path)),
        }
    }
}

/// Finds out what has to be changed in a file; `former` gets the addresses that the host had on `lo`.
fn edit(
    root: &Path,
    journal: &Journal,
    file: File,
    own: &Own,
    former: &mut Vec<Ipv4Addr>,
) -> Result<Option<Edit>, String> {
    let path = file.path();
    let Opened { target, old, base } = match opened(root, journal, path) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(None),
        // A file that an operator has put elsewhere needs no writing while it is right.
        Err(_) if is_right(&below(root, path), file, own) => return Ok(None),
        Err(why) => return Err(why),
    };
    let (new, changes) = edited(file, &base, own).map_err(|defect| defect.to_string())?;
    if file == File::DummyNic {
        former.extend(changes.iter().map(|change| change.found));
    }
    let changes = changes.into_iter().map(|change| change.words).collect();
    Ok((new != old).then_some(Edit { path, target, old, new, changes }))
}

/// Finds out what has to be changed, so that BBB tells its clients these TURN servers.
fn tell(root: &Path, journal: &Journal, servers: &TurnServers) -> Result<Option<Edit>, String> {
    let Some(Opened { target, old, .. }) = opened(root, journal, TURN_SERVERS)? else {
        return Err("it does not exist".to_owned());
    };
    let new = servers.file().as_bytes().to_vec();
    let words = format!(
        "{TURN_SERVERS}: BBB tells its clients the TURN servers at {}, with their present secret",
        servers.name
    );
    Ok((new != old).then_some(Edit { path: TURN_SERVERS, target, old, new, changes: vec![words] }))
}

/// A file that may have to be changed.
struct Opened {
    target: Target,
    /// The bytes that it has.
    old: Vec<u8>,
    /// Those that it was to have after a run that was interrupted, or else the same.
    base: Vec<u8>,
}

/// Opens a file; returns none where it does not exist.
fn opened(root: &Path, journal: &Journal, path: &str) -> Result<Option<Opened>, String> {
    let Some(target) = Target::open(root, Path::new(path.trim_start_matches('/')))? else {
        journal.forget(path)?;
        return Ok(None);
    };
    let old = target.read()?;
    let base = journal.intended(path, &old)?.unwrap_or_else(|| old.clone());
    Ok(Some(Opened { target, old, base }))
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
