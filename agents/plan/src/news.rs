//! What is worth a line in the log of something that is tried again and again: that it fails, when that is new; that it
//! still does, after a minute, five minutes, half an hour, and then every hour; and that it works again.
//!
//! Each row is the next event in the life of one job.
//!
#![doc = include_str!("tables/news.md")]
//!
//! A trouble whose words change is one trouble: all of its words are told, up to [`WORDINGS`], and its time goes on. So
//! a failure with a number in its words, or two that take turns, cannot fill the log.

use std::collections::BTreeMap;
use std::time::Duration;

/// The time at which a trouble that goes on is told again, counted from its beginning.
const AGAIN: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(1800)];

/// The time after which it is told again from then on.
const EVERY: Duration = Duration::from_secs(3600);

/// The number of different words for one trouble that are told at once. Further ones wait until it is told again.
pub const WORDINGS: usize = 8;

/// A line that is worth being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It fails, or fails in other words.
    Fails,
    /// It has been failing for this time.
    StillFails(Duration),
    /// It works again, after it has been failing for this time.
    Works(Duration),
}

/// The troubles that go on, each of another job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Troubles<K>(BTreeMap<K, Standing>);

impl<K> Default for Troubles<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// One trouble that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    since: Duration,
    told: Vec<String>,
    /// When it is told again.
    again: Duration,
}

impl<K: Ord> Troubles<K> {
    /// Notes at `now` that a job has failed, for this reason. `now` is a time by a clock that never goes back.
    pub fn failed(&mut self, job: K, why: &str, now: Duration) -> Option<News> {
        let standing = self.0.entry(job).or_insert_with(|| Standing {
            since: now,
            told: Vec::new(),
            again: next(now, now),
        });
        let is_new = standing.told.len() < WORDINGS && !standing.told.iter().any(|told| told == why);
        if is_new {
            standing.told.push(why.to_owned());
        }
        let is_due = standing.again <= now;
        if is_due {
            standing.again = next(standing.since, now);
        }
        match (is_due, is_new) {
            (true, _) => Some(News::StillFails(now.saturating_sub(standing.since))),
            (false, true) => Some(News::Fails),
            (false, false) => None,
        }
    }

    /// Notes at `now` that a job has gone well.
    pub fn went_well(&mut self, job: &K, now: Duration) -> Option<News> {
        self.0.remove(job).map(|standing| News::Works(now.saturating_sub(standing.since)))
    }

    /// Forgets the trouble with a job that is not done any more.
    pub fn forget(&mut self, job: &K) {
        self.0.remove(job);
    }
}

/// Returns when a trouble since then is told the next time after `now`.
fn next(since: Duration, now: Duration) -> Duration {
    let last = AGAIN.last().copied().unwrap_or_default();
    let passed = now.saturating_sub(since);
    let first = AGAIN.into_iter().find(|again| *again > passed);
    let hours = || passed.saturating_sub(last).as_secs() / EVERY.as_secs() + 1;
    let again = first.unwrap_or_else(|| last + Duration::from_secs(hours().saturating_mul(EVERY.as_secs())));
    since.saturating_add(again)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::table;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_table() {
        let mut troubles = Troubles::default();
        for [after, job, told] in table::rows(include_str!("tables/news.md")) {
            let now = seconds(after.trim_end_matches(" s").parse().unwrap());
            let minutes = |time: Duration| time.as_secs() / 60;
            let words = match job.strip_prefix("fails: ") {
                Some(why) => match troubles.failed((), why, now) {
                    Some(News::Fails) => why.to_owned(),
                    Some(News::StillFails(time)) => format!("{why}, for {} min", minutes(time)),
                    Some(News::Works(_)) => panic!("it does not"),
                    None => "nothing".to_owned(),
                },
                None => match troubles.went_well(&(), now) {
                    Some(News::Works(time)) => format!("works again after {} min", minutes(time)),
                    Some(other) => panic!("{other:?}"),
                    None => "nothing".to_owned(),
                },
            };
            assert_eq!(words, told, "after {after}, the job {job}");
        }
    }

    #[test]
    fn one_job_says_nothing_about_another() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.failed("name", "refused", seconds(1)), Some(News::Fails));
        assert_eq!(troubles.failed("entry", "refused", seconds(2)), Some(News::Fails));
        assert_eq!(troubles.went_well(&"name", seconds(3)), Some(News::Works(seconds(2))));
        assert_eq!(troubles.failed("entry", "refused", seconds(4)), None);
        troubles.forget(&"entry");
        assert_eq!(troubles.went_well(&"entry", seconds(5)), None);
    }

    proptest! {
        /// However often it fails, and in however many words, the log stays short; and nobody has to wait for an hour
        /// to learn that it still does.
        #[test]
        fn a_trouble_fills_no_log(tries in prop::collection::vec((1u64..600, 0u8..40), 1..400)) {
            let (mut troubles, mut now, mut lines, mut last) = (Troubles::default(), seconds(7), 0, seconds(7));
            for (wait, why) in &tries {
                now += seconds(*wait);
                if troubles.failed((), &why.to_string(), now).is_some() {
                    (lines, last) = (lines + 1, now);
                }
                prop_assert!(now - last < EVERY + seconds(600), "nothing was told for {:?}", now - last);
            }
            let hours = usize::try_from(now.as_secs() / EVERY.as_secs()).unwrap();
            prop_assert!((1..=WORDINGS + AGAIN.len() + hours).contains(&lines), "{lines} lines in {hours} h");
            prop_assert!(matches!(troubles.went_well(&(), now), Some(News::Works(_))));
            prop_assert_eq!(troubles.went_well(&(), now), None);
        }
    }
}
