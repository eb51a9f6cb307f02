//! The one-line verdict of `status`: whether this host is registered, and if not, why.
//!
//! The gravest part decides: not registered, then drift, then cannot tell, then registered. A host that waits for
//! Scalelite's next poll, or for a DNS server that lags behind, needs no help and counts as registered.
//!
#![doc = include_str!("tables/verdict.md")]

//! # Scalelite's part
//! An entry that Scalelite has not polled yet looks the same as one that Scalelite cannot reach; the time since the
//! entry was enabled tells them apart. "Just now" means less than three polls ago: Scalelite needs two failed polls to
//! call a server offline (observed on 1.8.5).
//!
#![doc = include_str!("tables/scalelite-health.md")]

use std::fmt;
use std::time::Duration;

use crate::membership::{self, Desired, Entry, State, Update};
use crate::time::duration;

/// The condition of one part of the registration, with the reason in words where it is not in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Configured off, or not part of this role.
    NotUsed,
    /// As it should be.
    InOrder,
    /// As it should be after some time; the text says why nothing needs to be done.
    Settling(String),
    /// Not known; the text says what could not be found out.
    Unknown(String),
    /// Registered, but not as it should be.
    Drift(String),
    /// Not registered.
    Missing(String),
}

/// The answer to "is this host registered?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything is as it should be.
    Registered,
    /// Something could not be found out; the rest is in order.
    CannotTell,
    /// Registered, but something differs from what it should be.
    Drift,
    /// Users or Scalelite cannot find this host.
    NotRegistered,
}

impl Verdict {
    /// Returns a stable word for programs: `registered`, `cannot-tell`, `drift`, `not-registered`.
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

/// Returns the verdict and its reasons, the gravest first; parts that are settling give a reason too.
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
    reasons.dedup();
    let gravest = reasons.first().map_or(Verdict::Registered, |(gravity, _)| *gravity);
    (gravest, reasons.into_iter().map(|(_, reason)| reason.clone()).collect())
}

impl Part {
    /// Replaces the reason where the service keeps the host out on purpose: `words` say why, and nothing needs repair.
    #[must_use]
    pub fn explained(self, words: &str) -> Self {
        match self {
            Self::Drift(_) => Self::Drift(words.to_owned()),
            Self::Missing(_) => Self::Missing(words.to_owned()),
            other => other,
        }
    }
}

/// Advice for a host that Scalelite's polls do not reach.
pub(crate) const UNREACHED: &str = "look at this host's certificate, at its name as Scalelite resolves it, at port 443 \
                                    (security group), and at BBB";

/// Judges whether Scalelite places meetings on the host. `enabled` is how long ago the agent enabled the entry, if
/// known;
/// `poll` is how often Scalelite polls its servers.
pub fn scalelite(desired: &Desired, own: &[Entry], enabled: Option<Duration>, poll: Duration) -> Part {
    let (Some(entry), superfluous) = membership::kept(own) else {
        let other = if own.is_empty() { "" } else { " with BBB's present URL" };
        return Part::Missing(format!("Scalelite has no entry for this host{other}: register adds it"));
    };
    let repair = "register sets that right";
    if entry.state != State::Enabled {
        let effect = match entry.state {
            State::Cordoned => "running meetings go on, new ones are placed elsewhere",
            State::Enabled | State::Disabled => "no meeting is placed here and nobody can join one",
        };
        return Part::Drift(format!("{} in Scalelite: {effect}; {repair}", entry.state));
    }
    if !superfluous.is_empty() {
        return Part::Drift(format!(
            "Scalelite has {} entries for this host instead of one; {repair}",
            own.len()
        ));
    }
    let Update { secret, tag, multiplier } = membership::differences(desired, entry);
    if secret {
        return Part::Drift(format!(
            "Scalelite has another secret than this host's BBB: no meeting can start here; {repair}"
        ));
    }
    let unpolled = !entry.is_polled();
    let missed = match enabled {
        Some(enabled) => enabled >= 3 * poll,
        None => !entry.online,
    };
    if unpolled && missed {
        let offline = if entry.online { "without a load in Scalelite" } else { "offline in Scalelite" };
        return Part::Drift(format!(
            "{offline}: its polls (every {}) do not reach this host's BBB API, or are refused; {UNREACHED}",
            duration(poll)
        ));
    }
    if tag.is_some() || multiplier.is_some() {
        return Part::Drift(format!(
            "Scalelite has another tag or load multiplier than configured; {repair}"
        ));
    }
    if unpolled {
        return Part::Settling(format!(
            "no meeting is placed here before Scalelite's next poll (every {})",
            duration(poll)
        ));
    }
    Part::InOrder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    #[test]
    fn what_the_service_does_on_purpose_is_the_reason_once() {
        let words = "draining (by hand)";
        let parts = [
            Part::Missing("no record".to_owned()),
            Part::Missing("no entry".to_owned()),
            Part::Unknown("BBB".to_owned()),
        ];
        let (_, reasons) = verdict(&parts.map(|part| part.explained(words)));
        assert_eq!(reasons, [words, "BBB"]);
    }

    fn entries(cell: &str) -> Vec<Entry> {
        if cell == "none" {
            return Vec::new();
        }
        let entry = |(index, words): (usize, &str)| {
            let (state, but) = words.split_once(", ").unwrap_or((words, ""));
            Entry {
                id: index.to_string(),
                id_is_host: false,
                state: match state {
                    "enabled" => State::Enabled,
                    "cordoned" => State::Cordoned,
                    "disabled" => State::Disabled,
                    unknown => panic!("unknown state {unknown}"),
                },
                online: but != "offline",
                load: (!["no load", "offline"].contains(&but)).then_some(0.0),
                multiplier: Some(1.0),
                tag: None,
                secret_matches: but != "old secret",
                url_matches: but != "other URL",
            }
        };
        cell.split(" + ").enumerate().map(entry).collect()
    }

    #[test]
    fn scalelite_by_the_table() {
        for [own, enabled, expected] in table::rows(include_str!("tables/scalelite-health.md")) {
            let poll = Duration::from_secs(30);
            let enabled = match enabled.as_str() {
                "just now" => Some(3 * poll - Duration::from_secs(1)),
                "long ago" => Some(3 * poll),
                _ => None,
            };
            let word = match scalelite(&Desired::default(), &entries(&own), enabled, poll) {
                Part::InOrder => "in order",
                Part::Settling(_) => "settling",
                Part::Drift(_) => "drift",
                Part::Missing(_) => "missing",
                Part::NotUsed | Part::Unknown(_) => "none of these",
            };
            assert_eq!(word, expected, "{own}, {enabled:?}");
        }
    }

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
