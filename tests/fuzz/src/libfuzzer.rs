//! The program that libFuzzer drives: one target, named by `FUZZ_TARGET`. `tests/fuzz/run` builds and runs it.

#![no_main]

use std::sync::LazyLock;

/// The target of this process.
static CHECK: LazyLock<fuzz::Check> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = fuzz::TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, which is no target")).check
});

/// Runs the target on one input, called by libFuzzer. A panic aborts, which libFuzzer reports as a finding.
///
/// # Safety
/// `data` must point to `length` bytes that do not change during the call; libFuzzer guarantees that.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, length: usize) -> i32 {
    // A slice's pointer must not be null even when it is empty, which C does not require.
    let input = if length == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(data, length) } };
    CHECK(input);
    0
}
