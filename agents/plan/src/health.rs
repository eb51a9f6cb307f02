//! The one-line verdict of `status`: is this host registered, and if not, why.
//!
//! The gravest part decides: not registered, then drift, then cannot tell, then registered. A host that waits for
//! Scalelite's next poll, or for a DNS server that is behind, needs nobody's help and counts as registered.
//!
#![doc = include_str!("tables/verdict.md")]

use std::fmt;

/// How one part of the registration stands, with the reason in words where it is not in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Configured off, or not part of this role.
    NotUsed,
    /// As it should be.
    InOrder,
    /// As it should be but for time: why nothing needs to be done.
    Settling(String),
    /// Could not be found out.
    Unknown(String),
    /// Registered, but not as it should be.
    Drift(String),
    /// Not registered.
    Missing(String),
}

/// Whether the host is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything is as it should be.
    Registered,
    /// Something could not be found out, the rest is in order.
    CannotTell,
    /// Registered, but something differs from what it should be.
    Drift,
    /// Users or Scalelite cannot find this host.
    NotRegistered,
}

impl Verdict {
    /// A stable word for programs: `registered`, `cannot-tell`, `drift`, `not-registered`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::CannotTell => "cannot-tell",
            Self::Drift => "drift",
            Self::NotRegistered => "not-registered",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registered => "registered",
            Self::CannotTell => "cannot tell whether registered",
            Self::Drift => "registered, but not as it should be",
            Self::NotRegistered => "not registered",
        })
    }
}

/// The verdict and its reasons, the gravest first; settling parts give a reason too.
pub fn verdict(parts: &[Part]) -> (Verdict, Vec<String>) {
    let mut reasons: Vec<(Verdict, &String)> = parts
        .iter()
        .filter_map(|part| match part {
            Part::NotUsed | Part::InOrder => None,
            Part::Settling(reason) => Some((Verdict::Registered, reason)),
            Part::Unknown(reason) => Some((Verdict::CannotTell, reason)),
            Part::Drift(reason) => Some((Verdict::Drift, reason)),
            Part::Missing(reason) => Some((Verdict::NotRegistered, reason)),
        })
        .collect();
    reasons.sort_by_key(|(gravity, _)| std::cmp::Reverse(*gravity));
    let gravest = reasons.first().map_or(Verdict::Registered, |(gravity, _)| *gravity);
    (gravest, reasons.into_iter().map(|(_, reason)| reason.clone()).collect())
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::table;

    fn part(cell: &str) -> Part {
        let reason = cell.to_owned();
        match cell {
            "not used" => Part::NotUsed,
            "live" | "serving" => Part::InOrder,
            "waits for poll" | "not live everywhere" => Part::Settling(reason),
            "different" | "differs" | "cordoned" | "disabled" | "offline" | "duplicated" => {
                Part::Drift(reason)
            }
            "absent" | "foreign" => Part::Missing(reason),
            "cannot tell" => Part::Unknown(reason),
            unknown => panic!("unknown cell {unknown}"),
        }
    }

    #[test]
    fn verdict_by_the_table() {
        for [dns, scalelite, expected] in table::rows(include_str!("tables/verdict.md")) {
            let (verdict, reasons) = verdict(&[part(&dns), part(&scalelite)]);
            assert_eq!(verdict.as_str().replace('-', " "), expected, "{dns}, {scalelite}");
            let silent = [&dns, &scalelite]
                .into_iter()
                .filter(|cell| matches!(part(cell), Part::InOrder | Part::NotUsed));
            assert_eq!(reasons.len(), 2 - silent.count(), "every part that is not in order gives its reason");
        }
    }

    #[test]
    fn the_gravest_reason_comes_first() {
        let parts = [Part::Settling("c".into()), Part::Missing("a".into()), Part::Unknown("b".into())];
        assert_eq!(verdict(&parts).1, ["a", "b", "c"]);
    }
}
