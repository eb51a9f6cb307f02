//! The service is told to stop: what it undoes, by why it stops and by what it was doing.

use e2e::{Rig, Run, Running, Systemd, at_once};
use sandbox::cloud::{HostOptions, Options};
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Imds, Route53, Scalelite};
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
    /// Brings the service there; a meeting that was created through Scalelite runs on the host wherever there is an
    /// entry.
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
                service.said("-> unregistered:", 1).await;
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
        "cordoned" => {
            rig.cloud.scalelite.set_state(&rig.entry().id, ServerState::Cordoned);
            service.signal("USR1").await;
            service.said("-> cordoned:", 1).await;
        }
        "leaving" => {
            // Disabling is under way, and stays so until the service has been told to stop.
            rig.cloud.scalelite.hold();
            let asking = rig.begin(&["deregister"]);
            rig.cloud.scalelite.held(1).await;
            drop(asking);
        }
        "unregistered" => drop(rig.expect(0, &["deregister"]).await),
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
        "stop" => vec![vec![own("stop")]],
        "unknown" => vec![vec![], vec!["nginx.service restart".to_owned()]],
        other => panic!("no cause of the table: {other}"),
    }
}

/// What a row says is undone, and whether that is so.
fn check(row: &[String; 4], before: &serde_json::Value, rig: &Rig) {
    let [state, .., undone] = row;
    let is_there =
        !matches!(state.as_str(), "unregistered" | "warm pool" | "joining" | "serving without Scalelite");
    match undone.as_str() {
        "nothing" => assert_eq!(&rig.state(), before, "{row:?}"),
        "everything" => {
            assert_eq!(rig.records(), [""; 0], "{row:?}");
            assert_eq!(rig.cloud.scalelite.servers(), [], "{row:?}");
            assert_eq!(rig.meetings(), [""; 0], "{row:?}");
        }
        "disable, panic and delete, the name stays"
        | "disable, panic and delete, the name stays; cordoned again after the boot" => {
            assert_eq!(rig.cloud.scalelite.servers(), [], "{row:?}");
            assert_eq!(rig.meetings(), [""; 0], "{row:?}");
            assert!(rig.cloud.scalelite.meetings().is_empty(), "{row:?}: nobody is sent here any more");
            assert_eq!(rig.records(), rig.registered_now(), "{row:?}");
        }
        "cordon, the entry and the name stay" => {
            let states: Vec<ServerState> = rig.entries().into_iter().map(|entry| entry.state).collect();
            let rooms = if is_there { vec![ROOM.to_owned()] } else { Vec::new() };
            assert_eq!(states, vec![ServerState::Cordoned; rooms.len()], "{row:?}");
            assert_eq!(rig.meetings(), rooms, "{row:?}");
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
        let cells: Vec<String> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect();
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
    // It was sent before the service ended, and is read a moment later at most.
    systemd.hears("STOPPING=1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_the_service_stops_decides_what_is_undone() {
    let mut all = Vec::new();
    for row in rows() {
        let unit =
            if row[0] == "serving without Scalelite" { "turn-agent.service" } else { "bbb-agent.service" };
        all.extend(causes(&row[1], unit).into_iter().map(|jobs| (row.clone(), jobs)));
    }
    assert!(all.len() > 16, "{all:?}");
    at_once(all, |(row, jobs)| stopped_as(row, jobs)).await;
}

/// `deregister` is the way to do the rest.
const REST: &str = "what to do: bbb-agent deregister does the rest";

#[tokio::test]
async fn systemd_is_told_how_long_it_takes() {
    let stage = Stage::set("serving", &["timeouts.deregister=20"]).await;
    let (.., systemd, run) = stage.stop(&["bbb-agent.service stop"]).await;
    assert_eq!(run.code, 0, "{run}");
    systemd.hears("STATUS=stopping").await;
    let told = systemd.told();
    let stopping = told.iter().position(|one| one == "STOPPING=1").expect("it stops");
    // Its own patience, and something to end with.
    assert_eq!(told[stopping + 1], "EXTEND_TIMEOUT_USEC=35000000", "{told:?}");
    assert_eq!(told[stopping + 2], "STATUS=stopping (the service is stopped)", "{told:?}");
    assert_eq!(told.iter().filter(|one| *one == "READY=1").count(), 1, "{told:?}");
}

#[tokio::test]
async fn systemd_is_told_again_and_again_while_it_takes_long() {
    let (rig, systemd) = (Rig::bbb().await, Systemd::start());
    let mut command =
        rig.command(&["run", "--set", "sweep.enabled=false", "--set", "timeouts.deregister=60"]);
    systemd.starts(&mut command);
    command.env("WATCHDOG_USEC", "100000");
    let mut service = Running::start(command);
    service.said(SERVING, 1).await;
    rig.cloud.scalelite.hold();
    service.signal("TERM").await;
    rig.cloud.scalelite.held(1).await;
    // The first one is for finding out why it stops.
    systemd.hears_again("EXTEND_TIMEOUT_USEC=", 4).await;
    let told = systemd.told();
    let times = told.iter().filter_map(|one| one.strip_prefix("EXTEND_TIMEOUT_USEC="));
    let times: Vec<u64> = times.map(|time| time.parse().unwrap()).collect();
    // What is left of its patience, and something to end with: each asks for the same end, not for a later one.
    assert!(times.is_sorted_by(|earlier, later| earlier > later), "{times:?}");
    assert!((70_000_000..=75_000_000).contains(&times[3]), "{times:?}");
    rig.cloud.scalelite.release();
    let run = service.end().await;
    assert_eq!(run.code, 0, "{run}");
}

#[tokio::test]
async fn a_metadata_service_that_does_not_say_who_the_host_is_keeps_nothing() {
    let broken = Fault::Error { status: 500, code: String::new() };
    at_once([broken, Fault::Hang], async |fault| {
        let stage = Stage::set("serving", &[]).await;
        stage.rig.fault(Imds, "identity/document", fault.clone(), None);
        let (rig, _, run) = stage.stop(&["poweroff.target start"]).await;
        assert_eq!(run.code, 0, "{fault:?}: {run}");
        rig.is_gone();
    })
    .await;
}

#[tokio::test]
async fn a_second_sigterm_changes_nothing() {
    let Stage { rig, mut service, systemd, .. } = Stage::set("serving", &[]).await;
    rig.cloud.scalelite.hold();
    service.signal("TERM").await;
    rig.cloud.scalelite.held(1).await;
    service.signal("TERM").await;
    service.signal("INT").await;
    service.signal("USR1").await;
    service.said("SIGUSR1", 1).await;
    assert!(service.goes_on());
    rig.cloud.scalelite.release();
    let run = service.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.stderr.matches("-> stopping:").count(), 1, "{run}");
    systemd.hears("STATUS=ended").await;
    assert_eq!(systemd.told().iter().filter(|one| *one == "STOPPING=1").count(), 1);
    rig.is_gone();
}

#[tokio::test]
async fn sigterm_while_the_name_is_being_registered() {
    let (rig, systemd) = (Rig::bbb().await, Systemd::start());
    rig.fault(Route53, "Change", Fault::Hang, Some(1));
    let service = rig.serve(Some(&systemd), &[]);
    rig.cloud.journal.reached(Route53, "Change", 1).await;
    service.signal("TERM").await;
    let run = service.end().await;
    assert_eq!(run.code, 0, "{run}");
    rig.is_gone();
    assert_eq!(rig.changes_in_scalelite(), [""; 0], "no further step was begun");
}

#[tokio::test]
async fn sigterm_while_the_name_is_being_registered_and_the_answer_is_lost() {
    let (rig, systemd) = (Rig::bbb().await, Systemd::start());
    rig.fault(Route53, "Change", Fault::LoseReply, Some(1));
    // The next try has to wait for this.
    rig.fault(Route53, "List", Fault::Hang, Some(1));
    let mut service = rig.serve(Some(&systemd), &[]);
    service.said("it is tried again", 1).await;
    service.signal("TERM").await;
    let run = service.end().await;
    assert_eq!(run.code, 0, "{run}");
    rig.is_gone();
}

#[tokio::test]
async fn sigterm_while_the_host_joins() {
    let (rig, systemd) = (Rig::bbb().await, Systemd::start());
    rig.cloud.scalelite.hold();
    let mut service = rig.serve(Some(&systemd), &[]);
    rig.cloud.scalelite.held(1).await;
    service.signal("TERM").await;
    service.said("-> stopping:", 1).await;
    // What is under way gets a moment to end; then what came of it is undone.
    rig.cloud.scalelite.release();
    let run = service.end().await;
    assert_eq!(run.code, 0, "{run}");
    rig.is_gone();
}

#[tokio::test]
async fn sigterm_while_the_host_is_cordoned() {
    let Stage { rig, systemd, mut service, .. } = Stage::set("serving", &[]).await;
    rig.cloud.scalelite.hold();
    let drain = rig.begin(&["drain"]);
    rig.cloud.scalelite.held(1).await;
    systemd.does(&["poweroff.target start", "bbb-agent.service stop"]);
    service.signal("TERM").await;
    service.said("-> stopping:", 1).await;
    rig.cloud.scalelite.release();
    let run = service.end().await;
    assert_eq!(run.code, 0, "{run}");
    rig.is_gone();
    // Whoever waits is told.
    let drain = drain.end().await;
    assert_eq!(drain.code, 8, "{drain}");
    drain.says(&["the service has been stopped meanwhile"]);
}

#[tokio::test]
async fn a_scalelite_that_is_dead_does_not_keep_the_name() {
    let stage = Stage::set("serving", &["timeouts.deregister=10"]).await;
    stage.rig.fault(Scalelite, "", Fault::Close, None);
    let (rig, _, run) = stage.stop(&["poweroff.target start"]).await;
    assert_eq!(run.code, 8, "{run}");
    run.says(&["not everything was undone in time: Scalelite entry ", &rig.host.scalelite_entry_url(), REST]);
    assert_eq!(rig.records(), [""; 0]);
    rig.heal();
    rig.expect(0, &["deregister"]).await;
    rig.is_gone();
}

#[tokio::test]
async fn a_route_53_that_is_dead_does_not_keep_the_entry() {
    let stage = Stage::set("serving", &["timeouts.deregister=10"]).await;
    stage.rig.refuse(Route53, "", 503, "ServiceUnavailable", None);
    let (rig, _, run) = stage.stop(&["poweroff.target start"]).await;
    assert_eq!(run.code, 8, "{run}");
    run.says(&[&format!("not everything was undone in time: DNS name {}", rig.fqdn()), REST]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
    assert_eq!(rig.meetings(), [""; 0]);
    rig.heal();
    rig.expect(0, &["deregister"]).await;
    rig.is_gone();
}

#[tokio::test]
async fn what_hangs_is_said_too() {
    let stage = Stage::set("serving", &["timeouts.deregister=6"]).await;
    stage.rig.fault(Route53, "", Fault::Hang, None);
    let (rig, _, run) = stage.stop(&["poweroff.target start"]).await;
    assert_eq!(run.code, 8, "{run}");
    run.says(&[&format!("in time: DNS name {}: no answer in time", rig.fqdn()), REST]);
    assert_eq!(rig.cloud.scalelite.servers(), []);
}

#[tokio::test]
async fn what_is_left_is_said_where_both_are_dead() {
    let stage = Stage::set("serving", &["timeouts.deregister=10"]).await;
    stage.rig.refuse(Route53, "", 503, "ServiceUnavailable", None);
    stage.rig.refuse(Scalelite, "", 500, "", None);
    let before = (stage.rig.records(), stage.rig.entries());
    let (rig, _, run) = stage.stop(&["bbb-agent.service stop"]).await;
    assert_eq!(run.code, 8, "{run}");
    let last = run.stderr.rsplit("bbb-agent: ").next().unwrap_or_default();
    for what in ["Scalelite entry ", &format!("DNS name {}", rig.fqdn()), REST] {
        assert!(last.contains(what), "{what:?} is missing: {run}");
    }
    assert_eq!((rig.records(), rig.entries()), before);
}

#[tokio::test]
async fn the_host_is_disabled_and_its_name_is_gone_however_long_ending_the_meetings_takes() {
    let stage = Stage::set("serving", &[]).await;
    let Stage { rig, systemd, mut service, .. } = stage;
    rig.cloud.scalelite.refuse_panics(u32::MAX);
    rig.cloud.journal.clear();
    systemd.does(&["poweroff.target start"]);
    service.signal("TERM").await;
    rig.cloud.journal.reached(Scalelite, "panicServer", 3).await;
    rig.cloud.journal.reached(Route53, "Change", 1).await;
    assert!(service.goes_on());
    assert_eq!(rig.entry().state, ServerState::Disabled);
    assert_eq!(rig.records(), [""; 0]);
    rig.cloud.scalelite.refuse_panics(0);
    let run = service.end().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.cloud.scalelite.servers(), []);
    let changes = rig.changes_in_scalelite();
    assert_eq!(changes[0], "updateServer", "{changes:?}");
    assert_eq!(changes.iter().filter(|call| *call == "deleteServer").count(), 1, "{changes:?}");
    assert_eq!(rig.calls(Route53).len(), 1);
}

#[tokio::test]
async fn after_a_reboot_the_host_takes_meetings_again() {
    let stage = Stage::set("serving", &["service.on_stop=leave"]).await;
    let (rig, systemd, run) = stage.stop(&["reboot.target start", "bbb-agent.service stop"]).await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(rig.cloud.scalelite.servers(), []);
    rig.cloud.journal.clear();
    // A boot empties /run.
    std::fs::remove_dir_all(rig.agent.directory()).unwrap();
    systemd.does(&[]);
    let mut service = rig.serve(Some(&systemd), &[]);
    service.said(SERVING, 1).await;
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.calls(Route53), [""; 0], "the name is still there");
}

#[tokio::test]
async fn a_service_that_cordoned_when_it_was_stopped_enables_when_it_starts() {
    for (on_stop, state, calls) in [("cordon", ServerState::Cordoned, 1), ("keep", ServerState::Enabled, 0)] {
        let setting = format!("service.on_stop={on_stop}");
        let stage = Stage::set("serving", &[&setting]).await;
        let (rig, systemd, run) = stage.stop(&["bbb-agent.service stop"]).await;
        assert_eq!(run.code, 0, "{on_stop}: {run}");
        assert_eq!(rig.entry().state, state, "{on_stop}");
        rig.cloud.journal.clear();
        rig.serve(Some(&systemd), &[]).said(SERVING, 1).await;
        assert_eq!(rig.entry().state, ServerState::Enabled, "{on_stop}");
        assert_eq!(rig.changes_in_scalelite().len(), calls, "{on_stop}");
        assert_eq!(rig.meetings(), [ROOM], "{on_stop}");
    }
}

#[tokio::test]
async fn outside_systemd_sigterm_and_sigint_are_a_stop() {
    for signal in ["TERM", "INT"] {
        let rig = Rig::bbb().await;
        let mut service = rig.serve(None, &[]);
        service.said(SERVING, 1).await;
        service.signal(signal).await;
        let run = service.end().await;
        assert_eq!(run.code, 0, "{signal}: {run}");
        rig.is_gone();
    }
}
