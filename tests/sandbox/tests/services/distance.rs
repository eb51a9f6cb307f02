//! Services that are far away: each part of an exchange takes its time, and a client that connects early saves it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sandbox::cloud::{Cloud, Options};
use sandbox::http::ServiceName::{Imds, Route53, Scalelite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FAR: Duration = Duration::from_millis(60);
const NEAR: Duration = Duration::from_millis(30);

/// Asks on a connection; returns how long the answer took.
async fn ask(stream: &mut TcpStream) -> Duration {
    let started = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n").await.unwrap();
    assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
    started.elapsed()
}

#[tokio::test]
async fn a_connection_and_an_answer_take_a_round_trip_each() {
    let cloud = Cloud::start(Options::default().at_distance(FAR, NEAR)).await.unwrap();
    let environment = cloud.environment();
    let (_, url) = environment.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL_ROUTE_53").unwrap();
    let route53: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    assert_ne!(route53, cloud.aws_address());
    for (address, service, distance) in [(route53, Route53, FAR), (cloud.imds_address(), Imds, NEAR)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(
            ask(&mut stream).await >= 2 * distance,
            "{service:?}: the first answer waits for the connection"
        );
        assert!(ask(&mut stream).await >= distance, "{service:?}");
        assert_eq!(cloud.gate(service).connections(), 1, "{service:?}");
    }
    assert_eq!(cloud.gate(Scalelite).connections(), 0);
}

#[tokio::test]
async fn tls_takes_one_more() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cloud = Cloud::start(Options::with_tls().at_distance(FAR, NEAR)).await.unwrap();
    let authority = reqwest::Certificate::from_pem(cloud.authority().unwrap().pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
    let started = Instant::now();
    client.get(cloud.scalelite_url()).send().await.unwrap();
    assert!(started.elapsed() >= 3 * NEAR);
}

#[tokio::test]
async fn without_a_distance_all_aws_services_share_a_listener() {
    let cloud = Cloud::start(Options::default()).await.unwrap();
    assert!(cloud.environment().iter().all(|(name, _)| name != "AWS_ENDPOINT_URL_ROUTE_53"));
}

#[tokio::test]
async fn a_service_that_hangs_up_closes_idle_connections_and_takes_others() {
    let cloud = Cloud::start(Options::default()).await.unwrap();
    let mut stream = TcpStream::connect(cloud.imds_address()).await.unwrap();
    ask(&mut stream).await;
    cloud.gate(Imds).hang_up();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    ask(&mut TcpStream::connect(cloud.imds_address()).await.unwrap()).await;
}
