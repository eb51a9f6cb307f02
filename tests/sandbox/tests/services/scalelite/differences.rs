//! Answers of Scalelite 1.8.5 that differ from what a stand-in might think, and settings that change them.

use sandbox::bbb::checksum::{Algorithm, sign};
use sandbox::scalelite::{Config, ServerIds, ServerState};
use serde_json::{Value, json};

use super::world::{HOST_SECRET, SECRET, world, world_with};

#[tokio::test]
async fn a_body_without_server_is_wrapped_as_a_whole() {
    let world = world().await;
    let id = world.add("http://a").await;
    let before = world.info(&id).await;
    let nothing = world.post("updateServer", &json!({ "id": id })).await;
    assert_eq!((nothing.status, nothing.json()), (200, before.clone()), "updateServer without server");
    assert_eq!(world.info(&id).await, before);
    for body in [json!([1]), json!("x"), Value::Null, json!({ "id": id })] {
        let answer = world.post("addServer", &body).await;
        answer.is(400, &json!({ "error": "Server needs a URL and a secret" }));
    }
}

#[tokio::test]
async fn an_id_in_the_query_wins_over_the_bodys() {
    let world = world().await;
    let (first, second) = (world.add("http://a").await, world.add("http://b").await);
    let query = sign(Algorithm::Sha256, "updateServer", &format!("id={second}"), SECRET);
    let body = json!({ "id": first, "server": { "state": "enable" } }).to_string();
    let answer = world.raw("POST", "updateServer", &query, Some(("application/json", &body))).await;
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(second)));
    assert_eq!(world.info(&first).await["state"], "disabled");
}

#[tokio::test]
async fn a_format_may_stand_in_the_path() {
    let world = world().await;
    world.add("http://a").await;
    // The checksum covers the action alone.
    let query = sign(Algorithm::Sha256, "getServers", "", SECRET);
    assert_eq!(world.raw("GET", "getServers.json", &query, None).await.status, 200);
    let query = sign(Algorithm::Sha256, "getServers.json", "", SECRET);
    world.raw("GET", "getServers.json", &query, None).await.refused("checksumError");
    assert_eq!(world.scalelite.traffic()["getServers"].calls, 2);
}

#[tokio::test]
async fn numbers_come_back_as_numbers() {
    let world = world().await;
    let sent = json!({ "server": { "url": 5, "secret": 6, "tag": 7.5 } });
    let added = world.post("addServer", &sent).await;
    let shown = added.json();
    assert_eq!((&shown["url"], &shown["secret"], &shown["tag"]), (&json!(5), &json!(6), &json!(7.5)));
    let id = shown["id"].as_str().unwrap();
    let updated = world.update(id, json!({ "secret": 8, "tag": 9, "url": 10 })).await.json();
    assert_eq!((&updated["secret"], &updated["tag"], &updated["url"]), (&json!(8), &json!(9), &json!("5")));
    // Redis keeps text.
    let read = world.info(id).await;
    assert_eq!((&read["url"], &read["secret"], &read["tag"]), (&json!("5"), &json!("8"), &json!("9")));
}

#[tokio::test]
async fn multipliers_are_decimals_as_ruby_reads_them() {
    let world = world().await;
    let large = format!("1{}.0", "0".repeat(400));
    for (sent, stored) in
        [("1_000", "1000.0"), (".5", "0.5"), ("1e400", large.as_str()), ("2abc", "2.0"), ("0.0", "1.0")]
    {
        let server = json!({ "server": { "url": "u", "secret": "s", "load_multiplier": sent } });
        let added = world.post("addServer", &server).await.json();
        assert_eq!(added["load_multiplier"], stored, "{sent}");
        assert_eq!(world.info(added["id"].as_str().unwrap()).await["load_multiplier"], stored, "{sent}");
    }
}

#[tokio::test]
async fn a_pool_whose_data_are_lost_is_simply_empty() {
    let world = world().await;
    let id = world.add("http://a").await;
    world.scalelite.map_meeting("r", &id);
    world.scalelite.lose_data();
    world.get("getServers", "").await.is(404, &json!({ "error": "No servers are configured" }));
    assert!(world.scalelite.meetings().is_empty());
    assert_eq!(world.update(&id, json!({ "state": "enable" })).await.status, 404);
    assert_ne!(world.add("http://a").await, id);
}

/// "The id is the lower-cased host name, so while an entry of that host exists under another URL, every addServer
/// answers 500 for good: the old entry has to go first."
#[tokio::test]
async fn hostname_ids_block_every_add_of_the_host_until_the_old_entry_is_gone() {
    let world = world().await;
    world.scalelite.configure(|config| config.ids = ServerIds::Hostname);
    let id = world.add("http://VC-1.example.com/bigbluebutton/api").await;
    assert_eq!(id, "vc-1.example.com");
    let other = json!({ "server": { "url": "https://vc-1.example.com/bigbluebutton/api", "secret": "s" } });
    for _ in 0..3 {
        assert_eq!(world.post("addServer", &other).await.status, 500);
    }
    assert_eq!(world.post("deleteServer", &json!({ "id": id })).await.status, 200);
    assert_eq!(world.post("addServer", &other).await.status, 201);
}

/// "SHA512 (or SHA1) alone refuses SHA-256 with checksumError. SHA256:SHA512 takes both."
#[tokio::test]
async fn checksum_algorithms_are_those_that_are_allowed() {
    use Algorithm::{Sha1, Sha256, Sha512};
    let world = world().await;
    world.scalelite.add_server("http://a", HOST_SECRET, ServerState::Disabled);
    for allowed in [vec![Sha512], vec![Sha1], vec![Sha256, Sha512]] {
        world.scalelite.configure(|config| config.algorithms.clone_from(&allowed));
        for algorithm in Algorithm::ALL {
            let query = sign(algorithm, "getServers", "", SECRET);
            let answer = world.raw("GET", "getServers", &query, None).await;
            if allowed.contains(&algorithm) {
                assert_eq!(answer.json()[0]["url"], "http://a", "{algorithm:?} of {allowed:?}");
            } else {
                answer.refused("checksumError");
            }
        }
    }
}

#[tokio::test]
async fn as_observed_is_more_than_the_default_and_keeps_the_rest() {
    let plain = Config { ids: ServerIds::Hostname, ..Config::new(SECRET) };
    let unkind = plain.clone().as_observed(3);
    assert_eq!((plain.stray_watches, plain.costs, plain.poller.lost), (None, None, 0.0));
    assert!(unkind.stray_watches.is_some() && unkind.costs.is_some() && unkind.poller.lost > 0.0);
    assert_eq!((unkind.seed, unkind.ids), (3, ServerIds::Hostname));
    let world = world_with(unkind).await;
    // However unkind it is: whoever lists and tries again is served.
    while world.post("addServer", &json!({ "server": { "url": "http://u", "secret": "s" } })).await.status
        != 201
    {}
    assert_eq!(world.scalelite.servers().len(), 1);
}
