//! The loops of one host: the configuration, the service, the commands and their shared parts of the command line,
//! execution and reports. The crate `plan` decides; the crate `clients` talks to the outside.

pub mod agent;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod dns;
pub mod execute;
mod files;
mod hooks;
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
pub mod succession;
pub mod sweep;
pub mod terminal;
pub mod work;
