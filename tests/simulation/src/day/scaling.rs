//! The decisions of EC2 Auto Scaling: a target tracking policy with its two alarms, and scheduled actions, as the shipped
//! templates set them up.
//!
//! From AWS's documentation (EC2 Auto Scaling User Guide, CloudWatch User Guide, both as of 2026):
//! - A target tracking policy makes two alarms. The one that adds hosts wants 3 data points of a minute above the target,
//!   the one that removes hosts wants 15 that are more than a tenth below it. An alarm acts again every minute for as
//!   long as it holds ("Target tracking scaling policies", "Using Amazon CloudWatch alarms").
//! - The new capacity is proportional to the metric, and rounded up ("How target tracking works": it "errs on the side of
//!   rounding up when determining how many instances to add, and rounding down when determining how many to remove").
//! - Hosts that warm up do not count in the capacity from which the addition is calculated, but as a part of what is
//!   there already; nothing is removed while hosts warm up ("Set the default instance warmup"). The policy's
//!   `EstimatedInstanceWarmup` goes before the group's `DefaultInstanceWarmup` (`PutScalingPolicy`).
//! - The capacity is the group's desired capacity. Where hosts are protected from scale-in it is lowered all the same,
//!   and the hosts stay ("Use instance scale-in protection").
//!
//! AWS does not say how fast target tracking removes hosts ("more gradually"). Here one activity goes the whole way, which
//! costs the fewest hours and is the hardest on meetings.

use std::collections::VecDeque;
use std::time::Duration;

use super::template::{At, Template};

/// The data points that the alarm for more hosts wants.
const OUT: usize = 3;
/// The data points that the alarm for fewer hosts wants.
const IN: usize = 15;
/// The part of the target below which the alarm for fewer hosts is.
const BELOW: f64 = 0.9;

/// The figures of one minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Minute {
    /// The sum of the hosts' data.
    pub(crate) sum: f64,
    /// The number of hosts that have sent one.
    pub(crate) data: u32,
    /// The group's desired capacity.
    pub(crate) desired: u32,
    /// The group's hosts in service, which may still be installed.
    pub(crate) in_service: u32,
}

/// A figure of CloudWatch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Sum,
    Average,
    Desired,
    InService,
}

impl Figure {
    fn of(self, minute: Minute) -> Option<f64> {
        let data = f64::from(minute.data);
        match self {
            Self::Sum => (minute.data > 0).then_some(minute.sum),
            Self::Average => (minute.data > 0).then(|| minute.sum / data),
            Self::Desired => Some(f64::from(minute.desired)),
            Self::InService => Some(f64::from(minute.in_service)),
        }
    }

    fn read(metric: At<'_>, statistic: &str) -> Result<Self, String> {
        let name = metric.string("MetricName")?;
        match (name.as_str(), statistic) {
            ("Participants", "Sum") => Ok(Self::Sum),
            ("Participants", "Average") => Ok(Self::Average),
            ("GroupDesiredCapacity", "Average") => Ok(Self::Desired),
            ("GroupInServiceInstances", "Average") => Ok(Self::InService),
            _ => Err(format!("the day knows no {statistic} of {name}")),
        }
    }
}

/// A target tracking policy with its alarms.
#[derive(Debug)]
pub(crate) struct Tracking {
    /// The value to keep.
    pub(crate) target: f64,
    metric: Figure,
    per: Option<Figure>,
    removes: bool,
    /// How long a new host warms up.
    pub(crate) warmup: Duration,
    points: VecDeque<Option<f64>>,
}

/// The capacity of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) desired: u32,
    /// The part of it that warms up.
    pub(crate) warming: u32,
}

impl Tracking {
    /// Reads the only policy of a template; `warmup` is the group's.
    pub(crate) fn read(template: &Template, warmup: Duration) -> Result<Self, String> {
        let policies = template.resources("AWS::AutoScaling::ScalingPolicy")?;
        let [policy] = policies.as_slice() else {
            return Err(format!("there are {} scaling policies, and the day knows one", policies.len()));
        };
        if policy.string("PolicyType")? != "TargetTrackingScaling" {
            return Err("the day knows target tracking only".to_owned());
        }
        let tracking = policy.need("TargetTrackingConfiguration")?;
        let metric = tracking.need("CustomizedMetricSpecification")?;
        let (metric, per) = match metric.get("Metrics") {
            None => (Figure::read(metric, &metric.string("Statistic")?)?, None),
            Some(queries) => quotient(queries)?,
        };
        let own = policy.get("EstimatedInstanceWarmup");
        let own =
            own.map(|_| policy.number("EstimatedInstanceWarmup").map(Duration::from_secs)).transpose()?;
        Ok(Self {
            target: tracking.number("TargetValue")?,
            metric,
            per,
            removes: !tracking.is_true("DisableScaleIn"),
            warmup: own.unwrap_or(warmup),
            points: VecDeque::new(),
        })
    }

    /// Returns the new capacity that the policy wants after this minute, if it wants another one.
    pub(crate) fn decide(&mut self, minute: Minute, now: Capacity) -> Option<u32> {
        let per = self.per.map_or(Some(1.0), |per| per.of(minute)).filter(|per| *per > 0.0);
        let point = self.metric.of(minute).zip(per).map(|(value, per)| value / per);
        self.points.push_front(point);
        self.points.truncate(IN);
        let all = |count: usize, of: &dyn Fn(f64) -> bool| {
            self.points.len() >= count && self.points.iter().take(count).all(|point| point.is_some_and(of))
        };
        let part = point? / self.target;
        let wanted = |base: u32| (f64::from(base) * part).ceil() as u32;
        if all(OUT, &|value| value > self.target) {
            let wanted = wanted(now.desired.saturating_sub(now.warming));
            return (wanted > now.desired).then_some(wanted);
        }
        let low = all(IN, &|value| value < BELOW * self.target);
        let wanted = wanted(now.desired);
        (self.removes && low && now.warming == 0 && wanted < now.desired).then_some(wanted)
    }
}

/// Reads metric math: one metric, divided by another one.
fn quotient(queries: At<'_>) -> Result<(Figure, Option<Figure>), String> {
    let mut figures = Vec::new();
    let mut expression = None;
    for query in queries.items() {
        match query.get("MetricStat") {
            Some(metric) => {
                let figure = Figure::read(metric.need("Metric")?, &metric.string("Stat")?)?;
                figures.push((query.string("Id")?, figure));
            }
            None => expression = Some(query.string("Expression")?),
        }
    }
    let expression = expression.ok_or("there is no expression")?;
    let of = |id: &str| figures.iter().find(|(known, _)| known == id.trim()).map(|(_, figure)| *figure);
    let parts = expression.split_once('/').and_then(|(one, other)| of(one).zip(of(other)));
    let (metric, per) = parts.ok_or(format!("the day does not know the expression {expression}"))?;
    Ok((metric, Some(per)))
}

/// A scheduled action of a group.
#[derive(Debug)]
pub(crate) struct Scheduled {
    minute: u32,
    hour: u32,
    /// The first and the last day of the week, 0 is Monday.
    days: (u32, u32),
    pub(crate) least: Option<u32>,
    pub(crate) desired: Option<u32>,
}

/// The days of the week as cron names them.
const DAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

impl Scheduled {
    /// Reads the scheduled actions of a template.
    pub(crate) fn read(template: &Template) -> Result<Vec<Self>, String> {
        let all = template.resources("AWS::AutoScaling::ScheduledAction")?;
        all.into_iter().map(Self::one).collect()
    }

    fn one(at: At<'_>) -> Result<Self, String> {
        let recurrence = at.string("Recurrence")?;
        let unknown = || format!("the day does not know the recurrence {recurrence}");
        let fields: Vec<&str> = recurrence.split_whitespace().collect();
        let [minute, hour, "*", "*", days] = fields.as_slice() else { return Err(unknown()) };
        let day =
            |name: &str| DAYS.iter().position(|known| *known == name).and_then(|day| u32::try_from(day).ok());
        let days = match (*days, days.split_once('-')) {
            ("*", _) => Some((0, 6)),
            (_, Some((first, last))) => day(first).zip(day(last)),
            (one, None) => day(one).map(|day| (day, day)),
        };
        let number = |key| at.get(key).map(|_| at.number(key)).transpose();
        Ok(Self {
            minute: minute.parse().map_err(|_| unknown())?,
            hour: hour.parse().map_err(|_| unknown())?,
            days: days.ok_or_else(unknown)?,
            least: number("MinSize")?,
            desired: number("DesiredCapacity")?,
        })
    }

    /// Tells whether it is due in this minute since the beginning, which is midnight before a Monday.
    pub(crate) fn is_due(&self, minute: u32) -> bool {
        let day = minute / (24 * 60) % 7;
        minute % (24 * 60) == self.hour * 60 + self.minute && (self.days.0..=self.days.1).contains(&day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracking(removes: bool) -> Tracking {
        let (metric, per) = (Figure::Sum, Some(Figure::Desired));
        Tracking { target: 75.0, metric, per, removes, warmup: Duration::ZERO, points: VecDeque::new() }
    }

    /// Returns what the policy wants after each minute with this sum of people.
    fn wants(mut policy: Tracking, sums: &[f64], desired: u32, warming: u32) -> Vec<Option<u32>> {
        let minute = |sum: f64| Minute { sum, data: 1, desired, in_service: desired };
        sums.iter().map(|sum| policy.decide(minute(*sum), Capacity { desired, warming })).collect()
    }

    #[test]
    fn three_minutes_above_the_target_add_hosts() {
        let found = wants(tracking(true), &[1000.0, 1000.0, 700.0, 1000.0, 1000.0, 1000.0], 10, 0);
        assert_eq!(found, [None, None, None, None, None, Some(14)]);
        // What warms up is there already.
        assert_eq!(wants(tracking(true), &[1000.0; 3], 10, 5), [None; 3]);
        assert_eq!(wants(tracking(true), &[3000.0; 3], 10, 5), [None, None, Some(20)]);
    }

    #[test]
    fn fifteen_minutes_a_tenth_below_it_remove_hosts() {
        let found = wants(tracking(true), &[600.0; 15], 10, 0);
        assert_eq!(found.split_last(), Some((&Some(8), [None; 14].as_slice())));
        assert_eq!(wants(tracking(true), &[690.0; 15], 10, 0), [None; 15]);
        assert_eq!(wants(tracking(true), &[600.0; 15], 10, 1), [None; 15]);
        assert_eq!(wants(tracking(false), &[600.0; 15], 10, 0), [None; 15]);
    }

    #[test]
    fn an_average_is_of_the_hosts_that_send_data() {
        let mut policy = Tracking { metric: Figure::Average, per: None, ..tracking(true) };
        let minute = |data| Minute { sum: 1000.0, data, desired: 20, in_service: 20 };
        let now = Capacity { desired: 20, warming: 10 };
        let found: Vec<_> =
            [0, 10, 10, 10].into_iter().map(|data| policy.decide(minute(data), now)).collect();
        assert_eq!(found, [None; 4], "10 hosts with 100 each are 14 hosts with 72, and 20 are coming");
    }

    #[test]
    fn scheduled_actions_know_the_days_of_the_week() {
        let due = |day: u32, hour: u32, minute: u32| {
            let action = Scheduled { minute: 30, hour: 7, days: (0, 4), least: Some(1), desired: None };
            action.is_due(day * 24 * 60 + hour * 60 + minute)
        };
        assert!(due(0, 7, 30) && due(4, 7, 30) && due(7, 7, 30));
        assert!(!due(0, 7, 29) && !due(0, 8, 30) && !due(5, 7, 30));
    }
}
