//! Scalelite's management API over HTTP: the load balancer that places meetings on BBB hosts.
//!
//! All facts here were observed on Scalelite 1.8.5; the first release with these calls is 1.5.1. Its checksums have no
//! nonce and no expiry, so a URL with its query is a credential for that call: no URL leaves this module. A body holds
//! the secrets of all hosts: no body is ever logged.

pub mod answer;
mod error;
mod raw;
mod server;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plan::membership::{Entry, normalise_url};
use plan::record::Name;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use tracing::info;

pub use self::error::Error;
pub use self::server::{Listing, Server};

use self::answer::Answer;
use crate::bbb::{Algorithm, query};
use crate::calls::Service;
use crate::http::exchange::{self, Failure};
use crate::untrusted::clean;

const PATH: &str = "/scalelite/api";
const JSON: &str = "application/json";

/// The longest time for `panicServer`: a BBB that accepts `end` and never answers costs Scalelite 20 s, because Ruby's
/// client repeats the request after its timeout of 10 s (observed on 1.8.5).
const PANIC: Duration = Duration::from_secs(30);

/// The management API of Scalelite, as the loops need it. [`Scalelite`] is the real implementation.
pub trait Management {
    /// Lists the pool for the entries of the host with this URL (normalised), compared with the URL and with the
    /// secret of the host's BBB.
    fn entries(&self, url: &str, secret: &SecretString) -> impl Future<Output = Result<Own, Error>>;

    /// Reads one entry, compared like those of [`Management::entries`]; `None` when it does not exist (any more), or
    /// belongs to another host now. Costs the same whatever the size of the pool.
    fn entry(
        &self,
        id: &str,
        url: &str,
        secret: &SecretString,
    ) -> impl Future<Output = Result<Option<Entry>, Error>>;

    /// Lists the host names of all entries.
    fn names(&self) -> impl Future<Output = Result<BTreeSet<Name>, Error>>;

    /// Adds a host, disabled at first, and returns its entry's id. Adding a URL again makes a duplicate or, with
    /// `SERVER_ID_IS_HOSTNAME`, an error. After [`Error::Conflict`] and [`Error::Transport`] the entry may exist or
    /// not.
    fn add(
        &self,
        url: &str,
        bbb_secret: &SecretString,
        multiplier: Option<f64>,
        tag: Option<&str>,
    ) -> impl Future<Output = Result<String, Error>>;

    /// Changes attributes of an entry. The URL cannot be changed: Scalelite silently ignores it.
    fn update(&self, id: &str, update: Update<'_>) -> impl Future<Output = Result<(), Error>>;

    /// Lets Scalelite place meetings on the host, from the next poll on that finds it online.
    fn enable(&self, id: &str) -> impl Future<Output = Result<(), Error>>;

    /// Stops Scalelite from placing new meetings on the host; users can still join the running ones.
    fn cordon(&self, id: &str) -> impl Future<Output = Result<(), Error>>;

    /// Stops Scalelite from placing new meetings on the host and from admitting users to the running ones.
    fn disable(&self, id: &str) -> impl Future<Output = Result<(), Error>>;

    /// Ends and forgets the entry's meetings and disables it. After [`Error::PanicIncomplete`], call it again as long
    /// as there may be meetings.
    fn panic(&self, id: &str) -> impl Future<Output = Result<(), Error>>;

    /// Removes the entry, whether or not it has meetings; one that does not exist (any more) counts as deleted.
    fn delete(&self, id: &str) -> impl Future<Output = Result<(), Error>>;
}

/// The entries of one host, found in the whole pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own {
    /// The host's entries.
    pub entries: Vec<Entry>,
    /// The number of entries in the pool, those of other hosts included.
    pub pool: usize,
    /// The number of other hosts' entries that are enabled and online.
    pub others: usize,
}

/// A client for one Scalelite. It neither waits nor retries: callers list the servers and plan again.
#[derive(Clone, Debug)]
pub struct Scalelite {
    client: reqwest::Client,
    /// The base URL, without [`PATH`].
    base: String,
    secret: SecretString,
    checksums: Checksums,
}

/// The checksum algorithm that a Scalelite takes: `LOADBALANCER_CHECKSUM_ALGORITHM` may allow any. Clones share what
/// was found out.
#[derive(Clone, Debug, Default)]
pub struct Checksums(Arc<AtomicUsize>);

impl Checksums {
    /// The order in which they are tried.
    const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1];

    /// Returns the algorithm that was taken last, or else the first to try.
    fn present(&self) -> Algorithm {
        Self::ALL.get(self.0.load(Ordering::Relaxed)).copied().unwrap_or_default()
    }

    fn found(&self, algorithm: Algorithm) {
        let index = Self::ALL.iter().position(|known| *known == algorithm).unwrap_or_default();
        self.0.store(index, Ordering::Relaxed);
    }
}

/// The request of one call.
struct Call {
    name: &'static str,
    query: String,
    /// The body of a POST; `None` for a GET.
    body: Option<Vec<u8>>,
    patience: Option<Duration>,
    /// A phrase for errors.
    action: String,
}

impl Call {
    fn get(name: &'static str, query: String, action: String) -> Self {
        Self { name, query, body: None, patience: None, action }
    }
}

/// The attributes of an entry to change; those that are `None` stay as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Update<'a> {
    /// The host's secret.
    pub secret: Option<&'a SecretString>,
    /// The tag; an empty one clears it.
    pub tag: Option<&'a str>,
    /// The load's multiplier. Scalelite stores any number: validate it first.
    pub multiplier: Option<f64>,
}

/// The value of `server` in the body of `addServer` and `updateServer`.
#[derive(Serialize, Default)]
struct Attributes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    secret: Option<&'a SecretString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_multiplier: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
}

fn exposed<S: Serializer>(secret: &Option<&SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.map(ExposeSecret::expose_secret).serialize(serializer)
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Attributes<'a>>,
}

impl Scalelite {
    /// Creates a client for the Scalelite at `base`, e.g. `https://scalelite.example.org`, with or without
    /// `/scalelite/api`. `secret` is the load balancer's own (`LOADBALANCER_SECRET`), not a tenant's and not a host's.
    pub fn new(client: reqwest::Client, base: &str, secret: SecretString) -> Result<Self, Error> {
        let base = normalise_url(base).ok_or(Error::Address)?;
        let base = base.strip_suffix(PATH).unwrap_or(&base).to_owned();
        Ok(Self { client, base, secret, checksums: Checksums::default() })
    }

    /// Uses what another client has found out about the checksums of this Scalelite.
    #[must_use]
    pub fn sharing(self, checksums: &Checksums) -> Self {
        Self { checksums: checksums.clone(), ..self }
    }

    /// Lists all entries of the pool, without interpreting them.
    pub async fn servers(&self) -> Result<Listing, Error> {
        let action = format!("list the servers of Scalelite at {}", self.base);
        self.exchange(Call::get("getServers", String::new(), action)).await?.listing()
    }

    async fn set_state(&self, id: &str, state: &'static str) -> Result<(), Error> {
        self.change(id, state, Attributes { state: Some(state), ..Attributes::default() }).await
    }

    async fn change(&self, id: &str, verb: &str, server: Attributes<'_>) -> Result<(), Error> {
        let body = Body { id: Some(id), server: Some(server) };
        self.post("updateServer", self.on_entry(verb, id), &body).await?.server().map(drop)
    }

    async fn act(&self, id: &str, call: &'static str, verb: &str) -> Result<Answer, Error> {
        self.post(call, self.on_entry(verb, id), &Body { id: Some(id), server: None }).await
    }

    fn on_entry(&self, verb: &str, id: &str) -> String {
        format!("{verb} entry {} of Scalelite at {}", clean(id), self.base)
    }

    async fn post(&self, name: &'static str, action: String, body: &Body<'_>) -> Result<Answer, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Unexpected {
            action: action.clone(),
            what: format!("not sent: {error}"),
        })?;
        let patience = (name == "panicServer").then_some(PANIC);
        self.exchange(Call { name, query: String::new(), body: Some(body), patience, action }).await
    }

    /// Makes a call. One whose checksum is refused has done nothing, so it is made again with the other algorithms.
    async fn exchange(&self, call: Call) -> Result<Answer, Error> {
        let present = self.checksums.present();
        let refused = self.send(&call, present).await?;
        if !refused.is_checksum_error() {
            return Ok(refused);
        }
        for other in Checksums::ALL.into_iter().filter(|other| *other != present) {
            let answer = self.send(&call, other).await?;
            if !answer.is_checksum_error() {
                self.checksums.found(other);
                info!("Scalelite at {} takes {other} checksums and refuses {present}", self.base);
                return Ok(answer);
            }
        }
        Ok(refused)
    }

    async fn send(&self, call: &Call, algorithm: Algorithm) -> Result<Answer, Error> {
        let Call { name, query, body, patience, action } = call;
        let url = format!("{}{PATH}/{name}?{}", self.base, algorithm.sign(name, query, &self.secret));
        let request = match body {
            Some(body) => self.client.post(url).header(CONTENT_TYPE, JSON).body(body.clone()),
            None => self.client.get(url),
        };
        let request = patience.iter().fold(request, |request, patience| request.timeout(*patience));
        // Without this header, an uncaught error comes as an empty page.
        match exchange::exchange(Service::Scalelite, request.header(ACCEPT, JSON)).await {
            Ok(reply) => Ok(Answer::new(action.clone(), body.is_some(), reply.status.as_u16(), reply.body)),
            Err(Failure::Distrusted(words)) => Err(Error::Distrusted { action: action.clone(), words }),
            Err(failure) => Err(Error::Transport { action: action.clone(), words: failure.words() }),
        }
    }

    /// Reports whether calls, with the secrets in them, travel unencrypted: then Scalelite should be on this host.
    pub fn is_unencrypted(&self) -> bool {
        self.base.starts_with("http://")
    }
}

impl Management for Scalelite {
    async fn entries(&self, url: &str, secret: &SecretString) -> Result<Own, Error> {
        let listing = self.servers().await?;
        let (pool, others) = (listing.count(), listing.others(url));
        let own = listing.own(url)?;
        Ok(Own { entries: own.iter().map(|server| server.entry(url, secret)).collect(), pool, others })
    }

    async fn entry(&self, id: &str, url: &str, secret: &SecretString) -> Result<Option<Entry>, Error> {
        let call = Call::get("getServerInfo", query(&[("id", id)]), self.on_entry("read", id));
        let answer = self.exchange(call).await?;
        if answer.is_unknown_server() {
            return Ok(None);
        }
        let server = answer.server()?;
        Ok(server.is_of(url).then(|| server.entry(url, secret)))
    }

    async fn names(&self) -> Result<BTreeSet<Name>, Error> {
        Ok(self.servers().await?.names())
    }

    async fn add(
        &self,
        url: &str,
        bbb_secret: &SecretString,
        multiplier: Option<f64>,
        tag: Option<&str>,
    ) -> Result<String, Error> {
        let server = Attributes {
            url: Some(url),
            secret: Some(bbb_secret),
            tag,
            load_multiplier: multiplier,
            ..Attributes::default()
        };
        let action = format!("add {url} to Scalelite at {}", self.base);
        self.post("addServer", action, &Body { id: None, server: Some(server) })
            .await?
            .server()
            .map(|server| server.id)
    }

    async fn update(&self, id: &str, update: Update<'_>) -> Result<(), Error> {
        let Update { secret, tag, multiplier } = update;
        let server = Attributes { secret, tag, load_multiplier: multiplier, ..Attributes::default() };
        self.change(id, "update", server).await
    }

    async fn enable(&self, id: &str) -> Result<(), Error> {
        self.set_state(id, "enable").await
    }

    async fn cordon(&self, id: &str) -> Result<(), Error> {
        self.set_state(id, "cordon").await
    }

    async fn disable(&self, id: &str) -> Result<(), Error> {
        self.set_state(id, "disable").await
    }

    async fn panic(&self, id: &str) -> Result<(), Error> {
        let answer = self.act(id, "panicServer", "end the meetings of").await?;
        match answer.panic_incomplete() {
            Some(message) => Err(Error::PanicIncomplete { id: id.to_owned(), message }),
            None => answer.done(),
        }
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        let answer = self.act(id, "deleteServer", "delete").await?;
        if answer.is_unknown_server() { Ok(()) } else { answer.done() }
    }
}
