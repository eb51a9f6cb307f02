//! What is this host's and what is not, where its own files or the name servers say otherwise.

use e2e::Rig;
use sandbox::dns::Propagation;
use sandbox::http::ServiceName;

#[tokio::test]
async fn bbbs_settings_of_another_host_touch_nobodys_entry() {
    let rig = Rig::bbb().await;
    let other = rig.beside(2).await;
    other.expect(0, &["register"]).await;
    let before = other.entry();
    // As on a machine image that was made of the other host.
    rig.host.files.write_overrides(&other.host.bbb_url, "the other host's secret").unwrap();

    rig.expect(7, &["register"]).await.says(&[
        "waiting for BBB",
        "settings are those of",
        "bbb-conf --setip",
    ]);
    rig.status(3).await;
    rig.expect(0, &["deregister"]).await.says(&["is not there, nothing to do"]);
    assert_eq!(other.entry(), before);
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
}

#[tokio::test]
async fn deregister_with_wait_returns_when_no_name_server_has_the_name_any_more() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register", "--wait"]).await;
    rig.cloud.dns.set_propagation(0, Propagation::Held);
    let mut leaving = rig.begin(&["deregister", "--wait"]);
    rig.cloud.journal.reached(ServiceName::Route53, "Change", 2).await;
    rig.looked_at().await;
    assert!(leaving.goes_on(), "one server still answers with the name");
    rig.cloud.dns.release(0);
    let run = leaving.end().await;
    assert_eq!(run.code, 0, "{run}");
    run.says(&["is gone everywhere"]);
    // So whoever registers now sees what is.
    rig.expect(0, &["register"]).await.says(&["registered: A "]);
    assert_eq!(rig.records().len(), 3);
}

#[tokio::test]
async fn one_dead_name_server_keeps_no_host_out_of_scalelite() {
    let rig = Rig::bbb().await;
    rig.cloud.dns.down(1);
    let run = rig.expect(9, &["register", "--wait", "--set", "timeouts.register=16"]).await;
    run.says(&["is registered, but not live everywhere yet", "is enabled: "]);
    rig.entry();
}
