//! The number of BBB's recording jobs, queued or running: a few read-only questions in Redis' own protocol (RESP2).
//!
//! Resque keeps the names of its queues in the set `resque:queues` and each queue in a list `resque:queue:<name>`;
//! those for recordings begin with `rap:` (BBB's `archive_worker.rb` and the others beside it). A worker takes its job
//! out of the list; from then on its name, `<host>:<pid>:<queues>`, is in the set `resque:workers`, and
//! `resque:worker:<name>` exists until the job is done (Resque's `data_store.rb`).

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Redis;

/// The time limit for all questions together.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes of a line: more than Redis sends here.
const MAX_LINE: u64 = 512;

/// The most queues and the most workers: more than any BBB has.
const MAX_MEMBERS: usize = 1000;

/// Counts the jobs in all recording queues and those that a worker has taken.
pub(super) async fn jobs(server: &Redis) -> Result<u64, Uncounted> {
    let address = server.address;
    let asked = async {
        let connection = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Problem::NotListening,
            _ => Problem::Lost(error),
        })?;
        ask(connection, server.password.as_ref()).await
    };
    let counted = timeout(PATIENCE, asked).await.unwrap_or(Err(Problem::Silent));
    counted.map_err(|problem| Uncounted { address, problem })
}

/// The jobs of a Redis that were not counted. Of the server's own text this contains only Redis' error word.
#[derive(Debug, thiserror::Error)]
#[error("BBB's recording jobs were not counted: Redis at {address}: {problem}")]
pub(super) struct Uncounted {
    address: SocketAddr,
    problem: Problem,
}

impl Uncounted {
    /// Reports whether nothing listens there.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.problem, Problem::NotListening)
    }
}

/// A failure to count the jobs.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The connection was refused.
    #[error("connection refused: nothing listens there; start it, or set recordings.redis to its address")]
    NotListening,
    /// The connection failed.
    #[error("{0}")]
    Lost(#[from] Error),
    /// No answer came in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// Redis answers only with a password, and none was given.
    #[error("it wants a password: set recordings.redis_password")]
    NoPassword,
    /// Redis does not take the password.
    #[error("it does not take the password of recordings.redis_password")]
    WrongPassword,
    /// Redis refused with this error word.
    #[error("{}", refusal(.0))]
    Refused(String),
    /// The answer is not Redis'.
    #[error("the answer is none that Redis gives")]
    Garbage,
}

impl Problem {
    /// Reads a refusal, of which only the first word is kept; `None` for another answer.
    fn of(line: &str) -> Option<Self> {
        let word = line.strip_prefix('-')?.split(' ').next().unwrap_or_default();
        let usual = !word.is_empty() && word.len() < 32 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        Some(match word {
            "NOAUTH" => Self::NoPassword,
            "WRONGPASS" => Self::WrongPassword,
            word if usual => Self::Refused(word.to_owned()),
            _ => Self::Garbage,
        })
    }
}

fn refusal(word: &str) -> String {
    let meaning = match word {
        "DENIED" => " (protected mode): set a password, or let it listen on this host only",
        "LOADING" => ": it is reading its data after a start",
        "NOPERM" => ": the password's user needs the commands smembers, llen and exists",
        _ => "",
    };
    format!("it answered {word}{meaning}")
}

/// Counts the jobs over this connection, after giving the password, if there is one. Sets no time limit: the caller
/// does.
pub async fn ask(
    connection: impl AsyncRead + AsyncWrite + Unpin,
    password: Option<&SecretString>,
) -> Result<u64, Problem> {
    let mut redis = BufReader::new(connection);
    let Some(password) = password else { return count(&mut redis).await };
    give(&mut redis, password).await?;
    // Before version 6, Redis says that a password is wrong in words only, so the next answer counts.
    count(&mut redis).await.map_err(|problem| match problem {
        Problem::NoPassword => Problem::WrongPassword,
        other => other,
    })
}

async fn count<C: AsyncRead + AsyncWrite + Unpin>(redis: &mut BufReader<C>) -> Result<u64, Problem> {
    let mut jobs = 0u64;
    for queue in members(redis, "resque:queues").await?.iter().filter(|queue| queue.starts_with("rap:")) {
        question(redis, &["LLEN", &format!("resque:queue:{queue}")]).await?;
        jobs = jobs.saturating_add(number(redis, ':').await?);
    }
    for worker in members(redis, "resque:workers").await?.iter().filter(|name| records(name)) {
        question(redis, &["EXISTS", &format!("resque:worker:{worker}")]).await?;
        jobs = jobs.saturating_add(number(redis, ':').await?);
    }
    Ok(jobs)
}

/// Reports whether a worker with this name takes jobs of recordings, or may do so (`*`).
fn records(worker: &str) -> bool {
    let queues = worker.splitn(3, ':').nth(2).unwrap_or("*");
    queues.split(',').any(|queue| queue.starts_with("rap:") || queue.contains('*'))
}

/// Gives the password. A Redis without one answers `ERR`, too, and then answers all questions.
async fn give<C: AsyncRead + AsyncWrite + Unpin>(
    redis: &mut BufReader<C>,
    password: &SecretString,
) -> Result<(), Problem> {
    let password = password.expose_secret();
    let request = Zeroizing::new(format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len()));
    redis.write_all(request.as_bytes()).await?;
    let answer = line(redis).await?;
    match (answer.as_str(), Problem::of(&answer)) {
        ("+OK", _) => Ok(()),
        (_, Some(Problem::Refused(word))) if word == "ERR" => Ok(()),
        (_, problem) => Err(problem.unwrap_or(Problem::Garbage)),
    }
}

/// Lists the members of a set.
async fn members<C: AsyncRead + AsyncWrite + Unpin>(
    redis: &mut BufReader<C>,
    set: &str,
) -> Result<Vec<String>, Problem> {
    question(redis, &["SMEMBERS", set]).await?;
    let count = usize::try_from(number(redis, '*').await?).ok().filter(|count| *count <= MAX_MEMBERS);
    let mut members = Vec::new();
    for _ in 0..count.ok_or(Problem::Garbage)? {
        members.push(text(redis).await?);
    }
    Ok(members)
}

/// Sends a command in the form of Redis' clients: an array of texts with their lengths.
async fn question<C: AsyncRead + AsyncWrite + Unpin>(
    redis: &mut BufReader<C>,
    words: &[&str],
) -> Result<(), Problem> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    redis.write_all(request.as_bytes()).await?;
    Ok(())
}

/// Reads a line with a number after this mark.
async fn number(redis: &mut BufReader<impl AsyncRead + Unpin>, mark: char) -> Result<u64, Problem> {
    let line = line(redis).await?;
    match Problem::of(&line) {
        Some(problem) => Err(problem),
        None => line.strip_prefix(mark).and_then(|number| number.parse().ok()).ok_or(Problem::Garbage),
    }
}

/// Reads a text with its length before it.
async fn text(redis: &mut BufReader<impl AsyncRead + Unpin>) -> Result<String, Problem> {
    let length = number(redis, '$').await?;
    if length > MAX_LINE {
        return Err(Problem::Garbage);
    }
    // The text is one line: a queue with a line end in its name is none of BBB's.
    let text = line(redis).await?;
    if u64::try_from(text.len()).is_ok_and(|found| found == length) {
        Ok(text)
    } else {
        Err(Problem::Garbage)
    }
}

async fn line(redis: &mut BufReader<impl AsyncRead + Unpin>) -> Result<String, Problem> {
    let mut line = Vec::new();
    redis.take(MAX_LINE + 2).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(Problem::Lost(ErrorKind::UnexpectedEof.into()));
    }
    let line = line.strip_suffix(b"\r\n").ok_or(Problem::Garbage)?;
    String::from_utf8(line.to_vec()).map_err(|_| Problem::Garbage)
}
