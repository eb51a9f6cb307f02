//! A domain's zone and the name servers of the zone: questions to the system's recursive resolver.

use hickory_proto::rr::{self, RData};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use plan::record::Name;
use tokio::time::Instant;

use super::error::Error;
use super::system::{self, SystemResolver};
use super::wire::absolute;

/// Finds the apex of the zone that contains `domain`. A domain below the apex has no SOA of its own: the zone's SOA
/// comes in the negative answer (RFC 2308, 3). Some resolvers leave it out (systemd-resolved before version 248): then
/// the domain's parents are asked for, up to the name below the top-level domain.
pub(super) async fn find(names: &SystemResolver, domain: &Name) -> Result<Name, Error> {
    let mut at = domain.clone();
    let apex = loop {
        let answer = names.lookup(question(&at)?, rr::RecordType::SOA).await;
        if let Some(owner) = soa_owner(answer.map_err(|source| discovery(domain, source))?) {
            break Name::remote(&owner);
        }
        at = match at.as_str().split_once('.') {
            Some((_, parent)) if parent.contains('.') => Name::remote(parent),
            _ => return Err(no_zone(domain, "the resolver did not say which zone it is in".to_owned())),
        };
    };
    if !apex.as_str().contains('.') {
        return Err(no_zone(domain, format!("it does not exist below {:?}", apex.as_str())));
    }
    if !domain.is_within(&apex) {
        return Err(no_zone(domain, format!("it is an alias into the zone {apex}")));
    }
    Ok(apex)
}

/// Returns the owner of the SOA in an answer, be it the answer's own or that of a negative one.
fn soa_owner(answer: Result<Lookup, NetError>) -> Option<String> {
    match answer {
        Ok(found) => found
            .answers()
            .iter()
            .find_map(|record| matches!(record.data, RData::SOA(_)).then(|| record.name.to_string())),
        Err(error) => error.into_soa().map(|soa| soa.name.to_string()),
    }
}

/// Lists the names of a zone's name servers, with their final dot, and until when they may be used.
pub(super) async fn name_servers(
    names: &SystemResolver,
    apex: &Name,
) -> Result<(Vec<String>, Instant), Error> {
    let answer = names.lookup(question(apex)?, rr::RecordType::NS).await;
    let no_servers = || no_zone(apex, "it has no NS records".to_owned());
    let found = answer.map_err(|source| discovery(apex, source))?.map_err(|_| no_servers())?;
    let mut listed: Vec<String> = found.answers().iter().filter_map(server_name).collect();
    if listed.is_empty() {
        return Err(no_servers());
    }
    // Resolvers rotate the order; a stable one is easier to read.
    listed.sort();
    listed.dedup();
    Ok((listed, found.valid_until().into()))
}

fn server_name(record: &rr::Record) -> Option<String> {
    match &record.data {
        RData::NS(server) => Some(server.to_string().to_ascii_lowercase()),
        _ => None,
    }
}

fn question(name: &Name) -> Result<rr::Name, Error> {
    absolute(name).map_err(|why| no_zone(name, why))
}

fn discovery(domain: &Name, source: system::Error) -> Error {
    Error::Discovery { domain: domain.to_string(), source }
}

fn no_zone(domain: &Name, what: String) -> Error {
    Error::NoZone { domain: domain.to_string(), what }
}
