//! The documents say what the program does: tables, exit codes, JSON fields.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::{read, root, said};

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

#[test]
fn the_readme_has_every_exit_code_of_the_help() {
    let readme = read("README.md").replace('`', "");
    let help = said("bbb-agent", &["--help"]);
    let (_, listed) = help.split_once("\nExit codes:\n").unwrap();
    // A meaning that is longer than a line goes on in the next one, which begins with no code.
    let listed = listed.replace("\n  ", "\r").replace('\n', " ");
    let codes: Vec<(&str, &str)> = listed.split('\r').filter_map(|row| row.trim().split_once("  ")).collect();
    assert_eq!(codes.len(), 11, "{help}");
    for (code, meaning) in codes {
        let row = format!("| {code} | {}", meaning.trim());
        assert!(readme.contains(&row), "README.md lacks {row}");
    }
}
