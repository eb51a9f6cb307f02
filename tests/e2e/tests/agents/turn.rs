//! `turn-agent`: the same name, and no contact to Scalelite or BBB at all.

use e2e::{Coturn, Rig};
use plan::relay::Relay;
use sandbox::http::ServiceName::{Bbb, Route53, Scalelite, SecretsManager};
use serde_json::Value;

fn no_load_balancer(rig: &Rig) {
    for service in [Scalelite, SecretsManager, Bbb] {
        assert_eq!(rig.calls(service), [""; 0]);
    }
}

#[tokio::test]
async fn a_turn_hosts_whole_life() {
    let rig = Rig::turn().await;
    let run = rig.expect(0, &["hostname"]).await;
    assert_eq!(run.stdout, "tu-0123456789abcdef0.example.org\n");

    rig.expect(0, &["register", "--dry-run"]).await.says(&["would Route 53: CREATE A"]);
    assert_eq!(rig.records(), [""; 0]);
    rig.expect(0, &["register", "--wait"]).await.says(&["(Route 53 calls: 1)", "is live on every"]);
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    rig.expect(0, &["register"]).await.says(&["nothing to do (Route 53 calls: 0)"]);

    let status = rig.status(0).await;
    assert_eq!(status["agent"], "turn-agent");
    assert_eq!(status["identity"]["role"], "turn");
    assert_eq!((&status["scalelite"], &status["bbb"]), (&Value::Null, &Value::Null));
    let screen = rig.expect(0, &["status"]).await;
    assert!(!screen.stdout.contains("scalelite") && !screen.stdout.contains("bbb  "), "{screen}");

    let run = rig.expect(0, &["check"]).await;
    assert!(!run.stdout.contains("scalelite") && !run.stdout.contains("FAIL"), "{run}");

    rig.expect(0, &["deregister", "--dry-run"]).await.says(&["would Route 53: DELETE A"]);
    rig.expect(0, &["deregister"]).await.says(&["removed"]);
    assert_eq!(rig.records(), [""; 0]);
    rig.expect(0, &["deregister"]).await.says(&["nothing to do"]);
    rig.expect(3, &["status"]).await;
    no_load_balancer(&rig);
}

#[tokio::test]
async fn an_open_relay_is_not_registered() {
    let rig = Rig::turn().await;
    let coturn = Coturn::start(Relay::Open).await;
    let setting = format!("metrics.coturn={}", coturn.address);
    let with = |command: &'static str| [command, "--set", &setting];
    let open = "coturn on this host relays without credentials";
    rig.expect(8, &with("register")).await.says(&[open, "use-auth-secret"]);
    rig.expect(3, &with("status")).await.says(&["not registered", open]);
    rig.expect(1, &with("check")).await.says(&["FAIL coturn          gives relays at", "to everybody"]);
    assert_eq!(rig.records(), [""; 0]);

    for (relay, said) in [
        (Relay::Refuses(403), "note coturn          refuses a relay at"),
        (Relay::Closed, "ok   coturn          asks for credentials at"),
    ] {
        coturn.becomes(relay);
        rig.expect(0, &with("check")).await.says(&[said]);
    }
    rig.expect(0, &with("register")).await.says(&["CREATE A"]);
    // To leave, it does not matter.
    coturn.becomes(Relay::Open);
    rig.expect(0, &with("deregister")).await.says(&["removed"]);
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn the_name_of_a_bbb_host_is_not_a_turn_hosts() {
    let rig = Rig::turn().await;
    rig.give_away("i-0fedcba9876543210", "192.0.2.7");
    rig.expect(6, &["register"]).await.says(&["it belongs to i-0fedcba9876543210"]);
    no_load_balancer(&rig);
}

#[tokio::test]
async fn it_has_no_settings_and_options_of_a_bbb_host() {
    let rig = Rig::turn().await;
    let run = rig.expect(2, &["status", "--set", "scalelite.url=https://scalelite.example.org"]).await;
    run.says(&["scalelite.url: there is no such setting"]);
    rig.expect(2, &["register", "--only", "dns"]).await.says(&["unexpected argument '--only'"]);
}
