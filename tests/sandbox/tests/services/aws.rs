//! The AWS services behind their front, over real sockets with real signatures.

mod autoscaling;
mod client;
mod cloudformation;
mod cloudwatch;
mod ec2;
mod front;
mod s3;
mod secrets;
mod sts;
