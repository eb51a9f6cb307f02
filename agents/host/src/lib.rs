//! Everything in the fleet agents that touches the world: clients for IMDSv2, DNS, AWS, Scalelite and BBB, the config,
//! the command line's shared parts, execution and reports. What to do is decided in the crate `plan`.

pub mod agent;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod dns;
pub mod execute;
pub mod identity;
pub mod interrupt;
pub mod log;
pub mod membership;
pub mod process;
pub mod report;
pub mod retry;
pub mod service;
pub mod session;
pub mod startup;
pub mod sweep;
