//! The BBB host's API and property files, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use sandbox::bbb::checksum::{Algorithm, form, sign};
use sandbox::bbb::{
    BbbHost, CallError, HostFiles, Mode, Network, NewMeeting, ParentIds, Participants, cases,
};
use sandbox::faults::{Fault, Faults, Planned};
use sandbox::http::{Gate, Request, Service, ServiceName};
use sandbox::journal::Journal;
use sandbox::tls::Authority;

const SECRET: &str = "h$st & s'cret\" ü";

struct Host {
    bbb: Arc<BbbHost>,
    address: SocketAddr,
    gate: Gate,
    faults: Faults,
    journal: Journal,
    client: reqwest::Client,
}

async fn host(version: &str) -> Host {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bbb = BbbHost::new(SECRET, version);
    let service: Arc<dyn Service> = bbb.clone();
    let (faults, journal) = (Faults::default(), Journal::default());
    let route = Arc::new(move |_: &Request| Arc::clone(&service));
    // A pooled connection would outlive a closed gate.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (address, gate) =
        Gate::listen(any, true, None, route, faults.clone(), journal.clone()).await.unwrap();
    Host { bbb, address, gate, faults, journal, client }
}

impl Host {
    async fn raw(&self, method: &str, rest: &str) -> (u16, String) {
        let url = format!("http://{}/bigbluebutton/api{rest}", self.address);
        let answer = self.client.request(method.parse().unwrap(), url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The text of every element, as `name=text`, of a correctly signed call.
    async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Vec<String> {
        let query = sign(Algorithm::Sha256, action, &form(parameters), SECRET);
        let (status, body) = self.raw("GET", &format!("/{action}?{query}")).await;
        assert_eq!(status, 200);
        elements(&body)
    }
}

fn elements(xml: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    assert!(document.root_element().has_tag_name("response"));
    let nodes = document.root_element().descendants().filter(roxmltree::Node::is_element).skip(1);
    nodes.map(|node| format!("{}={}", node.tag_name().name(), node.text().unwrap_or_default())).collect()
}

#[track_caller]
fn has(elements: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(elements.iter().any(|element| element == wanted), "{wanted} is not in {elements:?}");
    }
}

#[tokio::test]
async fn version_needs_no_checksum() {
    let host = host("2.7.1").await;
    let (status, body) = host.raw("GET", "").await;
    assert_eq!(status, 200);
    assert_eq!(elements(&body), ["returncode=SUCCESS", "version=2.0", "apiVersion=2.0", "bbbVersion="]);
    host.bbb.reveal_version(true);
    has(&elements(&host.raw("GET", "/").await.1), &["bbbVersion=2.7.1"]);
    assert_eq!(host.journal.count(ServiceName::Bbb, "version"), 2);
}

#[tokio::test]
async fn calls_need_their_own_right_checksum() {
    let host = host("3.0.4").await;
    for algorithm in Algorithm::ALL {
        let (_, body) =
            host.raw("GET", &format!("/getMeetings?{}", sign(algorithm, "getMeetings", "", SECRET))).await;
        has(&elements(&body), &["returncode=SUCCESS"]);
    }
    let right = sign(Algorithm::Sha256, "getMeetings", "", SECRET);
    for query in [
        String::new(),
        "checksum=".to_owned(),
        "checksum=abc".to_owned(),
        right.to_uppercase().replace("CHECKSUM", "checksum"),
        sign(Algorithm::Sha256, "end", "", SECRET),
        sign(Algorithm::Sha256, "getMeetings", "", "another secret"),
        format!("{right}&more=1"),
    ] {
        let (status, body) = host.raw("GET", &format!("/getMeetings?{query}")).await;
        assert_eq!(status, 200, "{query}");
        has(&elements(&body), &["returncode=FAILED", "messageKey=checksumError"]);
    }
    host.bbb.set_algorithms(&[Algorithm::Sha512]);
    has(&elements(&host.raw("GET", &format!("/getMeetings?{right}")).await.1), &["messageKey=checksumError"]);
}

#[tokio::test]
async fn meetings_are_listed_with_their_counts() {
    let host = host("3.0.4").await;
    let none = host.call("getMeetings", &[]).await;
    assert_eq!(none[..3], ["returncode=SUCCESS", "meetings=", "messageKey=noMeetings"]);

    let name = "<b>\"Wörk\" & 'play'</b> ]]> 😀";
    host.bbb.start(NewMeeting {
        id: "room/1 &2".to_owned(),
        name: name.to_owned(),
        participants: Participants { moderators: 2, viewers: 5, listeners: 3, voices: 4, videos: 1 },
        recording: true,
        breakout: true,
        parent: "room".to_owned(),
        ..NewMeeting::default()
    });
    let wanted = [
        "returncode=SUCCESS",
        "meetingID=room/1 &2",
        "meetingName=<b>\"Wörk\" & 'play'</b> ]]> 😀",
        "participantCount=7",
        "listenerCount=3",
        "voiceParticipantCount=4",
        "videoCount=1",
        "moderatorCount=2",
        "isBreakout=true",
        "sequence=1",
        "hasUserJoined=true",
        "hasBeenForciblyEnded=false",
        "recording=true",
        "running=true",
    ];
    has(&host.call("getMeetings", &[]).await, &wanted);
    has(&host.call("getMeetingInfo", &[("meetingID", "room/1 &2")]).await, &wanted);

    assert!(host.bbb.set_participants("room/1 &2", 0));
    let empty = host.call("getMeetings", &[]).await;
    has(&empty, &["participantCount=0", "running=false", "hasUserJoined=true"]);
    assert!(host.bbb.end_meeting("room/1 &2"));
    assert!(!host.bbb.end_meeting("room/1 &2"));
    has(&host.call("getMeetings", &[]).await, &["messageKey=noMeetings"]);
}

#[tokio::test]
async fn breakout_rooms_name_their_parent_by_either_id_and_outlive_it() {
    let host = host("3.0.4").await;
    host.bbb.start_meeting("class", 2);
    let parent = host.bbb.meeting("class").unwrap().internal_id;
    host.bbb.start_breakout("class-1", "class", 3);
    host.bbb.start_breakout("class-2", "class", 0);
    let room = host.bbb.meeting("class-2").unwrap().internal_id;
    let named = format!("parentMeetingID={parent}");
    has(
        &host.call("getMeetings", &[]).await,
        &[&named, "sequence=2", "freeJoin=false", &format!("breakout={room}")],
    );
    host.bbb.set_parent_ids(ParentIds::External);
    has(&host.call("getMeetings", &[]).await, &["parentMeetingID=class"]);
    host.bbb.set_parent_ids(ParentIds::Internal);
    assert!(host.bbb.end_meeting("class"));
    host.bbb.start_breakout("class-3", "class", 1);
    let list = host.call("getMeetings", &[]).await;
    assert_eq!(list.iter().filter(|element| **element == named).count(), 3, "{list:?}");
    has(&list, &["sequence=3"]);
    assert!(!list.contains(&"meetingID=class".to_owned()));
    let alone = [("meetingID", "x"), ("name", "x"), ("isBreakout", "true")];
    has(&host.call("create", &alone).await, &["messageKey=parentMeetingIdMissing"]);
}

#[tokio::test]
async fn a_list_may_be_spoiled_by_one_meeting() {
    let host = host("2.5.5").await;
    let list = async || {
        let query = sign(Algorithm::Sha256, "getMeetings", "", SECRET);
        host.raw("GET", &format!("/getMeetings?{query}")).await.1
    };
    host.bbb.start(NewMeeting {
        id: "a".into(),
        participants: 1500.into(),
        names: vec!["bell\u{7}".into()],
        userdata: [("1st".to_owned(), "<x>".to_owned()), ("lms:course".to_owned(), "1".to_owned())].into(),
        ..NewMeeting::default()
    });
    let text = list().await;
    for part in [
        "<participantCount>1,500</participantCount>",
        "<voiceParticipantCount>1,500</voiceParticipantCount>",
        "<moderatorCount>1</moderatorCount>",
        "<fullName>bell\u{7}</fullName>",
        "<customdata><1st>&lt;x&gt;</1st><lms:course>1</lms:course></customdata>",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(roxmltree::Document::parse(&text).is_err());
    host.bbb.start_breakout("b", "", 3);
    host.bbb.start_meeting("c", 2);
    let text = list().await;
    assert!(text.ends_with("<isBreakout>true</isBreakout><parentMeetingID>"), "{text}");
    host.bbb.set_listing(Some(cases::THOUSAND));
    assert_eq!(list().await, cases::THOUSAND);
    host.bbb.set_listing(None);
    assert!(list().await.ends_with("<parentMeetingID>"));
}

#[tokio::test]
async fn a_meeting_may_stay_in_the_list() {
    let host = host("3.0.4").await;
    host.bbb.start(NewMeeting { id: "r".into(), lingers: true, age_seconds: 7200, ..NewMeeting::default() });
    let listed = ["meetingID=r", "hasUserJoined=false", "startTime=0", "hasBeenForciblyEnded=false"];
    has(&host.call("getMeetings", &[]).await, &listed);
    has(&host.call("end", &[("meetingID", "r")]).await, &["messageKey=sentEndMeetingRequest"]);
    has(&host.call("getMeetings", &[]).await, &["meetingID=r", "hasBeenForciblyEnded=true"]);
    host.bbb.start(NewMeeting { id: "s".into(), forcibly_ended: true, ..NewMeeting::default() });
    has(&host.call("getMeetings", &[]).await, &["hasUserJoined=true"]);
}

#[tokio::test]
async fn meetings_are_created_and_ended_through_the_api() {
    let host = host("3.0.4").await;
    let create = [("meetingID", "r"), ("name", "R & D"), ("moderatorPW", "mp"), ("record", "true")];
    let created = host.call("create", &create).await;
    has(&created, &["returncode=SUCCESS", "meetingID=r", "moderatorPW=mp", "hasUserJoined=false"]);
    assert!(host.bbb.meeting("r").unwrap().recording);
    has(&host.call("create", &create).await, &["returncode=SUCCESS", "messageKey=duplicateWarning"]);
    let other = [("meetingID", "r"), ("name", "R"), ("moderatorPW", "another")];
    has(&host.call("create", &other).await, &["returncode=FAILED", "messageKey=idNotUnique"]);
    has(&host.call("create", &[("meetingID", "x")]).await, &["messageKey=missingParamName"]);
    has(&host.call("create", &[("name", "x")]).await, &["messageKey=missingParamMeetingID"]);

    has(&host.call("isMeetingRunning", &[("meetingID", "r")]).await, &["running=false"]);
    host.bbb.set_participants("r", 1);
    has(&host.call("isMeetingRunning", &[("meetingID", "r")]).await, &["running=true"]);

    let wrong = [("meetingID", "r"), ("password", "no")];
    has(&host.call("end", &wrong).await, &["returncode=FAILED", "messageKey=invalidPassword"]);
    let right = [("meetingID", "r"), ("password", "mp")];
    has(&host.call("end", &right).await, &["returncode=SUCCESS", "messageKey=sentEndMeetingRequest"]);
    for action in ["end", "getMeetingInfo"] {
        has(&host.call(action, &right).await, &["returncode=FAILED", "messageKey=notFound"]);
    }
    has(&host.call("isMeetingRunning", &right).await, &["returncode=SUCCESS", "running=false"]);
}

#[tokio::test]
async fn chat_messages_exist_since_version_3() {
    let host = host("2.7.9").await;
    host.bbb.start_meeting("r", 1);
    let message = [("meetingID", "r"), ("message", "Closing in 5 minutes & more")];
    has(
        &host.call("sendChatMessage", &message).await,
        &["returncode=FAILED", "messageKey=unsupportedRequest"],
    );
    host.bbb.set_version("3.0.0");
    has(&host.call("sendChatMessage", &message).await, &["returncode=SUCCESS"]);
    assert_eq!(host.bbb.meeting("r").unwrap().chat, ["Closing in 5 minutes & more"]);
    let nowhere = [("meetingID", "q"), ("message", "x")];
    has(&host.call("sendChatMessage", &nowhere).await, &["messageKey=notFound"]);
    let (long, emoji, sender) = ("x".repeat(501), "\u{1f600}".repeat(251), "x".repeat(256));
    for (message, sender) in [(long.as_str(), "s"), (&emoji, "s"), (" \u{7}", "s"), ("", "s"), ("m", &sender)]
    {
        let refused = [("meetingID", "r"), ("message", message), ("userName", sender)];
        has(&host.call("sendChatMessage", &refused).await, &["messageKey=validationError"]);
    }
    assert_eq!(host.bbb.meeting("r").unwrap().chat.len(), 1);
}

#[tokio::test]
async fn unknown_calls_and_wrong_methods_are_refused() {
    let host = host("3.0.4").await;
    for (method, action) in [("GET", "getEverything"), ("POST", "getMeetings"), ("PUT", "create")] {
        let query = sign(Algorithm::Sha1, action, "", SECRET);
        let (status, body) = host.raw(method, &format!("/{action}?{query}")).await;
        assert_eq!(status, 200);
        has(&elements(&body), &["returncode=FAILED", "messageKey=unsupportedRequest"]);
    }
    assert_eq!(host.raw("GET", "x").await.0, 404);
}

#[tokio::test]
async fn a_host_that_is_not_ready_answers_like_its_nginx() {
    let host = host("3.0.4").await;
    host.bbb.start_meeting("r", 1);
    for (mode, status) in [(Mode::NotInstalled, 502), (Mode::Starting, 504)] {
        host.bbb.set_mode(mode);
        for rest in ["", "/getMeetings?checksum=x"] {
            let (answered, body) = host.raw("GET", rest).await;
            assert_eq!(answered, status);
            assert!(body.contains("<center>nginx</center>"), "{body}");
        }
    }
    host.bbb.set_mode(Mode::Ready);
    assert_eq!(host.raw("GET", "").await.0, 200);
    assert!(host.bbb.meeting("r").is_some());
    host.gate.close();
    while host.client.get(format!("http://{}/", host.address)).send().await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn planned_faults_look_like_bbb_or_nginx() {
    let host = host("3.0.4").await;
    for (status, code) in [(200, "internalError"), (503, "")] {
        let fault = Fault::Error { status, code: code.to_owned() };
        host.faults.plan(Planned { service: ServiceName::Bbb, action: None, fault, times: Some(1) });
    }
    has(&elements(&host.raw("GET", "").await.1), &["returncode=FAILED", "messageKey=internalError"]);
    assert_eq!(host.raw("GET", "").await.0, 503);
    for status in [301, 401, 403, 429] {
        let fault = Fault::Error { status, code: String::new() };
        host.faults.plan(Planned { service: ServiceName::Bbb, action: None, fault, times: Some(1) });
        let url = format!("http://{}/bigbluebutton/api", host.address);
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().contains_key("location"), status == 301);
    }
}

#[tokio::test]
async fn debug_never_shows_a_secret() {
    let host = host("3.0.4").await;
    host.bbb.start(NewMeeting {
        id: "r".into(),
        moderator_password: "hidden-pw".into(),
        ..NewMeeting::default()
    });
    let shown = format!("{:?} {:?}", host.bbb, host.bbb.snapshot());
    assert!(
        !shown.contains(SECRET) && !shown.contains("cret\\\"") && !shown.contains("hidden-pw"),
        "{shown}"
    );
    assert_eq!(serde_json::to_value(host.bbb.snapshot()).unwrap()["secret"], SECRET);
}

#[tokio::test]
async fn the_network_reaches_hosts_by_name_with_and_without_tls() {
    let host = host("3.0.4").await;
    let plain = Network::plain();
    let base = "http://vc-1.example.com/bigbluebutton/api";
    assert!(matches!(plain.call(base, SECRET, "getMeetings", &[]).await, Err(CallError::Transport(_))));
    plain.route("VC-1.example.com", host.address);
    assert!(plain.call(base, SECRET, "getMeetings", &[]).await.unwrap().contains("noMeetings"));
    let refused = plain.call(base, "wrong", "getMeetings", &[]).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused { key, .. } if key == "checksumError"));

    let authority = Authority::new().unwrap();
    let acceptor = authority.acceptor(&["vc-1.example.com".to_owned()]).unwrap();
    let service: Arc<dyn Service> = host.bbb.clone();
    let route = Arc::new(move |_: &Request| Arc::clone(&service));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (address, _gate) =
        Gate::listen(any, true, Some(acceptor), route, Faults::default(), Journal::default()).await.unwrap();
    let secure = Network::trusting(authority.pem()).unwrap();
    secure.route("vc-1.example.com", address);
    secure.route("vc-2.example.com", address);
    let base = "https://vc-1.example.com/bigbluebutton/api/";
    assert!(secure.call(base, SECRET, "getMeetings", &[]).await.unwrap().contains("noMeetings"));
    let named_wrongly =
        secure.call("https://vc-2.example.com/bigbluebutton/api", SECRET, "getMeetings", &[]).await;
    assert!(matches!(named_wrongly, Err(CallError::Transport(_))));
    secure.route("vc-1.example.com", SocketAddr::from(([192, 0, 2, 1], 443)));
    assert!(secure.call(base, SECRET, "getMeetings", &[]).await.is_err());
}

#[test]
fn property_files_come_late_and_the_overrides_win() {
    let root = tempfile::tempdir().unwrap();
    let files = HostFiles::absent(root.path());
    assert!(!files.defaults().exists() && !files.overrides().exists());

    files.write_defaults().unwrap();
    assert!(!files.overrides().exists());
    let shipped = std::fs::read_to_string(files.defaults()).unwrap();
    assert!(shipped.contains(&format!("\nsecuritySalt={}\n", HostFiles::shipped_salt())));
    assert!(shipped.contains(&format!("\nbigbluebutton.web.serverURL={}\n", HostFiles::shipped_url())));
    assert!(shipped.contains(",\\\n"));

    let files = HostFiles::write(root.path(), "https://vc-1.example.com", " a\\b=ü ").unwrap();
    assert_eq!(files.overrides(), root.path().join("etc/bigbluebutton/bbb-web.properties"));
    let written = std::fs::read_to_string(files.overrides()).unwrap();
    assert!(written.contains("\nbigbluebutton.web.serverURL=https://vc-1.example.com\n"));
    assert!(written.contains("\nsecuritySalt=\\ a\\\\b=\\u00fc \n"), "{written}");

    files.remove().unwrap();
    files.write_empty_overrides().unwrap();
    assert!(!std::fs::read_to_string(files.overrides()).unwrap().contains("securitySalt"));
}
