//! What is shipped beside the binaries, and fits them: documents, configuration files, units, policies, templates, the
//! installer and the program that publishes releases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod documents;
mod files;
mod install;
mod policies;
mod prometheus;
mod publish;
mod relay;
mod release;
mod s3;
mod sites;
mod templates;
mod userdata;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the checkout.
fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A program that `tests/prepare` has installed.
fn tool(name: &str) -> PathBuf {
    let path = root().join("target/tools/bin").join(name);
    assert!(path.is_file(), "{name} is not in target/tools: run tests/prepare test");
    path
}

/// An agent on a machine without anything: no settings, and a metadata service that refuses connections.
fn command(agent: &str) -> Command {
    let mut command = Command::new(sandbox::binaries::path(agent).expect("the agent"));
    // Port 9 of loopback discards; nothing listens there, and nothing is allowed to by chance.
    command.env_clear().env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
    command
}

fn run(agent: &str, arguments: &[&str]) -> Output {
    command(agent).args(arguments).output().expect("the agent runs")
}

/// What an agent prints, which must succeed.
fn said(agent: &str, arguments: &[&str]) -> String {
    let output = run(agent, arguments);
    assert!(output.status.success(), "{agent} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}
