//! The documents say what the program does: tables, exit codes, JSON fields.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_architecture_shows_every_truth_table() {
    let architecture = read("ARCHITECTURE.md");
    let tables: Vec<PathBuf> = std::fs::read_dir(root().join("agents/plan/src/tables"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(tables.len() >= 6, "{tables:?}");
    for table in tables {
        assert!(architecture.contains(read(&table).trim()), "ARCHITECTURE.md lacks {}", table.display());
    }
}

#[test]
fn the_readme_has_every_exit_code_of_the_help() {
    let readme = read("README.md").replace('`', "");
    let codes: Vec<(&str, &str)> =
        host::report::EXIT_CODES.lines().skip(1).filter_map(|line| line.trim().split_once("  ")).collect();
    assert_eq!(codes.len(), 11);
    for (code, meaning) in codes {
        let row = format!("| {code} | {}", meaning.trim());
        assert!(readme.contains(&row), "README.md lacks {row}");
    }
}
