//! The recordings that still have to leave the host before it may be terminated.
//!
//! BBB marks the stages of a recording with empty files below `status` of its spool: `recorded/<id>.done`,
//! `archived/<id>.done`, `sanity/<id>.done`, `processed/<id>-<format>.done`, `published/<id>-<format>.done`; a stage
//! that gives up leaves a `.fail` and is not tried again. Scalelite's sender, where it is installed, runs after a
//! format is published: it packs the format into `scalelite/*.tar`, sends it and leaves the mark
//! `published/<id>-sender.done`. An older sender writes that mark already after the first format, so the mark counts
//! only if it is not older than any format.
//!
//! An id is `<hex digits>-<digits>`, with another `-<digits>` for a part of a long meeting; a text that BBB's own
//! starter would not take for an id is ignored (BBB's `rap-starter.rb`, `base_worker.rb` and `publish_worker.rb`,
//! Scalelite's `scalelite_post_publish.rb`). A recording that is queued again is pending: it goes to the archive
//! worker, which first removes the `.fail` of an earlier try.
//!
//! `R` is an id.
//!
#![doc = include_str!("tables/recordings.md")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A listing of the spool: the names in each directory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spool {
    /// `status/recorded`.
    pub recorded: BTreeSet<String>,
    /// `raw`.
    pub raw: BTreeSet<String>,
    /// `status/archived`.
    pub archived: BTreeSet<String>,
    /// `status/sanity`.
    pub sanity: BTreeSet<String>,
    /// `status/processed`.
    pub processed: BTreeSet<String>,
    /// `status/published`, with the times since 1970 at which the files were modified.
    pub published: BTreeMap<String, Duration>,
    /// `scalelite`.
    pub outbox: BTreeSet<String>,
    /// Whether Scalelite's sender is installed.
    pub sender: bool,
    /// How many jobs are in BBB's queues in Redis, or in a worker's hands. BBB removes `recorded/<id>.done` when it
    /// queues the job that makes `raw/<id>`, so the files alone can miss a recording.
    pub jobs: u64,
}

/// The step that a recording waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its raw data have to be collected.
    Archive,
    /// Its archive has to be checked (BBB: sanity).
    Check,
    /// No format of it is published yet.
    Publish,
    /// Scalelite does not have all of its published formats.
    Send,
}

impl Stage {
    /// Returns a stable word for programs: `archive`, `check`, `publish`, `send`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Check => "check",
            Self::Publish => "publish",
            Self::Send => "send",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}", self.as_str())
    }
}

/// The recordings that have not left the host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recordings {
    /// The recordings to wait for, each with its next step. A package for Scalelite that names no recording has its
    /// file name.
    pub pending: BTreeMap<String, Stage>,
    /// The recordings that BBB has given up; an operator has to look at them, and the agent does not wait for them.
    pub failed: BTreeSet<String>,
    /// Jobs in BBB's queues or in a worker's hands, which name no recording; the agent waits for them too.
    pub jobs: u64,
    /// A note for the operator on what could not be asked and is therefore missing here.
    pub remark: Option<String>,
}

impl Recordings {
    /// Tells whether there is anything to wait for.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty() || self.jobs > 0
    }
}

impl fmt::Display for Recordings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pending.len() {
            0 => f.write_str("no recordings pending")?,
            1 => f.write_str("1 recording pending")?,
            count => write!(f, "{count} recordings pending")?,
        }
        let mut stages: BTreeMap<Stage, usize> = BTreeMap::new();
        for stage in self.pending.values() {
            *stages.entry(*stage).or_default() += 1;
        }
        if !stages.is_empty() {
            let stages: Vec<String> =
                stages.into_iter().map(|(stage, count)| format!("{count} {stage}")).collect();
            write!(f, " ({})", stages.join(", "))?;
        }
        match self.jobs {
            0 => {}
            1 => f.write_str(", 1 job under way")?,
            count => write!(f, ", {count} jobs under way")?,
        }
        match self.failed.len() {
            0 => Ok(()),
            count => write!(f, ", {count} failed"),
        }
    }
}

/// The mark, in place of a format, that says that Scalelite's sender is done.
const SENDER: &str = "sender";

/// Returns the recordings that have to leave the host. See the module's table.
pub fn recordings(spool: &Spool) -> Recordings {
    let queued: BTreeSet<&str> = whole(&spool.recorded, ".done").collect();
    let mut failed = failed(spool);
    failed.retain(|id| !queued.contains(id));
    // The earliest stage counts, so it is inserted last.
    let mut pending: BTreeMap<&str, Stage> = BTreeMap::new();
    pending.extend(to_send(spool).map(|id| (id, Stage::Send)));
    pending.extend(to_publish(spool).map(|id| (id, Stage::Publish)));
    pending.extend(to_check(spool).map(|id| (id, Stage::Check)));
    pending.extend(to_archive(spool).map(|id| (id, Stage::Archive)));
    pending.extend(queued.into_iter().map(|id| (id, Stage::Archive)));
    pending.retain(|id, _| !failed.contains(id));
    Recordings {
        pending: pending.into_iter().map(|(id, stage)| (id.to_owned(), stage)).collect(),
        failed: failed.into_iter().map(str::to_owned).collect(),
        jobs: spool.jobs,
        remark: None,
    }
}

fn failed(spool: &Spool) -> BTreeSet<&str> {
    let stages = whole(&spool.archived, ".fail").chain(whole(&spool.sanity, ".fail"));
    let formats = formats(&spool.processed, ".fail").chain(formats(spool.published.keys(), ".fail"));
    stages.chain(formats.map(|(id, _)| id)).collect()
}

fn to_archive(spool: &Spool) -> impl Iterator<Item = &str> {
    let archived: BTreeSet<&str> =
        [".done", ".norecord"].into_iter().flat_map(|end| whole(&spool.archived, end)).collect();
    whole(&spool.raw, "").filter(move |id| !archived.contains(id))
}

fn to_check(spool: &Spool) -> impl Iterator<Item = &str> {
    let checked: BTreeSet<&str> = whole(&spool.sanity, ".done").collect();
    whole(&spool.archived, ".done").filter(move |id| !checked.contains(id))
}

fn to_publish(spool: &Spool) -> impl Iterator<Item = &str> {
    let published: BTreeSet<&str> = formats(spool.published.keys(), ".done")
        .filter(|(_, format)| *format != SENDER)
        .map(|(id, _)| id)
        .collect();
    whole(&spool.sanity, ".done").filter(move |id| !published.contains(id))
}

fn to_send(spool: &Spool) -> impl Iterator<Item = &str> {
    let mut marks: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut published: BTreeMap<&str, Duration> = BTreeMap::new();
    for (name, modified) in &spool.published {
        if let Some((id, format)) = format_of(name, ".done") {
            let times = if format == SENDER { &mut marks } else { &mut published };
            let newest = times.entry(id).or_insert(*modified);
            *newest = (*newest).max(*modified);
        }
    }
    // A missing mark is `None`, which is less than any time.
    published.retain(|id, newest| spool.sender && marks.get(id) < Some(newest));
    published.into_keys().chain(spool.outbox.iter().filter_map(|name| packed(name)))
}

/// Returns the id in the name of a package for Scalelite, or the whole name. Hidden files are rsync's and the sender's
/// own.
fn packed(name: &str) -> Option<&str> {
    let (stem, _) = name.split_once(".tar")?;
    match split(stem) {
        _ if name.starts_with('.') => None,
        Some((id, rest)) if rest.is_empty() || rest.starts_with('-') => Some(id),
        _ => Some(name),
    }
}

/// Returns the ids of the names that consist of an id and this ending.
fn whole<'a>(
    names: impl IntoIterator<Item = &'a String>,
    end: &'static str,
) -> impl Iterator<Item = &'a str> {
    let names = names.into_iter().filter_map(move |name| split(name.strip_suffix(end)?));
    names.filter_map(|(id, rest)| rest.is_empty().then_some(id))
}

/// Returns the ids and formats of the names with this ending.
fn formats<'a>(
    names: impl IntoIterator<Item = &'a String>,
    end: &'static str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    names.into_iter().filter_map(move |name| format_of(name, end))
}

/// Returns the id and the format of a name `<id>-<format><end>`.
fn format_of<'a>(name: &'a str, end: &str) -> Option<(&'a str, &'a str)> {
    let (id, rest) = split(name.strip_suffix(end)?)?;
    rest.strip_prefix('-').filter(|format| !format.is_empty()).map(|format| (id, format))
}

/// Splits a name after the id that it begins with. Only the id itself tells where it ends, since a format may contain
/// any character.
fn split(name: &str) -> Option<(&str, &str)> {
    let meeting = name.find(|c: char| !matches!(c, '0'..='9' | 'a'..='f')).filter(|length| *length > 0)?;
    let mut end = number(name, meeting)?;
    // The second number, which marks a part of a meeting, counts only if a dash or nothing follows it.
    let part = number(name, end);
    let ends = |at: &usize| name.get(*at..).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    if let Some(part) = part.filter(ends) {
        end = part;
    }
    name.split_at_checked(end)
}

/// Returns where the number ends that follows a dash at `from`.
fn number(name: &str, from: usize) -> Option<usize> {
    let rest = name.get(from..)?.strip_prefix('-')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    (digits > 0).then_some(from + 1 + digits)
}

#[cfg(test)]
#[path = "recordings_tests.rs"]
mod tests;
