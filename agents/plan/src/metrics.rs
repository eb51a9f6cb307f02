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
//! People in a breakout room are in its parent meeting too, so they are counted only there while the parent is listed.
//! Their microphones and cameras are in one room at a time (BBB's client leaves the parent's audio for the room's), so
//! these are added up over all rooms.
//!
#![doc = include_str!("tables/metrics-work.md")]

use std::collections::BTreeSet;

use crate::instance::Role;
use crate::lifecycle::{Moment, Polled, Serving, State};
use crate::recordings::Part;
use crate::relay::Relay;
use crate::work::{Meeting, Meetings, Rules, Work};

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
    /// 1 while the host waits for its running meetings, or relays, to end, else 0.
    Draining,
    /// 1 once the deadline has ended a drain, until the host joins again, else 0.
    DrainOverDeadline,
    /// Running meetings, without the breakout rooms of a listed meeting.
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
    /// Recordings that nobody works on any more.
    RecordingsStuck,
    /// Places in BBB's files at which another address than the host's stands.
    WrongAddresses,
    /// 1 where coturn asks for credentials, else 0. A BBB host without coturn does not send it.
    CoturnAnswers,
    /// Relays that coturn has in use on a TURN host.
    Relays,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 16] = [
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
        Self::RecordingsStuck,
        Self::WrongAddresses,
        Self::CoturnAnswers,
        Self::Relays,
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
            Self::RecordingsStuck => "RecordingsStuck",
            Self::WrongAddresses => "WrongAddresses",
            Self::CoturnAnswers => "CoturnAnswers",
            Self::Relays => "Relays",
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
            Self::Registered
            | Self::UnregisteredSeconds
            | Self::CertificateDaysLeft
            | Self::Draining
            | Self::DrainOverDeadline
            | Self::CoturnAnswers => true,
            Self::Relays => role == Role::Turn,
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
    /// The host is trying to get registered, or Scalelite does not reach it.
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
            // Nobody is sent to a host that Scalelite does not reach.
            State::Serving(Serving { polled: Polled::Offline(_), .. }) => Self::Trying,
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

/// The observations on the host; an unknown one is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The work on the host; `None` where it is not counted.
    pub work: Option<Work>,
    /// For how many more seconds the host's certificate is valid; negative when it has expired.
    pub certificate: Option<i64>,
    /// The number of places at which BBB announces another address than the host's.
    pub wrong_addresses: Option<usize>,
    /// What coturn does for a client without credentials.
    pub coturn: Option<Relay>,
    /// For how long BBB has not answered on a BBB host; `None` while it answers.
    pub silent: Option<Moment>,
}

/// Returns the data of a host, each metric at most once. `rules` say which recordings count as stuck.
pub fn data(role: Role, phases: &PhaseFigures, findings: &Findings, rules: &Rules) -> Vec<Datum> {
    let flag = |flag: bool| Some(if flag { 1.0 } else { 0.0 });
    let meetings = findings.work.as_ref().map(|work| &work.meetings).filter(|all| all.unlisted.is_none());
    let recordings = findings.work.as_ref().and_then(|work| recordings(work, rules));
    let value = |metric| match metric {
        Metric::Registered => flag(phases.serving && findings.silent.is_none()),
        Metric::UnregisteredSeconds => {
            let silent = findings.silent.filter(|_| phases.serving).unwrap_or_default();
            Some(phases.trying.max(silent).as_secs_f64().floor())
        }
        Metric::CertificateDaysLeft => findings.certificate.map(days),
        Metric::Draining => flag(phases.draining),
        Metric::DrainOverDeadline => flag(phases.over_deadline),
        Metric::Meetings => meetings.map(|all| number(all.own().count())),
        Metric::Participants => meetings?.participants().map(whole),
        Metric::VoiceParticipants => added(meetings?, |meeting| meeting.voices),
        Metric::VideoStreams => added(meetings?, |meeting| meeting.videos),
        Metric::LargestMeeting => largest(meetings?),
        Metric::RecordingsPending => recordings.as_ref().and_then(|found| found.pending).map(number),
        Metric::RecordingsFailed => recordings.as_ref().map(|found| number(found.failed)),
        Metric::RecordingsStuck => recordings.as_ref().and_then(|found| found.stuck).map(number),
        Metric::WrongAddresses => findings.wrong_addresses.map(number),
        Metric::CoturnAnswers => findings.coturn?.answers(role).and_then(flag),
        Metric::Relays => findings.work.as_ref()?.relays.as_ref()?.known().copied().map(whole),
    };
    let own = Metric::ALL.into_iter().filter(|metric| metric.is_of(role));
    own.filter_map(|metric| Some(Datum { metric, value: value(metric)? })).collect()
}

/// The numbers of recordings; an unknown one is `None`.
struct Recordings {
    pending: Option<usize>,
    failed: usize,
    stuck: Option<usize>,
}

/// Counts recordings, each once whatever the number of its formats. A job in Redis names no recording, and may belong
/// to one that the spool shows.
fn recordings(work: &Work, rules: &Rules) -> Option<Recordings> {
    let found = Some(&work.recordings).filter(|found| found.unlisted.is_none())?;
    let stuck = |part: &Part| found.pending.get(part).is_some_and(|step| found.is_stuck(step, rules.stuck));
    let ids = |parts: Vec<&Part>| parts.iter().map(|part| &part.id).collect::<BTreeSet<_>>().len();
    let (stuck, pending): (Vec<&Part>, Vec<&Part>) = found.pending.keys().partition(|part| stuck(part));
    let jobs = found.jobs.known().map(|jobs| usize::try_from(*jobs).unwrap_or(usize::MAX));
    Some(Recordings {
        pending: jobs.map(|jobs| jobs.max(ids(pending))),
        failed: ids(found.failed.iter().collect()),
        stuck: jobs.map(|_| ids(stuck)),
    })
}

/// Returns how many people are in the largest meeting; unknown when it is unknown for one of them.
fn largest(meetings: &Meetings) -> Option<f64> {
    let known: Option<Vec<u32>> = meetings.own().map(|meeting| meeting.people.known().copied()).collect();
    known.map(|people| people.into_iter().max().unwrap_or_default().into())
}

/// Adds up a figure over all rooms; unknown when it is unknown for one of them.
fn added(meetings: &Meetings, of: impl Fn(&Meeting) -> Option<u32>) -> Option<f64> {
    meetings.listed.iter().map(|room| of(room).map(u64::from)).sum::<Option<u64>>().map(whole)
}

/// Converts a sum of integers: an empty sum of f64 would be -0.0. CloudWatch's values are doubles, exact up to 2^53.
fn whole(sum: u64) -> f64 {
    sum as f64
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
