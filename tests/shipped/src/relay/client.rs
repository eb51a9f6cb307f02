//! A TURN client (RFC 8656) with what a browser does and what it could do: long-term credentials of a shared secret,
//! allocations over UDP and TCP, permissions, datagrams both ways, and TCP relays (RFC 6062).

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use sha1::{Digest, Sha1};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;

/// Methods; an answer has the class in its type.
const ALLOCATE: u16 = 0x003;
const REFRESH: u16 = 0x004;
const CREATE_PERMISSION: u16 = 0x008;
const CHANNEL_BIND: u16 = 0x009;
const CONNECT: u16 = 0x00a;
const SEND_INDICATION: u16 = 0x016;
const DATA_INDICATION: u16 = 0x017;
const SUCCESS: u16 = 0x100;
const ERROR: u16 = 0x110;

/// Attributes.
const USERNAME: u16 = 0x006;
const MESSAGE_INTEGRITY: u16 = 0x008;
const ERROR_CODE: u16 = 0x009;
const CHANNEL_NUMBER: u16 = 0x00c;
const LIFETIME: u16 = 0x00d;
const XOR_PEER_ADDRESS: u16 = 0x012;
const DATA: u16 = 0x013;
const REALM: u16 = 0x014;
const XOR_RELAYED_ADDRESS: u16 = 0x016;
const NONCE: u16 = 0x015;
const REQUESTED_ADDRESS_FAMILY: u16 = 0x017;
const REQUESTED_TRANSPORT: u16 = 0x019;

/// How long one answer may take; nothing is measured by it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What coturn's secret gives to one user (`use-auth-secret`).
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// Those of a user, until this time in seconds since 1970, as BBB makes them of the shared secret.
    pub(super) fn new(secret: &str, user: &str, until: u64) -> Self {
        let username = format!("{until}:{user}");
        let code = hmac(secret.as_bytes(), username.as_bytes());
        Self { username, password: piped("base64", &code).trim().to_owned() }
    }
}

/// The transport between client and peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relayed {
    Udp,
    Tcp,
}

#[derive(Debug)]
enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A client with at most one allocation.
#[derive(Debug)]
pub(super) struct Client {
    link: Link,
    credentials: Option<Credentials>,
    /// Realm and nonce, once the server has said them.
    challenge: Option<(Vec<u8>, Vec<u8>)>,
    transactions: u64,
}

/// An answer's error code. 0 stands for silence, which includes that nothing listens.
pub(super) type Refusal = u16;

impl Client {
    pub(super) fn udp(server: SocketAddr, credentials: Option<Credentials>) -> Self {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { link: Link::Udp(socket), credentials, challenge: None, transactions: 0 }
    }

    pub(super) fn tcp(server: SocketAddr, credentials: Option<Credentials>) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { link: Link::Tcp(stream), credentials, challenge: None, transactions: 0 }
    }

    /// Asks for an allocation of one hour; returns the lifetime in seconds that it got.
    pub(super) fn allocate(&mut self, relayed: Relayed, ipv6: bool) -> Result<u32, Refusal> {
        let number = if relayed == Relayed::Tcp { 6 } else { 17 };
        let mut attributes = attribute(REQUESTED_TRANSPORT, &[number, 0, 0, 0]);
        attributes.extend(attribute(LIFETIME, &3600_u32.to_be_bytes()));
        if ipv6 {
            attributes.extend(attribute(REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]));
        }
        let answer = self.request(ALLOCATE, &attributes)?;
        Ok(u32::from_be_bytes(find(&answer, LIFETIME).unwrap().try_into().unwrap()))
    }

    /// Asks for an allocation; returns the address that the server announces for it.
    pub(super) fn announced(&mut self) -> Result<Ipv4Addr, Refusal> {
        let answer = self.request(ALLOCATE, &attribute(REQUESTED_TRANSPORT, &[17, 0, 0, 0]))?;
        let value = find(&answer, XOR_RELAYED_ADDRESS).unwrap();
        let octets: [u8; 4] = value[4..8].try_into().unwrap();
        Ok(Ipv4Addr::from(u32::from_be_bytes(octets) ^ u32::from_be_bytes(COOKIE)))
    }

    /// Gives the allocation back.
    pub(super) fn release(&mut self) -> Result<(), Refusal> {
        self.request(REFRESH, &attribute(LIFETIME, &[0; 4])).map(drop)
    }

    pub(super) fn permit(&mut self, peer: IpAddr) -> Result<(), Refusal> {
        self.request_for(CREATE_PERMISSION, (peer, 0).into(), &[]).map(drop)
    }

    pub(super) fn bind_channel(&mut self, peer: SocketAddr) -> Result<(), Refusal> {
        self.request_for(CHANNEL_BIND, peer, &attribute(CHANNEL_NUMBER, &[0x40, 0, 0, 0])).map(drop)
    }

    /// Opens a TCP connection from the relay to the peer.
    pub(super) fn connect(&mut self, peer: SocketAddr) -> Result<(), Refusal> {
        self.request_for(CONNECT, peer, &[]).map(drop)
    }

    /// Sends a datagram to the peer; whether it is relayed is not answered.
    pub(super) fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        let (id, mut attributes) = (self.transaction(), Vec::new());
        attributes.extend(attribute(XOR_PEER_ADDRESS, &xored(peer, id)));
        attributes.extend(attribute(DATA, data));
        self.write(&message(SEND_INDICATION, id, &attributes));
    }

    /// The next datagram that a peer sent to the relay.
    pub(super) fn receive(&mut self) -> Vec<u8> {
        loop {
            let message = self.read().expect("a datagram");
            if kind(&message) == DATA_INDICATION {
                return find(&message, DATA).unwrap().to_vec();
            }
        }
    }

    fn request_for(&mut self, method: u16, peer: SocketAddr, more: &[u8]) -> Result<Vec<u8>, Refusal> {
        // The address is hidden with the transaction's id, so it is chosen here.
        let id = self.transaction();
        let attributes = [attribute(XOR_PEER_ADDRESS, &xored(peer, id)), more.to_vec()].concat();
        self.exchange(method, id, &attributes)
    }

    /// Makes a request, with credentials once the server has asked for them.
    fn request(&mut self, method: u16, attributes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let id = self.transaction();
        let first = self.exchange(method, id, attributes);
        if first != Err(401) || self.credentials.is_none() {
            return first;
        }
        let id = self.transaction();
        self.exchange(method, id, attributes)
    }

    fn exchange(&mut self, method: u16, id: u64, attributes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let request = self.authenticated(message(method, id, attributes));
        self.write(&request);
        let answer = loop {
            let answer = self.read().ok_or(0_u16)?;
            if answer[8..HEADER] == request[8..HEADER] {
                break answer;
            }
        };
        if kind(&answer) == method | SUCCESS {
            return Ok(answer);
        }
        assert_eq!(kind(&answer), method | ERROR);
        if let (Some(realm), Some(nonce)) = (find(&answer, REALM), find(&answer, NONCE)) {
            self.challenge = Some((realm.to_vec(), nonce.to_vec()));
        }
        let code = find(&answer, ERROR_CODE).unwrap();
        Err(u16::from(code[2]) * 100 + u16::from(code[3]))
    }

    fn authenticated(&self, mut message: Vec<u8>) -> Vec<u8> {
        let (Some(Credentials { username, password }), Some((realm, nonce))) =
            (&self.credentials, &self.challenge)
        else {
            return message;
        };
        for (kind, value) in [(USERNAME, username.as_bytes()), (REALM, realm), (NONCE, nonce)] {
            message.extend(attribute(kind, value));
        }
        let known = [username.as_bytes(), b":", realm, b":", password.as_bytes()].concat();
        let key = bytes(piped("md5sum", &known).split(' ').next().unwrap());
        // The length covers the code, which covers the length.
        set_length(&mut message, 24);
        let code = hmac(&key, &message);
        message.extend(attribute(MESSAGE_INTEGRITY, &code));
        message
    }

    fn transaction(&mut self) -> u64 {
        self.transactions += 1;
        self.transactions
    }

    fn write(&mut self, message: &[u8]) {
        match &mut self.link {
            // An error is that of an earlier datagram: nothing listens.
            Link::Udp(socket) => drop(socket.send(message)),
            Link::Tcp(stream) => stream.write_all(message).unwrap(),
        }
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let mut message = vec![0; 65_536];
        let length = match &mut self.link {
            Link::Udp(socket) => match socket.recv(&mut message) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
                Err(error) => panic!("no answer: {error}"),
            },
            Link::Tcp(stream) => {
                stream.read_exact(&mut message[..HEADER]).unwrap();
                let rest = HEADER + usize::from(u16::from_be_bytes([message[2], message[3]]));
                stream.read_exact(&mut message[HEADER..rest]).unwrap();
                rest
            }
        };
        message.truncate(length);
        Some(message)
    }
}

fn message(kind: u16, id: u64, attributes: &[u8]) -> Vec<u8> {
    let mut message = [&kind.to_be_bytes()[..], &[0, 0], &COOKIE, &[0; 4], &id.to_be_bytes()].concat();
    message.extend(attributes);
    set_length(&mut message, 0);
    message
}

/// Sets the length to that of the attributes so far and these bytes.
fn set_length(message: &mut [u8], more: usize) {
    let length = u16::try_from(message.len() - HEADER + more).unwrap();
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

fn kind(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    let mut attribute = [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat();
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// The value of a message's first attribute of this kind.
fn find(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = &message[HEADER..];
    while let [a, b, c, d, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        if u16::from_be_bytes([*a, *b]) == wanted {
            return after.get(..length);
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// XOR-PEER-ADDRESS.
fn xored(address: SocketAddr, id: u64) -> Vec<u8> {
    let mask = [&COOKIE[..], &[0; 4], &id.to_be_bytes()].concat();
    let (family, octets) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let plain = [&address.port().to_be_bytes()[..], &octets].concat();
    let mask = [&mask[..2], &mask].concat();
    let hidden = plain.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
    [0, family].into_iter().chain(hidden).collect()
}

/// HMAC-SHA1 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha1::digest(key).to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha1::digest([pad(0x36), text.to_vec()].concat());
    Sha1::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

/// What one of coreutils' programs makes of these bytes.
fn piped(program: &str, input: &[u8]) -> String {
    let mut command = Command::new(program);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("coreutils");
    child.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn credentials_are_those_of_the_specifications() {
    // RFC 2202, test case 2.
    let code = hmac(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(code, bytes("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
    // RFC 1321, the test suite of its appendix.
    assert_eq!(
        piped("md5sum", b"message digest").split(' ').next(),
        Some("f96b697d7cb7938d525a2f31aaf161d0")
    );
}
