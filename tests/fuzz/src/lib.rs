//! Coverage-guided fuzzing of everything in the agents that reads what others have written.
//!
//! A *target* reads arbitrary bytes as one kind of outside data and asserts what has to hold whatever they are: not only
//! that nothing panics, but what an answer may make of the host. Each has a corpus of real answers, and of inputs that once
//! were findings, in `corpus/<target>`. `tests/fuzz/run` lets libFuzzer look for further ones; `cargo test` replays the corpora.

mod bbb;
mod config;
mod control;
mod imds;
mod local;
mod names;
mod scalelite;
mod secrets;
mod zone;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Asserts what has to hold for any input.
pub type Check = fn(&[u8]);

/// One kind of outside data.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, on the command line and as the directory of its corpus.
    pub name: &'static str,
    /// What has to hold.
    pub check: Check,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("bbb-checksums", bbb::checksums),
    target("bbb-meetings", bbb::meetings),
    target("bbb-properties", bbb::property_file),
    target("bbb-version", bbb::version),
    target("certificate", local::certificate_end),
    target("config-file", config::file),
    target("config-overrides", config::overrides),
    target("config-secret", config::secret),
    target("control-reply", control::reply),
    target("control-request", control::request),
    target("dns", zone::dns),
    target("host-name", names::host_name),
    target("imds-credentials", imds::credentials),
    target("imds-identity", imds::identity),
    target("imds-notices", imds::notices),
    target("imds-values", imds::values),
    target("ownership", names::ownership),
    target("redis", local::redis_answers),
    target("route53-refusal", zone::refused_batch),
    target("scalelite-done", scalelite::done),
    target("scalelite-listing", scalelite::listing),
    target("scalelite-server", scalelite::server),
    target("secret-json", secrets::json),
    target("secret-reference", secrets::reference),
    target("stun", local::stun_answers),
    target("systemd-jobs", local::systemd_jobs),
    target("txt", names::txt),
    target("url", local::url),
];

const fn target(name: &'static str, check: Check) -> Target {
    Target { name, check }
}

/// The input as text. What is no UTF-8 stays out where the agents too would refuse it before the parser sees it.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// Stands for a secret in a document.
const MARK: &str = "MARKED-e5a1c09d";

/// The input with [`MARK`] wherever it has a `$`: so the corpora and libFuzzer's changes put it anywhere.
fn marked(input: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = input.split(|byte| *byte == b'$').collect();
    pieces.join(MARK.as_bytes())
}

/// A text for a person's terminal or log: a line that ends, without control characters.
fn check_shown(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// An error for a person: such a text, not endless, and without the secret that the input held.
fn check_error(text: &str) {
    check_shown(text);
    assert!(text.chars().count() < 1500, "{text:?}");
    assert!(!text.contains(MARK), "{text:?}");
}

/// The result of something that has all that it reads at hand, so that it never waits.
fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits for more than the input"),
    }
}
