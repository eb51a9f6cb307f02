#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::sync::Arc;

use clients::dns::system::SystemResolver;
use plan::record::Name;
use sandbox::cloud::{Cloud, Options};
use tokio::time::advance;

use super::*;

/// The servers of a cloud's zone, found by its resolver, and how often that was done.
struct Rig {
    cloud: Arc<Cloud>,
    servers: Servers,
    finds: Cell<u32>,
}

impl Rig {
    async fn new() -> Self {
        let cloud = Cloud::start(Options::default()).await.unwrap();
        Self { cloud, servers: Servers::default(), finds: Cell::default() }
    }

    async fn find(&self, own: Option<Delegation>) -> Result<NameServers, String> {
        self.finds.set(self.finds.get() + 1);
        let names = SystemResolver::asking(vec![self.cloud.resolver.address()]);
        let found = match own {
            Some(Delegation { zone, servers }) => NameServers::named(&names, &zone, servers).await,
            None => NameServers::discover(&names, &Name::remote("fleet.example.org"), None).await,
        };
        found.map_err(|error| error.to_string())
    }

    async fn get(&self) -> Result<NameServers, String> {
        self.servers.get(async |own| self.find(own).await).await
    }
}

/// Moves the clock. It stands still only while this is done: sockets need their time.
async fn pass(seconds: u64) {
    tokio::time::pause();
    advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_missing_address_is_looked_up_again_soon_and_then_less_often() {
    let rig = Rig::new().await;
    rig.cloud.resolver.fail("ns-1.awsdns.test", true).unwrap();
    for (finds, wait) in [(1, 4), (1, 2), (2, 9), (2, 2), (3, 0)] {
        assert!(!rig.get().await.unwrap().is_complete());
        assert_eq!(rig.finds.get(), finds);
        pass(wait).await;
    }
    rig.cloud.resolver.fail("ns-1.awsdns.test", false).unwrap();
    pass(20).await;
    assert!(rig.get().await.unwrap().is_complete());
    // Now they are used as long as they are valid: 60 seconds here.
    for (finds, wait) in [(4, 55), (4, 6), (5, 0)] {
        rig.get().await.unwrap();
        assert_eq!(rig.finds.get(), finds);
        pass(wait).await;
    }
}

#[tokio::test]
async fn servers_that_cannot_be_found_again_are_still_asked() {
    let rig = Rig::new().await;
    let why = Err("no answer".to_owned());
    assert_eq!(rig.servers.get(async |_| why.clone()).await, why);
    let found = rig.get().await.unwrap();
    pass(3601).await;
    assert_eq!(rig.servers.get(async |_| why.clone()).await, Ok(found));
}

fn described(servers: &[&str]) -> Description {
    let servers = servers.iter().map(|server| (*server).to_owned()).collect();
    Description { name: Name::remote("example.org"), private: false, servers }
}

#[tokio::test]
async fn servers_of_another_zone_are_replaced_by_the_zones_own() {
    let rig = Rig::new().await;
    rig.cloud.resolver.add_host("ns-own.test", vec![Ipv4Addr::new(127, 0, 0, 7).into()]).unwrap();
    let own = Delegation { zone: Name::remote("example.org"), servers: vec!["ns-own.test".to_owned()] };
    rig.get().await.unwrap();
    let asked = Cell::new(0);
    let describe = async || {
        asked.set(asked.get() + 1);
        Ok(described(&["ns-own.test"]))
    };
    let compare = async |_: &NameServers, _: &Description| {
        let servers = rig.find(Some(own.clone())).await;
        Some(OtherZone { words: "another zone".to_owned(), own: own.clone(), servers })
    };
    assert_eq!(rig.servers.doubt(describe, compare).await, Ok(Some("another zone".to_owned())));
    assert_eq!(rig.get().await.unwrap().names(), ["ns-own.test"]);
    // And so it stays, whatever the resolver says.
    pass(3601).await;
    assert_eq!(rig.get().await.unwrap().names(), ["ns-own.test"]);
    assert_eq!(rig.servers.doubt(describe, compare).await, Ok(None));
    assert_eq!(asked.get(), 1);
}

#[tokio::test]
async fn route_53_is_asked_once_about_the_same_servers() {
    let rig = Rig::new().await;
    let asked = Cell::new(0);
    let describe = async || {
        asked.set(asked.get() + 1);
        Ok(described(&["ns-1.awsdns.test"]))
    };
    let same = async |_: &NameServers, _: &Description| None;
    assert_eq!(rig.servers.doubt(describe, same).await, Ok(None));
    assert_eq!(asked.get(), 0, "nothing was found yet");
    for _ in 0..3 {
        rig.get().await.unwrap();
        assert_eq!(rig.servers.doubt(describe, same).await, Ok(None));
        pass(3601).await;
    }
    assert_eq!(asked.get(), 1);

    let given = Servers::default();
    let fixed = NameServers::fixed(vec![([192, 0, 2, 53], 53).into()]);
    given.get(async |_| Ok(fixed.clone())).await.unwrap();
    assert_eq!(given.doubt(describe, same).await, Ok(None));
    assert_eq!(asked.get(), 1, "servers of the settings are not compared");
}
