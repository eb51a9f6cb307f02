use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;
use crate::table;

const EVER: Duration = Duration::MAX;

#[test]
fn ceilings_double_up_to_the_cap() {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
    let ceilings: Vec<u64> = (0..5).map(|_| backoff.next(1.0).as_secs()).collect();
    assert_eq!(ceilings, [1, 2, 4, 5, 5]);
}

fn seconds(cell: &str) -> Duration {
    Duration::from_secs(cell.trim_end_matches(" s").parse().unwrap())
}

#[test]
fn waits_by_the_table() {
    for [next, before, spread, left, expected] in table::rows(include_str!("tables/queue.md")) {
        let mut queue = Queue::new(seconds(&spread));
        let mut wait = Duration::ZERO;
        for step in before.split(", ").filter(|step| *step != "nothing") {
            wait = match step {
                "turn" => queue.turn(1.0),
                "throttled" => queue.after(Retryable::Throttled, seconds(&left), 1.0),
                "passing" => queue.after(Retryable::Passing, seconds(&left), 1.0),
                _ => panic!("{step} is not known"),
            };
        }
        if next.starts_with("the first change") {
            wait = queue.turn(1.0);
        }
        assert_eq!(wait, seconds(&expected), "{next} after {before}, spread {spread}, {left} left");
    }
}

proptest! {
    #[test]
    fn never_above_the_cap(base in 0u64..10_000, cap in 0u64..10_000, draws in prop::collection::vec(0.0..1.0, 0..80)) {
        let cap = Duration::from_millis(cap);
        let mut backoff = Backoff::new(Duration::from_millis(base), cap);
        for random in draws {
            prop_assert!(backoff.next(random) <= cap);
        }
    }

    #[test]
    fn never_beyond_the_time_that_is_left(left in 0u64..100_000, draws in prop::collection::vec((any::<bool>(), 0.0..1.0), 0..40)) {
        let left = Duration::from_millis(left);
        let mut queue = Queue::new(Duration::ZERO);
        for (throttled, random) in draws {
            let refusal = if throttled { Retryable::Throttled } else { Retryable::Passing };
            prop_assert!(queue.after(refusal, left, random) <= left);
        }
    }
}

/// A random number generator that gives the same numbers in every run (splitmix64, public domain).
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A number of hosts that boot within half a second, and the account's budget.
#[derive(Clone, Copy, Debug)]
struct Storm {
    hosts: usize,
    /// Calls a second.
    rate: f64,
    burst: f64,
    /// `dns.spread` in seconds.
    spread: u64,
    /// Whether they are in one group, which tells its members.
    grouped: bool,
    /// The time for which a change keeps the zone busy, in seconds.
    processing: f64,
}

/// The outcome of a storm.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    /// The time until the last host is registered, as a multiple of the shortest time in which so many calls can pass.
    time: f64,
    /// Calls per host.
    calls: f64,
    /// The share of all calls that were throttled.
    throttled: f64,
}

/// The time that a call takes, in seconds.
const CALL: f64 = 0.02;

impl Storm {
    /// Plays the storm in simulated time: a token bucket, changes one after the other, and hosts that obey [`Queue`].
    fn pass(self, seed: u64) -> Came {
        let mut chance = Chance(seed);
        let mut hosts = vec![Queue::new(Duration::from_secs(self.spread)); self.hosts];
        // Times are in microseconds, the soonest first.
        let at = |seconds: f64| std::cmp::Reverse((seconds * 1e6) as u64);
        let mut due = BinaryHeap::new();
        for (index, host) in hosts.iter_mut().enumerate() {
            due.push((at(0.5 * chance.draw() + host.turn(chance.draw()).as_secs_f64()), index));
        }
        let (mut tokens, mut last, mut busy, mut calls, mut throttled) = (self.burst, 0.0, 0.0, 0.0, 0.0);
        let mut end = 0.0;
        while let Some((std::cmp::Reverse(now), index)) = due.pop() {
            let now = now as f64 / 1e6;
            tokens = (tokens + (now - last) * self.rate).min(self.burst);
            (last, calls) = (now, calls + 1.0);
            let refusal = if tokens < 1.0 {
                throttled += 1.0;
                Retryable::Throttled
            } else {
                tokens -= 1.0;
                if now >= busy {
                    (busy, end) = (now + self.processing, now);
                    continue;
                }
                Retryable::Passing
            };
            let mut wait = hosts[index].after(refusal, EVER, chance.draw());
            if self.grouped {
                let size = self.hosts as u32;
                if hosts[index].needs_place() {
                    hosts[index].takes(Place { size, before: index as u32 });
                }
                // Clocks differ by some milliseconds.
                let clock = now + CALL + 0.005 * chance.draw();
                wait = hosts[index].slot(Duration::from_secs_f64(clock), chance.draw()).unwrap_or(wait);
            }
            due.push((at(now + CALL + wait.as_secs_f64()), index));
        }
        let hosts = self.hosts as f64;
        let least = (hosts - self.burst) / self.rate;
        Came { time: end / least, calls: calls / hosts, throttled: throttled / calls }
    }

    /// Returns the mean outcome of many storms.
    fn passes(self) -> Came {
        const TIMES: u64 = 40;
        let mut sum = Came::default();
        for seed in 0..TIMES {
            let came = self.pass(seed);
            (sum.time, sum.calls, sum.throttled) =
                (sum.time + came.time, sum.calls + came.calls, sum.throttled + came.throttled);
        }
        let mean = |sum| sum / TIMES as f64;
        Came { time: mean(sum.time), calls: mean(sum.calls), throttled: mean(sum.throttled) }
    }
}

/// The figures by which the waits were chosen, each as an upper bound.
#[test]
fn storms() {
    let thousand =
        Storm { hosts: 1000, rate: 10.0, burst: 50.0, spread: 0, grouped: false, processing: 0.003 };
    let fifty = Storm { hosts: 50, rate: 5.0, burst: 5.0, ..thousand };
    let rows = [
        // The spread is what the hosts need at this rate.
        (Storm { spread: 100, ..thousand }, 1.10, 1.08, 0.04),
        (Storm { spread: 10, ..fifty }, 1.35, 1.28, 0.19),
        // The operator has not configured a spread.
        (thousand, 1.28, 7.8, 0.88),
        (fifty, 2.4, 3.6, 0.72),
        // Nor has a group any: it tells its members.
        (Storm { grouped: true, ..thousand }, 1.25, 2.0, 0.49),
        // The burst goes to changes that meet: hardly any host is registered by its first call, so 1.995 is the least.
        (Storm { grouped: true, processing: 0.03, ..thousand }, 1.25, 2.03, 0.49),
        (Storm { grouped: true, rate: 5.0, burst: 5.0, ..thousand }, 1.6, 3.05, 0.66),
        // Route 53 is slower than anybody has seen it.
        (Storm { processing: 0.03, ..thousand }, 1.35, 8.5, 0.90),
        // The operator has configured too small a spread.
        (Storm { spread: 50, ..thousand }, 1.36, 4.4, 0.78),
    ];
    for (storm, time, calls, throttled) in rows {
        let came = storm.passes();
        let holds = came.time < time && came.calls < calls && came.throttled < throttled;
        assert!(holds, "{storm:?}: {came:?}");
    }
}

proptest! {
    /// Members that are throttled at any moment come one after the other: no two share a slot, and no slot is missed.
    #[test]
    fn members_come_one_after_the_other(size in (BURST + 1)..3000, first in 0u32..3000, second in 0u32..3000, at in 0u64..1 << 40, later in 0u64..1000) {
        let (first, second) = (first % size, second % size);
        let now = Duration::from_millis(at);
        let begin = |before: u32, now: Duration| {
            let mut queue = Queue::new(Duration::ZERO);
            queue.after(Retryable::Throttled, EVER, 0.5);
            queue.takes(Place { size, before });
            let wait = queue.slot(now, 0.5).unwrap();
            prop_assert!(wait >= EXHAUSTED && wait < EXHAUSTED + SLOT * size);
            Ok(now + wait)
        };
        let (one, other) = (begin(first, now)?, begin(second, now + Duration::from_millis(later))?);
        prop_assert!(first == second || one.abs_diff(other) >= SLOT, "{one:?} {other:?}");
    }
}

#[test]
fn only_a_refused_host_of_a_large_group_waits_for_a_slot() {
    let mut queue = Queue::new(Duration::ZERO);
    let slot = |queue: &mut Queue, refusal| {
        queue.after(refusal, EVER, 0.5);
        queue.slot(Duration::ZERO, 0.5)
    };
    assert!(!queue.needs_place(), "it was not refused");
    let mut spread = Queue::new(Duration::from_secs(100));
    spread.after(Retryable::Throttled, Duration::from_secs(300), 0.5);
    assert!(!spread.needs_place(), "it had a turn of its own");
    assert_eq!(slot(&mut queue, Retryable::Throttled), None, "its place is not known");
    assert!(queue.needs_place());
    queue.takes(Place { size: BURST, before: 7 });
    assert!(!queue.needs_place());
    assert_eq!(slot(&mut queue, Retryable::Throttled), None, "so many need none");
    queue.takes(Place { size: 200, before: 100 });
    assert_eq!(slot(&mut queue, Retryable::Throttled), Some(100 * SLOT));
    // Throttled again, and again: others share the budget.
    assert_eq!(slot(&mut queue, Retryable::Throttled), Some(50 * SLOT + SLOT / 2));
    assert_eq!(slot(&mut queue, Retryable::Throttled), Some(200 * SLOT));
    assert_eq!(slot(&mut queue, Retryable::Passing), Some(EXHAUSTED / 2), "it has met another host's change");
    queue.turn(0.5);
    assert_eq!(queue.slot(Duration::ZERO, 0.5), None, "a new change");
}

/// A host that boots alone, and a fleet for which the budget's burst is enough, wait only for each other.
#[test]
fn small_fleets_do_not_wait() {
    let mut queue = Queue::new(Duration::ZERO);
    assert_eq!(queue.turn(1.0), Duration::ZERO);
    let came =
        Storm { hosts: 51, rate: 10.0, burst: 50.0, spread: 0, grouped: true, processing: 0.003 }.passes();
    assert!(came.calls < 2.0, "{came:?}");
}
