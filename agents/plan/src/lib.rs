//! The decisions of the fleet agents as pure functions: no clock, no network, no files, no async. A decision that
//! depends on time or chance takes it as an argument. The crate's only dependency derives error types, which proves
//! the purity.
//!
//! The module that makes a decision shows its truth table in the documentation; the tests read the same table.

pub mod addresses;
pub mod backoff;
pub mod dns;
pub mod fleet;
pub mod health;
pub mod image;
pub mod instance;
pub mod lifecycle;
pub mod membership;
pub mod metrics;
pub mod news;
pub mod observation;
pub mod ownership;
pub mod prometheus;
pub mod record;
pub mod recordings;
pub mod relay;
pub mod share;
pub mod stop_cause;
pub mod stun;
pub mod sweep;
#[cfg(test)]
mod table;
pub mod time;
pub mod work;
