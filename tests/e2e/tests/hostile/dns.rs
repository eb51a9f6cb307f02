//! Name servers that lie, or answer what no resolver can read: an agent takes no other's name for it, and gives up none but
//! its own.

use std::net::SocketAddr;

use e2e::{Rig, Run, at_once, label};
use sandbox::cloud::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// Who has the name in the zone.
const OTHER: &str = "i-00000000000000001";
/// A pointer to the name of the question, which comes after the head.
const ASKED: &[u8] = &[0xc0, 12];

/// Bits of the second word of a message (RFC 1035, 4.1.1): an answer, from an authority, and it is truncated.
const ANSWER: u16 = 0x8000;
const AUTHORITY: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const NO_SUCH_NAME: u16 = 3;

const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;

/// What a server answers to a question: by UDP, and by TCP with the length before it.
type Lie = fn(&Question) -> (Vec<u8>, Vec<u8>);

/// A question, as it came and as it has to be answered.
struct Question {
    packet: Vec<u8>,
    kind: u16,
    /// The text of an ownership TXT that says that the name is this host's.
    label: String,
}

impl Question {
    /// An answer with these bits and records.
    fn answer(&self, bits: u16, records: &[Vec<u8>]) -> Vec<u8> {
        let mut answer = self.packet.clone();
        answer[2..4].copy_from_slice(&(ANSWER | AUTHORITY | bits).to_be_bytes());
        answer[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        records.iter().for_each(|record| answer.extend(record));
        answer
    }

    /// The bare answer, but with the bit that makes the client ask by TCP.
    fn truncated(&self) -> Vec<u8> {
        self.answer(TRUNCATED, &[])
    }
}

fn record(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [name, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length, data].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// As a stream: with the length before it.
fn stream(answer: &[u8]) -> Vec<u8> {
    [&u16::try_from(answer.len()).unwrap().to_be_bytes(), answer].concat()
}

/// The host's own records, as they are when it is registered.
fn own(question: &Question) -> Vec<Vec<u8>> {
    match question.kind {
        A => vec![record(ASKED, A, &[203, 0, 113, 10])],
        TXT => vec![record(ASKED, TXT, &text(&question.label))],
        _ => Vec::new(),
    }
}

const LIES: &[(&str, Lie)] = &[
    ("the name is not there", |q| (q.answer(NO_SUCH_NAME, &[]), Vec::new())),
    ("the name is this host's", |q| (q.answer(0, &own(q)), Vec::new())),
    ("the same by TCP", |q| (q.truncated(), stream(&q.answer(0, &own(q))))),
    ("another id", |q| {
        let mut answer = q.answer(0, &own(q));
        answer[0] ^= 0xff;
        (answer, Vec::new())
    }),
    ("another question", |q| {
        let mut answer = q.answer(0, &own(q));
        answer[13] ^= 1;
        (answer, Vec::new())
    }),
    ("no question", |q| ([&q.packet[..2], &[0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat(), Vec::new())),
    ("records of other names", |q| {
        let other = b"\x05other\x07example\x03org\0";
        let records =
            own(q).iter().map(|record| [other.as_slice(), &record[2..]].concat()).collect::<Vec<_>>();
        (q.answer(0, &records), Vec::new())
    }),
    ("an alias of itself, a hundred times", |q| {
        (q.answer(0, &vec![record(ASKED, CNAME, ASKED); 100]), Vec::new())
    }),
    ("an address of five bytes", |q| (q.answer(0, &[record(ASKED, A, &[1; 5])]), Vec::new())),
    ("a text that is longer than its record", |q| {
        (q.answer(0, &[record(ASKED, TXT, &[200, b'x'])]), Vec::new())
    }),
    ("a text of commands to a terminal", |q| {
        (q.answer(0, &[record(ASKED, TXT, &text("heritage=bbb-agents,instance=\u{1b}[2J"))]), Vec::new())
    }),
    ("a name that points to itself", |q| {
        let here = 0xc000 | u16::try_from(q.packet.len()).unwrap();
        (q.answer(0, &[record(&here.to_be_bytes(), A, &[1; 4])]), Vec::new())
    }),
    ("a name that points beyond the end", |q| {
        (q.answer(0, &[record(&[0xff, 0xff], A, &[1; 4])]), Vec::new())
    }),
    ("65535 records are announced", |q| {
        let mut answer = q.answer(0, &[]);
        answer[6..12].fill(0xff);
        (answer, Vec::new())
    }),
    ("the question comes back", |q| (q.packet.clone(), Vec::new())),
    ("a part of the answer", |q| (q.answer(0, &own(q))[..q.packet.len() - 3].to_vec(), Vec::new())),
    ("nothing", |_| (Vec::new(), Vec::new())),
    ("65535 bytes by TCP", |q| (q.truncated(), stream(&[0; 65535]))),
    ("as many records by TCP as fit", |q| {
        let records = vec![record(ASKED, A, &[9; 4]); 4000];
        (q.truncated(), stream(&q.answer(0, &records)))
    }),
    ("truncated by TCP too", |q| (q.truncated(), stream(&q.truncated()))),
    ("half of it by TCP", |q| (q.truncated(), stream(&q.answer(0, &own(q)))[..20].to_vec())),
    ("nothing by TCP", |q| (q.truncated(), Vec::new())),
];

/// A name server that lies.
struct Liar {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One port for both; the one that UDP gets may be somebody's TCP port.
async fn bind_both() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            return (socket, listener);
        }
    }
}

impl Liar {
    async fn start(lie: Lie, label: String) -> Self {
        let (socket, listener) = bind_both().await;
        let address = socket.local_addr().unwrap();
        let answer = move |packet: &[u8]| {
            let kind = u16::from_be_bytes([packet[packet.len() - 4], packet[packet.len() - 3]]);
            lie(&Question { packet: packet.to_vec(), kind, label: label.clone() })
        };
        let task = tokio::spawn(async move {
            let (mut packet, mut open) = ([0; 512], JoinSet::new());
            loop {
                tokio::select! {
                    Ok((length, from)) = socket.recv_from(&mut packet) => {
                        // Whoever asked may have gone.
                        drop(socket.send_to(&answer(&packet[..length]).0, from).await);
                    }
                    Ok((mut connection, _)) = listener.accept() => {
                        let answer = answer.clone();
                        open.spawn(async move {
                            let length = connection.read_u16().await?;
                            let mut packet = vec![0; length.into()];
                            connection.read_exact(&mut packet).await?;
                            connection.write_all(&answer(&packet).1).await
                        });
                    }
                }
            }
        });
        Self { address, task }
    }
}

fn harmless(run: &Run, what: &str) {
    let output = format!("{}{}", run.stdout, run.stderr);
    assert!(!output.contains("panicked") && run.code >= 0, "{what}:\n{run}");
    assert!(!output.contains(|c: char| c.is_control() && c != '\n'), "{what}: control characters:\n{run}");
    assert!(output.len() < 20_000, "{what}: {} bytes", output.len());
}

/// Runs commands while the only name server lies.
async fn lied_to(rig: &Rig, what: &str, lie: Lie, commands: &[&str]) {
    let liar = Liar::start(lie, label("bbb", rig.host.id(), "1767225600")).await;
    rig.drop_in("liar", &format!("[dns]\nservers = [\"{}\"]\n", liar.address));
    for command in commands {
        let run = rig.run(&[command, "--log-level", "debug", "--set", "timeouts.register=2"]).await;
        harmless(&run, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_name_stays_anothers_whatever_a_name_server_says() {
    at_once(LIES.iter().copied(), async |(what, lie)| {
        let rig = Rig::start(Options::default()).await;
        rig.give_away(OTHER, "203.0.113.99");
        let before = rig.records();
        lied_to(&rig, what, lie, &["status", "deregister"]).await;
        assert_eq!(rig.records(), before, "{what}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_registered_stays_so_whatever_a_name_server_says() {
    at_once(LIES.iter().copied(), async |(what, lie)| {
        let rig = Rig::start(Options::default()).await;
        rig.expect(0, &["register"]).await;
        lied_to(&rig, what, lie, &["register", "status"]).await;
        assert_eq!(rig.records(), rig.registered_now(), "{what}");
    })
    .await;
}
