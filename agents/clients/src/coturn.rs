//! Whether the TURN server on this host answers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use plan::stun;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// A datagram may be lost, and an answer too.
const TRIES: u8 = 2;

/// Whether the TURN server at this UDP address answers a binding request, for which it wants no credentials: false after two
/// seconds of silence. An error is this host's own, and says nothing about the server.
pub async fn answers(address: SocketAddr) -> std::io::Result<bool> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // Others' datagrams do not get through.
    socket.connect(address).await?;
    let mut transaction = stun::Transaction::default();
    fastrand::fill(&mut transaction);
    let request = stun::request(transaction);
    for _ in 0..TRIES {
        // An error tells that nobody listens there: the answer to the datagram before.
        let sent = socket.send(&request).await.is_ok();
        if sent && timeout(PATIENCE, answer(&socket, transaction)).await == Ok(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits for the answer; false when nobody listens.
async fn answer(socket: &UdpSocket, transaction: stun::Transaction) -> bool {
    let mut datagram = [0; stun::ANSWER_LIMIT];
    while let Ok(length) = socket.recv(&mut datagram).await {
        if datagram.get(..length).is_some_and(|answer| stun::answers(answer, transaction)) {
            return true;
        }
    }
    false
}
