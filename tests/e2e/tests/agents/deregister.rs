//! `deregister`: what it removes, what it leaves alone, in which order, and what that costs.

use e2e::{Rig, label};
use sandbox::dns::Propagation;
use sandbox::http::ServiceName::{Ec2, Route53, Scalelite};
use sandbox::route53::RecordType;
use sandbox::scalelite::ServerState;

async fn registered() -> Rig {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    rig.cloud.journal.clear();
    rig
}

#[tokio::test]
async fn the_host_leaves_scalelite_first_then_gives_up_its_name() {
    let rig = registered().await;
    let run = rig.expect(0, &["deregister"]).await;
    run.says(&["removed: disable entry", "(panic)", &format!("dns: {} removed", rig.fqdn())]);
    assert_eq!(
        rig.calls(Scalelite),
        ["getServers", "updateServer", "panicServer", "deleteServer", "getServerInfo"]
    );
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    assert_eq!(rig.batches()[1..], [["DELETE A", "DELETE AAAA", "DELETE TXT"]]);
    assert_eq!(rig.calls(Ec2), [""; 0], "the address is the host's own: nobody needs to be asked");
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.cloud.scalelite.servers(), []);

    let entries = rig.cloud.journal.entries();
    let last_of_scalelite = entries.iter().rposition(|entry| entry.service == Scalelite).unwrap();
    let change = entries.iter().position(|entry| entry.service == Route53).unwrap();
    assert!(last_of_scalelite < change);
}

#[tokio::test]
async fn deregister_twice_the_second_does_nothing_and_says_so() {
    let rig = registered().await;
    rig.expect(0, &["deregister"]).await;
    let before = rig.state();
    let run = rig.expect(0, &["deregister"]).await;
    run.says(&[
        "is not there, nothing to do",
        &format!("dns: {} is not there, nothing to do (Route 53 calls: 1)", rig.fqdn()),
    ]);
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn a_host_that_never_registered_has_nothing_to_undo() {
    let rig = Rig::without_bbb().await;
    let before = rig.state();
    rig.expect(0, &["deregister"]).await.says(&["is not there, nothing to do"]);
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn the_record_holds_another_hosts_address_and_stays_untouched() {
    let rig = registered().await;
    rig.beside(2).await;
    rig.put(RecordType::A, &rig.fqdn(), &["198.51.100.2"]);
    let records = rig.records();
    let run = rig.expect(6, &["deregister"]).await;
    run.says(&["was left untouched", "it holds 198.51.100.2"]);
    assert_eq!(rig.records(), records);
    assert_eq!(rig.cloud.scalelite.servers(), [], "the host itself leaves Scalelite all the same");
    assert!(!rig.calls(Route53).contains(&"ChangeResourceRecordSets".to_owned()));
}

#[tokio::test]
async fn an_address_that_nobody_has_any_more_goes_with_the_record() {
    let rig = registered().await;
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 99].into())).unwrap();
    rig.expect(0, &["deregister"]).await;
    assert!(!rig.calls(Ec2).is_empty(), "the old address: does anybody have it now?");
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn who_has_the_address_cannot_be_found_out_so_the_record_stays() {
    let rig = registered().await;
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 99].into())).unwrap();
    rig.cloud.aws.deny("ec2:DescribeInstances");
    let records = rig.records();
    rig.expect(6, &["deregister"]).await.says(&["it holds 203.0.113.10", "may be another's"]);
    assert_eq!(rig.records(), records);
}

#[tokio::test]
async fn a_name_of_another_instance_is_left_untouched() {
    let rig = registered().await;
    rig.give_away("i-0fedcba9876543210", "192.0.2.7");
    let before = rig.state();
    let run = rig.expect(0, &["deregister"]).await;
    run.says(&["dns: ", "was left untouched: it belongs to i-0fedcba9876543210 in eu-central-1"]);
    // Whoever follows the name to Scalelite's entry comes to the other one.
    run.says(&["scalelite: the entry of ", "was left untouched: the name is not this host's: it belongs to"]);
    rig.expect(0, &["deregister", "--only", "scalelite"]).await.says(&["scalelite: the entry of "]);
    rig.expect(0, &["deregister", "--dry-run"]).await.says(&["scalelite: the entry of "]);
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn an_old_answer_of_dns_does_not_keep_a_host_in_scalelite() {
    let rig = registered().await;
    // What Route 53's servers still say of the host that had the name before.
    let (a, txt) = (rig.fqdn(), rig.ownership());
    rig.give_away("i-0fedcba9876543210", "192.0.2.7");
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    rig.put(RecordType::A, &a, &["203.0.113.10"]);
    rig.put(RecordType::Txt, &txt, &[&label("bbb", "i-0123456789abcdef0", "1767225600")]);
    rig.expect(0, &["deregister"]).await.says(&["scalelite: ", " removed: "]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
}

#[tokio::test]
async fn records_without_an_ownership_txt_are_left_untouched() {
    let rig = registered().await;
    assert!(rig.cloud.route53.remove(&rig.cloud.zone_id, &rig.ownership(), RecordType::Txt, None));
    let records = rig.records();
    rig.expect(0, &["deregister"]).await.says(&["was left untouched: it has no ownership TXT"]);
    assert_eq!(rig.records(), records);
}

#[tokio::test]
async fn right_after_register_while_no_server_knows_the_record_it_is_deleted_all_the_same() {
    let rig = Rig::bbb().await;
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.records(), rig.registered_now());
    rig.expect(0, &["deregister"]).await.says(&["removed"]);
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn panic_answers_400_three_times_and_goes_on_until_200_then_deletes() {
    let rig = registered().await;
    let id = rig.entry().id;
    for number in 0..5 {
        rig.cloud.scalelite.map_meeting(&format!("room {number}"), &id);
    }
    rig.cloud.scalelite.refuse_panics(3);
    rig.expect(0, &["deregister"]).await;
    let calls = rig.calls(Scalelite);
    let panics: Vec<Option<u16>> = statuses(&rig, "panicServer");
    let (last, before) = panics.split_last().unwrap();
    assert_eq!(*last, Some(200));
    assert!(before.len() >= 3 && before.iter().all(|status| *status == Some(400)), "{panics:?}");
    assert_eq!(calls[..2], ["getServers", "updateServer"]);
    assert!(calls[2..2 + panics.len()].iter().all(|call| call == "panicServer"), "{calls:?}");
    assert_eq!(calls[2 + panics.len()..], ["deleteServer", "getServerInfo"]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert!(rig.cloud.scalelite.meetings().is_empty(), "no room is left stuck on a server that is gone");
}

fn statuses(rig: &Rig, action: &str) -> Vec<Option<u16>> {
    let entries = rig.cloud.journal.entries().into_iter();
    entries.filter(|entry| entry.action == action).map(|entry| entry.status).collect()
}

#[tokio::test]
async fn running_meetings_are_ended_and_their_rooms_can_be_opened_elsewhere() {
    let rig = registered().await;
    let other = rig.beside(2).await;
    other.expect(0, &["register"]).await;
    rig.cloud.scalelite.poll().await;
    rig.cloud.scalelite.set_state(&other.entry().id, ServerState::Cordoned);
    rig.cloud.scalelite.create_meeting("room").await.unwrap();
    assert!(rig.host.bbb.meeting("room").is_some());
    rig.cloud.scalelite.set_state(&other.entry().id, ServerState::Enabled);

    rig.expect(0, &["deregister"]).await;
    assert!(rig.host.bbb.meeting("room").is_none());
    rig.cloud.scalelite.poll().await;
    rig.cloud.scalelite.create_meeting("room").await.unwrap();
    assert!(other.host.bbb.meeting("room").is_some());
    assert_eq!(other.entry().state, ServerState::Enabled, "nobody else's entry was touched");
}

#[tokio::test]
async fn a_disable_that_lands_during_a_poll_holds() {
    let rig = registered().await;
    rig.cloud.scalelite.poll_begin().await;
    rig.expect(0, &["deregister"]).await;
    assert!(rig.cloud.scalelite.poll_end().await);
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert!(
        rig.cloud.scalelite.create_meeting("room").await.is_err(),
        "nothing is placed on a host that left"
    );
}

#[tokio::test]
async fn scalelite_is_away_and_the_name_is_given_up_all_the_same() {
    let rig = registered().await;
    rig.cloud.close(Scalelite).await;
    let run = rig.expect(8, &["deregister", "--set", "timeouts.deregister=10"]).await;
    run.says(&["Scalelite entry", "gave up waiting", &format!("dns: {} removed", rig.fqdn())]);
    assert_eq!(rig.records(), [""; 0]);

    rig.cloud.open(Scalelite).await;
    rig.expect(0, &["deregister"]).await;
    assert_eq!(rig.cloud.scalelite.servers(), []);
}

#[tokio::test]
async fn wait_returns_once_no_server_answers_with_it() {
    let rig = registered().await;
    rig.cloud.dns.set_propagation(1, Propagation::Held);
    let mut running = rig.begin(&["deregister", "--wait"]);
    rig.cloud.journal.reached(Route53, "Change", 1).await;
    rig.looked_at().await;
    assert!(running.goes_on(), "the second server still has it");
    rig.cloud.dns.release(1);
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["is gone everywhere"]);
}

#[tokio::test]
async fn only_one_half() {
    let rig = registered().await;
    rig.expect(0, &["deregister", "--only", "scalelite"]).await;
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert_eq!(rig.records(), rig.registered_now());
    rig.expect(0, &["register"]).await;
    rig.expect(0, &["deregister", "--only", "dns"]).await;
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

#[tokio::test]
async fn a_dry_run_shows_everything_and_changes_nothing() {
    let rig = registered().await;
    let (before, id) = (rig.state(), rig.entry().id);
    let run = rig.expect(0, &["deregister", "--dry-run"]).await;
    run.says(&[
        &format!("would Scalelite: disable entry {id}"),
        &format!("would Scalelite: end the meetings of entry {id} (panic)"),
        &format!("would Scalelite: delete entry {id}"),
        "would Route 53: DELETE A",
        "DELETE TXT",
    ]);
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn every_entry_of_the_host_goes_and_no_other() {
    let rig = registered().await;
    let url = rig.host.scalelite_entry_url();
    rig.cloud.scalelite.add_server(&url, "old", ServerState::Cordoned);
    rig.cloud.scalelite.add_server(&url.to_uppercase().replace("HTTPS", "http"), "x", ServerState::Enabled);
    let other = rig.cloud.scalelite.add_server(
        "https://other.example.org/bigbluebutton/api",
        "x",
        ServerState::Enabled,
    );
    rig.expect(0, &["deregister"]).await;
    let left: Vec<(String, ServerState)> =
        rig.cloud.scalelite.servers().into_iter().map(|server| (server.id, server.state)).collect();
    assert_eq!(left, [(other, ServerState::Enabled)], "whatever leads to the host's name is the host's");
}

#[tokio::test]
async fn bbb_was_purged_before() {
    let rig = Rig::without_bbb().await;
    let name = rig.fqdn();
    rig.cloud.scalelite.add_server(
        &format!("https://{name}/bigbluebutton/api"),
        "the secret of the BBB that was here",
        ServerState::Enabled,
    );
    rig.expect(0, &["deregister"]).await.says(&[&format!("https://{name}/bigbluebutton/api removed")]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
}
