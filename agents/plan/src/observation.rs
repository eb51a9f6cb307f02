//! Whom to ask what is at the host's name, and what to do then. Every state of the lifecycle uses this one table.
//!
//! Questions to the authoritative servers cost nothing, so they come first. Calls to Route 53's API come out of a quota
//! that all hosts of the account share (facts/aws.md), so its last word is believed for [`BELIEVED`] where the servers
//! do not answer or are late, unless the host's address has changed since: an address that EC2 has taken back may
//! soon be a stranger's.
//!
//! # The table
//! "On its way" is a name that Route 53 has by its own word, but that has not been seen on all servers since; "live" is
//! one that was. "Changed" means that other record sets are desired now than those that were registered.
//!
#![doc = include_str!("tables/observation.md")]

use std::time::Duration;

use crate::dns::Source;

/// The time for which the last word about a name is believed where nobody confirms it.
pub const BELIEVED: Duration = Duration::from_secs(900);

/// The present answer of the authoritative servers about the desired record sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of them answer as desired.
    Live,
    /// Some of them answer otherwise, or do not answer.
    Otherwise,
    /// Nobody answers, or nobody is asked, or what they answer cannot be believed at the moment.
    Nobody,
}

/// The last word about the name that this service has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// There is none, or what was heard does not count any more.
    None,
    /// Route 53 has said, so long ago, that it has these record sets; not all servers have shown them since.
    OnItsWay(Duration),
    /// The name was live so long ago.
    Live(Duration),
    /// Route 53 has said, so long ago, that the name is another host's.
    Another(Duration),
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The name is live.
    Live,
    /// Believe the last word, and ask nobody else.
    Believe,
    /// Wait until the servers show the record sets.
    Wait,
    /// Ask Route 53 whether all its servers have the change.
    AskProgress,
    /// Read the name, from this source first, and make it as desired.
    Register(Source),
}

/// Decides the next step. See the module's table.
pub fn next(word: Word, shown: Shown, is_changed: bool) -> Next {
    let register = Next::Register(if shown == Shown::Nobody { Source::Api } else { Source::Dns });
    match (word, shown) {
        (_, Shown::Live) => Next::Live,
        _ if is_changed => register,
        (Word::OnItsWay(age), Shown::Otherwise) if age < BELIEVED => Next::Wait,
        (Word::OnItsWay(age), Shown::Nobody) if age < BELIEVED => Next::AskProgress,
        (Word::Live(age) | Word::Another(age), Shown::Nobody) if age < BELIEVED => Next::Believe,
        _ => register,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    #[test]
    fn by_the_table() {
        for [word, shown, address, expected] in table::rows(include_str!("tables/observation.md")) {
            let (word, age) = word.split_once(", ").unwrap_or((&word, "any"));
            let ages: &[u64] = match age {
                "any" => &[0, 899, 900, 90_000],
                "< 15 min" => &[0, 1, 899],
                ">= 15 min" => &[900, 901, 90_000],
                unknown => panic!("unknown age {unknown}"),
            };
            let changes: &[bool] = match address.as_str() {
                "any" => &[false, true],
                "same" => &[false],
                "changed" => &[true],
                unknown => panic!("unknown cell {unknown}"),
            };
            let shown = match shown.as_str() {
                "live" => Shown::Live,
                "otherwise" => Shown::Otherwise,
                "nobody answers" => Shown::Nobody,
                unknown => panic!("unknown cell {unknown}"),
            };
            for (age, is_changed) in ages.iter().flat_map(|age| changes.iter().map(move |is| (*age, *is))) {
                let age = Duration::from_secs(age);
                let words = match word {
                    "any" => vec![Word::None, Word::OnItsWay(age), Word::Live(age), Word::Another(age)],
                    "nothing is known" => vec![Word::None],
                    "on its way" => vec![Word::OnItsWay(age)],
                    "live" => vec![Word::Live(age)],
                    "another host's" => vec![Word::Another(age)],
                    unknown => panic!("unknown cell {unknown}"),
                };
                for word in words {
                    let found = match next(word, shown, is_changed) {
                        Next::Live => "live",
                        Next::Believe => "believe it",
                        Next::Wait => "wait",
                        Next::AskProgress => "ask Route 53 how far its servers are",
                        Next::Register(Source::Dns) => "register; DNS is read first",
                        Next::Register(Source::Api) => "register; Route 53's API is read",
                    };
                    assert_eq!(found, expected, "{word:?}, {shown:?}, changed: {is_changed}");
                }
            }
        }
    }

    /// Whoever nobody answers asks Route 53's API at once when the address has changed, and within a quarter of an hour
    /// otherwise.
    #[test]
    fn nothing_is_believed_for_ever() {
        let old = BELIEVED;
        for word in [Word::None, Word::OnItsWay(old), Word::Live(old), Word::Another(old)] {
            assert_eq!(next(word, Shown::Nobody, false), Next::Register(Source::Api), "{word:?}");
        }
        let new = Duration::ZERO;
        for word in [Word::None, Word::OnItsWay(new), Word::Live(new), Word::Another(new)] {
            assert_eq!(next(word, Shown::Nobody, true), Next::Register(Source::Api), "{word:?}");
        }
    }
}
