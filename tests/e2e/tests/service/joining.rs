//! The host joins its fleet: the name first, then readiness, then Scalelite; whatever is not there yet is waited for.

use std::net::Ipv4Addr;

use e2e::{Rig, at_once};
use sandbox::bbb::{Mode, NewMeeting};
use sandbox::cloud::{Options, SCALELITE_SECRET_ID, SCALELITE_SECRET_KEY};
use sandbox::dns::Propagation;
use sandbox::faults::Fault;
use sandbox::fleet::{InstanceFacts, LifecycleState};
use sandbox::http::ServiceName::{AutoScaling, Bbb, Imds, Route53, Scalelite, SecretsManager};
use sandbox::route53::RecordType;
use sandbox::scalelite::ServerState;

const OTHER: &str = "i-0fedcba9876543210";

/// What a new host calls Scalelite for.
const NEW: [&str; 4] = ["getServers", "addServer", "updateServer", "getServerInfo"];

fn hold(rig: &Rig) {
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
}

fn registered(rig: &Rig) {
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
}

#[tokio::test]
async fn the_name_is_live_before_anybody_is_told_and_before_scalelite() {
    let rig = Rig::bbb().await;
    hold(&rig);
    let service = rig.service(&["protection.enabled=false"]);
    service.systemd.shows(&["registering the name: ", "not live everywhere yet: 0 of 2 servers"]).await;
    rig.looked_at().await;
    assert_eq!(service.systemd.readies(), 0);
    rig.cloud.dns.release(0);
    service.systemd.shows(&["1 of 2 servers"]).await;
    rig.looked_at().await;
    assert_eq!(service.systemd.readies(), 0, "one server is not all of them");
    assert_eq!(rig.calls(Scalelite), [""; 0]);
    assert_eq!(rig.calls(SecretsManager), [""; 0]);
    rig.cloud.dns.release(1);
    service.systemd.shows_exactly("registered").await;
    assert_eq!(service.systemd.readies(), 1);
    registered(&rig);
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"], "to wait costs nothing");
    assert_eq!(rig.calls(Scalelite), NEW);
    for _ in 0..3 {
        rig.checked(&service).await;
    }
    assert_eq!(service.systemd.readies(), 1, "it is said once");
    service.end(&[]).await;
}

#[tokio::test]
async fn bbb_is_installed_long_after_the_service_was_started() {
    let rig = Rig::without_bbb().await;
    let service = rig.service(&[]);
    let systemd = &service.systemd;
    // `systemctl start` returns here, and whoever needs the name, as Let's Encrypt does, finds it on every server.
    systemd.hears("READY=1").await;
    assert_eq!(rig.records(), rig.registered_now());
    let status = rig.status(3).await;
    for server in status["dns"]["servers"].as_array().unwrap() {
        assert_eq!(server["state"], "live");
    }
    rig.cloud.journal.clear();
    let waits = "the name is registered; joining Scalelite: ";
    systemd.shows(&[waits, "BigBlueButton is not installed yet"]).await;
    // The packages come with settings that are not this host's yet, and the API comes last.
    rig.host.files.write_defaults().unwrap();
    systemd.shows(&[waits, "bbb-web.properties does not exist"]).await;
    rig.host.bbb.set_secret("sandbox-bbb-secret");
    rig.host.files.write_overrides(&rig.host.bbb_url, "sandbox-bbb-secret").unwrap();
    systemd.shows(&[waits, "502"]).await;
    rig.host.bbb.set_mode(Mode::Starting);
    systemd.shows(&[waits, "504"]).await;
    assert_eq!(rig.calls(Scalelite), [""; 0], "nobody is sent to a host that does not answer");
    rig.host.bbb.set_mode(Mode::Ready);
    systemd.shows_exactly("registered").await;
    registered(&rig);
    assert_eq!(rig.calls(Scalelite), NEW);
    assert_eq!(rig.calls(Route53), [""; 0]);
    assert_eq!(rig.batches().len(), 1);
    assert_eq!(systemd.readies(), 1);
    service.end(&[]).await;
}

/// Something that fails at the start: who brings it about, what is said, who heals it.
struct Row {
    name: &'static str,
    /// What the log says of it.
    said: &'static str,
    /// What systemd is told meanwhile.
    shown: &'static str,
}

const fn row(name: &'static str, said: &'static str, shown: &'static str) -> Row {
    Row { name, said, shown }
}

const NO_IMDS: &str = "waiting for the instance metadata service";
const UNIT: &str = "bbb-agent.service";
const NO_NAME: &str = "registering the name";
const NAMED: &str = "the name is registered; joining Scalelite";

fn set_address(rig: &Rig, address: Option<Ipv4Addr>) {
    let set = |facts: &mut InstanceFacts| (facts.public_ipv4, facts.ipv6) = (address, None);
    rig.host.imds.update(set).unwrap();
}

async fn spoiled(name: &str) -> Rig {
    let closed = if name == "IMDS closed" { vec![Imds] } else { Vec::new() };
    let rig = Rig::start(Options { closed, ..Options::with_tls() }).await;
    let cloud = &rig.cloud;
    match name {
        "IMDS closed" => {}
        "IMDS busy" => rig.refuse(Imds, "", 503, "", None),
        "IMDS silent" => rig.fault(Imds, "", Fault::Hang, None),
        "IMDS off" => rig.host.imds.set_disabled(true),
        "IMDS without identity" => rig.refuse(Imds, "identity/document", 500, "", None),
        "no address" => set_address(&rig, None),
        "Route 53 busy" => rig.refuse(Route53, "Change", 400, "Throttling", None),
        "Route 53 closed" => cloud.close(Route53).await,
        "Route 53 denied" => cloud.aws.deny("route53:*"),
        "another's name" => rig.give_away(OTHER, "192.0.2.7"),
        "Scalelite closed" => cloud.close(Scalelite).await,
        "Scalelite broken" => rig.refuse(Scalelite, "", 500, "html", None),
        "Scalelite for recordings" => cloud.scalelite.set_recordings_only(true),
        "secret missing" => assert!(cloud.secrets.delete(SCALELITE_SECRET_ID)),
        "secret wrong" => put_secret(&rig, "wrong"),
        "secret denied" => cloud.aws.deny("secretsmanager:GetSecretValue"),
        "BBB starting" => rig.host.bbb.set_mode(Mode::Starting),
        "BBB closed" => cloud.close(Bbb).await,
        "BBB with another secret" => rig.host.bbb.set_secret("another"),
        other => panic!("no such row: {other}"),
    }
    rig
}

fn put_secret(rig: &Rig, secret: &str) {
    let content = serde_json::json!({ SCALELITE_SECRET_KEY: secret }).to_string();
    rig.cloud.secrets.put(SCALELITE_SECRET_ID, &content);
}

async fn healed(name: &str, rig: &Rig) {
    rig.heal();
    rig.host.imds.set_disabled(false);
    for action in rig.cloud.aws.denied() {
        rig.cloud.aws.allow(&action);
    }
    rig.cloud.scalelite.set_recordings_only(false);
    rig.host.bbb.set_mode(Mode::Ready);
    rig.host.bbb.set_secret("sandbox-bbb-secret");
    match name {
        "IMDS closed" => rig.host.open(Imds).await,
        "no address" => set_address(rig, Some([203, 0, 113, 10].into())),
        "Route 53 closed" => rig.cloud.open(Route53).await,
        "another's name" => {
            let zone = &rig.cloud.zone_id;
            assert!(rig.cloud.route53.remove(zone, &rig.fqdn(), RecordType::A, None));
            assert!(rig.cloud.route53.remove(zone, &rig.ownership(), RecordType::Txt, None));
        }
        "Scalelite closed" => rig.cloud.open(Scalelite).await,
        "secret missing" | "secret wrong" => put_secret(rig, "sandbox-loadbalancer-secret"),
        "BBB closed" => rig.cloud.open(Bbb).await,
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_at_the_start_is_said_and_waited_for() {
    let rows = [
        row("IMDS closed", "service is not reachable: connection refused", NO_IMDS),
        row("IMDS busy", "service answered 503", NO_IMDS),
        row("IMDS silent", "service is not reachable", NO_IMDS),
        row("IMDS off", "refuses to answer (403): it is disabled", NO_IMDS),
        row("IMDS without identity", "answered 500 to dynamic/instance-identity/document", NO_IMDS),
        row("no address", "reports no public IPv4 address, which dns.ipv4", NO_NAME),
        row("Route 53 busy", "Throttling", NO_NAME),
        row("Route 53 closed", "connection refused", NO_NAME),
        row("Route 53 denied", "AccessDenied", NO_NAME),
        row("another's name", OTHER, NO_NAME),
        row("Scalelite closed", "connection refused", NAMED),
        row("Scalelite broken", "500", NAMED),
        row("Scalelite for recordings", "404", NAMED),
        row("secret missing", SCALELITE_SECRET_ID, NAMED),
        row("secret wrong", "checksum", NAMED),
        row("secret denied", "AccessDenied", NAMED),
        row("BBB starting", "504", NAMED),
        row("BBB closed", "connection refused", NAMED),
        row("BBB with another secret", "checksum", NAMED),
    ];
    at_once(rows, async |Row { name, said, shown }| {
        let rig = spoiled(name).await;
        let foreign = rig.records();
        let mut service = rig.service(&[]);
        service.running.said(said, 1).await;
        service.systemd.shows(&[shown]).await;
        // Two more of the looks that go on all the time: it lives.
        match shown {
            NO_IMDS => {}
            _ => rig.ticked(2).await,
        }
        assert!(service.running.goes_on(), "{name}");
        assert_eq!(service.systemd.readies(), usize::from(shown == NAMED), "{name}");
        assert_eq!(rig.cloud.scalelite.servers(), [], "{name}");
        let named = if shown == NAMED { rig.registered_now() } else { foreign };
        assert_eq!(rig.records(), named, "{name}");
        healed(name, &rig).await;
        rig.until(&service, service.systemd.shows_exactly("registered")).await;
        registered(&rig);
        assert_eq!(service.systemd.readies(), 1, "{name}");
        let run = service.end(&[]).await;
        assert_eq!(run.code, 0, "{name}: {run}");
    })
    .await;
}

#[tokio::test]
async fn what_lasts_is_told_to_systemd_with_its_cause() {
    let rows = [
        ("Route 53 denied", NO_NAME, "AccessDenied"),
        ("another's name", NO_NAME, OTHER),
        ("no address", NO_NAME, "reports no public IPv4 address"),
        ("Route 53 busy", NO_NAME, "Throttling"),
        // These are tried again at once, so that it takes some tries before they count as trouble.
        ("Scalelite closed", NAMED, "connection refused"),
        ("secret missing", NAMED, SCALELITE_SECRET_ID),
        ("secret wrong", NAMED, "checksum"),
        ("BBB starting", NAMED, "504"),
        ("BBB with another secret", NAMED, "checksum"),
    ];
    at_once(rows, async |(name, shown, cause)| {
        let rig = spoiled(name).await;
        let service = rig.service(&[]);
        service.systemd.shows(&[&format!("{shown}: "), cause]).await;
        let status = rig.run(&["status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        assert_eq!(status["service"]["state"], "joining", "{name}");
        let words = status["service"]["words"].as_str().unwrap();
        assert!(words.contains(cause), "{name}: {words}");
    })
    .await;
}

#[tokio::test]
async fn a_configuration_that_is_wrong_at_the_start_ends_it() {
    let rows = [
        ("dns.zone_id = \"example.org\"\n", "dns.zone_id"),
        ("scalelite.tags = \"a\"\n", "scalelite.tags"),
        ("[checks\n", "config.d/50-wrong.toml"),
        ("checks.name = 1\n", "checks.name"),
    ];
    at_once(rows, async |(text, said)| {
        let rig = Rig::bbb().await;
        rig.drop_in("50-wrong", text);
        let before = rig.state();
        let run = rig.expect(2, &["run"]).await;
        run.says(&["the configuration cannot be used", said]);
        assert_eq!(rig.state(), before);
        assert!(rig.cloud.journal.entries().is_empty(), "nobody was asked anything");
    })
    .await;
}

#[tokio::test]
async fn the_watchdog_is_fed_whatever_hangs() {
    let rows = [None, Some((Imds, "")), Some((Route53, "Change")), Some((Bbb, "")), Some((Scalelite, ""))];
    at_once(rows, async |hangs| {
        let rig = Rig::bbb().await;
        if let Some((service, action)) = hangs {
            rig.fault(service, action, Fault::Hang, None);
        }
        let systemd = e2e::Systemd::start();
        let mut command = rig.command(&["run"]);
        systemd.starts(&mut command);
        command.env("WATCHDOG_USEC", "100000");
        let _running = e2e::Running::start(command);
        if let Some((service, action)) = hangs {
            rig.cloud.journal.reached(service, action, 1).await;
        }
        let fed = systemd.told().iter().filter(|told| *told == "WATCHDOG=1").count();
        systemd.hears_again("WATCHDOG=1", fed + 5).await;
    })
    .await;
}

async fn warm() -> Rig {
    let rig = Rig::bbb().await;
    rig.cloud.fleet.set_lifecycle_state(rig.host.id(), LifecycleState::WarmedRunning).unwrap();
    rig
}

#[tokio::test]
async fn in_the_warm_pool_nothing_is_registered_until_it_is_left() {
    let rig = warm().await;
    let before = rig.state();
    let service = rig.service(&[]);
    service.systemd.hears("READY=1").await;
    service.systemd.shows_exactly("not registered: this host is in the warm pool").await;
    service.running.signal("USR1").await;
    rig.ticked(3).await;
    let run = rig.expect(6, &["register"]).await;
    run.says(&["register: this host is in the warm pool of its Auto Scaling group"]);
    for other in [Route53, Scalelite, SecretsManager, Bbb] {
        assert_eq!(rig.calls(other), [""; 0]);
    }
    assert_eq!(rig.state(), before);
    rig.cloud.fleet.launch_from_pool(rig.host.id()).unwrap();
    service.systemd.shows_exactly("registered").await;
    registered(&rig);
    assert_eq!(service.systemd.readies(), 1);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_host_that_goes_back_to_the_warm_pool_is_drained_and_leaves() {
    let rig = Rig::bbb().await;
    let mut service = rig.serving(&["protection.enabled=false"]).await;
    rig.meet("room");
    rig.cloud.fleet.set_lifecycle_state(rig.host.id(), LifecycleState::WarmedPending).unwrap();
    service
        .systemd
        .shows(&["draining (its Auto Scaling group puts this host into the warm pool)", "for 1 meeting with"])
        .await;
    service.running.said("Scalelite: cordon", 1).await;
    rig.ticked(2).await;
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(rig.meetings(), ["room"]);
    rig.host.bbb.end_meeting("room");
    service.comes_to("unregistered", 1).await;
    let out = "not registered: its Auto Scaling group puts this host into the warm pool";
    service.systemd.shows_exactly(out).await;
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
    rig.cloud.fleet.launch_from_pool(rig.host.id()).unwrap();
    service.systemd.shows_exactly("registered").await;
    registered(&rig);
    assert_eq!(service.systemd.readies(), 1);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_host_that_is_already_registered_is_left_as_it_is() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register", "--wait"]).await;
    rig.host.bbb.start(NewMeeting { id: "room".into(), participants: 3.into(), ..NewMeeting::default() });
    rig.cloud.journal.clear();
    let before = rig.state();
    let service = rig.serving(&["protection.enabled=false"]).await;
    assert_eq!(rig.state(), before);
    assert_eq!(rig.calls(Route53), [""; 0]);
    assert_eq!(rig.calls(Scalelite), ["getServers"]);
    service.restart("bbb-agent.service").await;
}

#[tokio::test]
async fn turn_agent_gives_its_host_a_name_and_nothing_else() {
    let rig = Rig::turn().await;
    hold(&rig);
    let service = rig.service(&[]);
    service.systemd.shows(&["registering the name: ", "0 of 2 servers"]).await;
    assert_eq!(service.systemd.readies(), 0);
    (0..2).for_each(|server| rig.cloud.dns.release(server));
    service.systemd.shows_exactly("registered").await;
    assert_eq!(service.systemd.readies(), 1);
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.calls(Route53).len(), 1);
    for other in [Scalelite, SecretsManager, Bbb] {
        assert_eq!(rig.calls(other), [""; 0]);
    }
    // An address that changes is followed here too.
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Immediate));
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 77].into())).unwrap();
    service.running.signal("USR1").await;
    rig.cloud.journal.reached(Route53, "Change", 2).await;
    assert_eq!(rig.records(), rig.registered_now());
    let run = service.end(&["turn-agent.service stop"]).await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn turn_agent_in_the_warm_pool_has_no_name_until_it_leaves_it() {
    let rig = Rig::turn().await;
    rig.cloud.fleet.set_lifecycle_state(rig.host.id(), LifecycleState::WarmedStopped).unwrap();
    // Resolvers soon forget its name.
    let service = rig.service(&["dns.ttl=1", "drain.quiet=0"]);
    service.systemd.shows_exactly("not registered: this host is in the warm pool").await;
    rig.ticked(2).await;
    assert_eq!(rig.calls(Route53), [""; 0]);
    rig.cloud.fleet.launch_from_pool(rig.host.id()).unwrap();
    service.systemd.shows_exactly("registered").await;
    rig.cloud.fleet.set_lifecycle_state(rig.host.id(), LifecycleState::WarmedPending).unwrap();
    service.systemd.shows(&["not registered: "]).await;
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(service.systemd.readies(), 1);
}

#[tokio::test]
async fn a_throttled_host_waits_for_the_others_and_registers() {
    let mut options = Options::with_tls();
    options.route53.clock = sandbox::route53::Clock::manual();
    let clock = options.route53.clock.clone();
    let rig = Rig::start(options).await;
    rig.cloud.route53.use_up(50);
    let service = rig.service(&[]);
    service.systemd.shows(&[NO_NAME, "Throttling: Rate exceeded; next try in "]).await;
    clock.advance(std::time::Duration::from_secs(1));
    service.systemd.shows_exactly("registered").await;
    registered(&rig);
    let throttled = rig.cloud.route53.calls().iter().filter(|call| call.refusal.is_some()).count();
    assert!(throttled >= 1);
    assert_eq!(rig.calls(Route53).len(), throttled + 1, "nothing but the change itself was asked for");
    service.end(&[]).await;
}

/// The longest spread: then nobody's turn comes while the test goes on.
const SPREAD: &str = "dns.spread = 43200\ntimeouts.register = 86400\n";

#[tokio::test]
async fn hosts_that_boot_at_once_take_turns() {
    let rig = Rig::bbb().await;
    rig.drop_in("50-storm", SPREAD);
    let service = rig.service(&[]);
    service.systemd.shows(&[NO_NAME, "waiting for its turn to register (dns.spread); next try in "]).await;
    let status = rig.run(&["status"]).await;
    status.says(&["waiting for its turn to register (dns.spread); next try in "]);
    rig.ticked(2).await;
    assert_eq!(rig.calls(Route53), [""; 0]);

    rig.expect(0, &["register"]).await;
    service.systemd.shows_exactly("registered").await;
    registered(&rig);
    service.end(&[]).await;
}

#[tokio::test]
async fn where_route_53_is_read_the_first_reading_waits_for_its_turn() {
    let rig = Rig::bbb().await;
    rig.drop_in("50-storm", SPREAD);
    rig.drop_in("60-private", "dns.read = \"api\"\n");
    let service = rig.service(&[]);
    service.systemd.shows(&[NO_NAME, "waiting for its turn to register (dns.spread); next try in "]).await;
    rig.ticked(2).await;
    assert_eq!(rig.calls(Route53), [""; 0]);

    // With many others: how far its change is, Route 53 is not asked at once either.
    let order = rig.begin(&["register"]);
    service.systemd.shows(&["is registered, but not live everywhere yet: Route 53 has not told"]).await;
    rig.ticked(5).await;
    assert_eq!(rig.calls(Route53), ["ListResourceRecordSets", "ChangeResourceRecordSets"]);
    drop(order);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_host_that_is_brought_back_by_hand_waits_for_no_turn() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&[]).await;
    rig.expect(0, &["deregister"]).await;
    service.restart(UNIT).await;
    rig.drop_in("50-storm", SPREAD);
    let mut service = rig.service(&[]);
    service.comes_to("unregistered", 1).await;
    rig.expect(0, &["register"]).await.says(&["bbb-agent: registered"]);
    registered(&rig);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_host_that_has_its_name_waits_for_no_turn() {
    let rig = Rig::bbb().await;
    rig.drop_in("50-storm", SPREAD);
    rig.expect(0, &["register"]).await;
    rig.cloud.journal.clear();
    let service = rig.serving(&[]).await;
    assert_eq!(rig.calls(Route53), [""; 0]);

    // Neither does one whose record was deleted while it ran, with a configuration that was read again.
    service.running.signal("HUP").await;
    service.systemd.hears_again("READY=1", 2).await;
    assert!(rig.cloud.route53.remove(&rig.cloud.zone_id, &rig.fqdn(), RecordType::A, None));
    rig.until(&service, rig.cloud.journal.reached(Route53, "Change", 1)).await;
    service.end(&[]).await;
}

#[tokio::test]
async fn servers_that_still_show_a_removed_name_are_not_believed() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&[]).await;
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    let run = service.end(&[]).await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.records(), [""; 0]);
    rig.cloud.journal.clear();
    let service = rig.service(&[]);
    rig.cloud.journal.reached(Route53, "Change", 1).await;
    // They show what they showed before: of the removal, and of what came after, they have not heard.
    rig.until(&service, rig.looked_at()).await;
    assert_eq!(rig.records(), rig.registered_now());
    (0..2).for_each(|server| rig.cloud.dns.release(server));
    rig.until(&service, service.systemd.shows_exactly("registered")).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    service.restart("bbb-agent.service").await;
}

/// Sixty other hosts of the group boot too: a host that Route 53 throttles asks its group once, and comes in its slot.
#[tokio::test]
async fn a_throttled_host_of_a_large_group_asks_for_its_place() {
    let rig = Rig::bbb().await;
    for number in 0..60 {
        let id = format!("i-{number:017x}");
        rig.cloud.fleet.launch(InstanceFacts { instance_id: id.clone(), ..InstanceFacts::default() });
        rig.cloud.fleet.attach(&rig.cloud.group, &id).unwrap();
    }
    rig.refuse(Route53, "ChangeResourceRecordSets", 400, "Throttling", Some(1));
    let service = rig.serving(&[]).await;
    assert_eq!(rig.cloud.journal.count(Route53, "ChangeResourceRecordSets"), 2);
    assert_eq!(rig.cloud.journal.count(AutoScaling, "DescribeAutoScalingGroups"), 1);
    let run = service.end(&["bbb-agent.service restart"]).await;
    let waited =
        run.stderr.lines().find(|line| line.contains("next try in ")).unwrap_or_else(|| panic!("{run}"));
    let seconds = waited.split("next try in ").nth(1).and_then(|rest| rest.split(' ').next());
    // A round of 61 slots, after six seconds.
    assert!(seconds.is_some_and(|seconds| (6..=13).contains(&seconds.parse::<u64>().unwrap())), "{waited}");
    assert_eq!(rig.records(), rig.registered_now());
}
