//! What the benchmark and its small helpers share, and what is pure in it.
//!
//! `bench` starts the embedded cloud, lets an agent do a command once and keeps what it asked of whom, writes the same
//! requests in the same order into a [`script::Script`], and then measures the agent and the helper `floor`, which
//! replays the script, in turn. The helper `measure` runs each of them, because the kernel counts what a process had in
//! memory before it started a child as that child's peak: so the parent has to be small. The helper `poll` is the floor of
//! the service.
//!
//! What comes out is a list of [`figures::Figure`]s; [`kept`] compares them with those of another day.
//!
//! [`storm`] lets many hosts boot at once: the program behind `tests/storm`, whose figures are among those of the benchmark.

pub mod arguments;
pub mod figures;
pub mod kept;
pub mod measure;
pub mod script;
pub mod storm;
