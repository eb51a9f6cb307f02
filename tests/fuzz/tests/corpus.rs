//! Replays every target's corpus: real answers, and inputs that were once findings.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Returns the names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    targets.sort_unstable();
    assert_eq!(names(&corpus()), targets);
}

#[test]
fn what_holds_for_any_input_holds_for_the_corpora() {
    for target in TARGETS {
        let directory = corpus().join(target.name);
        let inputs = names(&directory);
        assert!(inputs.len() > 1, "{}: a corpus is more than one input", target.name);
        for input in inputs {
            let bytes = fs::read(directory.join(&input)).unwrap();
            let passed = std::panic::catch_unwind(|| (target.check)(&bytes)).is_ok();
            assert!(passed, "{}: corpus/{}/{input}", target.name, target.name);
        }
    }
}
