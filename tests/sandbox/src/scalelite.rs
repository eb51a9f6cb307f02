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
//!
//! By default nothing is left to chance, so that tests can count calls. [`Config::as_observed`] makes it as unkind as
//! the real one: save conflicts for a client that is alone, a poller that loses results and is held up by dead hosts,
//! and requests that take the time that they were measured to take.

mod answers;
mod api;
mod connections;
mod decimal;
mod load;
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

pub use self::connections::StrayWatches;
pub use self::load::{Costs, Served, Traffic, table, total};
pub use self::placement::Refusal;
pub use self::poller::{Poller, Polling};
pub use self::steer::{ServerSnapshot, Snapshot};
pub use self::store::{MappedMeeting, ServerState};

use self::connections::Connections;
use self::load::Queue;
use self::pace::Pace;
use self::poller::Poll;
use self::store::{Server, Store};
use crate::bbb::checksum::Algorithm;
use crate::bbb::{CallError, Limits, Network, Secret};
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
    /// Whether a poll reaches a server as soon as it is enabled, for tests that are not about polls. All other polls
    /// come when they are told to.
    pub polled_at_once: bool,
    /// How long Scalelite waits for hosts.
    pub limits: Limits,
    /// The seed of everything that is left to chance.
    pub seed: u64,
    /// Save conflicts for a client that is alone; none by default.
    pub stray_watches: Option<StrayWatches>,
    /// The poller's weaknesses; none by default.
    pub poller: Poller,
    /// The charge for requests; none by default.
    pub costs: Option<Costs>,
}

impl Config {
    /// Returns the configuration of Scalelite 1.8.5 with its defaults, and nothing left to chance.
    pub fn new(secret: &str) -> Self {
        Self {
            secret: Secret::new(secret),
            algorithms: Algorithm::ALL.to_vec(),
            ids: ServerIds::Uuid,
            version: (1, 8, 5),
            url_host: None,
            processing: Duration::from_millis(2),
            polled_at_once: false,
            limits: Limits::default(),
            seed: 0,
            stray_watches: None,
            poller: Poller::default(),
            costs: None,
        }
    }

    /// Returns this configuration with all that Scalelite 1.8.5 was observed to do to its clients.
    #[must_use]
    pub fn as_observed(self, seed: u64) -> Self {
        Self {
            seed,
            stray_watches: Some(StrayWatches::default()),
            poller: Poller::as_observed(),
            costs: Some(Costs::default()),
            polled_at_once: false,
            ..self
        }
    }

    fn has_api(&self) -> bool {
        self.version >= (1, 5, 1)
    }

    fn has_tags(&self) -> bool {
        self.version >= (1, 6, 0)
    }
}

#[derive(Debug)]
struct State {
    config: Config,
    store: Store,
    connections: Connections,
    /// For the times that requests take.
    rng: fastrand::Rng,
    traffic: Traffic,
    redis_down: bool,
    recordings_only: bool,
    panics_to_refuse: u32,
    polls_to_lose: u32,
    /// The number of polls so far.
    polls: u64,
    /// The version of the set of servers when the last poll ended.
    polled: u64,
    poll: Option<Poll>,
}

impl State {
    fn new(config: Config) -> Self {
        Self {
            store: Store::default(),
            connections: Connections::new(config.stray_watches, config.seed),
            rng: fastrand::Rng::with_seed(config.seed),
            traffic: Traffic::new(),
            redis_down: false,
            recordings_only: false,
            panics_to_refuse: 0,
            polls_to_lose: 0,
            polls: 0,
            polled: 0,
            poll: None,
            config,
        }
    }
}

/// A Scalelite with its poller.
#[derive(Debug)]
pub struct Scalelite {
    network: Network,
    pace: Pace,
    queue: Queue,
    state: Mutex<State>,
}

impl Scalelite {
    /// Creates a Scalelite without servers, whose calls to BBB hosts use this network.
    pub fn new(config: Config, network: Network) -> Arc<Self> {
        let state = Mutex::new(State::new(config));
        Arc::new(Self { network, pace: Pace::default(), queue: Queue::default(), state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> Config {
        self.state().config.clone()
    }

    /// Calls the BBB API of a server's host.
    async fn call(
        &self,
        server: &Server,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, CallError> {
        let network = self.network.within(self.state().config.limits);
        network.call(&server.url, server.secret.expose(), action, parameters).await
    }

    /// Waits as long as a request takes between reading and committing.
    async fn gap(&self) {
        let delay = self.state().config.processing;
        self.pace.gap(delay).await;
    }

    /// Keeps a worker busy with a request, if requests are charged for.
    async fn charge(&self, operation: &str) {
        let (costs, time) = {
            let mut state = self.state();
            let Some(costs) = state.config.costs else { return };
            let chance = state.rng.f64();
            (costs, load::time(operation, state.store.servers.len(), chance))
        };
        self.queue.work(costs, time).await;
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
        Box::pin(async move {
            let answer = api::answer(self, request).await;
            load::count(&mut self.state().traffic, &self.action(request), &answer);
            answer
        })
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
