//! Commands by hand beside the running service, which does the work and answers as the command alone would; and what
//! the service remembers of them when it is restarted.

use e2e::{Rig, Running, Service, at_once};
use sandbox::bbb::Mode;
use sandbox::cloud::SCALELITE_SECRET_ID;
use sandbox::dns::Propagation;
use sandbox::http::ServiceName::{Route53, Scalelite};
use sandbox::scalelite::ServerState;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

const OTHER: &str = "i-0fedcba9876543210";
const UNIT: &str = "bbb-agent.service";
const PLAIN: [&str; 1] = ["protection.enabled=false"];
const OUT: &str = "not registered: taken out by hand; register brings it back";

/// A host with its service, and with a meeting.
async fn busy() -> (Rig, Service) {
    let rig = Rig::bbb().await;
    let service = rig.serving(&PLAIN).await;
    rig.meet("room");
    rig.cloud.journal.clear();
    (rig, service)
}

fn registered(rig: &Rig) {
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
}

#[tokio::test]
async fn register_beside_the_service_changes_nothing_where_all_is_well() {
    let (rig, service) = busy().await;
    let before = rig.state();
    for arguments in [&["register"][..], &["register", "--wait"]] {
        let run = rig.expect(0, arguments).await;
        let live = format!("dns: {} is live on every authoritative server\n", rig.fqdn());
        let waited = if arguments.len() > 1 { live.as_str() } else { "" };
        assert_eq!(run.stdout, format!("bbb-agent: registered\n{waited}"));
        assert_eq!(run.stderr, "");
    }
    assert_eq!(rig.state(), before);
    assert_eq!(rig.calls(Route53), [""; 0]);
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    assert_eq!(service.systemd.readies(), 1);
    service.restart(UNIT).await;
}

#[tokio::test]
async fn register_beside_the_service_tells_what_is_repaired() {
    let (rig, service) = busy().await;
    rig.cloud.scalelite.delete_server(&rig.entry().id);
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 77].into())).unwrap();
    let run = rig.expect(0, &["register"]).await;
    let lines: Vec<&str> = run.stdout.lines().collect();
    let [dns, scalelite, last] = lines.as_slice() else { panic!("{run}") };
    assert!(dns.starts_with(&format!("dns: {} registered: A 203.0.113.77", rig.fqdn())), "{run}");
    assert!(scalelite.contains(": add ") && scalelite.contains("enable"), "{run}");
    assert_eq!(*last, "bbb-agent: registered");
    registered(&rig);
    assert_eq!(rig.meetings(), ["room"]);
    service.restart(UNIT).await;
}

/// What goes wrong, with the settings of the service; then the exit code and the words of `register`.
const ENDS: [(&str, &[&str], i32, &str); 9] = [
    ("BBB is not installed", &["timeouts.bbb=5"], 7, "BigBlueButton is not installed yet"),
    ("BBB starts", &["timeouts.bbb=5"], 7, "504"),
    ("Route 53 is busy", &["timeouts.register=10"], 8, "the service goes on: registering the name"),
    ("another's name", &[], 6, OTHER),
    ("Route 53 denied", &[], 1, "AccessDenied"),
    ("Scalelite is away", &["timeouts.register=10"], 9, "joining Scalelite"),
    ("the secret is missing", &[], 9, SCALELITE_SECRET_ID),
    ("BBB has another secret", &["timeouts.bbb=5"], 7, "checksum"),
    ("the warm pool", &[], 6, "register: this host is in the warm pool"),
];

#[tokio::test]
async fn register_beside_the_service_ends_as_it_would_alone() {
    at_once(ENDS, async |(what, settings, code, said)| {
        let rig = if what == "BBB is not installed" { Rig::without_bbb().await } else { Rig::bbb().await };
        match what {
            "BBB is not installed" => {}
            "BBB starts" => rig.host.bbb.set_mode(Mode::Starting),
            "Route 53 is busy" => rig.refuse(Route53, "Change", 503, "ServiceUnavailable", None),
            "another's name" => rig.give_away(OTHER, "192.0.2.7"),
            "Route 53 denied" => rig.cloud.aws.deny("route53:*"),
            "Scalelite is away" => rig.refuse(Scalelite, "", 500, "html", None),
            "the secret is missing" => assert!(rig.cloud.secrets.delete(SCALELITE_SECRET_ID)),
            "BBB has another secret" => rig.host.bbb.set_secret("another"),
            _ => {
                let warm = sandbox::fleet::LifecycleState::WarmedRunning;
                rig.cloud.fleet.set_lifecycle_state(rig.host.id(), warm).unwrap();
            }
        }
        let mut service = rig.service(settings);
        // It knows what is intended with the host.
        service.running.said("starting -> ", 1).await;
        let run = rig.expect(code, &["register"]).await;
        run.says(&["bbb-agent: ", said]);
        assert_eq!(run.stderr.lines().count(), 1, "{what}: {run}");
        assert!(service.running.goes_on(), "{what}");
        // What was tried and failed did not tire the service: it does the rest when it can.
        if what == "Route 53 is busy" {
            rig.heal();
            rig.until(&service, service.systemd.shows_exactly("registered")).await;
            registered(&rig);
        }
    })
    .await;
}

#[tokio::test]
async fn deregister_beside_the_service_takes_the_host_out_and_it_stays_out() {
    let (rig, mut service) = busy().await;
    let run = rig.expect(0, &["deregister"]).await;
    run.says(&["dns: ", " removed (Route 53 calls: 1)", "scalelite: ", &format!("bbb-agent: {OUT}")]);
    rig.is_gone();
    service.systemd.shows_exactly(OUT).await;
    let calls = (rig.calls(Route53), rig.calls(Scalelite));
    service.running.signal("USR1").await;
    service.running.said("looking at everything again", 1).await;
    rig.ticked(3).await;
    assert_eq!((rig.calls(Route53), rig.calls(Scalelite)), calls);
    rig.is_gone();
    rig.expect(0, &["deregister"]).await.says(&[OUT]);
    rig.expect(0, &["drain"]).await.says(&[OUT]);
    assert_eq!(rig.standing().await["service"]["state"], "unregistered");
    rig.expect(0, &["register"]).await.says(&["dns: ", "scalelite: ", "bbb-agent: registered"]);
    registered(&rig);
    service.comes_to("serving", 2).await;
    assert_eq!(service.systemd.readies(), 1);
    service.end(&[]).await;
}

#[tokio::test]
async fn one_half_is_refused_while_the_service_looks_after_both() {
    let (rig, service) = busy().await;
    let before = rig.state();
    for command in ["register", "deregister"] {
        for half in ["dns", "scalelite"] {
            let run = rig.expect(2, &[command, "--only", half]).await;
            run.says(&["looks after the name and the entry together"]);
        }
    }
    assert_eq!(rig.state(), before);
    service.restart(UNIT).await;
}

#[tokio::test]
async fn deregister_that_fails_says_so_and_goes_on() {
    let (rig, service) = busy().await;
    rig.cloud.aws.deny("route53:*");
    rig.expect(1, &["deregister"]).await.says(&["AccessDenied", "; the service goes on"]);
    assert_eq!(rig.cloud.scalelite.servers(), [], "the other half is done");
    assert_eq!(rig.standing().await["service"]["state"], "leaving");
    rig.cloud.aws.allow("route53:*");
    // A second one makes it try again at once.
    rig.expect(0, &["deregister"]).await.says(&[OUT]);
    rig.is_gone();
    service.end(&[]).await;
}

#[tokio::test]
async fn drain_returns_when_new_meetings_go_elsewhere_and_with_wait_when_the_host_is_empty() {
    let (rig, service) = busy().await;
    let run = rig.expect(0, &["drain"]).await;
    run.says(&["bbb-agent: draining (by hand): ", "at most "]);
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(rig.meetings(), ["room"]);
    service
        .systemd
        .shows(&["draining (by hand): waiting for 1 meeting with 3 people; at most 5 h 59 min"])
        .await;
    let service_now = rig.standing().await["service"].clone();
    assert_eq!(service_now["state"], "draining");
    assert_eq!((&service_now["meetings"], &service_now["recordings"]), (&1.into(), &0.into()));
    assert!(service_now["deadline"].as_u64() > service_now["since"].as_u64(), "{service_now}");
    let screen = rig.run(&["status"]).await;
    screen.says(&["service      running, draining: draining (by hand): waiting for 1 meeting with 3 people"]);
    let waiting = rig.begin(&["drain", "--wait"]);
    rig.ticked(2).await;
    assert_eq!(rig.meetings(), ["room"]);
    rig.host.bbb.end_meeting("room");
    let run = waiting.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["dns: ", "scalelite: ", OUT]);
    rig.is_gone();
    service.end(&[]).await;
}

#[tokio::test]
async fn a_drain_ends_the_meetings_at_its_deadline() {
    let (rig, service) = busy().await;
    let run = rig.expect(0, &["drain", "--wait", "--deadline", "2"]).await;
    run.says(&[OUT]);
    rig.is_gone();
    assert_eq!(rig.cloud.journal.count(Scalelite, "panicServer"), 1);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_deadline_beyond_all_bounds_is_the_longest_there_is() {
    // The command refuses such a number; another program at the socket may not.
    at_once([false, true], async |wait| {
        let (rig, service) = busy().await;
        let request = serde_json::json!({"drain": {"deadline": u64::MAX, "wait": wait}});
        let line = format!("{}\n", serde_json::json!({"protocol": 1, "body": request}));
        let mut socket = UnixStream::connect(rig.agent.directory().join("control.sock")).await.unwrap();
        socket.write_all(line.as_bytes()).await.unwrap();
        let longest = "waiting for 1 meeting with 3 people; at most 47 h 59 min more";
        service.systemd.shows(&["draining (by hand): ", longest]).await;
        let stands = rig.standing().await["service"].clone();
        let left = stands["deadline"].as_u64().zip(stands["since"].as_u64()).map(|(end, begin)| end - begin);
        assert!(left.is_some_and(|left| (172_000..=172_801).contains(&left)), "{stands}");
        // The next service takes the drain over with its deadline.
        service.restart(UNIT).await;
        let service = rig.service(&PLAIN);
        service.systemd.shows(&["draining (by hand): ", longest]).await;
        assert_eq!(rig.meetings(), ["room"], "{wait}");
        service.restart(UNIT).await;
    })
    .await;
}

#[tokio::test]
async fn a_drain_of_an_idle_host_is_soon_over() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&PLAIN).await;
    rig.expect(0, &["drain", "--wait"]).await.says(&[OUT]);
    rig.is_gone();
    rig.expect(0, &["register"]).await;
    registered(&rig);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_drain_is_undone_by_register_or_by_enabling_the_entry() {
    at_once(["register", "enabling"], async |way| {
        let (rig, mut service) = busy().await;
        let id = rig.entry().id;
        let waiting = rig.begin(&["drain", "--wait"]);
        service.systemd.shows(&["draining (by hand)"]).await;
        rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
        rig.expect(0, &["drain"]).await;
        if way == "register" {
            rig.expect(0, &["register"]).await.says(&["enable entry", "bbb-agent: registered"]);
        } else {
            rig.cloud.scalelite.set_state(&id, ServerState::Enabled);
            rig.checked(&service).await;
        }
        service.comes_to("serving", 2).await;
        let run = waiting.end().await;
        assert_eq!(run.code, 1, "{way}: {run}");
        run.says(&["something else came between"]);
        rig.checked(&service).await;
        rig.checked(&service).await;
        registered(&rig);
        assert_eq!((rig.entry().id, rig.meetings()), (id, vec!["room".to_owned()]), "{way}");
        // It is not remembered as a drain either.
        service.restart(UNIT).await;
        let service = rig.serving(&PLAIN).await;
        registered(&rig);
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn clients_at_once_are_all_answered() {
    let (rig, service) = busy().await;
    let drain = rig.begin(&["drain", "--wait"]);
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    let deregisters: Vec<Running> = (0..3).map(|_| rig.begin(&["deregister"])).collect();
    for running in deregisters.into_iter().chain([drain]) {
        let run = running.end().await;
        assert_eq!(run.code, 0, "{run}");
        run.says(&[OUT]);
    }
    rig.is_gone();
    let registers: Vec<Running> = (0..3).map(|_| rig.begin(&["register", "--wait"])).collect();
    for running in registers {
        let run = running.end().await;
        assert_eq!(run.code, 0, "{run}");
        run.says(&["bbb-agent: registered"]);
    }
    registered(&rig);
    assert_eq!(rig.cloud.journal.count(Scalelite, "addServer"), 1, "one writer");
    service.end(&[]).await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_nothing_with_it() {
    let (rig, service) = busy().await;
    let waiting = rig.begin(&["drain", "--wait"]);
    service.systemd.shows(&["draining (by hand): waiting for 1 meeting"]).await;
    waiting.signal("TERM").await;
    assert_eq!(waiting.end().await.code, 143);
    rig.host.bbb.end_meeting("room");
    service.systemd.shows_exactly(OUT).await;
    rig.is_gone();
    service.end(&[]).await;
}

#[tokio::test]
async fn who_waits_when_the_service_is_stopped_is_told() {
    let (rig, service) = busy().await;
    let waiting = rig.begin(&["drain", "--wait"]);
    service.systemd.shows(&["draining (by hand): waiting for 1 meeting"]).await;
    service.restart(UNIT).await;
    let run = waiting.end().await;
    assert_eq!(run.code, 8, "{run}");
    run.says(&["the service has been stopped meanwhile"]);
    assert_eq!(rig.meetings(), ["room"]);
}

#[tokio::test]
async fn a_second_service_on_the_host_waits_for_the_first() {
    let (rig, first) = busy().await;
    let before = rig.state();
    let mut second = rig.service(&PLAIN);
    second.running.said("waiting for the lock", 1).await;
    second.systemd.shows_exactly("waiting for another command to end").await;
    rig.ticked(2).await;
    // The first one answers.
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.state(), before);
    assert_eq!(second.systemd.readies(), 0);
    // One that is told to end does not wait on.
    let mut third = rig.service(&PLAIN);
    third.running.said("waiting for the lock", 1).await;
    third.running.signal("TERM").await;
    assert_eq!(third.running.end().await.code, 143);
    let fourth = rig.service(&["timeouts.register=1"]);
    let run = fourth.running.end().await;
    assert_eq!(run.code, 8, "{run}");
    run.says(&["run/bbb-agent/lock: gave up waiting"]);
    first.restart(UNIT).await;
    second.systemd.shows_exactly("registered").await;
    assert_eq!(rig.state(), before);
    second.end(&[]).await;
}

/// What somebody has done before the service is restarted, and how it stands after that.
const REMEMBERED: [(&str, &str); 6] = [
    ("nothing", "registered"),
    ("cordoned", "an operator has cordoned its entry in Scalelite"),
    ("disabled", "an operator has disabled its entry in Scalelite"),
    ("drain", "draining (by hand): waiting for 1 meeting"),
    ("deregister", OUT),
    ("entry removed", "registered"),
];

async fn stands_as(service: &Service, words: &str) {
    match words {
        "registered" => service.systemd.shows_exactly(words).await,
        words => service.systemd.shows(&[words]).await,
    }
}

async fn decided(what: &str) -> (Rig, Service) {
    let rig = Rig::bbb().await;
    // What is found disabled right after the enabling would be the poller's work.
    rig.serving(&PLAIN).await.restart(UNIT).await;
    let mut service = rig.serving(&PLAIN).await;
    rig.meet("room");
    let id = rig.entry().id;
    match what {
        "nothing" => {}
        "cordoned" | "disabled" => {
            let state = if what == "cordoned" { ServerState::Cordoned } else { ServerState::Disabled };
            rig.cloud.scalelite.set_state(&id, state);
            rig.checked(&service).await;
            service.comes_to("cordoned", 1).await;
        }
        "drain" | "deregister" => drop(rig.expect(0, &[what]).await),
        _ => rig.cloud.scalelite.delete_server(&id),
    }
    (rig, service)
}

#[tokio::test]
async fn a_restart_of_the_service_changes_nothing_that_was_decided() {
    at_once(REMEMBERED, async |(what, stands)| {
        let (rig, service) = decided(what).await;
        let before = rig.state();
        rig.cloud.journal.clear();
        let run = service.restart(UNIT).await;
        assert_eq!(run.code, 0, "{what}: {run}");
        assert_eq!(rig.state(), before, "{what}: a restart undoes nothing");
        let service = rig.service(&PLAIN);
        stands_as(&service, stands).await;
        service.systemd.hears("READY=1").await;
        if what != "deregister" {
            rig.checked(&service).await;
            rig.checked(&service).await;
            assert_eq!(rig.meetings(), ["room"], "{what}");
        }
        if what == "entry removed" {
            registered(&rig);
        } else {
            assert_eq!(rig.state(), before, "{what}");
        }
        // That a host is out is believed only when Route 53 says so.
        let calls: &[&str] = if what == "deregister" { &["ListResourceRecordSets"] } else { &[] };
        assert_eq!(rig.calls(Route53), calls, "{what}");
        // Each way, `register` ends it.
        rig.expect(0, &["register"]).await;
        registered(&rig);
        service.restart(UNIT).await;
    })
    .await;
}

#[tokio::test]
async fn a_crash_of_the_service_changes_nothing_that_was_decided() {
    at_once(REMEMBERED, async |(what, stands)| {
        let (rig, service) = decided(what).await;
        service.running.signal("KILL").await;
        assert_eq!(service.running.end().await.code, -1);
        let service = rig.service(&PLAIN);
        stands_as(&service, stands).await;
        assert_eq!(rig.meetings().is_empty(), what == "deregister", "{what}");
        service.restart(UNIT).await;
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_what_somebody_has_decided_and_a_boot_all_but_a_cordon() {
    let mut rows = Vec::new();
    for (what, _) in REMEMBERED {
        for end in ["stopped", "boot"] {
            rows.push((what, end));
        }
    }
    at_once(rows, async |(what, end)| {
        let (rig, service) = decided(what).await;
        if end == "boot" {
            service.end(&["reboot.target start", "bbb-agent.service stop"]).await;
            // What is in /run is gone.
            std::fs::remove_dir_all(rig.agent.directory()).unwrap();
            assert_eq!(rig.cloud.scalelite.servers(), []);
            if matches!(what, "cordoned" | "disabled") {
                let service = rig.service(&PLAIN);
                stands_as(&service, "an operator has disabled its entry in Scalelite").await;
                service.restart(UNIT).await;
                return;
            }
        } else {
            service.end(&["bbb-agent.service stop"]).await;
            assert_eq!(rig.records(), [""; 0]);
            assert_eq!(rig.cloud.scalelite.servers(), []);
        }
        let service = rig.serving(&PLAIN).await;
        registered(&rig);
        service.restart(UNIT).await;
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_for_the_name_to_be_gone_waits_for_the_name_servers_too() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&PLAIN).await;
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    let mut waits = rig.begin(&["deregister", "--wait"]);
    service.systemd.shows_exactly(OUT).await;
    assert_eq!(rig.records(), [""; 0]);
    // Asked again and again, they still show it.
    rig.looked_at().await;
    assert!(waits.goes_on());
    (0..2).for_each(|server| rig.cloud.dns.release(server));
    let run = waits.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["dns: no name server answers with"]);
    service.restart(UNIT).await;
}
