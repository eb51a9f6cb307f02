//! The stand-ins as their clients meet them: over real sockets, with real signatures, and each refusal of the real services.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aws;
mod bbb;
mod control;
mod distance;
mod dns;
mod imds;
mod recordings;
mod route53;
mod scalelite;
