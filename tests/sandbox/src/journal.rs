//! What was asked of the cloud: every request with its service, action and status, to be counted and waited for.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::watch;

use crate::http::ServiceName;

/// One request that reached the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Who was asked.
    pub service: ServiceName,
    /// What was asked, e.g. `ChangeResourceRecordSets`.
    pub action: String,
    /// The HTTP status of the answer; none when the connection was closed or left hanging.
    pub status: Option<u16>,
}

/// All requests since the start or the last [`Journal::clear`]. Clones share one list.
#[derive(Clone, Debug)]
pub struct Journal(watch::Sender<Vec<Entry>>);

impl Default for Journal {
    fn default() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }
}

impl Journal {
    pub(crate) fn record(&self, service: ServiceName, action: &str, status: Option<u16>) {
        self.0.send_modify(|entries| entries.push(Entry { service, action: action.to_owned(), status }));
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.borrow().clone()
    }

    /// Forgets everything so far.
    pub fn clear(&self) {
        self.0.send_modify(Vec::clear);
    }

    /// How many requests had this service and an action containing this text.
    pub fn count(&self, service: ServiceName, action: &str) -> usize {
        count(&self.0.borrow(), service, action)
    }

    /// Requests per service and action, for reports.
    pub fn tally(&self) -> BTreeMap<(ServiceName, String), usize> {
        let mut tally = BTreeMap::new();
        for entry in self.0.borrow().iter() {
            *tally.entry((entry.service, entry.action.clone())).or_default() += 1;
        }
        tally
    }

    /// Returns once at least `times` such requests were made.
    pub async fn reached(&self, service: ServiceName, action: &str, times: usize) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|entries| count(entries, service, action) >= times).await;
    }
}

fn count(entries: &[Entry], service: ServiceName, action: &str) -> usize {
    entries.iter().filter(|entry| entry.service == service && entry.action.contains(action)).count()
}
