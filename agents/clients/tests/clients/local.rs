//! The host's checks of itself for its metrics: the certificate that it presents, and whether coturn answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clients::{certificate, coturn};
use plan::relay::Relay;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Starts a server whose certificate ends in that year. The channel gives the bytes that the first client sent after
/// the handshake.
async fn server(
    end: i32,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (SocketAddr, oneshot::Receiver<Vec<u8>>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["other.example.org".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(end, 1, 2));
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        let mut all = Vec::new();
        // The client closes the connection without a TLS alert.
        let _ = stream.read_to_end(&mut all).await;
        sender.send(all).unwrap();
    });
    (address, received)
}

#[tokio::test]
async fn the_end_of_whatever_certificate_is_shown() {
    for versions in [&[&TLS12][..], &[&TLS13]] {
        // Expired, unknown, for another name; from 2050 on the time has another format (RFC 5280, 4.1.2.5).
        for (year, seconds) in [(2020, 1_577_923_200), (2049, 2_493_158_400), (2050, 2_524_694_400)] {
            let (address, received) = server(year, versions).await;
            let end = certificate::end(address, "vc-1.example.org").await;
            assert_eq!(end, Ok(seconds), "{year}");
            assert_eq!(received.await.unwrap(), b"", "nothing is sent");
        }
    }
}

#[tokio::test]
async fn who_shows_no_certificate_is_told() {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    let closing = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let closed = certificate::end(address, "vc-1.example.org").await.unwrap_err();
    assert!(closed.to_string().starts_with(&format!("no certificate at {address}: ")), "{closed}");
    closing.await.unwrap();
    let refused = certificate::end(address, "vc-1.example.org").await.unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
}

/// Starts a TURN server that answers each datagram, by its number, with the bytes of this function.
async fn turn(answer: impl Fn(usize, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind(ANY).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 1500];
        for number in 0.. {
            let (length, from) = socket.recv_from(&mut datagram).await.unwrap();
            if let Some(answer) = answer(number, &datagram[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

fn success(request: &[u8]) -> Vec<u8> {
    [&[0x01, 0x03, 0, 0], &request[4..20]].concat()
}

/// The refusal of a server that wants credentials.
fn challenge(request: &[u8]) -> Vec<u8> {
    [&[0x01, 0x13, 0, 8], &request[4..20], &[0, 9, 0, 4, 0, 0, 4, 1]].concat()
}

#[tokio::test]
async fn coturn_is_closed_open_or_silent() {
    let closed = turn(|_, request| Some(challenge(request))).await;
    assert_eq!(coturn::relay(closed).await.unwrap(), Relay::Closed);
    let lost = turn(|number, request| (number == 1).then(|| challenge(request))).await;
    assert_eq!(coturn::relay(lost).await.unwrap(), Relay::Closed, "the repetition is answered");
    let silent = turn(|_, _| None).await;
    assert_eq!(coturn::relay(silent).await.unwrap(), Relay::Silent);
    let echo = turn(|_, request| Some(request.to_vec())).await;
    assert_eq!(coturn::relay(echo).await.unwrap(), Relay::Silent);
    let absent = UdpSocket::bind(ANY).await.unwrap().local_addr().unwrap();
    assert_eq!(coturn::relay(absent).await.unwrap(), Relay::Silent);
    // An open one gets its relay back.
    let (told, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let open = turn(move |_, request| {
        told.send(request.to_vec()).unwrap();
        (request[..2] == [0, 3]).then(|| success(request))
    });
    assert_eq!(coturn::relay(open.await).await.unwrap(), Relay::Open);
    let asked = [requests.recv().await.unwrap(), requests.recv().await.unwrap()];
    assert_eq!(asked.map(|request| request[..2].to_vec()), [[0, 3], [0, 4]]);
}
