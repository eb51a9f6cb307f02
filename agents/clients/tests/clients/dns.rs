//! The system's resolver and the authoritative servers, over real UDP and TCP sockets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use clients::dns::authoritative::{Answer, Authorities, Error, NameServers};
use clients::dns::system::{self, SystemResolver};
use plan::dns::{Observed, Source};
use plan::record::{Name, RecordSet, RecordType};
use sandbox::cloud::{Cloud, Options};
use sandbox::dns::{Behaviour, Propagation, Transport};
use sandbox::route53::{RecordSet as Set, RecordType as Kind, ZoneOptions};
use tokio::net::UdpSocket;

const LABEL: &str =
    "heritage=bbb-agents,role=bbb,instance=i-0123456789abcdef0,region=eu-central-1,since=1767225600";

struct Rig {
    cloud: Arc<Cloud>,
    servers: NameServers,
}

impl Rig {
    async fn start() -> Self {
        let cloud = Cloud::start(Options::default()).await.unwrap();
        let servers = NameServers::fixed(cloud.dns.addresses());
        Self { cloud, servers }
    }

    fn put(&self, name: &str, kind: Kind, ttl: u32, values: &[&str]) {
        self.cloud.route53.put(&self.cloud.zone_id, Set::simple(name, kind, ttl, values)).unwrap();
    }

    async fn agreed(&self, host: &str) -> Option<Observed> {
        NameServers::agreed(&self.servers.ask_all(&name(host)).await)
    }

    fn names(&self) -> SystemResolver {
        SystemResolver::asking(vec![self.cloud.resolver.address()])
    }

    async fn discover(&self, domain: &str, apex: Option<&str>) -> Result<NameServers, Error> {
        NameServers::discover(&self.names(), &name(domain), apex.map(name).as_ref()).await
    }
}

fn name(text: &str) -> Name {
    Name::host(text).unwrap()
}

fn set(host: Name, kind: RecordType, ttl: u32, values: &[&str]) -> RecordSet {
    RecordSet { name: host, kind, ttl, values: values.iter().map(|value| (*value).to_owned()).collect() }
}

async fn nobody_listens() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn what_is_there_is_read_as_it_is() {
    let rig = Rig::start().await;
    rig.put("vc-1.example.org", Kind::A, 60, &["203.0.113.10", "203.0.113.11"]);
    rig.put("vc-1.example.org", Kind::Aaaa, 30, &["2001:0DB8:0:0::10"]);
    rig.put("_agent.vc-1.example.org", Kind::Txt, 20, &[&format!("\"{LABEL}\"")]);
    let host = name("vc-1.example.org");
    assert_eq!(
        rig.agreed("vc-1.example.org").await,
        Some(Observed {
            source: Source::Dns,
            addresses: vec![
                set(host.clone(), RecordType::A, 60, &["203.0.113.10", "203.0.113.11"]),
                set(host.clone(), RecordType::Aaaa, 30, &["2001:db8::10"]),
            ],
            label: Some(set(host.ownership(), RecordType::Txt, 20, &[LABEL])),
            alien: None,
        })
    );
}

#[tokio::test]
async fn absent_names_and_types_are_absent() {
    let rig = Rig::start().await;
    rig.put("vc-2.example.org", Kind::Mx, 60, &["10 mail.example.org."]);
    for host in ["vc-1.example.org", "vc-2.example.org"] {
        assert_eq!(rig.agreed(host).await, Some(Observed::nothing(Source::Dns)), "{host}");
    }
}

#[tokio::test]
async fn texts_with_escapes_and_in_parts() {
    let rig = Rig::start().await;
    let long = "x".repeat(255);
    let quoted = format!("\"{long}\" \"a\\\"b\\\\c\\040\\303\\274\"");
    rig.put("_agent.vc-1.example.org", Kind::Txt, 60, &[&quoted, "\"second\""]);
    let label = rig.agreed("vc-1.example.org").await.unwrap().label.unwrap();
    assert_eq!(label.values, BTreeSet::from([format!("{long}a\"b\\c ü"), "second".to_owned()]));
}

#[tokio::test]
async fn a_cname_is_alien() {
    let rig = Rig::start().await;
    rig.put("vc-1.example.org", Kind::Cname, 60, &["other.example.org."]);
    rig.put("other.example.org", Kind::A, 60, &["203.0.113.99"]);
    let observed = rig.agreed("vc-1.example.org").await.unwrap();
    assert_eq!(observed.alien.as_deref(), Some("a CNAME to other.example.org"));
    assert_eq!(observed.addresses, []);

    rig.put("_agent.vc-2.example.org", Kind::Cname, 60, &["other.example.org."]);
    let observed = rig.agreed("vc-2.example.org").await.unwrap();
    let words = "a CNAME to other.example.org (at _agent.vc-2.example.org)";
    assert_eq!(observed.alien.as_deref(), Some(words));
}

#[tokio::test]
async fn a_long_answer_comes_by_tcp() {
    let rig = Rig::start().await;
    let texts: Vec<String> = (0..20).map(|index| format!("\"{index:0>60}\"")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    rig.put("_agent.vc-1.example.org", Kind::Txt, 60, &texts);
    let label = rig.agreed("vc-1.example.org").await.unwrap().label.unwrap();
    assert_eq!(label.values.len(), 20);
    let by_tcp = rig.cloud.dns.queries().into_iter().filter(|query| query.transport == Transport::Tcp);
    assert!(by_tcp.clone().count() == 2 && by_tcp.clone().all(|query| query.record_type == "TXT"));
}

#[tokio::test]
async fn servers_that_differ_do_not_agree_until_they_do() {
    let rig = Rig::start().await;
    rig.cloud.dns.set_propagation(1, Propagation::Held);
    rig.put("vc-1.example.org", Kind::A, 60, &["203.0.113.10"]);
    assert_eq!(rig.agreed("vc-1.example.org").await, None);
    rig.cloud.dns.release(1);
    assert_eq!(rig.agreed("vc-1.example.org").await.unwrap().addresses.len(), 1);
}

#[tokio::test]
async fn what_does_not_answer_says_so_and_does_not_vote() {
    let rig = Rig::start().await;
    rig.put("vc-1.example.org", Kind::A, 60, &["203.0.113.10"]);
    let second = rig.cloud.dns.addresses()[1].to_string();
    let server = || second.clone();
    let host = || "vc-1.example.org".to_owned();
    for (behaviour, expected) in [
        (Behaviour::Refuse, Error::Refused { server: server(), code: "REFUSED".into(), name: host() }),
        (Behaviour::Fail, Error::Refused { server: server(), code: "SERVFAIL".into(), name: host() }),
        (Behaviour::Silent, Error::Silent { server: server(), why: "no answer in time".into() }),
    ] {
        rig.cloud.dns.behave(1, behaviour);
        let answers = rig.servers.ask_all(&name("vc-1.example.org")).await;
        assert_eq!(answers[1], Answer { server: server(), result: Err(expected) });
        assert_eq!(NameServers::agreed(&answers).unwrap().addresses.len(), 1);

        let second_alone = &answers[1..];
        assert_eq!(NameServers::agreed(second_alone), None);
    }
    let nobody = nobody_listens().await;
    let answers = NameServers::fixed(vec![nobody]).ask_all(&name("vc-1.example.org")).await;
    let words = format!("{nobody} did not answer: connection refused");
    assert_eq!(answers[0].result.as_ref().unwrap_err().to_string(), words);
}

#[tokio::test]
async fn only_authoritative_answers_count() {
    let rig = Rig::start().await;
    rig.put("vc-1.example.org", Kind::A, 60, &["203.0.113.10"]);
    let recursive = rig.cloud.resolver.address();
    let answers = NameServers::fixed(vec![recursive]).ask_all(&name("vc-1.example.org")).await;
    let expected = Error::NotAuthoritative { server: recursive.to_string(), name: "vc-1.example.org".into() };
    assert_eq!(answers[0].result, Err(expected));

    // Delegated away: the zone's servers only refer to others.
    rig.put("sub.example.org", Kind::Ns, 60, &["ns-9.example.net."]);
    let answers = rig.servers.ask_all(&name("vc-1.sub.example.org")).await;
    assert!(matches!(&answers[0].result, Err(Error::NotAuthoritative { .. })), "{answers:?}");
}

#[tokio::test]
async fn a_zone_is_found_from_its_apex_and_from_below() {
    let rig = Rig::start().await;
    let shown = ["ns-1.awsdns.test (127.0.0.1)", "ns-2.awsdns.test (127.0.0.1)"];
    for (domain, apex) in [
        ("example.org", None),
        ("fleet.example.org", None),
        ("deep.fleet.example.org", None),
        ("not-delegated.example.net", Some("example.org")),
    ] {
        assert_eq!(rig.discover(domain, apex).await.unwrap().shown(), shown, "{domain}");
    }
    // The resolver is asked for these names and no others, in particular for no host's name.
    let asked: BTreeSet<String> = rig.cloud.resolver.queries().into_iter().map(|query| query.name).collect();
    let expected = [
        "deep.fleet.example.org.",
        "example.org.",
        "fleet.example.org.",
        "ns-1.awsdns.test.",
        "ns-2.awsdns.test.",
    ];
    assert_eq!(asked, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn a_name_server_without_an_address_is_shown_and_the_others_used() {
    let mut zone = ZoneOptions::public("Z0123456789EXAMPLE", "example.org");
    zone.name_servers.push("ns-3.nowhere.test.".into());
    let route53 = sandbox::route53::Options::zones([zone]);
    let cloud = Cloud::start(Options { route53, ..Options::default() }).await.unwrap();
    let names = SystemResolver::asking(vec![cloud.resolver.address()]);
    let servers = NameServers::discover(&names, &name("example.org"), None).await.unwrap();
    let shown = servers.shown();
    assert_eq!(shown.len(), 3);
    assert!(shown[2].starts_with("ns-3.nowhere.test (the name ns-3.nowhere.test"), "{shown:?}");
}

#[tokio::test]
async fn a_domain_without_a_zone() {
    let rig = Rig::start().await;
    rig.put("alias.example.org", Kind::Cname, 60, &["www.example.net."]);
    for domain in ["example.net", "nowhere.test"] {
        let error = rig.discover(domain, None).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot find the name servers of {domain}: ")), "{error}");
    }
    let names = SystemResolver::asking(vec![nobody_listens().await]);
    let error = NameServers::discover(&names, &name("example.org"), None).await.unwrap_err();
    assert!(matches!(error, Error::Discovery { .. }), "{error}");
}

#[tokio::test]
async fn the_systems_resolver() {
    let mut options = Options::default();
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    options.names.insert("both.sandbox.test".into(), vec![v6, v4]);
    let cloud = Cloud::start(options).await.unwrap();
    let resolver = SystemResolver::asking(vec![cloud.resolver.address()]);

    assert_eq!(resolver.addresses("both.sandbox.test").await.unwrap(), [v4, v6]);
    let absent = resolver.addresses("absent.example.org").await.unwrap_err();
    assert_eq!(absent, system::Error::NoAddress("absent.example.org".into()));

    // An absent name is asked for again: the resolver behind ours may have learned of it.
    let set = Set::simple("absent.example.org", Kind::A, 60, &["203.0.113.10"]);
    cloud.route53.put(&cloud.zone_id, set).unwrap();
    cloud.resolver.flush();
    let found = resolver.addresses("absent.example.org").await.unwrap();
    assert_eq!(found, [IpAddr::from([203, 0, 113, 10])]);
}

#[tokio::test]
async fn what_needs_no_resolver() {
    let nobody = SystemResolver::asking(vec![nobody_listens().await]);
    let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for name in ["localhost", "LOCALHOST.", "bbb.localhost"] {
        assert_eq!(nobody.addresses(name).await.unwrap(), local, "{name}");
    }
    for (text, address) in [("127.0.0.1", local[0]), ("::1", local[1]), ("[::1]", local[1])] {
        assert_eq!(nobody.addresses(text).await.unwrap(), [address]);
    }
    let error = nobody.addresses("www.example.org").await.unwrap_err().to_string();
    assert!(error.starts_with("the name www.example.org does not resolve: "), "{error}");
}
