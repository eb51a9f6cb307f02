//! The journal of the cloud: every request with its service, action and status, for counting and waiting; complete
//! requests where a caller wants to replay them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::http::{Request, ServiceName};
use crate::patience::awaited;

/// One request that reached the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The service that was asked.
    pub service: ServiceName,
    /// The action, e.g. `ChangeResourceRecordSets`.
    pub action: String,
    /// The HTTP status of the answer; none when the connection was closed or left hanging.
    pub status: Option<u16>,
}

/// Complete requests, while a caller wants them.
type Kept = Arc<Mutex<Option<Vec<(ServiceName, Request)>>>>;

/// All requests since the start or the last [`Journal::clear`]. Clones share one list.
#[derive(Clone, Debug)]
pub struct Journal {
    entries: watch::Sender<Vec<Entry>>,
    kept: Kept,
}

impl Default for Journal {
    fn default() -> Self {
        Self { entries: watch::Sender::new(Vec::new()), kept: Arc::default() }
    }
}

impl Journal {
    /// Notes the arrival of a request.
    pub(crate) fn arrived(&self, service: ServiceName, request: &Request) {
        if let Some(kept) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            kept.push((service, request.clone()));
        }
    }

    /// Notes the outcome of a request.
    pub(crate) fn record(&self, service: ServiceName, action: &str, status: Option<u16>) {
        self.entries
            .send_modify(|entries| entries.push(Entry { service, action: action.to_owned(), status }));
    }

    /// Returns all entries so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.borrow().clone()
    }

    /// Forgets all entries so far.
    pub fn clear(&self) {
        self.entries.send_modify(Vec::clear);
    }

    /// Keeps complete requests from now on, with the credentials and secrets in them.
    pub fn keep_requests(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// Returns the requests since [`Journal::keep_requests`], in the order of their arrival, and stops keeping them.
    pub fn take_requests(&self) -> Vec<(ServiceName, Request)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Returns how many requests had this service and an action containing this text.
    pub fn count(&self, service: ServiceName, action: &str) -> usize {
        count(&self.entries.borrow(), service, action)
    }

    /// Returns the number of requests per service and action, for reports.
    pub fn tally(&self) -> BTreeMap<(ServiceName, String), usize> {
        let mut tally = BTreeMap::new();
        for entry in self.entries.borrow().iter() {
            *tally.entry((entry.service, entry.action.clone())).or_default() += 1;
        }
        tally
    }

    /// Waits until at least `times` such requests were made.
    pub async fn reached(&self, service: ServiceName, action: &str, times: usize) {
        let mut entries = self.entries.subscribe();
        let what = || format!("request {times} of {service:?} {action:?}");
        // The sender lives in self, so waiting cannot fail.
        let _ = awaited(
            what,
            || self.last(),
            entries.wait_for(|entries| count(entries, service, action) >= times),
        )
        .await;
    }

    /// Returns the last requests, for a test that waits in vain.
    fn last(&self) -> String {
        let entries = self.entries.borrow();
        let last = entries.iter().skip(entries.len().saturating_sub(20));
        last.map(|entry| format!("\n  {:?} {}", entry.service, entry.action)).collect()
    }
}

fn count(entries: &[Entry], service: ServiceName, action: &str) -> usize {
    entries.iter().filter(|entry| entry.service == service && entry.action.contains(action)).count()
}
