//! A stand-in for the relays of coturn, as far as the kernel's list of sockets shows them.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Ports behind those that the kernel gives to sockets without one, so that no other socket of the machine is there.
const FIRST: u16 = 61_000;
/// How many a test gets. The first one is its mark that the others are taken.
const BLOCK: u16 = 8;

/// Ports for the relays of one host; no other test has them meanwhile.
#[derive(Debug)]
pub struct Relays {
    _mark: TcpListener,
    first: u16,
}

impl Relays {
    /// Takes ports that no other test of the machine has.
    pub fn reserve() -> Self {
        for first in (FIRST..u16::MAX - BLOCK).step_by(usize::from(BLOCK)) {
            if let Ok(mark) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) {
                return Self { _mark: mark, first };
            }
        }
        panic!("no ports are left");
    }

    /// The setting that has the agent count at these ports.
    pub fn setting(&self) -> String {
        format!("drain.relays={}-{}", self.first, self.first + BLOCK - 1)
    }

    /// Begins an allocation; it ends with the value.
    pub fn begin(&self) -> UdpSocket {
        let mut ports = self.first..self.first + BLOCK;
        let relay = ports.find_map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok());
        relay.expect("a free port")
    }
}
