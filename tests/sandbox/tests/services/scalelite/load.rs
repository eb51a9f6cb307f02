//! What requests cost Scalelite, and what it serves. The clock stands still while something happens: nothing here is
//! really waited for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sandbox::bbb::Network;
use sandbox::bbb::checksum::{Algorithm, sign};
use sandbox::http::{Request, Service};
use sandbox::scalelite::{Config, Costs, Scalelite, Served, ServerState, table, total};
use tokio::time::Instant;

use super::world::{SECRET, world};

fn pool(servers: usize, costs: Option<Costs>) -> Arc<Scalelite> {
    let config = Config { costs, processing: Duration::ZERO, ..Config::new(SECRET) };
    let scalelite = Scalelite::new(config, Network::plain());
    for number in 0..servers {
        let url = format!("https://vc-{number:08}.example.org/bigbluebutton/api");
        scalelite.add_server(&url, &"s".repeat(43), ServerState::Enabled);
    }
    scalelite
}

/// A request that does not travel.
async fn get(scalelite: &Arc<Scalelite>, action: &str, query: &str) -> Duration {
    let request = Request {
        method: "GET".to_owned(),
        path: format!("/scalelite/api/{action}"),
        query: sign(Algorithm::Sha256, action, query, SECRET),
        headers: reqwest::header::HeaderMap::new(),
        body: Default::default(),
    };
    let began = Instant::now();
    scalelite.answer(&request).await;
    began.elapsed()
}

/// "getServers 7.8 ms with 1 server, 16.4 with 50, 52.9 with 200, 162 with 1,000; getServerInfo?id= 6 to 11 ms
/// whatever the pool."
#[tokio::test(start_paused = true)]
async fn requests_take_what_they_were_measured_to_take() {
    for (servers, milliseconds) in [(1, 7.8), (50, 16.4), (200, 52.9), (1000, 162.0)] {
        let scalelite = pool(servers, Some(Costs::default()));
        let list = get(&scalelite, "getServers", "").await.as_secs_f64() * 1000.0;
        assert!((milliseconds..milliseconds + 2.0).contains(&list), "{servers} servers: {list} ms");
        let id = scalelite.servers()[0].id.clone();
        for _ in 0..10 {
            let info = get(&scalelite, "getServerInfo", &format!("id={id}")).await.as_secs_f64() * 1000.0;
            assert!((6.0..13.0).contains(&info), "{servers} servers: {info} ms");
        }
    }
    assert!(get(&pool(1000, None), "getServers", "").await < Duration::from_millis(1), "not by default");
}

#[tokio::test(start_paused = true)]
async fn requests_queue_for_the_workers() {
    for (workers, rounds) in [(1, 6), (2, 3), (6, 1)] {
        let scalelite = pool(1000, Some(Costs { workers }));
        let began = Instant::now();
        join_all((0..6).map(|_| get(&scalelite, "getServers", ""))).await;
        let all = began.elapsed().as_secs_f64() * 1000.0;
        let least = 162.0 * f64::from(rounds);
        assert!((least..least + 10.0).contains(&all), "{workers} workers: {all} ms");
    }
}

/// "262 KB with 1,000."
#[tokio::test]
async fn what_was_served_is_counted() {
    let scalelite = pool(1000, None);
    let id = scalelite.servers()[0].id.clone();
    for _ in 0..2 {
        get(&scalelite, "getServers", "").await;
        get(&scalelite, "getServerInfo", &format!("id={id}")).await;
    }
    get(&scalelite, "getServerInfo", "id=none").await;
    let traffic = scalelite.take_traffic();
    let (lists, infos) = (traffic["getServers"], traffic["getServerInfo"]);
    assert_eq!((lists.calls, lists.rows, infos.calls, infos.rows), (2, 2000, 3, 2));
    assert!((240_000..280_000).contains(&(lists.bytes / 2)), "{lists:?}");
    assert!((200..700).contains(&infos.bytes), "{infos:?}");
    let sum = total(&traffic);
    assert_eq!(sum, Served { calls: 5, rows: 2002, bytes: lists.bytes + infos.bytes });
    assert_eq!(table(&traffic).lines().count(), 4, "{}", table(&traffic));
    assert!(scalelite.traffic().is_empty());
}

#[tokio::test]
async fn refused_calls_are_counted_too() {
    let world = world().await;
    world.add("http://a").await;
    world.raw("GET", "getServers", "checksum=x", None).await.refused("checksumError");
    let traffic = world.scalelite.traffic();
    assert_eq!((traffic["getServers"].calls, traffic["getServers"].rows), (1, 0));
    assert_eq!((traffic["addServer"].calls, traffic["addServer"].rows), (1, 1));
}
