//! The simulation's Route 53 and Scalelite give the answers of the sandbox's.
//!
//! A sequence of steps is drawn, each is done on both sides, and after each the answers and the states have to be the
//! same. Both sides are called through the traits that the agents' loops use. On the sandbox's side the agents' own
//! clients implement them, over HTTP on loopback: what an answer means to the agents is compared, clients included. A
//! refusal is compared by its variant, by what it says about trying again, and for Scalelite by status and words.
//!
//! What may differ, by intention:
//! - Ids of entries and of changes.
//! - Words of Route 53's refusals; the kind that the client makes of them has to be the same.
//! - Times: how long a change is processed, when the name servers have it, when Scalelite polls. Both sides are stepped.
//! - The order in which the simulation's Scalelite places meetings: it draws one of the servers that can be chosen. Here
//!   the sandbox chooses, and the simulation has to be able to.
//! - How many calls a method makes (`RecordSets::calls`), and how long a page is.
//! - What becomes of the meetings of a deleted entry: the simulation forgets the mapping, which nobody can reach.
//!
//! What is not drawn, because the simulation has none of it: `SERVER_ID_IS_HOSTNAME`, TXT sets that are at no ownership
//! name, two strangers' sets at one name, the limits for the sizes of batches and values, names that no host has, URLs
//! with spaces around them. Lost requests, lost replies and conflicts with others' saves are drawn by chance in the
//! simulation; what the clients make of those is tested in `agents/host`. The save conflicts of a client that is alone
//! come on both sides alike.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "agreement/route53.rs"]
mod route53;
#[path = "agreement/scalelite.rs"]
mod scalelite;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use clients::http::Tls;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sandbox::faults::Faults;
use sandbox::http::{Gate, Service};
use sandbox::journal::Journal;
use tokio::runtime::{Builder, Runtime};

/// The runtimes of the two sides: sockets need the real clock, the simulation needs one that stands still.
struct Runtimes {
    real: Runtime,
    paused: Runtime,
}

impl Runtimes {
    fn new() -> Self {
        Self {
            real: Builder::new_current_thread().enable_all().build().unwrap(),
            paused: Builder::new_current_thread().enable_time().start_paused(true).build().unwrap(),
        }
    }
}

/// Runs the steps of so many cases; panics with the smallest steps that fail.
fn check<S: Debug>(
    cases: u32,
    steps: &impl Strategy<Value = Vec<S>>,
    run: impl Fn(&[S]) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    if let Err(error) = TestRunner::new(config).run(steps, |steps| run(&steps)) {
        panic!("{error}");
    }
}

/// How often each kind of answer and of state was seen: a green run has to mean something.
#[derive(Default)]
struct Seen(RefCell<BTreeMap<String, u32>>);

impl Seen {
    fn count(&self, what: impl Debug) {
        *self.0.borrow_mut().entry(format!("{what:?}")).or_default() += 1;
    }

    /// Whether something was seen so many times: a third or less of what can be expected.
    #[track_caller]
    fn has(&self, what: impl Debug, times: u32) {
        let (seen, what) = (self.0.borrow(), format!("{what:?}"));
        assert!(seen.get(&what).is_some_and(|seen| *seen >= times), "{what} was rarely seen: {seen:?}");
    }
}

/// What TLS trusts is read once.
fn tls() -> Tls {
    static TLS: OnceLock<Tls> = OnceLock::new();
    TLS.get_or_init(|| Tls::new(None)).clone()
}

/// Serves a stand-in on loopback as long as the gate lives.
async fn serve(service: Arc<dyn Service>) -> (SocketAddr, Gate) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let route: sandbox::http::Route = Arc::new(move |_| Arc::clone(&service));
    Gate::listen(any, true, None, route, Faults::default(), Journal::default()).await.unwrap()
}
