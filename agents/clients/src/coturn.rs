//! A probe of the TURN server on this host.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use plan::stun;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The number of attempts: a datagram may be lost, and so may its answer.
const TRIES: u8 = 2;

/// Reports whether the TURN server at this UDP address answers a binding request, which needs no credentials; false
/// after two seconds of silence. An error comes from this host itself and says nothing about the server.
pub async fn answers(address: SocketAddr) -> std::io::Result<bool> {
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
        if sent && timeout(PATIENCE, answer(&socket, transaction)).await == Ok(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits for the answer; returns false when nothing listens.
async fn answer(socket: &UdpSocket, transaction: stun::Transaction) -> bool {
    let mut datagram = [0; stun::ANSWER_LIMIT];
    while let Ok(length) = socket.recv(&mut datagram).await {
        if datagram.get(..length).is_some_and(|answer| stun::answers(answer, transaction)) {
            return true;
        }
    }
    false
}
