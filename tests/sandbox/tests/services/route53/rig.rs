//! A stand-in behind a listener, and the words to write requests with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sandbox::faults::Faults;
use sandbox::http::{Gate, Service};
use sandbox::journal::Journal;
use sandbox::route53::{Options, RecordSet, RecordType, Route53, Routing, ZoneOptions};

pub(crate) const ZONE: &str = "Z0PUBLIC";
pub(crate) const NS: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

pub(crate) struct Rig {
    pub(crate) route53: Arc<Route53>,
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    /// Listens as long as it lives.
    _gate: Gate,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// The texts of all elements of this name, in order.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(&self.body).unwrap();
        let named = document.descendants().filter(|node| node.has_tag_name((NS, name)));
        named.map(|node| node.text().unwrap_or_default().to_owned()).collect()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.texts(name).into_iter().next().unwrap_or_default()
    }
}

impl Rig {
    pub(crate) async fn start(options: Options) -> Self {
        // reqwest wants a provider even for plain HTTP; another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let route53 = Route53::new(options).unwrap();
        let (faults, journal) = (Faults::default(), Journal::default());
        let service: Arc<dyn Service> = Arc::clone(&route53) as Arc<dyn Service>;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let route: sandbox::http::Route = Arc::new(move |_| Arc::clone(&service));
        let (address, gate) =
            Gate::listen(address, true, None, route, faults.clone(), journal.clone()).await.unwrap();
        let base = format!("http://{address}/2013-04-01");
        Self { route53, base, client: reqwest::Client::new(), faults, journal, _gate: gate }
    }

    pub(crate) async fn plain() -> Self {
        Self::start(options()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let response = self.client.get(format!("{}/{path}", self.base)).send().await.unwrap();
        Answer { status: response.status().as_u16(), body: response.text().await.unwrap() }
    }

    pub(crate) async fn post(&self, body: String) -> Answer {
        self.post_to(ZONE, body).await
    }

    pub(crate) async fn post_to(&self, zone: &str, body: String) -> Answer {
        let url = format!("{}/hostedzone/{zone}/rrset", self.base);
        let response = self.client.post(url).body(body).send().await.unwrap();
        Answer { status: response.status().as_u16(), body: response.text().await.unwrap() }
    }

    pub(crate) fn put(&self, set: RecordSet) {
        self.route53.put(ZONE, set).unwrap();
    }
}

/// Without throttling and processing time: both have tests of their own.
pub(crate) fn options() -> Options {
    let zones =
        [ZoneOptions::public(ZONE, "example.org"), ZoneOptions::private("Z0PRIVATE", "internal.example.org")];
    Options { throttle: None, processing: Duration::ZERO, ..Options::zones(zones) }
}

pub(crate) fn batch(changes: &[String]) -> String {
    let changes = changes.concat();
    format!(
        "<ChangeResourceRecordSetsRequest xmlns=\"{NS}\"><ChangeBatch><Comment>a &amp; b</Comment><Changes>{changes}\
         </Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
    )
}

pub(crate) fn change(action: &str, set: &str) -> String {
    format!("<Change><Action>{action}</Action><ResourceRecordSet>{set}</ResourceRecordSet></Change>")
}

/// The inside of a record set; `extra` stands where the schema has identifier and policy.
pub(crate) fn set_with(name: &str, record_type: &str, extra: &str, ttl: u32, values: &[&str]) -> String {
    let values: String = values
        .iter()
        .map(|value| value.replace('&', "&amp;").replace('<', "&lt;"))
        .map(|value| format!("<ResourceRecord><Value>{value}</Value></ResourceRecord>"))
        .collect();
    format!(
        "<Name>{name}</Name><Type>{record_type}</Type>{extra}<TTL>{ttl}</TTL><ResourceRecords>{values}\
         </ResourceRecords>"
    )
}

pub(crate) fn set(name: &str, record_type: &str, ttl: u32, values: &[&str]) -> String {
    set_with(name, record_type, "", ttl, values)
}

pub(crate) fn a(name: &str, value: &str) -> String {
    set(name, "A", 60, &[value])
}

pub(crate) fn multivalue(identifier: &str) -> String {
    format!("<SetIdentifier>{identifier}</SetIdentifier><MultiValueAnswer>true</MultiValueAnswer>")
}

pub(crate) fn seeds() -> [RecordSet; 4] {
    let mut several = RecordSet::simple("several.example.org", RecordType::A, 60, &["192.0.2.9"]);
    several.set_identifier = Some("i-1".to_owned());
    several.routing = Some(Routing::MultiValue);
    [
        RecordSet::simple("www.example.org", RecordType::A, 60, &["192.0.2.1", "192.0.2.2"]),
        RecordSet::simple("alias.example.org", RecordType::Cname, 60, &["www.example.org"]),
        RecordSet::simple("_agent.www.example.org", RecordType::Txt, 60, &["\"owner\""]),
        several,
    ]
}
