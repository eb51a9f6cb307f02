//! The real binaries against the embedded cloud, over TLS: what they do, what that costs, how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod check;
mod config;
mod control;
mod deregister;
mod dns;
mod faults;
mod identity;
mod logs;
mod pool;
mod register;
mod signals;
mod status;
mod sweep;
mod turn;
