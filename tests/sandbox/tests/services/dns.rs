//! The DNS stand-ins, asked over real UDP and TCP sockets.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_net::client::{Client, ClientHandle};
use hickory_net::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_net::proto::rr::{DNSClass, Name, RecordType as Wire};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use sandbox::dns::{Behaviour, NameServers, Options, Propagation, Resolver, ResolverOptions, Transport};
use sandbox::route53::{Alias, Clock, RecordSet, RecordType, Route53, Routing, ZoneOptions};
use tokio::net::UdpSocket;

const ZONE: &str = "Z0PUBLIC";

struct Rig {
    route53: Arc<Route53>,
    servers: Arc<NameServers>,
    clock: Clock,
}

impl Rig {
    async fn start() -> Self {
        let clock = Clock::manual();
        let zones = [
            ZoneOptions::public(ZONE, "example.org"),
            ZoneOptions::private("Z0PRIVATE", "internal.example.org"),
        ];
        let options =
            sandbox::route53::Options { clock: clock.clone(), ..sandbox::route53::Options::zones(zones) };
        let route53 = Route53::new(options).unwrap();
        let servers = NameServers::start(Arc::clone(&route53), Options::default()).await.unwrap();
        Self { route53, servers, clock }
    }

    fn put(&self, name: &str, record_type: RecordType, values: &[&str]) {
        self.route53.put(ZONE, RecordSet::simple(name, record_type, 60, values)).unwrap();
    }

    fn put_routed(&self, name: &str, identifier: &str, routing: Routing, values: &[&str]) {
        let mut set = RecordSet::simple(name, RecordType::A, 60, values);
        set.set_identifier = Some(identifier.to_owned());
        set.routing = Some(routing);
        self.route53.put(ZONE, set).unwrap();
    }

    fn address(&self, server: usize) -> SocketAddr {
        self.servers.addresses()[server]
    }

    async fn ask(&self, name: &str, record_type: Wire) -> Message {
        ask(self.address(0), Transport::Udp, name, record_type).await
    }

    async fn resolver(&self) -> Resolver {
        let hosts = [("route53.amazonaws.com".to_owned(), vec![IpAddr::from([127, 0, 0, 9])])].into();
        let options = ResolverOptions { hosts, ..ResolverOptions::default() };
        Resolver::start(Arc::clone(&self.servers), options).await.unwrap()
    }
}

async fn ask(address: SocketAddr, transport: Transport, name: &str, record_type: Wire) -> Message {
    let provider = TokioRuntimeProvider::new();
    let mut client = match transport {
        Transport::Udp => {
            let (client, background) = Client::<TokioRuntimeProvider>::from_sender(
                UdpClientStream::builder(address, provider).build(),
            );
            tokio::spawn(background);
            client
        }
        Transport::Tcp => {
            let (stream, sender) = TcpClientStream::new(address, None, None, provider);
            let (client, background) = Client::<TokioRuntimeProvider>::new(stream.await.unwrap(), sender);
            tokio::spawn(background);
            client
        }
    };
    let response = client.query(Name::from_str(name).unwrap(), DNSClass::IN, record_type).await.unwrap();
    Message::clone(&response)
}

/// A query as a datagram, without EDNS unless a size is given.
fn datagram(id: u16, name: &str, record_type: Wire, size: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_str(name).unwrap(), record_type));
    if let Some(size) = size {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// The answers as text, sorted.
fn values(message: &Message) -> Vec<String> {
    let mut values: Vec<_> = message.answers.iter().map(|record| record.data.to_string()).collect();
    values.sort();
    values
}

/// What kind of answer it is, in one word.
fn kind(message: &Message) -> &'static str {
    let soa = message.authorities.iter().any(|record| record.record_type() == Wire::SOA);
    match (message.metadata.response_code, message.answers.is_empty(), soa) {
        (ResponseCode::NoError, false, _) => "data",
        (ResponseCode::NoError, true, true) => "NODATA",
        (ResponseCode::NXDomain, true, true) => "NXDOMAIN",
        (ResponseCode::Refused, true, false) => "REFUSED",
        (ResponseCode::ServFail, true, false) => "SERVFAIL",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_kind_of_answer() {
    let rig = Rig::start().await;
    rig.put("www.example.org", RecordType::A, &["192.0.2.1", "192.0.2.2"]);
    rig.put("www.example.org", RecordType::Aaaa, &["2001:db8::1"]);
    rig.put("_agent.www.example.org", RecordType::Txt, &["\"heritage=x,role=\\\"y\\\"\" \"two\""]);
    rig.put("deep.down.example.org", RecordType::A, &["192.0.2.3"]);
    rig.put("*.wild.example.org", RecordType::A, &["192.0.2.4"]);
    rig.put("here.wild.example.org", RecordType::Txt, &["\"here\""]);
    rig.put("mail.example.org", RecordType::Mx, &["10 www.example.org."]);
    rig.put("srv.example.org", RecordType::Srv, &["1 2 3478 www.example.org."]);
    rig.put("caa.example.org", RecordType::Caa, &["0 issue \"letsencrypt.org\""]);
    for (name, record_type, expected, data) in [
        ("www.example.org.", Wire::A, "data", vec!["192.0.2.1", "192.0.2.2"]),
        ("WWW.Example.ORG.", Wire::AAAA, "data", vec!["2001:db8::1"]),
        ("www.example.org.", Wire::TXT, "NODATA", vec![]),
        ("_agent.www.example.org.", Wire::TXT, "data", vec!["heritage=x,role=\"y\"two"]),
        ("_agent.www.example.org.", Wire::A, "NODATA", vec![]),
        ("gone.example.org.", Wire::A, "NXDOMAIN", vec![]),
        ("x.www.example.org.", Wire::A, "NXDOMAIN", vec![]),
        // A name that is there only because of those below it.
        ("down.example.org.", Wire::A, "NODATA", vec![]),
        ("any.wild.example.org.", Wire::A, "data", vec!["192.0.2.4"]),
        ("a.b.wild.example.org.", Wire::A, "data", vec!["192.0.2.4"]),
        ("any.wild.example.org.", Wire::TXT, "NODATA", vec![]),
        // A name that exists is not covered by the wildcard, nor is anything below it.
        ("here.wild.example.org.", Wire::A, "NODATA", vec![]),
        ("x.here.wild.example.org.", Wire::A, "NXDOMAIN", vec![]),
        ("example.org.", Wire::NS, "data", vec!["ns-1.awsdns.test.", "ns-2.awsdns.test."]),
        ("www.example.org.", Wire::SOA, "NODATA", vec![]),
        ("mail.example.org.", Wire::MX, "data", vec!["10 www.example.org."]),
        ("srv.example.org.", Wire::SRV, "data", vec!["1 2 3478 www.example.org."]),
        ("caa.example.org.", Wire::CAA, "data", vec!["0 issue \"letsencrypt.org\""]),
        ("www.example.com.", Wire::A, "REFUSED", vec![]),
        ("badexample.org.", Wire::A, "REFUSED", vec![]),
        (".", Wire::NS, "REFUSED", vec![]),
    ] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let message = ask(rig.address(1), transport, name, record_type).await;
            assert_eq!(
                (kind(&message), values(&message)),
                (expected, data.iter().map(|&d| d.to_owned()).collect()),
                "{name} {record_type}"
            );
            assert_eq!(message.metadata.authoritative, expected != "REFUSED", "{name} {record_type}");
            assert!(!message.metadata.recursion_available);
        }
    }
}

#[tokio::test]
async fn the_soa_says_how_long_nothing_lasts() {
    let rig = Rig::start().await;
    let message = rig.ask("gone.example.org.", Wire::A).await;
    let soa = &message.authorities[0];
    assert_eq!((soa.name.to_string(), soa.ttl), ("example.org.".to_owned(), 900));
    assert!(soa.data.to_string().ends_with("1 7200 900 1209600 86400"), "{}", soa.data);
    let apex = rig.ask("example.org.", Wire::SOA).await;
    assert_eq!(apex.answers[0].data, soa.data);
}

#[tokio::test]
async fn private_zones_are_not_served() {
    let rig = Rig::start().await;
    let set = RecordSet::simple("x.internal.example.org", RecordType::A, 60, &["10.0.0.1"]);
    rig.route53.put("Z0PRIVATE", set).unwrap();
    // The public parent answers for the name instead, and has no such name.
    assert_eq!(kind(&rig.ask("x.internal.example.org.", Wire::A).await), "NXDOMAIN");
    let resolver = rig.resolver().await;
    let message = ask(resolver.address(), Transport::Udp, "x.internal.example.org.", Wire::A).await;
    assert_eq!(values(&message), ["10.0.0.1"]);

    let options = sandbox::route53::Options::zones([ZoneOptions::private("Z0PRIVATE", "corp.test")]);
    let alone = Route53::new(options).unwrap();
    let servers = NameServers::start(alone, Options::default()).await.unwrap();
    let message = ask(servers.addresses()[0], Transport::Udp, "corp.test.", Wire::SOA).await;
    assert_eq!(kind(&message), "REFUSED");
}

#[tokio::test]
async fn names_are_followed_and_delegated() {
    let rig = Rig::start().await;
    rig.put("www.example.org", RecordType::A, &["192.0.2.1"]);
    rig.put("a.example.org", RecordType::Cname, &["b.example.org"]);
    rig.put("b.example.org", RecordType::Cname, &["www.example.org."]);
    rig.put("out.example.org", RecordType::Cname, &["www.example.com"]);
    rig.put("dangling.example.org", RecordType::Cname, &["gone.example.org"]);
    rig.put("loop.example.org", RecordType::Cname, &["loop.example.org"]);
    rig.put("sub.example.org", RecordType::Ns, &["ns.example.com."]);
    let mut alias = RecordSet::simple("alias.example.org", RecordType::A, 60, &[]);
    alias.ttl = None;
    alias.alias = Some(Alias {
        hosted_zone_id: ZONE.to_owned(),
        dns_name: "www.example.org".to_owned(),
        evaluate_target_health: false,
    });
    rig.route53.put(ZONE, alias).unwrap();

    let chain = rig.ask("a.example.org.", Wire::A).await;
    assert_eq!(values(&chain), ["192.0.2.1", "b.example.org.", "www.example.org."]);
    assert_eq!(values(&rig.ask("a.example.org.", Wire::CNAME).await), ["b.example.org."]);
    assert_eq!(values(&rig.ask("out.example.org.", Wire::A).await), ["www.example.com."]);
    let dangling = rig.ask("dangling.example.org.", Wire::A).await;
    assert_eq!(dangling.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(values(&dangling), ["gone.example.org."]);
    assert_eq!(kind(&rig.ask("loop.example.org.", Wire::A).await), "SERVFAIL");
    let aliased = rig.ask("alias.example.org.", Wire::A).await;
    assert_eq!(
        (values(&aliased), aliased.answers[0].name.to_string()),
        (vec!["192.0.2.1".into()], "alias.example.org.".into())
    );

    let referral = rig.ask("x.sub.example.org.", Wire::A).await;
    assert!(referral.answers.is_empty() && !referral.metadata.authoritative);
    assert_eq!(referral.authorities[0].record_type(), Wire::NS);
}

#[tokio::test]
async fn routing_policies_answer() {
    let rig = Rig::start().await;
    for n in 0..10 {
        rig.put_routed(
            "many.example.org",
            &format!("i-{n}"),
            Routing::MultiValue,
            &[&format!("192.0.2.{n}")],
        );
    }
    let message = rig.ask("many.example.org.", Wire::A).await;
    assert_eq!(values(&message).into_iter().collect::<BTreeSet<_>>().len(), 8);

    rig.put_routed("few.example.org", "i-1", Routing::MultiValue, &["192.0.2.1"]);
    rig.put_routed("few.example.org", "i-2", Routing::MultiValue, &["192.0.2.2"]);
    assert_eq!(values(&rig.ask("few.example.org.", Wire::A).await), ["192.0.2.1", "192.0.2.2"]);

    rig.put_routed("heavy.example.org", "all", Routing::Weight(5), &["192.0.2.1"]);
    rig.put_routed("heavy.example.org", "nothing", Routing::Weight(0), &["192.0.2.2"]);
    assert_eq!(values(&rig.ask("heavy.example.org.", Wire::A).await), ["192.0.2.1"]);

    rig.put_routed("pair.example.org", "a", Routing::Failover("SECONDARY".to_owned()), &["192.0.2.2"]);
    rig.put_routed("pair.example.org", "b", Routing::Failover("PRIMARY".to_owned()), &["192.0.2.1"]);
    assert_eq!(values(&rig.ask("pair.example.org.", Wire::A).await), ["192.0.2.1"]);
}

#[tokio::test]
async fn multivalue_answers_are_the_healthy_ones_in_any_order() {
    let rig = Rig::start().await;
    let put = |n: usize, check: Option<&str>| {
        let mut set = RecordSet::simple("turn.example.org", RecordType::A, 60, &[&format!("192.0.2.{n}")]);
        set.set_identifier = Some(format!("i-{n}"));
        set.routing = Some(Routing::MultiValue);
        set.health_check_id = check.map(str::to_owned);
        rig.route53.put(ZONE, set).unwrap();
    };
    let shown = async || -> BTreeSet<String> {
        values(&rig.ask("turn.example.org.", Wire::A).await).into_iter().collect()
    };
    put(1, Some("check-1"));
    put(2, None);
    rig.route53.set_health("check-1", false);
    assert_eq!(shown().await, BTreeSet::from(["192.0.2.2".to_owned()]), "one without a check is healthy");
    rig.route53.set_health("check-1", true);
    assert_eq!(shown().await.len(), 2);
    put(2, Some("check-1"));
    rig.route53.set_health("check-1", false);
    assert_eq!(shown().await.len(), 2, "none is healthy");

    // With more than eight, each is shown sooner or later, in any order.
    (3..=12).for_each(|n| put(n, None));
    let (mut seen, mut first) = (BTreeSet::new(), BTreeSet::new());
    while seen.len() < 10 || first.len() < 5 {
        let answer = rig.ask("turn.example.org.", Wire::A).await;
        assert_eq!(values(&answer).iter().collect::<BTreeSet<_>>().len(), 8);
        first.extend(answer.answers.first().map(|record| record.data.to_string()));
        seen.extend(values(&answer));
    }
    assert!(!seen.contains("192.0.2.1") && !seen.contains("192.0.2.2"), "{seen:?}");
}

#[tokio::test]
async fn large_answers_are_truncated_over_udp() {
    let rig = Rig::start().await;
    let texts: Vec<String> = (0..12).map(|n| format!("\"{n:02}{}\"", "x".repeat(200))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    rig.put("big.example.org", RecordType::Txt, &texts);

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(rig.address(0)).await.unwrap();
    for (size, truncated, limit) in [(None, true, 512), (Some(1232), true, 1232), (Some(4096), false, 4096)] {
        socket.send(&datagram(7, "big.example.org.", Wire::TXT, size)).await.unwrap();
        let mut buffer = [0; 65_535];
        let length = socket.recv(&mut buffer).await.unwrap();
        let message = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(message.metadata.truncation, truncated, "{size:?}");
        assert!(length <= limit, "{size:?}: {length}");
        assert_eq!(message.edns.is_some(), size.is_some(), "{size:?}");
    }
    let whole = ask(rig.address(0), Transport::Tcp, "big.example.org.", Wire::TXT).await;
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (12, false));
    let last = rig.servers.queries().pop().unwrap();
    assert_eq!(
        (last.name.as_str(), last.record_type.as_str(), last.transport),
        ("big.example.org.", "TXT", Transport::Tcp)
    );
}

#[tokio::test]
async fn only_questions_are_answered() {
    let rig = Rig::start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(rig.address(0)).await.unwrap();
    let mut update = Message::new(1, MessageType::Query, OpCode::Update);
    update.add_query(Query::query(Name::from_str("example.org.").unwrap(), Wire::SOA));
    let mut chaos = Query::query(Name::from_str("version.bind.").unwrap(), Wire::TXT);
    chaos.set_query_class(DNSClass::CH);
    let mut version = Message::new(2, MessageType::Query, OpCode::Query);
    version.add_query(chaos);
    for (message, code) in [
        (update.to_vec().unwrap(), ResponseCode::NotImp),
        (version.to_vec().unwrap(), ResponseCode::Refused),
        (datagram(3, "example.org.", Wire::AXFR, None), ResponseCode::Refused),
        (Message::new(4, MessageType::Query, OpCode::Query).to_vec().unwrap(), ResponseCode::FormErr),
    ] {
        socket.send(&message).await.unwrap();
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).await.unwrap();
        assert_eq!(Message::from_vec(&buffer[..length]).unwrap().metadata.response_code, code);
    }
}

#[tokio::test]
async fn each_server_learns_at_its_own_pace() {
    let rig = Rig::start().await;
    rig.servers.set_propagation(0, Propagation::After(Duration::from_secs(20)));
    rig.servers.set_propagation(1, Propagation::Held);
    rig.put("x.example.org", RecordType::A, &["192.0.2.1"]);
    let both = async || {
        let mut kinds = Vec::new();
        for server in 0..2 {
            kinds.push(kind(&ask(rig.address(server), Transport::Udp, "x.example.org.", Wire::A).await));
        }
        kinds
    };
    assert_eq!(both().await, ["NXDOMAIN", "NXDOMAIN"]);
    rig.clock.advance(Duration::from_secs(19));
    assert_eq!(both().await, ["NXDOMAIN", "NXDOMAIN"]);
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(both().await, ["data", "NXDOMAIN"]);
    rig.servers.release(1);
    assert_eq!(both().await, ["data", "data"]);

    // Held goes on for what comes later.
    rig.route53.remove(ZONE, "x.example.org", RecordType::A, None);
    rig.clock.advance(Duration::from_secs(20));
    assert_eq!(both().await, ["NXDOMAIN", "data"]);
    // A server that learns at once has also what was held before.
    rig.servers.set_propagation(1, Propagation::Immediate);
    assert_eq!(both().await, ["NXDOMAIN", "data"]);
    rig.put("y.example.org", RecordType::A, &["192.0.2.1"]);
    assert_eq!(both().await, ["NXDOMAIN", "NXDOMAIN"]);
    // Nothing older is left that could come back.
    rig.servers.release(1);
    assert_eq!(kind(&ask(rig.address(1), Transport::Udp, "y.example.org.", Wire::A).await), "data");
}

#[tokio::test]
async fn a_server_can_be_down() {
    let rig = Rig::start().await;
    rig.servers.down(0);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(rig.address(0)).await.unwrap();
    socket.send(&datagram(1, "unheard.example.org.", Wire::A, None)).await.unwrap();
    rig.servers.reached("unheard.example.org", 1).await;
    assert_eq!(rig.servers.queries()[0].answer, "");
    assert_eq!(kind(&ask(rig.address(1), Transport::Udp, "x.example.org.", Wire::A).await), "NXDOMAIN");

    // The first thing to come back answers the question asked after it was up again.
    rig.servers.up(0);
    socket.send(&datagram(2, "heard.example.org.", Wire::A, None)).await.unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await.unwrap();
    assert_eq!(Message::from_vec(&buffer[..length]).unwrap().metadata.id, 2);

    rig.servers.behave(0, Behaviour::Refuse);
    assert_eq!(kind(&rig.ask("x.example.org.", Wire::A).await), "REFUSED");
    rig.servers.behave(0, Behaviour::Fail);
    assert_eq!(kind(&rig.ask("x.example.org.", Wire::A).await), "SERVFAIL");
}

#[tokio::test]
async fn questions_are_counted() {
    let rig = Rig::start().await;
    rig.put("x.example.org", RecordType::A, &["192.0.2.1"]);
    rig.ask("X.example.org.", Wire::A).await;
    ask(rig.address(1), Transport::Tcp, "x.example.org.", Wire::TXT).await;
    let queries = serde_json::to_value(rig.servers.queries()).unwrap();
    let expected = serde_json::json!([
        {"server": 0, "name": "x.example.org.", "type": "A", "transport": "udp", "answer": "NOERROR"},
        {"server": 1, "name": "x.example.org.", "type": "TXT", "transport": "tcp", "answer": "NODATA"},
    ]);
    assert_eq!(queries, expected);
    assert_eq!((rig.servers.asked("X.EXAMPLE.org"), rig.servers.asked("y.example.org")), (2, 0));
    rig.servers.clear_queries();
    assert_eq!(rig.servers.asked("x.example.org"), 0);
}

#[tokio::test]
async fn the_resolver_answers_for_zones_and_hosts() {
    let rig = Rig::start().await;
    rig.put("www.example.org", RecordType::A, &["192.0.2.1"]);
    rig.put("deep.down.example.org", RecordType::A, &["192.0.2.3"]);
    let resolver = rig.resolver().await;
    resolver.add_host("ns-1.awsdns.test", vec![[127, 0, 0, 3].into(), "::1".parse().unwrap()]).unwrap();
    for (name, record_type, expected, data) in [
        ("www.example.org.", Wire::A, "data", vec!["192.0.2.1"]),
        ("www.example.org.", Wire::SOA, "NODATA", vec![]),
        ("down.example.org.", Wire::NS, "NODATA", vec![]),
        ("gone.example.org.", Wire::SOA, "NXDOMAIN", vec![]),
        ("example.org.", Wire::NS, "data", vec!["ns-1.awsdns.test.", "ns-2.awsdns.test."]),
        ("Route53.amazonaws.com.", Wire::A, "data", vec!["127.0.0.9"]),
        ("route53.amazonaws.com.", Wire::AAAA, "NODATA", vec![]),
        ("ns-1.awsdns.test.", Wire::AAAA, "data", vec!["::1"]),
        ("elsewhere.test.", Wire::A, "NXDOMAIN", vec![]),
    ] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let message = ask(resolver.address(), transport, name, record_type).await;
            assert_eq!(
                (kind(&message), values(&message)),
                (expected, data.iter().map(|&d| d.to_owned()).collect()),
                "{name} {record_type}"
            );
            assert!(message.metadata.recursion_available && !message.metadata.authoritative);
        }
    }
    // Below the apex the SOA stands in the authority section, under the zone's name.
    let message = ask(resolver.address(), Transport::Udp, "down.example.org.", Wire::SOA).await;
    assert_eq!(message.authorities[0].name.to_string(), "example.org.");
    assert_eq!((resolver.asked("gone.example.org"), resolver.asked("other.example.org")), (2, 0));
    assert!(rig.servers.queries().is_empty(), "the servers' journal is for those who ask them");
}

#[tokio::test]
async fn the_resolver_remembers_what_was_absent() {
    let rig = Rig::start().await;
    let resolver = rig.resolver().await;
    let through = async |record_type| {
        kind(&ask(resolver.address(), Transport::Udp, "x.example.org.", record_type).await)
    };
    assert_eq!(through(Wire::TXT).await, "NXDOMAIN");
    rig.put("x.example.org", RecordType::A, &["192.0.2.1"]);
    assert_eq!(kind(&rig.ask("x.example.org.", Wire::A).await), "data");
    assert_eq!(through(Wire::A).await, "NXDOMAIN", "the name was absent, whatever the type");
    resolver.flush();
    assert_eq!(through(Wire::A).await, "data");

    assert_eq!(through(Wire::AAAA).await, "NODATA");
    rig.put("x.example.org", RecordType::Aaaa, &["2001:db8::1"]);
    assert_eq!(through(Wire::AAAA).await, "NODATA");
    assert_eq!(through(Wire::A).await, "data", "only that type was absent");
    assert_eq!(resolver.absent(), [("x.example.org.".to_owned(), Some("AAAA".to_owned()))].into());
    let answers: Vec<_> = resolver.queries().into_iter().map(|query| query.answer).collect();
    assert_eq!(answers, ["NXDOMAIN", "NXDOMAIN", "NOERROR", "NODATA", "NODATA", "NOERROR"]);
}

#[tokio::test]
async fn the_resolver_sees_what_the_servers_see() {
    let rig = Rig::start().await;
    let resolver = rig.resolver().await;
    rig.servers.set_propagation(0, Propagation::Held);
    rig.put("x.example.org", RecordType::A, &["192.0.2.1"]);
    let through = async || kind(&ask(resolver.address(), Transport::Udp, "x.example.org.", Wire::A).await);
    assert_eq!(through().await, "NXDOMAIN");
    resolver.flush();
    rig.servers.down(0);
    assert_eq!(through().await, "data", "the second server has it");
    rig.servers.down(1);
    assert_eq!(through().await, "SERVFAIL");
}

#[tokio::test]
async fn addresses_can_be_chosen() {
    let rig = Rig::start().await;
    assert_ne!(rig.address(0), rig.address(1));
    // Both sockets are held: neither can be had again.
    assert!(UdpSocket::bind(rig.address(0)).await.is_err());
    assert!(tokio::net::TcpListener::bind(rig.address(0)).await.is_err());
    let taken = Options { addresses: vec![rig.address(0)], ..Options::default() };
    assert!(NameServers::start(Arc::clone(&rig.route53), taken).await.is_err());
    let addresses = vec![([127, 0, 0, 77], 0).into()];
    let other = Options { addresses, propagation: Propagation::Held, ..Options::default() };
    let servers = NameServers::start(Arc::clone(&rig.route53), other).await.unwrap();
    let message = ask(servers.addresses()[0], Transport::Udp, "example.org.", Wire::SOA).await;
    assert_eq!((kind(&message), servers.addresses()[0].ip()), ("data", IpAddr::from([127, 0, 0, 77])));
}
