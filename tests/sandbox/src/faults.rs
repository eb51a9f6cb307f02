//! What goes wrong, on demand: planned by a test or by the control API, consumed by matching requests.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::http::ServiceName;

/// One way in which a request can fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Fault {
    /// Answer with this error instead of acting.
    Error {
        /// HTTP status.
        status: u16,
        /// The service's own error code, e.g. `Throttling`; services without codes ignore it.
        #[serde(default)]
        code: String,
    },
    /// Act, then answer with this error all the same.
    ErrorAfter {
        /// HTTP status.
        status: u16,
        /// The service's own error code.
        #[serde(default)]
        code: String,
    },
    /// Read the request and close the connection without acting.
    Close,
    /// Act, then close the connection without an answer.
    LoseReply,
    /// Act, then keep the answer back until [`Faults::release`].
    HoldReply,
    /// Read the request and never answer.
    Hang,
}

/// A fault with what it applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The service that fails.
    pub service: ServiceName,
    /// Only requests whose action contains this text; all of the service's when absent.
    #[serde(default)]
    pub action: Option<String>,
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many requests fail; until cleared when absent.
    #[serde(default)]
    pub times: Option<u32>,
}

/// The faults still to come. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    planned: Arc<Mutex<Vec<Planned>>>,
    replies: watch::Sender<Replies>,
}

/// How many replies were held so far, and how many of them may go.
#[derive(Clone, Copy, Debug, Default)]
struct Replies {
    held: usize,
    released: usize,
}

impl Faults {
    /// Adds a fault; the oldest matching one is used first.
    pub fn plan(&self, planned: Planned) {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).push(planned);
    }

    /// Forgets all faults of a service, or all.
    pub fn clear(&self, service: Option<ServiceName>) {
        let mut list = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|planned| service.is_some_and(|service| planned.service != service));
    }

    /// Returns once so many replies were held in all: the requests have been acted upon.
    pub async fn held(&self, times: usize) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.replies.subscribe().wait_for(|replies| replies.held >= times).await;
    }

    /// Lets the first so many replies go, of those that were held so far.
    pub fn release(&self, first: usize) {
        self.replies.send_modify(|replies| replies.released = replies.released.max(first.min(replies.held)));
    }

    /// Keeps a reply back.
    pub(crate) async fn hold(&self) {
        let mut number = 0;
        self.replies.send_modify(|replies| {
            replies.held += 1;
            number = replies.held;
        });
        let _ = self.replies.subscribe().wait_for(|replies| replies.released >= number).await;
    }

    /// What is still planned.
    pub fn planned(&self) -> Vec<Planned> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn take(&self, service: ServiceName, action: &str) -> Option<Fault> {
        let mut list = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let index = list.iter().position(|planned| {
            planned.service == service
                && planned.times != Some(0)
                && planned.action.as_ref().is_none_or(|part| action.contains(part.as_str()))
        })?;
        let planned = list.get_mut(index)?;
        let fault = planned.fault.clone();
        if let Some(times) = &mut planned.times {
            *times -= 1;
            if *times == 0 {
                list.remove(index);
            }
        }
        Some(fault)
    }
}
