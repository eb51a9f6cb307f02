//! A stand-in for a recursive resolver, to be named in resolv.conf. It forwards nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};

use super::lookup::{Found, Scope, lookup};
use super::socket::{Question, Reply, Respond, Socket};
use super::{NameServers, Query, answer_word};
use crate::route53::DnsName;
use crate::route53::value::wire_name;

/// The options of a resolver.
#[derive(Clone, Debug)]
pub struct ResolverOptions {
    /// The address, for UDP and TCP; port 0 chooses one. A resolv.conf can name only addresses, which means port 53.
    pub address: SocketAddr,
    /// Names outside the zones, e.g. `route53.amazonaws.com`, with their addresses.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, 0).into(), hosts: BTreeMap::new() }
    }
}

/// A recursive resolver. It asks the first name server that answers, for public and private zones alike, and
/// **remembers absent names and types**: a name once absent stays NXDOMAIN, a type once absent stays NODATA, until
/// [`Resolver::flush`]. Answers with records are never cached.
pub struct Resolver {
    socket: Socket,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("address", &self.socket.address).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    hosts: BTreeMap<DnsName, Vec<IpAddr>>,
    /// Absent names (without a type) and absent types, each with the SOA of the answer.
    absent: BTreeMap<(DnsName, Option<RecordType>), Vec<Record>>,
    /// Names for which the answer is SERVFAIL.
    failing: BTreeSet<DnsName>,
    /// Whether negative answers come without the SOA.
    hides_soa: bool,
    queries: Vec<Query>,
}

impl Resolver {
    /// Starts a resolver that asks these name servers.
    ///
    /// # Errors
    /// Fails when the address cannot be bound, or when a host's name is not valid.
    pub async fn start(servers: Arc<NameServers>, options: ResolverOptions) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let respond: Respond = {
            let state = Arc::clone(&state);
            Arc::new(move |question| {
                let found = lock(&state).respond(&servers, question);
                Some(Reply { found, recursion_available: true })
            })
        };
        let socket = Socket::bind(options.address, respond, Duration::ZERO).await?;
        let resolver = Self { socket, state };
        for (name, addresses) in options.hosts {
            resolver.add_host(&name, addresses).map_err(io::Error::other)?;
        }
        Ok(resolver)
    }

    /// Returns the address of the resolver.
    pub fn address(&self) -> SocketAddr {
        self.socket.address
    }

    /// Adds or replaces a name outside the zones.
    ///
    /// # Errors
    /// Fails when the name is not valid.
    pub fn add_host(&self, name: &str, addresses: Vec<IpAddr>) -> Result<(), String> {
        let name = DnsName::parse(name)?;
        lock(&self.state).hosts.insert(name, addresses);
        Ok(())
    }

    /// Leaves the SOA out of negative answers from now on, as systemd-resolved does before version 248.
    pub fn hide_soa(&self) {
        lock(&self.state).hides_soa = true;
    }

    /// Answers SERVFAIL for this name from now on, or no longer.
    ///
    /// # Errors
    /// Fails when the name is not valid.
    pub fn fail(&self, name: &str, fails: bool) -> Result<(), String> {
        let name = DnsName::parse(name)?;
        let failing = &mut lock(&self.state).failing;
        if fails {
            failing.insert(name)
        } else {
            failing.remove(&name)
        };
        Ok(())
    }

    /// Forgets all absent names and types.
    pub fn flush(&self) {
        lock(&self.state).absent.clear();
    }

    /// Returns every question so far; the server index in it is always 0.
    pub fn queries(&self) -> Vec<Query> {
        lock(&self.state).queries.clone()
    }

    /// Returns how often this name was asked for, with any type.
    pub fn asked(&self, name: &str) -> usize {
        let Ok(name) = DnsName::parse(name) else { return 0 };
        let name = name.to_string();
        lock(&self.state).queries.iter().filter(|query| query.name == name).count()
    }

    /// Returns the names that are remembered as absent, and those that lack a type, each with that type.
    pub fn absent(&self) -> BTreeSet<(String, Option<String>)> {
        let state = lock(&self.state);
        state.absent.keys().map(|(name, of)| (name.to_string(), of.map(|of| of.to_string()))).collect()
    }
}

impl State {
    fn respond(&mut self, servers: &NameServers, question: &Question) -> Found {
        let mut found = self.find(servers, question);
        // The resolver is not authoritative for the data.
        found.authoritative = false;
        if self.hides_soa && found.answers.is_empty() {
            found.authorities.clear();
        }
        self.queries.push(Query {
            server: 0,
            name: question.name.to_string(),
            record_type: question.record_type.to_string(),
            transport: question.transport,
            answer: answer_word(&found),
        });
        found
    }

    fn find(&mut self, servers: &NameServers, question: &Question) -> Found {
        let (name, of) = (&question.name, question.record_type);
        if self.failing.contains(name) {
            return Found::only(ResponseCode::ServFail);
        }
        if let Some(addresses) = self.hosts.get(name) {
            return host(name, addresses, of);
        }
        for (key, code) in [(None, ResponseCode::NXDomain), (Some(of), ResponseCode::NoError)] {
            if let Some(authorities) = self.absent.get(&(name.clone(), key)) {
                return Found { authorities: authorities.clone(), ..Found::only(code) };
            }
        }
        let Some(zones) = servers.first_answering() else { return Found::only(ResponseCode::ServFail) };
        let Some(found) = lookup(&zones, Scope::All, name, of) else {
            return Found { authorities: root(), ..Found::only(ResponseCode::NXDomain) };
        };
        // A CNAME's target may lack the type asked for; that says nothing about the name itself.
        if found.answers.is_empty() {
            let absent = match found.code {
                ResponseCode::NXDomain => Some((name.clone(), None)),
                _ if found.is_no_data() => Some((name.clone(), Some(of))),
                _ => None,
            };
            absent.map(|key| self.absent.insert(key, found.authorities.clone()));
        }
        found
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host(name: &DnsName, addresses: &[IpAddr], of: RecordType) -> Found {
    let data = addresses.iter().filter_map(|address| match (address, of) {
        (IpAddr::V4(address), RecordType::A) => Some(RData::A(rdata::A(*address))),
        (IpAddr::V6(address), RecordType::AAAA) => Some(RData::AAAA(rdata::AAAA(*address))),
        _ => None,
    });
    let owner = wire_name(name).unwrap_or_default();
    let answers: Vec<_> = data.map(|data| Record::from_rdata(owner.clone(), 60, data)).collect();
    let authorities = if answers.is_empty() { root() } else { Vec::new() };
    Found { answers, authorities, ..Found::only(ResponseCode::NoError) }
}

/// Returns the SOA that stands for the rest of the world.
fn root() -> Vec<Record> {
    let name = |text: &str| Name::from_ascii(text).unwrap_or_default();
    let (server, mailbox) = (name("a.root-servers.net."), name("nstld.verisign-grs.com."));
    let soa = rdata::SOA::new(server, mailbox, 1, 1800, 900, 604_800, 86_400);
    vec![Record::from_rdata(Name::root(), 86_400, RData::SOA(soa))]
}
