//! Every row of what was observed on Scalelite 1.8.5, asked of the stand-in over real sockets.

mod differences;
mod load;
mod meetings;
mod placement;
mod world;

use futures_util::future::join_all;
use sandbox::bbb::Mode;
use sandbox::bbb::checksum::{Algorithm, sign};
use sandbox::faults::{Fault, Planned};
use sandbox::http::ServiceName;
use sandbox::scalelite::{Config, ServerIds, ServerState};
use serde_json::json;

use self::world::{HOST_SECRET, SECRET, bbb, world, world_with};

#[tokio::test]
async fn checksums() {
    let world = world().await;
    world.add("http://a/bigbluebutton/api").await;
    for algorithm in Algorithm::ALL {
        let query = sign(algorithm, "getServers", "a=1&b=%20", SECRET);
        assert_eq!(world.raw("GET", "getServers", &query, None).await.status, 200, "{algorithm:?}");
        let checksum = query.rsplit('&').next().unwrap();
        for moved in [format!("{checksum}&a=1&b=%20"), format!("a=1&{checksum}&b=%20")] {
            assert_eq!(world.raw("GET", "getServers", &moved, None).await.status, 200, "{moved}");
        }
        let upper = checksum.to_uppercase().replace("CHECKSUM", "checksum");
        for wrong in [
            String::new(),
            "checksum=".to_owned(),
            format!("{checksum}0"),
            format!("a=2&b=%20&{checksum}"),
            format!("a=1&b=%20&{upper}"),
            sign(algorithm, "getServerInfo", "", SECRET),
            sign(algorithm, "getServers", "", "another"),
        ] {
            world.raw("GET", "getServers", &wrong, None).await.refused("checksumError");
        }
    }
    let restricted = Config { algorithms: vec![Algorithm::Sha512], ..Config::new(SECRET) };
    let world = world_with(restricted).await;
    world.get("getServers", "").await.refused("checksumError");
    let query = sign(Algorithm::Sha512, "getServers", "", SECRET);
    assert_eq!(world.raw("GET", "getServers", &query, None).await.status, 404);
}

#[tokio::test]
async fn the_body_is_not_covered_and_a_url_works_again() {
    let world = world().await;
    let query = sign(Algorithm::Sha1, "addServer", "", SECRET);
    for url in ["http://a", "http://b"] {
        let body = json!({ "server": { "url": url, "secret": "s" } }).to_string();
        assert_eq!(
            world.raw("POST", "addServer", &query, Some(("application/json", &body))).await.status,
            201
        );
    }
}

#[tokio::test]
async fn wrong_requests() {
    let world = world().await;
    for (method, action) in
        [("GET", "addServer"), ("POST", "getServers"), ("GET", "getNothing"), ("PUT", "addServer")]
    {
        let query = sign(Algorithm::Sha256, action, "", SECRET);
        world
            .raw(method, action, &query, Some(("application/json", "{}")))
            .await
            .refused("unsupportedRequest");
    }
    let query = sign(Algorithm::Sha256, "addServer", "", SECRET);
    for content_type in ["application/x-www-form-urlencoded", "text/plain", ""] {
        let answer = world.raw("POST", "addServer", &query, Some((content_type, "{}"))).await;
        answer.refused("unsupportedContentType");
    }
    for query in [query.as_str(), "checksum=wrong", ""] {
        let answer = world.raw("POST", "addServer", query, Some(("application/json", "{\"server\":"))).await;
        answer.is(400, &json!({ "status": 400, "error": "Bad Request" }));
    }
    let url = format!("{}/scalelite/api/addServer?{query}", world.base);
    let answer =
        world.send(world.client.post(url).header("content-type", "application/json").body("{")).await;
    assert_eq!((answer.status, answer.body.as_str()), (400, ""));
    assert!(answer.content_type.starts_with("text/html"));
}

#[tokio::test]
async fn redis_down() {
    let world = world().await;
    world.add("http://a").await;
    world.scalelite.set_redis_down(true);
    world.get("getServers", "").await.is(500, &json!({ "status": 500, "error": "Internal Server Error" }));
    world.raw("GET", "getServers", "checksum=x", None).await.refused("checksumError");
    let health = world.send(world.client.get(format!("{}/health_check", world.base))).await;
    assert_eq!(health.status, 200);
    assert!(health.body.starts_with("Health Check Failure: "));
    world.scalelite.set_redis_down(false);
    assert_eq!(world.get("getServers", "").await.status, 200);
}

#[tokio::test]
async fn proxies() {
    let world =
        world_with(Config { url_host: Some("lb.example.com".to_owned()), ..Config::new(SECRET) }).await;
    let refused = world.get("getServers", "").await;
    assert_eq!((refused.status, refused.body.as_str()), (403, ""));
    let url = format!(
        "{}/scalelite/api/getServers?{}",
        world.base,
        sign(Algorithm::Sha1, "getServers", "", SECRET)
    );
    let named = world.send(world.client.get(url).header("host", "LB.example.com")).await;
    named.is(404, &json!({ "error": "No servers are configured" }));
    let large = "x".repeat(1024 * 1024 + 1);
    let answer = world.raw("POST", "addServer", "", Some(("application/json", &large))).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (413, "text/html"));
    world.scalelite.set_recordings_only(true);
    let answer = world.get("getServers", "").await;
    assert_eq!((answer.status, answer.content_type.as_str()), (404, "text/html"));
}

#[tokio::test]
async fn the_server_object_and_the_empty_pool() {
    let world = world().await;
    world.get("getServers", "").await.is(404, &json!({ "error": "No servers are configured" }));
    let sent = json!({ "server": { "url": "http://A/x", "secret": "s", "state": "enable", "id": "mine" } });
    let added = world.post("addServer", &sent).await;
    assert_eq!(added.status, 201);
    let id = added.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((id.len(), id.as_bytes()[14], id.matches('-').count()), (36, b'4', 4));
    let object = format!(
        "{{\"id\":\"{id}\",\"url\":\"http://A/x\",\"secret\":\"s\",\"tag\":\"\",\"bbb_version\":\"\",\"state\":\"disabled\",\
         \"load\":\"unavailable\",\"load_multiplier\":\"1.0\",\"online\":\"offline\"}}"
    );
    assert_eq!(added.body, object);
    let info = world.get("getServerInfo", &format!("id={id}")).await;
    assert_eq!((info.status, &info.body), (200, &object));
    let list = world.get("getServers", "").await;
    assert_eq!((list.status, list.body), (200, format!("[{object}]")));
}

#[tokio::test]
async fn old_versions() {
    let world = world_with(Config { version: (1, 5, 9), ..Config::new(SECRET) }).await;
    let added =
        world.post("addServer", &json!({ "server": { "url": "u", "secret": "s", "tag": "t" } })).await;
    assert_eq!(added.status, 201);
    assert!(added.json().get("tag").is_none() && added.json().get("bbb_version").is_none());
    let world = world_with(Config { version: (1, 5, 0), ..Config::new(SECRET) }).await;
    world.get("getServers", "").await.refused("unsupportedRequest");
}

#[tokio::test]
async fn adding_without_validation() {
    let world = world().await;
    for server in [
        json!({ "url": "http://a" }),
        json!({ "secret": "s" }),
        json!({ "url": " ", "secret": "s" }),
        json!({ "url": "http://a", "secret": "" }),
        json!({ "url": null, "secret": "s" }),
    ] {
        let answer = world.post("addServer", &json!({ "server": server })).await;
        answer.is(400, &json!({ "error": "Server needs a URL and a secret" }));
    }
    for body in [json!({}), json!({ "server": {} }), json!({ "server": null })] {
        world.post("addServer", &body).await.refused("internalError");
    }
    for url in ["not a url", "ftp://x", "  http://a  "] {
        let id = world.add(url).await;
        assert_eq!(world.info(&id).await["url"], url);
    }
    for (sent, stored) in [
        (json!(0), json!("1.0")),
        (json!("abc"), json!("1.0")),
        (json!(null), json!("1.0")),
        (json!(-3), json!("-3.0")),
        (json!(2.5), json!("2.5")),
        (json!("0.25"), json!("0.25")),
        (json!("NaN"), json!(null)),
        (json!("Infinity"), json!(null)),
    ] {
        let server = json!({ "server": { "url": "u", "secret": "s", "load_multiplier": sent } });
        let added = world.post("addServer", &server).await;
        assert_eq!((added.status, &added.json()["load_multiplier"]), (201, &stored), "{sent}");
    }
}

#[tokio::test]
async fn ids() {
    let world = world().await;
    let url = "http://VC-1.example.com/bigbluebutton/api";
    assert_ne!(world.add(url).await, world.add(url).await);
    assert_eq!(world.scalelite.servers_with_url(url).len(), 2);

    let world = world_with(Config { ids: ServerIds::Hostname, ..Config::new(SECRET) }).await;
    assert_eq!(world.add(url).await, "vc-1.example.com");
    let before = world.scalelite.snapshot();
    for url in [url, "https://vc-1.example.com:8443/other", "not a url", "vc-2"] {
        let again = world.post("addServer", &json!({ "server": { "url": url, "secret": "other" } })).await;
        again.is(500, &json!({ "status": 500, "error": "Internal Server Error" }));
    }
    assert_eq!(world.scalelite.snapshot(), before);
}

#[tokio::test]
async fn updates() {
    let world = world().await;
    let id = world.add("http://a").await;
    for (sent, state) in
        [("enable", "enabled"), ("cordon", "cordoned"), ("disable", "disabled"), ("enable", "enabled")]
    {
        let answer = world.update(&id, json!({ "state": sent })).await;
        assert_eq!((answer.status, &answer.json()["state"]), (200, &json!(state)));
        assert_eq!(world.info(&id).await["state"], state);
    }
    for wrong in ["enabled", "ENABLE", "panic"] {
        let answer = world.update(&id, json!({ "state": wrong, "secret": "lost" })).await;
        answer.is(400, &json!({ "error": format!("Invalid state parameter: {wrong}") }));
    }
    for nothing in [json!({ "state": "" }), json!({ "state": null }), json!({ "url": "http://new" })] {
        assert_eq!(world.update(&id, nothing).await.status, 200);
    }
    let same = world.info(&id).await;
    assert_eq!(
        (&same["state"], &same["secret"], &same["url"]),
        (&json!("enabled"), &json!(HOST_SECRET), &json!("http://a"))
    );

    for (sent, tag, secret) in [
        (json!({ "tag": "x", "secret": "new" }), "x", "new"),
        (json!({ "tag": null, "secret": null }), "x", "new"),
        (json!({ "tag": "", "secret": "" }), "", "new"),
    ] {
        let answer = world.update(&id, sent).await;
        assert_eq!(
            (answer.status, &answer.json()["tag"], &answer.json()["secret"]),
            (200, &json!(tag), &json!(secret))
        );
    }
    assert_eq!(world.update(&id, json!({ "load_multiplier": 2 })).await.json()["load_multiplier"], "2.0");
    assert_eq!(world.update(&id, json!({ "load_multiplier": 0 })).await.status, 400);
    assert_eq!(world.update(&id, json!({})).await.status, 400);
    assert_eq!(world.info(&id).await["load_multiplier"], "2.0");
}

#[tokio::test]
async fn unknown_ids() {
    let world = world().await;
    world.add("http://a").await;
    let wanted = |id: &str| json!({ "error": format!("Couldn't find server with id={id}") });
    world.get("getServerInfo", "id=no").await.is(404, &wanted("no"));
    world.get("getServerInfo", "").await.is(404, &wanted(""));
    for action in ["updateServer", "deleteServer", "panicServer"] {
        world
            .post(action, &json!({ "id": "no", "server": { "state": "enable" } }))
            .await
            .is(404, &wanted("no"));
        world.post(action, &json!({})).await.is(404, &wanted(""));
    }
}

#[tokio::test]
async fn deleting_does_not_look_for_meetings() {
    let (world, (host, url)) = (world().await, bbb().await);
    let id = world.enabled(&url).await;
    world.scalelite.create_meeting("r").await.unwrap();
    let answer = world.post("deleteServer", &json!({ "id": id })).await;
    assert_eq!((answer.status, answer.json()["success"].is_string()), (200, true));
    assert_eq!(world.post("deleteServer", &json!({ "id": id })).await.status, 404);
    assert!(host.meeting("r").is_some());

    // Stuck until it is forgotten, even when there is another server.
    let (_, other) = bbb().await;
    world.enabled(&other).await;
    assert_eq!(world.join_key("r"), "notFound");
    for _ in 0..2 {
        assert_eq!(world.create_key("r").await, "internalError");
        world.scalelite.poll().await;
    }
    assert!(world.scalelite.forget_meeting("r"));
    assert_eq!(world.scalelite.create_meeting("r").await.unwrap(), other);
}

#[tokio::test]
async fn panic_ends_and_forgets() {
    let (world, (host, url)) = (world().await, bbb().await);
    let id = world.enabled(&url).await;
    world.scalelite.create_meeting("r").await.unwrap();
    host.start_meeting("not ours", 1);
    let answer = world.post("panicServer", &json!({ "id": id })).await;
    assert_eq!((answer.status, answer.json()["success"].is_string()), (200, true));
    assert_eq!(world.info(&id).await["state"], "disabled");
    assert!(host.meeting("r").is_none() && host.meeting("not ours").is_some());
    assert_eq!(world.join_key("r"), "notFound");
    assert!(world.scalelite.meetings().is_empty());

    let (_, other) = bbb().await;
    world.enabled(&other).await;
    assert_eq!(world.scalelite.create_meeting("r").await.unwrap(), other);
}

#[tokio::test]
async fn panic_keeps_the_state_only_when_asked_at_the_top() {
    let world = world().await;
    let id = world.add("http://a").await;
    for (body, state) in [
        (json!({ "keep_state": true }), "enabled"),
        (json!({ "keep_state": "false" }), "enabled"),
        (json!({ "keep_state": false }), "disabled"),
        (json!({ "keep_state": "" }), "disabled"),
        (json!({ "server": { "keep_state": true } }), "disabled"),
    ] {
        world.update(&id, json!({ "state": "enable" })).await;
        let mut sent = body.clone();
        sent["id"] = json!(id);
        assert_eq!(world.post("panicServer", &sent).await.status, 200);
        assert_eq!(world.info(&id).await["state"], state, "{body}");
    }
}

#[tokio::test]
async fn panic_stops_at_the_first_meeting_that_does_not_end() {
    let (world, (host, url)) = (world().await, bbb().await);
    let id = world.enabled(&url).await;
    for meeting in ["a", "b", "c"] {
        world.scalelite.create_meeting(meeting).await.unwrap();
    }
    let refusal = json!({ "error": format!("Couldn't disable server id={id}") });
    host.end_meeting("a");
    for (mode, left) in [(Mode::Ready, 2), (Mode::NotInstalled, 1)] {
        host.set_mode(mode);
        world.post("panicServer", &json!({ "id": id })).await.is(400, &refusal);
        assert_eq!(world.scalelite.meetings().len(), left);
        assert_eq!(world.info(&id).await["state"], "enabled");
    }
    host.set_mode(Mode::Ready);
    world.scalelite.refuse_panics(2);
    for _ in 0..2 {
        world.post("panicServer", &json!({ "id": id })).await.is(400, &refusal);
        assert!(world.scalelite.meetings().is_empty());
    }
    assert_eq!(world.post("panicServer", &json!({ "id": id })).await.status, 200);
    assert_eq!(world.info(&id).await["state"], "disabled");
    assert!(host.meeting("b").is_some(), "its record was dropped without ending it");

    let unreachable = world.add("http://nowhere.example.com/bigbluebutton/api").await;
    world.scalelite.map_meeting("x", &unreachable);
    assert_eq!(world.post("panicServer", &json!({ "id": unreachable })).await.status, 400);
    assert_eq!(world.post("panicServer", &json!({ "id": unreachable })).await.status, 200);
}

#[tokio::test]
async fn parallel_adds_conflict() {
    for (ids, urls) in [(ServerIds::Uuid, 5), (ServerIds::Uuid, 1), (ServerIds::Hostname, 1)] {
        let world = world_with(Config { ids, ..Config::new(SECRET) }).await;
        world.scalelite.hold();
        let bodies: Vec<_> = (0..5)
            .map(|n| json!({ "server": { "url": format!("http://h{}", n % urls), "secret": "s" } }))
            .collect();
        let adds = join_all(bodies.iter().map(|body| world.post("addServer", body)));
        let release = async {
            world.scalelite.held(5).await;
            world.scalelite.release();
        };
        let (answers, ()) = tokio::join!(adds, release);
        let stored = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!((stored, answers.iter().filter(|answer| answer.status == 500).count()), (1, 4));
        assert_eq!(world.scalelite.servers().len(), stored);
    }
}

#[tokio::test]
async fn retried_adds_are_all_stored_once() {
    let world = world().await;
    let workers = (0..8).map(|worker| {
        let world = &world;
        async move {
            for n in 0..5 {
                let body = json!({ "server": { "url": format!("http://h{worker}-{n}"), "secret": "s" } });
                while world.post("addServer", &body).await.status != 201 {}
            }
        }
    });
    join_all(workers).await;
    let mut urls: Vec<_> = world.scalelite.servers().into_iter().map(|server| server.url).collect();
    urls.sort();
    urls.dedup();
    assert_eq!((urls.len(), world.scalelite.servers().len()), (40, 40));
}

#[tokio::test]
async fn parallel_deletes_and_updates_during_adds() {
    let world = world().await;
    let id = world.add("http://a").await;
    world.scalelite.hold();
    let (sent, added) = (json!({ "id": id }), json!({ "server": { "url": "http://b", "secret": "s" } }));
    let early = async { tokio::join!(world.post("deleteServer", &sent), world.post("deleteServer", &sent)) };
    let later = async {
        world.scalelite.held(2).await;
        world.scalelite.release();
    };
    let ((first, second), ()) = tokio::join!(early, later);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(world.post("deleteServer", &sent).await.status, 404);

    let id = world.add("http://a").await;
    world.scalelite.hold();
    let update = world.update(&id, json!({ "state": "enable" }));
    let change = async {
        world.scalelite.held(1).await;
        world.scalelite.add_server("http://c", "s", ServerState::Disabled);
        world.scalelite.release();
    };
    let (updated, ()) = tokio::join!(update, change);
    updated.is(400, &json!({ "error": "Servers list concurrently modified" }));
    assert_eq!(world.info(&id).await["state"], "disabled");
    assert_eq!(world.update(&id, json!({ "state": "enable" })).await.status, 200);
    assert_eq!(world.post("addServer", &added).await.status, 201);
}

#[tokio::test]
async fn an_add_may_fail_after_it_was_stored() {
    let world = world().await;
    let fault = Fault::ErrorAfter { status: 500, code: String::new() };
    let action = Some("addServer".to_owned());
    world.faults.plan(Planned { service: ServiceName::Scalelite, action, fault, times: Some(1) });
    let answer = world.post("addServer", &json!({ "server": { "url": "http://a", "secret": "s" } })).await;
    answer.is(500, &json!({ "status": 500, "error": "Internal Server Error" }));
    assert_eq!(world.scalelite.servers_with_url("http://a").len(), 1);
    for (status, code) in [(200, "checksumError"), (400, "Servers list concurrently modified"), (500, "html")]
    {
        let fault = Fault::Error { status, code: code.to_owned() };
        world.faults.plan(Planned { service: ServiceName::Scalelite, action: None, fault, times: Some(1) });
    }
    world.get("getServers", "").await.refused("checksumError");
    world.get("getServers", "").await.is(400, &json!({ "error": "Servers list concurrently modified" }));
    assert_eq!(world.get("getServers", "").await.body, "");
}

#[tokio::test]
async fn an_answer_can_be_kept_back_after_the_change_was_made() {
    let world = world().await;
    let action = Some("addServer".to_owned());
    let planned =
        Planned { service: ServiceName::Scalelite, action, fault: Fault::HoldReply, times: Some(2) };
    world.faults.plan(planned);
    let added =
        async |url: &str| world.post("addServer", &json!({ "server": { "url": url, "secret": "s" } })).await;
    let first = added("http://a");
    let steering = async {
        world.faults.held(1).await;
        assert_eq!(world.scalelite.servers_with_url("http://a").len(), 1);
        world.faults.release(1);
    };
    assert_eq!(tokio::join!(first, steering).0.status, 201);
    // What is released are those that were held: the next one waits for its own release, and others are not held.
    let second = added("http://b");
    let steering = async {
        world.faults.held(2).await;
        assert_eq!(added("http://c").await.status, 201);
        world.faults.release(2);
    };
    let (second, ()) = tokio::join!(second, steering);
    assert_eq!(second.status, 201);
}

#[tokio::test]
async fn debug_never_shows_a_secret() {
    let world = world().await;
    let id = world.add("http://a").await;
    world.scalelite.map_meeting("r", &id);
    let shown = format!("{:?} {:?}", world.scalelite, world.scalelite.snapshot());
    assert!(!shown.contains(SECRET) && !shown.contains(HOST_SECRET), "{shown}");
    assert_eq!(
        serde_json::to_value(world.scalelite.snapshot()).unwrap()["servers"][0]["secret"],
        HOST_SECRET
    );
}
