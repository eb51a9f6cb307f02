//! The Scalelite client against the sandbox's Scalelite and against answers that break every rule, over real sockets.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::served::{Canned, Served, client};
use clients::scalelite::{Checksums, Error, Management, Scalelite, Server, Update};
use plan::fleet::Values;
use plan::membership::State;
use sandbox::bbb::Network;
use sandbox::bbb::checksum::Algorithm;
use sandbox::faults::Fault;
use sandbox::http::{Service, ServiceName};
use sandbox::scalelite::{self as stand_in, Config, ServerState};
use secrecy::SecretString;

const SECRET: &str = "marked-load-balancer-secret";
const URL: &str = "https://vc-1.example.org/bigbluebutton/api";
/// A secret that the old scripts could not register.
const HOST_SECRET: &str = "marked & / $ % ' \" | \\ , ü€😀 \u{7f}";

struct Pool {
    stand_in: Arc<stand_in::Scalelite>,
    served: Served,
    client: Scalelite,
}

async fn pool_with(config: Config) -> Pool {
    let stand_in = stand_in::Scalelite::new(config, Network::plain());
    let served = Served::start(stand_in.clone()).await;
    let client = Scalelite::new(client(), &served.url(), SECRET.into()).unwrap();
    Pool { stand_in, served, client }
}

async fn pool() -> Pool {
    pool_with(Config::new(SECRET)).await
}

async fn canned(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> (Served, Scalelite) {
    let canned = Canned { name: ServiceName::Scalelite, status, content_type, body: body.into() };
    let served = Served::start(Arc::new(canned) as Arc<dyn Service>).await;
    let client = Scalelite::new(client(), &served.url(), SECRET.into()).unwrap();
    (served, client)
}

/// Lists the own entries, which are those with [`URL`].
async fn own(client: &Scalelite) -> Result<Vec<Server>, Error> {
    client.servers().await?.own(URL)
}

async fn state(client: &Scalelite) -> State {
    own(client).await.unwrap()[0].state
}

/// Returns the error's words and checks that they name the action and hold no secret.
#[track_caller]
fn words(error: &Error) -> String {
    for shown in [error.to_string(), format!("{error:?}")] {
        for secret in ["marked", "checksum=", "/scalelite/api"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    error.to_string()
}

#[tokio::test]
async fn a_host_comes_and_goes() {
    let pool = pool().await;
    let secret = SecretString::from(HOST_SECRET);
    assert!(own(&pool.client).await.unwrap().is_empty());

    let id = pool.client.add(URL, &secret, Some(2.5), Some("big")).await.unwrap();
    let listed = own(&pool.client).await.unwrap();
    assert_eq!(listed.len(), 1);
    let added = &listed[0];
    assert_eq!(
        (added.url.as_str(), added.state, added.load, added.online),
        (URL, State::Disabled, None, false)
    );
    assert_eq!((added.multiplier, added.tag.as_deref()), (Some(2.5), Some("big")));
    assert_eq!(pool.stand_in.servers()[0].secret.expose(), HOST_SECRET);
    let entry = listed[0].entry(URL, &secret);
    assert_eq!((entry.id.as_str(), entry.secret_matches), (id.as_str(), true));
    assert!(!listed[0].entry(URL, &"another".into()).secret_matches);
    assert!(!listed[0].entry(URL, &format!("{HOST_SECRET}x").into()).secret_matches);

    let id = id.as_str();
    pool.client.enable(id).await.unwrap();
    assert_eq!(state(&pool.client).await, State::Enabled);
    pool.client.cordon(id).await.unwrap();
    assert_eq!(state(&pool.client).await, State::Cordoned);
    pool.client.disable(id).await.unwrap();
    assert_eq!(state(&pool.client).await, State::Disabled);
    pool.client.enable(id).await.unwrap();
    pool.client.panic(id).await.unwrap();
    assert_eq!(pool.stand_in.servers()[0].state, ServerState::Disabled);
    pool.client.delete(id).await.unwrap();
    assert!(own(&pool.client).await.unwrap().is_empty());
    pool.client.delete(id).await.unwrap();
}

#[tokio::test]
async fn updates_change_what_they_name_and_nothing_else() {
    let pool = pool().await;
    let id = pool.stand_in.add_server(URL, "old", ServerState::Enabled);
    let shown = || {
        let server = pool.stand_in.servers().remove(0);
        (
            server.secret.expose().to_owned(),
            server.tag.unwrap_or_default(),
            server.load_multiplier,
            server.state,
        )
    };
    let before = shown();
    let secret = HOST_SECRET.into();
    pool.client.update(&id, Update { secret: Some(&secret), ..Update::default() }).await.unwrap();
    assert_eq!(shown(), (HOST_SECRET.to_owned(), before.1.clone(), before.2, before.3));
    pool.client.update(&id, Update { tag: Some("a \"tag\""), ..Update::default() }).await.unwrap();
    pool.client.update(&id, Update { multiplier: Some(0.5), ..Update::default() }).await.unwrap();
    assert_eq!(shown(), (HOST_SECRET.to_owned(), "a \"tag\"".to_owned(), 0.5, before.3));
    pool.client.update(&id, Update { tag: Some(""), ..Update::default() }).await.unwrap();
    assert_eq!(shown(), (HOST_SECRET.to_owned(), String::new(), 0.5, before.3));
}

#[tokio::test]
async fn the_address_may_be_given_in_many_ways() {
    let pool = pool().await;
    pool.stand_in.add_server(URL, "s", ServerState::Enabled);
    for ending in ["", "/", "/scalelite/api", "/scalelite/api/"] {
        let base = format!("{}{ending}", pool.served.url().to_uppercase().replace("HTTP", "Http"));
        let scalelite = Scalelite::new(client(), &base, SECRET.into()).unwrap();
        assert_eq!(scalelite.servers().await.unwrap().count(), 1, "{base}");
    }
    for base in
        ["", "scalelite.example.org", "ftp://x", "https://", "https://marked:marked@x", "https://x/?marked"]
    {
        let error = Scalelite::new(client(), base, SECRET.into()).unwrap_err();
        assert_eq!(error, Error::Address);
        assert!(words(&error).contains("https://scalelite.example.org"));
    }
}

#[tokio::test]
async fn old_versions_have_no_tags_or_no_api() {
    let old = pool_with(Config { version: (1, 5, 1), ..Config::new(SECRET) }).await;
    old.client.add(URL, &HOST_SECRET.into(), None, Some("ignored")).await.unwrap();
    let listed = own(&old.client).await.unwrap();
    assert_eq!((&listed[0].tag, listed[0].multiplier), (&None, Some(1.0)));

    let older = pool_with(Config { version: (1, 5, 0), ..Config::new(SECRET) }).await;
    let error = older.client.servers().await.unwrap_err();
    assert!(matches!(&error, Error::Refused { key, .. } if key == "unsupportedRequest"), "{error:?}");
    assert!(words(&error).contains("1.5.1"));
}

#[tokio::test]
async fn refusals_inside_http_200_are_refusals() {
    let pool = pool().await;
    let id = pool.stand_in.add_server(URL, "s", ServerState::Enabled);
    let wrong = Scalelite::new(client(), &pool.served.url(), "marked-wrong".into()).unwrap();
    let secret = SecretString::from(HOST_SECRET);
    let update = Update { tag: Some("t"), ..Update::default() };
    for result in [
        wrong.servers().await.map(drop),
        wrong.add(URL, &secret, None, None).await.map(drop),
        wrong.update(&id, update).await,
        wrong.enable(&id).await,
        wrong.cordon(&id).await,
        wrong.disable(&id).await,
        wrong.panic(&id).await,
        wrong.delete(&id).await,
    ] {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::Refused { key, .. } if key == "checksumError"), "{error:?}");
        assert!(
            words(&error).contains("SHA-1 were tried, so this is the wrong load balancer secret"),
            "{error}"
        );
        assert!(!error.is_retryable());
    }
    assert_eq!(pool.stand_in.servers()[0].state, ServerState::Enabled);
}

#[tokio::test]
async fn the_checksum_that_a_scalelite_takes_is_found() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1] {
        let pool = pool_with(Config { algorithms: vec![algorithm], ..Config::new(SECRET) }).await;
        let id = pool.client.add(URL, &HOST_SECRET.into(), None, None).await.unwrap();
        pool.client.enable(&id).await.unwrap();
        assert_eq!(state(&pool.client).await, State::Enabled, "{algorithm:?}");
        // What one client has found, another one shares; each call of it is taken at once.
        let found = Checksums::default();
        let first = Scalelite::new(client(), &pool.served.url(), SECRET.into()).unwrap().sharing(&found);
        first.servers().await.unwrap();
        let second = Scalelite::new(client(), &pool.served.url(), SECRET.into()).unwrap().sharing(&found);
        assert_eq!(second.servers().await.unwrap().count(), 1, "{algorithm:?}");
    }
}

#[tokio::test]
async fn one_entry_is_read_by_its_id() {
    let pool = pool().await;
    let secret = SecretString::from("s");
    let id = pool.stand_in.add_server(URL, "s", ServerState::Cordoned);
    let other =
        pool.stand_in.add_server("https://vc-2.example.org/bigbluebutton/api", "s", ServerState::Enabled);
    let listed = pool.client.entries(URL, &secret).await.unwrap();
    assert_eq!((listed.entries.len(), listed.pool), (1, 2));
    assert_eq!(pool.client.entry(&id, URL, &secret).await.unwrap(), listed.entries.first().cloned());
    assert_eq!(pool.client.entry(&other, URL, &secret).await.unwrap(), None, "another host's");
    for odd in ["", "no such id", "a&checksum=b", "%2e%2e/getServers"] {
        assert_eq!(pool.client.entry(odd, URL, &secret).await.unwrap(), None, "{odd:?}");
    }
    pool.client.delete(&id).await.unwrap();
    assert_eq!(pool.client.entry(&id, URL, &secret).await.unwrap(), None);
    pool.stand_in.set_redis_down(true);
    words(&pool.client.entry(&id, URL, &secret).await.unwrap_err());
}

#[tokio::test]
async fn panic_says_when_meetings_are_left() {
    let pool = pool().await;
    let id = pool.stand_in.add_server(URL, "s", ServerState::Enabled);
    pool.stand_in.refuse_panics(3);
    for _ in 0..3 {
        let error = pool.client.panic(&id).await.unwrap_err();
        assert!(matches!(&error, Error::PanicIncomplete { id: named, .. } if *named == id), "{error:?}");
        assert!(error.is_retryable() && words(&error).contains(&id));
        assert_eq!(pool.stand_in.servers()[0].state, ServerState::Enabled);
    }
    pool.client.panic(&id).await.unwrap();
    assert_eq!(pool.stand_in.servers()[0].state, ServerState::Disabled);
}

#[tokio::test]
async fn conflicts_ask_for_another_look() {
    let pool = pool().await;
    let id = pool.stand_in.add_server(URL, "s", ServerState::Enabled);
    let secret = SecretString::from(HOST_SECRET);

    pool.served.error("updateServer", 400, "Servers list concurrently modified");
    let error = pool.client.cordon(&id).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { status: 400, .. }), "{error:?}");
    assert!(error.is_retryable() && words(&error).contains("concurrently modified"));

    pool.served.error("panicServer", 400, "Servers list concurrently modified");
    assert!(matches!(pool.client.panic(&id).await.unwrap_err(), Error::Conflict { status: 400, .. }));

    // The entry was stored all the same: only listing again shows it.
    pool.served.fail("addServer", Fault::ErrorAfter { status: 500, code: String::new() });
    let error =
        pool.client.add("https://vc-2.example.org/bigbluebutton/api", &secret, None, None).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { status: 500, .. }), "{error:?}");
    assert!(error.is_retryable() && words(&error).contains("vc-2.example.org"));
    assert_eq!(pool.client.servers().await.unwrap().count(), 2);

    pool.stand_in.set_redis_down(true);
    let error = pool.client.servers().await.unwrap_err();
    assert!(matches!(error, Error::Http { status: 500, .. }) && error.is_retryable(), "{error:?}");
    assert!(words(&error).contains("list the servers"));
}

#[tokio::test]
async fn of_adds_at_the_same_time_some_are_told_to_look_again() {
    let pool = pool().await;
    pool.stand_in.hold();
    let add = async |host: &str| {
        let url = format!("https://{host}.example.org/bigbluebutton/api");
        pool.client.add(&url, &HOST_SECRET.into(), None, None).await
    };
    let release = async {
        pool.stand_in.held(3).await;
        pool.stand_in.release();
    };
    let (a, b, c, ()) = futures_util::join!(add("a"), add("b"), add("c"), release);
    let (stored, refused): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), refused.len()), (1, 2));
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert!(matches!(error, Error::Conflict { status: 500, .. }) && error.is_retryable(), "{error:?}");
    }
    assert_eq!(pool.client.servers().await.unwrap().count(), 1);
}

#[tokio::test]
async fn a_missing_entry_is_told_from_a_missing_scalelite() {
    let pool = pool().await;
    for error in [pool.client.enable("gone").await.unwrap_err(), pool.client.panic("gone").await.unwrap_err()]
    {
        assert!(error.is_gone() && error.is_retryable(), "{error:?}");
        assert!(words(&error).contains("entry gone"), "{error}");
    }
    pool.client.delete("gone").await.unwrap();

    pool.stand_in.set_recordings_only(true);
    let (listed, deleted) = (pool.client.servers().await, pool.client.delete("gone").await);
    for error in [listed.map(drop).unwrap_err(), deleted.unwrap_err()] {
        assert!(matches!(error, Error::Http { status: 404, .. }), "{error:?}");
        assert!(!error.is_gone() && !error.is_retryable());
        assert!(words(&error).contains("is this the address of a Scalelite"), "{error}");
    }

    let elsewhere =
        pool_with(Config { url_host: Some("other.example.org".into()), ..Config::new(SECRET) }).await;
    let error = elsewhere.client.servers().await.unwrap_err();
    assert!(
        matches!(error, Error::Http { status: 403, .. }) && words(&error).contains("URL_HOST"),
        "{error:?}"
    );
}

#[tokio::test]
async fn lost_connections_are_transport_failures() {
    let pool = pool().await;
    let id = pool.stand_in.add_server(URL, "s", ServerState::Enabled);
    pool.served.fail("getServers", Fault::Close);
    pool.served.fail("deleteServer", Fault::LoseReply);
    pool.served.error("updateServer", 502, "html");
    for error in
        [pool.client.servers().await.map(drop).unwrap_err(), pool.client.delete(&id).await.unwrap_err()]
    {
        assert!(matches!(error, Error::Transport { .. }) && error.is_retryable(), "{error:?}");
        words(&error);
    }
    assert!(pool.stand_in.servers().is_empty());
    let error = pool.client.enable("x").await.unwrap_err();
    assert!(matches!(error, Error::Http { status: 502, .. }) && error.is_retryable(), "{error:?}");

    let nobody = Scalelite::new(client(), "http://127.0.0.1:1", SECRET.into()).unwrap();
    let error = nobody.servers().await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }) && error.is_retryable(), "{error:?}");
    assert_eq!(
        words(&error),
        "cannot list the servers of Scalelite at http://127.0.0.1:1: connection refused"
    );
}

/// Builds the JSON of one entry with these values.
fn entry(state: &str, load: &str, multiplier: &str, online: &str, more: &str) -> String {
    format!(
        r#"[{{"id":"1","url":"{URL}","secret":"marked","state":{state},"load":{load},"load_multiplier":{multiplier},"online":{online}{more}}}]"#
    )
}

/// Builds the JSON of one own entry with only these keys.
fn raw(keys: &str) -> String {
    format!(r#"[{{"url":"{URL}",{keys}}}]"#)
}

#[tokio::test]
async fn whatever_is_odd_about_others_does_not_hide_the_own_entry() {
    let (on, off) = ("\"enabled\"", "\"online\"");
    let own_entry = entry(on, "1", "\"1.0\"", off, "");
    let own_entry = own_entry.trim_matches(['[', ']']);
    let other = "\"url\":\"https://vc-2.example.org/bigbluebutton/api\"";
    let others = [
        format!(r#"{{"id":"2",{other},"secret":null,"state":"paused","load":"lots","online":7}}"#),
        format!(r#"{{"id":2,{other},"secret":["marked",{{"a":1}}],"state":{{}},"load":[],"tag":0.5}}"#),
        r#"{"id":"2","secret":"marked","state":"enabled","load":1,"online":"online"}"#.to_owned(),
        format!(r#"{{"id":"2","url":["{URL}"],"secret":{{"marked":true}},"state":null}}"#),
        format!(r#"{{"id":"2","url":"{URL}?marked","secret":-1}}"#),
        r#"{"id":"2","url":"not a url","secret":true}"#.to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "-7".to_owned(),
        "0.5".to_owned(),
        "\"marked\"".to_owned(),
        "[[\"marked\"],{}]".to_owned(),
    ];
    for odd in &others {
        for list in [format!("[{odd},{own_entry}]"), format!("[{own_entry},{odd}]")] {
            let (_served, client) = canned(200, "application/json", list.clone()).await;
            let listing = client.servers().await.unwrap();
            assert!(!format!("{listing:?}").contains("\"marked\""), "{listing:?}");
            assert_eq!(listing.count(), 2, "{list}");
            let own = listing.own(URL).unwrap();
            assert_eq!(own.len(), 1, "{list}");
            assert!(own[0].id == "1" && own[0].entry(URL, &"marked".into()).secret_matches);
        }
    }
    // An own entry is recognised in another spelling, and an odd own entry is an error.
    let upper = own_entry.replace("https://vc-1", "HTTPS://VC-1").replace("/api", "/api/");
    let odd = own_entry.replace("enabled", "paused");
    let (_served, client) = canned(200, "application/json", format!("[{upper}]")).await;
    assert_eq!(own(&client).await.unwrap().len(), 1);
    let (_served, client) = canned(200, "application/json", format!("[{upper},{odd}]")).await;
    assert!(words(&own(&client).await.unwrap_err()).contains("unknown state: \"paused\""));
}

#[tokio::test]
async fn entries_are_read_with_all_that_their_values_may_be() {
    let (on, off) = ("\"enabled\"", "\"online\"");
    for (load, multiplier, more, wanted) in [
        ("\"unavailable\"", "\"1.0\"", "", (None, Some(1.0), None)),
        ("0", "\"2.5\"", ",\"tag\":\"\",\"bbb_version\":\"3.0.4\"", (Some(0.0), Some(2.5), Some(""))),
        ("12.5", "null", ",\"tag\":\"a\"", (Some(12.5), None, Some("a"))),
        ("null", "\"-3.0\"", ",\"tag\":null", (None, Some(-3.0), Some(""))),
        ("\"7.5\"", "3", ",\"new\":{\"x\":[1]}", (Some(7.5), Some(3.0), None)),
        ("1e3", "\"NaN\"", "", (Some(1000.0), None, None)),
    ] {
        let (_served, client) = canned(200, "application/json", entry(on, load, multiplier, off, more)).await;
        let server = own(&client).await.unwrap().remove(0);
        assert_eq!(
            (server.load, server.multiplier, server.tag.as_deref()),
            wanted,
            "{load} {multiplier} {more}"
        );
        assert!(server.online && server.state == State::Enabled);
        assert!(!format!("{server:?}").contains("marked"));
    }
}

#[tokio::test]
async fn answers_that_are_none_are_refused_without_quoting_them() {
    let good = ("\"enabled\"", "1", "\"1.0\"", "\"offline\"");
    let rows = [
        ("application/json", entry("\"paused\"", good.1, good.2, good.3, ""), "unknown state: \"paused\""),
        ("application/json", entry("null", good.1, good.2, good.3, ""), "unknown state: null"),
        ("application/json", entry(good.0, "\"lots\"", good.2, good.3, ""), "unknown load: \"lots\""),
        ("application/json", entry(good.0, "true", good.2, good.3, ""), "unknown load: true"),
        ("application/json", entry(good.0, good.1, "\"x\"", good.3, ""), "unknown load_multiplier: \"x\""),
        ("application/json", entry(good.0, good.1, good.2, "\"perhaps\"", ""), "unknown value of online"),
        ("application/json", raw(r#""id":1,"secret":"marked""#), "an entry with an unknown id: 1"),
        ("application/json", raw(r#""secret":"marked""#), "an entry with an unknown id: null"),
        ("application/json", raw(r#""id":"1","secret":["marked"]"#), "an entry (1) without a secret"),
        ("application/json", raw(r#""id":"1","secret":null"#), "an entry (1) without a secret"),
        ("application/json", raw(r#""id":"1""#), "an entry (1) without a secret"),
        ("application/json", raw(r#""id":"1","secret":"marked""#), "unknown state: null"),
        (
            "application/json",
            entry(good.0, good.1, good.2, good.3, ",\"tag\":{\"secret\":\"marked\"}"),
            "an entry (1) with an unknown tag: an object",
        ),
        ("application/json", "{\"marked\":[]}".into(), "unknown shape (line 1"),
        ("application/json", "\"marked\"".into(), "unknown shape"),
        ("application/json", "[{\"marked\"".into(), "not JSON"),
        ("application/json", String::new(), "not JSON"),
        ("text/html", "<html><body>marked</body></html>".into(), "not JSON"),
        ("application/xml", "<response><returncode>SUCCESS</returncode></response>".into(), "not JSON"),
    ];
    for (content_type, body, wanted) in rows {
        let (_served, client) = canned(200, content_type, body.clone()).await;
        let error = own(&client).await.unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. }) && !error.is_retryable(), "{body}: {error:?}");
        assert!(words(&error).contains(wanted), "{body}: {error}");
    }
    // An answer that does not confirm success counts as none.
    for body in ["{}", "[]", "true", "<html/>"] {
        let (_served, client) = canned(200, "application/json", body).await;
        assert!(matches!(client.delete("1").await.unwrap_err(), Error::Unexpected { .. }), "{body}");
        assert!(matches!(client.panic("1").await.unwrap_err(), Error::Unexpected { .. }), "{body}");
        assert!(matches!(client.enable("1").await.unwrap_err(), Error::Unexpected { .. }), "{body}");
    }
}

#[tokio::test]
async fn redirects_and_floods_are_not_followed() {
    let (_served, client) = canned(302, "text/html", "").await;
    let error = client.servers().await.unwrap_err();
    assert!(
        matches!(error, Error::Http { status: 302, .. }) && words(&error).contains("redirect"),
        "{error:?}"
    );

    let (_served, client) = canned(200, "application/json", vec![b' '; 8 * 1024 * 1024 + 1]).await;
    let error = client.servers().await.unwrap_err();
    assert!(
        matches!(error, Error::Transport { .. }) && words(&error).contains("more than 8388608 bytes"),
        "{error:?}"
    );

    let long = format!("{{\"error\":\"{}\\n\\u001b[2J\"}}", "x".repeat(10_000));
    let (_served, client) = canned(422, "application/json", long).await;
    let words = words(&client.servers().await.unwrap_err());
    assert!(words.len() < 500 && !words.contains(char::is_control), "{words}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log works");
    let pool = pool().await;
    let secret = HOST_SECRET.into();
    let added = pool.client.add(URL, &secret, None, None).await.unwrap();
    pool.client.update(&added, Update { secret: Some(&secret), ..Update::default() }).await.unwrap();
    tracing::info!("{:?} {:?} {:?}", pool.client, pool.client.servers().await.unwrap(), added);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("the log works") && text.contains("Scalelite {"), "{text}");
    for secret in ["marked", "checksum="] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn the_whole_pool_is_listed_with_the_reason_why_an_entry_is_not_understood() {
    let good = entry("\"cordoned\"", "12.5", "null", "\"offline\"", "");
    let good = good.trim_matches(['[', ']']);
    let odd = good.replace("vc-1", "VC-2").replace("cordoned", "paused");
    let body = format!(r#"[{good},{odd},{{"id":"3","url":"not a url"}},null]"#);
    let (_served, client) = canned(200, "application/json", body).await;
    let listed = client.servers().await.unwrap().listed();
    assert!(!format!("{listed:?}").contains("marked"), "{listed:?}");
    let [first, second] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(first.host.as_str(), "vc-1.example.org");
    assert_eq!(first.values, Ok(Values { state: State::Cordoned, online: false, load: Some(12.5) }));
    assert_eq!(second.host.as_str(), "vc-2.example.org");
    assert!(second.values.as_ref().unwrap_err().contains("unknown state: \"paused\""), "{second:?}");
}
