//! Answers that look right and are not: nobody else's entry and no other name is changed for them, and no terminal obeys
//! them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use e2e::{Rig, Run, Running, at_once};
use sandbox::bbb::NewMeeting;
use sandbox::cloud::Options;
use sandbox::route53::RecordType::Txt;
use sandbox::scalelite::ServerState;

use crate::server::{Answer, Server};

/// A command to a terminal, clear the screen, and Unicode's command to show what follows from right to left.
const COMMAND: &str = "\u{1b}[2J\u{202e}";

fn harmless(run: &Run) {
    let output = format!("{}{}", run.stdout, run.stderr);
    let steers = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!output.contains(steers), "control characters:\n{run}");
    assert!(!output.contains("panicked"), "{run}");
}

/// URLs that resemble the one of the host with this name and lead to somebody else, or nowhere.
fn resembling(name: &str) -> Vec<String> {
    let path = "/bigbluebutton/api";
    let (label, domain) = name.split_once('.').unwrap();
    vec![
        format!("https://x{name}{path}"),
        format!("https://x.{name}{path}"),
        format!("https://{name}x{path}"),
        format!("https://{name}.evil.example{path}"),
        format!("https://{label}0.{domain}{path}"),
        format!("https://{label}.sub.{domain}{path}"),
        format!("https://{label}{path}"),
        format!("https://{domain}{path}"),
        format!("https://{name}@evil.example{path}"),
        format!("https://user:word@{name}{path}"),
        format!("https://evil.example/{name}{path}"),
        format!("https://evil.example/https://{name}{path}"),
        format!("https://evil.example?https://{name}{path}"),
        format!("https://evil.example#@{name}{path}"),
        format!("https://evil.example\\@{name}{path}"),
        format!("https://evil.example:443:{name}{path}"),
        format!("https://{name}\n.evil.example{path}"),
        format!("https://{name}\u{0}{path}"),
        format!("https://{name}%2eevil.example{path}"),
        format!("https://{}{path}", name.replace('c', "\u{441}")),
        format!("ftp://{name}{path}"),
        format!("//{name}{path}"),
        name.to_owned(),
        String::new(),
    ]
}

#[tokio::test]
async fn entries_that_resemble_the_own_one_stay_as_they_are() {
    let rig = Rig::bbb().await;
    for url in resembling(&rig.fqdn()) {
        rig.cloud.scalelite.add_server(&url, "another's secret", ServerState::Enabled);
    }
    let others = rig.cloud.scalelite.servers();
    rig.expect(0, &["register"]).await;
    let now = rig.cloud.scalelite.servers();
    assert_eq!(now.len(), others.len() + 1, "the own one is none of them");
    assert!(others.iter().all(|other| now.contains(other)));
    rig.expect(0, &["deregister"]).await;
    assert_eq!(rig.cloud.scalelite.servers(), others);
}

#[tokio::test]
async fn an_entry_with_an_odd_id_is_asked_about_in_no_other_call() {
    let ids = [
        "../../deleteServer",
        "x?checksum=0&id=",
        "x&id=other",
        "x\nHost: evil.example\n\n",
        "x\"},\"id\":\"other",
        COMMAND,
        "",
    ];
    at_once(ids, async |id| {
        let rig = Rig::start(Options::default()).await;
        rig.cloud.scalelite.add_server("https://other.example.org/x", "s", ServerState::Enabled);
        rig.expect(0, &["register"]).await;
        let before = rig.cloud.scalelite.servers();
        let listing = serde_json::json!([
            {"id": id, "url": rig.host.scalelite_entry_url(), "secret": "s", "state": "enabled", "load": "1.0",
             "load_multiplier": "1.0", "online": "online", "tag": null}
        ]);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let real: SocketAddr = rig.cloud.scalelite_url().trim_start_matches("http://").parse().unwrap();
        let server = Server::before(
            real,
            Arc::new(move |head| {
                seen.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                head.contains("getServers").then(|| Answer::ok("", listing.to_string()))
            }),
        );
        let url = format!("scalelite.url={}", server.await.url());
        let leave = ["deregister", "--only", "scalelite", "--set", &url, "--set", "timeouts.deregister=2"];
        harmless(&rig.run(&leave).await);
        assert_eq!(rig.cloud.scalelite.servers(), before, "{id:?}");
        for line in asked.lock().unwrap().iter() {
            let call = line.split(['?', ' ']).nth(1).unwrap_or_default();
            let calls = ["getServers", "updateServer", "panicServer", "deleteServer"];
            assert!(calls.iter().any(|name| call == format!("/scalelite/api/{name}")), "{line}");
            assert_eq!(line.split(' ').count(), 3, "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_odd_identity_is_no_identity() {
    let rows: Vec<(&str, &str)> = [
        "i-../../x",
        "i-0123456789abcdef0\n",
        "\"i-0123456789abcdef0\"",
        "i-0123456789ABCDEF0",
        "i-0123456789abcdef01",
        "i-0123456789abcdef0.evil",
        "i-012345678",
        "i-",
        "",
        COMMAND,
    ]
    .into_iter()
    .map(|id| (id, "eu-central-1"))
    .chain(
        [
            "eu-central-1,instance=i-00000000000000000",
            "evil.example/",
            "eu central",
            "EU-CENTRAL-1",
            "a@b",
            COMMAND,
            "",
            "\u{65}\u{301}u",
        ]
        .map(|region| ("i-0123456789abcdef0", region)),
    )
    .collect();
    at_once(rows, async |(id, region)| {
        let rig = Rig::start(Options::default()).await;
        let document = serde_json::json!({
            "instanceId": id, "region": region, "accountId": "123456789012",
            "availabilityZone": "eu-central-1a", "instanceType": "c5.large", "privateIp": "10.0.0.1",
        });
        let server = Server::before(
            rig.cloud.imds_address(),
            Arc::new(move |head| {
                head.contains("instance-identity/document").then(|| Answer::ok("", document.to_string()))
            }),
        );
        let server = server.await;
        let before = rig.state();
        for command in ["register", "deregister", "hostname", "status"] {
            let mut process = rig.command(&[command, "--log-level", "debug"]);
            process.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url());
            let run = Running::start(process).end().await;
            assert!(run.code > 0, "{id:?} in {region:?}:\n{run}");
            harmless(&run);
        }
        assert_eq!(rig.state(), before, "{id:?} in {region:?}");
    })
    .await;
}

#[tokio::test]
async fn what_others_write_is_no_command_to_a_terminal() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    let name = format!("a meeting{COMMAND}\u{9b}2J\u{7}\r<&>");
    rig.host.bbb.start(NewMeeting { id: name.clone(), name, ..NewMeeting::default() });
    rig.put(Txt, &rig.ownership(), &["\"heritage=bbb-agents,role=bbb,instance=i-\\033[2J,since=1\""]);
    let id = rig.entry().id;
    rig.cloud.scalelite.set_tag(&id, Some(COMMAND));
    let other = format!("https://{}{COMMAND}/bigbluebutton/api", rig.fqdn());
    rig.cloud.scalelite.add_server(&other, COMMAND, ServerState::Enabled);
    for command in [&["status"][..], &["status", "--json"], &["register"], &["deregister"], &["check"]] {
        harmless(&rig.run(&[command, &["--log-level", "debug"]].concat()).await);
    }
}
