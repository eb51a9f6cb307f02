//! An embedded cloud for the fleet agents: IMDSv2, Route 53 with its authoritative DNS, EC2, Auto Scaling, CloudWatch,
//! Secrets Manager, STS, S3, CloudFormation, Scalelite and a BBB host, in one process on loopback. It refuses whatever the
//! real services refuse.

pub mod agent;
pub mod autoscaling;
pub mod aws;
pub mod bbb;
pub mod binaries;
pub mod clock;
pub mod cloud;
pub mod cloudformation;
pub mod cloudwatch;
pub mod control;
pub mod dns;
pub mod ec2;
pub mod faults;
pub mod fleet;
pub mod http;
pub mod imds;
pub mod journal;
mod patience;
pub mod recordings;
pub mod redis;
pub mod route53;
pub mod s3;
pub mod scalelite;
pub mod secrets;
pub mod sts;
pub mod tls;
mod xml;
