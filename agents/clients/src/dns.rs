//! The read path of names: the system's recursive resolver and the zone's authoritative name servers.

pub mod apex;
pub mod authoritative;
mod error;
pub mod system;
mod wire;
