//! What is counted in a day.

use std::collections::BTreeMap;
use std::time::Duration;

use plan::instance::InstanceId;

/// The figures of one minute, for the drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The instances that are paid for.
    pub(crate) hosts: u32,
    /// The hosts that new meetings can be placed on.
    pub(crate) open: u32,
    /// The hosts that wait for their work to end, so that they can go.
    pub(crate) draining: u32,
    /// The people in meetings.
    pub(crate) people: u32,
}

/// The counts of one fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// The meetings that people wanted to hold.
    pub(crate) creates: u32,
    /// The meetings whose `create` call found no server.
    pub(crate) unplaced: u32,
    /// The meetings that were placed on a host which had as many people as it can take.
    pub(crate) full: u32,
    /// The meetings on a host with more people than it can take, when all their people had come.
    pub(crate) crowded: u32,
    /// The meetings that a scale-in ended early.
    pub(crate) ended: usize,
    /// The recordings that were lost with it.
    pub(crate) lost: usize,
    /// The same by spot interruptions.
    pub(crate) interrupted: usize,
    pub(crate) lost_by_spot: usize,
    /// The number of spot interruptions.
    pub(crate) interruptions: u32,
    /// The longest time for which no host had room.
    pub(crate) wait: Duration,
    full_since: Option<Duration>,
    /// Whether there has been room once.
    had_room: bool,
    /// The time that people spent in meetings, and the part of it on hosts that had more than they can take, in minutes.
    person_minutes: u64,
    crowded_minutes: u64,
    /// When each instance was launched, and when it ended.
    instances: BTreeMap<InstanceId, (Duration, Option<Duration>)>,
    pub(crate) samples: Vec<Sample>,
    /// The rules of the world that were broken.
    pub(crate) broken: Vec<String>,
}

impl Tally {
    pub(crate) fn launched(&mut self, id: &InstanceId, now: Duration) {
        self.instances.insert(id.clone(), (now, None));
    }

    pub(crate) fn terminated(&mut self, id: &InstanceId, now: Duration) {
        if let Some((_, end)) = self.instances.get_mut(id) {
            *end = Some(now);
        }
    }

    /// Notes the meetings and recordings that an instance has taken with it.
    pub(crate) fn lose(&mut self, (meetings, recordings): (usize, usize), spot: bool) {
        let (ended, lost) = match spot {
            true => (&mut self.interrupted, &mut self.lost_by_spot),
            false => (&mut self.ended, &mut self.lost),
        };
        *ended += meetings;
        *lost += recordings;
    }

    /// Notes whether some host has room for new meetings.
    pub(crate) fn room(&mut self, is_there: bool, now: Duration) {
        self.had_room |= is_there;
        match (is_there, self.full_since) {
            (true, Some(since)) => {
                self.wait = self.wait.max(now.saturating_sub(since));
                self.full_since = None;
            }
            // The first hosts are polled within a minute or two.
            (false, None) if self.had_room => self.full_since = Some(now),
            _ => {}
        }
    }

    /// Notes the people on one host in one minute.
    pub(crate) fn people(&mut self, people: u32, capacity: u32) {
        self.person_minutes += u64::from(people);
        if people > capacity {
            self.crowded_minutes += u64::from(people);
        }
    }

    /// Ends the day.
    pub(crate) fn close(&mut self, now: Duration) {
        self.room(true, now);
        for (_, end) in self.instances.values_mut() {
            end.get_or_insert(now);
        }
    }

    /// Returns the hours that are paid for.
    pub(crate) fn hours(&self) -> f64 {
        let times = self.instances.values().filter_map(|(from, to)| Some(to.as_ref()?.saturating_sub(*from)));
        times.sum::<Duration>().as_secs_f64() / 3600.0
    }

    /// Returns the number of `create` calls that count as refused.
    pub(crate) fn refused(&self) -> u32 {
        self.unplaced + self.full
    }

    /// Returns the percentage of the people's time on hosts that had more people than they can take.
    pub(crate) fn crowded_time(&self) -> f64 {
        100.0 * self.crowded_minutes as f64 / (self.person_minutes as f64).max(1.0)
    }

    /// Returns the least and the greatest number of instances.
    pub(crate) fn range(&self) -> (u32, u32) {
        let hosts = || self.samples.iter().map(|sample| sample.hosts);
        (hosts().min().unwrap_or_default(), hosts().max().unwrap_or_default())
    }

    /// Returns the greatest number of people.
    pub(crate) fn peak(&self) -> u32 {
        self.samples.iter().map(|sample| sample.people).max().unwrap_or_default()
    }
}
