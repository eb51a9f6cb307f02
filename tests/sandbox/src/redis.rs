//! A stand-in for the Redis of a BBB host, as far as BBB's recording jobs use it: a set with the names of the queues
//! and a list for each, a set with the names of the workers and a key for each that is at work. It speaks RESP2 on a
//! socket of its own, answers `AUTH`, `SMEMBERS`, `LLEN` and `EXISTS`, and refuses everything else: the agent has no
//! reason to write here.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The set with the names of all queues.
const QUEUES: &str = "resque:queues";

/// The number of connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// The set with the names of all workers.
const WORKERS: &str = "resque:workers";

const NO_AUTH: &str = "-NOAUTH Authentication required.\r\n";
const WRONG_PASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NO_PASSWORD: &str = "-ERR AUTH <password> called without any password configured for the default user. Are you sure \
                           your configuration is correct?\r\n";

/// The manner of the stand-in's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// Correct answers.
    #[default]
    Answer,
    /// `NOAUTH`: it requires a password, and takes none.
    Locked,
    /// Bytes that are not RESP, as from another service at the port.
    Garbage,
    /// No answers.
    Silent,
}

/// The stand-in. It stops listening when it is dropped.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Accepts connections, which end with it.
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    /// Keeps the address while nothing listens there: without it any program could get the port meanwhile.
    _kept: TcpSocket,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    manner: Manner,
    /// `requirepass`.
    password: Option<String>,
    queues: BTreeMap<String, u64>,
    /// Whether each worker is at work.
    workers: BTreeMap<String, bool>,
    asked: Vec<String>,
}

impl Redis {
    /// Starts a stand-in without queues, on a port of its own.
    pub async fn start() -> io::Result<Self> {
        let kept = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let redis = Self {
            address: kept.local_addr()?,
            shared: Arc::new(Shared::default()),
            task: tokio::sync::Mutex::new(None),
            _kept: kept,
        };
        redis.open().await?;
        Ok(redis)
    }

    /// Refuses connections and ends those that there are, as where Redis does not run.
    pub async fn close(&self) {
        if let Some(task) = self.task.lock().await.take() {
            task.abort();
            // It ends with an error: it was aborted.
            let _ = task.await;
        }
    }

    /// Accepts connections again.
    pub async fn open(&self) -> io::Result<()> {
        let mut task = self.task.lock().await;
        if task.is_none() {
            let listener = socket(self.address)?.listen(BACKLOG)?;
            *task = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
        }
        Ok(())
    }

    /// Sets the password that every connection has to give from now on (`requirepass`); `None` asks for none.
    pub fn set_password(&self, password: Option<&str>) {
        self.shared.state().password = password.map(str::to_owned);
    }

    /// Returns the address of the stand-in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the manner of answers from now on.
    pub fn set_manner(&self, manner: Manner) {
        self.shared.state().manner = manner;
    }

    /// Sets how many jobs a queue has, e.g. `rap:archive`. Resque never forgets a queue, so an empty one still exists.
    pub fn set_queue(&self, name: &str, jobs: u64) {
        self.shared.state().queues.insert(name.to_owned(), jobs);
    }

    /// Sets a worker, e.g. `bbb:4711:rap:archive,rap:publish`, and whether it has a job in hand.
    pub fn set_worker(&self, name: &str, works: bool) {
        self.shared.state().workers.insert(name.to_owned(), works);
    }

    /// Changes how many jobs a queue has.
    pub(crate) fn change(&self, name: &str, by: i64) {
        let mut state = self.shared.state();
        let jobs = state.queues.entry(name.to_owned()).or_default();
        *jobs = jobs.saturating_add_signed(by);
    }

    /// Returns all queues.
    pub fn queues(&self) -> BTreeMap<String, u64> {
        self.shared.state().queues.clone()
    }

    /// Returns the commands so far, e.g. `LLEN resque:queue:rap:archive`; `AUTH` without the password.
    pub fn asked(&self) -> Vec<String> {
        self.shared.state().asked.clone()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the answer to a command; none means silence. `trusted` tells whether the connection has given the
    /// password.
    fn answer(&self, command: &[String], trusted: &mut bool) -> Option<String> {
        let mut state = self.state();
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let secret = words.first().is_some_and(|word| word.eq_ignore_ascii_case("AUTH"));
        state.asked.push(if secret { "AUTH".to_owned() } else { command.join(" ") });
        match state.manner {
            Manner::Answer if secret => Some(state.authenticate(&words, trusted)),
            Manner::Answer if state.password.is_some() && !*trusted => Some(NO_AUTH.to_owned()),
            Manner::Answer => Some(state.read(&words)),
            Manner::Locked if secret => Some(WRONG_PASS.to_owned()),
            Manner::Locked => Some(NO_AUTH.to_owned()),
            Manner::Garbage => Some("220 mail.example.org ESMTP\r\n".to_owned()),
            Manner::Silent => None,
        }
    }
}

impl State {
    /// Answers `AUTH password` or `AUTH default password`, as Redis does since its version 6.
    fn authenticate(&self, command: &[&str], trusted: &mut bool) -> String {
        let given = match command {
            [_, password] | [_, "default", password] => *password,
            [_, _, _] => return WRONG_PASS.to_owned(),
            _ => return "-ERR wrong number of arguments for 'auth' command\r\n".to_owned(),
        };
        match &self.password {
            None => NO_PASSWORD.to_owned(),
            Some(password) => {
                *trusted = password == given;
                if *trusted { "+OK\r\n" } else { WRONG_PASS }.to_owned()
            }
        }
    }

    fn read(&self, command: &[&str]) -> String {
        const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
        match command {
            ["SMEMBERS", QUEUES] => set(self.queues.keys()),
            ["SMEMBERS", WORKERS] => set(self.workers.keys()),
            ["SMEMBERS", key] if self.list(key).is_some() => WRONG_TYPE.to_owned(),
            ["SMEMBERS", _] => "*0\r\n".to_owned(),
            ["EXISTS", key] => {
                let works = key.strip_prefix("resque:worker:").and_then(|name| self.workers.get(name));
                let there = works == Some(&true) || self.list(key).is_some();
                format!(":{}\r\n", u8::from(there))
            }
            ["LLEN", QUEUES | WORKERS] => WRONG_TYPE.to_owned(),
            ["LLEN", key] => format!(":{}\r\n", self.list(key).unwrap_or(0)),
            ["SMEMBERS" | "LLEN" | "EXISTS", ..] => {
                "-ERR wrong number of arguments for this command\r\n".to_owned()
            }
            _ => "-NOPERM this user has no permissions to run this command\r\n".to_owned(),
        }
    }

    /// Returns the length of a queue's list; Redis has no empty lists.
    fn list(&self, key: &str) -> Option<u64> {
        let jobs = self.queues.get(key.strip_prefix("resque:queue:")?).copied();
        jobs.filter(|jobs| *jobs > 0)
    }
}

fn set<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let count = names.len();
    let names: String = names.map(|name| format!("${}\r\n{name}\r\n", name.len())).collect();
    format!("*{count}\r\n{names}")
}

/// Returns a socket at this address, which others of this process may have too.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // The connections end with the listener.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    let mut trusted = false;
    while let Ok(Some(command)) = command(&mut stream).await {
        let answer = shared.answer(&command, &mut trusted);
        if let Some(answer) = answer
            && stream.write_all(answer.as_bytes()).await.is_err()
        {
            return;
        }
    }
    // Input that is not RESP gets Redis' own error; then the connection ends.
    let _ = stream.write_all(b"-ERR Protocol error\r\n").await;
}

/// Reads one command, an array of texts; none when it is something else or the connection has ended.
async fn command(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<String>>> {
    let Some(count) = number(stream, '*').await? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let Some(length) = number(stream, '$').await? else { return Ok(None) };
        let mut text = vec![0; length + 2];
        stream.read_exact(&mut text).await?;
        let Some(text) = text.strip_suffix(b"\r\n") else { return Ok(None) };
        words.push(String::from_utf8_lossy(text).into_owned());
    }
    Ok(Some(words))
}

async fn number(stream: &mut BufReader<TcpStream>, mark: char) -> io::Result<Option<usize>> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let number = line.strip_prefix(mark).and_then(|line| line.strip_suffix("\r\n"));
    Ok(number.and_then(|number| number.parse().ok()).filter(|number| *number <= 1024))
}
