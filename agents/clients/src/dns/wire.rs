//! One question to one server: UDP with retransmission, and TCP when the answer was truncated.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

/// The time limit for one question, retransmissions and TCP included.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pauses after each transmission; the wait after the last one lasts until the time limit.
const RETRANSMIT_AFTER: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(700)];
/// The size of the receive buffer. Without EDNS a server sends at most 512 bytes by UDP (RFC 1035, 4.2.1); more room
/// costs nothing.
const UDP_BUFFER: usize = 4096;

/// Creates a question with its own id that does not ask for recursion.
pub(super) fn question(name: &Name, kind: RecordType) -> Message {
    let mut query = Query::query(name.clone(), kind);
    query.set_query_class(DNSClass::IN);
    let mut question = Message::query();
    question.metadata.recursion_desired = false;
    question.add_query(query);
    question
}

/// Asks one server. The answer is checked against the question, its id and the server.
pub(super) async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> io::Result<Message> {
    let question = question(name, kind);
    let packet = question.to_vec().map_err(io::Error::other)?;
    let deadline = Instant::now() + TIMEOUT;
    let exchange = async {
        let answer = by_udp(server, &question, &packet).await?;
        if answer.metadata.truncation { by_tcp(server, &question, &packet).await } else { Ok(answer) }
    };
    timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn by_udp(server: SocketAddr, question: &Message, packet: &[u8]) -> io::Result<Message> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // On a connected socket, the kernel drops packets from other senders and reports at once that nothing listens.
    socket.connect(server).await?;
    for wait in RETRANSMIT_AFTER {
        socket.send(packet).await?;
        if let Ok(received) = timeout_at(Instant::now() + wait, receive(&socket, question)).await {
            return received;
        }
    }
    socket.send(packet).await?;
    receive(&socket, question).await
}

/// Waits for the answer, ignoring all other packets.
async fn receive(socket: &UdpSocket, question: &Message) -> io::Result<Message> {
    let mut buffer = vec![0; UDP_BUFFER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(Ok(answer)) = buffer.get(..length).map(|packet| accept(packet, question)) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &Message, packet: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), packet].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    accept(&answer, question)
}

/// Parses a packet and checks that it answers this question.
pub(super) fn accept(packet: &[u8], question: &Message) -> io::Result<Message> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let answer = Message::from_vec(packet).map_err(|error| invalid(error.to_string()))?;
    if belongs(&answer, question) {
        Ok(answer)
    } else {
        Err(invalid("the answer is not to our question".to_owned()))
    }
}

fn belongs(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries
}

/// The name as the DNS library has it, fully qualified, so that no search domain is appended.
pub(super) fn absolute(name: &plan::record::Name) -> Result<Name, String> {
    let mut wire = Name::from_ascii(name.as_str()).map_err(|error| error.to_string())?;
    wire.set_fqdn(true);
    Ok(wire)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn our_question() -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_str("vc-1.example.org.").unwrap(), RecordType::A));
        message
    }

    #[test]
    fn only_the_answer_to_our_question_belongs() {
        let question = our_question();
        let answer = question.clone().into_response();
        assert!(belongs(&answer, &question));
        assert!(!belongs(&question, &question), "our own question, sent back");

        let mut other_id = answer.clone();
        other_id.metadata.id = answer.metadata.id.wrapping_add(1);
        assert!(!belongs(&other_id, &question));

        let mut other_name = answer.clone();
        other_name.queries = vec![Query::query(Name::from_str("x.example.org.").unwrap(), RecordType::A)];
        assert!(!belongs(&other_name, &question));

        let mut no_question = answer;
        no_question.queries.clear();
        assert!(!belongs(&no_question, &question));
    }

    /// Starts a server on loopback that answers its first packet with each of these, made from the question.
    async fn server(packets: fn(&Message) -> Vec<Vec<u8>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(buffer.get(..length).unwrap()).unwrap();
            for packet in packets(&question) {
                socket.send_to(&packet, from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn forged_and_broken_packets_are_passed_over() {
        let address = server(|question| {
            let mut forged = question.clone().into_response();
            forged.metadata.id = question.metadata.id.wrapping_add(1);
            let mut right = question.clone().into_response();
            right.metadata.authoritative = true;
            vec![vec![1, 2, 3], forged.to_vec().unwrap(), right.to_vec().unwrap()]
        })
        .await;
        let name = Name::from_str("vc-1.example.org.").unwrap();
        let answer = ask(address, &name, RecordType::A).await.unwrap();
        assert!(answer.metadata.authoritative);
    }

    #[tokio::test]
    async fn a_lost_question_is_sent_again() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (first, _) = socket.recv_from(&mut buffer).await.unwrap();
            let lost = buffer.get(..first).unwrap().to_vec();
            let (second, from) = socket.recv_from(&mut buffer).await.unwrap();
            let again = buffer.get(..second).unwrap().to_vec();
            let answer = Message::from_vec(&again).unwrap().into_response();
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            (lost, again)
        });
        let name = Name::from_str("vc-1.example.org.").unwrap();
        let answer = ask(address, &name, RecordType::A).await.unwrap();
        let (lost, again) = server.await.unwrap();
        assert_eq!(lost, again);
        assert!(!answer.metadata.recursion_desired);
    }

    #[tokio::test]
    async fn nobody_listening_is_known_at_once() {
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let name = Name::from_str("vc-1.example.org.").unwrap();
        let error = ask(closed, &name, RecordType::A).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
