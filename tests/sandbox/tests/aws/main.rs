//! The AWS services behind their front, over real sockets with real signatures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod autoscaling;
mod client;
mod cloudwatch;
mod ec2;
mod front;
mod s3;
mod secrets;
