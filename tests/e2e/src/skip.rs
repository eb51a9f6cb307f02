//! Tests that cannot run where they are. The harness counts them as passed, so they say so themselves.

use std::fs::File;
use std::io::Write;

tokio::task_local! {
    /// The test that a row of a table belongs to.
    static TEST: String;
}

/// Says on standard error, which the harness does not capture, why this test does not run. `tests/run` collects the same line in
/// the file that `SKIPPED_TESTS` names, for its summary.
pub fn skipped(why: &str) {
    let line = format!("skipped: {}: {why}\n", test());
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("SKIPPED_TESTS") {
        // In one piece: other tests append theirs at the same time.
        let file = File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("SKIPPED_TESTS");
    }
}

/// A row of a table, which runs in a thread of its own, with the name of the test that it belongs to.
pub(crate) fn named<F: Future>(row: F) -> impl Future<Output = F::Output> {
    TEST.scope(test(), row)
}

/// The test that runs here and the program that it is in. The harness names a test's thread after it.
fn test() -> String {
    if let Ok(test) = TEST.try_with(String::clone) {
        return test;
    }
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    let thread = std::thread::current();
    // Cargo appends a hash.
    let program = program.rsplit_once('-').map_or(&*program, |(program, _)| program);
    format!("{program} {}", thread.name().unwrap_or_default())
}
