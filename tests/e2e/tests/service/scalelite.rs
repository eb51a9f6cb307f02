//! Scalelite as it really is: a poller that undoes what a call did, polls that do not come, ids that are host names,
//! checksums that are refused, refusals that last.

use std::time::Duration;

use e2e::{Rig, Service, at_once};
use sandbox::bbb::checksum::Algorithm;
use sandbox::cloud::Options;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Bbb, Scalelite, SecretsManager};
use sandbox::scalelite::{ServerIds, ServerState};

const PLAIN: [&str; 1] = ["protection.enabled=false"];
const REBOOT: [&str; 1] = ["reboot.target start"];
const SECRET: &str = "sandbox-bbb-secret";

/// The host boots again: what is in /run is gone.
async fn boots(rig: &Rig) -> Service {
    std::fs::remove_dir_all(rig.agent.directory()).unwrap();
    rig.service(&PLAIN)
}

// ---- reboots

#[tokio::test]
async fn a_reboot_in_the_middle_of_a_poll_leaves_no_host_that_gets_meetings() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&PLAIN).await;
    rig.cloud.scalelite.poll().await;
    rig.meet("room");
    rig.cloud.scalelite.set_tag(&rig.entry().id, Some("big"));
    rig.cloud.scalelite.poll_begin().await;
    rig.cloud.journal.clear();
    let run = service.end(&REBOOT).await;
    assert_eq!(run.code, 0, "{run}");
    assert!(rig.cloud.scalelite.poll_end().await);
    assert_eq!(rig.changes_in_scalelite(), ["updateServer", "panicServer", "deleteServer"]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert_eq!(rig.records(), rig.registered_now(), "the name stays");
    let placed = rig.cloud.scalelite.create_meeting("next").await;
    assert_eq!(placed.unwrap_err().message, "Could not find any available servers.");

    let service = boots(&rig).await;
    service.systemd.shows_exactly("registered").await;
    let entry = rig.entry();
    assert_eq!((entry.state, entry.tag.as_deref()), (ServerState::Enabled, Some("big")));
    // The note was for this boot: whoever deletes the entry later gets a new one.
    rig.cloud.scalelite.delete_server(&entry.id);
    rig.checked(&service).await;
    rig.cloud.journal.reached(Scalelite, "addServer", 2).await;
    rig.checked(&service).await;
    assert_eq!(rig.entry().tag.unwrap_or_default(), "");
    service.end(&[]).await;
}

#[tokio::test]
async fn a_multiplier_comes_back_after_a_reboot_and_settings_come_before_it() {
    at_once([(false, 2.5), (true, 0.5)], async |(configured, after)| {
        let rig = Rig::bbb().await;
        rig.expect(0, &["register", "--set", "scalelite.load_multiplier=2.5"]).await;
        let service = rig.serving(&PLAIN).await;
        service.end(&REBOOT).await;
        if configured {
            rig.drop_in("entry", "[scalelite]\nload_multiplier = 0.5\n");
        }
        let service = boots(&rig).await;
        service.systemd.shows_exactly("registered").await;
        assert!((rig.entry().load_multiplier - after).abs() < 1e-9, "{:?}", rig.entry());
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn what_an_operator_had_cordoned_or_disabled_stays_so_over_a_reboot() {
    at_once([ServerState::Cordoned, ServerState::Disabled], async |state| {
        let rig = Rig::bbb().await;
        let mut service = rig.serving(&PLAIN).await;
        // An entry that is disabled right after it was enabled counts as a poll's work.
        for set in [ServerState::Cordoned, state] {
            rig.cloud.scalelite.set_state(&rig.entry().id, set);
            rig.checked(&service).await;
            service.comes_to("cordoned", 1).await;
        }
        service.end(&REBOOT).await;
        assert_eq!(rig.cloud.scalelite.servers(), []);

        let mut service = boots(&rig).await;
        service.comes_to("cordoned", 1).await;
        assert_eq!(rig.entry().state, ServerState::Disabled, "{state:?}: added, and not enabled");
        let words = rig.words().await;
        assert!(words.contains("an operator has disabled its entry"), "{words}");
        rig.expect(0, &["register"]).await;
        assert_eq!(rig.entry().state, ServerState::Enabled, "{state:?}");
        service.end(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_note_of_another_instance_says_nothing() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&PLAIN).await;
    rig.cloud.scalelite.set_tag(&rig.entry().id, Some("big"));
    service.end(&REBOOT).await;
    // An image of the host that has rebooted becomes another host.
    let image = rig.beside(2).await;
    let state = |rig: &Rig| rig.host.root.join("var/lib/bbb-agent/entry");
    std::fs::copy(state(&rig), state(&image)).unwrap();
    let service = image.serving(&PLAIN).await;
    assert_eq!(image.entry().tag.unwrap_or_default(), "");
    service.end(&[]).await;
}

// ---- stops that cordon

#[tokio::test]
async fn a_stop_that_cordons_does_not_lose_the_cordon_to_a_poll() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&["protection.enabled=false", "service.on_stop=cordon"]).await;
    rig.cloud.scalelite.poll().await;
    rig.meet("room");
    let (cloud, host) = (rig.cloud.clone(), rig.host.clone());
    rig.cloud.scalelite.poll_begin().await;
    rig.cloud.journal.clear();
    let ended = tokio::spawn(async move { service.end(&[]).await });
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
    assert!(cloud.scalelite.poll_end().await);
    assert!(rig.entry().in_placement, "the race is there");
    rig.counted(1).await;
    cloud.scalelite.create_meeting("late").await.unwrap();
    let run = ended.await.unwrap();
    assert_eq!(run.code, 0, "{run}");
    let entry = rig.entry();
    assert_eq!((entry.state, entry.in_placement), (ServerState::Cordoned, false), "{run}");
    let mut meetings: Vec<_> = host.bbb.snapshot().meetings.into_iter().map(|meeting| meeting.id).collect();
    meetings.sort();
    assert_eq!(meetings, ["late", "room"], "no meeting has ended");
}

// ---- polls that do not come

#[tokio::test]
async fn a_host_that_no_poll_reaches_says_so_and_is_not_registered() {
    let rig = Rig::start(Options::with_tls().polled_by_hand()).await;
    let mut service = rig.service(&PLAIN);
    service.systemd.shows_exactly("registered; waiting for a poll of Scalelite's (every 5 s)").await;
    rig.expect(0, &["status"]).await.says(&["before Scalelite's next poll (every 5 s)"]);
    service.comes_to("offline", 1).await;
    service
        .systemd
        .shows(&["offline: ", "three polls of Scalelite's in a row have not reached this host", "port 443"])
        .await;
    rig.expect(4, &["status"]).await.says(&["offline in Scalelite: its polls (every 5 s) do not reach"]);
    rig.cloud.scalelite.poll().await;
    service.systemd.shows_exactly("registered").await;
    service.comes_to("serving", 2).await;
    rig.expect(0, &["status"]).await;
    service.end(&[]).await;
}

// ---- ids that are host names

#[tokio::test]
async fn an_old_entry_whose_id_is_the_hosts_name_is_replaced_when_its_meetings_have_ended() {
    let mut options = Options::with_tls();
    options.scalelite.ids = ServerIds::Hostname;
    let rig = Rig::start(options).await;
    let old = rig.host.scalelite_entry_url().replacen("https://", "http://", 1);
    let id = rig.cloud.scalelite.add_server(&old, SECRET, ServerState::Enabled);
    rig.host.bbb.start_meeting("room", 3);
    rig.cloud.scalelite.map_meeting("room", &id);
    let service = rig.service(&PLAIN);
    service.systemd.shows(&["SERVER_ID_IS_HOSTNAME", "when the meetings of the old one have ended"]).await;
    rig.counted(2).await;
    assert_eq!(rig.changes_in_scalelite(), ["updateServer"], "it is cordoned, and nothing is added in vain");
    assert_eq!(rig.meetings(), ["room"]);
    rig.host.bbb.end_meeting("room");
    rig.until(&service, service.systemd.shows_exactly("registered")).await;
    assert_eq!((rig.entry().id, rig.entry().state), (id, ServerState::Enabled));
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
    service.end(&[]).await;
}

// ---- checksums

#[tokio::test]
async fn a_scalelite_that_takes_other_checksums_is_joined_and_left() {
    let rows = [(Algorithm::Sha512, "SHA-512"), (Algorithm::Sha1, "SHA-1")];
    at_once(rows, async |(algorithm, name)| {
        let mut options = Options::with_tls();
        options.scalelite.algorithms = vec![algorithm];
        let rig = Rig::start(options).await;
        let service = rig.serving(&PLAIN).await;
        let refused = rig.cloud.journal.count(Scalelite, "getServers");
        assert_eq!(rig.entry().state, ServerState::Enabled);
        rig.checked(&service).await;
        let said = service.running.complaints();
        let line = format!("takes {name} checksums and refuses SHA-256");
        assert_eq!(said.matches(&line).count(), 1, "{said}");
        let asked = rig.cloud.journal.count(Scalelite, "getServers");
        assert_eq!(asked, refused + 1, "it is remembered");
        service.end(&[]).await;
        rig.is_gone();
    })
    .await;
}

// ---- refusals that last

#[tokio::test]
async fn a_wrong_secret_does_not_hold_a_power_off() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&PLAIN).await;
    rig.refuse(Scalelite, "", 200, "checksumError", None);
    rig.cloud.journal.clear();
    let run = service.end(&["poweroff.target start"]).await;
    assert_ne!(run.code, 0, "{run}");
    run.says(&["checksumError", "LOADBALANCER_SECRET"]);
    // One more try, with a secret that was read anew; each try has three algorithms.
    assert_eq!(rig.calls(Scalelite), ["getServerInfo"; 6], "{run}");
    assert_eq!(rig.calls(SecretsManager), ["GetSecretValue"], "{run}");
    assert_eq!(rig.records(), [""; 0], "the name is given up all the same");
}

// ---- a BBB that hangs

/// A host with two meetings, whose BBB accepts that they are ended and never answers. Scalelite waits for it twice
/// this time for each meeting, in seconds.
async fn hanging(response: u64, settings: &[&str]) -> (Rig, Service) {
    let mut options = Options::with_tls();
    options.scalelite.limits.response = Duration::from_secs(response);
    let rig = Rig::start(options).await;
    let service = rig.serving(&[&PLAIN, settings].concat()).await;
    rig.meet("one");
    rig.meet("two");
    rig.fault(Bbb, "end", Fault::Hang, None);
    (rig, service)
}

#[tokio::test]
async fn meetings_that_bbb_does_not_end_are_waited_for_one_after_the_other() {
    let (rig, service) = hanging(1, &[]).await;
    let run = service.end(&["poweroff.target start"]).await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert!(rig.cloud.scalelite.meetings().is_empty(), "nobody is sent here any more");
}

#[tokio::test]
async fn what_is_left_of_a_host_whose_bbb_hangs_is_said_exactly() {
    let (rig, service) = hanging(600, &["timeouts.deregister=5"]).await;
    let run = service.end(&["poweroff.target start"]).await;
    assert_ne!(run.code, 0, "{run}");
    let id = rig.entry().id;
    run.says(&[&format!(
        "entry {id} is disabled, and Scalelite has forgotten 0 meetings of it, but may have more"
    )]);
    run.says(&["because BBB does not answer it", "the sweep of another host goes on"]);
    assert_eq!(rig.entry().state, ServerState::Disabled);
    assert_eq!(rig.records(), [""; 0], "the name is given up all the same");
}

// ---- what it costs

#[tokio::test]
async fn a_host_in_steady_state_does_not_list_the_pool() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&["protection.enabled=false", "checks.scalelite=5"]).await;
    rig.cloud.journal.reached(Scalelite, "getServerInfo", 4).await;
    assert_eq!(rig.cloud.journal.count(Scalelite, "getServers"), 1, "at the join");
    // One that is not there any more is looked for in the whole pool, and added again.
    let lost = rig.entry().id;
    rig.cloud.scalelite.delete_server(&lost);
    rig.cloud.journal.reached(Scalelite, "addServer", 2).await;
    service.systemd.shows_exactly("registered").await;
    assert_ne!(rig.entry().id, lost);
    service.end(&[]).await;
}
