//! The service, as systemd starts it: the real binary's `run` against the embedded cloud.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod by_hand;
mod collisions;
mod crashes;
mod draining;
mod joining;
mod logs;
mod metrics;
mod protection;
mod spot;
mod staying;
mod stopping;
