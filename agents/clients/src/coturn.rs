//! The TURN server on this host: a probe of it, and the sockets of its relays.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::relay::{Relay, Socket};
use plan::stun;
use thiserror::Error;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The number of attempts: a datagram may be lost, and so may its answer.
const TRIES: u8 = 2;

/// Asks the TURN server at this UDP address for a relay, without credentials; it counts as silent after two seconds. A
/// relay that it gives is given back. An error comes from this host itself and says nothing about the server.
pub async fn relay(address: SocketAddr) -> io::Result<Relay> {
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

// ---- its relays

/// The files in which the kernel lists the UDP sockets of this process's network: `/proc/net` is not there where only
/// processes are shown (`ProcSubset=pid`).
const LISTS: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];

/// The longest list that is read, in bytes: twice that of a socket at each port.
const LIST_LIMIT: u64 = 16 * 1024 * 1024;

/// The reason why the sockets are not known.
#[derive(Debug, Error)]
pub enum ListError {
    /// A list cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The list.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A list has a line that makes no sense, or ends within one.
    #[error("{} makes no sense in line {line}", path.display())]
    Line {
        /// The list.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A list is too long.
    #[error("{} is longer than {} MiB", path.display(), LIST_LIMIT / 1024 / 1024)]
    TooLong {
        /// The list.
        path: PathBuf,
    },
}

/// Lists the UDP sockets of this host.
pub async fn sockets() -> Result<Vec<Socket>, ListError> {
    sockets_in(LISTS.map(Path::new)).await
}

/// Lists the sockets in these two files, for IPv4 and for IPv6. A kernel without IPv6 has no list of its sockets.
pub async fn sockets_in([ipv4, ipv6]: [&Path; 2]) -> Result<Vec<Socket>, ListError> {
    let mut sockets = read(ipv4).await?;
    match read(ipv6).await {
        Ok(more) => sockets.extend(more),
        Err(ListError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

async fn read(path: &Path) -> Result<Vec<Socket>, ListError> {
    let failed = |source| ListError::Read { path: path.to_owned(), source };
    let file = File::open(path).await.map_err(failed)?;
    let mut list = Vec::new();
    // One byte more than allowed distinguishes a list that is too long from one that ends.
    file.take(LIST_LIMIT + 1).read_to_end(&mut list).await.map_err(failed)?;
    if list.len() as u64 > LIST_LIMIT {
        return Err(ListError::TooLong { path: path.to_owned() });
    }
    parse(&list).map_err(|line| ListError::Line { path: path.to_owned(), line })
}

/// Reads a list of sockets as the kernel writes it: a heading, then a line for each. The error is the number of a line
/// that makes no sense.
pub fn parse(list: &[u8]) -> Result<Vec<Socket>, usize> {
    let text = std::str::from_utf8(list).map_err(|_| 1_usize)?;
    let mut lines = text.split_inclusive('\n').enumerate();
    let is_heading = |line: &str| line.trim_start().starts_with("sl ") && line.ends_with('\n');
    lines.next().filter(|(_, line)| is_heading(line)).ok_or(1_usize)?;
    lines.map(|(index, line)| socket(line).ok_or(index + 1)).collect()
}

/// Reads one line: number, local address, peer's address, state, queues, timer, retransmissions, owner, and more.
fn socket(line: &str) -> Option<Socket> {
    let mut words = line.strip_suffix('\n')?.split_ascii_whitespace();
    words.next()?.strip_suffix(':')?;
    let (bound, port) = endpoint(words.next()?)?;
    let (to_one, peer) = endpoint(words.next()?)?;
    let owner = words.nth(4)?.parse().ok()?;
    // Timeout, inode and more follow.
    words.next()?;
    Some(Socket { bound, port, connected: to_one || peer != 0, owner })
}

/// Reads an address with its port, both as hexadecimal digits: whether the address is a certain one, and the port.
fn endpoint(word: &str) -> Option<(bool, u16)> {
    let (address, port) = word.split_once(':')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let right = matches!(address.len(), 8 | 32) && port.len() == 4 && digits(address) && digits(port);
    let port = u16::from_str_radix(port, 16).ok().filter(|_| right)?;
    Some((address.bytes().any(|byte| byte != b'0'), port))
}
