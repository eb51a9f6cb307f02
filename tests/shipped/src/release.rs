//! packaging/release with stand-ins of the steps: which of them run, what the notes have of it, how it ends.

use std::path::Path;
use std::process::{Command, Output};

use sandbox::binaries;
use tempfile::TempDir;

use crate::{read, root};

/// A checkout with one commit, whose steps all pass.
struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        let here = checkout.0.path();
        for directory in ["packaging", "tests/boot"] {
            std::fs::create_dir_all(here.join(directory)).unwrap();
        }
        std::fs::copy(root().join("packaging/release"), here.join("packaging/release")).unwrap();
        std::fs::write(here.join("Cargo.toml"), "[workspace.package]\nversion = \"1.2.3\"\n").unwrap();
        std::fs::write(here.join(".gitignore"), "/target\n").unwrap();
        for (step, says) in [
            ("tests/run", "tests/run: all 17 steps passed, 0 steps and tests skipped (1800 s)"),
            ("tests/fresh", "tests/fresh: tests/run: passed (1900) s"),
            ("tests/boot/run", "boot: all 21 scenarios passed (300 s)"),
            ("tests/arm64", "tests/arm64: the story passed with the arm64 binaries (5 s)"),
            ("packaging/reproduce", "packaging/reproduce: two builds of abc are the same"),
            (
                "tests/storm",
                "  until the last is registered        101.4 s   at most 110 s\n  the name of nothing   1",
            ),
            ("tests/simulate", "simulate: 61 of 61 mutants are caught"),
            ("tests/benchmark", "0 figures are worse than they should be, compared with 2026-11-23.toml"),
        ] {
            checkout.step(step, says, 0);
        }
        checkout.git(&["init", "--quiet"]);
        checkout.commit();
        checkout
    }

    /// Lets a step print this beside its arguments, and end with this code.
    fn step(&self, path: &str, says: &str, code: i32) {
        let text = format!("#!/bin/sh\necho \"arguments: $*\"\ncat <<'EOF'\n{says}\nEOF\nexit {code}\n");
        binaries::script(&self.0.path().join(path), &text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]).args(arguments);
        let output = git.current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "all"]);
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(self.0.path().join("packaging/release"));
        let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
        let said = [stdout, stderr].concat();
        (status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn read(&self, path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.0.path().join("target/release").join(path)).unwrap()
    }

    /// The row of a step in the notes.
    fn row(&self, step: &str) -> String {
        let notes = self.read("notes.md");
        let begin = format!("| {step}: ");
        notes
            .lines()
            .find(|line| line.starts_with(&begin))
            .unwrap_or_else(|| panic!("{step}: {notes}"))
            .to_owned()
    }
}

/// The steps that the real script has.
fn steps() -> Vec<(String, String)> {
    let output = Command::new(root().join("packaging/release")).arg("--list").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let listed = String::from_utf8(output.stdout).unwrap();
    let rows = listed.lines().map(|line| line.split_once(' ').unwrap());
    rows.map(|(name, command)| (name.to_owned(), command.trim().to_owned())).collect()
}

#[test]
fn every_step_is_a_program_of_the_checkout() {
    let steps = steps();
    assert_eq!(steps.len(), 10);
    for (name, command) in steps {
        let program = root().join(command.split(' ').next().unwrap());
        assert!(program.is_file(), "{name}: {command}");
    }
}

#[test]
fn all_steps_run_and_the_notes_have_their_figures() {
    let checkout = Checkout::new();
    let (code, said) = checkout.run(&[]);
    assert_eq!(code, 0, "{said}");
    let notes = checkout.read("notes.md");
    assert!(notes.starts_with("Checked: version 1.2.3, commit "), "{notes}");
    for (name, command) in steps() {
        let row = checkout.row(&name);
        assert!(row.starts_with(&format!("| {name}: `{command}` | passed | ")), "{row}");
        let arguments = command.split_once(' ').map_or("", |(_, arguments)| arguments);
        let log = checkout.read(format!("{name}.log"));
        assert!(log.starts_with(&format!("arguments: {arguments}\n")), "{log}");
    }
    assert!(checkout.row("mutants").contains("| simulate: 61 of 61 mutants are caught |"), "{notes}");
    let storm = checkout.row("storm");
    assert!(storm.contains("| until the last is registered 101.4 s at most 110 s |"), "{storm}");
}

#[test]
fn a_step_that_fails_or_cannot_run_is_named() {
    let checkout = Checkout::new();
    checkout.step("tests/arm64", "tests/arm64: skipped: not root", 77);
    checkout.commit();
    let (code, said) = checkout.run(&["arm64", "mutants"]);
    assert_eq!(code, 77, "{said}");
    assert!(said.contains("these cannot run here, the others passed: arm64"), "{said}");
    assert!(checkout.row("arm64").contains("| **cannot run here** | not root |"), "{said}");

    checkout.step("tests/simulate", "one  SURVIVED | a\nsimulate: 60 of 61 mutants are caught", 1);
    checkout.commit();
    let (code, said) = checkout.run(&["arm64", "mutants", "storm"]);
    assert_eq!(code, 1, "a failure is more than what cannot run: {said}");
    assert!(said.contains("FAILED: mutants"), "{said}");
    assert!(
        checkout.row("mutants").contains("| **failed** (1) | simulate: 60 of 61 mutants are caught |"),
        "{said}"
    );
    assert!(checkout.row("storm").contains("| passed |"), "what follows has run: {said}");
    // One that ends without a word of its own.
    checkout.step("packaging/reproduce", "the disk | is full", 2);
    assert_eq!(checkout.run(&["reproducible"]).0, 1);
    assert!(checkout.row("reproducible").contains("| **failed** (2) | the disk \\| is full |"));
}

#[test]
fn the_steps_may_run_one_by_one_but_of_one_commit() {
    let checkout = Checkout::new();
    assert_eq!(checkout.run(&["storm"]).0, 0);
    assert!(checkout.row("fresh").contains("| not run |"));
    assert_eq!(checkout.run(&["fresh"]).0, 0);
    assert!(checkout.row("storm").contains("| passed |") && checkout.row("fresh").contains("| passed |"));
    // What is not committed, too, is something else than what has been checked.
    std::fs::write(checkout.0.path().join("Cargo.toml"), "[workspace.package]\nversion = \"1.2.4\"\n")
        .unwrap();
    assert_eq!(checkout.run(&["fresh"]).0, 0);
    assert!(checkout.row("storm").contains("| not run |"));
    assert!(checkout.read("notes.md").contains("-dirty,"));

    let (code, said) = checkout.run(&["fresh", "nothing"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("nothing is no step") && !said.contains("fresh: tests/fresh"), "{said}");
    assert_eq!(checkout.run(&["--nothing"]).0, 2);
}

/// What packaging/deb makes of a packaging/security-contact: the Maintainer, or its complaint.
fn maintainer(contact: &str) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("packaging")).unwrap();
    std::fs::write(directory.path().join("packaging/security-contact"), contact).unwrap();
    let script = read("packaging/deb");
    let function = |name: &str| {
        let (_, rest) = script.split_once(&format!("\n{name}() {{\n")).expect(name);
        format!("{name}() {{\n{}\n}}\n", rest.split_once("\n}\n").expect("its end").0)
    };
    let text = format!(
        "set -euo pipefail\nroot='{}'\n{}{}find_maintainer\necho \"$maintainer\"",
        directory.path().display(),
        function("fail"),
        function("find_maintainer")
    );
    let Output { status, stdout, stderr } = Command::new("bash").args(["-c", &text]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

#[test]
fn who_is_told_of_vulnerabilities_is_the_maintainer() {
    let shipped = read("packaging/security-contact");
    let own = maintainer(&format!("{shipped}Ada of BBB <ada@example.net>\n"));
    assert_eq!(own.unwrap(), "Ada of BBB <ada@example.net>");
    // As it is shipped nobody is named: then the packages are for tests.
    assert_eq!(maintainer(&shipped).unwrap(), "bbb-agents authors <bbb-agents@example.org>");
    for wrong in
        ["Ada", "ada@example.net", "Ada <ada>", "Ada <a@b> and more", "A <a@b.c>\nB <b@b.c>", "<a@b.c>"]
    {
        let complaint = maintainer(&format!("# a comment\n{wrong}\n")).unwrap_err();
        assert!(complaint.contains("is not one line of the form NAME <ADDRESS>"), "{wrong}: {complaint}");
    }
}
