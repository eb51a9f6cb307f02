//! The metrics of a host, published once a minute, and their values in each situation.
//!
//! An unknown value is left out, and never reported as zero: an alarm can treat missing data as it likes.
//!
//! # Registration
//! `Registered` is 1 only where the host has its name and takes new meetings (or, on a TURN host, clients): a BBB that
//! has died takes none, even where Scalelite's entry is enabled. [`History`] keeps the phases that the host has been
//! through; the numbers in the first column are seconds.
//!
#![doc = include_str!("tables/metrics.md")]
//!
//! # Meetings, recordings and certificate
//! People in a breakout room are in its parent meeting too, so they are counted only there, as Scalelite does (its
//! load leaves breakout rooms out; observed on 1.8.5). Their microphones and cameras are in one room at a time (BBB's
//! client leaves the parent's audio for the room's), so these are added up over all rooms.
//!
#![doc = include_str!("tables/metrics-work.md")]

use crate::instance::Role;
use crate::lifecycle::{Moment, State};

/// The unit of a metric's values, one of CloudWatch's (`MetricDatum` in its API reference). CloudWatch has none for
/// days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
}

/// The metrics. Dashboards and alarms depend on these names.
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
    /// All metrics.
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

    /// Returns the metric's name in CloudWatch.
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

    /// Returns the unit of the metric's values.
    pub fn unit(self) -> Unit {
        match self {
            Self::UnregisteredSeconds => Unit::Seconds,
            _ => Unit::Count,
        }
    }

    /// Tells whether hosts of this role have the metric.
    pub fn is_of(self, role: Role) -> bool {
        match self {
            Self::Registered | Self::UnregisteredSeconds | Self::CertificateDaysLeft => true,
            Self::CoturnAnswers => role == Role::Turn,
            _ => role == Role::Bbb,
        }
    }
}

/// One value of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datum {
    /// The metric.
    pub metric: Metric,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// The phase of a host's life, as far as its metrics go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The host is trying to get registered.
    Trying,
    /// The host takes new meetings or clients.
    Serving,
    /// The host is registered and takes no new meetings.
    Cordoned,
    /// The host waits for running meetings to end.
    Draining,
    /// The host leaves, or has left and is held by its group.
    Leaving {
        /// Whether the deadline ended the drain before it.
        over_deadline: bool,
        /// Whether the host has left.
        left: bool,
    },
    /// The host is not registered and is not meant to be.
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

/// The facts to remember about the phases that a host has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    phase: Option<Phase>,
    trying_since: Option<Moment>,
    over_deadline: bool,
}

impl History {
    /// Takes in the host's present phase. Returns true when an event is worth publishing at once: a drain has ended at
    /// its deadline, or the host has left. Has to be called after every step of the state machine.
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

    /// Returns the figures at the present time.
    pub fn figures(&self, now: Moment) -> PhaseFigures {
        PhaseFigures {
            serving: self.phase == Some(Phase::Serving),
            trying: self.trying_since.map(|since| now.saturating_sub(since)).unwrap_or_default(),
            draining: self.phase == Some(Phase::Draining),
            over_deadline: self.over_deadline,
        }
    }
}

/// The figures that follow from a host's phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseFigures {
    serving: bool,
    trying: Moment,
    draining: bool,
    over_deadline: bool,
}

/// The figures of one meeting. A figure that BBB does not give is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meeting {
    /// Everyone in the meeting.
    pub participants: u32,
    /// People with a microphone.
    pub voices: Option<u32>,
    /// Cameras that are on.
    pub videos: Option<u32>,
    /// Whether the meeting is a breakout room.
    pub breakout: bool,
}

/// The numbers of recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recordings {
    /// Recordings that have not left the host.
    pub pending: usize,
    /// Recordings that BBB has given up.
    pub failed: usize,
}

/// The observations on the host; an unknown one is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The running meetings.
    pub meetings: Option<Vec<Meeting>>,
    /// The recordings.
    pub recordings: Option<Recordings>,
    /// For how many more seconds the host's certificate is valid; negative when it has expired.
    pub certificate: Option<i64>,
    /// Whether coturn answers.
    pub coturn: Option<bool>,
    /// For how long BBB has not answered on a host that is in Scalelite; `None` while it answers.
    pub silent: Option<Moment>,
}

/// Returns the data of a host, each metric at most once.
pub fn data(role: Role, phases: &PhaseFigures, findings: &Findings) -> Vec<Datum> {
    let flag = |flag: bool| Some(if flag { 1.0 } else { 0.0 });
    let meetings = findings.meetings.as_deref();
    let main = meetings.map(main);
    let recordings = findings.recordings;
    let value = |metric| match metric {
        Metric::Registered => flag(phases.serving && findings.silent.is_none()),
        Metric::UnregisteredSeconds => {
            let silent = findings.silent.filter(|_| phases.serving).unwrap_or_default();
            Some(phases.trying.max(silent).as_secs_f64().floor())
        }
        Metric::CertificateDaysLeft => findings.certificate.map(days),
        Metric::Draining => flag(phases.draining),
        Metric::DrainOverDeadline => flag(phases.over_deadline),
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

/// Returns how many people are in each meeting, without breakout rooms.
fn main(meetings: &[Meeting]) -> Vec<u32> {
    let main = meetings.iter().filter(|meeting| !meeting.breakout);
    main.map(|meeting| meeting.participants).collect()
}

/// Adds up a figure over all rooms; unknown when it is unknown for one of them.
fn added(meetings: &[Meeting], of: impl Fn(&Meeting) -> Option<u32>) -> Option<f64> {
    let known: Option<Vec<u32>> = meetings.iter().map(of).collect();
    known.map(|numbers| total(&numbers))
}

/// Adds up numbers as integers: an empty f64 sum is -0.0. CloudWatch's values are doubles, exact up to 2^53.
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
