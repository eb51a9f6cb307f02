//! Runs of many seeds, on all cores.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// The outcome of many seeds.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of seeds that were run.
    pub seeds: u64,
    /// The number of events in all.
    pub events: u64,
    /// The number of batches that Route 53 accepted.
    pub changes: u64,
    /// The number of calls that have changed Scalelite.
    pub writes: u64,
    /// The number of instances that were launched.
    pub hosts: u64,
    /// The seeds that failed, each with its first violation. After the first failure no further seed is begun.
    pub failed: Vec<(u64, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, events, changes, writes, hosts, failed } = self;
        write!(
            f,
            "{seeds} seeds: {hosts} hosts, {events} events, {changes} changes in Route 53, {writes} in Scalelite"
        )?;
        for (seed, what) in failed {
            write!(f, "\nseed {seed} fails: {what}\n  the whole story: tests/simulate --seed {seed}")?;
        }
        Ok(())
    }
}

/// Runs this many seeds, beginning with `from`.
pub fn run_many(from: u64, count: u64) -> Report {
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let report = Mutex::new(Report::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            let outcome = crate::run(seed, false);
            let Ok(mut report) = report.lock() else { return };
            report.seeds += 1;
            match outcome {
                Ok(outcome) => {
                    report.events += outcome.events;
                    report.changes += outcome.changes;
                    report.writes += outcome.writes;
                    report.hosts += u64::try_from(outcome.hosts).unwrap_or_default();
                    if let Some(first) = outcome.broken.first() {
                        stop.store(true, Ordering::Relaxed);
                        report.failed.push((seed, first.clone()));
                    }
                }
                Err(error) => report.failed.push((seed, error.to_string())),
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    report.into_inner().unwrap_or_default()
}
