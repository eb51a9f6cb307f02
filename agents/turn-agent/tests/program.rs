//! The program starts. Having a test here also makes `cargo test` build it, with the same features as everything else.

use std::process::Command;

#[test]
fn it_tells_its_version_and_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_turn-agent")).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.starts_with(concat!("turn-agent ", env!("CARGO_PKG_VERSION"), " (commit ")), "{text}");
}
