//! What Scalelite's requests cost it, and what it has served.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Body;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::http::Response;

/// The time for `getServers` by the number of servers, in milliseconds (medians of 7 on Scalelite 1.8.5 with one puma
/// and the poller stopped).
const LIST: [(f64, f64); 4] = [(1.0, 7.8), (50.0, 16.4), (200.0, 52.9), (1000.0, 162.0)];
/// The time for `getServerInfo`, whatever the pool, in milliseconds. Other requests were not measured; none that goes
/// through Rails takes less.
const OTHER: std::ops::Range<f64> = 6.0..11.0;

/// The charge for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// The number of puma's workers: so many requests are worked on at once, and the others wait.
    pub workers: usize,
}

impl Default for Costs {
    /// Returns two workers.
    fn default() -> Self {
        Self { workers: 2 }
    }
}

/// What one kind of request came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Served {
    /// The number of requests, refused ones included.
    pub calls: u64,
    /// The number of servers in the answers.
    pub rows: u64,
    /// The size of the answers' bodies.
    pub bytes: u64,
}

impl AddAssign for Served {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// What was served, by operation.
pub type Traffic = BTreeMap<String, Served>;

/// Returns the sum of all operations.
pub fn total(traffic: &Traffic) -> Served {
    traffic.values().fold(Served::default(), |mut sum, served| {
        sum += *served;
        sum
    })
}

/// Returns a table for people.
pub fn table(traffic: &Traffic) -> String {
    let mut text = format!("{:<16} {:>8} {:>10} {:>12}\n", "operation", "calls", "rows", "bytes");
    let sum = ("all".to_owned(), total(traffic));
    for (operation, Served { calls, rows, bytes }) in traffic.iter().chain([(&sum.0, &sum.1)]) {
        let _ = writeln!(text, "{operation:<16} {calls:>8} {rows:>10} {bytes:>12}");
    }
    text
}

/// The number of servers in an answer, as its extension.
#[derive(Clone, Copy)]
pub(super) struct Rows(pub(super) u64);

/// Counts an answer.
pub(super) fn count(traffic: &mut Traffic, operation: &str, answer: &Response) {
    let rows = answer.extensions().get::<Rows>().map_or(0, |rows| rows.0);
    let bytes = answer.body().size_hint().exact().unwrap_or_default();
    *traffic.entry(operation.to_owned()).or_default() += Served { calls: 1, rows, bytes };
}

/// Returns how long a worker is busy with a request; `servers` is the size of the pool, and `chance` is between 0 and
/// 1.
pub(super) fn time(operation: &str, servers: usize, chance: f64) -> Duration {
    let milliseconds = match operation {
        "getServers" => list(servers),
        _ => OTHER.start + chance * (OTHER.end - OTHER.start),
    };
    Duration::from_secs_f64(milliseconds / 1000.0)
}

/// Returns the time for a list by the nearest two that were measured.
fn list(servers: usize) -> f64 {
    let servers = (servers as f64).max(1.0);
    let pairs = LIST.iter().zip(LIST.iter().skip(1));
    let mut time = 0.0;
    for ((from, least), (to, most)) in pairs {
        time = least + (servers - from) / (to - from) * (most - least);
        if servers <= *to {
            break;
        }
    }
    time
}

/// The queue before puma's workers.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Option<(usize, Arc<Semaphore>)>>);

impl Queue {
    /// Waits for one of the workers, and keeps it busy for this time.
    pub(super) async fn work(&self, costs: Costs, time: Duration) {
        let workers = self.workers(costs.workers.max(1));
        // The semaphore is never closed.
        let _busy = workers.acquire().await;
        tokio::time::sleep(time).await;
    }

    fn workers(&self, wanted: usize) -> Arc<Semaphore> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref().filter(|(workers, _)| *workers == wanted) {
            Some((_, workers)) => Arc::clone(workers),
            None => Arc::clone(&current.insert((wanted, Arc::new(Semaphore::new(wanted)))).1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Served, Traffic, list, table, total};

    #[test]
    fn lists_cost_what_was_measured() {
        for (servers, time) in
            [(0, 7.8), (1, 7.8), (50, 16.4), (200, 52.9), (1000, 162.0), (125, 34.65), (1800, 271.1)]
        {
            assert!((list(servers) - time).abs() < 0.01, "{servers}: {}", list(servers));
        }
    }

    #[test]
    fn a_table_ends_with_the_sum() {
        let traffic: Traffic = [
            ("addServer".to_owned(), Served { calls: 1, rows: 1, bytes: 200 }),
            ("getServers".to_owned(), Served { calls: 2, rows: 20, bytes: 4000 }),
        ]
        .into();
        assert_eq!(total(&traffic), Served { calls: 3, rows: 21, bytes: 4200 });
        assert!(table(&traffic).ends_with("all                     3         21         4200\n"));
    }
}
