//! Services that are hostile or broken: whatever they answer, the agents end with one clear error, within their time and a
//! bounded memory, give nothing away, follow nobody elsewhere, and change nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dns;
mod http;
mod impostors;
mod server;
mod service;
mod table;
mod tls;
