//! The meetings of a university: what is held at which hour, how many come, and how long they stay.
//!
//! The first day is a Monday. All is drawn from the seed, by tables instead of formulas of higher mathematics, whose last
//! digits differ between machines.
//!
//! | kind | begins | people (half of them have fewer than) | lasts | recorded |
//! |---|---|---|---|---|
//! | lecture | at 8, 10, 12, 14, 16, 18 o'clock on workdays | 5 to 150 (35) | 80 to 100 min | half |
//! | seminar | at each hour from 8 to 18 on workdays | 4 to 32 (13) | 45 to 90 min | a fifth |
//! | exam | at 10 o'clock on Mondays and Wednesdays | 15 to 40 (25) | 110 to 140 min | none |
//! | office hour, study group | any time, most from 9 to 17, some until midnight | 2 to 15 (3) | 10 to 75 min | a twentieth |
//!
//! A scheduled meeting is opened from ten minutes before its hour to four minutes after it. The people come from five
//! minutes before the hour on, evenly, until all are there five to ten minutes after it; in a meeting without a schedule
//! they come within five minutes. They leave within the last three minutes.

use std::time::Duration;

use fastrand::Rng;

use crate::bbb::{Crowd, Gathering};

/// A meeting that is going to be held.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// When its `create` call comes.
    pub(crate) at: Duration,
    /// When its people begin to come, and when all are there.
    pub(crate) come: (Duration, Duration),
    /// When it ends.
    pub(crate) to: Duration,
    pub(crate) size: u32,
    /// The times to queue its recording, to publish it, and to send it; none if it is not recorded.
    pub(crate) recording: Option<[Duration; 3]>,
}

impl Arrival {
    /// Returns the meeting when it really begins; one that begins late ends as planned.
    pub(crate) fn gathering(&self, now: Duration) -> Gathering {
        let late = now.saturating_sub(self.at);
        let come = (self.come.0 + late, self.come.1 + late);
        Gathering::of_crowd(now, self.to.max(now), Crowd { size: self.size, come }, self.recording)
    }
}

/// A kind of meeting.
struct Kind {
    /// The sizes by their rank: the part of the meetings that are smaller.
    sizes: &'static [(f64, f64)],
    /// The least and the longest time that it lasts, in minutes.
    lasts: (f64, f64),
    /// The part that is recorded.
    recorded: f64,
    /// Whether it begins at an hour.
    scheduled: bool,
}

const LECTURE: Kind = Kind {
    sizes: &[(0.0, 5.0), (0.1, 12.0), (0.25, 20.0), (0.5, 35.0), (0.75, 60.0), (0.9, 95.0), (1.0, 150.0)],
    lasts: (80.0, 100.0),
    recorded: 0.5,
    scheduled: true,
};
const SEMINAR: Kind = Kind {
    sizes: &[(0.0, 4.0), (0.25, 8.0), (0.5, 13.0), (0.75, 20.0), (1.0, 32.0)],
    lasts: (45.0, 90.0),
    recorded: 0.2,
    scheduled: true,
};
const EXAM: Kind = Kind {
    sizes: &[(0.0, 15.0), (0.5, 25.0), (1.0, 40.0)],
    lasts: (110.0, 140.0),
    recorded: 0.0,
    scheduled: true,
};
const OFFICE: Kind = Kind {
    sizes: &[(0.0, 2.0), (0.5, 3.0), (0.8, 6.0), (1.0, 15.0)],
    lasts: (10.0, 75.0),
    recorded: 0.05,
    scheduled: false,
};

/// How full each hour of a workday is with lectures, seminars and the rest, as a part of the fullest.
const WORKDAY: [(f64, f64, f64); 24] = [
    (0.0, 0.0, 0.03),
    (0.0, 0.0, 0.01),
    (0.0, 0.0, 0.01),
    (0.0, 0.0, 0.01),
    (0.0, 0.0, 0.01),
    (0.0, 0.0, 0.02),
    (0.0, 0.0, 0.05),
    (0.0, 0.0, 0.2),
    (0.55, 0.5, 0.5),
    (0.0, 0.7, 0.9),
    (1.0, 1.0, 1.0),
    (0.0, 1.0, 1.0),
    (0.8, 0.6, 0.7),
    (0.0, 0.7, 0.8),
    (0.9, 0.9, 1.0),
    (0.0, 0.9, 1.0),
    (0.6, 0.6, 0.9),
    (0.0, 0.4, 0.7),
    (0.25, 0.2, 0.6),
    (0.0, 0.0, 0.5),
    (0.0, 0.0, 0.4),
    (0.0, 0.0, 0.3),
    (0.0, 0.0, 0.2),
    (0.0, 0.0, 0.1),
];
/// How full a day of the weekend is with what is not scheduled, as a part of a workday.
const WEEKEND: f64 = 0.3;
/// The parts of the peak's people in lectures, seminars, the exam, and the rest.
const PEOPLE: (f64, f64, f64, f64) = (0.42, 0.2, 0.27, 0.11);

const HOUR: f64 = 3600.0;

/// Returns the value at a rank.
fn at_rank(ranks: &[(f64, f64)], rank: f64) -> f64 {
    let pairs = ranks.iter().zip(ranks.iter().skip(1));
    let mut found = pairs.filter(|((from, _), (to, _))| *from <= rank && rank <= *to);
    found.next().map_or(0.0, |((from, low), (to, high))| low + (high - low) * (rank - from) / (to - from))
}

/// Returns the mean of a table of ranks.
fn mean(ranks: &[(f64, f64)]) -> f64 {
    let pairs = ranks.iter().zip(ranks.iter().skip(1));
    pairs.map(|((from, low), (to, high))| (to - from) * (low + high) / 2.0).sum()
}

fn between(rng: &mut Rng, (from, to): (f64, f64)) -> f64 {
    from + (to - from) * rng.f64()
}

impl Kind {
    fn draw(&self, rng: &mut Rng, hour: f64) -> Arrival {
        let size = at_rank(self.sizes, rng.f64()).round();
        let lasts = between(rng, self.lasts) * 60.0;
        let (at, first, last) = match self.scheduled {
            true => {
                // Most are opened some minutes before the hour.
                let at = hour + (rng.f64() + rng.f64()) * 420.0 - 600.0;
                let all = hour + between(rng, (300.0, 600.0));
                (at, at.max(hour - 300.0), all)
            }
            false => {
                let at = hour + rng.f64() * HOUR;
                (at, at, at + between(rng, (60.0, 300.0)))
            }
        };
        let begun = if self.scheduled { hour } else { at };
        let to = begun + lasts;
        let recorded = rng.f64() < self.recorded;
        let (queue, publish, send) =
            (between(rng, (20.0, 90.0)), lasts * between(rng, (0.2, 0.6)), between(rng, (30.0, 120.0)));
        let time = |seconds: f64| Duration::from_millis((seconds.max(0.0) * 1000.0) as u64);
        Arrival {
            at: time(at),
            come: (time(first), time(last.max(first))),
            to: time(to),
            size: size as u32,
            recording: recorded.then_some([time(queue), time(publish), time(send)]),
        }
    }

    /// Draws about so many people's meetings.
    fn hold(&self, rng: &mut Rng, hour: f64, people: f64, into: &mut Vec<Arrival>) {
        let count = people / mean(self.sizes);
        let more = rng.f64() < count.fract();
        for _ in 0..count.floor() as u32 + u32::from(more) {
            into.push(self.draw(rng, hour));
        }
    }
}

/// Draws the meetings of so many days, which are at their fullest with about so many people.
pub(crate) fn draw(seed: u64, days: u32, peak: u32) -> Vec<Arrival> {
    let mut rng = Rng::with_seed(seed);
    let mut all = Vec::new();
    let peak = f64::from(peak);
    // A meeting that is not scheduled lasts for a part of the hour, and in the next one there are others.
    let turns = HOUR / (60.0 * (OFFICE.lasts.0 + OFFICE.lasts.1) / 2.0);
    for day in 0..days {
        let works = day % 7 < 5;
        for (index, (lectures, seminars, office)) in WORKDAY.into_iter().enumerate() {
            let hour = (f64::from(day) * 24.0 + index as f64) * HOUR;
            let office = if works { office } else { office * WEEKEND };
            OFFICE.hold(&mut rng, hour, peak * PEOPLE.3 * office * turns, &mut all);
            if works {
                LECTURE.hold(&mut rng, hour, peak * PEOPLE.0 * lectures, &mut all);
                // Part of the seminars of the hour before still runs.
                SEMINAR.hold(&mut rng, hour, peak * PEOPLE.1 * seminars * 0.8, &mut all);
            }
            if index == 10 && matches!(day % 7, 0 | 2) {
                EXAM.hold(&mut rng, hour, peak * PEOPLE.2, &mut all);
            }
        }
    }
    all.sort_by_key(|arrival| arrival.at);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the people in meetings at a minute.
    fn people(all: &[Arrival], minute: u64) -> u32 {
        let now = Duration::from_secs(60 * minute);
        all.iter().filter(|there| there.come.1 <= now && now < there.to).map(|there| there.size).sum()
    }

    #[test]
    fn a_day_is_as_full_as_asked_and_an_exam_is_its_peak() {
        let all = draw(1, 2, 6000);
        let most =
            |day: u64| (day * 1440..(day + 1) * 1440).map(|minute| people(&all, minute)).max().unwrap();
        let (exam, other) = (most(0), most(1));
        assert!((5000..7000).contains(&exam), "{exam}");
        assert!(f64::from(other) < 0.9 * f64::from(exam), "{other} of {exam}");
        assert!(people(&all, 3 * 60) < 60, "{}", people(&all, 3 * 60));
    }

    #[test]
    fn the_weekend_is_quiet_and_a_seed_is_a_week() {
        let all = draw(7, 7, 1000);
        let from = Duration::from_secs(5 * 86_400);
        assert!(all.iter().filter(|there| there.at > from).all(|there| there.size <= 15));
        let again = draw(7, 7, 1000);
        assert!(
            all.iter()
                .map(|there| (there.at, there.size))
                .eq(again.iter().map(|there| (there.at, there.size)))
        );
        assert!(!all.iter().map(|there| there.at).eq(draw(8, 7, 1000).iter().map(|there| there.at)));
    }
}
