//! A probe of the TURN server on this host.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use plan::relay::Relay;
use plan::stun;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The number of attempts: a datagram may be lost, and so may its answer.
const TRIES: u8 = 2;

/// Asks the TURN server at this UDP address for a relay, without credentials; it counts as silent after two seconds. A
/// relay that it gives is given back. An error comes from this host itself and says nothing about the server.
pub async fn relay(address: SocketAddr) -> std::io::Result<Relay> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // A connected socket drops datagrams from other senders.
    socket.connect(address).await?;
    let mut transaction = stun::Transaction::default();
    fastrand::fill(&mut transaction);
    let request = stun::request(transaction);
    for _ in 0..TRIES {
        // An error belongs to the previous datagram: nothing listens there.
        let sent = socket.send(&request).await.is_ok();
        if sent && let Ok(Some(found)) = timeout(PATIENCE, answer(&socket, transaction)).await {
            if found.is_open() {
                fastrand::fill(&mut transaction);
                // Else it ends by itself, in ten minutes.
                let _ = socket.send(&stun::release(transaction)).await;
            }
            return Ok(found);
        }
    }
    Ok(Relay::Silent)
}

/// Waits for the answer; returns none when nothing listens.
async fn answer(socket: &UdpSocket, transaction: stun::Transaction) -> Option<Relay> {
    let mut datagram = [0; stun::ANSWER_LIMIT];
    while let Ok(length) = socket.recv(&mut datagram).await {
        if let Some(found) = datagram.get(..length).and_then(|answer| stun::answer(answer, transaction)) {
            return Some(found);
        }
    }
    None
}
