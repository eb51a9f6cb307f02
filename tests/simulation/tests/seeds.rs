//! Seeds for every run of the tests, and proof that a green run means something.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use simulation::{MUTANTS, run, run_many};

/// The number of seeds in every run of the tests; `tests/simulate --seeds` takes any number.
const SEEDS: u64 = 2000;

#[test]
fn a_fleet_survives_whatever_happens() {
    let report = run_many(0, SEEDS);
    println!("{report}");
    assert!(report.failed.is_empty(), "{report}");
    // The seeds were not idle.
    assert_eq!(report.seeds, SEEDS);
    assert!(report.hosts > 3 * SEEDS && report.changes > 5 * SEEDS && report.writes > 15 * SEEDS, "{report}");
}

#[test]
fn a_seed_is_the_same_story_every_time() {
    for seed in [0, 1, 7, 4242] {
        let (once, again) = (run(seed, true).unwrap(), run(seed, true).unwrap());
        let differs = once.trace.iter().zip(&again.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(once.trace.len(), again.trace.len(), "seed {seed}");
        assert!(once.trace.len() > 100, "seed {seed}: {:?}", once.trace);
    }
}

/// `tests/simulate --mutants` shows that each mutant is caught, which takes some minutes; this test shows that each
/// still applies.
#[test]
fn every_mutant_finds_its_place() {
    assert!(MUTANTS.len() >= 10);
    for mutant in MUTANTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents").join(mutant.file);
        let source = std::fs::read_to_string(&path).unwrap();
        assert_eq!(source.matches(mutant.from).count(), 1, "{}: {}", mutant.file, mutant.name);
        assert_ne!(mutant.from, mutant.to, "{}", mutant.name);
    }
}
