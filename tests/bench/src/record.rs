//! The measurements of a program.

use bench::figures::{Aim, Figure, Unit};
use bench::measure::{Run, quantile};

/// The measured runs of one program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    pub(crate) fn add(&mut self, run: Run) {
        self.0.push(run);
    }

    /// Returns a quantile of the wall times, in microseconds.
    pub(crate) fn wall(&self, share: f64) -> u64 {
        quantile(&self.column(|run| run.wall), share)
    }

    /// Returns a quantile of the CPU times, in microseconds.
    pub(crate) fn cpu(&self, share: f64) -> u64 {
        quantile(&self.column(|run| run.cpu), share)
    }

    /// Returns the highest peak, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.column(|run| run.peak).into_iter().max().unwrap_or_default()
    }

    fn column(&self, of: impl Fn(&Run) -> u64) -> Vec<u64> {
        self.0.iter().map(of).collect()
    }
}

/// The processes and threads of a command, including its first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Births {
    pub(crate) processes: u64,
    pub(crate) threads: u64,
}

impl Births {
    /// Counts the processes and threads in a trace of strace's that has only the calls which make them.
    pub(crate) fn in_trace(trace: &str) -> Self {
        // strace splits calls that overlap: the second half has no flags.
        let births = trace.lines().filter(|line| !line.contains("resumed"));
        let births = births.filter(|line| line.contains("fork(") || line.contains("clone"));
        births.fold(Self { processes: 1, threads: 1 }, |before, line| match line.contains("CLONE_THREAD") {
            true => Self { threads: before.threads + 1, ..before },
            false => Self { processes: before.processes + 1, ..before },
        })
    }

    pub(crate) fn figures(self, name: &str) -> [Figure; 2] {
        [
            Figure::new(format!("{name}: processes"), Unit::Count, self.processes).aim(Aim::AtMost(1)),
            Figure::new(format!("{name}: threads"), Unit::Count, self.threads),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::Births;

    #[test]
    fn processes_and_threads_are_told_apart() {
        let trace = "\
12 clone3({flags=CLONE_VM|CLONE_THREAD|CLONE_SETTLS, child_tid=0x7f} <unfinished ...>
13 vfork( <unfinished ...>
12 <... clone3 resumed> => {parent_tid=[14]}, 88) = 14
13 <... vfork resumed>) = 15
";
        assert_eq!(Births::in_trace(trace), Births { processes: 2, threads: 2 });
        assert_eq!(Births::in_trace(""), Births { processes: 1, threads: 1 });
    }
}
