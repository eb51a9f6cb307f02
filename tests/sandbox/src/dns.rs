//! The authoritative DNS servers of the Route 53 stand-in's zones, over UDP and TCP, and a recursive resolver.
//!
//! Each server has a snapshot of its own, which follows the zones as its [`Propagation`] says. The servers answer for
//! public zones only and refuse other names, as Route 53's do.
//!
//! ```no_run
//! # async fn example(route53: std::sync::Arc<sandbox::route53::Route53>) -> std::io::Result<()> {
//! use sandbox::dns::{NameServers, Options, Propagation, Resolver, ResolverOptions};
//!
//! let servers = NameServers::start(route53, Options::default()).await?;
//! servers.set_propagation(1, Propagation::Held);
//! let hosts = [("route53.amazonaws.com".to_owned(), vec![[127, 0, 0, 2].into()])].into();
//! let resolver =
//!     Resolver::start(servers, ResolverOptions { hosts, address: ([127, 0, 0, 1], 0).into() }).await?;
//! # Ok(()) }
//! ```

mod lookup;
mod resolver;
mod socket;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use crate::route53::Propagation;
pub use resolver::{Resolver, ResolverOptions};
pub use socket::Transport;

use crate::patience::awaited;
use crate::route53::{DnsName, Replica, Route53, Zones};
use lookup::{Found, Scope, lookup};
use socket::{Question, Reply, Respond, Socket};

/// The options of the servers.
#[derive(Clone, Debug)]
pub struct Options {
    /// One address for each server, UDP and TCP on the same port; port 0 chooses one.
    pub addresses: Vec<SocketAddr>,
    /// How changes reach the servers at first.
    pub propagation: Propagation,
    /// The delay of each answer.
    pub delay: Duration,
}

impl Default for Options {
    /// Returns options for two servers on 127.0.0.1 with free ports, which follow changes at once.
    fn default() -> Self {
        Self {
            addresses: vec![(Ipv4Addr::LOCALHOST, 0).into(); 2],
            propagation: Propagation::Immediate,
            delay: Duration::ZERO,
        }
    }
}

/// The way in which a server treats questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Behaviour {
    /// Answers questions.
    #[default]
    Answer,
    /// Leaves questions unanswered.
    Silent,
    /// Answers REFUSED.
    Refuse,
    /// Answers SERVFAIL.
    Fail,
}

/// One question that reached a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// The server's index.
    pub server: usize,
    /// The name in lower case, with a final dot and with octal escapes for other characters.
    pub name: String,
    /// The record type, e.g. `AAAA`.
    #[serde(rename = "type")]
    pub record_type: String,
    /// The transport of the question.
    pub transport: Transport,
    /// The answer: `NOERROR`, `NODATA`, `NXDOMAIN`, `REFUSED`, `SERVFAIL`, or an empty text for none.
    pub answer: String,
}

/// The authoritative servers. They stop when the last handle is dropped.
pub struct NameServers {
    servers: Vec<NameServer>,
    queries: watch::Sender<Vec<Query>>,
}

struct NameServer {
    socket: Socket,
    replica: Arc<Replica>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl std::fmt::Debug for NameServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NameServers").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl NameServers {
    /// Starts servers for the zones of `route53`.
    ///
    /// # Errors
    /// Fails when an address cannot be bound.
    pub async fn start(route53: Arc<Route53>, options: Options) -> io::Result<Arc<Self>> {
        let queries = watch::Sender::new(Vec::new());
        let mut servers = Vec::new();
        for (index, address) in options.addresses.into_iter().enumerate() {
            let replica = route53.replica(options.propagation);
            let behaviour = Arc::new(Mutex::new(Behaviour::default()));
            let respond = responder(index, Arc::clone(&replica), Arc::clone(&behaviour), queries.clone());
            let socket = Socket::bind(address, respond, options.delay).await?;
            servers.push(NameServer { socket, replica, behaviour });
        }
        Ok(Arc::new(Self { servers, queries }))
    }

    /// Returns the servers' addresses, by index.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.socket.address).collect()
    }

    /// Sets how later changes reach a server.
    pub fn set_propagation(&self, server: usize, propagation: Propagation) {
        self.with(server, |server| server.replica.set_propagation(propagation));
    }

    /// Lets a server learn every change that it has not seen yet.
    pub fn release(&self, server: usize) {
        self.with(server, |server| server.replica.release());
    }

    /// Sets how a server treats questions from now on.
    pub fn behave(&self, server: usize, behaviour: Behaviour) {
        self.with(server, |server| {
            *server.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
        });
    }

    /// Leaves questions to a server unanswered.
    pub fn down(&self, server: usize) {
        self.behave(server, Behaviour::Silent);
    }

    /// Lets a server answer again.
    pub fn up(&self, server: usize) {
        self.behave(server, Behaviour::Answer);
    }

    /// Returns every question so far.
    pub fn queries(&self) -> Vec<Query> {
        self.queries.borrow().clone()
    }

    /// Forgets the questions so far.
    pub fn clear_queries(&self) {
        self.queries.send_modify(Vec::clear);
    }

    /// Returns how often the servers together were asked for this name.
    pub fn asked(&self, name: &str) -> usize {
        count(&self.queries.borrow(), name)
    }

    /// Waits until the servers were asked for this name at least this often.
    pub async fn reached(&self, name: &str, times: usize) {
        let mut queries = self.queries.subscribe();
        let what = || format!("question {times} for {name}");
        let came = || format!("{} questions for it", self.asked(name));
        // The sender lives in self, so waiting cannot fail.
        let _ = awaited(what, came, queries.wait_for(|queries| count(queries, name) >= times)).await;
    }

    /// Returns the zones as the first server knows them that answers at all.
    fn first_answering(&self) -> Option<Arc<Zones>> {
        let answering = |server: &&NameServer| {
            *server.behaviour.lock().unwrap_or_else(PoisonError::into_inner) == Behaviour::Answer
        };
        self.servers.iter().find(answering).map(|server| server.replica.zones())
    }

    /// Acts on a server; an index without a server changes nothing.
    fn with(&self, server: usize, act: impl FnOnce(&NameServer)) {
        if let Some(server) = self.servers.get(server) {
            act(server);
        }
    }
}

fn responder(
    index: usize,
    replica: Arc<Replica>,
    behaviour: Arc<Mutex<Behaviour>>,
    queries: watch::Sender<Vec<Query>>,
) -> Respond {
    Arc::new(move |question| {
        let behaviour = *behaviour.lock().unwrap_or_else(PoisonError::into_inner);
        let found = respond(&replica.zones(), behaviour, question);
        let query = Query {
            server: index,
            name: question.name.to_string(),
            record_type: question.record_type.to_string(),
            transport: question.transport,
            answer: found.as_ref().map(answer_word).unwrap_or_default(),
        };
        queries.send_modify(|queries| queries.push(query));
        found.map(|found| Reply { found, recursion_available: false })
    })
}

fn respond(zones: &Zones, behaviour: Behaviour, question: &Question) -> Option<Found> {
    match behaviour {
        Behaviour::Silent => None,
        Behaviour::Refuse => Some(Found::only(ResponseCode::Refused)),
        Behaviour::Fail => Some(Found::only(ResponseCode::ServFail)),
        Behaviour::Answer => {
            let found = lookup(zones, Scope::Public, &question.name, question.record_type);
            Some(found.unwrap_or_else(|| Found::only(ResponseCode::Refused)))
        }
    }
}

fn answer_word(found: &Found) -> String {
    match found.code {
        ResponseCode::NoError if found.answers.is_empty() => "NODATA",
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::ServFail => "SERVFAIL",
        _ => "OTHER",
    }
    .to_owned()
}

fn count(queries: &[Query], name: &str) -> usize {
    let name = DnsName::parse(name).map_or_else(|_| name.to_owned(), |name| name.to_string());
    queries.iter().filter(|query| query.name == name).count()
}
