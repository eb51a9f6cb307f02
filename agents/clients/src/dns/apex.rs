//! A domain's zone and the name servers of the zone: questions to the system's recursive resolver.

use hickory_proto::rr::{self, RData};
use hickory_resolver::net::NetError;
use plan::record::Name;

use super::error::Error;
use super::system::{self, SystemResolver};
use super::wire::absolute;

/// Finds the apex of the zone that contains `domain`. A domain below the apex has no SOA of its own: the zone's SOA
/// comes in the negative answer (RFC 2308, 3).
pub(super) async fn find(names: &SystemResolver, domain: &Name) -> Result<Name, Error> {
    let answer = names.lookup(question(domain)?, rr::RecordType::SOA).await;
    let owner = match answer.map_err(|source| discovery(domain, source))? {
        Ok(found) => found
            .answers()
            .iter()
            .find_map(|record| matches!(record.data, RData::SOA(_)).then(|| record.name.to_string())),
        Err(error) if error.is_no_records_found() => error.into_soa().map(|soa| soa.name.to_string()),
        Err(error) => return Err(discovery(domain, failed(domain, &error))),
    };
    let Some(apex) = owner.as_deref().map(Name::remote) else {
        return Err(no_zone(domain, "the resolver did not say which zone it is in".to_owned()));
    };
    if !apex.as_str().contains('.') {
        return Err(no_zone(domain, format!("it does not exist below {:?}", apex.as_str())));
    }
    if !domain.is_within(&apex) {
        return Err(no_zone(domain, format!("it is an alias into the zone {apex}")));
    }
    Ok(apex)
}

/// Lists the names of a zone's name servers, with their final dot.
pub(super) async fn name_servers(names: &SystemResolver, apex: &Name) -> Result<Vec<String>, Error> {
    let answer = names.lookup(question(apex)?, rr::RecordType::NS).await;
    let mut listed: Vec<String> = match answer.map_err(|source| discovery(apex, source))? {
        Ok(found) => found.answers().iter().filter_map(server_name).collect(),
        Err(error) if error.is_no_records_found() => Vec::new(),
        Err(error) => return Err(discovery(apex, failed(apex, &error))),
    };
    if listed.is_empty() {
        return Err(no_zone(apex, "it has no NS records".to_owned()));
    }
    // Resolvers rotate the order; a stable one is easier to read.
    listed.sort();
    listed.dedup();
    Ok(listed)
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

fn failed(name: &Name, error: &NetError) -> system::Error {
    system::Error::Failed { name: name.to_string(), why: system::words(error) }
}

fn discovery(domain: &Name, source: system::Error) -> Error {
    Error::Discovery { domain: domain.to_string(), source }
}

fn no_zone(domain: &Name, what: String) -> Error {
    Error::NoZone { domain: domain.to_string(), what }
}
