//! `poll ADDRESS`: the least that a program has to do to watch the metadata service at ADDRESS as the service does,
//! until it is killed. It has one thread and one connection, and reads only the length of each answer.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;

/// The default of `checks.metadata`.
const EVERY: Duration = Duration::from_secs(2);
/// The interval, in polls, for events that are announced long before.
const SLOW: u32 = 15;

const URGENT: [&str; 2] = ["autoscaling/target-lifecycle-state", "spot/instance-action"];
const EARLY: [&str; 2] = ["events/recommendations/rebalance", "events/maintenance/scheduled"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "poll: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("which address?")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(poll(&address))
}

async fn poll(address: &str) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let lifetime = "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\nContent-Length: 0";
    let token = exchange(
        &mut stream,
        &format!("PUT /latest/api/token HTTP/1.1\r\nHost: {address}\r\n{lifetime}\r\n\r\n"),
    )
    .await?;
    let request = |key| {
        format!(
            "GET /latest/meta-data/{key} HTTP/1.1\r\nHost: {address}\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n"
        )
    };
    let (urgent, early) = (URGENT.map(request), EARLY.map(request));
    let mut ticks = interval(EVERY);
    for round in 0_u32.. {
        ticks.tick().await;
        let early = early.iter().filter(|_| round % SLOW == 0);
        for request in urgent.iter().chain(early) {
            exchange(&mut stream, request).await?;
        }
    }
    Ok(())
}

/// Sends a request and returns the body of its answer, which must have a length.
async fn exchange(stream: &mut TcpStream, request: &str) -> Result<String, Box<dyn Error>> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the connection was closed".into());
        }
        let text = std::str::from_utf8(&answer)?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            return Ok(body.to_owned());
        }
    }
}
