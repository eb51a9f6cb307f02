//! Whose a name is, and how that is read: authoritative servers that are silent, refuse or lag behind, Route 53's API,
//! private zones, names of others.

use e2e::{Rig, at_once};
use sandbox::cloud::Options;
use sandbox::dns::{Behaviour, Propagation};
use sandbox::http::ServiceName::{Route53, Scalelite, SecretsManager};
use sandbox::route53::{Options as Route53Options, RecordType, ZoneOptions};
use sandbox::scalelite::ServerState;

const OTHER: &str = "i-0fedcba9876543210";

/// Register must refuse, say this, and change nothing.
async fn refused(rig: &Rig, words: &[&str]) {
    let before = rig.state();
    let run = rig.expect(6, &["register", "--wait"]).await;
    run.says(&[&format!("{} was left untouched", rig.fqdn()), "what to do: "]).says(words);
    assert_eq!(rig.state(), before);
    assert_eq!(rig.calls(Scalelite), [""; 0], "a host without its name joins nothing");
    assert_eq!(rig.calls(SecretsManager), [""; 0]);
}

#[tokio::test]
async fn the_record_belongs_to_another_instance_and_the_owner_is_named() {
    let rig = Rig::bbb().await;
    rig.give_away(OTHER, "192.0.2.7");
    refused(&rig, &["it belongs to i-0fedcba9876543210 in eu-central-1"]).await;
    assert_eq!(rig.calls(Route53), ["ListResourceRecordSets"]);
}

#[tokio::test]
async fn a_host_that_wants_only_to_join_does_not_touch_another_ones_entry() {
    let rig = Rig::bbb().await;
    rig.give_away(OTHER, "192.0.2.7");
    let url = format!("https://{}/bigbluebutton/api", rig.fqdn());
    rig.cloud.scalelite.add_server(&url, "the other's", ServerState::Enabled);
    let before = rig.state();
    let run = rig.expect(6, &["register", "--only", "scalelite"]).await;
    run.says(&["was left untouched: it belongs to i-0fedcba9876543210 in eu-central-1", "what to do: "]);
    assert_eq!(rig.state(), before);
    assert_eq!(rig.calls(Scalelite), [""; 0]);
}

#[tokio::test]
async fn only_the_ownership_txt_of_another_instance_is_enough_to_refuse() {
    let rig = Rig::bbb().await;
    rig.give_away(OTHER, "192.0.2.7");
    assert!(rig.cloud.route53.remove(&rig.cloud.zone_id, &rig.fqdn(), RecordType::A, None));
    refused(&rig, &["it belongs to i-0fedcba9876543210"]).await;
}

#[tokio::test]
async fn the_record_has_no_ownership_txt() {
    let rig = Rig::bbb().await;
    // Even with the address that this host has: nobody said whose it is.
    rig.put(RecordType::A, &rig.fqdn(), &["203.0.113.10"]);
    refused(&rig, &["it has no ownership TXT"]).await;
}

#[tokio::test]
async fn the_ownership_txt_is_somebody_elses_kind() {
    for text in [
        "\"heritage=external-dns,external-dns/owner=default\"",
        "\"heritage=bbb-agents,instance=mine\"",
        "\"v=spf1 -all\"",
    ] {
        let rig = Rig::bbb().await;
        rig.put(RecordType::A, &rig.fqdn(), &["203.0.113.10"]);
        rig.put(RecordType::Txt, &rig.ownership(), &[text]);
        refused(&rig, &["its ownership TXT was not written by an agent"]).await;
    }
}

#[tokio::test]
async fn a_cname_at_the_name() {
    let rig = Rig::bbb().await;
    rig.put(RecordType::Cname, &rig.fqdn(), &["elsewhere.example.net."]);
    refused(&rig, &["it is a CNAME"]).await;
}

#[tokio::test]
async fn somebody_was_faster_and_no_server_shows_it_yet() {
    let rig = Rig::bbb().await;
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    rig.give_away(OTHER, "192.0.2.7");
    refused(&rig, &["it belongs to i-0fedcba9876543210"]).await;
    assert_eq!(
        rig.calls(Route53),
        ["ChangeResourceRecordSets", "ListResourceRecordSets"],
        "the compare-and-swap failed, then Route 53 was read"
    );
}

#[tokio::test]
async fn status_names_the_owner_and_says_not_registered() {
    let rig = Rig::bbb().await;
    rig.give_away(OTHER, "192.0.2.7");
    let status = rig.status(3).await;
    assert_eq!(status["dns"]["owner"], OTHER);
    assert_eq!(status["dns"]["servers"][0]["state"], "foreign");
    assert!(status["reasons"][0].as_str().unwrap().contains("is not this host's: it belongs to"));
}

#[tokio::test]
async fn a_wildcard_record_is_nobodys_claim() {
    let rig = Rig::bbb().await;
    rig.put(RecordType::A, "*.example.org", &["192.0.2.80"]);
    rig.put(RecordType::Txt, "*.example.org", &["\"v=spf1 -all\""]);
    let wildcards = rig.records();
    let run = rig.expect(0, &["register", "--wait"]).await;
    run.says(&["(Route 53 calls: 2)", "is live on every authoritative server"]);
    assert_eq!(rig.calls(Route53), ["ListResourceRecordSets", "ChangeResourceRecordSets"]);
    for record in rig.registered_now() {
        assert!(rig.records().contains(&record), "{record}");
    }
    rig.expect(0, &["deregister"]).await;
    assert_eq!(rig.records(), wildcards);
}

#[tokio::test]
async fn silent_or_refusing_servers_lead_to_the_api_which_is_counted_and_said() {
    at_once([Behaviour::Silent, Behaviour::Refuse, Behaviour::Fail], async |behaviour| {
        let rig = Rig::bbb().await;
        (0..2).for_each(|server| rig.cloud.dns.behave(server, behaviour));
        let run = rig.expect(0, &["register", "--only", "dns"]).await;
        run.says(&["(Route 53 calls: 2)"]);
        assert_eq!(rig.calls(Route53), ["ListResourceRecordSets", "ChangeResourceRecordSets"]);
        assert_eq!(rig.records(), rig.registered_now());

        rig.cloud.journal.clear();
        let status = rig.status(3).await;
        assert_eq!(status["dns"]["route53_calls"], 1, "{status:#}");
        let servers = status["dns"]["servers"].as_array().unwrap();
        let states: Vec<&str> = servers.iter().map(|server| server["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["unknown", "unknown", "live"]);
        assert_eq!(servers[2]["server"], "Route 53 API");
        assert_eq!(rig.calls(Route53), ["ListResourceRecordSets"]);
        rig.expect(3, &["status"]).await.says(&["live      Route 53 API", "Route 53 calls: 1"]);
    })
    .await;
}

#[tokio::test]
async fn one_silent_server_costs_no_api_call() {
    let rig = Rig::bbb().await;
    rig.cloud.dns.down(0);
    rig.expect(0, &["register", "--only", "dns"]).await.says(&["(Route 53 calls: 1)"]);
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
}

#[tokio::test]
async fn servers_that_disagree_lead_to_the_api() {
    let rig = Rig::bbb().await;
    rig.cloud.dns.set_propagation(1, Propagation::Held);
    rig.expect(0, &["register", "--only", "dns"]).await;
    rig.cloud.journal.clear();
    let run = rig.expect(0, &["register", "--only", "dns"]).await;
    run.says(&["nothing to do (Route 53 calls: 1)"]);
    assert_eq!(rig.calls(Route53), ["ListResourceRecordSets"]);
}

fn private() -> Options {
    let zone = ZoneOptions::private("Z0123456789EXAMPLE", "example.org");
    Options { route53: Route53Options::zones([zone]), ..Options::with_tls() }
}

#[tokio::test]
async fn a_private_zone_is_read_through_the_api() {
    let rig = Rig::start(private()).await;
    rig.drop_in("private", "dns.read = \"api\"\n");
    let run = rig.expect(0, &["register"]).await;
    run.says(&["(Route 53 calls: 2)"]);
    assert_eq!(rig.calls(Route53), ["ListResourceRecordSets", "ChangeResourceRecordSets"]);
    assert_eq!(rig.cloud.dns.queries(), [], "nobody asks servers that would refuse");

    rig.cloud.scalelite.poll().await;
    let status = rig.status(0).await;
    assert_eq!(status["dns"]["route53_calls"], 1);
    let error = status["dns"]["error"].as_str().unwrap();
    assert!(error.contains("were not asked: dns.read = \"api\""), "{error}");
    rig.expect(0, &["check"]).await.says(&["example.org (private)", "not asked, Route 53's API is read"]);
    rig.expect(0, &["deregister"]).await;
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn a_private_zone_without_that_setting_works_and_check_says_what_to_set() {
    let rig = Rig::start(private()).await;
    rig.expect(0, &["register", "--only", "dns"]).await.says(&["(Route 53 calls: 2)"]);
    rig.expect(1, &["check"]).await.says(&["is private: set dns.read = \"api\""]);
}

#[tokio::test]
async fn wait_through_the_api_until_route_53_has_told_all_servers() {
    let rig = Rig::bbb().await;
    rig.drop_in("private", "dns.read = \"api\"\n");
    rig.cloud.dns.set_propagation(1, Propagation::Held);
    let mut running = rig.begin(&["register", "--wait", "--only", "dns"]);
    rig.cloud.journal.reached(Route53, "GetChange", 2).await;
    assert!(running.goes_on());
    rig.cloud.dns.release(1);
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["is in Route 53; no authoritative server could be asked"]);
}

#[tokio::test]
async fn names_below_the_hosts_name_are_nobodys_business() {
    let rig = Rig::bbb().await;
    let below = format!("turn.{}", rig.fqdn());
    rig.put(RecordType::A, &below, &["192.0.2.1"]);
    rig.put(RecordType::Mx, &rig.fqdn(), &["10 mail.example.org."]);
    rig.expect(0, &["register", "--only", "dns"]).await;
    rig.expect(0, &["deregister", "--only", "dns"]).await;
    assert_eq!(rig.records().len(), 2, "{:?}", rig.records());
}

#[tokio::test]
async fn many_hosts_boot_at_once_within_the_accounts_budget() {
    let first = Rig::bbb().await;
    let mut rigs = vec![first.beside(2).await, first.beside(3).await, first.beside(4).await];
    rigs.push(first);
    // Route 53 refuses changes of a zone that is busy with another one.
    let running: Vec<_> = rigs.iter().map(|rig| rig.begin(&["register"])).collect();
    for running in running {
        let run = running.end().await;
        assert_eq!(run.code, 0, "{run}");
    }
    assert_eq!(rigs[0].records().len(), 12);
    for rig in &rigs {
        rig.entry();
    }
}
