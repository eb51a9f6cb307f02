//! The share of a TURN host in the name that a fleet of them shares.

use e2e::{Rig, at_once};
use sandbox::fleet::{InstanceFacts, InstanceState};
use sandbox::http::ServiceName::Route53;
use sandbox::route53::RecordType::{A, Aaaa, Cname, Txt};

const SHARED: &str = "turn.example.org";
const CHECK: &str = "abcdef11-2222-3333-4444-555555fedcba";

fn share(rig: &Rig, check: Option<&str>) {
    let check = check.map(|id| format!("shared_health_check = \"{id}\"\n")).unwrap_or_default();
    rig.drop_in("shared", &format!("[turn]\nshared_name = \"{SHARED}\"\n{check}"));
}

/// A TURN host that is to have a share.
async fn host() -> Rig {
    let rig = Rig::turn().await;
    share(&rig, None);
    rig
}

/// The same, registered.
async fn registered() -> Rig {
    let rig = host().await;
    rig.expect(0, &["register"]).await;
    rig.cloud.journal.clear();
    rig
}

/// Other hosts with shares, as another fleet's or a later version's agents make them.
fn others(rig: &Rig, number: usize) -> Vec<String> {
    (1..=number).for_each(|n| rig.put_share(A, SHARED, &format!("other {n:03}"), &format!("198.51.100.{n}")));
    rig.records().into_iter().filter(|line| line.contains("other")).collect()
}

#[tokio::test]
async fn the_share_comes_and_goes_with_the_hosts_own_name() {
    let rig = host().await;
    let run = rig.expect(0, &["register", "--dry-run"]).await;
    run.says(&["CREATE A turn.example.org 60 203.0.113.10 (share of i-0123456789abcdef0)"]);
    assert_eq!(rig.records(), [""; 0]);
    rig.expect(0, &["register", "--wait"]).await.says(&["; a share in turn.example.org (Route 53 calls: 1)"]);
    assert_eq!(rig.records(), rig.shares_now(SHARED, None));
    rig.expect(0, &["register"]).await.says(&["nothing to do (Route 53 calls: 0)"]);
    rig.expect(0, &["hostname"]).await.says(&["tu-0123456789abcdef0.example.org\n"]);

    let status = rig.status(0).await;
    assert_eq!(status["dns"]["share"]["name"], SHARED);
    assert_eq!(status["dns"]["share"]["state"], "live");
    assert_eq!(status["dns"]["route53_calls"], 0);
    rig.expect(0, &["status"]).await.says(&["live      share in turn.example.org"]);
    rig.expect(0, &["check"]).await.says(&[
        "ok   change records  may change tu-0123456789abcdef0.example.org and turn.example.org",
        "ok   shared name     this host has its share in turn.example.org",
    ]);

    rig.expect(0, &["deregister", "--dry-run"]).await.says(&["DELETE A turn.example.org 60 203.0.113.10"]);
    rig.cloud.journal.clear();
    rig.expect(0, &["deregister", "--wait"]).await.says(&["removed (Route 53 calls: 1)", "gone everywhere"]);
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(
        rig.batches()[1],
        ["DELETE A", "DELETE AAAA", "DELETE share A", "DELETE share AAAA", "DELETE TXT"]
    );
    rig.expect(0, &["deregister"]).await.says(&["nothing to do"]);
}

#[tokio::test]
async fn hosts_that_register_at_once_do_not_meet() {
    let rig = host().await;
    let beside = [rig.turn_beside(2).await, rig.turn_beside(3).await];
    beside.iter().for_each(|rig| share(rig, None));
    let (one, two, three) =
        tokio::join!(rig.run(&["register"]), beside[0].run(&["register"]), beside[1].run(&["register"]));
    assert_eq!([one.code, two.code, three.code], [0; 3]);
    let shares = |rig: &Rig| -> Vec<String> {
        let lines = rig.records().into_iter().filter(|line| line.contains(" turn.example.org."));
        lines.filter(|line| line.contains(rig.host.id())).collect()
    };
    for rig in [&rig, &beside[0], &beside[1]] {
        assert_eq!(shares(rig), rig.shares_now(SHARED, None)[3..]);
        assert_eq!(rig.status(0).await["dns"]["share"]["state"], "live");
    }
    // One goes, the others stay.
    beside[0].expect(0, &["deregister"]).await;
    assert_eq!((shares(&rig).len(), shares(&beside[0]).len(), shares(&beside[1]).len()), (2, 0, 2));
}

#[tokio::test]
async fn the_share_follows_the_settings() {
    let rig = Rig::turn().await;
    rig.expect(0, &["register"]).await;
    share(&rig, None);
    let drift = rig.status(4).await;
    assert_eq!(drift["dns"]["share"]["state"], "none");
    rig.expect(4, &["status"]).await.says(&["has no share in turn.example.org: register gives it one"]);
    rig.expect(0, &["register"]).await.says(&["; a share in turn.example.org"]);
    assert_eq!(rig.records(), rig.shares_now(SHARED, None));

    share(&rig, Some(CHECK));
    rig.expect(4, &["status"]).await;
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.records(), rig.shares_now(SHARED, Some(CHECK)));

    rig.drop_in("shared", "[turn]\nshared_name = \"relay.example.org\"\n");
    rig.expect(0, &["register"]).await;
    let (mut moved, mut found) = (rig.shares_now("relay.example.org", None), rig.records());
    moved.sort();
    found.sort();
    assert_eq!(found, moved, "the former share is gone");

    rig.drop_in("shared", "");
    rig.expect(4, &["status"]).await.says(&["has a share that is not wanted any more"]);
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.records(), rig.registered_now());
}

#[tokio::test]
async fn an_address_change_costs_one_call() {
    let rig = registered().await;
    rig.readdress("203.0.113.99");
    rig.expect(0, &["register"]).await.says(&["(Route 53 calls: 1)"]);
    assert_eq!(rig.records(), rig.shares_now(SHARED, None));
    let swap = ["DELETE A", "DELETE share A", "DELETE TXT", "CREATE A", "CREATE share A", "CREATE TXT"];
    assert_eq!(rig.batches()[1], swap);
    // The address is lost: both go.
    rig.readdress("203.0.113.98");
    rig.expect(0, &["deregister"]).await.says(&["removed"]);
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn what_others_have_at_the_shared_name_stays_and_the_host_has_its_own_name_all_the_same() {
    for (put, said) in [
        ("a simple set", "a simple A record set"),
        ("a CNAME", "a CNAME"),
        ("a hundred shares", "Limit of 100 multivalue answers"),
    ] {
        let rig = host().await;
        match put {
            "a simple set" => rig.put(A, SHARED, &["198.51.100.7"]),
            "a CNAME" => rig.put(Cname, SHARED, &["www.example.org"]),
            _ => drop(others(&rig, 100)),
        }
        let theirs = rig.records();
        let run = rig.expect(9, &["register"]).await;
        run.says(&["registered: A 203.0.113.10", "has no share in turn.example.org: "]);
        let all = |rig: &Rig| {
            let mut all: Vec<String> = rig.registered_now().into_iter().chain(theirs.clone()).collect();
            all.sort();
            all
        };
        let found = |rig: &Rig| {
            let mut found = rig.records();
            found.sort();
            found
        };
        assert_eq!(found(&rig), all(&rig), "{put}");
        rig.expect(4, &["status"]).await.says(&["has no share in turn.example.org"]);
        // Again, and with what Route 53 says.
        rig.expect(9, &["register"]).await.says(&[said]);
        assert_eq!(found(&rig), all(&rig), "{put}");
        if put != "a hundred shares" {
            rig.expect(1, &["check"]).await.says(&[&format!("FAIL shared name     {SHARED} has {said}")]);
        }
        rig.expect(0, &["deregister"]).await.says(&["removed"]);
        assert_eq!(rig.records(), theirs, "{put}");
        // The way is free.
        match put {
            "a simple set" => drop(rig.cloud.route53.remove(&rig.cloud.zone_id, SHARED, A, None)),
            "a CNAME" => drop(rig.cloud.route53.remove(&rig.cloud.zone_id, SHARED, Cname, None)),
            _ => drop(rig.cloud.route53.remove(&rig.cloud.zone_id, SHARED, A, Some("other 007"))),
        }
        rig.expect(0, &["register"]).await.says(&["; a share in turn.example.org"]);
    }
}

#[tokio::test]
async fn a_permission_without_the_shared_name_is_enough_for_the_own_name() {
    let rig = host().await;
    rig.refuse(Route53, "ChangeResourceRecordSets", 403, "AccessDenied", Some(1));
    rig.expect(9, &["register"]).await.says(&[
        "registered: A",
        "has no share in turn.example.org: ",
        "AccessDenied",
    ]);
    assert_eq!(rig.records(), rig.registered_now());
}

#[tokio::test]
async fn more_shares_than_a_server_shows_are_no_reason_to_ask_route_53() {
    let rig = registered().await;
    let theirs = others(&rig, 60);
    for _ in 0..3 {
        rig.expect(0, &["register"]).await.says(&["nothing to do (Route 53 calls: 0)"]);
        let state = rig.status(0).await["dns"]["share"]["state"].as_str().unwrap().to_owned();
        assert!(matches!(state.as_str(), "live" | "unseen"), "{state}");
    }
    assert_eq!(rig.calls(Route53), [""; 0]);
    // Leaving needs nobody's word either.
    rig.expect(0, &["deregister"]).await.says(&["(Route 53 calls: 1)"]);
    assert_eq!(rig.records(), theirs);
}

#[tokio::test]
async fn a_share_that_somebody_has_deleted_is_made_again() {
    let rig = registered().await;
    others(&rig, 6);
    for kind in [A, Aaaa] {
        assert!(rig.cloud.route53.remove(&rig.cloud.zone_id, SHARED, kind, Some(rig.host.id())));
    }
    assert_eq!(rig.status(4).await["dns"]["share"]["state"], "missing");
    rig.expect(4, &["status"]).await.says(&["turn.example.org does not show this host"]);
    rig.expect(0, &["register"]).await.says(&["; a share in turn.example.org"]);
    assert_eq!(rig.batches()[1], ["DELETE TXT", "CREATE share A", "CREATE share AAAA", "CREATE TXT"]);
    // One that somebody has changed goes all the same.
    rig.put_share(A, SHARED, rig.host.id(), "198.51.100.200");
    rig.expect(0, &["deregister"]).await.says(&["removed"]);
    assert!(!rig.records().iter().any(|line| line.contains(rig.host.id())), "{:?}", rig.records());
}

#[tokio::test]
async fn a_failing_health_check_is_no_reason_to_change_anything() {
    let rig = Rig::turn().await;
    share(&rig, Some(CHECK));
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.records(), rig.shares_now(SHARED, Some(CHECK)));
    others(&rig, 2);
    rig.cloud.route53.set_health(CHECK, false);
    rig.cloud.journal.clear();
    assert_eq!(rig.status(4).await["dns"]["share"]["state"], "left-out");
    rig.expect(4, &["status"]).await.says(&["leaves this host out, as it does while its health check fails"]);
    rig.expect(0, &["register"]).await.says(&["nothing to do (Route 53 calls: 0)"]);
    assert_eq!(rig.calls(Route53), [""; 0]);
    rig.cloud.route53.set_health(CHECK, true);
    assert_eq!(rig.status(0).await["dns"]["share"]["state"], "live");
    rig.expect(0, &["deregister"]).await.says(&["(Route 53 calls: 1)"]);
}

#[tokio::test]
async fn without_name_servers_the_api_says_what_is_there() {
    let rig = host().await;
    rig.drop_in("api", "[dns]\nread = \"api\"\n");
    rig.expect(0, &["register"]).await.says(&["; a share in turn.example.org (Route 53 calls: 3)"]);
    rig.expect(0, &["register"]).await.says(&["nothing to do"]);
    let status = rig.status(0).await;
    assert_eq!(
        (&status["dns"]["share"]["state"], &status["verdict"]),
        (&"live".into(), &"registered".into())
    );
    rig.cloud.route53.remove(&rig.cloud.zone_id, SHARED, A, Some(rig.host.id()));
    assert_eq!(rig.status(4).await["dns"]["share"]["state"], "none");
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.records(), rig.shares_now(SHARED, None));
    rig.expect(0, &["deregister"]).await;
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn a_host_whose_own_name_is_anothers_takes_no_share_and_gives_up_what_it_has() {
    let rig = host().await;
    rig.give_away("i-0fedcba9876543210", "192.0.2.7");
    let theirs = rig.records();
    rig.expect(6, &["register"]).await;
    assert_eq!(rig.records(), theirs);
    rig.put_share(A, SHARED, rig.host.id(), "203.0.113.10");
    let run = rig.expect(0, &["deregister"]).await;
    run.says(&[
        "the share in turn.example.org removed",
        "was left untouched: it belongs to i-0fedcba9876543210",
    ]);
    assert_eq!(rig.records(), theirs);
}

/// A host that was registered with a share, and its instance.
fn died(rig: &Rig, number: u8, state: Option<InstanceState>, with_label: bool) -> String {
    let id = format!("i-{number:017x}");
    let address = format!("198.51.100.{number}");
    rig.put_share(A, SHARED, &id, &address);
    if with_label {
        let name = format!("tu-{number:017x}.example.org");
        rig.put(A, &name, &[&address]);
        let label =
            e2e::label("turn", &id, "1767225600").replace(",since=", &format!(",share={SHARED},since="));
        rig.put(Txt, &format!("_agent.{name}"), &[&label]);
    }
    if let Some(state) = state {
        let public_ipv4 = address.parse().ok();
        let facts =
            InstanceFacts { instance_id: id.clone(), public_ipv4, ipv6: None, ..InstanceFacts::default() };
        rig.cloud.fleet.launch(facts);
        match state {
            InstanceState::Terminated => rig.cloud.fleet.finish_termination(&id).unwrap(),
            state => rig.cloud.fleet.change(&id, |instance| instance.state = state).unwrap(),
        }
    }
    id
}

#[tokio::test]
async fn a_sweep_removes_the_shares_of_dead_hosts_and_no_others() {
    let rig = registered().await;
    rig.drop_in("sweep", "[sweep]\npause = 1\n");
    let gone = [
        died(&rig, 1, Some(InstanceState::Terminated), true),
        died(&rig, 2, None, true),
        // An older agent has swept its name, and left its share.
        died(&rig, 3, Some(InstanceState::Terminated), false),
    ];
    let stay = [
        died(&rig, 4, Some(InstanceState::Running), true),
        died(&rig, 5, Some(InstanceState::Running), false),
        died(&rig, 6, None, false),
        "other 001".to_owned(),
    ];
    others(&rig, 1);
    let has = |id: &String| rig.records().iter().any(|line| line.contains(id.as_str()));
    let run = rig.expect(0, &["sweep", "--dry-run"]).await;
    run.says(&[
        "(i-00000000000000001 in eu-central-1): gone: its instance is terminated; record sets A, A, TXT",
        "turn.example.org (i-00000000000000003 in eu-central-1): gone: its instance is terminated; record sets A",
        "turn.example.org (i-00000000000000006 in eu-central-1): left alone: EC2 does not know its instance",
    ]);
    assert!(gone.iter().all(has));
    rig.expect(0, &["sweep"]).await.says(&["3 gone, 3 of them removed"]);
    assert!(!gone.iter().any(has), "{:?}", rig.records());
    assert!(stay.iter().all(has), "{:?}", rig.records());
    assert!(rig.shares_now(SHARED, None).iter().all(|line| rig.records().contains(line)));
    rig.expect(0, &["sweep"]).await.says(&["0 gone, 0 of them removed"]);
}

#[tokio::test]
async fn what_cannot_be_shared_is_told_before_anything_is_done() {
    let rows = [
        ("turn.shared_name=turn.example.com", 2, "is not dns.domain or below it"),
        ("turn.shared_name=tu-0123456789abcdef0.example.org", 2, "is the name of one host"),
        ("turn.shared_health_check=x", 2, "is set without turn.shared_name"),
        ("turn.shared_name=example.org", 1, "FAIL shared name     example.org is the zone's own name"),
    ];
    at_once(rows, |(setting, code, words)| async move {
        let rig = Rig::turn().await;
        rig.expect(code, &["check", "--set", setting]).await.says(&[words]);
    })
    .await;
}
