//! BBB tells its clients the TURN servers of a fleet, with a secret that changes: the file follows it, and BBB is restarted
//! for that only while nobody meets.

use e2e::{Repairer, Rig};
use sandbox::scalelite::ServerState;

const FILE: &str = "etc/bigbluebutton/turn-stun-servers.xml";
const FIRST: &str = "first-secret-of-coturn";
const SECOND: &str = "second&secret<of>coturn";
/// A text that coturn cannot have for a secret.
const NONE: &str = "two words";
const OFTEN: [&str; 3] = ["checks.name=5", "checks.work=1", "protection.enabled=false"];
const OTHER: &str =
    "BBB does not tell its clients the TURN servers of bbb.turn_server with their present secret";

/// A host with another one beside it, whose BBB was installed with a coturn of its own.
async fn installed() -> (Rig, Repairer) {
    let (rig, repairer) = alone().await;
    rig.neighbour();
    (rig, repairer)
}

/// The same without another one.
async fn alone() -> (Rig, Repairer) {
    let rig = Rig::bbb().await;
    rig.announces("203.0.113.10");
    let file = rig.host.root.join(FILE);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "<beans/>\n").unwrap();
    let repairer = rig.repairer();
    share(&rig, FIRST);
    rig.drop_in(
        "turn",
        "[bbb]\nturn_server = \"turn.example.org\"\nturn_secret = \"secretsmanager:Turn#key\"\n",
    );
    (rig, repairer)
}

fn share(rig: &Rig, secret: &str) {
    rig.cloud.secrets.put("Turn", &serde_json::json!({ "key": secret }).to_string());
}

fn told(rig: &Rig) -> String {
    std::fs::read_to_string(rig.host.root.join(FILE)).unwrap()
}

#[tokio::test]
async fn bbb_tells_its_clients_the_turn_servers_of_the_fleet() {
    let (rig, repairer) = installed().await;
    let service = rig.service(&OFTEN);
    service.systemd.shows_exactly("registered").await;
    let file = told(&rig);
    assert!(
        file.contains(&format!("value=\"{FIRST}\"")) && file.contains("turn:turn.example.org:3478"),
        "{file}"
    );
    assert_eq!(repairer.restarts(), [[""; 0]]);
    rig.expect(0, &["check"]).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    let run = service.end(&[]).await;
    run.says(&["BBB tells its clients the TURN servers at turn.example.org, with their present secret"]);
    assert!(!run.to_string().contains(FIRST), "{run}");
}

#[tokio::test]
async fn a_changed_secret_waits_for_the_meetings_and_ends_none() {
    let (rig, repairer) = installed().await;
    let service = rig.service(&OFTEN);
    service.systemd.shows_exactly("registered").await;
    rig.meet("lesson");
    rig.counted(2).await;
    share(&rig, SECOND);
    service.running.signal("USR1").await;
    service.systemd.shows(&["registered; ", OTHER, "setting it right waits for 1 meeting"]).await;
    // It goes on to take meetings.
    assert_eq!(rig.entry().state, ServerState::Enabled);
    rig.expect(4, &["status"]).await.says(&[OTHER]);
    rig.expect(1, &["check"]).await.says(&[OTHER]);
    assert_eq!((repairer.restarts().len(), rig.meetings()), (1, vec!["lesson".to_owned()]));
    rig.cloud.journal.clear();
    rig.host.bbb.end_meeting("lesson");
    service.systemd.shows_exactly("registered").await;
    assert!(told(&rig).contains("value=\"second&amp;secret&lt;of&gt;coturn\""), "{}", told(&rig));
    assert_eq!(repairer.restarts(), [[""; 0], [""; 0]], "meetings at each restart");
    assert_eq!(rig.changes_in_scalelite(), ["updateServer", "updateServer"], "cordoned, and enabled again");
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

/// All hosts of a fleet find the new secret within the hour. The last one that takes meetings goes on to do so.
#[tokio::test]
async fn the_last_host_that_takes_meetings_stays() {
    let (rig, repairer) = alone().await;
    // It joins before it knows the secret.
    share(&rig, NONE);
    let service = rig.service(&OFTEN);
    service.systemd.shows_exactly("registered").await;
    share(&rig, FIRST);
    service.running.signal("USR1").await;
    service.systemd.shows(&["registered; ", OTHER, "waits until another host takes meetings"]).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(repairer.restarts().len(), 0);
}

/// What cannot be written keeps no host out: most people need no TURN server.
#[tokio::test]
async fn a_file_that_cannot_be_written_keeps_no_host_out() {
    let (rig, repairer) = installed().await;
    let file = rig.host.root.join(FILE);
    std::fs::hard_link(&file, file.with_extension("second")).unwrap();
    let service = rig.service(&OFTEN);
    service.systemd.shows(&["registered; ", OTHER, "setting it right has failed", "hard links"]).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(repairer.restarts().len(), 0);
}

/// The installer makes the file late, or never.
#[tokio::test]
async fn a_file_that_does_not_exist_is_waited_for() {
    let (rig, repairer) = installed().await;
    let file = rig.host.root.join(FILE);
    std::fs::remove_file(&file).unwrap();
    let service = rig.service(&OFTEN);
    service.systemd.shows_exactly("registered").await;
    rig.expect(5, &["status"]).await.says(&["turn-stun-servers.xml does not exist; copy BBB's own there"]);
    std::fs::write(&file, "<beans/>\n").unwrap();
    repairer.restarted(1).await;
    service.systemd.shows_exactly("registered").await;
    assert!(told(&rig).contains(FIRST), "{}", told(&rig));
}

/// A secret that cannot be read is no reason to change anything.
#[tokio::test]
async fn a_secret_that_is_not_known_changes_nothing() {
    let (rig, repairer) = installed().await;
    let service = rig.service(&OFTEN);
    service.systemd.shows_exactly("registered").await;
    let before = told(&rig);
    share(&rig, NONE);
    service.running.signal("USR1").await;
    rig.counted(2).await;
    let run = rig.expect(5, &["status"]).await;
    run.says(&["what BBB announces is not known", "bbb.turn_secret: secretsmanager:Turn#key cannot be used"]);
    assert!(!run.to_string().contains(NONE), "{run}");
    assert_eq!((told(&rig), repairer.restarts().len()), (before, 1));
    assert_eq!(rig.entry().state, ServerState::Enabled);
}
