//! What does not depend on each other is done at the same time: Route 53's API is far away from most regions.

use e2e::Rig;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Imds, Route53, Scalelite, SecretsManager};

/// The metadata key that is read after the region, before anything is done.
const ADDRESS: &str = "public-ipv4";

#[tokio::test]
async fn the_connections_are_opened_while_the_metadata_is_read() {
    let rows = [
        (Rig::bbb().await, "register", &["--only", "dns"] as &[&str], 1, 0),
        (Rig::bbb().await, "register", &[], 1, 1),
        (Rig::bbb().await, "register", &["--only", "scalelite"], 0, 1),
        (Rig::bbb().await, "deregister", &[], 1, 1),
        (Rig::turn().await, "register", &[], 1, 0),
        (Rig::turn().await, "deregister", &[], 1, 0),
    ];
    for (rig, command, options, route53, scalelite) in rows {
        if command == "deregister" {
            rig.expect(0, &["register"]).await;
        }
        rig.cloud.journal.clear();
        let (aws, pool) = (rig.cloud.gate(Route53), rig.cloud.gate(Scalelite));
        let before = (aws.connections(), pool.connections());
        rig.fault(Imds, ADDRESS, Fault::HoldReply, Some(1));
        let running = rig.begin(&[&[command], options].concat());
        rig.cloud.faults.held(1).await;
        aws.connected(before.0 + route53).await;
        pool.connected(before.1 + scalelite).await;
        assert_eq!((rig.calls(Route53), rig.calls(Scalelite)), (vec![], vec![]), "nothing is asked yet");
        rig.cloud.faults.release(1);
        let run = running.end().await;
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(pool.connections(), before.1 + scalelite, "{command} {options:?}: it is used");
        if scalelite == 0 {
            assert_eq!(aws.connections(), before.0 + route53, "{command} {options:?}: it is used");
        }
    }
}

#[tokio::test]
async fn what_joining_needs_is_read_while_the_name_is_made() {
    let rig = Rig::bbb().await;
    rig.fault(Route53, "ChangeResourceRecordSets", Fault::HoldReply, Some(1));
    let running = rig.begin(&["register"]);
    rig.cloud.faults.held(1).await;
    rig.cloud.journal.reached(SecretsManager, "", 1).await;
    rig.cloud.gate(Scalelite).connected(1).await;
    // The pool may be listed already.
    let changed = rig.calls(Scalelite).iter().any(|call| call != "getServers");
    assert!(!changed, "the name comes first: {:?}", rig.calls(Scalelite));
    rig.cloud.faults.release(1);
    let run = running.end().await;
    assert_eq!((run.code, run.retries()), (0, 0), "the answer was held only until then:\n{run}");
    assert_eq!(rig.records(), rig.registered_now());
    rig.entry();
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    assert_eq!(rig.calls(SecretsManager).len(), 1);
}

#[tokio::test]
async fn a_name_that_fails_is_not_waited_for_by_what_was_to_follow() {
    let rig = Rig::without_bbb().await;
    rig.refuse(Route53, "ChangeResourceRecordSets", 403, "AccessDenied", None);
    let run = rig.run(&["register", "--set", "timeouts.bbb=600", "--set", "timeouts.register=600"]).await;
    assert_eq!(rig.records(), [""; 0]);
    assert!(!run.stdout.contains("scalelite:"), "{run}");
    assert_eq!(rig.calls(SecretsManager), [""; 0], "no secret is needed before BBB answers");
}

#[tokio::test]
async fn a_stop_opens_its_connections_before_it_asks_who_the_host_is() {
    let rig = Rig::bbb().await;
    let service = rig.serving(&[]).await;
    let gates = [rig.cloud.gate(Route53), rig.cloud.gate(Scalelite)];
    for gate in &gates {
        gate.hang_up();
    }
    let before: Vec<usize> = gates.iter().map(|gate| gate.connections()).collect();
    rig.cloud.journal.clear();
    rig.fault(Imds, "instance-identity/document", Fault::HoldReply, Some(1));
    service.running.signal("TERM").await;
    rig.cloud.faults.held(1).await;
    for (gate, before) in gates.iter().zip(before) {
        gate.connected(before + 1).await;
    }
    assert_eq!((rig.calls(Route53), rig.calls(Scalelite)), (vec![], vec![]), "nothing is asked yet");
    rig.cloud.faults.release(1);
    let run = service.running.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.records(), [""; 0]);
    assert_eq!(rig.entries(), []);
}
