//! The recordings that still have to leave the host before it may be terminated.
//!
//! BBB marks the stages of a recording with empty files below `status` of its spool: `recorded/<id>.done`,
//! `archived/<id>.done`, `sanity/<id>.done`, `processed/<id>-<format>.done`, `published/<id>-<format>.done`; a stage
//! that gives up leaves a `.fail` and is not tried again. From `processed` on, each format of a recording has a fate of
//! its own. Scalelite's sender, where it is installed, runs after a format is published: it packs the format into
//! `scalelite/*.tar`, sends it and leaves the mark `published/<id>-sender.done`. An older sender writes that mark
//! already after the first format, so the mark counts for the formats that are not younger.
//!
//! An id is `<hex digits>-<digits>`, with another `-<digits>` for a part of a long meeting; a text that BBB's own
//! starter would not take for an id is ignored (BBB's `rap-starter.rb`, `base_worker.rb` and `publish_worker.rb`,
//! Scalelite's `scalelite_post_publish.rb`). A recording that is queued again is pending: it goes to the archive
//! worker, which first removes the `.fail` of an earlier try.
//!
//! `R` is an id. The sender is `there`, `missing` where Scalelite is configured and nobody would send to it, `unused`
//! where nothing has to be sent, or `unknown`.
//!
#![doc = include_str!("tables/recordings.md")]
//!
//! # Stuck recordings
//! A step that nobody works on any more never ends: a worker was killed, a sender failed, a sender writes no mark. The
//! evidence is that BBB's queues in Redis are known and hold no job, and that no file of the recording has changed for
//! `recordings.stuck`. Such a recording is reported and not waited for. Where Redis does not tell, nothing is stuck. A
//! recording that nobody would send exists on this host only, and is never stuck; nor is one to send while the sender is
//! unknown.
//!
#![doc = include_str!("tables/recordings-stuck.md")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::work::Figure;

/// The names in one directory of the spool, each with the time since 1970 at which it was modified.
pub type Names = BTreeMap<String, Duration>;

/// A listing of the spool.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spool {
    /// `status/recorded`.
    pub recorded: Names,
    /// `raw`.
    pub raw: Names,
    /// `status/archived`.
    pub archived: Names,
    /// `status/sanity`.
    pub sanity: Names,
    /// `status/processed`.
    pub processed: Names,
    /// `status/published`.
    pub published: Names,
    /// `scalelite`.
    pub outbox: Names,
    /// The program that sends published recordings to Scalelite.
    pub sender: Sender,
    /// The time of the listing, since 1970.
    pub now: Duration,
}

/// The program that sends published recordings to Scalelite, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// Nothing has to be sent: there is no Scalelite, or the operator has said so (`recordings.sender = "none"`).
    #[default]
    Unused,
    /// It is installed.
    There,
    /// It is not installed although Scalelite is configured: published recordings exist on this host only.
    Missing,
    /// It could not be looked for, for this reason: it may send recordings, or be missing.
    Unknown(String),
}

impl Sender {
    /// Returns the reason why it is not known.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            Self::Unused | Self::There | Self::Missing => None,
        }
    }
}

/// The step that a recording, or one format of it, waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its raw data have to be collected.
    Archive,
    /// Its archive has to be checked (BBB: sanity).
    Check,
    /// It has to be processed and published.
    Publish,
    /// Scalelite has to get it.
    Send,
    /// It is published, and nobody will send it to Scalelite.
    Unsent,
}

impl Stage {
    /// Returns a stable word for programs: `archive`, `check`, `publish`, `send`, `unsent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Check => "check",
            Self::Publish => "publish",
            Self::Send => "send",
            Self::Unsent => "unsent",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent => f.write_str("without a sender"),
            stage => write!(f, "to {}", stage.as_str()),
        }
    }
}

/// A recording, or one format of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The id of the recording, or the file name of a package for Scalelite that names none.
    pub id: String,
    /// The format, where the stage belongs to a single format.
    pub format: Option<String>,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.format {
            Some(format) => write!(f, "{} ({format})", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// A step that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The step.
    pub stage: Stage,
    /// The time for which no file of the recording has changed.
    pub age: Duration,
}

/// The recordings that have not left the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recordings {
    /// The steps that are not done.
    pub pending: BTreeMap<Part, Pending>,
    /// The parts that BBB has given up; an operator has to look at them, and the agent does not wait for them.
    pub failed: BTreeSet<Part>,
    /// The number of jobs in BBB's queues or in a worker's hands. BBB removes `recorded/<id>.done` when it queues the
    /// job that makes `raw/<id>`, so with a backlog a job is the only trace of a recording.
    pub jobs: Figure<u64>,
    /// The program that sends published recordings to Scalelite.
    pub sender: Sender,
    /// Why there may be more than `pending` and `failed`: the spool could not be listed.
    pub unlisted: Option<String>,
}

impl Default for Recordings {
    fn default() -> Self {
        Self {
            pending: BTreeMap::new(),
            failed: BTreeSet::new(),
            jobs: Figure::Known(0),
            sender: Sender::Unused,
            unlisted: None,
        }
    }
}

impl Recordings {
    /// Returns recordings of which nothing is known, for this reason.
    pub fn unknown(why: String) -> Self {
        Self { jobs: Figure::Unknown(why.clone()), unlisted: Some(why), ..Self::default() }
    }

    /// Tells whether nobody works on this step any more.
    pub fn is_stuck(&self, pending: &Pending, patience: Duration) -> bool {
        let may_lack_sender = match pending.stage {
            Stage::Unsent => true,
            Stage::Send => self.sender.why().is_some(),
            Stage::Archive | Stage::Check | Stage::Publish => false,
        };
        self.jobs == Figure::Known(0) && pending.age >= patience && !may_lack_sender
    }

    /// Returns the reason why the sender is not known, where that matters: something may have to be sent.
    pub fn unknown_sender(&self) -> Option<&str> {
        let sends = self.pending.values().any(|pending| pending.stage == Stage::Send);
        self.sender.why().filter(|_| sends)
    }

    /// Tells whether published recordings exist on this host only, because nobody would send them to Scalelite.
    pub fn lacks_sender(&self) -> bool {
        self.pending.values().any(|pending| pending.stage == Stage::Unsent)
    }
}

/// The mark, in place of a format, that says that Scalelite's sender is done.
const SENDER: &str = "sender";

/// The format that every BBB makes of a recording.
const PRESENTATION: &str = "presentation";

/// Returns the recordings that have to leave the host. See the module's tables.
pub fn recordings(spool: &Spool, jobs: Figure<u64>) -> Recordings {
    let mut found = Found { newest: newest(spool), now: spool.now, pending: BTreeMap::new() };
    let queued: BTreeSet<&str> = whole(&spool.recorded, ".done").collect();
    let mut failed = failed(spool);
    // A worker that takes a queued recording removes the marks of earlier tries.
    failed.retain(|(id, _)| !queued.contains(id));
    // The earliest stage counts, so it is inserted last.
    to_send(spool, &mut found);
    for (id, format) in to_publish(spool) {
        found.waits(id, format, Stage::Publish);
    }
    for id in to_check(spool) {
        found.waits(id, None, Stage::Check);
    }
    for id in to_archive(spool).chain(queued) {
        found.waits(id, None, Stage::Archive);
    }
    let mut pending = found.pending;
    pending.retain(|part, _| !failed.contains(&(part.id.as_str(), part.format.as_deref())));
    let part =
        |(id, format): (&str, Option<&str>)| Part { id: id.to_owned(), format: format.map(str::to_owned) };
    let failed = failed.into_iter().map(part).collect();
    Recordings { pending, failed, jobs, sender: spool.sender.clone(), unlisted: None }
}

/// The steps that were found so far.
struct Found<'a> {
    newest: BTreeMap<&'a str, Duration>,
    now: Duration,
    pending: BTreeMap<Part, Pending>,
}

impl Found<'_> {
    fn waits(&mut self, id: &str, format: Option<&str>, stage: Stage) {
        let changed = self.newest.get(id).copied().unwrap_or(self.now);
        let part = Part { id: id.to_owned(), format: format.map(str::to_owned) };
        self.pending.insert(part, Pending { stage, age: self.now.saturating_sub(changed) });
    }
}

/// Returns for each recording when one of its files was modified last.
fn newest(spool: &Spool) -> BTreeMap<&str, Duration> {
    let mut newest = BTreeMap::new();
    let directories =
        [&spool.recorded, &spool.raw, &spool.archived, &spool.sanity, &spool.processed, &spool.published];
    let marked = directories.into_iter().flatten().filter_map(|(name, at)| Some((split(name)?.0, *at)));
    let packed = spool.outbox.iter().filter_map(|(name, at)| Some((packed(name)?.0, *at)));
    for (id, at) in marked.chain(packed) {
        let latest = newest.entry(id).or_insert(at);
        *latest = at.max(*latest);
    }
    newest
}

/// Returns what BBB has given up: whole recordings, and single formats that were not published at another try.
fn failed(spool: &Spool) -> BTreeSet<(&str, Option<&str>)> {
    let stages = whole(&spool.archived, ".fail").chain(whole(&spool.sanity, ".fail")).map(|id| (id, None));
    let published: BTreeSet<(&str, &str)> = formats(&spool.published, ".done").collect();
    let formats = formats(&spool.processed, ".fail").chain(formats(&spool.published, ".fail"));
    let formats = formats.filter(|format| !published.contains(format)).map(|(id, format)| (id, Some(format)));
    stages.chain(formats).collect()
}

fn to_archive(spool: &Spool) -> impl Iterator<Item = &str> {
    let ends = [".done", ".norecord", ".fail"];
    let archived: BTreeSet<&str> = ends.into_iter().flat_map(|end| whole(&spool.archived, end)).collect();
    whole(&spool.raw, "").filter(move |id| !archived.contains(id))
}

fn to_check(spool: &Spool) -> impl Iterator<Item = &str> {
    let checked: BTreeSet<&str> =
        [".done", ".fail"].into_iter().flat_map(|end| whole(&spool.sanity, end)).collect();
    whole(&spool.archived, ".done").filter(move |id| !checked.contains(id))
}

/// Returns the formats that are processed and not published, and what else is still in process of recordings without any
/// such format. The files do not tell which formats BBB is going to make: [`PRESENTATION`], which every BBB makes, and
/// those that it has made or tried before.
fn to_publish(spool: &Spool) -> Vec<(&str, Option<&str>)> {
    let is_format = |(_, format): &(&str, &str)| *format != SENDER;
    let all = |names, end| formats(names, end).filter(is_format).collect::<BTreeSet<(&str, &str)>>();
    let (processed, published) = (all(&spool.processed, ".done"), all(&spool.published, ".done"));
    let failed = &all(&spool.processed, ".fail") | &all(&spool.published, ".fail");
    let ended = &published | &all(&spool.published, ".fail");
    let known = [&processed, &published, &failed].into_iter().flatten().map(|(_, format)| *format);
    let expected: BTreeSet<&str> = known.chain([PRESENTATION]).collect();
    let waiting = &processed - &ended;
    let under_way: BTreeSet<&str> = waiting.iter().chain(&published).map(|(id, _)| *id).collect();
    let mut found: Vec<(&str, Option<&str>)> =
        waiting.iter().map(|(id, format)| (*id, Some(*format))).collect();
    for id in whole(&spool.sanity, ".done").filter(|id| !under_way.contains(id)) {
        let missing = expected.iter().filter(|format| !failed.contains(&(id, **format)));
        match failed.iter().any(|(of, _)| *of == id) {
            true => found.extend(missing.map(|format| (id, Some(*format)))),
            false => found.push((id, None)),
        }
    }
    found
}

fn to_send(spool: &Spool, found: &mut Found<'_>) {
    let stage = match &spool.sender {
        Sender::Unused => None,
        Sender::There | Sender::Unknown(_) => Some(Stage::Send),
        Sender::Missing => Some(Stage::Unsent),
    };
    let mark = |id: &str| spool.published.get(&format!("{id}-{SENDER}.done"));
    for (name, modified) in &spool.published {
        let Some((id, format)) = format_of(name, ".done").filter(|(_, format)| *format != SENDER) else {
            continue;
        };
        // A missing mark is `None`, which is less than any time.
        if let Some(stage) = stage.filter(|_| mark(id) < Some(modified)) {
            found.waits(id, Some(format), stage);
        }
    }
    for name in spool.outbox.keys() {
        if let Some((id, format)) = packed(name) {
            found.waits(id, format, Stage::Send);
        }
    }
}

/// Returns the id and the format in the name of a package for Scalelite, or the whole name. Hidden files are rsync's and
/// the sender's own.
fn packed(name: &str) -> Option<(&str, Option<&str>)> {
    let (stem, _) = name.split_once(".tar")?;
    match split(stem) {
        _ if name.starts_with('.') => None,
        Some((id, "")) => Some((id, None)),
        Some((id, rest)) if rest.starts_with('-') => Some((id, rest.strip_prefix('-'))),
        _ => Some((name, None)),
    }
}

/// Returns the ids of the names that consist of an id and this ending.
fn whole<'a>(names: &'a Names, end: &'static str) -> impl Iterator<Item = &'a str> {
    let names = names.keys().filter_map(move |name| split(name.strip_suffix(end)?));
    names.filter_map(|(id, rest)| rest.is_empty().then_some(id))
}

/// Returns the ids and formats of the names with this ending.
fn formats<'a>(names: &'a Names, end: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
    names.keys().filter_map(move |name| format_of(name, end))
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
