//! `floor SCRIPT`: the least that a program has to do for the same requests. It has one thread, blocking sockets and
//! rustls with ring, its requests are signed beforehand, and it reads an answer only for the parts that the next
//! request needs.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bench::script::{Connection, ID, Keep, Question, Script, Step, TOKEN};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

type Error = Box<dyn std::error::Error>;

/// A limit far above the time of anything on loopback.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let path = std::env::args_os().nth(1).ok_or("which script?")?;
    let script: Script = serde_json::from_slice(&fs::read(path)?)?;
    let mut tls = None;
    let mut streams: Vec<Option<Box<dyn Stream>>> = script.connections.iter().map(|_| None).collect();
    let (mut token, mut id) = (String::new(), String::new());
    for step in &script.steps {
        match step {
            Step::Dns(questions) => ask(questions)?,
            Step::Http { connection, request, body, keep } => {
                let to = script.connections.get(*connection).ok_or("no such connection")?;
                let slot = streams.get_mut(*connection).ok_or("no such connection")?;
                let stream = match slot {
                    Some(stream) => stream,
                    None => slot.insert(open(to, &script.authorities, &mut tls)?),
                };
                let request = request.replace(TOKEN, &token).replace(ID, &id);
                let answer = exchange(stream.as_mut(), &[request.as_bytes(), body].concat())?;
                match keep {
                    Some(Keep::Token) => token = answer,
                    Some(Keep::Id) => id = find_id(&answer).ok_or("no id in the answer")?,
                    None => {}
                }
            }
        }
    }
    Ok(())
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Opens a connection; the authorities are read for the first one with TLS.
fn open(
    to: &Connection,
    authorities: &Path,
    tls: &mut Option<Arc<ClientConfig>>,
) -> Result<Box<dyn Stream>, Error> {
    let stream = TcpStream::connect_timeout(&to.address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let Some(name) = &to.tls else { return Ok(Box::new(stream)) };
    let config = match tls {
        Some(config) => config,
        None => tls.insert(trust(authorities)?),
    };
    let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from(name.clone())?)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

fn trust(authorities: &Path) -> Result<Arc<ClientConfig>, Error> {
    let pem = fs::read(authorities)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        // Systems ship some certificates that webpki refuses.
        let _ = roots.add(certificate?);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Sends a request and returns the body of its answer, which must have a length.
fn exchange(stream: &mut dyn Stream, request: &[u8]) -> Result<String, Error> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut answer = Vec::with_capacity(4096);
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Err("the connection was closed".into());
        }
        answer.extend_from_slice(piece.get(..length).unwrap_or_default());
        if let Some(body) = complete(&answer)? {
            return Ok(body);
        }
    }
}

/// Returns the body once it is complete.
fn complete(answer: &[u8]) -> Result<Option<String>, Error> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = answer.split_at(end + 4);
    let head = std::str::from_utf8(head)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !["200", "201", "404"].contains(&status) {
        let body = String::from_utf8_lossy(body);
        return Err(format!("{}: {body}", head.lines().next().unwrap_or_default()).into());
    }
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    let length = head.lines().find_map(field).unwrap_or(0);
    Ok((body.len() >= length).then(|| String::from_utf8_lossy(body).into_owned()))
}

fn find_id(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("\"id\":\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn ask(questions: &[Question]) -> Result<(), Error> {
    let mut sockets = Vec::new();
    for question in questions {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(question.server)?;
        socket.send(&question.message)?;
        sockets.push(socket);
    }
    for socket in sockets {
        socket.recv(&mut [0; 4096])?;
    }
    Ok(())
}
