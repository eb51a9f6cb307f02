//! Listings: record sets of a zone, and zones by name, ordered and paged like the service's.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::name::DnsName;
use super::record::{Key, RecordType};
use super::xml::{Refusal, element, hosted_zone, record_set, wrap};
use super::zone::{Zone, Zones};
use crate::aws::query::percent_decode;

/// The most record sets in one page.
const PAGE: usize = 300;
/// The most zones in one page.
const ZONES_PAGE: usize = 100;

/// Returns the content of a `ListResourceRecordSetsResponse`.
pub(crate) fn record_sets(zone: &Zone, query: &str) -> Result<String, Refusal> {
    let query = parameters(query);
    let maximum = max_items(&query, PAGE)?;
    let mut sets = zone.records.range((start(&query)?, Bound::Unbounded)).map(|(_, set)| set);
    let page: String = sets.by_ref().take(maximum).map(|set| record_set(set)).collect();
    let next = sets.next();
    let mut content =
        wrap("ResourceRecordSets", &page) + &element("IsTruncated", &next.is_some().to_string());
    if let Some(next) = next {
        content += &element("NextRecordName", &next.name);
        content += &element("NextRecordType", next.record_type.as_str());
        if let Some(identifier) = &next.set_identifier {
            content += &element("NextRecordIdentifier", identifier);
        }
    }
    Ok(content + &element("MaxItems", &maximum.to_string()))
}

/// Returns where a page begins: at `name`, `type`, `identifier`, each of which needs those before it.
fn start(query: &BTreeMap<String, String>) -> Result<Bound<Key>, Refusal> {
    let get = |key: &str| query.get(key).filter(|value| !value.is_empty());
    let (name, record_type, identifier) = (get("name"), get("type"), get("identifier"));
    let name = match (name, record_type, identifier) {
        (None, None, None) => return Ok(Bound::Unbounded),
        (None, Some(_), _) => return Err(invalid("The input is not valid: type is given without name")),
        (_, None, Some(_)) => {
            return Err(invalid("The input is not valid: identifier is given without type"));
        }
        (Some(name), ..) => DnsName::parse(name).map_err(|problem| invalid(&problem))?,
    };
    let record_type = match record_type {
        None => RecordType::A,
        Some(text) => RecordType::parse(text).ok_or_else(|| {
            invalid(&format!("The input is not valid: '{text}' is not a known record type"))
        })?,
    };
    let identifier = identifier.cloned().unwrap_or_default();
    Ok(Bound::Included(Key { order: name.order(), record_type, identifier }))
}

/// Returns the content of a `ListHostedZonesByNameResponse`.
pub(crate) fn zones_by_name(zones: &Zones, query: &str) -> Result<String, Refusal> {
    let query = parameters(query);
    let maximum = max_items(&query, ZONES_PAGE)?;
    let from_id = query.get("hostedzoneid").map(|id| id.trim_start_matches("/hostedzone/").to_owned());
    let from = match (query.get("dnsname").filter(|name| !name.is_empty()), &from_id) {
        (None, Some(_)) => {
            return Err(invalid("The input is not valid: hostedzoneid is given without dnsname"));
        }
        (None, None) => None,
        (Some(name), _) => {
            let order =
                DnsName::parse(name).map_err(|problem| Refusal::new(400, "InvalidDomainName", &problem))?;
            Some((order.order(), from_id.clone().unwrap_or_default()))
        }
    };
    let mut sorted: Vec<&Zone> = zones.values().map(AsRef::as_ref).collect();
    sorted.sort_by_key(|zone| (zone.name.order(), zone.id.clone()));
    let mut rest = sorted
        .into_iter()
        .filter(|zone| from.as_ref().is_none_or(|from| (zone.name.order(), zone.id.clone()) >= *from));
    let page: String = rest.by_ref().take(maximum).map(hosted_zone).collect();
    let next = rest.next();
    let mut content = wrap("HostedZones", &page);
    for (parameter, name) in [("dnsname", "DNSName"), ("hostedzoneid", "HostedZoneId")] {
        content += &query.get(parameter).map(|value| element(name, value)).unwrap_or_default();
    }
    content += &element("IsTruncated", &next.is_some().to_string());
    if let Some(next) = next {
        content += &(element("NextDNSName", &next.name.to_string()) + &element("NextHostedZoneId", &next.id));
    }
    Ok(content + &element("MaxItems", &maximum.to_string()))
}

/// Reads `maxitems`: a number above a page's size means one page.
fn max_items(query: &BTreeMap<String, String>, page: usize) -> Result<usize, Refusal> {
    let Some(text) = query.get("maxitems") else { return Ok(page) };
    match text.parse::<usize>() {
        Ok(items) if items > 0 => Ok(items.min(page)),
        _ => Err(invalid(&format!("The input is not valid: maxitems '{text}' is not a positive number"))),
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(400, "InvalidInput", message)
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (percent_decode(key), percent_decode(value)))
        .collect()
}
