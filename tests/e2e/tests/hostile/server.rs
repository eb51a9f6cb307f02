//! A stand-in for a service that writes any bytes: it stands in front of the real one, lets through what is not asked of
//! it, and answers the rest as nobody should.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Any free port of this machine.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What is written to whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// At first this.
    pub(crate) bytes: Vec<u8>,
    /// Then this.
    pub(crate) then: Then,
}

/// How an answer goes on.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// The connection is closed.
    Close,
    /// Nothing more comes, and the connection stays open.
    Silence,
    /// These bytes, for as long as anybody reads them.
    Repeat(Vec<u8>),
    /// The same, a byte of them each second.
    Drip(Vec<u8>),
}

impl Answer {
    /// Status 200 with these header lines and this body, whose length is said.
    pub(crate) fn ok(headers: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::with("200 OK", headers, body)
    }

    /// Any status with these header lines and this body, whose length is said.
    pub(crate) fn with(status: &str, headers: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        Self { bytes: [head.into_bytes(), body].concat(), then: Then::Close }
    }

    /// These bytes, and then something.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        Self { bytes: bytes.into(), then }
    }
}

/// The answer to a request with this head and as much of its body as came with it; [`None`]: the real service is asked.
pub(crate) type Answers = Arc<dyn Fn(&str) -> Option<Answer> + Send + Sync>;

/// The stand-in. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The requests that came through TLS.
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// In front of the service at this address, which speaks HTTP without TLS: on the same port of another address, so that
    /// it can be reached under the same URL.
    pub(crate) async fn before(real: SocketAddr, answers: Answers) -> Self {
        let at = SocketAddr::new([127, 0, 0, 2].into(), real.port());
        Self::listen(at, move |mut connection, _| {
            let answers = Arc::clone(&answers);
            async move { serve(&mut connection, real, &answers).await }
        })
        .await
    }

    /// One with TLS, which listens to requests and answers none.
    pub(crate) async fn with_tls(acceptor: TlsAcceptor) -> Self {
        Self::listen(ANY, move |connection, heard| {
            let acceptor = acceptor.clone();
            async move {
                let request = head(&mut acceptor.accept(connection).await?).await?;
                heard.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                Ok(())
            }
        })
        .await
    }

    /// One that gives this answer to the first bytes of whatever.
    pub(crate) async fn blurting(answer: Answer) -> Self {
        Self::listen(ANY, move |mut connection, _| {
            let answer = answer.clone();
            async move {
                // The first bytes of a hello, or its end: both are answered.
                let _ = connection.read(&mut [0; 4096]).await?;
                write(&mut connection, &answer).await
            }
        })
        .await
    }

    async fn listen<F>(
        at: SocketAddr,
        serve: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            // Dropped, and so ended, together with this task.
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let serving = serve(connection, Arc::clone(&log));
                // Errors are the client's going away, which is what is expected of it.
                connections.spawn(async move { drop(serving.await) });
            }
        });
        Self { address, heard, task }
    }

    /// The requests that came through TLS.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(connection: &mut TcpStream, real: SocketAddr, answers: &Answers) -> std::io::Result<()> {
    let request = head(connection).await?;
    match answers(&String::from_utf8_lossy(&request)) {
        Some(answer) => write(connection, &answer).await,
        None => {
            let mut service = TcpStream::connect(real).await?;
            // One request for each connection: the next one may be one that is answered here.
            let end = request.windows(2).position(|two| two == b"\r\n").unwrap_or_default();
            let (first, rest) = request.split_at(end);
            service.write_all(&[first, b"\r\nConnection: close", rest].concat()).await?;
            tokio::io::copy_bidirectional(connection, &mut service).await.map(drop)
        }
    }
}

/// Reads until the end of the head.
async fn head(connection: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        if connection.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(request)
}

/// Writes an answer until the client has gone away or everything is said.
pub(crate) async fn write(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    answer: &Answer,
) -> std::io::Result<()> {
    connection.write_all(&answer.bytes).await?;
    match &answer.then {
        Then::Close => {}
        Then::Silence => while connection.read(&mut [0; 512]).await? > 0 {},
        Then::Repeat(bytes) => loop {
            connection.write_all(bytes).await?;
        },
        Then::Drip(bytes) => {
            for byte in bytes.iter().cycle() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                connection.write_all(&[*byte]).await?;
            }
        }
    }
    connection.shutdown().await
}

/// A listener that nobody may connect to.
#[derive(Debug)]
pub(crate) struct Trap(std::net::TcpListener);

impl Trap {
    /// Sets it up.
    pub(crate) fn set() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Whether nobody has connected: the kernel keeps connections until they are accepted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}
