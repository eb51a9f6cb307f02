//! The host's own BBB: its property files and its API, against the sandbox's BBB host and against answers that break
//! every rule, over real sockets.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::served::{Canned, Served, client};
use clients::bbb::{Algorithm, Bbb, Error, Meeting, Meetings, NotReady, PropertyFiles, read_installation};
use futures_util::future::BoxFuture;
use plan::record::Name;
use sandbox::bbb::checksum;
use sandbox::bbb::{BbbHost, HostFiles, Mode, NewMeeting, Participants};
use sandbox::faults::Fault;
use sandbox::http::{Request, Response, Service, ServiceName, reply};
use secrecy::ExposeSecret;

const SECRET: &str = "marked & / $ % ' \" | \\ , ü€😀 =:#!";

async fn host() -> (Arc<BbbHost>, Served, Bbb) {
    let bbb = BbbHost::new(SECRET, "3.0.4");
    let served = Served::start(bbb.clone()).await;
    let client = Bbb::new(client(), &served.url(), SECRET.into());
    (bbb, served, client)
}

pub(crate) async fn canned(status: u16, body: impl Into<Vec<u8>>) -> (Served, Bbb) {
    let canned = Canned { name: ServiceName::Bbb, status, content_type: "text/xml", body: body.into() };
    let served = Served::start(Arc::new(canned) as Arc<dyn Service>).await;
    let client = Bbb::new(client(), &served.url(), SECRET.into());
    (served, client)
}

/// Returns the error's words and checks that they hold no secret.
#[track_caller]
pub(crate) fn words(error: &Error) -> String {
    for shown in [error.to_string(), format!("{error:?}")] {
        for secret in ["marked", "checksum=", "getMeetings?", "sendChatMessage?"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    error.to_string()
}

#[tokio::test]
async fn the_version_needs_no_secret() {
    let (bbb, served, _) = host().await;
    let client = Bbb::new(client(), &format!("{}/", served.url()), "another".into());
    let version = client.version().await.unwrap();
    assert_eq!((version.api.as_str(), version.bbb.as_deref()), ("2.0", None));
    assert_eq!((version.api.as_str(), version.bbb.as_deref()), ("2.0", None));
    bbb.reveal_version(true);
    assert_eq!(client.version().await.unwrap().bbb.as_deref(), Some("3.0.4"));
}

#[tokio::test]
async fn meetings_are_read_whatever_they_are_called() {
    let (bbb, _served, client) = host().await;
    assert_eq!(client.meetings().await, Ok(Meetings::default()));
    bbb.start(NewMeeting {
        id: "room/1 &2 <ü>".to_owned(),
        name: "</meetings><meeting>\"marked\" ]]> \u{1}\u{8}".to_owned(),
        participants: Participants { moderators: 2, viewers: 5, listeners: 3, voices: 4, videos: 1 },
        recording: true,
        breakout: true,
        ..NewMeeting::default()
    });
    bbb.start_meeting("b", 0);
    let mut meetings = client.meetings().await.unwrap().listed;
    meetings.sort_by(|a, b| b.id.cmp(&a.id));
    let figures =
        |meeting: &Meeting| (meeting.participants, meeting.voices, meeting.videos, meeting.is_breakout());
    assert_eq!(
        meetings.iter().map(|meeting| (meeting.id.as_deref(), figures(meeting))).collect::<Vec<_>>(),
        [
            (Some("room/1 &2 <ü>"), (Some(7), Some(4), Some(1), true)),
            (Some("b"), (Some(0), Some(0), Some(0), false)),
        ]
    );
    assert!(!format!("{client:?} {meetings:?}").contains("marked"));
}

const MESSAGE: &str = "marked: this server closes in 5 minutes & 100% + = #? ü€😀 '\"";

#[tokio::test]
async fn chat_messages_arrive_as_they_were_written() {
    let (bbb, _served, client) = host().await;
    for id in ["room", "room/1 &2 <ü> %20+"] {
        bbb.start_meeting(id, 2);
        client.send_chat_message(id, MESSAGE, "the host's agent").await.unwrap();
        assert_eq!(bbb.meeting(id).unwrap().chat, [MESSAGE]);
    }
    bbb.set_algorithms(&[checksum::Algorithm::Sha256]);
    client.send_chat_message("room", &"€".repeat(500), "").await.unwrap();

    for (id, message, key) in [
        ("ended", MESSAGE, "notFound"),
        ("room", " ", "validationError"),
        ("room", &"marked".repeat(84), "validationError"),
    ] {
        let error = client.send_chat_message(id, message, "agent").await.unwrap_err();
        assert!(matches!(&error, Error::Refused { key: refused, .. } if refused == key), "{error:?}");
        assert!(!error.is_unsupported() && !error.is_retryable());
        assert!(words(&error).contains("refused sendChatMessage"), "{error}");
    }
}

#[tokio::test]
async fn a_bbb_without_chat_messages_is_told_apart() {
    let (bbb, served, client) = host().await;
    bbb.start_meeting("room", 2);
    bbb.set_version("2.7.18");
    let old = client.send_chat_message("room", MESSAGE, "agent").await.unwrap_err();
    served.error("sendChatMessage", 404, "");
    let older = client.send_chat_message("room", MESSAGE, "agent").await.unwrap_err();
    for error in [old, older] {
        assert!(error.is_unsupported() && !error.is_retryable(), "{error:?}");
        assert!(words(&error).contains("has no sendChatMessage"), "{error}");
    }
    // A BBB that is down or has another secret reveals nothing about its version.
    bbb.set_mode(Mode::Starting);
    let error = client.send_chat_message("room", MESSAGE, "agent").await.unwrap_err();
    assert!(error.is_retryable() && !error.is_unsupported(), "{error:?}");
    bbb.set_mode(Mode::Ready);
    bbb.set_secret("another");
    bbb.set_version("3.0.4");
    let error = client.send_chat_message("room", MESSAGE, "agent").await.unwrap_err();
    assert!(error.is_refusal() && !error.is_unsupported(), "{error:?}");
    words(&error);
}

/// A service that answers every call with success and keeps its query.
#[derive(Default)]
struct Queries(Mutex<Vec<String>>);

impl Service for Queries {
    fn name(&self) -> ServiceName {
        ServiceName::Bbb
    }

    fn action(&self, request: &Request) -> String {
        request.path.clone()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        self.0.lock().unwrap().push(request.query.clone());
        let body = "<response><returncode>SUCCESS</returncode></response>";
        Box::pin(std::future::ready(reply(200, "text/xml", body)))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        reply(status, "text/plain", code.to_owned())
    }
}

#[tokio::test]
async fn what_is_signed_is_what_is_sent() {
    let queries = Arc::new(Queries::default());
    let served = Served::start(queries.clone()).await;
    let client = Bbb::new(client(), &served.url(), SECRET.into());
    client.send_chat_message("a b", MESSAGE, "it's me").await.unwrap();
    let query = queries.0.lock().unwrap().remove(0);
    let signed = "meetingID=a%20b&message=marked%3A%20this%20server%20closes%20in%205%20minutes%20%26%20100%25%20%2B\
                  %20%3D%20%23%3F%20%C3%BC%E2%82%AC%F0%9F%98%80%20%27%22&userName=it%27s%20me";
    assert_eq!(query, checksum::sign(checksum::Algorithm::Sha256, "sendChatMessage", signed, SECRET));
}

#[tokio::test]
async fn a_host_that_is_not_up_is_not_ready() {
    let (bbb, served, client) = host().await;
    for (mode, status) in [(Mode::NotInstalled, "502"), (Mode::Starting, "504")] {
        bbb.set_mode(mode);
        for error in
            [client.version().await.map(drop).unwrap_err(), client.meetings().await.map(drop).unwrap_err()]
        {
            assert!(matches!(error, Error::NotReady { .. }) && error.is_retryable(), "{error:?}");
            assert!(words(&error).contains(status) && words(&error).contains(&served.url()), "{error}");
        }
    }
    for status in [503, 500, 404] {
        served.error("version", status, "");
        assert!(matches!(client.version().await.unwrap_err(), Error::NotReady { .. }), "{status}");
    }
    let nobody = Bbb::new(crate::served::client(), "http://127.0.0.1:1", SECRET.into());
    let error = nobody.meetings().await.unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }) && error.is_retryable(), "{error:?}");
    assert!(words(&error).ends_with("connection refused"), "{error}");
}

#[tokio::test]
async fn refusals_and_lost_connections_differ() {
    let (bbb, served, client) = host().await;
    bbb.set_secret("another");
    let error = client.meetings().await.unwrap_err();
    assert!(matches!(&error, Error::Refused { key, .. } if key == "checksumError"), "{error:?}");
    assert!(
        error.is_retryable() && words(&error).contains("another secret than its property files"),
        "it may be about to restart with the new one: {error}"
    );

    served.fail("getMeetings", Fault::Close);
    let error = client.meetings().await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }) && error.is_retryable(), "{error:?}");
    words(&error);
}

#[tokio::test]
async fn answers_that_are_none_are_refused_without_quoting_them() {
    let moved = "redirect to http://127.0.0.1:9 (HTTP status 302), which the agent does not follow";
    let nginx = "a rule of nginx (allow, deny, auth_basic) keeps the agent out";
    let no_bbb = "; is this the address of a BigBlueButton?";
    for (status, body, may_pass, wanted) in [
        (200, "<html>marked</html>", false, format!("answered getMeetings with a web page{no_bbb}")),
        (200, "<marked/>", false, format!("with XML without a <response>{no_bbb}")),
        (200, "marked", false, format!("with text that is no XML{no_bbb}")),
        (200, "{\"marked\":1}", false, format!("with text that is no XML{no_bbb}")),
        (200, "<response><returncode>marked</returncode></response>", false, "known <returncode>".to_owned()),
        (200, "<response>marked", true, "with an answer that is cut off after 16 bytes".to_owned()),
        (200, "", true, "with an empty answer, as it does while one of its templates fails".to_owned()),
        (
            200,
            "<!DOCTYPE x [<!ENTITY marked \"SUCCESS\">]><response><returncode>&marked;</returncode></response>",
            false,
            "known <returncode>".to_owned(),
        ),
        (301, "marked", false, moved.replace("302", "301")),
        (302, "marked", false, moved.to_owned()),
        (308, "marked", false, moved.replace("302", "308")),
        (401, "marked", false, format!("HTTP status 401: {nginx}")),
        (403, "marked", false, format!("HTTP status 403: {nginx}")),
        (429, "marked", true, "HTTP status 429: nginx finds these too many requests".to_owned()),
        (400, "marked", false, format!("HTTP status 400 Bad Request{no_bbb}")),
    ] {
        let (_served, client) = canned(status, body).await;
        for error in [client.meetings().await.map(drop).unwrap_err(), client.prove().await.unwrap_err()] {
            assert_eq!(error.is_retryable(), may_pass, "{body}: {error:?}");
            assert!(words(&error).contains(&wanted), "{body}: {error}");
        }
    }
    let (_served, client) = canned(200, vec![b' '; 8 * 1024 * 1024 + 1]).await;
    let error = client.meetings().await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && error.is_retryable(), "{error:?}");
    assert!(words(&error).contains("answered getMeetings with more than 8388608 bytes"), "{error}");
}

/// A redirect leads to wherever the other side wants: the place is told, but no path, no query and no user.
#[test]
fn a_redirect_tells_where_it_leads() {
    use clients::bbb::answer::Answer;
    use reqwest::StatusCode;

    for (location, wanted) in [
        (
            Some("https://other.example.org:8443/marked?checksum=marked"),
            "to https://other.example.org:8443 (",
        ),
        (Some("https://marked:marked@other.example.org/"), "to https://other.example.org ("),
        (Some("https://bbb.example.org/bigbluebutton/api"), "to https://bbb.example.org ("),
        (Some("//other.example.org/"), "to http://other.example.org ("),
        (Some("/marked"), "to another path of the same address ("),
        (Some("http://BBB.example.org:80/marked"), "to another path of the same address ("),
        (Some("http://"), "to nowhere ("),
        (Some("data:text/html,marked"), "to nowhere ("),
        (None, "to nowhere ("),
    ] {
        let api = "http://bbb.example.org/bigbluebutton/api".to_owned();
        let location = location.map(str::to_owned);
        let answer = Answer::new(api, "getMeetings", StatusCode::MOVED_PERMANENTLY, location, Vec::new());
        let error = answer.meetings().unwrap_err();
        assert!(words(&error).contains(wanted), "{error}");
    }
}

async fn read(files: &HostFiles) -> Result<clients::bbb::Installation, NotReady> {
    let (defaults, properties) = (files.defaults(), files.overrides());
    let files = PropertyFiles { defaults: &defaults, properties: &properties, reader: None };
    // The stand-in's URL has an address in place of a name.
    read_installation(files, &Name::host("127.0.0.1").unwrap()).await
}

#[track_caller]
fn refused(result: Result<clients::bbb::Installation, NotReady>, retryable: bool, wanted: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.may_come(), retryable, "{error:?}");
    for wanted in wanted {
        assert!(error.to_string().contains(wanted), "{wanted} is not in {error}");
    }
    assert!(!format!("{error}{error:?}").contains("marked"), "{error:?}");
}

#[tokio::test]
async fn an_installation_is_read_as_its_installer_leaves_it() {
    let directory = tempfile::tempdir().unwrap();
    let files = HostFiles::absent(directory.path());
    refused(read(&files).await, true, &["not installed yet", "bbb-web.properties does not exist"]);
    // Unpacked but not configured: the shipped URL and secret belong to no host.
    files.write_defaults().unwrap();
    refused(read(&files).await, true, &["not installed yet", "bbb-web.properties does not exist"]);

    let (bbb, served, _) = host().await;
    files.write_overrides(&format!("{}/", served.url()), SECRET).unwrap();
    let installation = read(&files).await.unwrap();
    assert_eq!(installation.secret.expose_secret(), SECRET);
    assert_eq!(installation.server_url, served.url());
    assert_eq!(installation.scalelite_url(), format!("{}/bigbluebutton/api", served.url()));
    assert!(!format!("{installation:?}").contains("marked"));
    Bbb::of(client(), &installation).prove().await.unwrap();

    // A host that allows only some checksums says so in the same files.
    let mut overrides = fs::read_to_string(files.overrides()).unwrap();
    overrides.push_str("supportedChecksumAlgorithms=sha384, sha512\n");
    fs::write(files.overrides(), overrides).unwrap();
    bbb.set_algorithms(&[checksum::Algorithm::Sha512]);
    let installation = read(&files).await.unwrap();
    assert_eq!(installation.checksum, Algorithm::Sha512);
    Bbb::of(client(), &installation).prove().await.unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let shipped = directory.path().join("shipped");
    let overrides = directory.path().join("overrides");
    let name = Name::host("bbb.example.org").unwrap();
    let at = async |properties: &Path| {
        read_installation(PropertyFiles { defaults: &shipped, properties, reader: None }, &name).await
    };
    let with = async |text: &[u8]| {
        fs::write(&overrides, text).unwrap();
        at(&overrides).await
    };
    const URL: &str = "bigbluebutton.web.serverURL=https://BBB.example.org:443/\n";
    let text = |rest: &str| format!("{URL}{rest}").into_bytes();

    // Missing keys may still come; blank and broken values are mistakes.
    refused(with(b"").await, true, &["has securitySalt", "overrides", "shipped"]);
    refused(with(b"securitySalt=marked").await, true, &["has bigbluebutton.web.serverURL"]);
    refused(
        with(&text("securitySalt=\\u0020")).await,
        false,
        &["securitySalt", "blank", "bbb-conf --setsecret"],
    );
    for url in ["bbb.example.org", "ftp://bbb", "https://marked@bbb", "https://bbb?marked"] {
        let text = format!("bigbluebutton.web.serverURL={url}\nsecuritySalt=marked");
        refused(with(text.as_bytes()).await, false, &["bigbluebutton.web.serverURL", "bbb-conf --setip"]);
    }
    let md5 = text("securitySalt=marked\nsupportedChecksumAlgorithms=md5\n");
    refused(with(&md5).await, false, &["supportedChecksumAlgorithms", "sha256"]);

    let good = with(&text("securitySalt=marked\\\n  \\ \\u00fc")).await.unwrap();
    assert_eq!(
        (good.server_url.as_str(), good.secret.expose_secret()),
        ("https://bbb.example.org", "marked ü")
    );
    assert_eq!(good.checksum, Algorithm::Sha256);
    // ISO-8859-1, and defaults that supply the keys missing from the overrides.
    fs::write(&shipped, text("securitySalt=marked-default")).unwrap();
    assert_eq!(with(b"securitySalt=m\xfc").await.unwrap().secret.expose_secret(), "mü");
    assert_eq!(with(b"").await.unwrap().secret.expose_secret(), "marked-default");

    // A machine image made from a running host brings that host's settings.
    let foreign = format!("securitySalt=marked\n{}", URL.replace("BBB.", "bbb2."));
    refused(
        with(foreign.as_bytes()).await,
        true,
        &["those of https://bbb2.example.org", "bbb-conf --setip bbb.example.org"],
    );

    refused(with(&vec![b'#'; 1024 * 1024 + 1]).await, false, &["cannot read", "overrides", "1048576"]);
    assert!(with(&[text("securitySalt=s\n").as_slice(), &vec![b'#'; 1024 * 1000]].concat()).await.is_ok());
    refused(at(Path::new("/dev/zero")).await, false, &["/dev/zero", "not a regular file"]);
    refused(at(Path::new("/")).await, false, &["not a regular file"]);
    refused(at(Path::new("/dev/null/x")).await, true, &["does not exist"]);
}
