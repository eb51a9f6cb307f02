//! An embedded cloud for the fleet agents: IMDSv2, Route 53 with its authoritative DNS, EC2, Auto Scaling, CloudWatch,
//! Secrets Manager, Scalelite and a BBB host, in one process on loopback. It refuses whatever the real services refuse.

pub mod faults;
pub mod http;
pub mod journal;
pub mod tls;
