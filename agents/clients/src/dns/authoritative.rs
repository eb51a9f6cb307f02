//! The authoritative name servers' view of a host's name: the read path, which costs no API budget and shows what
//! clients will get.
//!
//! The recursive resolver is asked only for the domain's apex and its servers, never for a host's own name: it would
//! remember for 15 minutes (Route 53's default SOA) that the name does not exist.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{self, DNSClass, RData};
use plan::dns::{Observed, Source};
use plan::record::{Name, RecordSet, RecordType, normalise_value};
use plan::share::{self, Glimpse};
use tokio::time::Instant;

pub use super::error::Error;

use super::system::{self, SystemResolver};
use super::wire::absolute;
use super::{apex, wire};

const DNS_PORT: u16 = 53;
/// The longest time for which servers may be used without finding them again.
const DAY: Duration = Duration::from_secs(86_400);

/// The answer of one authoritative server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The server, as shown to people: name and address.
    pub server: String,
    /// The record sets, or why they are not known.
    pub result: Result<Observed, Error>,
}

/// A name server; several addresses of one name are one server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    name: Option<String>,
    addresses: Vec<SocketAddr>,
    /// The reason why it has no addresses.
    problem: Option<system::Error>,
}

/// The authoritative servers of a zone, as the loops ask them. [`NameServers`] is the real implementation.
pub trait Authorities {
    /// Asks all servers at once for the addresses at a name and for its ownership TXT.
    fn ask_all(&self, name: &Name) -> impl Future<Output = Vec<Answer>>;

    /// Asks all servers at once for the addresses at a shared name. Returns what those show that answer.
    fn ask_shared(&self, name: &Name) -> impl Future<Output = Vec<Glimpse>>;
}

/// The authoritative servers of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServers {
    /// The zone that they were found for; `None` when they are given.
    zone: Option<Name>,
    servers: Vec<Server>,
    /// The time at which the answers that led to them are no longer valid; `None` when they are given.
    valid_until: Option<Instant>,
}

impl NameServers {
    /// Finds the servers of the zone that contains `domain`. `apex` names that zone when its SOA cannot be used to
    /// find it.
    pub async fn discover(names: &SystemResolver, domain: &Name, apex: Option<&Name>) -> Result<Self, Error> {
        let apex = match apex {
            Some(apex) => apex.clone(),
            None => apex::find(names, domain).await?,
        };
        let (listed, valid_until) = apex::name_servers(names, &apex).await?;
        Self::locate(names, &apex, listed, valid_until).await
    }

    /// Looks up the addresses of servers that are known by name, such as those of the zone's delegation set.
    pub async fn named(names: &SystemResolver, zone: &Name, listed: Vec<String>) -> Result<Self, Error> {
        Self::locate(names, zone, listed, Instant::now() + DAY).await
    }

    async fn locate(
        names: &SystemResolver,
        zone: &Name,
        listed: Vec<String>,
        valid_until: Instant,
    ) -> Result<Self, Error> {
        let located = join_all(listed.into_iter().map(|name| locate(names, name))).await;
        let valid_until = located.iter().filter_map(|(_, until)| *until).fold(valid_until, Instant::min);
        let servers: Vec<Server> = located.into_iter().map(|(server, _)| server).collect();
        if servers.iter().all(|server| server.addresses.is_empty()) {
            let what = format!("none of the name servers of {zone} has an address");
            return Err(Error::NoZone { domain: zone.to_string(), what });
        }
        Ok(Self { zone: Some(zone.clone()), servers, valid_until: Some(valid_until) })
    }

    /// Creates a set of these servers; each address is one server.
    pub fn fixed(servers: Vec<SocketAddr>) -> Self {
        let server = |address| Server { name: None, addresses: vec![address], problem: None };
        Self { zone: None, servers: servers.into_iter().map(server).collect(), valid_until: None }
    }

    /// Returns the zone that the servers were found for; `None` when they are given.
    pub fn zone(&self) -> Option<&Name> {
        self.zone.as_ref()
    }

    /// Returns when they have to be found again by the resolver's word; `None` when they are given.
    pub fn valid_until(&self) -> Option<Instant> {
        self.valid_until
    }

    /// Reports whether the addresses of all servers were found.
    pub fn is_complete(&self) -> bool {
        self.servers.iter().all(|server| !server.addresses.is_empty())
    }

    /// Reports whether at least one server is in both sets, by its name or by an address: name servers may have names
    /// of their owner's choice, and a zone may have further servers beside Route 53's.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.servers.iter().any(|ours| other.servers.iter().any(|theirs| ours.is(theirs)))
    }

    /// Returns the servers as shown to people: names and addresses.
    pub fn shown(&self) -> Vec<String> {
        self.servers.iter().map(Server::with_addresses).collect()
    }

    /// Returns the servers' names; of one without a name, the address.
    pub fn names(&self) -> Vec<String> {
        let name = |server: &Server| server.name.clone().unwrap_or_else(|| server.with_addresses());
        self.servers.iter().map(name).collect()
    }

    /// Returns the view that all answering servers share; `None` when none answered or two differ.
    pub fn agreed(answers: &[Answer]) -> Option<Observed> {
        let mut observed = answers.iter().filter_map(|answer| answer.result.as_ref().ok());
        let first = observed.next()?;
        observed.all(|other| other == first).then(|| first.clone())
    }
}

impl Authorities for NameServers {
    async fn ask_all(&self, name: &Name) -> Vec<Answer> {
        join_all(self.servers.iter().map(|server| server.observe(name))).await
    }

    async fn ask_shared(&self, name: &Name) -> Vec<Glimpse> {
        join_all(self.servers.iter().map(|server| server.glimpse(name))).await.into_iter().flatten().collect()
    }
}

/// Looks up the addresses of one server. Returns also until when they are valid, if there are any.
async fn locate(names: &SystemResolver, name: String) -> (Server, Option<Instant>) {
    let (addresses, until, problem) = match names.addresses_until(&name).await {
        Ok((addresses, until)) => (addresses, Some(until), None),
        Err(error) => (Vec::new(), None, Some(error)),
    };
    let addresses = addresses.into_iter().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT)).collect();
    let name = name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase();
    (Server { name: Some(name), addresses, problem }, until)
}

impl Server {
    /// Reports whether this is the other server, by its name or by an address.
    fn is(&self, other: &Self) -> bool {
        let same_name = self.name.is_some() && self.name == other.name;
        same_name || self.addresses.iter().any(|address| other.addresses.contains(address))
    }

    /// Formats the server for people, with the address that was asked.
    fn shown(&self, address: Option<SocketAddr>) -> String {
        match (&self.name, address) {
            (Some(name), Some(address)) => format!("{name} ({})", bare(address)),
            (Some(name), None) => name.clone(),
            (None, Some(address)) => bare(address),
            (None, None) => "no server".to_owned(),
        }
    }

    fn with_addresses(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(|address| bare(*address)).collect();
        match (&self.name, &self.problem) {
            (Some(name), Some(problem)) => format!("{name} ({problem})"),
            (Some(name), None) => format!("{name} ({})", addresses.join(", ")),
            (None, _) => addresses.join(", "),
        }
    }

    /// Asks the addresses in turn, until one answers. All addresses of a server would give the same answer.
    async fn observe(&self, name: &Name) -> Answer {
        let why = self.problem.as_ref().map_or_else(|| "it has no address".to_owned(), ToString::to_string);
        let mut last = Error::NoAddress { server: self.shown(None), why };
        let mut shown = self.shown(self.addresses.first().copied());
        for address in &self.addresses {
            shown = self.shown(Some(*address));
            match observe(*address, &shown, name).await {
                Err(silent @ Error::Silent { .. }) => last = silent,
                result => return Answer { server: shown, result },
            }
        }
        Answer { server: shown, result: Err(last) }
    }

    /// Asks the addresses in turn for a shared name, until one answers.
    async fn glimpse(&self, name: &Name) -> Option<Glimpse> {
        for address in &self.addresses {
            let shown = self.shown(Some(*address));
            let (a, aaaa) = futures_util::join!(
                question(*address, &shown, name, RecordType::A),
                question(*address, &shown, name, RecordType::Aaaa),
            );
            if let (Ok(a), Ok(aaaa)) = (a, aaaa) {
                return Some(glimpse([a, aaaa]));
            }
        }
        None
    }
}

/// Puts the answers for the types of addresses together.
fn glimpse(found: [Found; 2]) -> Glimpse {
    let mut glimpse = Glimpse::default();
    for Found { set, alien, count } in found {
        glimpse.alien = glimpse.alien.or(alien);
        let Some(set) = set else { continue };
        glimpse.addresses.extend(set.values.iter().filter_map(|value| value.parse::<IpAddr>().ok()));
        if count >= share::SHOWN {
            glimpse.partial.insert(set.kind);
        }
    }
    glimpse
}

/// Formats an address, with its port only when that is not the usual DNS port.
fn bare(address: SocketAddr) -> String {
    if address.port() == DNS_PORT { address.ip().to_string() } else { address.to_string() }
}

async fn observe(address: SocketAddr, server: &str, name: &Name) -> Result<Observed, Error> {
    let ownership = name.ownership();
    let (a, aaaa, txt) = futures_util::join!(
        question(address, server, name, RecordType::A),
        question(address, server, name, RecordType::Aaaa),
        question(address, server, &ownership, RecordType::Txt),
    );
    let (a, aaaa, txt) = (a?, aaaa?, txt?);
    let alien = a.alien.or(aaaa.alien).or_else(|| txt.alien.map(|alien| format!("{alien} (at {ownership})")));
    let addresses = a.set.into_iter().chain(aaaa.set).collect();
    Ok(Observed { addresses, label: txt.set, alien, ..Observed::nothing(Source::Dns) })
}

/// The record set of one type at one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The record set.
    pub set: Option<RecordSet>,
    /// Data that the agents never write there, described in words.
    pub alien: Option<String>,
    /// The number of records: two may have the same value.
    pub count: usize,
}

/// Extracts the data for a name from a server's packet, if it is the answer with this id to the question for that
/// name. Public for the fuzz targets.
pub fn understand(
    packet: &[u8],
    id: u16,
    server: &str,
    name: &Name,
    kind: RecordType,
) -> Option<Result<Found, Error>> {
    let wire_name = absolute(name).ok()?;
    let mut question = wire::question(&wire_name, wire_type(kind));
    question.metadata.id = id;
    let answer = wire::accept(packet, &question).ok()?;
    Some(read(&answer, server, name, &wire_name, kind))
}

async fn question(address: SocketAddr, server: &str, name: &Name, kind: RecordType) -> Result<Found, Error> {
    let silent = |why| Error::Silent { server: server.to_owned(), why };
    let wire_name = absolute(name).map_err(silent)?;
    let answer = wire::ask(address, &wire_name, wire_type(kind)).await;
    let answer = answer.map_err(|error| silent(transport_words(&error)))?;
    read(&answer, server, name, &wire_name, kind)
}

/// Reads an answer, which counts only if its server is authoritative for the name; NXDOMAIN and "no data" mean absent.
fn read(
    answer: &Message,
    server: &str,
    name: &Name,
    wire_name: &rr::Name,
    kind: RecordType,
) -> Result<Found, Error> {
    let (server, shown_name) = (server.to_owned(), name.to_string());
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(Error::Refused { server, code: code_words(code), name: shown_name }),
    }
    if !answer.metadata.authoritative {
        return Err(Error::NotAuthoritative { server, name: shown_name });
    }
    let records = || {
        answer.answers.iter().filter(|record| record.dns_class == DNSClass::IN && record.name == *wire_name)
    };
    let alien = records().find_map(|record| match &record.data {
        RData::CNAME(target) => Some(format!("a CNAME to {}", Name::remote(&target.to_string()))),
        _ => None,
    });
    let count = records().filter(|record| value(kind, &record.data).is_some()).count();
    let mut values = records().filter_map(|record| Some((value(kind, &record.data)?, record.ttl))).peekable();
    let set = values.peek().map(|(_, ttl)| *ttl).map(|ttl| RecordSet {
        name: name.clone(),
        kind,
        ttl,
        values: values.map(|(value, _)| value).collect(),
        share: None,
    });
    Ok(Found { set, alien, count })
}

/// Returns a record's value in normal form, if the record is of this type.
fn value(kind: RecordType, data: &RData) -> Option<String> {
    match (kind, data) {
        (RecordType::A, RData::A(address)) => Some(normalise_value(kind, &address.to_string())),
        (RecordType::Aaaa, RData::AAAA(address)) => Some(normalise_value(kind, &address.to_string())),
        // The text is not quoted on the wire, so nothing is unquoted; the strings of one record belong together.
        (RecordType::Txt, RData::TXT(text)) => {
            Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned())
        }
        _ => None,
    }
}

fn wire_type(kind: RecordType) -> rr::RecordType {
    match kind {
        RecordType::A => rr::RecordType::A,
        RecordType::Aaaa => rr::RecordType::AAAA,
        RecordType::Txt => rr::RecordType::TXT,
    }
}

fn code_words(code: ResponseCode) -> String {
    match code {
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => other.to_string(),
    }
}

fn transport_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sandbox::cloud::{Cloud, Options};
    use sandbox::route53::{RecordSet as Set, RecordType as Kind};

    use super::*;

    #[tokio::test]
    async fn the_addresses_of_a_server_are_asked_until_one_answers() {
        let cloud = Cloud::start(Options::default()).await.unwrap();
        let set = Set::simple("vc-1.example.org", Kind::A, 60, &["203.0.113.10"]);
        cloud.route53.put(&cloud.zone_id, set).unwrap();
        let closed = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let open = cloud.dns.addresses().first().copied().unwrap();
        let name = Some("ns-1.example.net".to_owned());
        let server = Server { name, addresses: vec![closed, open], problem: None };

        let answer = server.observe(&Name::host("vc-1.example.org").unwrap()).await;
        assert_eq!(answer.server, format!("ns-1.example.net ({open})"));
        assert_eq!(answer.result.unwrap().addresses.len(), 1);
    }

    #[tokio::test]
    async fn a_server_without_an_address_says_why() {
        let problem = Some(system::Error::NoAddress("ns-1.example.net".into()));
        let server = Server { name: Some("ns-1.example.net".into()), addresses: Vec::new(), problem };
        let answer = server.observe(&Name::host("vc-1.example.org").unwrap()).await;
        assert_eq!(answer.server, "ns-1.example.net");
        assert_eq!(
            answer.result.unwrap_err().to_string(),
            "ns-1.example.net cannot be asked: the name ns-1.example.net does not resolve: it has no address"
        );
    }
}
