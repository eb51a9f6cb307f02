//! The documents say what the program does: tables and diagrams.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
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

/// `joining` of `joining, named` and `resting` of `resting: somebody`.
fn state(cell: &str) -> &str {
    cell.trim().split([',', ':', ' ']).next().unwrap()
}

#[test]
fn the_diagram_shows_the_transitions_of_the_table() {
    let table = read("agents/plan/src/tables/lifecycle.md");
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::to_owned).collect::<Vec<_>>();
    let rows = table.lines().skip(2).map(|line| {
        let cells = cells(line);
        (state(&cells[0]).to_owned(), state(&cells[2]).to_owned())
    });
    let mut expected: BTreeSet<(String, String)> = rows.filter(|(from, to)| from != to).collect();
    let stops = read("agents/plan/src/tables/stop.md");
    let stopped = stops.lines().skip(2).map(cells).filter(|cells| cells[3].trim() != "nothing");
    expected.extend(stopped.map(|cells| (state(&cells[0]).to_owned(), "stopping".to_owned())));
    let architecture = read("ARCHITECTURE.md");
    let diagram = architecture.split("stateDiagram-v2").nth(1).unwrap().split("```").next().unwrap();
    let drawn =
        diagram.lines().filter(|line| !line.contains("[*]")).filter_map(|line| line.split_once(" --> "));
    let drawn: BTreeSet<(String, String)> =
        drawn.map(|(from, to)| (state(from).to_owned(), state(to).to_owned())).collect();
    assert_eq!(drawn, expected);
}
