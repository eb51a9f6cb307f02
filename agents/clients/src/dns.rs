//! The read path of names: the system's recursive resolver and the zone's authoritative name servers.

pub mod apex;
pub mod authoritative;
mod error;
mod resolv_conf;
pub mod system;
mod wire;
