//! `register`: what it writes, what it costs, `--only`, `--dry-run`, `--wait`, BBB that comes later.

use e2e::{Rig, at_once};
use sandbox::bbb::Mode;
use sandbox::dns::Propagation;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Bbb, Ec2, Imds, Route53, Scalelite, SecretsManager};
use sandbox::scalelite::ServerState;

#[tokio::test]
async fn a_clean_boot_costs_one_route_53_call_and_a_join_one_list_of_scalelites() {
    let rig = Rig::bbb().await;
    let run = rig.expect(0, &["register"]).await;
    run.says(&[
        &format!("dns: {} registered: A 203.0.113.10, AAAA 2001:db8::10 (Route 53 calls: 1)", rig.fqdn()),
        &format!("scalelite: {} is enabled: add an entry, enable", rig.host.scalelite_entry_url()),
    ]);

    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    assert_eq!(rig.batches(), [["CREATE A", "CREATE AAAA", "CREATE TXT"]]);
    assert_eq!(rig.calls(Scalelite), ["getServers", "addServer", "updateServer", "getServerInfo"]);
    assert_eq!(rig.calls(SecretsManager), ["GetSecretValue"]);
    assert_eq!(rig.calls(Ec2), [""; 0]);

    assert_eq!(rig.records(), rig.registered(Some("203.0.113.10"), Some("2001:db8::10")));
    let entry = rig.entry();
    assert_eq!(entry.state, ServerState::Enabled);
    assert_eq!(entry.secret.expose(), "sandbox-bbb-secret");
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
}

#[tokio::test]
async fn register_twice_the_second_does_nothing_and_says_so() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    let before = rig.state();
    rig.cloud.journal.clear();

    let run = rig.expect(0, &["register", "--wait"]).await;
    run.says(&[
        &format!("dns: {} is registered already, nothing to do (Route 53 calls: 0)", rig.fqdn()),
        "is enabled already, nothing to do",
    ]);
    assert_eq!(rig.calls(Route53), [""; 0]);
    assert_eq!(rig.calls(Scalelite), ["getServers"]);
    assert_eq!(rig.state(), before);
    rig.entry();
}

#[tokio::test]
async fn the_public_address_changed_and_is_replaced_in_one_batch() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 99].into())).unwrap();
    rig.cloud.journal.clear();

    rig.expect(0, &["register"]).await.says(&["A 203.0.113.99", "(Route 53 calls: 1)"]);
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    assert_eq!(rig.batches()[1..], [["DELETE A", "DELETE TXT", "CREATE A", "CREATE TXT"]]);
    assert_eq!(rig.records(), rig.registered(Some("203.0.113.99"), Some("2001:db8::10")));
    assert_eq!(rig.calls(Scalelite), ["getServers"], "the entry stays as it is");
}

/// Has IPv6 do where there is no public IPv4 address.
const IF_ANY: [&str; 3] = ["register", "--set", "dns.ipv4=public-if-any"];

#[tokio::test]
async fn no_public_ipv4_gives_an_aaaa_only_where_that_is_enough() {
    let rig = Rig::bbb().await;
    rig.host.imds.update(|facts| facts.public_ipv4 = None).unwrap();
    rig.expect(0, &IF_ANY).await.says(&["registered: AAAA 2001:db8::10 ("]);
    assert_eq!(rig.records(), rig.registered(None, Some("2001:db8::10")));
    rig.entry();
}

#[tokio::test]
async fn a_public_ipv4_that_is_lost_later_takes_the_a_with_it() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    rig.host.imds.update(|facts| facts.public_ipv4 = None).unwrap();
    rig.expect(0, &IF_ANY).await;
    assert_eq!(rig.batches()[1..], [["DELETE A", "DELETE TXT", "CREATE TXT"]]);
    assert_eq!(rig.records(), rig.registered(None, Some("2001:db8::10")));
}

#[tokio::test]
async fn without_the_address_that_is_required_nothing_is_half_done() {
    let rows = [
        (
            "public",
            Some("2001:db8::10"),
            "reports no public IPv4 address, which dns.ipv4 = \"public\" requires",
        ),
        ("public", None, "reports no public IPv4 address"),
        ("public-if-any", None, "reports no address of the kind that dns.ipv4 and dns.ipv6 ask for"),
    ];
    for (choice, ipv6, words) in rows {
        let rig = Rig::bbb().await;
        let ipv6 = ipv6.map(|address| address.parse().unwrap());
        rig.host.imds.update(|facts| (facts.public_ipv4, facts.ipv6) = (None, ipv6)).unwrap();
        let before = rig.state();
        let run = rig.expect(8, &["register", "--set", &format!("dns.ipv4={choice}")]).await;
        run.says(&[
            &format!("{} cannot be registered", rig.fqdn()),
            words,
            "what to do: give the instance a public address",
        ]);
        assert_eq!(rig.state(), before);
        assert_eq!(rig.calls(Route53), [""; 0]);
        assert_eq!(rig.calls(Scalelite), [""; 0], "a host without a name joins nothing");
    }
}

#[tokio::test]
async fn register_waits_for_an_address_that_is_associated_late() {
    let rig = Rig::bbb().await;
    rig.host.imds.update(|facts| facts.public_ipv4 = None).unwrap();
    let running = rig.begin(&["register", "--wait"]);
    rig.cloud.journal.reached(Imds, "public-ipv4", 2).await;
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 10].into())).unwrap();
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.records(), rig.registered_now());
}

#[tokio::test]
async fn the_private_address_can_be_asked_for() {
    let rig = Rig::bbb().await;
    let arguments = ["register", "--only", "dns", "--set", "dns.ipv4=private", "--set", "dns.ipv6=false"];
    rig.expect(0, &arguments).await;
    assert_eq!(rig.records(), rig.registered(Some("10.0.0.10"), None));
}

#[tokio::test]
async fn only_one_half() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register", "--only", "dns"]).await;
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.calls(Scalelite), [""; 0]);
    assert_eq!(rig.calls(SecretsManager), [""; 0], "the secret is not even fetched");
    rig.cloud.journal.clear();

    rig.expect(0, &["register", "--only", "scalelite"]).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.calls(Route53), [""; 0]);
}

#[tokio::test]
async fn a_dry_run_shows_everything_and_changes_nothing() {
    let rig = Rig::bbb().await;
    let before = rig.state();
    let run = rig.expect(0, &["register", "--dry-run"]).await;
    run.says(&[
        &format!("would Route 53: CREATE A {} 60 203.0.113.10", rig.fqdn()),
        "CREATE TXT",
        "would Scalelite: add an entry",
        "would Scalelite: enable",
    ]);
    assert_eq!(rig.state(), before);
    assert_eq!(rig.calls(Route53), [""; 0], "what is there was read from DNS");
    assert_eq!(rig.calls(Scalelite), ["getServers"]);

    // Repairs are shown, too.
    rig.expect(0, &["register"]).await;
    rig.host.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 99].into())).unwrap();
    rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Cordoned);
    let before = rig.state();
    let run = rig.expect(0, &["register", "--dry-run", "--wait"]).await;
    run.says(&["DELETE A", "203.0.113.99", &format!("would Scalelite: enable entry {}", rig.entry().id)]);
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn the_reply_to_the_change_is_lost_and_recognised_as_done() {
    at_once(
        [Fault::LoseReply, Fault::ErrorAfter { status: 500, code: "InternalFailure".into() }],
        async |fault| {
            let rig = Rig::bbb().await;
            rig.fault(Route53, "Change", fault.clone(), Some(1));
            // The servers do not know of it yet either: only Route 53 itself can tell.
            (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
            let run = rig.expect(0, &["register", "--only", "dns"]).await;
            assert_eq!(rig.batches().len(), 1, "{fault:?}: {run}");
            assert_eq!(rig.records(), rig.registered_now());
            run.says(&["registered: A 203.0.113.10", "(Route 53 calls: 3)"]);
            // The change, its repetition that fails, and one reading.
            assert_eq!(rig.calls(Route53).len(), 3, "{run}");
        },
    )
    .await;
}

#[tokio::test]
async fn wait_returns_once_every_server_answers_with_it() {
    let rig = Rig::bbb().await;
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    let mut running = rig.begin(&["register", "--wait", "--only", "dns"]);
    rig.cloud.journal.reached(Route53, "Change", 1).await;
    rig.looked_at().await;
    assert_eq!(rig.records(), rig.registered_now());
    assert!(running.goes_on());

    rig.cloud.dns.release(0);
    rig.looked_at().await;
    assert!(running.goes_on(), "the second server does not have it");

    rig.cloud.dns.release(1);
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["is live on every authoritative server"]);
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"], "waiting asks the servers, not Route 53");
}

#[tokio::test]
async fn wait_with_one_server_down_gives_up_names_it_and_joins_all_the_same() {
    let rig = Rig::bbb().await;
    rig.cloud.dns.down(1);
    let run = rig.expect(9, &["register", "--wait", "--set", "timeouts.register=12"]).await;
    let down = rig.cloud.dns.addresses()[1].to_string();
    run.says(&["is registered, but not live everywhere yet", "1 of 2 servers", &down, "did not answer"]);
    assert_eq!(rig.records(), rig.registered_now(), "the record itself is there");
    assert_eq!(rig.entry().state, ServerState::Enabled, "one dead name server keeps no host out");
}

#[tokio::test]
async fn bbb_is_not_installed_yet() {
    let rig = Rig::without_bbb().await;
    let run = rig.expect(7, &["register", "--wait"]).await;
    run.says(&["scalelite: waiting for BBB: BigBlueButton is not installed yet", "run register again"]);
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.calls(Scalelite), [""; 0]);

    rig.host.install("a new secret").unwrap();
    rig.cloud.journal.clear();
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.entry().secret.expose(), "a new secret");
    assert_eq!(rig.calls(Route53), [""; 0]);
}

#[tokio::test]
async fn bbb_does_not_answer_yet() {
    for mode in [Mode::NotInstalled, Mode::Starting] {
        let rig = Rig::bbb().await;
        rig.host.bbb.set_mode(mode);
        let run = rig.expect(7, &["register", "--set", "timeouts.bbb=0"]).await;
        run.says(&["scalelite: waiting for BBB: ", "is not ready"]);
        assert_eq!(rig.records(), rig.registered_now());
        assert_eq!(rig.calls(Scalelite), [""; 0]);
    }
}

#[tokio::test]
async fn bbb_answers_while_register_waits_for_it() {
    let rig = Rig::bbb().await;
    rig.host.bbb.set_mode(Mode::Starting);
    let running = rig.begin(&["register"]);
    rig.cloud.journal.reached(Bbb, "getMeetings", 3).await;
    rig.host.bbb.set_mode(Mode::Ready);
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.entry().state, ServerState::Enabled);
}

#[tokio::test]
async fn bbb_runs_with_another_secret_than_its_files_say() {
    let rig = Rig::bbb().await;
    rig.host.bbb.set_secret("the old one");
    let run = rig.expect(7, &["register", "--set", "timeouts.bbb=0"]).await;
    run.says(&["waiting for BBB", "checksumError", "bbb-conf --restart"]);
    assert_eq!(rig.calls(Scalelite), [""; 0], "a host that cannot hold meetings joins nothing");

    // It is restarted while register waits for it.
    rig.cloud.journal.clear();
    let running = rig.begin(&["register"]);
    rig.cloud.journal.reached(Bbb, "getMeetings", 2).await;
    rig.host.bbb.set_secret("sandbox-bbb-secret");
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.entry().secret.expose(), "sandbox-bbb-secret");
}

#[tokio::test]
async fn a_reboot_finds_everything_in_place() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    // What the shutdown of a reboot leaves behind: the entry is disabled, the name stays.
    rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Disabled);
    let id = rig.entry().id;
    rig.cloud.journal.clear();
    rig.expect(0, &["register", "--wait"]).await;
    assert_eq!(rig.calls(Route53), [""; 0]);
    assert_eq!(rig.calls(Scalelite), ["getServers", "updateServer", "getServerInfo"]);
    assert_eq!((rig.entry().id, rig.entry().state), (id, ServerState::Enabled));
}

#[tokio::test]
async fn names_by_template_by_hand_and_below_the_apex() {
    let rig = Rig::bbb().await;
    for (settings, name) in [
        (vec!["dns.hostname=bbb-{region}-{instance}"], "bbb-eu-central-1-0123456789abcdef0.example.org"),
        (vec!["dns.name=meet.example.org"], "meet.example.org"),
        (vec!["dns.domain=fleet.example.org"], "vc-0123456789abcdef0.fleet.example.org"),
    ] {
        let mut arguments = vec!["register", "--only", "dns"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        rig.expect(0, &arguments).await.says(&[&format!("dns: {name} registered")]);
        assert_eq!(rig.cloud.route53.records_named(&rig.cloud.zone_id, name).len(), 2);
    }
}

#[tokio::test]
async fn without_scalelite_a_host_gets_its_name_only() {
    let rig = Rig::bbb().await;
    let config = std::fs::read_to_string(rig.agent.config()).unwrap();
    let (before, _) = config.split_once("[scalelite]").unwrap();
    std::fs::write(rig.agent.config(), before).unwrap();
    let run = rig.expect(0, &["register"]).await;
    run.says(&["scalelite: none is configured (scalelite.url)"]);
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.calls(Scalelite), [""; 0]);
}
