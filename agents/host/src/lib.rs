//! Everything in the fleet agents that touches the world: clients for IMDSv2, DNS, AWS, Scalelite and BBB, the config,
//! the command line's shared parts, execution and reports. What to do is decided in the crate `plan`.

pub mod agent;
pub mod autoscaling;
pub mod aws;
pub mod bbb;
pub mod certificate;
pub mod cli;
pub mod cloudwatch;
pub mod commands;
pub mod config;
pub mod control;
pub mod coturn;
pub mod ec2;
pub mod execute;
pub mod http;
pub mod identity;
pub mod imds;
pub mod interrupt;
pub mod log;
pub mod names;
pub mod naming;
pub mod pace;
pub mod pool;
pub mod process;
pub mod recordings;
pub mod report;
pub mod resolver;
pub mod route53;
pub mod scalelite;
pub mod secrets;
pub mod service;
pub mod session;
pub mod sweep;
pub mod systemd;
