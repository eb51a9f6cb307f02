//! The clients against the embedded cloud and against answers that no service should give, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod autoscaling;
mod aws;
mod bbb;
mod cloudwatch;
mod dns;
mod ec2;
mod http;
mod imds;
mod local;
mod meetings;
mod partitions;
mod recordings;
mod route53;
mod scalelite;
mod secrets;
mod served;
mod sockets;
mod systemd;
