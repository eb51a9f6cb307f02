//! The metrics as Prometheus reads them: names, help, counters of the agent's own doings, and the text of one scrape.
//!
//! The values are those of [`metrics`](crate::metrics), in base units. What is not known is absent, and never 0.
//!
//! The few lines are rendered here, and not by the crate `prometheus-client`. That one writes OpenMetrics only, in which
//! a counter's family and its sample have different names; `promtool check metrics`, and a client without an
//! `Accept`, read the older text format. It also keeps metrics as live objects, while all of these are computed when
//! they are asked for.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::lifecycle::{Cause, Job, State, TroubleKind};
use crate::metrics::{Datum, Metric, Unit};

/// A format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Chooses the format for a client that accepts these types.
    pub fn accepted(accept: &str) -> Self {
        match accept.to_ascii_lowercase().contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// Returns the type of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The description of a metric for Prometheus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series {
    /// The name, without the agent's before it.
    pub name: &'static str,
    /// The unit.
    pub unit: Unit,
    /// The factor from the metric's own unit to this one.
    pub factor: f64,
    /// The meaning.
    pub help: &'static str,
}

impl Metric {
    /// Returns the metric's description for Prometheus.
    pub fn series(self) -> Series {
        let of = |name, help| Series { name, unit: self.unit(), factor: 1.0, help };
        match self {
            Self::Registered => of(
                "registered",
                "1 where the host has its name and takes new meetings or TURN clients, else 0.",
            ),
            Self::UnregisteredSeconds => of(
                "unregistered_seconds",
                "Time for which the service has been trying to get the host registered; 0 when it is, or is not meant to be.",
            ),
            Self::CertificateDaysLeft => Series {
                unit: Unit::Seconds,
                factor: 86_400.0,
                ..of(
                    "certificate_remaining_seconds",
                    "Time until the certificate of the host expires; negative when it has expired.",
                )
            },
            Self::Draining => {
                of("draining", "1 while the host waits for its running meetings, or relays, to end, else 0.")
            }
            Self::DrainOverDeadline => of(
                "drain_over_deadline",
                "1 once the deadline has ended a drain, until the host joins again, else 0.",
            ),
            Self::Meetings => {
                of("meetings", "Running meetings, without the breakout rooms of a listed meeting.")
            }
            Self::Participants => of("participants", "People in meetings."),
            Self::VoiceParticipants => {
                of("voice_participants", "People with a microphone, breakout rooms included.")
            }
            Self::VideoStreams => of("video_streams", "Cameras that are on, breakout rooms included."),
            Self::LargestMeeting => of("largest_meeting_participants", "People in the largest meeting."),
            Self::RecordingsPending => of("recordings_pending", "Recordings that have not left the host."),
            Self::RecordingsFailed => of("recordings_failed", "Recordings that BBB has given up."),
            Self::RecordingsStuck => of("recordings_stuck", "Recordings that nobody works on any more."),
            Self::WrongAddresses => of(
                "wrong_addresses",
                "Places in the files of BBB at which another address than the one of the host stands.",
            ),
            Self::CoturnAnswers => of(
                "coturn_answers",
                "1 where coturn asks for credentials, else 0. A BBB host without coturn does not have it.",
            ),
            Self::Relays => of("relays", "Relays that coturn has in use on a TURN host."),
        }
    }
}

/// The counters of the agent's own doings since the service began. Each has only the series of what has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// The jobs that have ended.
    Jobs,
    /// The drains that have ended.
    Drains,
    /// The messages to CloudWatch.
    Messages,
    /// The lines that were not logged.
    Lines,
    /// The calls of services.
    Calls,
    /// The calls that were tried again.
    Retries,
}

impl Counter {
    /// All counters.
    pub const ALL: [Self; 6] =
        [Self::Jobs, Self::Drains, Self::Messages, Self::Lines, Self::Calls, Self::Retries];

    /// Returns the counter's name, without the agent's before it and `_total` after it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Drains => "drains",
            Self::Messages => "cloudwatch_messages",
            Self::Lines => "log_lines_dropped",
            Self::Calls => "calls",
            Self::Retries => "retries",
        }
    }

    /// Returns the counter's meaning.
    pub fn help(self) -> &'static str {
        match self {
            Self::Jobs => {
                "Tries to change or check the name of the host or its entry in Scalelite, by job and outcome (done, \
                 waiting, failed, cancelled)."
            }
            Self::Drains => {
                "Drains that have ended, by cause (hand, group, warm_pool, spot) and end (left, deadline, taken_back, \
                 stopped)."
            }
            Self::Messages => "Messages with metrics to CloudWatch, by outcome (taken, dropped).",
            Self::Lines => "Lines of the log that were dropped because nobody took them in time.",
            Self::Calls => {
                "HTTP requests, by service (autoscaling, bbb, cloudwatch, ec2, imds, route53, scalelite, secretsmanager, sts) \
                 and outcome (answered, refused, failed)."
            }
            Self::Retries => "Calls that were tried again after a pause.",
        }
    }
}

/// A sample without labels.
const NO_LABELS: &[(&str, &str)] = &[];

type Labels = Vec<(&'static str, &'static str)>;

/// The counts, and the drain that they follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    counts: BTreeMap<(Counter, Labels), u64>,
    draining: Option<Cause>,
}

impl Counts {
    fn add(&mut self, counter: Counter, labels: Labels) {
        let count = self.counts.entry((counter, labels)).or_default();
        *count = count.saturating_add(1);
    }

    /// Counts a job that has ended, with what went wrong.
    pub fn ended(&mut self, job: Job, trouble: Option<&TroubleKind>) {
        let outcome = match trouble {
            None => "done",
            Some(TroubleKind::Waiting | TroubleKind::Turn(_)) => "waiting",
            Some(TroubleKind::Passing | TroubleKind::Lasting) => "failed",
            Some(TroubleKind::Cancelled) => "cancelled",
        };
        self.add(Counter::Jobs, vec![("job", job.name()), ("outcome", outcome)]);
    }

    /// Counts a message to CloudWatch.
    pub fn sent(&mut self, taken: bool) {
        let outcome = if taken { "taken" } else { "dropped" };
        self.add(Counter::Messages, vec![("outcome", outcome)]);
    }

    /// Takes in the present state, and counts the drain that it ends. Has to be called after every step.
    pub fn follow(&mut self, state: &State) {
        let draining = match state {
            State::Draining(drain) => Some(drain.cause),
            _ => None,
        };
        let former = std::mem::replace(&mut self.draining, draining);
        let Some(cause) = former.filter(|_| draining.is_none()) else { return };
        let cause = match cause {
            Cause::Hand => "hand",
            Cause::Group => "group",
            Cause::WarmPool => "warm_pool",
            Cause::Spot => "spot",
        };
        let end = match state {
            State::Leaving(leaving) if leaving.forced => "deadline",
            State::Leaving(_) | State::Unregistered(_) => "left",
            State::Stopping(_) | State::Ended => "stopped",
            State::Starting
            | State::Joining(_)
            | State::Serving(_)
            | State::Cordoned(_)
            | State::Draining(_) => "taken_back",
        };
        self.add(Counter::Drains, vec![("cause", cause), ("end", end)]);
    }
}

/// The content of one scrape.
#[derive(Clone, Copy, Debug)]
pub struct Scrape<'a> {
    /// The agent's name, `bbb-agent`.
    pub agent: &'a str,
    /// The labels of the series that says which agent this is; an unknown one is left out.
    pub info: &'a [(&'static str, String)],
    /// The metrics that are known.
    pub data: &'a [Datum],
    /// The counts.
    pub counts: &'a Counts,
    /// The number of lines that were not logged.
    pub dropped_lines: u64,
    /// The calls of services: service, outcome, number.
    pub calls: &'a [(&'static str, &'static str, u64)],
    /// The number of calls that were tried again.
    pub retries: u64,
}

/// The prefix of an agent's names.
pub fn prefix(agent: &str) -> String {
    agent.replace('-', "_")
}

impl Scrape<'_> {
    /// Returns the text of the scrape.
    pub fn render(&self, format: Format) -> String {
        let mut text = String::new();
        let prefix = prefix(self.agent);
        let (family, kind) = match format {
            Format::OpenMetrics => (prefix.clone(), "info"),
            Format::Text => (format!("{prefix}_info"), "gauge"),
        };
        head(&mut text, &family, kind, None, "The agent and the host that it looks after.");
        sample(&mut text, &format!("{prefix}_info"), self.info, 1.0);
        for datum in self.data {
            let Series { name, unit, factor, help } = datum.metric.series();
            let name = format!("{prefix}_{name}");
            let unit = (unit == Unit::Seconds && format == Format::OpenMetrics).then_some("seconds");
            head(&mut text, &name, "gauge", unit, help);
            sample(&mut text, &name, NO_LABELS, datum.value * factor);
        }
        for counter in Counter::ALL {
            let series = self.series(counter);
            if series.is_empty() {
                continue;
            }
            let name = format!("{prefix}_{}", counter.name());
            let total = format!("{name}_total");
            let family = if format == Format::OpenMetrics { &name } else { &total };
            head(&mut text, family, "counter", None, counter.help());
            for (labels, count) in series {
                sample(&mut text, &total, &labels, count as f64);
            }
        }
        if format == Format::OpenMetrics {
            text += "# EOF\n";
        }
        text
    }

    fn series(&self, counter: Counter) -> Vec<(Labels, u64)> {
        match counter {
            Counter::Lines => vec![(Labels::new(), self.dropped_lines)],
            Counter::Retries => vec![(Labels::new(), self.retries)],
            Counter::Calls => {
                let labels = |service, outcome| vec![("service", service), ("outcome", outcome)];
                self.calls
                    .iter()
                    .map(|(service, outcome, count)| (labels(*service, *outcome), *count))
                    .collect()
            }
            Counter::Jobs | Counter::Drains | Counter::Messages => {
                let own = self.counts.counts.iter().filter(|((of, _), _)| *of == counter);
                own.map(|((_, labels), count)| (labels.clone(), *count)).collect()
            }
        }
    }
}

fn head(text: &mut String, family: &str, kind: &str, unit: Option<&str>, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {kind}");
    if let Some(unit) = unit {
        let _ = writeln!(text, "# UNIT {family} {unit}");
    }
}

fn sample(text: &mut String, name: &str, labels: &[(&'static str, impl AsRef<str>)], value: f64) {
    *text += name;
    if !labels.is_empty() {
        let labels = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value.as_ref())));
        *text += &format!("{{{}}}", labels.collect::<Vec<_>>().join(","));
    }
    let _ = writeln!(text, " {value}");
}

/// The value of a label as both formats quote it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
