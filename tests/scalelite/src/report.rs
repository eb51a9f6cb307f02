//! What the comparison came to.

use std::fmt;

/// What one row came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is as recorded.
    Alike,
    /// It is not.
    Differs {
        /// The recorded answer.
        recorded: String,
        /// The actual answer, and what differs in it.
        here: String,
    },
    /// The row was not asked, for this reason.
    NotAsked(String),
}

/// What all rows came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The rows, in order: what they are about, the request, and the verdict.
    pub rows: Vec<(String, String, Verdict)>,
    /// What is worth knowing of this Scalelite.
    pub notes: Vec<String>,
    /// The reason why the comparison ended early, if it did.
    pub ended: Option<String>,
    /// The ids of entries that could not be deleted again.
    pub left: Vec<String>,
    /// The number of requests that met a save conflict and were sent again.
    pub conflicts: u32,
}

impl Report {
    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.rows.iter().filter(|(_, _, verdict)| is(verdict)).count()
    }

    /// Returns the number of rows that are as recorded.
    pub fn alike(&self) -> usize {
        self.count(|verdict| *verdict == Verdict::Alike)
    }

    /// Returns the number of rows that are not.
    pub fn different(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Differs { .. }))
    }

    /// Returns the number of rows that were not asked.
    pub fn not_asked(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::NotAsked(_)))
    }

    /// Reports whether all that could be asked is as recorded, and nothing was left.
    pub fn is_good(&self) -> bool {
        self.ended.is_none() && self.left.is_empty() && self.different() == 0 && self.alike() > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for (what, request, verdict) in &self.rows {
            match verdict {
                Verdict::Alike => {}
                Verdict::Differs { recorded, here } => {
                    writeln!(f, "DIFFERS: {what}: {request}\n  recorded: {recorded}\n  here:     {here}")?;
                }
                Verdict::NotAsked(why) => writeln!(f, "not asked: {what}: {request}: {why}")?,
            }
        }
        if self.conflicts > 0 {
            writeln!(
                f,
                "{} requests met a save conflict and were sent again, as a client has to",
                self.conflicts
            )?;
        }
        for id in &self.left {
            writeln!(f, "LEFT BEHIND: entry {id}; delete it with deleteServer")?;
        }
        if let Some(why) = &self.ended {
            writeln!(f, "ENDED EARLY: {why}")?;
        }
        let (alike, different, not_asked) = (self.alike(), self.different(), self.not_asked());
        write!(
            f,
            "contract: {alike} answers as recorded, {different} different, {not_asked} not asked; {} entries left",
            self.left.len()
        )
    }
}
