//! A host that was made from an image, in which BBB was installed under another name: it becomes itself, and joins.

use e2e::Rig;
use sandbox::scalelite::ServerState;
use serde_json::Value;

/// The name of an image that was made for no host.
const IMAGE: &str = "bbb-image.invalid";
const OFTEN: [&str; 3] = ["checks.name=5", "checks.work=1", "protection.enabled=false"];

async fn from_image(name: &str) -> (Rig, &'static str) {
    let rig = Rig::bbb().await;
    rig.neighbour();
    let secret = rig.is_from_image(name);
    (rig, secret)
}

/// Waits until the service has looked at its name twice more.
async fn looked(rig: &Rig) {
    let ownership = rig.ownership();
    let looks = rig.cloud.dns.asked(&ownership);
    rig.cloud.dns.reached(&ownership, looks + 2 * rig.cloud.dns.addresses().len()).await;
}

fn text(rig: &Rig, path: &str) -> String {
    std::fs::read_to_string(rig.host.root.join(path)).unwrap()
}

#[tokio::test]
async fn a_host_from_an_image_becomes_itself_and_joins() {
    let (rig, secret) = from_image(IMAGE).await;
    let repairer = rig.repairer();
    let service = rig.service(&OFTEN);
    service.systemd.shows_exactly("registered").await;
    let entry = rig.entry();
    let name = rig.fqdn();
    assert_eq!((entry.state, entry.url.contains(&name)), (ServerState::Enabled, true), "{entry:?}");
    let own = entry.secret.expose();
    assert!(own != secret && own.len() == 64, "all hosts of the image would share it");
    assert_eq!(repairer.restarts(), [[""; 0]]);
    let nginx = text(&rig, "etc/nginx/sites-available/bigbluebutton");
    assert_eq!(nginx.matches(&format!("server_name {name};")).count(), 2, "{nginx}");
    let run = service.end(&[]).await;
    run.says(&["/etc/turnserver.conf: the host has a secret of its own now (coturn)"]);
    assert!([secret, own].iter().all(|secret| !run.to_string().contains(secret)), "{run}");
}

/// Without the setting it stays out, and says what would help.
#[tokio::test]
async fn a_host_from_an_image_that_may_not_become_itself_stays_out() {
    let (rig, _) = from_image(IMAGE).await;
    let service = rig.service(&OFTEN);
    let words = "BBB still has the name bbb-image.invalid of the image from which this host was made";
    service.systemd.shows(&["not joining Scalelite", words, "set bbb.addresses to \"repair\""]).await;
    let status: Value = rig.status(3).await;
    assert_eq!(status["bbb"]["addresses"]["error"], words);
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    assert!(text(&rig, "etc/bigbluebutton/bbb-web.properties").contains(IMAGE));
}

/// People may know a host by a name that an operator has given its BBB.
#[tokio::test]
async fn a_name_that_an_operator_has_chosen_stays() {
    let (rig, _) = from_image("meet.example.com").await;
    let repairer = rig.repairer();
    let service = rig.service(&OFTEN);
    service.systemd.shows(&["settings are those of https://meet.example.com", "not of this host"]).await;
    looked(&rig).await;
    assert_eq!(repairer.restarts().len(), 0);
    assert!(text(&rig, "etc/bigbluebutton/bbb-web.properties").contains("https://meet.example.com"));
}

/// An image of another instance of the fleet. Its name leads to people, and nobody can say whether they are here, because
/// BBB's certificate is not that name's: so its programs are not restarted.
#[tokio::test]
async fn a_change_of_name_waits_for_meetings_that_are_not_known() {
    let rig = Rig::bbb().await;
    rig.neighbour();
    let name = format!("vc-0bbbbbbbbbbbbbbbb.{}", rig.cloud.zone_name);
    rig.is_from_image(&name);
    let repairer = rig.repairer();
    let service = rig.service(&OFTEN);
    let words = format!("BBB still has the name {name} of the image");
    service.systemd.shows(&[&words, "setting it right waits for what is not known", "certificate"]).await;
    looked(&rig).await;
    assert_eq!(repairer.restarts().len(), 0);
    assert!(text(&rig, "etc/bigbluebutton/bbb-web.properties").contains(&name));
}
