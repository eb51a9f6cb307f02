//! What the service writes into the journal: a line for each decision, with the fields that people filter by, and none
//! while nothing happens.

use e2e::{Rig, Service, at_once};
use sandbox::bbb::Mode;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Bbb, Imds, Route53, Scalelite};
use sandbox::scalelite::ServerState;

use crate::journal::Journal;

const PLAIN: [&str; 1] = ["protection.enabled=false"];
const LOOKING: &str = "SIGUSR1: looking at everything again";
const OTHER: &str = "i-0fedcba9876543210";

#[tokio::test]
async fn what_people_filter_by_is_in_the_journal() {
    let rig = Rig::bbb().await;
    rig.host.bbb.set_mode(Mode::Starting);
    let journal = Journal::start();
    let Some(service) = journal.service(&rig, &PLAIN).await else { return };
    journal.says("waiting: ").await;
    rig.host.bbb.set_mode(Mode::Ready);
    service.systemd.shows_exactly("registered").await;
    rig.meet("room");
    rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Cordoned);
    rig.checked(&service).await;
    service.systemd.shows(&["an operator has cordoned its entry"]).await;
    rig.expect(0, &["register"]).await;
    rig.expect(0, &["drain"]).await;
    rig.host.bbb.end_meeting("room");
    service.systemd.shows(&["not registered: taken out by hand"]).await;
    let run = service.end(&[]).await;
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "all went into the journal");

    let lines = journal.lines();
    let known = lines.iter().position(|line| line["MESSAGE"].starts_with("this host is ")).unwrap();
    for line in &lines {
        assert_eq!(line["SYSLOG_IDENTIFIER"], "bbb-agent", "{line:?}");
    }
    for line in &lines[known..] {
        assert_eq!(line.get("INSTANCE_ID").map(String::as_str), Some(rig.host.id()), "{line:?}");
        assert_eq!(line.get("FQDN"), Some(&rig.fqdn()), "{line:?}");
    }
    let changes: Vec<(&str, &str)> = lines
        .iter()
        .filter_map(|line| line["MESSAGE"].split_once(" -> "))
        .map(|(before, after)| (before, after.split_once(':').unwrap().0))
        .collect();
    let life = [
        ("starting", "joining"),
        ("joining", "serving"),
        ("serving", "cordoned"),
        ("cordoned", "joining"),
        ("joining", "serving"),
        ("serving", "draining"),
        ("draining", "leaving"),
        ("leaving", "unregistered"),
    ];
    assert_eq!(changes[..life.len()], life);
    for line in lines.iter().filter(|line| line["MESSAGE"].contains(" -> ")) {
        let (state, words) = line["MESSAGE"].split_once(" -> ").unwrap().1.split_once(": ").unwrap();
        assert_eq!((line["STATE"].as_str(), line["REASON"].as_str()), (state, words), "{line:?}");
    }
    for action in ["change", "add", "enable", "cordon", "disable", "panic", "delete", "check", "join"] {
        assert!(!journal.with("ACTION", action).is_empty(), "no line has ACTION={action}: {lines:#?}");
    }
    let waiting = &journal.with("ACTION", "join")[0];
    assert_eq!(waiting["STATE"], "joining");
    assert!(waiting["REASON"].contains("504"), "{waiting:?}");
    // Every action once: the cordon of the drain, and what leaving takes.
    for (action, times) in
        [("add", 1), ("cordon", 1), ("disable", 1), ("panic", 1), ("delete", 1), ("change", 2)]
    {
        assert_eq!(journal.with("ACTION", action).len(), times, "{action}");
    }
}

#[tokio::test]
async fn trouble_is_a_warning_with_its_reason() {
    let rig = Rig::bbb().await;
    rig.give_away(OTHER, "192.0.2.7");
    let journal = Journal::start();
    let Some(service) = journal.service(&rig, &PLAIN).await else { return };
    journal.says(OTHER).await;
    let warnings = journal.with("ACTION", "name");
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    // As syslog numbers them.
    assert_eq!((warning["PRIORITY"].as_str(), warning["STATE"].as_str()), ("4", "joining"), "{warning:?}");
    assert!(warning["REASON"].contains(OTHER), "{warning:?}");
    rig.expect(6, &["register"]).await;
    assert_eq!(journal.with("ACTION", "name").len(), 1, "it is said once");
    rig.drop_in("wrong", "checks.name = 1\n");
    service.running.signal("HUP").await;
    journal.says("SIGHUP: the old configuration stays in use").await;
    let refused = &journal.with("ACTION", "reload")[0];
    assert_eq!(refused["PRIORITY"], "3", "{refused:?}");
    assert!(refused["MESSAGE"].contains("checks.name"), "{refused:?}");
}

#[tokio::test]
async fn no_answer_of_others_writes_fields_of_the_journal() {
    let rig = Rig::bbb().await;
    let code = "Bad\nMESSAGE=all is well\nPRIORITY=6\n_UID=0\u{1b}[2J\u{202e}Code".to_owned();
    rig.fault(Route53, "ChangeResourceRecordSets", Fault::Error { status: 400, code }, None);
    let journal = Journal::start();
    let Some(_service) = journal.service(&rig, &PLAIN).await else { return };
    journal.says("all is well").await;
    for line in journal.lines() {
        assert!(!line["MESSAGE"].starts_with("all is well") && !line.contains_key("_UID"), "{line:?}");
        let steers = |c: char| c.is_control() || c == '\u{202e}';
        assert!(line.values().all(|value| !value.contains(steers)), "{line:?}");
    }
    let said = journal.lines().into_iter().find(|line| line["MESSAGE"].contains("all is well")).unwrap();
    assert!(["3", "4"].contains(&said["PRIORITY"].as_str()), "{said:?}");
}

fn lines(service: &Service) -> usize {
    service.running.complaints().lines().count()
}

#[tokio::test]
async fn a_host_that_is_as_it_should_be_says_nothing() {
    let rig = Rig::bbb().await;
    let mut service = rig.serving(&["checks.name=5", "checks.scalelite=5"]).await;
    rig.meet("room");
    // Until its protection has begun, which is said.
    rig.cloud.journal.reached(sandbox::http::ServiceName::AutoScaling, "SetInstanceProtection", 1).await;
    rig.checked(&service).await;
    service.running.said(LOOKING, 1).await;
    let before = lines(&service);
    rig.cloud.journal.clear();
    // The name, the entry, the work and what is intended with the host are looked at again, some of it often.
    rig.cloud.journal.reached(sandbox::http::ServiceName::Scalelite, "getServer", 1).await;
    rig.looked_at().await;
    rig.cloud.journal.reached(Bbb, "getMeetings", 5).await;
    rig.ticked(5).await;
    assert_eq!(lines(&service), before, "{}", service.running.complaints());
    // Whoever asks for a look gets a line for it, and no other.
    for _ in 0..10 {
        rig.checked(&service).await;
    }
    service.running.said(LOOKING, 11).await;
    let complaints = service.running.complaints();
    let new: Vec<&str> = complaints.lines().skip(before).collect();
    assert!(new.len() >= 10, "{complaints}");
    assert!(new.iter().all(|line| line.contains(LOOKING)), "{complaints}");
    service.restart("bbb-agent.service").await;
}

#[tokio::test]
async fn what_stays_wrong_is_said_once() {
    let rig = Rig::bbb().await;
    let mut service = rig.serving(&PLAIN).await;
    let records = rig.records();
    for time in 1..=2 {
        rig.give_away(OTHER, "192.0.2.7");
        service.running.signal("USR1").await;
        service.running.said(OTHER, time).await;
        for _ in 0..3 {
            rig.until(&service, rig.looked_at()).await;
        }
        let complaints = service.running.complaints();
        assert_eq!(complaints.matches(OTHER).count(), time, "{complaints}");
        // It is the host's own again: what happens after that is news.
        for (name, kind) in [
            (rig.fqdn(), sandbox::route53::RecordType::A),
            (rig.fqdn(), sandbox::route53::RecordType::Aaaa),
            (rig.ownership(), sandbox::route53::RecordType::Txt),
        ] {
            rig.cloud.route53.remove(&rig.cloud.zone_id, &name, kind, None);
        }
        rig.until(&service, service.systemd.shows_exactly("registered")).await;
        rig.checked(&service).await;
        assert_eq!(rig.records(), records);
    }
    service.end(&[]).await;
}

/// What has one wait, not one inside another one: each attempt makes one call, and what comes of it is said once.
#[tokio::test]
async fn what_fails_again_and_again_is_tried_once_an_attempt_and_said_once() {
    let rows = [
        (Route53, "Change", "ServiceUnavailable", "looking after the name works again after "),
        (Route53, "Change", "Throttling", ""),
        (Scalelite, "getServers", "", "looking after the Scalelite entry works again after "),
        (Scalelite, "addServer", "", "looking after the Scalelite entry works again after "),
        (Imds, "identity", "", "finding out who this host is works again after "),
        (Imds, "events/maintenance", "", "asking the metadata service works again after "),
    ];
    at_once(rows, async |(service_name, action, code, over)| {
        let rig = Rig::bbb().await;
        let status = if code == "Throttling" { 400 } else { 503 };
        rig.refuse(service_name, action, status, code, None);
        let mut service = rig.service(&PLAIN);
        rig.cloud.journal.reached(service_name, action, 1).await;
        rig.until(&service, rig.cloud.journal.reached(service_name, action, 4)).await;
        rig.heal();
        rig.until(&service, service.systemd.shows_exactly("registered")).await;
        if !over.is_empty() {
            service.running.said(over, 1).await;
        }
        let text = service.running.complaints();
        // On a busy machine the metadata service may be late, too.
        let others = |line: &str| service_name != Imds && line.contains("instance metadata service");
        let about = |line: &&str| (line.contains("WARN") || line.contains("next try in")) && !others(line);
        let about: Vec<&str> = text.lines().filter(about).collect();
        assert_eq!(about.len(), 1, "{action}: {text}");
        // Nor is what is done announced each time.
        for line in text.lines().filter(|line| !line.contains("SIGUSR1")) {
            assert_eq!(text.matches(line).count(), 1, "{line:?} stands there again: {text}");
        }
        assert!(!text.contains("trying again"), "{text}");
        service.end(&[]).await;
    })
    .await;
}
