//! The service, as systemd starts it: the real binary's `run` against the embedded cloud.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod addresses;
mod by_hand;
mod certificate;
mod collisions;
mod cordoned;
mod counting;
mod crashes;
mod draining;
mod image;
mod joining;
mod journal;
mod launching;
mod logs;
mod metrics;
mod open_relay;
mod prometheus;
mod protection;
mod relays;
mod reload;
mod restarts;
mod scalelite;
mod shared;
mod spool;
mod spot;
mod staying;
mod stopping;
mod succession;
mod turn_address;
mod turn_servers;
mod unknown;
mod unread;
mod unseen;
mod waiting;
