//! The contract of Scalelite's management API: requests and answers as they were recorded from Scalelite 1.8.5, and
//! the comparison of a running Scalelite with them.
//!
//! A row is one request. `$ID` is the entry that the row before has added, or the plain one that was added before the
//! row; `$URL` and `$SECRET` are its URL and its secret. An answer is one of these:
//!
//! | answer | meaning |
//! |---|---|
//! | `server {...}` | one entry as JSON, with all keys, and with these values |
//! | `servers` | a list of such entries, the own one among them |
//! | `success` | `{"success": ...}` |
//! | `error TEXT` | `{"error": TEXT}` |
//! | `refused KEY` | XML with `FAILED` and this `messageKey` |
//! | `uncaught` | Rails' JSON for an error that Scalelite did not catch |
//! | `blank` | an empty page |
//!
//! What needs a Scalelite of one's own is not here, but in the sandbox's tests: Redis down, proxies, meetings, the
//! poller, calls in parallel.
//!
//! # The table
#![doc = include_str!("table.md")]

mod entries;
mod replay;
mod report;
mod row;
mod shape;
mod target;

pub use replay::replay;
pub use report::{Report, Verdict};
pub use row::{Row, rows};
pub use target::{Problem, Target};

/// The host in the URL of every entry that is added, which can be no host of a pool (RFC 2606).
pub const HOST: &str = "contract-test.invalid";
/// The URL of the entries, unless a row has another one.
pub const URL: &str = "https://contract-test.invalid/bigbluebutton/api";
/// Their secret.
pub const SECRET: &str = "contract-test.invalid";
