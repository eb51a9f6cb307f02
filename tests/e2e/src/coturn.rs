//! A stand-in for coturn, as far as a probe sees it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use plan::relay::Relay;
use tokio::net::UdpSocket;

/// What answers at coturn's port. Its answers are those of coturn 4.6.1, with settings and without (`tests/shipped`).
#[derive(Debug)]
pub struct Coturn {
    /// Its address.
    pub address: SocketAddr,
    relay: Arc<Mutex<Relay>>,
}

impl Coturn {
    /// Starts one that does this for a client without credentials.
    pub async fn start(relay: Relay) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        let relay = Arc::new(Mutex::new(relay));
        let now = Arc::clone(&relay);
        tokio::spawn(async move {
            let mut request = [0; 1500];
            while let Ok((28, from)) = socket.recv_from(&mut request).await {
                let relay = *now.lock().expect("a lock");
                let (answer, attribute): (u8, &[u8]) = match (relay, request[1]) {
                    (Relay::Silent | Relay::Absent, _) => continue,
                    (Relay::Open, _) => (0x00, &[0, 0x0d, 0, 4, 0, 0, 2, 0x58]),
                    (Relay::Closed, _) => (0x10, &[0, 9, 0, 4, 0, 0, 4, 1]),
                    (Relay::Refuses(_), _) => (0x10, &[0, 9, 0, 4, 0, 0, 4, 3]),
                };
                let kind = [0x01, answer | request[1], 0, 8];
                let datagram = [&kind[..], &request[4..20], attribute].concat();
                socket.send_to(&datagram, from).await.expect("a datagram");
            }
        });
        Self { address, relay }
    }

    /// Changes what it does, as another configuration does.
    pub fn becomes(&self, relay: Relay) {
        *self.relay.lock().expect("a lock") = relay;
    }
}
