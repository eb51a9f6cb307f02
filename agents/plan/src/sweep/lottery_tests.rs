use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(3600);
/// Route 53's account-wide budget in calls an hour: 10 calls a second.
const BUDGET: f64 = 36_000.0;
/// The number of record sets of one host (A, AAAA, TXT), and the number on a page.
const SETS: usize = 3;
const PAGE: usize = 300;

/// Evenly drawn numbers (xorshift64*), the same for the same seed.
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The calls to Route 53 by hour, and the times of whole sweeps in seconds, of a fleet whose hosts all began at once.
struct Life {
    calls: Vec<f64>,
    sweeps: Vec<u64>,
}

fn live(hosts: usize, hours: usize, seed: u64) -> Life {
    let mut chance = Chance(seed);
    let mut fleet = vec![Turns::default(); hosts];
    let wait = |chance: &mut Chance| Turns::wait(INTERVAL, chance.draw()).as_secs();
    let mut due: BTreeSet<(u64, usize)> = (0..hosts).map(|host| (wait(&mut chance), host)).collect();
    let pages = (hosts * SETS).div_ceil(PAGE);
    let mut life = Life { calls: vec![0.0; hours], sweeps: Vec::new() };
    while let Some((now, host)) = due.pop_first() {
        let Some(calls) = life.calls.get_mut((now / 3600) as usize) else { break };
        let turns = &mut fleet[host];
        let sweeps = match turns.tick(chance.draw()) {
            Turn::Rest => false,
            Turn::Sweep => true,
            Turn::Peek => {
                let seen = hosts.min(PAGE / SETS);
                turns.saw(seen);
                let goes_on = pages == 1 || falls(seen, chance.draw());
                *calls += if goes_on { 0.0 } else { 1.0 };
                goes_on
            }
        };
        if sweeps {
            turns.saw(hosts);
            *calls += pages as f64;
            life.sweeps.push(now);
        }
        due.insert((now + wait(&mut chance), host));
    }
    life
}

#[test]
#[allow(clippy::print_stdout, reason = "the figures, for whoever runs this with --nocapture")]
fn a_fleet_of_200_hosts_costs_less_than_a_hundredth_of_the_budget() {
    for hosts in [1, 10, 200, 1000] {
        let life = live(hosts, 24 * 14, 0x5eed + hosts as u64);
        let most = life.calls.iter().copied().fold(0.0, f64::max);
        let mean = life.calls.iter().sum::<f64>() / life.calls.len() as f64;
        let gaps: Vec<u64> = life.sweeps.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let gap = gaps.iter().sum::<u64>() as f64 / gaps.len() as f64;
        let longest = gaps.iter().max().copied().unwrap_or_default();
        println!(
            "{hosts} hosts for 14 days: {mean:.1} calls an hour ({:.3} % of the budget), at most {most:.0} ({:.2} %); \
             a sweep every {gap:.0} s, after {longest} s at the latest",
            100.0 * mean / BUDGET,
            100.0 * most / BUDGET
        );
        assert!(gap < 1.2 * INTERVAL.as_secs_f64(), "debris would stay: a sweep every {gap} s");
        if hosts <= 200 {
            assert!(most < BUDGET / 100.0, "{most} calls in an hour");
            assert!(mean < BUDGET / 1000.0, "{mean} calls an hour");
        }
    }
}

#[test]
fn a_fleet_that_has_shrunk_is_swept_again_within_a_day_or_so() {
    let mut turns = Turns::default();
    turns.saw(1_000_000);
    let turn = (1..=GOOD_FOR + 1).map(|_| turns.tick(0.5)).last();
    assert_eq!(turn, Some(Turn::Peek));
    turns.saw(1);
    assert_eq!(turns.tick(0.999), Turn::Sweep);
}

#[test]
fn who_knows_nothing_looks_first() {
    assert_eq!(Turns::default().tick(0.0), Turn::Peek);
    assert!(falls(0, 0.999) && falls(1, 0.999) && falls(2, 0.49) && !falls(2, 0.5));
    assert!(falls(200, 0.0049) && !falls(200, 0.005));
}

proptest! {
    #[test]
    fn waits_are_spread_around_the_interval(random in 0.0f64..1.0, seconds in 1u64..100_000) {
        prop_assert!(Turns::wait(Duration::from_secs(seconds), random) < Duration::from_secs(2 * seconds));
    }
}
