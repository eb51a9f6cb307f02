//! The work on a host as the service and `status` show it: the same facts from the same value.

use plan::recordings::{Part, Pending, Sender};
use plan::work::{Rules, Work};
use serde::{Deserialize, Serialize};

/// The most entries of each list: a control message has a limit.
const MOST: usize = 50;

/// The work on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkFacts {
    /// Running meetings, without the breakout rooms of a listed meeting; null where the list is not whole.
    pub meetings: Option<usize>,
    /// People in these meetings; null where it is not known for all.
    pub participants: Option<u64>,
    /// What a planned event waits for, in words.
    pub waits_for: String,
    /// Meetings with nobody in them that nothing waits for (50 at most).
    pub empty_meetings: Vec<EmptyMeeting>,
    /// Recordings that have not left the host.
    pub recordings: Recordings,
    /// Why the list of meetings is not whole.
    pub meetings_unknown: Option<String>,
}

/// A meeting with nobody in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyMeeting {
    /// The meeting's external id.
    pub id: String,
    /// The minutes for which nobody has been in it, as far as that is known.
    pub minutes: Option<u64>,
}

/// Recordings that have not left the host. What is not known is null, not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recordings {
    /// A summary in words.
    pub summary: Option<String>,
    /// Recordings that draining waits for (50 at most).
    pub pending: Option<Vec<Recording>>,
    /// Recordings that nobody works on any more; nothing waits for them (50 at most).
    pub stuck: Option<Vec<Recording>>,
    /// Recordings that BBB has given up, with the format where it is a single one; nothing waits for them (50 at most).
    pub failed: Option<Vec<String>>,
    /// Number of jobs in BBB's queues; draining waits for them, too.
    pub jobs: Option<u64>,
    /// Whether published recordings exist on this host only, because no program sends them to Scalelite.
    pub unsent: bool,
    /// Why something in this part is not known.
    pub error: Option<String>,
}

/// One recording, or one format of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The recording's id in BBB.
    pub id: String,
    /// The format, where the stage belongs to a single one.
    pub format: Option<String>,
    /// The step that comes next: `archive`, `check`, `publish`, `send`, or `unsent` where nobody would send it.
    pub stage: String,
    /// The minutes for which no file of the recording has changed.
    pub minutes: u64,
}

/// The relays that coturn has in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayFacts {
    /// Their number, which draining waits for; null where it is not known.
    pub count: Option<u64>,
    /// Why it is not known.
    pub error: Option<String>,
}

impl RelayFacts {
    /// Returns the facts of a count; `None` where relays are not counted.
    pub fn of(work: &Work) -> Option<Self> {
        let relays = work.relays.as_ref()?;
        Some(Self { count: relays.known().copied(), error: relays.why().map(str::to_owned) })
    }
}

impl WorkFacts {
    /// Returns the facts of a count, judged by these settings.
    pub fn of(work: &Work, rules: &Rules) -> Self {
        let whole = work.meetings.unlisted.is_none();
        let empty = work
            .reported(rules)
            .meetings
            .into_iter()
            .map(|(id, time)| EmptyMeeting { id, minutes: time.map(|time| time.as_secs() / 60) });
        Self {
            meetings: whole.then(|| work.meetings.own().count()),
            participants: work.meetings.participants(),
            waits_for: work.waits(rules).to_string(),
            empty_meetings: empty.take(MOST).collect(),
            recordings: Recordings::of(work, rules),
            meetings_unknown: work.meetings.unlisted.clone(),
        }
    }
}

impl Recordings {
    fn of(work: &Work, rules: &Rules) -> Self {
        let found = &work.recordings;
        let whole = found.unlisted.is_none();
        let is_stuck = |pending: &Pending| found.is_stuck(pending, rules.stuck);
        let steps = |stuck: bool| {
            let steps = found.pending.iter().filter(|(_, pending)| is_stuck(pending) == stuck);
            let shown = steps.take(MOST).map(|(part, pending)| recording(part, pending));
            whole.then(|| shown.collect())
        };
        let jobs = found.jobs.known().copied();
        let whys = [found.unlisted.as_deref(), found.jobs.why(), found.sender.why()];
        let errors: Vec<&str> = whys.into_iter().flatten().collect();
        Self {
            summary: whole.then(|| summary(work, rules)),
            pending: steps(false),
            stuck: steps(true),
            failed: whole.then(|| found.failed.iter().take(MOST).map(Part::to_string).collect()),
            jobs,
            unsent: found.sender == Sender::Missing && found.lacks_sender(),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
        }
    }
}

/// Describes all recordings in one line.
fn summary(work: &Work, rules: &Rules) -> String {
    let recordings = Work { recordings: work.recordings.clone(), ..Work::default() };
    let waits = recordings.waits(&Rules { recordings: true, ..rules.clone() });
    let known = plan::work::Waits { unknown: Vec::new(), ..waits };
    let mut words = if known.is_nothing() { "no recordings pending".to_owned() } else { known.to_string() };
    let reported = recordings.reported(rules);
    if !reported.is_nothing() {
        words = format!("{words}, {reported}");
    }
    words
}

fn recording(part: &Part, pending: &Pending) -> Recording {
    Recording {
        id: part.id.clone(),
        format: part.format.clone(),
        stage: pending.stage.as_str().to_owned(),
        minutes: pending.age.as_secs() / 60,
    }
}
