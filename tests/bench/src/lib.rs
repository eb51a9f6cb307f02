//! What the benchmark and its two small helpers share.
//!
//! `bench` starts the embedded cloud, lets an agent do a command once and notes what it asked of whom, writes the same
//! requests in the same order into a [`script::Script`], and then measures the agent and the helper `floor`, which
//! replays the script, in turn. The helper `measure` runs each of them, because the kernel counts what a process had in
//! memory before it started a child as that child's peak: so the parent has to be small.

pub mod measure;
pub mod script;
