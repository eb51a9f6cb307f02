//! BigBlueButton on the simulated hosts: meetings with breakout rooms, which may outlive their parents; empty meetings
//! that stay listed; figures that cannot be read and lists that are cut off; recordings whose steps take time, of
//! which a job in Redis is the only trace for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use plan::recordings::{Part, Pending, Recordings, Stage};
use plan::work::{Figure, Meeting, Meetings, Room};

use crate::agent::{EMPTY_MEETING, STUCK};
use crate::world::State;

/// The time within which an agent may not have seen a meeting that has only just begun.
pub(crate) const NEW: Duration = Duration::from_secs(45);

/// The time at which BBB lets the last empty meetings go, which it may list for hours.
const GHOSTS: Duration = Duration::from_secs(3850);

/// The age up to which Scalelite counts a meeting with a least number of people (facts: "at least 15 for a meeting
/// younger than 15 minutes").
const YOUNG: Duration = Duration::from_secs(15 * 60);
/// How long BBB keeps a meeting that the last person has left: its `defaultMeetingExpireWhenLastUserLeftInMinutes`.
const LAST_USER: Duration = Duration::from_secs(60);
/// The time in which the people of a crowd leave.
const GOODBYE: Duration = Duration::from_secs(180);

/// The people and recordings on one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    meetings: BTreeMap<String, Gathering>,
    /// The breakout rooms whose parent meeting is gone.
    orphans: BTreeMap<String, Breakout>,
    recordings: Vec<Recording>,
    /// The number of meetings that were ended by force with people in them.
    pub(crate) cut_off: usize,
    /// When the worker that publishes recordings has done all that wait for it; only meetings with crowds share it.
    published: Duration,
    /// When the last of all this went that is no longer here.
    last: Duration,
    /// Until when Redis wants a password that nobody has configured.
    pub(crate) redis_back: Duration,
}

/// One meeting.
#[derive(Clone, Debug)]
pub(crate) struct Gathering {
    pub(crate) from: Duration,
    /// When the people leave.
    to: Duration,
    /// When BBB lists it no more.
    gone: Duration,
    /// Whether it is listed as ended by force after the people have left.
    ended: bool,
    breakout: Option<Breakout>,
    /// Whether the number of its people cannot be read.
    uncounted: bool,
    /// Whether BBB's list is cut off where it describes this meeting.
    cuts: bool,
    /// What becomes of its recording, if it has one that has not begun.
    course: Option<Course>,
    /// How its people come; none where only three do.
    crowd: Option<Crowd>,
}

/// The people of a meeting that come one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    /// The number of all, of whom one opens the meeting.
    pub(crate) size: u32,
    /// When the first of the others come, and when all are there.
    pub(crate) come: (Duration, Duration),
}

/// A breakout room.
#[derive(Clone, Debug)]
struct Breakout {
    from: Duration,
    to: Duration,
    uncounted: bool,
    /// Whether it names its parent by the internal id.
    internal: bool,
}

/// The further course of a recording.
#[derive(Clone, Debug)]
struct Course {
    /// The time to queue it, in the queue, to publish it, and to send it.
    steps: [Duration; 4],
    /// Whether a job for it is in Redis while it is published.
    busy: bool,
    fate: Fate,
}

/// The end of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It leaves the host.
    Sent,
    /// The worker that was to publish it was killed.
    Stuck,
    /// BBB gives it up.
    Failed,
}

/// A recording that has not left the host.
#[derive(Clone, Debug)]
struct Recording {
    id: String,
    /// When its meeting began.
    met: Duration,
    begun: Duration,
    /// Whether nobody had been in its meeting for so long that the meeting was not waited for.
    forsaken: bool,
    course: Course,
}

/// The trace of a recording that a host shows.
enum Trace {
    Pending(Pending),
    /// Only a job in Redis.
    Job,
    Failed,
    Gone,
}

impl Gathering {
    /// Returns a meeting without breakout rooms and without a recording.
    pub(crate) fn plain(from: Duration, to: Duration) -> Self {
        let (ended, uncounted, cuts) = (false, false, false);
        Self { from, to, gone: to, ended, breakout: None, uncounted, cuts, course: None, crowd: None }
    }

    /// Returns a meeting of a crowd; `steps` are the times to queue its recording, to publish it and to send it.
    pub(crate) fn of_crowd(from: Duration, to: Duration, crowd: Crowd, steps: Option<[Duration; 3]>) -> Self {
        let course = steps.map(|[queue, publish, send]| Course {
            steps: [queue, Duration::ZERO, publish, send],
            busy: true,
            fate: Fate::Sent,
        });
        Self { gone: to + LAST_USER, crowd: Some(crowd), course, ..Self::plain(from, to) }
    }

    /// Draws a meeting that begins now.
    pub(crate) fn draw(state: &mut State) -> Self {
        let (from, length) = (state.now(), state.between(30.0, 700.0));
        let mut meeting = Self::plain(from, from + length);
        if state.rng.u32(0..3) == 0 {
            meeting.gone += state.between(5.0, 260.0);
            meeting.ended = state.rng.u32(0..3) == 0;
        } else if state.rng.u32(0..20) == 0 && meeting.to < GHOSTS / 2 {
            meeting.gone = GHOSTS;
        }
        if state.rng.u32(0..3) == 0 {
            let from = from + length.mul_f64(0.2 + 0.7 * state.rng.f64());
            let to = from + state.between(30.0, 400.0);
            let (uncounted, internal) = (state.rng.u32(0..4) == 0, state.rng.bool());
            meeting.breakout = Some(Breakout { from, to, uncounted, internal });
        }
        meeting.uncounted = state.rng.u32(0..8) == 0;
        meeting.cuts = state.rng.u32(0..15) == 0;
        if state.rng.u32(0..4) > 0 {
            let steps = [(5.0, 60.0), (40.0, 120.0), (20.0, 150.0), (10.0, 60.0)];
            let fate = match state.rng.u32(0..12) {
                0 => Fate::Stuck,
                1 => Fate::Failed,
                _ => Fate::Sent,
            };
            let steps = steps.map(|(least, most)| state.between(least, most));
            meeting.course = Some(Course { steps, busy: state.rng.bool(), fate });
        }
        meeting
    }

    /// Returns the number of people in it and not in a breakout room.
    pub(crate) fn people(&self, now: Duration) -> u32 {
        let Some(Crowd { size, come: (first, last) }) = &self.crowd else {
            return if now < self.to && self.room(now).is_none() { 3 } else { 0 };
        };
        let share = |part: Duration, whole: Duration| part.as_secs_f64() / whole.as_secs_f64().max(1.0);
        let come = share(now.saturating_sub(*first), last.saturating_sub(*first)).min(1.0);
        let stay = share(self.to.saturating_sub(now), GOODBYE).min(1.0);
        let people = 1.0 + f64::from(size.saturating_sub(1)) * come.min(stay);
        if now < self.to { people.floor() as u32 } else { 0 }
    }

    /// Returns the people whom Scalelite counts.
    fn load(&self, least: u32, now: Duration) -> u32 {
        match self.crowd {
            None => least,
            Some(_) if now < self.from + YOUNG => self.people(now).max(least),
            Some(_) => self.people(now),
        }
    }

    /// Returns the breakout room, if it is open.
    fn room(&self, now: Duration) -> Option<&Breakout> {
        self.breakout.as_ref().filter(|room| room.from <= now && now < room.to)
    }

    /// Tells whether anybody is in the meeting or its breakout room.
    fn is_occupied(&self, now: Duration) -> bool {
        now < self.to || self.room(now).is_some()
    }

    /// Begins its recording, if it has one.
    fn record(&mut self, id: &str, begun: Duration) -> Option<Recording> {
        let room = self.breakout.as_ref().filter(|room| room.from < self.to).map_or(self.to, |room| room.to);
        let forsaken = begun.saturating_sub(room.max(self.to)) >= EMPTY_MEETING;
        let (id, met) = (id.to_owned(), self.from);
        self.course.take().map(|course| Recording { id, met, begun, forsaken, course })
    }
}

impl Recording {
    /// Returns when it leaves the host, if it does.
    fn end(&self) -> Duration {
        self.course.steps.iter().fold(self.begun, |end, step| end + *step)
    }

    fn trace(&self, now: Duration) -> Trace {
        let Course { steps: [queue, wait, publish, send], fate, .. } = self.course;
        let age = now.saturating_sub(self.begun);
        let pending = |stage, age| Trace::Pending(Pending { stage, age });
        let taken = age.saturating_sub(queue + wait);
        match fate {
            _ if age < queue => pending(Stage::Archive, age),
            _ if age < queue + wait => Trace::Job,
            Fate::Failed => Trace::Failed,
            Fate::Stuck => pending(Stage::Publish, taken),
            Fate::Sent if taken < publish => pending(Stage::Publish, taken),
            Fate::Sent if taken < publish + send => pending(Stage::Send, taken.saturating_sub(publish)),
            Fate::Sent => Trace::Gone,
        }
    }

    /// Tells whether a planned event has to wait for it.
    fn is_awaited(&self, now: Duration) -> bool {
        match self.trace(now) {
            Trace::Pending(Pending { age, .. }) => age < STUCK && !self.forsaken,
            Trace::Job => !self.forsaken,
            Trace::Failed | Trace::Gone => false,
        }
    }

    fn has_job(&self, now: Duration) -> bool {
        match self.trace(now) {
            Trace::Job => true,
            Trace::Pending(Pending { stage: Stage::Publish, .. }) => {
                self.course.busy && self.course.fate == Fate::Sent
            }
            Trace::Pending(_) | Trace::Failed | Trace::Gone => false,
        }
    }
}

impl Activity {
    /// Ends the meetings and removes the recordings whose time is over.
    pub(crate) fn pass(&mut self, now: Duration) {
        for (id, meeting) in &mut self.meetings {
            if meeting.ended && meeting.to <= now {
                self.recordings.extend(meeting.record(id, meeting.to));
            }
        }
        let over: Vec<String> =
            self.meetings.iter().filter(|(_, there)| there.gone <= now).map(|(id, _)| id.clone()).collect();
        for id in over {
            let Some(mut meeting) = self.meetings.remove(&id) else { continue };
            let recording = meeting.record(&id, meeting.gone);
            self.take_over(recording, meeting.crowd.is_some());
            self.last = self.last.max(meeting.gone);
            let room = meeting.breakout.filter(|room| room.from < meeting.gone);
            self.orphans.extend(room.map(|room| (id, room)));
        }
        let closed = self.orphans.values().map(|room| room.to).filter(|to| *to <= now);
        let gone = |recording: &&Recording| matches!(recording.trace(now), Trace::Gone);
        let sent = self.recordings.iter().filter(gone).map(Recording::end);
        self.last = closed.chain(sent).fold(self.last, Duration::max);
        self.orphans.retain(|_, room| now < room.to);
        self.recordings.retain(|recording| !matches!(recording.trace(now), Trace::Gone));
    }

    /// Returns the people whom Scalelite counts here.
    pub(crate) fn load(&self, least: u32, now: Duration) -> f64 {
        self.meetings.values().map(|there| f64::from(there.load(least, now))).sum()
    }

    /// Returns the people in meetings.
    pub(crate) fn people(&self, now: Duration) -> u32 {
        self.meetings.values().map(|there| there.people(now)).sum()
    }

    /// Counts what is lost if the host ends now: meetings that were or are ended early, and recordings that have not left.
    pub(crate) fn at_stake(&self, now: Duration) -> (usize, usize) {
        let meetings = self.meetings.values().filter(|there| there.is_occupied(now)).count();
        let left = |recording: &&Recording| !matches!(recording.trace(now), Trace::Gone);
        let begun = self.meetings.values().filter(|there| there.course.is_some()).count();
        (self.cut_off + meetings, self.recordings.iter().filter(left).count() + begun)
    }

    /// Takes over a recording that has begun; that of a crowd waits until the worker has time for it.
    fn take_over(&mut self, recording: Option<Recording>, crowd: bool) {
        let Some(mut recording) = recording else { return };
        if crowd {
            let [queue, wait, publish, _] = &mut recording.course.steps;
            let queued = recording.begun + *queue;
            *wait = self.published.saturating_sub(queued);
            self.published = queued + *wait + *publish;
        }
        self.recordings.push(recording);
    }

    /// Begins a meeting.
    pub(crate) fn begin(&mut self, id: &str, meeting: Gathering) {
        self.meetings.insert(id.to_owned(), meeting);
    }

    /// Ends a meeting by force with its breakout room; tells whether it was there.
    pub(crate) fn end(&mut self, id: &str, now: Duration) -> bool {
        let ended = self.meetings.remove(id);
        let there = ended.is_some();
        self.cut_off += usize::from(ended.as_ref().is_some_and(|meeting| meeting.is_occupied(now)));
        self.last = now;
        self.recordings.extend(ended.and_then(|mut meeting| meeting.record(id, now)));
        there
    }

    /// Loses all meetings: BBB or the host goes down.
    pub(crate) fn lose_meetings(&mut self) {
        self.meetings.clear();
        self.orphans.clear();
    }

    /// Loses the recordings, too: the host is gone.
    pub(crate) fn lose_all(&mut self) {
        *self = Self::default();
    }

    /// Returns the meetings that are listed, without breakout rooms.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &String> {
        self.meetings.keys()
    }

    /// Tells whether people are in this meeting that an agent could know of.
    pub(crate) fn is_running(&self, id: &str, now: Duration) -> bool {
        let known = |meeting: &Gathering| meeting.from + NEW < now && meeting.is_occupied(now);
        self.meetings.get(id).is_some_and(known)
    }

    /// Tells whether BBB's list is cut off: then nobody can tell which meetings are new.
    pub(crate) fn is_cut(&self) -> bool {
        self.meetings.values().any(|there| there.cuts)
    }

    /// Counts the rooms with people in them for longer than this.
    pub(crate) fn occupied(&self, longer: Duration, now: Duration) -> usize {
        let meetings = self.meetings.values().filter(|there| there.is_occupied(now)).map(|there| there.from);
        let rooms = self.orphans.values().map(|room| room.from);
        meetings.chain(rooms).filter(|from| *from + longer < now).count()
    }

    /// Counts the orphaned breakout rooms with people in them.
    pub(crate) fn orphans(&self, now: Duration) -> usize {
        self.orphans.values().filter(|room| room.from + NEW < now).count()
    }

    /// Returns the recordings that a planned event has to wait for, of meetings that began long before this time.
    pub(crate) fn awaited(&self, before: Duration, now: Duration) -> Vec<&str> {
        let old = |recording: &&Recording| recording.met + NEW < before && recording.is_awaited(now);
        self.recordings.iter().filter(old).map(|recording| recording.id.as_str()).collect()
    }

    /// Tells whether for so long there has been nothing on the host that anybody waits for.
    pub(crate) fn is_idle_for(&self, long: Duration, now: Duration) -> bool {
        let empty = |there: &Gathering| {
            let last = there.breakout.as_ref().map_or(there.to, |room| room.to.max(there.to));
            !there.cuts && !there.uncounted && last + EMPTY_MEETING + long < now
        };
        let left = |recording: &Recording| match recording.trace(now) {
            Trace::Pending(Pending { age, .. }) => STUCK + long < age,
            Trace::Failed => recording.end() + long < now,
            Trace::Gone => true,
            Trace::Job => false,
        };
        let still = self.last + long < now && self.orphans.is_empty();
        still && self.meetings.values().all(empty) && self.recordings.iter().all(left)
    }

    /// Returns the rooms as BBB lists them.
    pub(crate) fn meetings(&self, now: Duration) -> Meetings {
        let meeting = |id: String, internal, room, uncounted, people, ended| Meeting {
            id,
            internal,
            room,
            people: if uncounted { Figure::Unknown("1,000".to_owned()) } else { Figure::Known(people) },
            voices: None,
            videos: None,
            ended,
            empty_for: None,
        };
        let room = |id: &str, room: &Breakout| {
            let parent = if room.internal { internal(id) } else { id.to_owned() };
            meeting(format!("{id}-room"), None, Room::Breakout(Some(parent)), room.uncounted, 2, false)
        };
        let mut listed = Vec::new();
        for (id, there) in &self.meetings {
            if there.cuts {
                return Meetings { listed, unlisted: Some("BBB's list is cut off".to_owned()) };
            }
            let people = there.people(now);
            let ended = there.ended && there.to <= now;
            let internal = Some(internal(id));
            listed.push(meeting(id.clone(), internal, Room::Main, there.uncounted, people, ended));
            listed.extend(there.room(now).map(|there| room(id, there)));
        }
        listed.extend(self.orphans.iter().map(|(id, there)| room(id, there)));
        Meetings { listed, unlisted: None }
    }

    /// Returns the recordings as the spool and Redis show them; `asked` tells whether Redis could be asked.
    pub(crate) fn recordings(&self, asked: bool, now: Duration) -> Recordings {
        let mut found = Recordings::default();
        for recording in &self.recordings {
            let part = Part { id: recording.id.clone(), format: None };
            match recording.trace(now) {
                Trace::Pending(pending) => drop(found.pending.insert(part, pending)),
                Trace::Failed => drop(found.failed.insert(part)),
                Trace::Job | Trace::Gone => {}
            }
        }
        let jobs = self.recordings.iter().filter(|recording| recording.has_job(now)).count();
        found.jobs = match asked && self.redis_back <= now {
            true => Figure::Known(jobs as u64),
            false => Figure::Unknown("Redis does not tell".to_owned()),
        };
        found
    }
}

/// Returns BBB's own id of a meeting.
fn internal(id: &str) -> String {
    format!("{id}-internal")
}
