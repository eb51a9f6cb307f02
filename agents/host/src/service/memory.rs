//! The memory of this boot: a few words in a file that a boot removes, because its directory is in /run.
//!
//! ```text
//! joined
//! drain 300 21900 held 310 forced
//! overruled rebalance
//! entered
//! ```
//! The first line is the word for [`Memory`], with the beginning and the deadline of a drain behind it in files of
//! version 0.1. The others are there where they say something: the times of a drain, in seconds since the boot, with the
//! beginning of the lifecycle action and whether the deadline is over; the reasons to cordon the host that an operator
//! has overruled; and whether the host has taken meetings.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::lifecycle::{Kept, Memory, Rest, Window};

use crate::files;

const MEMORIES: [(Memory, &str); 6] = [
    (Memory::Fresh, "fresh"),
    (Memory::Joining, "joining"),
    (Memory::Joined, "joined"),
    (Memory::Cordoned, "cordoned"),
    (Memory::Drain, "drain"),
    (Memory::Unregistered, "out"),
];

const REASONS: [(Rest, &str); 6] = [
    (Rest::Standby, "standby"),
    (Rest::Rebalance, "rebalance"),
    (Rest::Maintenance, "maintenance"),
    (Rest::Address, "address"),
    (Rest::Announced, "announced"),
    (Rest::Turn, "turn"),
];

fn file(directory: &Path) -> PathBuf {
    directory.join("memory")
}

/// Reads the memory; there is none without a file, or with one that says something else.
pub(super) fn read(directory: &Path) -> Kept {
    parse(&files::read(&file(directory)).unwrap_or_default()).unwrap_or_default()
}

/// Remembers this, whole or not at all.
pub(super) fn write(directory: &Path, kept: &Kept) -> io::Result<()> {
    files::write(&file(directory), words(kept))
}

fn words(kept: &Kept) -> String {
    let word = MEMORIES.iter().find(|(known, _)| *known == kept.memory).map_or("", |(_, word)| word);
    let mut lines = vec![word.to_owned()];
    if let Some(Window { since, deadline, held, forced }) = kept.window {
        let held = held.map(|held| format!(" held {}", held.as_secs())).unwrap_or_default();
        let forced = if forced { " forced" } else { "" };
        lines.push(format!("drain {} {}{held}{forced}", since.as_secs(), deadline.as_secs()));
    }
    let overruled = REASONS.iter().filter(|(why, _)| kept.overruled.contains(why));
    let overruled: String = overruled.map(|(_, word)| format!(" {word}")).collect();
    if !overruled.is_empty() {
        lines.push(format!("overruled{overruled}"));
    }
    if kept.joined {
        lines.push("entered".to_owned());
    }
    lines.join("\n") + "\n"
}

fn parse(text: &str) -> Option<Kept> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut kept = match lines.next()?.as_slice() {
        [word] => Kept::from(memory(word)?),
        [word, since, deadline] => {
            let window = window(&[since, deadline])?;
            Kept { window: Some(window), joined: true, ..Kept::from(memory(word)?) }
        }
        _ => return None,
    };
    for line in lines {
        match line.split_first()? {
            (&"drain", times) => kept.window = Some(window(times)?),
            (&"overruled", words) => {
                let reason = |word: &&str| REASONS.iter().find(|(_, known)| known == word);
                let reasons = words.iter().map(|word| reason(word).map(|(why, _)| *why));
                kept.overruled = reasons.collect::<Option<BTreeSet<Rest>>>()?;
            }
            (&"entered", []) => kept.joined = true,
            _ => return None,
        }
    }
    Some(kept)
}

fn memory(word: &str) -> Option<Memory> {
    MEMORIES.iter().find(|(_, known)| *known == word).map(|(memory, _)| *memory)
}

/// Reads `SINCE DEADLINE [held SINCE] [forced]`.
fn window(words: &[&str]) -> Option<Window> {
    let (times, forced) = match words {
        [times @ .., "forced"] => (times, true),
        times => (times, false),
    };
    let (since, deadline, held) = match times {
        [since, deadline] => (since, deadline, None),
        [since, deadline, "held", held] => (since, deadline, Some(seconds(held)?)),
        _ => return None,
    };
    Some(Window { since: seconds(since)?, deadline: seconds(deadline)?, held, forced })
}

/// Reads a time. One of more than a century was not written by this service, and would overflow in a sum.
fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(|seconds: u32| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), Kept::default());
        let drain = Window { since: 7 * SECOND, deadline: 21_607 * SECOND, held: None, forced: false };
        let windows = [
            None,
            Some(drain),
            Some(Window { held: Some(9 * SECOND), ..drain }),
            Some(Window { forced: true, ..drain }),
            Some(Window { held: Some(9 * SECOND), forced: true, ..drain }),
        ];
        for (memory, _) in MEMORIES {
            for window in windows {
                for joined in [false, true] {
                    for count in 0..=REASONS.len() {
                        let overruled = REASONS.iter().take(count).map(|(why, _)| *why).collect();
                        let kept = Kept { memory, window, overruled, joined };
                        write(directory.path(), &kept).unwrap();
                        assert_eq!(read(directory.path()), kept);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_else_is_believed() {
        for text in [
            "",
            "joi",
            "joined out",
            "drain 1",
            "drain 1 x",
            "drain 1 2 3",
            "drain 1 99999999999",
            "joined\ndrain 1 2 held",
            "joined\noverruled everything",
            "joined\n\n",
            "joined\nentered twice",
            "\0",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_drain_in_the_form_of_version_0_1_goes_on() {
        let kept = parse("drain 7 21607\n").unwrap();
        assert_eq!(kept.memory, Memory::Drain);
        assert_eq!(kept.window.map(|window| window.deadline), Some(21_607 * SECOND));
    }
}
