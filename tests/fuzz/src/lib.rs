//! Coverage-guided fuzzing of all code in the agents that reads data of others.
//!
//! A *target* reads arbitrary bytes as one kind of outside data and asserts what has to hold for any bytes: not only
//! that nothing panics, but also what an answer may do to the host. The corpus of a target, in `corpus/<target>`, has
//! real answers, and inputs that were once findings. `tests/fuzz/run` lets libFuzzer look for new ones; `cargo test`
//! replays the corpora.

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

/// A check that has to hold for any input.
pub type Check = fn(&[u8]);

/// One kind of outside data.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The target's name, on the command line and as the directory of its corpus.
    pub name: &'static str,
    /// The check of an input.
    pub check: Check,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("bbb-addresses", bbb::addresses),
    target("bbb-checksums", bbb::checksums),
    target("bbb-meetings", bbb::meetings),
    target("bbb-properties", bbb::property_file),
    target("bbb-version", bbb::version),
    target("certificate", local::certificate_end),
    target("certificate-bundle", local::certificate_bundle),
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
    target("udp-sockets", local::udp_sockets),
    target("url", local::url),
];

const fn target(name: &'static str, check: Check) -> Target {
    Target { name, check }
}

/// Returns the input as text; inputs that are not UTF-8 are skipped where the agents also refuse them before parsing.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// A stand-in for a secret in a document.
const MARK: &str = "MARKED-e5a1c09d";

/// Replaces each `$` of the input by [`MARK`], so that the corpora and libFuzzer's mutations can put it anywhere.
fn marked(input: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = input.split(|byte| *byte == b'$').collect();
    pieces.join(MARK.as_bytes())
}

/// Checks a text for a terminal or a log: it has no control characters.
fn check_shown(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// Checks an error message: no control characters, a bounded length, and no secret from the input.
fn check_error(text: &str) {
    check_shown(text);
    assert!(text.chars().count() < 1500, "{text:?}");
    assert!(!text.contains(MARK), "{text:?}");
}

/// Returns the result of a future that has all its data at hand and therefore never waits.
fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits for more than the input"),
    }
}
