//! What commands say about coturn on a BBB host, where it costs nobody the registration, and on a TURN host.

use e2e::{Coturn, Relays, Rig};
use plan::relay::Relay;
use serde_json::{Value, json};

/// Makes coturn installed on the host.
fn install(rig: &Rig) {
    let program = rig.host.root.join("usr/bin/turnserver");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::write(program, "").unwrap();
}

fn part(json: &str) -> Value {
    serde_json::from_str::<Value>(json).unwrap()["coturn"].clone()
}

#[tokio::test]
async fn a_bbb_host_says_what_its_coturn_does_and_joins_all_the_same() {
    let rig = Rig::bbb().await;
    let coturn = Coturn::start(Relay::Open).await;
    let setting = format!("metrics.coturn={}", coturn.address);
    let address = coturn.address;
    rig.expect(0, &["register", "--wait", "--set", &setting]).await;
    rig.cloud.scalelite.poll().await;
    let rows = [
        (Relay::Open, 4, "relays", "gives relays at", "FAIL coturn          gives relays at"),
        (Relay::Closed, 0, "asks-for-credentials", "asks for credentials at", "ok   coturn          asks"),
        (Relay::Refuses(403), 0, "refuses", "refuses a relay at", "note coturn          refuses"),
        (Relay::Silent, 0, "not-installed", "is not installed", "note coturn          is not installed"),
    ];
    for (relay, code, answer, words, check) in rows {
        coturn.becomes(relay);
        let run = rig.expect(code, &["status", "--json", "--set", &setting]).await;
        let found = part(&run.stdout);
        assert_eq!((&found["address"], &found["answer"]), (&json!(address.to_string()), &json!(answer)));
        assert_eq!((&found["relays"], &found["error"]), (&Value::Null, &Value::Null), "{found}");
        rig.expect(code, &["status", "--set", &setting]).await.says(&[&format!("coturn       {words}")]);
        let code = i32::from(relay == Relay::Open);
        rig.expect(code, &["check", "--set", &setting]).await.says(&[check]);
    }
    install(&rig);
    let silent = format!("coturn on this host does not answer at {address} (UDP)");
    rig.expect(4, &["status", "--set", &setting])
        .await
        .says(&["registered, but not as it should be", &silent]);
    // Nobody asks it.
    let run = rig.expect(0, &["status", "--json"]).await;
    assert_eq!(part(&run.stdout), Value::Null);
}

#[tokio::test]
async fn a_turn_host_says_what_its_coturn_does_and_how_many_relays_are_in_use() {
    let rig = Rig::turn().await;
    let coturn = Coturn::start(Relay::Closed).await;
    let relays = Relays::reserve();
    let (asks, counts) = (format!("metrics.coturn={}", coturn.address), relays.setting());
    let with = |command: &[&'static str]| -> Vec<String> {
        let set = ["--set", &asks, "--set", &counts].map(str::to_owned);
        command.iter().map(|word| (*word).to_owned()).chain(set).collect()
    };
    let run = async |code: i32, command: &[&'static str]| {
        let command = with(command);
        rig.expect(code, &command.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    run(0, &["register", "--wait"]).await;
    run(0, &["status"]).await.says(&["asks for credentials at ", ", 0 relays in use"]);
    let _relay = relays.begin();
    run(0, &["status"]).await.says(&["asks for credentials at ", ", 1 relay in use"]);
    let json = run(0, &["status", "--json"]).await;
    assert_eq!(part(&json.stdout)["relays"], json!({"count": 1, "error": null}));
    run(0, &["check"]).await.says(&["ok   coturn          asks for", "ok   relays          1 relay in use"]);
    coturn.becomes(Relay::Silent);
    run(4, &["status"]).await.says(&["not as it should be, because coturn on this host does not answer at"]);
    coturn.becomes(Relay::Open);
    run(3, &["status"]).await.says(&["gives relays at", "coturn on this host relays without credentials"]);
}
