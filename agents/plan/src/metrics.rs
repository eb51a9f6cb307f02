//! What is told about a host in figures, once a minute: the metrics, and what they are in which situation.
//!
//! What is not known is left out, and is never zero: an alarm can treat missing data as it likes.
//!
//! # How the host stands
//! `Registered` is 1 only where the host has its name and takes new meetings (or, a TURN host, clients): a BBB that has died
//! takes none, whatever Scalelite's entry says. What the host has been through is kept by [`History`]; the numbers in the first
//! column are seconds.
//!
#![doc = include_str!("tables/metrics.md")]
//!
//! # What goes on on it
//! People in a breakout room are in its parent meeting too, so they are counted there alone, as Scalelite does (its load leaves
//! breakout rooms out; observed on 1.8.5). Their microphones and cameras are in one room at a time (BBB's client leaves the
//! parent's audio for the room's), so these are added up over all rooms.
//!
#![doc = include_str!("tables/metrics-work.md")]

use crate::instance::Role;
use crate::lifecycle::{Moment, State};

/// The unit of a metric's values, one of CloudWatch's (`MetricDatum` in its API reference). It has none for days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of something.
    Count,
    /// Seconds.
    Seconds,
}

/// Everything that is told. Dashboards and alarms go by these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// 1 where the host has its name and takes new meetings or TURN clients, else 0.
    Registered,
    /// Time for which the service has been trying to get the host registered; 0 when it is, or is not meant to be.
    UnregisteredSeconds,
    /// Days until the host's certificate expires; negative when it has expired.
    CertificateDaysLeft,
    /// 1 while the host waits for its running meetings to end, else 0.
    Draining,
    /// 1 once the deadline has ended a drain, until the host joins again, else 0.
    DrainOverDeadline,
    /// Running meetings, without breakout rooms.
    Meetings,
    /// People in meetings.
    Participants,
    /// People with a microphone, breakout rooms included.
    VoiceParticipants,
    /// Cameras that are on, breakout rooms included.
    VideoStreams,
    /// People in the largest meeting.
    LargestMeeting,
    /// Recordings that have not left the host.
    RecordingsPending,
    /// Recordings that BBB has given up.
    RecordingsFailed,
    /// 1 where coturn answers a STUN request, else 0.
    CoturnAnswers,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Registered,
        Self::UnregisteredSeconds,
        Self::CertificateDaysLeft,
        Self::Draining,
        Self::DrainOverDeadline,
        Self::Meetings,
        Self::Participants,
        Self::VoiceParticipants,
        Self::VideoStreams,
        Self::LargestMeeting,
        Self::RecordingsPending,
        Self::RecordingsFailed,
        Self::CoturnAnswers,
    ];

    /// Its name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registered => "Registered",
            Self::UnregisteredSeconds => "UnregisteredSeconds",
            Self::CertificateDaysLeft => "CertificateDaysLeft",
            Self::Draining => "Draining",
            Self::DrainOverDeadline => "DrainOverDeadline",
            Self::Meetings => "Meetings",
            Self::Participants => "Participants",
            Self::VoiceParticipants => "VoiceParticipants",
            Self::VideoStreams => "VideoStreams",
            Self::LargestMeeting => "LargestMeeting",
            Self::RecordingsPending => "RecordingsPending",
            Self::RecordingsFailed => "RecordingsFailed",
            Self::CoturnAnswers => "CoturnAnswers",
        }
    }

    /// The unit of its values.
    pub fn unit(self) -> Unit {
        match self {
            Self::UnregisteredSeconds => Unit::Seconds,
            _ => Unit::Count,
        }
    }

    /// Whether hosts of this kind have it.
    pub fn is_of(self, role: Role) -> bool {
        match self {
            Self::Registered | Self::UnregisteredSeconds | Self::CertificateDaysLeft => true,
            Self::CoturnAnswers => role == Role::Turn,
            _ => role == Role::Bbb,
        }
    }
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datum {
    /// Of what.
    pub metric: Metric,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// Where a host is in its life, as far as its metrics go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It tries to get registered.
    Trying,
    /// It takes new meetings or clients.
    Serving,
    /// It is registered and takes no new meetings.
    Cordoned,
    /// Running meetings are waited for.
    Draining,
    /// It leaves, or has left and is held by its group.
    Leaving {
        /// Whether the deadline ended the drain before it.
        over_deadline: bool,
        /// Whether it has left.
        left: bool,
    },
    /// It is out, and nothing shall be registered.
    Unregistered,
    /// The service ends.
    Ending,
}

impl From<&State> for Phase {
    fn from(state: &State) -> Self {
        match state {
            State::Starting | State::Joining(_) => Self::Trying,
            State::Serving(_) => Self::Serving,
            State::Cordoned(_) => Self::Cordoned,
            State::Draining(_) => Self::Draining,
            State::Leaving(leaving) => {
                Self::Leaving { over_deadline: leaving.forced, left: leaving.left.is_some() }
            }
            State::Unregistered(_) => Self::Unregistered,
            State::Stopping(_) | State::Ended => Self::Ending,
        }
    }
}

/// What has to be remembered of the phases that a host has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    phase: Option<Phase>,
    trying_since: Option<Moment>,
    over_deadline: bool,
}

impl History {
    /// Takes in where the host is now. True when something has happened that is worth telling at once: a drain has ended at
    /// its deadline, or the host has left. Belongs behind every step of the state machine.
    pub fn follow(&mut self, phase: Phase, now: Moment) -> bool {
        let former = *self;
        self.phase = Some(phase);
        self.trying_since = (phase == Phase::Trying).then(|| former.trying_since.unwrap_or(now));
        self.over_deadline = match phase {
            Phase::Leaving { over_deadline, .. } => over_deadline,
            Phase::Unregistered | Phase::Ending => former.over_deadline,
            Phase::Trying | Phase::Serving | Phase::Cordoned | Phase::Draining => false,
        };
        let was_leaving = matches!(former.phase, Some(Phase::Leaving { left: false, .. }));
        let has_left = matches!(phase, Phase::Leaving { left: true, .. } | Phase::Unregistered);
        (self.over_deadline && !former.over_deadline) || (was_leaving && has_left)
    }

    /// How the host stands now.
    pub fn standing(&self, now: Moment) -> Standing {
        Standing {
            serving: self.phase == Some(Phase::Serving),
            trying: self.trying_since.map(|since| now.saturating_sub(since)).unwrap_or_default(),
            draining: self.phase == Some(Phase::Draining),
            over_deadline: self.over_deadline,
        }
    }
}

/// How a host stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    serving: bool,
    trying: Moment,
    draining: bool,
    over_deadline: bool,
}

/// A meeting in figures. What BBB does not say is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meeting {
    /// Everyone in it.
    pub participants: u32,
    /// Those with a microphone.
    pub voices: Option<u32>,
    /// Cameras that are on.
    pub videos: Option<u32>,
    /// Whether it is a breakout room.
    pub breakout: bool,
}

/// Recordings in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recordings {
    /// Those that have not left the host.
    pub pending: usize,
    /// Those that BBB has given up.
    pub failed: usize,
}

/// What goes on on the host; what is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The running meetings.
    pub meetings: Option<Vec<Meeting>>,
    /// The recordings.
    pub recordings: Option<Recordings>,
    /// For how many more seconds the host's certificate is good; negative when it has expired.
    pub certificate: Option<i64>,
    /// Whether coturn answers.
    pub coturn: Option<bool>,
    /// For how long BBB on a host that is in Scalelite has not answered; `None` while it answers.
    pub silent: Option<Moment>,
}

/// The data of a host, each metric once at most.
pub fn data(role: Role, standing: &Standing, findings: &Findings) -> Vec<Datum> {
    let flag = |flag: bool| Some(if flag { 1.0 } else { 0.0 });
    let meetings = findings.meetings.as_deref();
    let main = meetings.map(main);
    let recordings = findings.recordings;
    let value = |metric| match metric {
        Metric::Registered => flag(standing.serving && findings.silent.is_none()),
        Metric::UnregisteredSeconds => {
            let silent = findings.silent.filter(|_| standing.serving).unwrap_or_default();
            Some(standing.trying.max(silent).as_secs_f64().floor())
        }
        Metric::CertificateDaysLeft => findings.certificate.map(days),
        Metric::Draining => flag(standing.draining),
        Metric::DrainOverDeadline => flag(standing.over_deadline),
        Metric::Meetings => main.as_deref().map(|people| number(people.len())),
        Metric::Participants => main.as_deref().map(total),
        Metric::VoiceParticipants => added(meetings?, |meeting| meeting.voices),
        Metric::VideoStreams => added(meetings?, |meeting| meeting.videos),
        Metric::LargestMeeting => {
            main.as_deref().map(|people| people.iter().max().map_or(0.0, |most| (*most).into()))
        }
        Metric::RecordingsPending => recordings.map(|recordings| number(recordings.pending)),
        Metric::RecordingsFailed => recordings.map(|recordings| number(recordings.failed)),
        Metric::CoturnAnswers => findings.coturn.and_then(flag),
    };
    let own = Metric::ALL.into_iter().filter(|metric| metric.is_of(role));
    own.filter_map(|metric| Some(Datum { metric, value: value(metric)? })).collect()
}

/// How many people are in each meeting, without breakout rooms.
fn main(meetings: &[Meeting]) -> Vec<u32> {
    let main = meetings.iter().filter(|meeting| !meeting.breakout);
    main.map(|meeting| meeting.participants).collect()
}

/// A sum over all rooms; unknown when it is for one of them.
fn added(meetings: &[Meeting], of: impl Fn(&Meeting) -> Option<u32>) -> Option<f64> {
    let known: Option<Vec<u32>> = meetings.iter().map(of).collect();
    known.map(|numbers| total(&numbers))
}

/// A sum. Not of doubles: theirs of nothing is -0. CloudWatch's values are doubles; nobody has 2^53 of anything.
fn total(numbers: &[u32]) -> f64 {
    numbers.iter().copied().map(u64::from).sum::<u64>() as f64
}

fn number(count: usize) -> f64 {
    count as f64
}

fn days(seconds: i64) -> f64 {
    seconds as f64 / 86_400.0
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
