//! The service takes its turns to sweep, by a clock that is moved by hand; and none where it is told not to.

use std::time::Duration;

use e2e::{Rig, label, skipped};
use sandbox::cloud::Options;
use sandbox::http::ServiceName::{Ec2, Route53};
use sandbox::route53::RecordType;
use sandbox::scalelite::ServerState;

use crate::process;

/// Set for the process that is the service.
const VARIABLE: &str = "SWEEPING_HOURS";
/// A host that EC2 does not know any more.
const DEAD: &str = "i-00000000deadbeef0";

/// A cloud in which no timer is under way (see [`process`]), with the debris of a host.
async fn fleet() -> Rig {
    let mut options = Options::with_tls();
    (options.scalelite.processing, options.route53.processing) = (Duration::ZERO, Duration::ZERO);
    let rig = Rig::start(options).await;
    let name = format!("vc-{}.{}", DEAD.trim_start_matches("i-"), rig.cloud.zone_name);
    rig.put(RecordType::A, &name, &["198.51.100.1"]);
    rig.put(RecordType::Txt, &format!("_agent.{name}"), &[&label("bbb", DEAD, "1767225600")]);
    let url = format!("https://{name}/bigbluebutton/api");
    rig.cloud.scalelite.add_server(&url, "its secret", ServerState::Enabled);
    rig
}

/// Lets the service live for an hour with these settings more. Returns what it logged.
async fn an_hour(rig: &Rig, settings: &[(&str, &str)]) -> String {
    let mut command = process::program();
    command.envs(rig.agent.environment()).envs(settings.iter().copied()).env(VARIABLE, "1");
    process::watch(command, "sweeping::the_service_of_that_hour", async |_| {}).await
}

#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn the_service_of_that_hour() {
    match std::env::var(VARIABLE) {
        Ok(hours) => process::pass(hours.parse().unwrap()),
        Err(_) => skipped("this is a part of the other tests"),
    }
}

/// Hosts wait at most twice the interval, and the first turn in a small zone is always taken.
#[tokio::test]
async fn a_host_that_takes_turns_removes_what_another_left() {
    let rig = fleet().await;
    let settings = [("BBB_AGENT_SWEEP_INTERVAL", "600")];
    let log = an_hour(&rig, &settings).await;
    assert_eq!(rig.records(), rig.registered_now(), "{log}");
    assert_eq!(rig.entry().state, ServerState::Enabled, "{log}");
    assert_eq!(rig.cloud.scalelite.servers().len(), 1, "{log}");
    assert!(log.contains("is gone, and nothing of it is left"), "{log}");
    assert_eq!(rig.batches().len(), 2, "its own registration, and this");
}

#[tokio::test]
async fn no_host_takes_turns_where_it_is_told_not_to() {
    let rig = fleet().await;
    let (records, before) = (rig.records(), rig.cloud.scalelite.servers().len());
    let settings = [("BBB_AGENT_SWEEP_ENABLED", "false"), ("BBB_AGENT_SWEEP_INTERVAL", "600")];
    let log = an_hour(&rig, &settings).await;
    assert!(records.iter().all(|record| rig.records().contains(record)), "{log}");
    assert_eq!(rig.cloud.scalelite.servers().len(), before + 1, "its own came: {log}");
    assert_eq!(rig.calls(Route53), ["ChangeResourceRecordSets"]);
    assert_eq!(rig.calls(Ec2), [""; 0]);
}
