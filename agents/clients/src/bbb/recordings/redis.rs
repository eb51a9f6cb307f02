//! The number of BBB's recording jobs, queued or running: a few read-only questions in Redis' own protocol (RESP2).
//!
//! Resque keeps the names of its queues in the set `resque:queues` and each queue in a list `resque:queue:<name>`;
//! those for recordings begin with `rap:` (BBB's `archive_worker.rb` and the others beside it). A worker takes its job
//! out of the list; from then on its name, `<host>:<pid>:<queues>`, is in the set `resque:workers`, and
//! `resque:worker:<name>` exists until the job is done (Resque's `data_store.rb`).

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The time limit for all questions together.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes of a line: more than Redis sends here.
const MAX_LINE: u64 = 512;

/// The most queues and the most workers: more than any BBB has.
const MAX_MEMBERS: usize = 1000;

/// Counts the jobs in all recording queues and those that a worker has taken. Zero where nothing listens, because then
/// there is no BBB. Otherwise the error gives the reason for a person; of the server's own text it contains only
/// Redis' error word.
pub(super) async fn jobs(server: SocketAddr) -> Result<u64, String> {
    let asked = async { ask(TcpStream::connect(server).await?).await };
    let why = match timeout(PATIENCE, asked).await {
        Ok(Ok(jobs)) => return Ok(jobs),
        Ok(Err(Problem::Lost(error))) if error.kind() == ErrorKind::ConnectionRefused => return Ok(0),
        Ok(Err(problem)) => problem.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    Err(format!("BBB's queued jobs are not counted: Redis at {server}: {why}"))
}

/// A failure to count the jobs.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The connection failed.
    #[error("{0}")]
    Lost(#[from] Error),
    /// Redis refused with this error word.
    #[error("{}", refusal(.0))]
    Refused(String),
    /// The answer is not Redis'.
    #[error("the answer is none that Redis gives")]
    Garbage,
}

fn refusal(word: &str) -> String {
    if word == "NOAUTH" { "it wants a password".to_owned() } else { format!("it answered {word}") }
}

/// Counts the jobs over this connection. Sets no time limit: the caller does.
pub async fn ask(connection: impl AsyncRead + AsyncWrite + Unpin) -> Result<u64, Problem> {
    let mut redis = BufReader::new(connection);
    let mut jobs = 0u64;
    for queue in members(&mut redis, "resque:queues").await?.iter().filter(|queue| queue.starts_with("rap:"))
    {
        question(&mut redis, &["LLEN", &format!("resque:queue:{queue}")]).await?;
        jobs = jobs.saturating_add(number(&mut redis, ':').await?);
    }
    for worker in members(&mut redis, "resque:workers").await?.iter().filter(|name| name.contains(":rap:")) {
        question(&mut redis, &["EXISTS", &format!("resque:worker:{worker}")]).await?;
        jobs = jobs.saturating_add(number(&mut redis, ':').await?);
    }
    Ok(jobs)
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
    if let Some(refusal) = line.strip_prefix('-') {
        let word = refusal.split(' ').next().unwrap_or_default();
        let usual = !word.is_empty() && word.len() < 32 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        return Err(if usual { Problem::Refused(word.to_owned()) } else { Problem::Garbage });
    }
    line.strip_prefix(mark).and_then(|number| number.parse().ok()).ok_or(Problem::Garbage)
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
