//! The real binaries against the embedded cloud, over TLS: what they do, what that costs, how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod check;
mod clocks;
mod config;
mod control;
mod coturn;
mod credentials;
mod deregister;
mod dns;
mod empty_root;
mod faults;
mod fleet;
mod generated;
mod identity;
mod jail;
mod leaks;
mod logs;
mod names;
mod pool;
mod reader;
mod register;
mod resolved;
mod secrets;
mod shared;
mod signals;
mod status;
mod sweep;
mod trips;
mod turn;
mod zone_role;
