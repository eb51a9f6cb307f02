//! The metrics: what it costs to send them to CloudWatch once, and to answer Prometheus once.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::figures::{Aim, Figure, Unit};
use bench::measure::quantile;
use sandbox::cloudwatch::Datum;
use sandbox::http::ServiceName;
use serde_json::{Value, json};

use crate::commands::Situation;
use crate::record::Runs;
use crate::replay::Recording;
use crate::rig::Rig;
use crate::{DISCARDED, Error};

/// The number of runs of the floor that sends metrics.
const RUNS: usize = 20;
/// The number of scrapes that are timed together: one alone takes less than the clock's and the scheduler's whims.
const TOGETHER: u32 = 10;
/// The aim for an answer to Prometheus, in microseconds: of its scrape interval, seconds, it is nothing.
const SCRAPE: u64 = 10_000;

impl Rig {
    /// Returns the CPU time for sending the metrics once: what the service has spent on it in all, in microseconds, by
    /// the number of its calls. The floor is a program that starts and makes the last of these calls; the peer is a call
    /// of the aws CLI with the same metrics.
    pub(crate) async fn sent(&self, spent: u64) -> Result<Vec<Figure>, Error> {
        let mut requests = self.cloud.journal.take_requests();
        requests.retain(|(service, _)| *service == ServiceName::CloudWatch);
        let calls = u64::try_from(requests.len())?;
        let last = requests.pop().ok_or("the service has sent no metrics")?;
        let recording = Recording {
            cloud: Arc::clone(&self.cloud),
            host: Arc::clone(&self.host),
            requests: vec![last],
            queries: Vec::new(),
            entries: BTreeMap::new(),
            added: Vec::new(),
        };
        let data = self.metrics();
        let mut floor = Runs::default();
        for _ in 0..RUNS {
            floor.add(self.replay(&recording, &Situation::default()).await?);
        }
        let sent = |name: &str, least| {
            Figure::new(format!("{name}: CPU"), Unit::Microseconds, spent / calls).floor(least)
        };
        let mut figures = vec![sent("metrics, sent once", floor.cpu(0.5))];
        let file = self.directory.path().join("metrics.json");
        std::fs::write(&file, data.to_string())?;
        let file = format!("file://{}", file.display());
        let put = ["cloudwatch", "put-metric-data", "--namespace", "BBB", "--metric-data", &file];
        if let Some(runs) = self.cli(&put).await? {
            figures.push(sent("metrics, sent once, beside a call of the aws CLI", runs.cpu(0.5)));
        }
        Ok(figures)
    }

    /// The metrics that CloudWatch got with the last call, as the CLI takes them.
    fn metrics(&self) -> Value {
        let data = self.cloud.cloudwatch.data();
        let last: BTreeMap<&str, &Datum> = data.iter().map(|datum| (datum.name.as_str(), datum)).collect();
        let metric = |(name, datum): (&&str, &&Datum)| {
            let dimension = |(name, value)| json!({ "Name": name, "Value": value });
            let dimensions: Vec<Value> = datum.dimensions.iter().map(dimension).collect();
            json!({ "MetricName": name, "Dimensions": dimensions, "Value": datum.values.first(), "Unit": datum.unit })
        };
        last.iter().map(metric).collect()
    }

    /// Measures an answer to Prometheus, and beside it, in turn, that of a server which has the same bytes at hand.
    pub(crate) async fn scraped(&self, runs: usize) -> Result<Vec<Figure>, Error> {
        let socket = |name| self.directory.path().join(name);
        let (own, bare) = (socket("metrics"), socket("bare"));
        let listen = own.display().to_string();
        let service = self.serving(&[("BBB_AGENT_METRICS_LISTEN", listen.as_str())]).await?;
        let answer = scrape(&own).await?.1;
        if !String::from_utf8_lossy(&answer).contains("\nbbb_agent_registered") {
            return Err(format!("no metrics: {}", String::from_utf8_lossy(&answer)).into());
        }
        let listener = UnixListener::bind(&bare)?;
        std::thread::spawn(move || serve(&listener, &answer));
        let (mut times, mut floors) = (Vec::new(), Vec::new());
        for number in 0..runs + DISCARDED {
            let (time, floor) = (scrape(&own).await?.0, scrape(&bare).await?.0);
            if number >= DISCARDED {
                times.push(time);
                floors.push(floor);
            }
        }
        let before = service.cpu()?;
        for _ in 0..runs {
            scrape(&own).await?;
        }
        let spent = (service.cpu()? - before) / (u64::try_from(runs)? * u64::from(TOGETHER));
        service.kill().await?;
        let wall = Figure::new("Prometheus' scrape: wall", Unit::Microseconds, quantile(&times, 0.5));
        Ok(vec![
            wall.late(quantile(&times, 0.9)).floor(quantile(&floors, 0.5)).aim(Aim::AtMost(SCRAPE)),
            Figure::new("Prometheus' scrape: CPU of the service", Unit::Microseconds, spent),
        ])
    }
}

/// Asks for the metrics some times, each over a connection of its own; returns the time of one, in microseconds, and the
/// last answer.
async fn scrape(socket: &Path) -> Result<(u64, Vec<u8>), Error> {
    let socket: PathBuf = socket.to_owned();
    let asked = tokio::task::spawn_blocking(move || -> io::Result<(Duration, Vec<u8>)> {
        let mut answer = Vec::new();
        let started = Instant::now();
        for _ in 0..TOGETHER {
            answer.clear();
            let mut stream = UnixStream::connect(&socket)?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
            stream.read_to_end(&mut answer)?;
        }
        Ok((started.elapsed() / TOGETHER, answer))
    });
    let (time, answer) = asked.await??;
    Ok((u64::try_from(time.as_micros())?, answer))
}

/// Answers every request with these bytes, until the program ends.
fn serve(listener: &UnixListener, answer: &[u8]) {
    for mut stream in listener.incoming().flatten() {
        // A client that has gone is not answered.
        let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(answer));
    }
}
