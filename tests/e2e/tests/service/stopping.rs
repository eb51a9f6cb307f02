//! The service is told to stop: what it undoes, by why it stops and by what it was doing.

use e2e::{Rig, Run, Running, Systemd, at_once};
use sandbox::cloud::{HostOptions, Options};
use sandbox::http::ServiceName::Imds;
use sandbox::scalelite::ServerState;

/// The rows, as the documentation shows them.
const TABLE: &str = include_str!("../../../../agents/plan/src/tables/stop.md");

const SERVING: &str = "-> serving:";
const ROOM: &str = "room";

/// A host with its service, in a state of the table.
struct Stage {
    rig: Rig,
    systemd: Systemd,
    service: Running,
    /// What changes something in Scalelite gets no answer until this is over.
    is_held: bool,
}

impl Stage {
    /// Brings the service there; a meeting that was created through Scalelite runs on the host wherever there is an entry.
    async fn set(state: &str, settings: &[&str]) -> Self {
        let systemd = Systemd::start();
        let (rig, service) = match state {
            "serving without Scalelite" => serving(Rig::turn().await, &systemd, settings).await,
            "joining" => {
                let rig = Rig::without_bbb().await;
                let mut service = rig.serve(Some(&systemd), settings);
                service.said("waiting: ", 1).await;
                (rig, service)
            }
            "starting" => {
                let rig = Rig::bbb().await;
                rig.expect(0, &["register"]).await;
                rig.meet(ROOM);
                // Nobody knows what is intended with the host.
                rig.refuse(Imds, "target-lifecycle-state", 503, "", None);
                let mut service = rig.serve(Some(&systemd), settings);
                service.said("not all that is intended with this host is known", 1).await;
                (rig, service)
            }
            "warm pool" => {
                let mut facts = HostOptions::default();
                facts.facts.target_lifecycle_state = Some("Warmed:Running".to_owned());
                let rig = Rig::start(Options { host: facts, ..Options::with_tls() }).await;
                let mut service = rig.serve(Some(&systemd), settings);
                service.said("-> out:", 1).await;
                (rig, service)
            }
            _ => {
                let (rig, mut service) = serving(Rig::bbb().await, &systemd, settings).await;
                rig.meet(ROOM);
                move_on(state, &rig, &mut service).await;
                (rig, service)
            }
        };
        Self { rig, systemd, service, is_held: state == "leaving" }
    }

    /// systemd stops the service for this reason; returns how it ended.
    async fn stop(mut self, jobs: &[&str]) -> (Rig, Systemd, Run) {
        self.systemd.does(jobs);
        self.service.signal("TERM").await;
        if self.is_held {
            self.service.said("-> stopping:", 1).await;
            self.rig.cloud.scalelite.release();
        }
        (self.rig, self.systemd, self.service.end().await)
    }
}

async fn serving(rig: Rig, systemd: &Systemd, settings: &[&str]) -> (Rig, Running) {
    let mut service = rig.serve(Some(systemd), settings);
    service.said(SERVING, 1).await;
    (rig, service)
}

/// From serving to this state.
async fn move_on(state: &str, rig: &Rig, service: &mut Running) {
    match state {
        "serving" => {}
        "draining" => drop(rig.expect(0, &["drain"]).await),
        "resting" => {
            rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Cordoned);
            service.signal("USR1").await;
            service.said("-> resting:", 1).await;
        }
        "leaving" => {
            // Disabling is under way, and stays so until the service has been told to stop.
            rig.cloud.scalelite.hold();
            let asking = rig.begin(&["deregister"]);
            rig.cloud.scalelite.held(1).await;
            drop(asking);
        }
        "out" => drop(rig.expect(0, &["deregister"]).await),
        other => panic!("no state of the table: {other}"),
    }
}

/// The jobs of systemd's for a cause of the table, each way that it comes about.
fn causes(cause: &str, unit: &str) -> Vec<Vec<String>> {
    let own = |kind: &str| format!("{unit} {kind}");
    let end = |target: &str| vec![format!("{target}.target start"), own("stop")];
    match cause {
        "restart" => vec![vec![own("restart")]],
        "reboot" => ["reboot", "kexec", "soft-reboot"].map(end).to_vec(),
        "power off" => ["poweroff", "halt"].map(end).to_vec(),
        "stop" => vec![vec![own("stop")], vec![]],
        other => panic!("no cause of the table: {other}"),
    }
}

/// What a row says is undone, and whether that is so.
fn check(row: &[String; 4], before: &serde_json::Value, rig: &Rig) {
    let [state, .., undone] = row;
    let is_there = !matches!(state.as_str(), "out" | "warm pool" | "joining" | "serving without Scalelite");
    match undone.as_str() {
        "nothing" => assert_eq!(&rig.state(), before, "{row:?}"),
        "everything" => {
            assert_eq!(rig.records(), [""; 0], "{row:?}");
            assert_eq!(rig.cloud.scalelite.servers(), [], "{row:?}");
            assert_eq!(rig.meetings(), [""; 0], "{row:?}");
        }
        "disable and panic, the entry and the name stay" => {
            assert_eq!(rig.entry().state, ServerState::Disabled, "{row:?}");
            assert_eq!(rig.meetings(), [""; 0], "{row:?}");
            assert!(rig.cloud.scalelite.meetings().is_empty(), "{row:?}: nobody is sent here any more");
            assert_eq!(rig.records(), rig.registered_now(), "{row:?}");
        }
        "cordon, the entry and the name stay" => {
            assert_eq!(rig.entry().state, ServerState::Cordoned, "{row:?}");
            assert_eq!(rig.meetings(), [ROOM], "{row:?}");
            assert_eq!(rig.records(), rig.registered_now(), "{row:?}");
        }
        other => panic!("no undoing of the table: {other}"),
    }
    if undone == "nothing" && is_there {
        assert_eq!(rig.meetings(), [ROOM], "{row:?}");
    }
}

fn rows() -> Vec<[String; 4]> {
    let rows = TABLE.lines().skip(2).map(|line| {
        let cells: Vec<String> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        <[String; 4]>::try_from(cells).expect("four cells")
    });
    rows.collect()
}

async fn stopped_as(row: [String; 4], jobs: Vec<String>) {
    let [state, _, on_stop, undone] = &row;
    // Where it may be anything, it is what would undo the most, or the least.
    let any = if undone == "nothing" { "leave" } else { "keep" };
    let on_stop = format!("service.on_stop={}", if on_stop == "any" { any } else { on_stop });
    let mut settings = vec![on_stop.as_str()];
    if state != "serving without Scalelite" {
        // It comes when it comes, and is a change too.
        settings.push("protection.enabled=false");
    }
    let stage = Stage::set(state, &settings).await;
    let before = stage.rig.state();
    let jobs: Vec<&str> = jobs.iter().map(String::as_str).collect();
    let (rig, systemd, run) = stage.stop(&jobs).await;
    assert_eq!(run.code, 0, "{row:?}: {run}");
    check(&row, &before, &rig);
    let told = systemd.told();
    assert!(told.contains(&"STOPPING=1".to_owned()), "{row:?}: {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_the_service_stops_decides_what_is_undone() {
    let mut all = Vec::new();
    for row in rows() {
        let unit = if row[0] == "serving without Scalelite" { "turn-agent.service" } else { "bbb-agent.service" };
        all.extend(causes(&row[1], unit).into_iter().map(|jobs| (row.clone(), jobs)));
    }
    assert!(all.len() > 16, "{all:?}");
    at_once(all, |(row, jobs)| stopped_as(row, jobs)).await;
}
