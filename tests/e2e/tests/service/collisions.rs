//! Two hosts were given one name: the one that came late does not get it, and leaves alone what goes by it in Scalelite,
//! where the meetings of the other one run.

use e2e::{Rig, Service, at_once};
use sandbox::http::ServiceName::{Route53, Scalelite};
use sandbox::route53::RecordType;
use sandbox::scalelite::ServerState;

const OTHER: &str = "i-0fedcba9876543210";
const UNTOUCHED: &str = "was left untouched: the name is not this host's: it belongs to i-0fedcba9876543210";

/// A service whose name is another host's, with that host's entry in Scalelite and a meeting on it.
async fn late(settings: &[&str]) -> (Rig, Service) {
    let rig = Rig::bbb().await;
    rig.give_away(OTHER, "192.0.2.7");
    let entry = rig.cloud.scalelite.add_server(
        &format!("https://{}/bigbluebutton/api", rig.fqdn()),
        "the other's",
        ServerState::Enabled,
    );
    rig.cloud.scalelite.map_meeting("room", &entry);
    let service = rig.service(settings);
    service.systemd.shows(&["registering the name: ", "it belongs to i-0fedcba9876543210"]).await;
    (rig, service)
}

fn changes(rig: &Rig) -> Vec<String> {
    rig.changes_in_scalelite()
}

#[tokio::test]
async fn whatever_ends_the_late_host_the_other_ones_entry_stays() {
    let rows: [(&[&str], &[&str]); 4] = [
        (&["poweroff.target start"], &[]),
        (&["reboot.target start"], &[]),
        (&[], &[]),
        (&[], &["service.on_stop=cordon"]),
    ];
    at_once(rows, async |(jobs, settings)| {
        let (rig, service) = late(settings).await;
        let before = rig.state();
        let run = service.end(jobs).await;
        assert_eq!(run.code, 0, "{jobs:?}, {settings:?}: {run}");
        run.says(&[UNTOUCHED]);
        assert_eq!(rig.state(), before, "{jobs:?}, {settings:?}");
        assert_eq!(changes(&rig), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn orders_by_hand_leave_it_alone_too() {
    let (rig, service) = late(&[]).await;
    let before = rig.state();
    rig.expect(0, &["drain"]).await;
    rig.ticked(2).await;
    let run = rig.expect(0, &["deregister"]).await;
    run.says(&[UNTOUCHED, "dns: ", "taken out by hand"]);
    assert_eq!(rig.state(), before);
    assert_eq!(changes(&rig), [""; 0]);
    service.end(&["poweroff.target start"]).await;
    assert_eq!(changes(&rig), [""; 0]);
}

#[tokio::test]
async fn a_name_that_becomes_free_is_taken_and_then_all_is_undone() {
    let (rig, service) = late(&[]).await;
    let ids: Vec<String> = rig.entries().into_iter().map(|entry| entry.id).collect();
    ids.iter().for_each(|id| rig.cloud.scalelite.delete_server(id));
    for (kind, name) in [(RecordType::A, rig.fqdn()), (RecordType::Txt, rig.ownership())] {
        assert!(rig.cloud.route53.remove(&rig.cloud.zone_id, &name, kind, None));
    }
    rig.until(&service, service.systemd.shows_exactly("registered")).await;
    rig.cloud.journal.clear();
    service.end(&["poweroff.target start"]).await;
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"], "whose name it is was known");
    assert!(!rig.calls(Scalelite).is_empty());
}
