//! The command line of `bench`.

use std::path::PathBuf;

/// The usage of the command.
pub const USAGE: &str =
    "usage: tests/benchmark [--quick] [--far] [--keep] [--compare [FILE]] [RUNS [SECONDS]]";

/// The amount of measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The number of runs of each command.
    pub runs: usize,
    /// How long the idle service is watched, in seconds; whole minutes, because it sends metrics once in each.
    pub seconds: u64,
    /// The number of runs of the service for each reaction: each takes seconds.
    pub reactions: usize,
    /// The number of runs of the sweep that waits for a second each time.
    pub sweeps: usize,
    /// Whether everything is measured, including the storm, which takes two minutes.
    pub whole: bool,
}

impl Effort {
    /// The full measurement: about nine minutes.
    const WHOLE: Self = Self { runs: 100, seconds: 300, reactions: 20, sweeps: 20, whole: true };
    /// The quick measurement: about two minutes.
    const QUICK: Self = Self { runs: 50, seconds: 60, reactions: 5, sweeps: 8, whole: false };
}

/// The figures to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// The newest figures that were kept.
    Newest,
    /// The figures in this file.
    File(PathBuf),
}

/// The command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The amount of measuring.
    pub effort: Effort,
    /// Whether only what depends on the distance to Route 53 is measured.
    pub far: bool,
    /// Whether the figures are written into the repository.
    pub keep: bool,
    /// The figures to compare with.
    pub compare: Option<Against>,
}

impl Arguments {
    /// Reads the command line; returns `None` when it is wrong.
    pub fn read(words: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut arguments = Self { effort: Effort::WHOLE, far: false, keep: false, compare: None };
        let mut numbers = Vec::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => arguments.effort = Effort::QUICK,
                "--far" => arguments.far = true,
                "--keep" => arguments.keep = true,
                "--compare" => {
                    let file = words.next_if(|word| !word.starts_with("--") && word.parse::<u64>().is_err());
                    arguments.compare = Some(file.map_or(Against::Newest, |file| Against::File(file.into())));
                }
                number => numbers.push(number.parse::<u64>().ok().filter(|number| *number > 0)?),
            }
        }
        let mut numbers = numbers.into_iter();
        if let Some(runs) = numbers.next() {
            arguments.effort.runs = usize::try_from(runs).ok()?;
        }
        if let Some(seconds) = numbers.next() {
            arguments.effort.seconds = seconds;
        }
        numbers.next().is_none().then_some(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Arguments> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_given_is_read() {
        let whole = Arguments { effort: Effort::WHOLE, far: false, keep: false, compare: None };
        let effort = |runs, seconds| Effort { runs, seconds, ..Effort::WHOLE };
        let file = || Some(Against::File("a.toml".into()));
        for (line, expected) in [
            ("", whole.clone()),
            ("3", Arguments { effort: effort(3, 300), ..whole.clone() }),
            ("3 60", Arguments { effort: effort(3, 60), ..whole.clone() }),
            ("--quick --keep", Arguments { effort: Effort::QUICK, keep: true, ..whole.clone() }),
            ("3 --quick", Arguments { effort: Effort { runs: 3, ..Effort::QUICK }, ..whole.clone() }),
            ("--far", Arguments { far: true, ..whole.clone() }),
            ("--compare", Arguments { compare: Some(Against::Newest), ..whole.clone() }),
            ("--compare a.toml", Arguments { compare: file(), ..whole.clone() }),
            ("--compare a.toml --keep", Arguments { compare: file(), keep: true, ..whole.clone() }),
            ("--compare --keep", Arguments { compare: Some(Against::Newest), keep: true, ..whole.clone() }),
            ("--compare 3", Arguments { compare: Some(Against::Newest), effort: effort(3, 300), ..whole }),
        ] {
            assert_eq!(read(line), Some(expected), "{line}");
        }
        for wrong in ["0", "x", "--what", "1 2 3", "-1", "--keep a.toml"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
