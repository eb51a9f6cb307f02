//! Real sockets, with clients that behave and clients that do not.

use std::io::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::clock::Started;
use super::*;

const TEXT: &str = "bbb_agent_registered 1\n";

fn troubles() -> Troubles {
    Troubles::new(Started::now())
}

/// An address at which nothing listens.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn exporter(listen: Listen) -> Exporter {
    let (mut exporter, troubles) = (Exporter::default(), troubles());
    exporter.configure(Some(&listen), None, &troubles);
    exporter.attempt(&troubles).await;
    exporter
}

/// Runs the client while questions are answered, as the service does.
async fn served<T>(exporter: &mut Exporter, client: impl Future<Output = T>) -> T {
    let troubles = troubles();
    tokio::pin!(client);
    loop {
        tokio::select! {
            result = &mut client => return result,
            question = exporter.next(&troubles) => question.answer(TEXT.to_owned()),
        }
    }
}

/// Sends these bytes, and returns everything that comes back until the other side closes.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn what_is_answered_and_what_is_refused() {
    let address = free();
    let mut exporter = exporter(Listen::At(address)).await;
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(1024 * 1024));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let rows: [(&[u8], &str, bool); 12] = [
        (b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 ", true),
        (b"GET /metrics?a=b HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 ", true),
        (b"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", true),
        (b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 ", false),
        (b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n", "HTTP/1.1 405 ", false),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404 ", false),
        (b"GET /metrics/ HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404 ", false),
        (b"GET /../metrics HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404 ", false),
        (long.as_bytes(), "", false),
        (many.as_bytes(), "HTTP/1.1 431 ", false),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 ", false),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", false),
    ];
    for (request, status, answered) in rows {
        let answer = served(&mut exporter, exchange(address, request)).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert!(answer.starts_with(status), "{shown}: {answer}");
        assert_eq!(answer.ends_with(TEXT), answered, "{shown}: {answer}");
        if !answered {
            assert!(!answer.contains(TEXT), "{shown}: {answer}");
        }
    }
    let open = b"GET /metrics HTTP/1.1\r\nhost: x\r\naccept: application/openmetrics-text\r\n\r\n";
    let answer = served(&mut exporter, exchange(address, open)).await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

/// They take all places, and say nothing, or one byte, or never read.
#[tokio::test]
async fn slow_clients_take_no_place_for_long() {
    let address = free();
    let mut exporter = exporter(Listen::At(address)).await;
    let mut slow = Vec::new();
    for number in 0..5 * CONNECTIONS {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let begin: &[u8] = match number % 3 {
            0 => b"",
            1 => b"G",
            _ => b"GET /metrics HTTP/1.1\r\nhost: x\r\nx-a: ",
        };
        stream.write_all(begin).unwrap();
        slow.push(stream);
    }
    // Every place is freed when its time is over, so this comes, though nobody else ends.
    let answer = served(&mut exporter, exchange(address, &get("/metrics"))).await;
    assert!(answer.ends_with(TEXT), "{answer}");
    drop(slow);
}

/// The service may be busy: a client that gives up meanwhile does no harm, and the next one is answered.
#[tokio::test]
async fn a_client_that_goes_before_its_answer() {
    let (address, troubles) = (free(), troubles());
    let mut exporter = exporter(Listen::At(address)).await;
    for _ in 0..3 * CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&get("/metrics")).await.unwrap();
        let question = exporter.next(&troubles).await;
        drop(stream);
        question.answer(TEXT.to_owned());
    }
    let answer = served(&mut exporter, exchange(address, &get("/metrics"))).await;
    assert!(answer.ends_with(TEXT), "{answer}");
}

#[tokio::test]
async fn the_place_ends_with_its_setting_and_with_the_service() {
    let (address, other, troubles) = (free(), free(), troubles());
    let mut exporter = exporter(Listen::At(address)).await;
    assert!(TcpStream::connect(address).await.is_ok());
    exporter.configure(Some(&Listen::At(other)), None, &troubles);
    let answer = served(&mut exporter, async {
        loop {
            match TcpStream::connect(other).await {
                Ok(_) => return exchange(other, &get("/metrics")).await,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert!(answer.await.ends_with(TEXT));
    let closed = async |address| {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    closed(address).await;
    drop(exporter);
    closed(other).await;
}

#[tokio::test]
async fn a_private_address_is_waited_for() {
    let (port, troubles) = (free().port(), troubles());
    let listen = Listen::Private(port);
    let mut exporter = exporter(listen.clone()).await;
    assert!(exporter.open.is_none() && exporter.due.is_none());
    exporter.configure(Some(&listen), Some(Ipv4Addr::LOCALHOST), &troubles);
    exporter.attempt(&troubles).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert!(served(&mut exporter, exchange(address, &get("/metrics"))).await.ends_with(TEXT));
}

#[tokio::test]
async fn a_place_that_is_taken_is_tried_again() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, troubles) = (taken.local_addr().unwrap(), troubles());
    let mut exporter = exporter(Listen::At(address)).await;
    assert!(exporter.open.is_none());
    drop(taken);
    exporter.configure(Some(&Listen::At(address)), None, &troubles);
    assert!(exporter.due.is_some(), "a reload does not wait");
    exporter.attempt(&troubles).await;
    assert!(served(&mut exporter, exchange(address, &get("/metrics"))).await.ends_with(TEXT));
}

#[tokio::test]
async fn a_socket_in_the_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    let listen = Listen::Socket(path.clone());
    // What a service has left behind that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut first = exporter(listen.clone()).await;
    assert!(first.open.is_some());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let answer = served(&mut first, async {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&get("/metrics")).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    assert!(answer.await.ends_with(TEXT));
    assert!(exporter(listen.clone()).await.open.is_none(), "somebody listens there");
    assert!(path.exists());
    drop(first);
    assert!(!path.exists(), "it goes with its service");
    fs::write(&path, "no socket").unwrap();
    assert!(exporter(listen.clone()).await.open.is_none());
    assert_eq!(fs::read_to_string(&path).unwrap(), "no socket");
    let nowhere = directory.path().join("nowhere/metrics.sock");
    assert!(exporter(Listen::Socket(nowhere)).await.open.is_none());
}
