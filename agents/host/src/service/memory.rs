//! The memory of this boot: a few words in a file that a boot removes, because its directory is in /run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::lifecycle::{Memory, Window};

const WORDS: [(Memory, &str); 6] = [
    (Memory::Fresh, "fresh"),
    (Memory::Joining, "joining"),
    (Memory::Joined, "joined"),
    (Memory::Cordoned, "cordoned"),
    (Memory::Drain, "drain"),
    (Memory::Unregistered, "out"),
];

fn file(directory: &Path) -> PathBuf {
    directory.join("memory")
}

/// Reads the memory; there is none without a file, or with one that says something else.
pub(super) fn read(directory: &Path) -> (Memory, Option<Window>) {
    parse(&fs::read_to_string(file(directory)).unwrap_or_default()).unwrap_or_default()
}

/// Remembers this, whole or not at all.
pub(super) fn write(directory: &Path, memory: Memory, window: Option<Window>) -> io::Result<()> {
    let word = WORDS.iter().find(|(known, _)| *known == memory).map_or("", |(_, word)| word);
    let window =
        window.map(|Window { since, deadline }| format!(" {} {}", since.as_secs(), deadline.as_secs()));
    let (new, file) = (directory.join("memory.new"), file(directory));
    fs::write(&new, format!("{word}{}\n", window.unwrap_or_default()))?;
    fs::rename(new, file)
}

/// Reads `WORD`, or `WORD SINCE DEADLINE` with seconds since the boot.
fn parse(text: &str) -> Option<(Memory, Option<Window>)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    // A time of more than a century was not written by this service, and would overflow in a sum.
    let seconds = |text: &str| text.parse().ok().map(|seconds: u32| Duration::from_secs(seconds.into()));
    let (word, window) = match words.as_slice() {
        [word] => (word, None),
        [word, since, deadline] => {
            (word, Some(Window { since: seconds(since)?, deadline: seconds(deadline)? }))
        }
        _ => return None,
    };
    WORDS.iter().find(|(_, known)| known == word).map(|(memory, _)| (*memory, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is_believed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), (Memory::Fresh, None));
        let drain = Window { since: Duration::from_secs(7), deadline: Duration::from_secs(21_607) };
        for (memory, _) in WORDS {
            for window in [None, Some(drain)] {
                write(directory.path(), memory, window).unwrap();
                assert_eq!(read(directory.path()), (memory, window));
            }
        }
        for text in
            ["", "joi", "joined out", "drain 1", "drain 1 x", "drain 1 2 3", "drain 1 99999999999", "\0"]
        {
            fs::write(file(directory.path()), text).unwrap();
            assert_eq!(read(directory.path()), (Memory::Fresh, None), "{text:?}");
        }
    }
}
