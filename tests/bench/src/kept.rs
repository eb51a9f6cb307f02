//! The figures that are kept in the repository, and the comparison of today's with them. Absolute figures depend on
//! the machine and the hour, so only ratios are kept, each against a floor of the same run.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::figures::{Figure, in_times};

/// The limit for a ratio in times of the kept one: a quarter more.
const TOLERANCE: f64 = 1.25;

/// The machine on which figures were taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's model.
    pub cpu: String,
    /// The number of cores that may be used.
    pub cores: usize,
    /// The memory, in MiB.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler's version, as it prints it.
    pub compiler: String,
    /// The agents' version and commit, as they print them.
    pub agents: String,
}

/// The file of one day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The day, as `2026-01-31`.
    pub date: String,
    /// The machine.
    pub machine: Machine,
    /// The figures' ratios to their floors, by name.
    pub ratios: BTreeMap<String, f64>,
}

/// Returns the ratios of the figures that have one, with their significant digits.
pub fn ratios(figures: &[Figure]) -> BTreeMap<String, f64> {
    let rounded = |ratio: f64| (ratio * 10_000.0).round() / 10_000.0;
    figures.iter().filter_map(|figure| Some((figure.name.clone(), rounded(figure.ratio()?)))).collect()
}

/// A figure that is worse than it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Worse {
    /// A ratio grew by more than a quarter.
    Ratio {
        /// The figure.
        name: String,
        /// The kept ratio.
        before: f64,
        /// The ratio of today.
        now: f64,
    },
    /// A ratio was kept but is missing today: the figure was not measured, or its floor is zero.
    Missing {
        /// The figure.
        name: String,
        /// The kept ratio.
        before: f64,
    },
    /// An aim is missed.
    Aim {
        /// The figure.
        name: String,
        /// The measured value.
        value: String,
        /// The aim.
        aim: String,
    },
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio { name, before, now } => {
                let (before_in_times, now_in_times) = (in_times(*before), in_times(*now));
                let percent = (now / before - 1.0) * 100.0;
                write!(
                    f,
                    "{name}: {now_in_times} x its floor, kept are {before_in_times} x: {percent:.0} % worse"
                )
            }
            Self::Missing { name, before } => {
                write!(f, "{name}: no ratio was measured, kept are {} x its floor", in_times(*before))
            }
            Self::Aim { name, value, aim } => write!(f, "{name}: {value} misses its aim, {aim}"),
        }
    }
}

/// Compares the figures with the kept ratios and with their aims. A new figure has no kept ratio; a missing one is
/// worse only when everything was meant to be measured (`whole`).
pub fn compare(kept: &BTreeMap<String, f64>, figures: &[Figure], whole: bool) -> Vec<Worse> {
    let today = ratios(figures);
    let measured = |name: &str| figures.iter().any(|figure| figure.name == name);
    let ratios = kept.iter().filter_map(|(name, before)| match today.get(name) {
        None if !whole && !measured(name) => None,
        None => Some(Worse::Missing { name: name.clone(), before: *before }),
        Some(now) if *now > before * TOLERANCE => {
            Some(Worse::Ratio { name: name.clone(), before: *before, now: *now })
        }
        Some(_) => None,
    });
    let missed = figures.iter().filter(|figure| figure.met() == Some(false)).map(|figure| {
        let value = match (figure.aim, figure.ratio()) {
            (Some(crate::figures::Aim::Times(_)), Some(ratio)) => format!("{} x its floor", in_times(ratio)),
            _ => figure.unit.show(figure.value),
        };
        Worse::Aim { name: figure.name.clone(), value, aim: figure.aim_in_words() }
    });
    ratios.chain(missed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Aim, Unit};

    fn figure(value: u64, floor: u64) -> Figure {
        Figure::new("register: wall", Unit::Microseconds, value).floor(floor)
    }

    fn kept(ratio: f64) -> BTreeMap<String, f64> {
        [("register: wall".to_owned(), ratio)].into()
    }

    #[test]
    fn a_ratio_may_grow_by_a_quarter() {
        for (value, worse) in [(1600, 0), (2000, 0), (2480, 0), (2500, 0), (2520, 1)] {
            assert_eq!(compare(&kept(2.0), &[figure(value, 1000)], true).len(), worse, "{value}");
        }
        let worse = compare(&kept(2.0), &[figure(2520, 1000)], false);
        assert_eq!(worse, [Worse::Ratio { name: "register: wall".to_owned(), before: 2.0, now: 2.52 }]);
        let said: Vec<String> = worse.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["register: wall: 2.52 x its floor, kept are 2.00 x: 26 % worse"]);
    }

    #[test]
    fn only_ratios_are_compared() {
        assert_eq!(compare(&kept(2.0), &[figure(2_000_000, 1_000_000)], true), [], "a machine that is slow");
    }

    #[test]
    fn what_is_not_measured_any_more_is_worse_and_what_is_new_is_not() {
        let missing = [Worse::Missing { name: "register: wall".to_owned(), before: 2.0 }];
        assert_eq!(compare(&kept(2.0), &[], true), missing);
        assert_eq!(compare(&kept(2.0), &[], false), [], "it was not to be measured");
        let bare = Figure { floor: None, ..figure(2, 1) };
        for whole in [true, false] {
            assert_eq!(compare(&kept(2.0), &[figure(2, 0)], whole), missing, "a floor of zero is none");
            assert_eq!(compare(&kept(2.0), std::slice::from_ref(&bare), whole), missing);
            assert_eq!(compare(&BTreeMap::new(), &[figure(9, 1)], whole), []);
        }
    }

    #[test]
    fn aims_are_compared_whatever_is_kept() {
        let aimed = |aim| figure(3000, 1000).aim(aim);
        assert_eq!(compare(&kept(3.0), &[aimed(Aim::Times(3.0))], true), []);
        for (aim, said) in [
            (Aim::Times(2.5), "register: wall: 3.00 x its floor misses its aim, at most 2.5 x"),
            (Aim::AtMost(2000), "register: wall: 3.00 ms misses its aim, at most 2.00 ms"),
        ] {
            let worse = compare(&kept(3.0), &[aimed(aim)], true);
            assert_eq!(worse.iter().map(ToString::to_string).collect::<Vec<_>>(), [said]);
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let machine = Machine {
            cpu: "a CPU".to_owned(),
            cores: 2,
            memory: 1024,
            kernel: "6.1".to_owned(),
            compiler: "rustc 1.95".to_owned(),
            agents: "bbb-agent 0.1.0".to_owned(),
        };
        let ratios = ratios(&[figure(1_000, 3_000), figure(2, 0)]);
        let file = Kept { date: "2026-01-31".to_owned(), machine, ratios };
        let text = toml::to_string_pretty(&file).unwrap();
        assert!(text.contains("\"register: wall\" = 0.3333\n"), "{text}");
        assert_eq!(toml::from_str::<Kept>(&text).unwrap(), file);
        assert!(toml::from_str::<Kept>(&text.replace("cores", "kernels")).is_err());
    }
}
