//! The program that libFuzzer drives: one target, named by `FUZZ_TARGET`. Built and run by `tests/fuzz/run`.

#![no_main]

use std::sync::LazyLock;

/// The target of this process.
static CHECK: LazyLock<fuzz::Check> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = fuzz::TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, which is no target")).check
});

/// What libFuzzer calls with each input. A panic aborts, which libFuzzer takes for a finding.
///
/// # Safety
/// `data` is the beginning of `length` bytes that nobody changes meanwhile; libFuzzer sees to that.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, length: usize) -> i32 {
    // A slice begins somewhere even when it is empty, which C does not ask for.
    let input = if length == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(data, length) } };
    CHECK(input);
    0
}
