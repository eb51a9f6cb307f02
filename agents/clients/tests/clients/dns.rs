//! The system's resolver and the authoritative servers, over real UDP and TCP sockets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clients::dns::authoritative::{Answer, Authorities, Error, NameServers};
use clients::dns::system::{self, SystemResolver};
use plan::dns::{Observed, Source};
use plan::record::{Name, RecordSet, RecordType};
use sandbox::cloud::{Cloud, Options};
use sandbox::dns::{Behaviour, Propagation, Resolver, Transport};
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
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    RecordSet { name: host, kind, ttl, values, share: None }
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
            addresses: vec![
                set(host.clone(), RecordType::A, 60, &["203.0.113.10", "203.0.113.11"]),
                set(host.clone(), RecordType::Aaaa, 30, &["2001:db8::10"]),
            ],
            label: Some(set(host.ownership(), RecordType::Txt, 20, &[LABEL])),
            ..Observed::nothing(Source::Dns)
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

/// The cases of `tests/cases/resolv`, with the sandbox's resolver on 127.0.0.90 where they name it.
fn resolv_conf(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/resolv").join(case)
}

async fn resolver_on(address: [u8; 4]) -> Arc<Cloud> {
    let mut options = Options::default();
    options.addresses.resolver = (address, 0).into();
    options.names.insert("api.sandbox.test".into(), vec![[192, 0, 2, 1].into()]);
    Cloud::start(options).await.unwrap()
}

#[tokio::test]
async fn whatever_else_is_in_resolv_conf_its_servers_are_asked() {
    let cloud = resolver_on([127, 0, 0, 90]).await;
    let mut cases: Vec<_> = std::fs::read_dir(resolv_conf(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    cases.retain(|case| !["none", "empty"].contains(&case.as_str()));
    assert_eq!(cases.len(), 13, "{cases:?}");
    for case in cases {
        let resolver = SystemResolver::reading(resolv_conf(&case), cloud.resolver.address().port());
        let found = resolver.addresses("api.sandbox.test").await;
        assert_eq!(found, Ok(vec![[192, 0, 2, 1].into()]), "{case}");
        let servers = NameServers::discover(&resolver, &name("fleet.example.org"), None).await.unwrap();
        assert_eq!(servers.shown().len(), 2, "{case}");
    }
}

#[tokio::test]
async fn without_a_server_in_resolv_conf_the_one_on_this_host_is_asked() {
    let cloud = resolver_on([127, 0, 0, 1]).await;
    for path in [resolv_conf("none"), resolv_conf("empty"), resolv_conf("is-not-there")] {
        let resolver = SystemResolver::reading(&path, cloud.resolver.address().port());
        let found = resolver.addresses("api.sandbox.test").await;
        assert_eq!(found, Ok(vec![[192, 0, 2, 1].into()]), "{}", path.display());
    }
    let nobody = SystemResolver::reading(resolv_conf("none"), nobody_listens().await.port());
    let error = nobody.addresses("api.sandbox.test").await.unwrap_err().to_string();
    assert!(error.contains("names no usable name server, so the one on this host was asked"), "{error}");
}

#[tokio::test]
async fn a_resolv_conf_that_changes_is_read_again() {
    let (first, second) = (resolver_on([127, 0, 0, 90]).await, resolver_on([127, 0, 0, 92]).await);
    let port = first.resolver.address().port();
    let second = {
        // The same port on another address: a resolv.conf cannot say a port.
        let address = ([127, 0, 0, 93], port).into();
        let mut options = sandbox::dns::ResolverOptions { address, ..Default::default() };
        options.hosts.insert("api.sandbox.test".into(), vec![[192, 0, 2, 2].into()]);
        Resolver::start(Arc::clone(&second.dns), options).await.unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    let resolver = SystemResolver::reading(&path, port);
    for (line, expected) in [
        ("nameserver 127.0.0.90\n", [192, 0, 2, 1]),
        ("# after a change\nnameserver 127.0.0.93\n", [192, 0, 2, 2]),
    ] {
        std::fs::write(&path, line).unwrap();
        assert_eq!(resolver.addresses("api.sandbox.test").await, Ok(vec![expected.into()]));
    }
    assert!(second.asked("api.sandbox.test") > 0);
}

#[tokio::test]
async fn a_lookup_that_fails_reads_resolv_conf_again() {
    let cloud = resolver_on([127, 0, 0, 94]).await;
    let port = cloud.resolver.address().port();
    let silent = UdpSocket::bind(("127.0.0.95", port)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.95\n").unwrap();
    let resolver = SystemResolver::reading(&path, port);
    let (found, ()) = tokio::join!(resolver.addresses("api.sandbox.test"), async {
        silent.recv(&mut [0; 512]).await.unwrap();
        std::fs::write(&path, "nameserver 127.0.0.94\n").unwrap();
    });
    assert_eq!(found, Ok(vec![[192, 0, 2, 1].into()]));
}

#[tokio::test]
async fn a_server_that_refuses_or_fails_leaves_the_question_to_the_next() {
    let rig = Rig::start().await;
    // An authoritative server refuses every name that is not in its zones, as a resolver does for foreign clients.
    let refusing = rig.cloud.dns.addresses()[0];
    let answering = rig.cloud.resolver.address();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent_too = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = vec![silent.local_addr().unwrap(), silent_too.local_addr().unwrap(), answering];
    for servers in [vec![refusing, answering], vec![nobody_listens().await, answering], silent] {
        let resolver = SystemResolver::asking(servers);
        assert_eq!(resolver.addresses("ns-1.awsdns.test").await, Ok(vec![[127, 0, 0, 1].into()]));
    }
}

#[tokio::test]
async fn a_zone_is_found_where_negative_answers_have_no_soa() {
    let rig = Rig::start().await;
    rig.cloud.resolver.hide_soa();
    let shown = ["ns-1.awsdns.test (127.0.0.1)", "ns-2.awsdns.test (127.0.0.1)"];
    for domain in ["example.org", "fleet.example.org", "very.deep.fleet.example.org"] {
        assert_eq!(rig.discover(domain, None).await.unwrap().shown(), shown, "{domain}");
    }
    let error = rig.discover("nowhere.test", None).await.unwrap_err().to_string();
    let words = "cannot find the name servers of nowhere.test: the resolver did not say which zone it is in";
    assert_eq!(error, words);
    assert_eq!(rig.cloud.resolver.asked("test"), 0, "a top-level domain is nobody's zone");
}

#[tokio::test]
async fn an_incomplete_discovery_says_so_and_how_long_a_complete_one_is_valid() {
    let rig = Rig::start().await;
    rig.cloud.resolver.fail("ns-1.awsdns.test", true).unwrap();
    let servers = rig.discover("example.org", None).await.unwrap();
    assert!(!servers.is_complete());
    assert!(servers.shown()[0].starts_with("ns-1.awsdns.test (the name ns-1.awsdns.test"), "{servers:?}");
    assert_eq!(servers.shown()[1], "ns-2.awsdns.test (127.0.0.1)");

    rig.cloud.resolver.fail("ns-1.awsdns.test", false).unwrap();
    let servers = rig.discover("example.org", None).await.unwrap();
    assert!(servers.is_complete());
    // The resolver's addresses have a time to live of 60 seconds, its NS records more.
    let left = servers.valid_until().unwrap() - tokio::time::Instant::now();
    assert!(left.as_secs() <= 60, "{left:?}");
}

#[tokio::test]
async fn servers_are_the_same_by_a_name_or_an_address() {
    let rig = Rig::start().await;
    rig.cloud.resolver.add_host("ns1.example.org", vec![[127, 0, 0, 1].into()]).unwrap();
    rig.cloud.resolver.add_host("ns.internal.test", vec![[127, 0, 0, 9].into()]).unwrap();
    let found = rig.discover("fleet.example.org", None).await.unwrap();
    assert_eq!(found.zone(), Some(&name("example.org")));
    for (listed, same) in [
        (vec!["ns-2.awsdns.test", "ns-3.awsdns.test"], true),
        (vec!["NS-2.awsdns.test."], true),
        (vec!["ns1.example.org"], true),
        (vec!["ns.internal.test"], false),
    ] {
        let listed: Vec<String> = listed.into_iter().map(str::to_owned).collect();
        let named = NameServers::named(&rig.names(), &name("example.org"), listed.clone()).await.unwrap();
        assert_eq!((found.overlaps(&named), named.overlaps(&found)), (same, same), "{listed:?}");
    }
}
