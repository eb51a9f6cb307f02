//! Signals and crashes at any point: no further action is begun, and the next run ends in the same state.

use e2e::{Rig, Running, at_once};
use sandbox::dns::Propagation;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{self, Imds, Route53, Scalelite, SecretsManager};
use sandbox::scalelite::ServerState;

/// A command that is under way and hangs in this call.
async fn hanging(rig: &Rig, command: &str, service: ServiceName, action: &str) -> Running {
    rig.cloud.journal.clear();
    rig.fault(service, action, Fault::Hang, Some(1));
    let running = rig.begin(&[command]);
    rig.cloud.journal.reached(service, action, 1).await;
    running
}

/// Registered as it should be, once and for all.
async fn converges(rig: &Rig) {
    rig.heal();
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
    let before = rig.state();
    rig.expect(0, &["register"]).await;
    assert_eq!(rig.state(), before);
}

#[tokio::test]
async fn sigterm_while_route_53_hangs() {
    let rig = Rig::bbb().await;
    let running = hanging(&rig, "register", Route53, "Change").await;
    running.signal("TERM").await;
    // Nobody ever answers that request: that it ends at all is its own doing.
    let run = running.end().await;
    assert_eq!(run.code, 143, "{run}");
    run.says(&["stopped by signal 15", "what to do: run the command again"]);
    assert_eq!(rig.calls(Route53).len(), 1);
    assert_eq!(rig.changes_in_scalelite(), [""; 0], "no further action was begun");
    assert_eq!(rig.records(), [""; 0]);
    converges(&rig).await;
}

#[tokio::test]
async fn sigint_ends_with_its_own_code() {
    let rig = Rig::bbb().await;
    let running = hanging(&rig, "register", Route53, "Change").await;
    running.signal("INT").await;
    let run = running.end().await;
    assert_eq!(run.code, 130, "{run}");
    run.says(&["stopped by signal 2"]);
    converges(&rig).await;
}

#[tokio::test]
async fn sigterm_while_scalelite_adds_the_host() {
    let rig = Rig::bbb().await;
    rig.cloud.scalelite.hold();
    let running = rig.begin(&["register"]);
    rig.cloud.scalelite.held(1).await;
    running.signal("TERM").await;
    let run = running.end().await;
    assert_eq!(run.code, 143, "{run}");
    rig.cloud.scalelite.release();
    assert_eq!(rig.cloud.journal.count(Scalelite, "updateServer"), 0, "no further action was begun");
    assert_eq!(rig.records(), rig.registered_now(), "what was done stays done");
    converges(&rig).await;
}

#[tokio::test]
async fn sigterm_while_waiting_for_a_service() {
    at_once([Imds, Route53, SecretsManager, Scalelite], async |service| {
        let rig = Rig::bbb().await;
        rig.refuse(service, "", 503, "", None);
        let mut running = rig.begin(&["register"]);
        running.said("trying again in", 2).await;
        running.signal("TERM").await;
        let run = running.end().await;
        assert_eq!(run.code, 143, "{service:?}:\n{run}");
        assert_eq!(rig.cloud.scalelite.servers(), []);
        converges(&rig).await;
    })
    .await;
}

#[tokio::test]
async fn sigterm_while_waiting_for_the_name_servers() {
    let rig = Rig::bbb().await;
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
    let running = rig.begin(&["register", "--wait"]);
    rig.cloud.journal.reached(Route53, "Change", 1).await;
    rig.looked_at().await;
    running.signal("TERM").await;
    let run = running.end().await;
    assert_eq!(run.code, 143, "{run}");
    assert_eq!(rig.calls(Scalelite), [""; 0]);
    (0..2).for_each(|server| rig.cloud.dns.release(server));
    (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Immediate));
    converges(&rig).await;
}

#[tokio::test]
async fn sigterm_in_the_middle_of_deregister() {
    at_once(
        [
            (Scalelite, "updateServer", &["panicServer", "deleteServer"][..]),
            (Scalelite, "panicServer", &["deleteServer"]),
            (Scalelite, "deleteServer", &[]),
            (Route53, "Change", &[]),
        ],
        async |(service, action, later)| {
            let rig = Rig::bbb().await;
            rig.expect(0, &["register"]).await;
            let running = hanging(&rig, "deregister", service, action).await;
            running.signal("TERM").await;
            let run = running.end().await;
            assert_eq!(run.code, 143, "{action}:\n{run}");
            assert_eq!(rig.records(), rig.registered_now(), "the name is not given up any more");
            for call in later {
                assert_eq!(rig.cloud.journal.count(Scalelite, call), 0, "{call} after {action}");
            }
            if service == Scalelite {
                assert_eq!(rig.calls(Route53), [""; 0]);
            }
            rig.expect(0, &["deregister"]).await;
            assert_eq!(rig.records(), [""; 0]);
            assert_eq!(rig.cloud.scalelite.servers(), []);
        },
    )
    .await;
}

#[tokio::test]
async fn a_crash_in_the_middle_of_register() {
    at_once(
        [
            (Imds, "identity/document"),
            (Imds, "security-credentials"),
            (Route53, "Change"),
            (SecretsManager, "GetSecretValue"),
            (ServiceName::Bbb, "getMeetings"),
            (Scalelite, "getServers"),
            (Scalelite, "addServer"),
            (Scalelite, "updateServer"),
        ],
        async |(service, action)| {
            let rig = Rig::bbb().await;
            let running = hanging(&rig, "register", service, action).await;
            running.signal("KILL").await;
            assert_eq!(running.end().await.code, -1);
            converges(&rig).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_crash_right_after_a_change_whose_reply_never_came() {
    // The change is made, its reply lost, and the process dies at what it does next.
    let rows = [
        (Route53, "Change", (Route53, "Change", 2)),
        (Scalelite, "addServer", (Scalelite, "updateServer", 1)),
    ];
    at_once(rows, async |(service, action, (next, call, times))| {
        let rig = Rig::bbb().await;
        (0..2).for_each(|server| rig.cloud.dns.set_propagation(server, Propagation::Held));
        rig.fault(service, action, Fault::LoseReply, Some(1));
        rig.fault(next, call, Fault::Hang, None);
        let running = rig.begin(&["register"]);
        rig.cloud.journal.reached(next, call, times).await;
        running.signal("KILL").await;
        running.end().await;
        assert_eq!(rig.batches().len(), 1);
        converges(&rig).await;
        assert_eq!(rig.batches().len(), 1, "nothing was written twice");
    })
    .await;
}

#[tokio::test]
async fn a_crash_in_the_middle_of_deregister() {
    at_once(
        [
            (Scalelite, "updateServer"),
            (Scalelite, "panicServer"),
            (Scalelite, "deleteServer"),
            (Route53, "Change"),
        ],
        async |(service, action)| {
            let rig = Rig::bbb().await;
            rig.expect(0, &["register"]).await;
            let running = hanging(&rig, "deregister", service, action).await;
            running.signal("KILL").await;
            running.end().await;
            rig.heal();
            rig.expect(0, &["deregister"]).await;
            assert_eq!(rig.records(), [""; 0]);
            assert_eq!(rig.cloud.scalelite.servers(), []);
        },
    )
    .await;
}

#[tokio::test]
async fn status_and_check_end_on_sigterm_too() {
    for command in ["status", "check", "hostname"] {
        let rig = Rig::bbb().await;
        let running = hanging(&rig, command, Imds, "identity/document").await;
        running.signal("TERM").await;
        let run = running.end().await;
        assert_eq!(run.code, 143, "{run}");
    }
}
