//! The pure parts of the benchmark, and those that it shares with its small helpers.
//!
//! `bench` starts the embedded cloud, runs a command of an agent once and records its requests, writes the same
//! requests in the same order into a [`script::Script`], and then measures in turn the agent and the helper `floor`,
//! which replays the script. The helper `measure` runs each of them and has to be small: the kernel counts the memory
//! that a process had before it started a child as that child's peak. The helper `poll` is the floor of the service.
//!
//! The result is a list of [`figures::Figure`]s; [`kept`] compares them with those of another day.
//!
//! [`storm`] lets many hosts boot at once: the program behind `tests/storm`, whose figures are among the benchmark's.

pub mod arguments;
pub mod figures;
pub mod kept;
pub mod measure;
pub mod script;
pub mod storm;
