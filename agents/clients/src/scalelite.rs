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

use plan::membership::{Entry, normalise_url};
use plan::record::Name;
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

pub use self::error::Error;
pub use self::server::{Listing, Server};

use self::answer::Answer;
use crate::bbb::Algorithm;
use crate::http::exchange;
use crate::untrusted::clean;

const PATH: &str = "/scalelite/api";
const JSON: &str = "application/json";

/// The management API of Scalelite, as the loops need it. [`Scalelite`] is the real implementation.
pub trait Management {
    /// Lists the entries of the host with this URL (normalised), compared with the URL and with the secret of the
    /// host's BBB.
    fn entries(&self, url: &str, secret: &SecretString) -> impl Future<Output = Result<Vec<Entry>, Error>>;

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

/// A client for one Scalelite. It neither waits nor retries: callers list the servers and plan again.
#[derive(Clone, Debug)]
pub struct Scalelite {
    client: reqwest::Client,
    /// The base URL, without [`PATH`].
    base: String,
    secret: SecretString,
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
        Ok(Self { client, base, secret })
    }

    /// Lists all entries of the pool, without interpreting them.
    pub async fn servers(&self) -> Result<Listing, Error> {
        const CALL: &str = "getServers";
        let action = format!("list the servers of Scalelite at {}", self.base);
        self.exchange(self.client.get(self.url(CALL)), action, false).await?.listing()
    }

    async fn set_state(&self, id: &str, state: &'static str) -> Result<(), Error> {
        self.change(id, state, Attributes { state: Some(state), ..Attributes::default() }).await
    }

    async fn change(&self, id: &str, verb: &str, server: Attributes<'_>) -> Result<(), Error> {
        let body = Body { id: Some(id), server: Some(server) };
        self.post("updateServer", self.on_entry(verb, id), &body).await?.server().map(drop)
    }

    async fn act(&self, id: &str, call: &str, verb: &str) -> Result<Answer, Error> {
        self.post(call, self.on_entry(verb, id), &Body { id: Some(id), server: None }).await
    }

    fn on_entry(&self, verb: &str, id: &str) -> String {
        format!("{verb} entry {} of Scalelite at {}", clean(id), self.base)
    }

    async fn post(&self, call: &str, action: String, body: &Body<'_>) -> Result<Answer, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Unexpected {
            action: action.clone(),
            what: format!("not sent: {error}"),
        })?;
        let request = self.client.post(self.url(call)).header(CONTENT_TYPE, JSON).body(body);
        self.exchange(request, action, true).await
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
        action: String,
        changing: bool,
    ) -> Result<Answer, Error> {
        // Without this header, an uncaught error comes as an empty page.
        match exchange::exchange(request.header(ACCEPT, JSON)).await {
            Ok((status, body)) => Ok(Answer::new(action, changing, status.as_u16(), body)),
            Err(exchange::Failure { distrusted: true, words, .. }) => {
                Err(Error::Distrusted { action, words })
            }
            Err(exchange::Failure { words, .. }) => Err(Error::Transport { action, words }),
        }
    }

    /// Reports whether calls, with the secrets in them, travel unencrypted: then Scalelite should be on this host.
    pub fn is_unencrypted(&self) -> bool {
        self.base.starts_with("http://")
    }

    fn url(&self, call: &str) -> String {
        format!("{}{PATH}/{call}?{}", self.base, Algorithm::Sha256.sign(call, "", &self.secret))
    }
}

impl Management for Scalelite {
    async fn entries(&self, url: &str, secret: &SecretString) -> Result<Vec<Entry>, Error> {
        let own = self.servers().await?.own(url)?;
        Ok(own.iter().map(|server| server.entry(url, secret)).collect())
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
