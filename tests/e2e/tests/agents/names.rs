//! How names are found: a resolver that fails, or that leads to another zone of the same name.

use std::net::Ipv4Addr;
use std::process::Output;
use std::sync::Arc;

use e2e::Running;
use sandbox::cloud::{AWS_NAME, Cloud, SCALELITE_NAME};
use sandbox::dns::{NameServers, Options, Propagation, Resolver, ResolverOptions};
use sandbox::http::ServiceName::Route53;
use sandbox::route53::{self, ZoneOptions};

use crate::jail::{self, Jail};

const NAME: &str = "vc-0123456789abcdef0.example.org";

async fn run(jail: &Jail, arguments: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = jail.command(arguments).output().await.unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(status.code(), Some(code), "{arguments:?}: {status}\n{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_whose_address_is_not_found_keeps_no_host_waiting() {
    let Some((cloud, jail)) = jail::jailed().await else { return };
    cloud.resolver.fail("ns-1.awsdns.test", true).unwrap();
    let said = run(&jail, &["register", "--wait", "--only", "dns"], 0).await;
    assert!(said.contains("is live on every authoritative server"), "{said}");
    let said = run(&jail, &["check"], 1).await;
    assert!(said.contains("1 of 2 do not answer: ns-1.awsdns.test cannot be asked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_leaves_the_soa_out_of_negative_answers() {
    let Some((cloud, jail)) = jail::jailed().await else { return };
    cloud.resolver.hide_soa();
    let below = ["--set", "dns.domain=fleet.example.org"];
    let said = run(&jail, &[&["register", "--wait", "--only", "dns"], below.as_slice()].concat(), 0).await;
    assert!(said.contains("is live on every authoritative server"), "{said}");
    assert_eq!(cloud.journal.count(Route53, ""), 1, "Route 53 is not read");
}

/// A resolver that knows an internal zone of the same name, with a server of its own, and the rest of the world.
struct Internal {
    resolver: Resolver,
    _servers: Arc<NameServers>,
}

impl Internal {
    async fn start(cloud: &Cloud) -> Self {
        let mut zone = ZoneOptions::public("ZINTERNAL", "example.org");
        zone.name_servers = vec!["ns.internal.test.".to_owned()];
        let route53 = route53::Route53::new(route53::Options::zones([zone])).unwrap();
        let [address, own] = <[_; 2]>::try_from(jail::addresses(2)).unwrap();
        let options = Options { addresses: vec![address], ..Options::default() };
        let servers = NameServers::start(route53, options).await.unwrap();
        let here = vec![Ipv4Addr::LOCALHOST.into()];
        let mut hosts = [(AWS_NAME, here.clone()), (SCALELITE_NAME, here)]
            .map(|(name, addresses)| (name.to_owned(), addresses))
            .to_vec();
        hosts.push(("ns.internal.test".to_owned(), vec![address.ip()]));
        for (index, address) in cloud.dns.addresses().iter().enumerate() {
            hosts.push((format!("ns-{}.awsdns.test", index + 1), vec![address.ip()]));
        }
        let options = ResolverOptions { address: own, hosts: hosts.into_iter().collect() };
        let resolver = Resolver::start(Arc::clone(&servers), options).await.unwrap();
        Self { resolver, _servers: servers }
    }
}

const OTHER: &str = "the resolver's example.org is not zone Z0123456789EXAMPLE (example.org): its name servers are \
                     ns.internal.test, the zone's are ns-1.awsdns.test, ns-2.awsdns.test";

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_server_for_the_same_domain_is_told_from_the_zones_own() {
    let Some((cloud, jail)) = jail::jailed().await else { return };
    let internal = Internal::start(&cloud).await;
    jail.write("etc/resolv.conf", &format!("nameserver {}\n", internal.resolver.address().ip()));

    let said = run(&jail, &["check"], 0).await;
    let line = said.lines().find(|line| line.starts_with("note ") && line.contains(OTHER)).unwrap();
    assert!(line.contains("which are asked instead: all 2 answer"), "{line}");

    let said = run(&jail, &["register", "--wait", "--only", "dns", "--set", "timeouts.register=8"], 0).await;
    assert!(said.contains(OTHER), "{said}");
    assert!(said.contains("is live on every authoritative server"), "{said}");
    assert!(cloud.dns.asked(NAME) > 0);

    let said = run(&jail, &["status"], 3).await;
    assert!(said.contains(OTHER), "{said}");
    assert!(said.contains("live      ns-1.awsdns.test"), "{said}");

    cloud.dns.set_propagation(1, Propagation::Held);
    let leaving = ["deregister", "--wait", "--only", "dns", "--set", "timeouts.deregister=6"];
    let said = run(&jail, &leaving, 8).await;
    assert!(said.contains("is deleted, but not gone everywhere yet"), "{said}");
    assert!(cloud.route53.records_named(&cloud.zone_id, NAME).is_empty(), "the internal zone hid nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_zones_own_servers_are_not_found_route_53_is_asked() {
    let Some((cloud, jail)) = jail::jailed().await else { return };
    let internal = Internal::start(&cloud).await;
    for server in ["ns-1.awsdns.test", "ns-2.awsdns.test"] {
        internal.resolver.fail(server, true).unwrap();
    }
    jail.write("etc/resolv.conf", &format!("nameserver {}\n", internal.resolver.address().ip()));
    let said = run(&jail, &["check"], 0).await;
    assert!(said.contains("not asked, Route 53's API is read instead: the resolver's example.org"), "{said}");
    let said = run(&jail, &["register", "--wait", "--only", "dns", "--set", "timeouts.register=8"], 0).await;
    assert!(said.contains("is in Route 53; no authoritative server could be asked"), "{said}");
}

/// A service compares the servers after a minute, once; until then they may be slow.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_behind_an_internal_server_finds_out_and_becomes_ready() {
    let Some((cloud, jail)) = jail::jailed().await else { return };
    let internal = Internal::start(&cloud).await;
    jail.write("etc/resolv.conf", &format!("nameserver {}\n", internal.resolver.address().ip()));
    let mut service = Running::start(jail.command(&["run"]));
    cloud.journal.reached(Route53, "GetHostedZone", 1).await;
    // The zone's own servers are asked from then on.
    service.said("joining -> serving: registered", 1).await;
    assert_eq!(cloud.journal.count(Route53, "GetHostedZone"), 1);
    assert!(cloud.dns.asked(NAME) > 0);
}
