//! What was measured.

use bench::measure::{Run, quantile};

/// All runs of one program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    pub(crate) fn add(&mut self, run: Run) {
        self.0.push(run);
    }

    /// A quantile of the wall times, in microseconds.
    pub(crate) fn wall(&self, share: f64) -> u64 {
        quantile(&self.column(|run| run.wall), share)
    }

    /// A quantile of the CPU times, in microseconds.
    pub(crate) fn cpu(&self, share: f64) -> u64 {
        quantile(&self.column(|run| run.cpu), share)
    }

    /// The highest peak, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.column(|run| run.peak).into_iter().max().unwrap_or_default()
    }

    fn column(&self, of: impl Fn(&Run) -> u64) -> Vec<u64> {
        self.0.iter().map(of).collect()
    }
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The command line.
    pub(crate) name: String,
    /// The agent.
    pub(crate) agent: Runs,
    /// The floor; none for a command that asks nothing.
    pub(crate) floor: Option<Runs>,
    /// What it asked; none for a command that asks nothing.
    pub(crate) asked: Option<Asked>,
    /// How many processes it was; none when that cannot be counted here.
    pub(crate) processes: Option<usize>,
}

/// Requests by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) imds: usize,
    pub(crate) dns: usize,
    pub(crate) route53: usize,
    pub(crate) secrets: usize,
    pub(crate) bbb: usize,
    pub(crate) scalelite: usize,
}
