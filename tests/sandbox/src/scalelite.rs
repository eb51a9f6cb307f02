//! Scalelite's management API, its poller and its placement of meetings, with the refusals and failures observed on
//! Scalelite 1.8.5.
//!
//! ```
//! use sandbox::bbb::Network;
//! use sandbox::scalelite::{Config, Scalelite};
//! let network = Network::plain();
//! network.route("vc-1.example.com", "127.0.0.1:8090".parse().unwrap());
//! let scalelite = Scalelite::new(Config::new("the load balancer's secret"), network);
//! scalelite.refuse_panics(3);
//! ```
//! Serve it with [`crate::http::Gate`]. The poller runs only when told to: [`Scalelite::poll`], or
//! [`Scalelite::poll_begin`] and [`Scalelite::poll_end`] with other calls in between. [`Scalelite::create_meeting`]
//! and
//! [`Scalelite::join`] act as the load balancer's own clients. Calls to the hosts' BBB APIs are real ones, to the
//! addresses in the
//! [`Network`].
//!
//! The code of a planned fault chooses its form: with status 200 it is an XML refusal with the code as its key; with
//! another status it is an uncaught error as JSON without a code, an empty page with the code `html`, and `{"error":
//! code}` with any other.

mod answers;
mod api;
mod pace;
mod params;
mod placement;
mod poller;
mod steer;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use self::placement::Refusal;
pub use self::steer::{ServerSnapshot, Snapshot};
pub use self::store::{MappedMeeting, ServerState};

use self::pace::Pace;
use self::poller::Poll;
use self::store::Store;
use crate::bbb::checksum::Algorithm;
use crate::bbb::{Network, Secret};
use crate::http::{Request, Response, Service, ServiceName};

/// The way in which servers get their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerIds {
    /// A random id for each entry: the same URL may be added twice.
    #[default]
    Uuid,
    /// The lower-cased host of the URL (`SERVER_ID_IS_HOSTNAME=true`).
    Hostname,
}

/// The configuration of a Scalelite.
#[derive(Clone, Debug)]
pub struct Config {
    /// `LOADBALANCER_SECRET`.
    pub secret: Secret,
    /// `LOADBALANCER_CHECKSUM_ALGORITHM`; all by default.
    pub algorithms: Vec<Algorithm>,
    /// `SERVER_ID_IS_HOSTNAME`.
    pub ids: ServerIds,
    /// Scalelite's version. Before 1.5.1 there is no management API, before 1.6.0 neither `tag` nor `bbb_version`.
    pub version: (u32, u32, u32),
    /// `URL_HOST`: requests for other hosts get an empty 403.
    pub url_host: Option<String>,
    /// How long a request takes between reading and committing, during which other requests get ahead and make it
    /// fail.
    pub processing: Duration,
}

impl Config {
    /// Returns the configuration of Scalelite 1.8.5 with its defaults.
    pub fn new(secret: &str) -> Self {
        Self {
            secret: Secret::new(secret),
            algorithms: Algorithm::ALL.to_vec(),
            ids: ServerIds::Uuid,
            version: (1, 8, 5),
            url_host: None,
            processing: Duration::from_millis(2),
        }
    }

    fn has_api(&self) -> bool {
        self.version >= (1, 5, 1)
    }

    fn has_tags(&self) -> bool {
        self.version >= (1, 6, 0)
    }
}

#[derive(Debug, Default)]
struct State {
    store: Store,
    redis_down: bool,
    recordings_only: bool,
    panics_to_refuse: u32,
    poll: Option<Poll>,
}

/// A Scalelite with its poller.
#[derive(Debug)]
pub struct Scalelite {
    config: Config,
    network: Network,
    pace: Pace,
    state: Mutex<State>,
}

impl Scalelite {
    /// Creates a Scalelite without servers, whose calls to BBB hosts use this network.
    pub fn new(config: Config, network: Network) -> Arc<Self> {
        let pace = Pace::new(config.processing);
        Arc::new(Self { config, network, pace, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Scalelite {
    fn name(&self) -> ServiceName {
        ServiceName::Scalelite
    }

    fn action(&self, request: &Request) -> String {
        match api::operation(&request.path) {
            Some(operation) => operation.to_owned(),
            None => format!("{} {}", request.method, request.path),
        }
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        Box::pin(api::answer(self, request))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        match (status, code) {
            (200, key) => answers::refused(key, "A planned fault."),
            (_, "") => answers::uncaught_json(status),
            (_, "html") => answers::empty(status),
            (_, message) => answers::error(status, message),
        }
    }
}
