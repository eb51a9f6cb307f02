//! The host stays in its fleet: what happens to its name and to its entry is repaired, what people decide is
//! respected, and a host that is as it should be asks nobody for anything that costs.

use e2e::{Rig, Running, Service, Systemd, at_once};
use sandbox::dns::Propagation;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Bbb, Route53, Scalelite, SecretsManager};
use sandbox::route53::RecordType;
use sandbox::scalelite::ServerState;

const OTHER: &str = "i-0fedcba9876543210";
const SECRET: &str = "sandbox-bbb-secret";
const UNIT: &str = "bbb-agent.service";

/// Sets protection aside: it is a change of its own.
const PLAIN: [&str; 1] = ["protection.enabled=false"];

/// A host that was registered some time ago, and a service that has just been restarted: what is found disabled now
/// cannot be the work of Scalelite's poller.
async fn steady(rig: &Rig) -> Service {
    steady_with(rig, &PLAIN).await
}

async fn steady_with(rig: &Rig, settings: &[&str]) -> Service {
    rig.serving(settings).await.restart(UNIT).await;
    let service = rig.serving(settings).await;
    rig.cloud.journal.clear();
    service
}

/// Lets the service look until Route 53 was called.
async fn until_called(rig: &Rig, service: &Service) {
    rig.until(service, rig.cloud.journal.reached(Route53, "", 1)).await;
}

fn registered(rig: &Rig) {
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
}

#[tokio::test]
async fn a_public_address_that_changes_costs_one_call() {
    let rig = Rig::bbb().await;
    let service = steady(&rig).await;
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 77].into())).unwrap();
    until_called(&rig, &service).await;
    // Its servers hear of it one after the other, and are looked at meanwhile.
    for server in 0..2 {
        rig.until(&service, rig.looked_at()).await;
        rig.cloud.dns.release(server);
    }
    rig.until(&service, rig.looked_at()).await;
    rig.checked(&service).await;
    assert_eq!(service.systemd.status(), "registered", "the host has served all the time");
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    assert_eq!(rig.batches().last().unwrap(), &["DELETE A", "DELETE TXT", "CREATE A", "CREATE TXT"]);
    assert_eq!(rig.records(), rig.registered(Some("203.0.113.77"), Some("2001:db8::10")));
    registered(&rig);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_name_that_somebody_has_changed_is_repaired() {
    let remove = |rig: &Rig, name: &str, kind| {
        assert!(rig.cloud.route53.remove(&rig.cloud.zone_id, name, kind, None));
    };
    let rows = ["address removed", "address changed", "all removed", "address added"];
    at_once(rows, move |what| async move {
        let rig = Rig::bbb().await;
        let service = steady(&rig).await;
        match what {
            "address removed" => remove(&rig, &rig.fqdn(), RecordType::Aaaa),
            "address changed" => rig.put(RecordType::A, &rig.fqdn(), &["192.0.2.7"]),
            "address added" => rig.put(RecordType::A, &rig.fqdn(), &["192.0.2.7", "203.0.113.10"]),
            _ => {
                remove(&rig, &rig.fqdn(), RecordType::A);
                remove(&rig, &rig.fqdn(), RecordType::Aaaa);
                remove(&rig, &rig.ownership(), RecordType::Txt);
            }
        }
        until_called(&rig, &service).await;
        rig.checked(&service).await;
        rig.checked(&service).await;
        registered(&rig);
        assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"], "{what}");
        assert_eq!(service.systemd.status(), "registered", "{what}");
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_name_that_somebody_else_has_taken_is_left_to_them() {
    let rows = ["of another instance", "without owner", "of other heritage"];
    at_once(rows, async |what| {
        let rig = Rig::bbb().await;
        let service = steady(&rig).await;
        match what {
            "of another instance" => rig.give_away(OTHER, "192.0.2.7"),
            "without owner" => {
                let zone = &rig.cloud.zone_id;
                assert!(rig.cloud.route53.remove(zone, &rig.ownership(), RecordType::Txt, None));
                rig.put(RecordType::A, &rig.fqdn(), &["192.0.2.7"]);
            }
            _ => rig.put(RecordType::Txt, &rig.ownership(), &["\"heritage=external-dns\""]),
        }
        service.running.signal("USR1").await;
        service.systemd.shows(&["registered: ", &rig.fqdn()]).await;
        if what == "of another instance" {
            // No address of it is this host's, and they join under it, too.
            rig.cloud.scalelite.delete_server(&rig.entry().id);
            let url = rig.host.scalelite_entry_url();
            rig.cloud.scalelite.add_server(&url, "their secret", ServerState::Enabled);
        }
        let (theirs, entry) = (rig.records(), rig.entry());
        // Nor is the entry looked after any more: what goes by the name is not this host's.
        rig.until(&service, rig.looked_at()).await;
        rig.until(&service, rig.looked_at()).await;
        assert_eq!(rig.records(), theirs, "{what}");
        assert_eq!(rig.cloud.journal.count(Route53, "Change"), 0, "{what}");
        assert_eq!(rig.entry(), entry, "{what}: Scalelite still finds the host, or does not, as before");
        // They give it up.
        for (name, kind) in
            [(rig.fqdn(), RecordType::A), (rig.fqdn(), RecordType::Aaaa), (rig.ownership(), RecordType::Txt)]
        {
            rig.cloud.route53.remove(&rig.cloud.zone_id, &name, kind, None);
        }
        rig.until(&service, service.systemd.shows_exactly("registered")).await;
        registered(&rig);
        // What is not ours any more when the service ends is not removed either.
        rig.give_away(OTHER, "192.0.2.7");
        let theirs = rig.records();
        assert_eq!(service.end(&[]).await.code, 0, "{what}");
        assert_eq!(rig.records(), theirs, "{what}");
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_is_missing_is_added_again() {
    let rig = Rig::bbb().await;
    let mut service = steady(&rig).await;
    let former = rig.entry().id;
    rig.cloud.scalelite.delete_server(&former);
    service.running.signal("USR1").await;
    service.comes_to("serving", 2).await;
    registered(&rig);
    assert_ne!(rig.entry().id, former);
    assert_eq!(rig.cloud.journal.count(Scalelite, "addServer"), 1);
    assert_eq!(rig.calls(Route53), [""; 0]);
    service.end(&[]).await;
}

#[tokio::test]
async fn who_takes_the_host_out_in_scalelite_is_respected() {
    let mut rows = Vec::new();
    for state in [ServerState::Cordoned, ServerState::Disabled] {
        for way_back in ["enabled there", "register"] {
            rows.push((state, way_back));
        }
    }
    at_once(rows, async |(state, way_back)| {
        let rig = Rig::bbb().await;
        let mut service = steady(&rig).await;
        let entry = rig.entry();
        rig.cloud.scalelite.set_state(&entry.id, state);
        service.running.signal("USR1").await;
        service.comes_to("cordoned", 1).await;
        let said = format!(
            "registered, but an operator has {} its entry in Scalelite; enable it there",
            word(state)
        );
        service.systemd.shows(&[&said]).await;
        for _ in 0..3 {
            rig.checked(&service).await;
        }
        assert_eq!(rig.entry().state, state);
        assert_eq!(rig.changes_in_scalelite(), [""; 0]);
        // The other way of taking it out is told too.
        let other =
            if state == ServerState::Cordoned { ServerState::Disabled } else { ServerState::Cordoned };
        rig.cloud.scalelite.set_state(&entry.id, other);
        rig.checked(&service).await;
        service.systemd.shows(&[&format!("an operator has {} its entry", word(other))]).await;
        if way_back == "register" {
            rig.expect(0, &["register"]).await.says(&["enable entry", "bbb-agent: registered"]);
        } else {
            rig.cloud.scalelite.set_state(&entry.id, ServerState::Enabled);
            rig.checked(&service).await;
        }
        service.comes_to("serving", 2).await;
        service.systemd.shows_exactly("registered").await;
        rig.checked(&service).await;
        registered(&rig);
        assert_eq!(rig.entry().id, entry.id);
        service.end(&[]).await;
    })
    .await;
}

fn word(state: ServerState) -> &'static str {
    match state {
        ServerState::Enabled => "enabled",
        ServerState::Cordoned => "cordoned",
        ServerState::Disabled => "disabled",
    }
}

#[tokio::test]
async fn a_poll_of_scalelites_that_overwrites_the_enabling_is_outdone_and_a_person_is_not() {
    let rig = Rig::bbb().await;
    let scalelite = &rig.cloud.scalelite;
    let id = scalelite.add_server(&rig.host.scalelite_entry_url(), SECRET, ServerState::Cordoned);
    // The poll has read a cordoned entry without load, which it disables in the end, whatever has happened meanwhile.
    scalelite.poll_begin().await;
    let mut service = rig.serving(&PLAIN).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert!(scalelite.poll_end().await);
    assert_eq!(rig.entry().state, ServerState::Disabled, "the race is there");
    rig.checked(&service).await;
    service.comes_to("serving", 2).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    // Whoever does that once more means it.
    scalelite.set_state(&id, ServerState::Disabled);
    rig.checked(&service).await;
    service.comes_to("cordoned", 1).await;
    rig.checked(&service).await;
    assert_eq!(rig.entry().state, ServerState::Disabled);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_secret_that_changes_on_the_host_reaches_scalelite_by_itself() {
    let rig = Rig::bbb().await;
    // Nobody tells the service, and nothing makes it look at the entry for the next day: it counts meetings, and reads
    // the secret for that.
    let settings = ["protection.enabled=false", "checks.scalelite=86400", "checks.name=86400"];
    let mut service = steady_with(&rig, &settings).await;
    // The look that a poll of Scalelite's makes necessary after the start is over.
    rig.cloud.journal.reached(Scalelite, "getServer", 1).await;
    let before = rig.entry();
    rig.host.install("second").unwrap();
    service.running.said("BBB's settings on this host have changed: looking at everything again", 1).await;
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    rig.checked(&service).await;
    let entry = rig.entry();
    assert_eq!((entry.id, entry.secret.expose()), (before.id, "second"));
    assert_eq!(rig.changes_in_scalelite(), ["updateServer"]);
    registered(&rig);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_secret_that_changes_in_scalelite_is_set_right() {
    let rig = Rig::bbb().await;
    let mut service = steady(&rig).await;
    rig.cloud.scalelite.delete_server(&rig.entry().id);
    let url = rig.host.scalelite_entry_url();
    let id = rig.cloud.scalelite.add_server(&url, "somebody's", ServerState::Enabled);
    rig.checked(&service).await;
    service.running.said("update the secret of entry", 1).await;
    rig.checked(&service).await;
    assert_eq!((rig.entry().id, rig.entry().secret.expose()), (id, SECRET));
    assert_eq!(rig.changes_in_scalelite(), ["updateServer"]);
    registered(&rig);
    service.end(&[]).await;
}

#[tokio::test]
async fn the_load_balancers_secret_is_fetched_again_when_it_is_refused() {
    let rig = Rig::bbb().await;
    let service = steady(&rig).await;
    // With each of the three algorithms.
    rig.refuse(Scalelite, "getServers", 200, "checksumError", Some(3));
    rig.checked(&service).await;
    service.systemd.shows(&["registered: ", "checksum"]).await;
    assert_eq!(rig.calls(SecretsManager), [""; 0], "until then it was known");
    rig.checked(&service).await;
    service.systemd.shows_exactly("registered").await;
    assert_eq!(rig.calls(SecretsManager), ["GetSecretValue"]);
    registered(&rig);
    service.end(&[]).await;
}

#[tokio::test]
async fn duplicates_are_removed_as_soon_as_no_meeting_runs() {
    let rig = Rig::bbb().await;
    let service = steady(&rig).await;
    let kept = rig.entry().id;
    rig.meet("room");
    rig.cloud.scalelite.add_server(&rig.host.scalelite_entry_url(), SECRET, ServerState::Enabled);
    rig.checked(&service).await;
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    rig.checked(&service).await;
    let states: Vec<ServerState> = rig.entries().iter().map(|entry| entry.state).collect();
    assert!(states.contains(&ServerState::Enabled) && states.contains(&ServerState::Cordoned), "{states:?}");
    assert_eq!(rig.meetings(), ["room"]);
    assert_eq!(rig.cloud.journal.count(Scalelite, "panicServer"), 0);
    rig.host.bbb.end_meeting("room");
    rig.checked(&service).await;
    rig.cloud.journal.reached(Scalelite, "deleteServer", 1).await;
    rig.checked(&service).await;
    registered(&rig);
    assert!(rig.entry().id == kept || states.len() == 2);
    assert_eq!(service.systemd.status(), "registered");
    service.end(&[]).await;
}

#[tokio::test]
async fn tag_and_multiplier_that_somebody_changes_are_set_right() {
    let rig = Rig::bbb().await;
    rig.drop_in("tag", "scalelite.tag = \"big\"\n");
    let mut service = steady(&rig).await;
    rig.cloud.scalelite.set_tag(&rig.entry().id, Some("small"));
    rig.checked(&service).await;
    service.running.said("update the tag of entry", 1).await;
    rig.checked(&service).await;
    assert_eq!(rig.entry().tag.as_deref(), Some("big"));
    assert_eq!(rig.changes_in_scalelite(), ["updateServer"]);
    service.end(&[]).await;
}

#[tokio::test]
async fn a_steady_host_costs_one_call_to_scalelite_a_look_and_nothing_else() {
    let rig = Rig::bbb().await;
    let service = steady(&rig).await;
    let before = rig.state();
    for _ in 0..25 {
        rig.checked(&service).await;
    }
    assert_eq!(rig.calls(Route53), [""; 0]);
    assert_eq!(rig.calls(SecretsManager), [""; 0]);
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    assert_eq!(rig.state(), before);
    assert_eq!(service.systemd.status(), "registered");
    assert_eq!(service.systemd.readies(), 1);
    service.end(&[]).await;
}

#[tokio::test]
async fn sighup_takes_up_a_good_configuration_and_refuses_a_bad_one() {
    let rig = Rig::bbb().await;
    let mut service = steady(&rig).await;
    rig.drop_in("entry", "scalelite.tag = \"big\"\n");
    service.running.signal("HUP").await;
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    service.running.said("SIGHUP: the configuration was read again", 1).await;
    rig.checked(&service).await;
    assert_eq!(rig.entry().tag.as_deref(), Some("big"));
    let told = service.systemd.told();
    let at = told.iter().position(|one| one.starts_with("RELOADING=1\nMONOTONIC_USEC=")).unwrap();
    assert!(told[at..].contains(&"READY=1".to_owned()), "{told:?}");
    let rows = [
        ("scalelite.tag = 1\n", "scalelite.tag"),
        ("scalelite.tags = \"other\"\n", "scalelite.tags"),
        (
            "[scalelite]\ntag = \"other\"\nload_multiplier = -1.0\n",
            "scalelite.load_multiplier: must be above 0",
        ),
        ("scalelite.tag = \"other\n", "entry.toml"),
        (
            "dns.hostname = \"other-{instance}\"\nscalelite.tag = \"other\"\n",
            "dns.name and dns.hostname cannot be",
        ),
        ("dns.domain = \"sub.example.org\"\n", "dns.domain cannot be changed while the host is registered"),
        ("dns.zone_id = \"Z1\"\n", "dns.zone_id cannot be changed"),
        ("scalelite.url = \"https://other.example.org\"\n", "scalelite.url cannot be changed"),
    ];
    for (count, (text, said)) in rows.into_iter().enumerate() {
        rig.drop_in("entry", text);
        service.running.signal("HUP").await;
        service.running.said("SIGHUP: the old configuration stays in use", count + 1).await;
        service.running.said(said, 1).await;
        rig.checked(&service).await;
        assert_eq!(rig.entry().tag.as_deref(), Some("big"), "{text}");
        assert_eq!(service.systemd.status(), "registered");
    }
    let told = service.systemd.told();
    let reloads = told.iter().filter(|one| one.starts_with("RELOADING=1")).count();
    // systemd waits for the end of a reloading that it was told of.
    assert_eq!((reloads, service.systemd.readies()), (rows.len() + 1, rows.len() + 2));
    rig.drop_in("entry", "scalelite.tag = \"bigger\"\n");
    service.running.signal("HUP").await;
    rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
    rig.checked(&service).await;
    assert_eq!(rig.entry().tag.as_deref(), Some("bigger"));
    assert_eq!(rig.calls(Route53), [""; 0]);
    service.end(&[]).await;
}

#[tokio::test]
async fn sighup_changes_how_often_the_metadata_service_is_asked() {
    let rig = Rig::bbb().await;
    rig.drop_in("interval", "checks.metadata = 60\n");
    // A setting on the command line would go before the file.
    let systemd = Systemd::start();
    let mut command = rig.command(&["run", "--set", "sweep.enabled=false"]);
    systemd.starts(&mut command);
    let mut service = Service { running: Running::start(command), systemd };
    service.systemd.shows_exactly("registered").await;
    rig.drop_in("interval", "checks.metadata = 1\n");
    service.running.signal("HUP").await;
    service.running.said("SIGHUP: the configuration was read again", 1).await;
    // Asked now, and then more often than the former interval allows within the patience of a test.
    service.running.signal("USR1").await;
    rig.ticked(5).await;
    service.end(&[]).await;
}

#[tokio::test]
async fn a_host_that_is_out_comes_back_under_its_new_name() {
    let rig = Rig::bbb().await;
    let mut service = steady(&rig).await;
    rig.drop_in("name", "timeouts.bbb = 1\ndns.hostname = \"other-{instance}\"\n");
    service.running.signal("HUP").await;
    service.running.said("dns.name and dns.hostname cannot be changed", 1).await;
    rig.expect(0, &["deregister"]).await;
    assert_eq!((rig.records(), rig.entries()), (vec![], vec![]));
    service.running.signal("HUP").await;
    service.running.said("SIGHUP: the configuration was read again", 1).await;
    // BBB has the old name until it is told the new one.
    rig.expect(7, &["register"]).await.says(&["not of this host"]);
    assert_eq!(rig.records().len(), 3);
    assert!(rig.records().iter().all(|record| record.contains("other-")), "{:?}", rig.records());
    service.end(&[]).await;
}

#[tokio::test]
async fn sighup_before_the_host_is_registered_is_no_readiness() {
    let rig = Rig::bbb().await;
    rig.give_away(OTHER, "192.0.2.7");
    let mut service = rig.service(&PLAIN);
    service.systemd.shows(&["registering the name: ", OTHER]).await;
    // Another name is free.
    rig.drop_in("name", "dns.hostname = \"other-{instance}\"\n");
    service.running.signal("HUP").await;
    service.running.said("SIGHUP: the configuration was read again", 1).await;
    service.systemd.hears("READY=1").await;
    let told = service.systemd.told();
    assert!(!told.iter().any(|one| one.starts_with("RELOADING")), "{told:?}");
}

#[tokio::test]
async fn an_outage_while_serving_changes_nothing_but_words() {
    let rows = ["Scalelite gone", "Scalelite broken", "Secrets Manager away", "BBB away"];
    at_once(rows, async |what| {
        let rig = Rig::bbb().await;
        let mut service = steady(&rig).await;
        rig.meet("room");
        let before = rig.state();
        let cause = match what {
            "Scalelite gone" => {
                // Connections that are open end too.
                rig.fault(Scalelite, "", Fault::Close, None);
                rig.cloud.close(Scalelite).await;
                "Scalelite entry "
            }
            "Scalelite broken" => {
                rig.cloud.scalelite.set_recordings_only(true);
                "404"
            }
            "Secrets Manager away" => {
                rig.refuse(Scalelite, "", 200, "checksumError", None);
                rig.cloud.aws.deny("secretsmanager:GetSecretValue");
                "AccessDenied"
            }
            _ => {
                rig.cloud.close(Bbb).await;
                "connection refused"
            }
        };
        rig.until(&service, service.systemd.shows(&["registered: ", cause])).await;
        assert_eq!(rig.state()["records"], before["records"], "{what}");
        assert_eq!(rig.state()["scalelite"], before["scalelite"], "{what}");
        assert_eq!(rig.calls(Route53), [""; 0], "{what}");
        assert_eq!(rig.meetings(), ["room"], "{what}");
        rig.heal();
        match what {
            "Scalelite gone" => rig.cloud.open(Scalelite).await,
            "Scalelite broken" => rig.cloud.scalelite.set_recordings_only(false),
            "Secrets Manager away" => rig.cloud.aws.allow("secretsmanager:GetSecretValue"),
            "BBB away" => rig.cloud.open(Bbb).await,
            _ => {}
        }
        rig.until(&service, service.systemd.shows_exactly("registered")).await;
        assert!(service.running.goes_on());
        registered(&rig);
        assert_eq!(rig.calls(Route53), [""; 0], "{what}");
        assert_eq!(service.systemd.readies(), 1, "{what}");
        assert_eq!(rig.meetings(), ["room"], "{what}");
        service.restart(UNIT).await;
    })
    .await;
}
