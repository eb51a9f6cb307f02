//! Planned faults: a test or the control API plans them, matching requests use them up.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::http::ServiceName;
use crate::patience::awaited;

/// One way in which a request can fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Fault {
    /// Answer with this error instead of acting.
    Error {
        /// The HTTP status.
        status: u16,
        /// The service's own error code, e.g. `Throttling`; services without codes ignore it.
        #[serde(default)]
        code: String,
    },
    /// Act, then answer with this error nevertheless.
    ErrorAfter {
        /// The HTTP status.
        status: u16,
        /// The service's own error code.
        #[serde(default)]
        code: String,
    },
    /// Read the request and close the connection without acting.
    Close,
    /// Act, then close the connection without an answer.
    LoseReply,
    /// Act, then hold the answer back until [`Faults::release`].
    HoldReply,
    /// Read the request and never answer.
    Hang,
}

/// A fault and the requests that it affects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The service that fails.
    pub service: ServiceName,
    /// Only requests whose action contains this text are affected; all of the service's when absent.
    #[serde(default)]
    pub action: Option<String>,
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many requests fail; without a number, all until the fault is cleared.
    #[serde(default)]
    pub times: Option<u32>,
}

/// The faults still to come. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    planned: Arc<Mutex<Vec<Planned>>>,
    replies: watch::Sender<Replies>,
}

/// The number of replies held so far, and of those that may go.
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

    /// Forgets all faults of a service, or of all services.
    pub fn clear(&self, service: Option<ServiceName>) {
        let mut list = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|planned| service.is_some_and(|service| planned.service != service));
    }

    /// Waits until this many replies were held in all: their requests have been carried out.
    pub async fn held(&self, times: usize) {
        let mut replies = self.replies.subscribe();
        let what = || format!("reply {times} to hold back");
        let came = || format!("{} are held", self.replies.borrow().held);
        // The sender lives in self, so waiting cannot fail.
        let _ = awaited(what, came, replies.wait_for(|replies| replies.held >= times)).await;
    }

    /// Lets the first of the held replies go, up to this number.
    pub fn release(&self, first: usize) {
        self.replies.send_modify(|replies| replies.released = replies.released.max(first.min(replies.held)));
    }

    /// Holds a reply back.
    pub(crate) async fn hold(&self) {
        let mut number = 0;
        self.replies.send_modify(|replies| {
            replies.held += 1;
            number = replies.held;
        });
        let _ = self.replies.subscribe().wait_for(|replies| replies.released >= number).await;
    }

    /// Returns the faults that are still planned.
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
