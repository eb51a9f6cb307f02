//! The work on a host: the meetings and recordings of a BBB host, the relays of a TURN host, and what of it a planned
//! event waits for.
//!
//! [`Work`] is built once for each count. Draining, the scale-in protection, the metrics, `status` and all words read
//! this one value. A host is idle ([`Work::is_idle`]) when nothing is waited for ([`Work::waits`]); whatever is not
//! known is waited for.
//!
#![doc = include_str!("tables/work.md")]
//!
//! # Relays of a TURN host
//! A client that talks through coturn has a relay there ([`crate::relay`]).
//!
#![doc = include_str!("tables/work-relays.md")]
//!
//! A breakout room belongs to its parent meeting while the parent is listed, by its internal or its external id: then
//! its people count as the parent's when the host decides whether to wait. Otherwise the room is a meeting of its own:
//! BBB ends a parent without a moderator, and the people stay in the rooms (facts/bbb-host.md).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::recordings::{Part, Pending, Recordings, Stage};

/// A figure that was observed, or the reason why it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Figure<T> {
    /// The value.
    Known(T),
    /// What was asked, and what answered.
    Unknown(String),
}

impl<T> Figure<T> {
    /// Returns the value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// Returns the reason why the value is not known.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }
}

/// The part of a room in a meeting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// The room is the meeting.
    #[default]
    Main,
    /// The room is a breakout room of the meeting with this id, internal or external; `None` where BBB does not tell.
    Breakout(Option<String>),
}

/// A room in which people meet, as BBB lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The external id, as front ends use it.
    pub id: String,
    /// BBB's own id.
    pub internal: Option<String>,
    /// The part of the room in a meeting.
    pub room: Room,
    /// Everyone in it, moderators included.
    pub people: Figure<u32>,
    /// People with a microphone, if BBB says so.
    pub voices: Option<u32>,
    /// Cameras that are on, if BBB says so.
    pub videos: Option<u32>,
    /// Whether the meeting was ended by force. BBB may list it for hours afterwards.
    pub ended: bool,
    /// How long nobody has been in it, as far as that is known; `None` while somebody is or may be.
    pub empty_for: Option<Duration>,
}

/// The meetings on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meetings {
    /// All rooms that were read, breakout rooms included.
    pub listed: Vec<Meeting>,
    /// Why there may be more: BBB did not answer, or its list was cut off.
    pub unlisted: Option<String>,
}

impl Meetings {
    /// Returns meetings of which nothing is known, for this reason.
    pub fn unknown(why: String) -> Self {
        Self { listed: Vec::new(), unlisted: Some(why) }
    }

    /// Returns all rooms that are meetings of their own: no breakout rooms of a listed meeting.
    pub fn own(&self) -> impl Iterator<Item = &Meeting> {
        self.listed.iter().filter(|meeting| self.parent(meeting).is_none())
    }

    /// Returns the breakout rooms of a meeting.
    fn rooms<'a>(&'a self, of: &'a Meeting) -> impl Iterator<Item = &'a Meeting> {
        self.listed
            .iter()
            .filter(move |room| self.parent(room).is_some_and(|parent| std::ptr::eq(parent, of)))
    }

    /// Returns the listed meeting that a breakout room belongs to. One that was ended by force has no rooms any more.
    fn parent(&self, room: &Meeting) -> Option<&Meeting> {
        let Room::Breakout(Some(id)) = &room.room else { return None };
        let is_parent = |meeting: &&Meeting| {
            meeting.room == Room::Main
                && !meeting.ended
                && (meeting.id == *id || meeting.internal.as_ref() == Some(id))
        };
        self.listed.iter().find(is_parent)
    }

    /// Returns how many people are in a meeting and its breakout rooms; `None` where that is unknown for one of them.
    /// Somebody in a breakout room may count in the parent meeting, too.
    fn people(&self, meeting: &Meeting) -> Option<u64> {
        let all = std::iter::once(meeting).chain(self.rooms(meeting));
        all.map(|room| room.people.known().copied().map(u64::from)).sum()
    }

    /// Returns how many people are in a meeting, most of whom its breakout rooms count once more; `None` where that is
    /// unknown for the meeting, or for a room.
    fn present(&self, meeting: &Meeting) -> Option<u64> {
        let own = u64::from(*meeting.people.known()?);
        Some(own.max(self.people(meeting)? - own))
    }

    /// Returns the number of people in all meetings without their breakout rooms, where people count twice; `None`
    /// where a number is not known.
    pub fn participants(&self) -> Option<u64> {
        if self.unlisted.is_some() {
            return None;
        }
        self.own().map(|meeting| meeting.people.known().copied().map(u64::from)).sum()
    }

    /// Tells whether a planned event waits for this meeting, which is one of its own.
    fn is_awaited(&self, meeting: &Meeting, rules: &Rules) -> bool {
        let occupied = self.people(meeting) != Some(0);
        let orphan = meeting.room != Room::Main;
        let long_empty = meeting.empty_for.is_some_and(|time| time >= rules.empty_meeting);
        occupied || !(meeting.ended || orphan || long_empty)
    }
}

/// The settings that say what a planned event waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether it waits for recordings.
    pub recordings: bool,
    /// The time after which a meeting with nobody in it is not waited for.
    pub empty_meeting: Duration,
    /// The time after which a recording that nobody works on is not waited for.
    pub stuck: Duration,
}

/// The work on a host at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The meetings.
    pub meetings: Meetings,
    /// The recordings.
    pub recordings: Recordings,
    /// The relays that coturn has in use; `None` where they are not counted. On a BBB host they serve its meetings.
    pub relays: Option<Figure<u64>>,
}

/// The part of the work that a planned event waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The number of meetings.
    pub meetings: usize,
    /// The number of people in them; `None` where it is not known for all.
    pub people: Option<u64>,
    /// The number of recordings by their next step.
    pub recordings: BTreeMap<Stage, usize>,
    /// The number of jobs in BBB's queues that are waited for, apart from `recordings`.
    pub jobs: u64,
    /// The number of relays.
    pub relays: u64,
    /// What is not known, and why.
    pub unknown: Vec<String>,
}

/// The part of the work that needs a person and that nothing waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// The meetings with nobody in them for too long or ended by force, by id, with the time for which they are empty.
    pub meetings: Vec<(String, Option<Duration>)>,
    /// The steps of recordings that nobody works on any more.
    pub stuck: Vec<(Part, Pending)>,
    /// The parts of recordings that BBB has given up.
    pub failed: Vec<Part>,
}

impl Work {
    /// Returns what a planned event waits for.
    pub fn waits(&self, rules: &Rules) -> Waits {
        let meetings: Vec<&Meeting> =
            self.meetings.own().filter(|meeting| self.meetings.is_awaited(meeting, rules)).collect();
        let people = meetings.iter().map(|meeting| self.meetings.present(meeting)).sum();
        let mut unknown: Vec<String> = self.meetings.unlisted.iter().cloned().collect();
        let relays = self.relays.as_ref();
        unknown.extend(relays.and_then(Figure::why).map(str::to_owned));
        let relays = relays.and_then(Figure::known).copied().unwrap_or_default();
        let mut waits = Waits { meetings: meetings.len(), people, relays, ..Waits::default() };
        if rules.recordings {
            let awaited = self.recordings.pending.iter();
            let awaited = awaited.filter(|(_, pending)| !self.recordings.is_stuck(pending, rules.stuck));
            // A recording counts once, at the earliest stage of its formats.
            let mut stages: BTreeMap<&str, Stage> = BTreeMap::new();
            for (part, pending) in awaited {
                let earliest = stages.entry(&part.id).or_insert(pending.stage);
                *earliest = pending.stage.min(*earliest);
            }
            for stage in stages.into_values() {
                *waits.recordings.entry(stage).or_default() += 1;
            }
            waits.jobs = self.recordings.jobs.known().copied().unwrap_or_default();
            unknown.extend(self.recordings.unlisted.iter().cloned());
            unknown.extend(self.recordings.jobs.why().map(str::to_owned));
            unknown.extend(self.recordings.unknown_sender().map(str::to_owned));
            unknown.dedup();
        }
        Waits { unknown, ..waits }
    }

    /// Returns what needs a person and is not waited for.
    pub fn reported(&self, rules: &Rules) -> Reported {
        let left =
            |meeting: &&Meeting| !self.meetings.is_awaited(meeting, rules) && meeting.room == Room::Main;
        let meetings = self.meetings.own().filter(left);
        let stuck = |pending: &Pending| self.recordings.is_stuck(pending, rules.stuck);
        let pending = self.recordings.pending.iter().filter(|(_, pending)| stuck(pending));
        Reported {
            meetings: meetings.map(|meeting| (meeting.id.clone(), meeting.empty_for)).collect(),
            stuck: pending.map(|(part, pending)| (part.clone(), *pending)).collect(),
            failed: self.recordings.failed.iter().cloned().collect(),
        }
    }

    /// Tells whether nothing is waited for, which needs that all is known.
    pub fn is_idle(&self, rules: &Rules) -> bool {
        self.waits(rules).is_nothing()
    }

    /// Tells whether a meeting is waited for, or might be: the list of meetings is not complete.
    pub fn may_meet(&self, rules: &Rules) -> bool {
        self.meetings.unlisted.is_some() || self.waits(rules).meetings > 0
    }

    /// Tells whether no recording is waited for.
    pub fn has_no_recordings(&self, rules: &Rules) -> bool {
        let recordings = self.recordings.clone();
        Self { recordings, ..Self::default() }.is_idle(rules)
    }

    /// Continues a former count: a meeting that was empty at it, `elapsed` ago, and still is has been empty all the
    /// time.
    pub fn follow(&mut self, former: &Self, elapsed: Duration) {
        let empty: BTreeMap<&str, Duration> = former
            .meetings
            .listed
            .iter()
            .filter_map(|meeting| Some((meeting.id.as_str(), meeting.empty_for?)))
            .collect();
        let people: Vec<Option<u64>> =
            self.meetings.listed.iter().map(|meeting| self.meetings.people(meeting)).collect();
        for (meeting, people) in self.meetings.listed.iter_mut().zip(people) {
            let before = empty.get(meeting.id.as_str()).map(|time| time.saturating_add(elapsed));
            let now = meeting.empty_for.max(before).or(Some(Duration::ZERO));
            meeting.empty_for = now.filter(|_| people == Some(0));
        }
    }
}

impl Waits {
    /// Tells whether nothing is waited for.
    pub fn is_nothing(&self) -> bool {
        let counts = [self.meetings as u64, self.jobs, self.relays];
        counts.into_iter().all(|count| count == 0) && self.recordings.is_empty() && self.unknown.is_empty()
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.meetings > 0 {
            let people = match self.people {
                Some(people) => counted(people, "person", "people"),
                None => "an unknown number of people".to_owned(),
            };
            parts.push(format!("{} with {people}", counted(self.meetings as u64, "meeting", "meetings")));
        }
        let recordings: usize = self.recordings.values().sum();
        if recordings > 0 {
            let stages: Vec<String> =
                self.recordings.iter().map(|(stage, count)| format!("{count} {stage}")).collect();
            let recordings = counted(recordings as u64, "recording", "recordings");
            parts.push(format!("{recordings} ({})", stages.join(", ")));
        }
        if self.jobs > 0 {
            parts.push(counted(self.jobs, "recording job", "recording jobs"));
        }
        if self.relays > 0 {
            parts.push(counted(self.relays, "relay", "relays"));
        }
        if !self.unknown.is_empty() {
            parts.push(format!("what is not known ({})", self.unknown.join("; ")));
        }
        match parts.split_last() {
            None => f.write_str("nothing"),
            Some((last, [])) => f.write_str(last),
            Some((last, parts)) => write!(f, "{} and {last}", parts.join(", ")),
        }
    }
}

impl Reported {
    /// Tells whether there is nothing to report.
    pub fn is_nothing(&self) -> bool {
        self.meetings.is_empty() && self.stuck.is_empty() && self.failed.is_empty()
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.meetings.len(), "empty meeting", "empty meetings"),
            (self.stuck.len(), "stuck recording", "stuck recordings"),
            (self.failed.len(), "failed recording", "failed recordings"),
        ];
        let parts = counts.into_iter().filter(|(count, ..)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, one, many)| counted(count as u64, one, many)).collect();
        f.write_str(&parts.join(", "))
    }
}

/// Formats a number of things.
/// Returns a number with its noun, as in `1 meeting` and `2 meetings`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
