//! A TURN host whose coturn relays for everybody: nobody is led to it.

use e2e::{Coturn, Rig};
use plan::relay::Relay;

/// Returns once the host has no name.
async fn nameless(rig: &Rig) {
    while !rig.records().is_empty() {
        rig.ticked(1).await;
    }
}

#[tokio::test]
async fn an_open_relay_has_no_name() {
    let rig = Rig::turn().await;
    let coturn = Coturn::start(Relay::Open).await;
    let setting = format!("metrics.coturn={}", coturn.address);
    let mut service = rig.service(&[&setting]);
    service.running.said("coturn on this host relays without credentials", 1).await;
    service.systemd.shows(&["coturn on this host relays without credentials"]).await;
    assert_eq!(rig.records(), [""; 0]);

    coturn.becomes(Relay::Closed);
    rig.until(&service, service.systemd.shows_exactly("registered")).await;
    assert_eq!(rig.records(), rig.registered_now());

    // Its settings are lost: the name goes.
    coturn.becomes(Relay::Open);
    rig.until(&service, nameless(&rig)).await;
    service.systemd.shows(&["coturn on this host relays without credentials"]).await;
    rig.expect(3, &["status", "--set", &setting])
        .await
        .says(&["coturn on this host relays without credentials"]);

    // It is stopped, and installed anew: its certificate needs the name.
    coturn.becomes(Relay::Silent);
    rig.until(&service, service.systemd.shows_exactly("registered")).await;
    assert_eq!(rig.records(), rig.registered_now());
}
