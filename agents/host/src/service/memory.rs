//! What the service remembers of this boot: one word in a file that a boot removes, because its directory is in /run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use plan::lifecycle::Memory;

const WORDS: [(Memory, &str); 4] =
    [(Memory::Fresh, "fresh"), (Memory::Joined, "joined"), (Memory::Drain, "drain"), (Memory::Out, "out")];

fn file(directory: &Path) -> PathBuf {
    directory.join("memory")
}

/// What was remembered; nothing where no file is, or one that says something else.
pub(super) fn read(directory: &Path) -> Memory {
    let text = fs::read_to_string(file(directory)).unwrap_or_default();
    WORDS.iter().find(|(_, word)| *word == text.trim()).map(|(memory, _)| *memory).unwrap_or_default()
}

/// Remembers this, whole or not at all.
pub(super) fn write(directory: &Path, memory: Memory) -> io::Result<()> {
    let word = WORDS.iter().find(|(known, _)| *known == memory).map_or("", |(_, word)| word);
    let (new, file) = (directory.join("memory.new"), file(directory));
    fs::write(&new, format!("{word}\n"))?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is_believed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), Memory::Fresh);
        for (memory, _) in WORDS {
            write(directory.path(), memory).unwrap();
            assert_eq!(read(directory.path()), memory);
        }
        for text in ["", "joi", "joined out", "\0"] {
            fs::write(file(directory.path()), text).unwrap();
            assert_eq!(read(directory.path()), Memory::Fresh, "{text:?}");
        }
    }
}
