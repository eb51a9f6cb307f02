//! Never two writers: commands by hand beside each other, and beside a service that listens.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use e2e::{Rig, Run, Running, at_once};
use host::cli::Only;
use host::control::{Conversation, Listener, Lock, Request, ServiceState};
use host::report::Exit;
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{Imds, Route53, Scalelite};
use sandbox::scalelite::ServerState;
use serde_json::{Value, json};

/// A stand-in of the service: it has the lock, and the service's own end of the socket.
struct Service {
    _lock: Lock,
    listener: Listener,
}

impl Service {
    fn on(rig: &Rig) -> Self {
        let lock = Lock::try_take(rig.agent.directory()).unwrap().expect("nobody has the lock");
        Self { listener: Listener::bind(&lock).unwrap(), _lock: lock }
    }
}

/// Runs a command; the stand-in answers its one request.
async fn served(rig: &Rig, arguments: &[&str], answer: impl FnOnce(Conversation)) -> (Request, Run) {
    let service = Service::on(rig);
    let serving = async {
        let (request, conversation) = service.listener.next().await;
        answer(conversation);
        request
    };
    tokio::join!(serving, rig.run(arguments))
}

/// `register` that has the lock and hangs at its first change.
async fn hanging(rig: &Rig) -> Running {
    rig.fault(Route53, "Change", Fault::Hang, Some(1));
    let running = rig.begin(&["register"]);
    rig.cloud.journal.reached(Route53, "Change", 1).await;
    running
}

fn registered(rig: &Rig) {
    assert_eq!(rig.records(), rig.registered_now());
    assert_eq!(rig.entry().state, ServerState::Enabled);
    assert_eq!(rig.cloud.scalelite.servers().len(), 1);
}

#[tokio::test]
async fn two_registers_at_once_write_once() {
    let rig = Rig::bbb().await;
    rig.cloud.scalelite.hold();
    let first = rig.begin(&["register"]);
    rig.cloud.scalelite.held(1).await;
    // The first one is in the middle of adding the host.
    let mut second = rig.begin(&["register"]);
    second.said("waiting for another bbb-agent command on this host to end", 1).await;
    rig.cloud.scalelite.release();
    let (first, second) = tokio::join!(first.end(), second.end());
    assert_eq!((first.code, second.code), (0, 0), "{first}\n{second}");
    assert_eq!(second.stdout.matches("waiting for another").count(), 1, "it is told once:\n{second}");
    second.says(&["is registered already, nothing to do", "is enabled already, nothing to do"]);
    assert_eq!(rig.batches().len(), 1);
    assert_eq!(rig.cloud.journal.count(Scalelite, "addServer"), 1);
    registered(&rig);
}

#[tokio::test]
async fn a_command_that_is_killed_leaves_nothing_that_locks_others_out() {
    let rig = Rig::bbb().await;
    let first = hanging(&rig).await;
    let mut second = rig.begin(&["register"]);
    second.said("waiting for another", 1).await;
    first.signal("KILL").await;
    assert_eq!(first.end().await.code, -1);
    let second = second.end().await;
    assert_eq!(second.code, 0, "{second}");
    registered(&rig);
    // The lock's file is still there, and nobody waits for it.
    let third = rig.expect(0, &["deregister"]).await;
    assert!(!third.stdout.contains("waiting"), "{third}");
}

#[tokio::test]
async fn who_waits_in_vain_says_for_what_and_changes_nothing() {
    let rig = Rig::bbb().await;
    let first = hanging(&rig).await;
    let run = rig.expect(8, &["deregister", "--set", "timeouts.deregister=1"]).await;
    run.says(&["run/bbb-agent/lock: gave up waiting", "what to do: `fuser -v "]);
    assert_eq!(rig.calls(Route53).len(), 1, "only the first one's");
    assert_eq!(rig.changes_in_scalelite(), [""; 0]);
    first.signal("TERM").await;
    first.end().await;
}

#[tokio::test]
async fn a_signal_ends_the_waiting() {
    let rig = Rig::bbb().await;
    let first = hanging(&rig).await;
    let mut second = rig.begin(&["register"]);
    second.said("waiting for another", 1).await;
    second.signal("TERM").await;
    assert_eq!(second.end().await.code, 143);
    first.signal("TERM").await;
    first.end().await;
}

#[tokio::test]
async fn what_changes_nothing_waits_for_nobody() {
    let rig = Rig::bbb().await;
    let first = hanging(&rig).await;
    rig.expect(0, &["register", "--dry-run"]).await.says(&["would "]);
    rig.expect(0, &["deregister", "--dry-run"]).await;
    rig.expect(3, &["status"]).await.says(&["service      not running\n"]);
    rig.expect(0, &["hostname"]).await;
    first.signal("TERM").await;
    first.end().await;
}

#[tokio::test]
async fn where_a_service_listens_it_does_the_work() {
    let rows = [
        (&["register", "--only", "dns"][..], Request::Register { only: Some(Only::Dns), wait: false }),
        (&["register"], Request::Register { only: None, wait: false }),
        (
            &["deregister", "--only", "scalelite"],
            Request::Deregister { only: Some(Only::Scalelite), wait: false },
        ),
        (&["deregister", "--wait"], Request::Deregister { only: None, wait: true }),
        (&["drain"], Request::Drain { deadline: None, wait: false }),
        (&["drain", "--deadline", "90", "--wait"], Request::Drain { deadline: Some(90), wait: true }),
    ];
    at_once(rows, async |(arguments, expected)| {
        let rig = Rig::bbb().await;
        let before = rig.state();
        let (request, run) = served(&rig, arguments, |conversation| {
            conversation.line("dns: the first line");
            conversation.progress("waits");
            conversation.complaint("something went wrong\n  what to do: this");
            conversation.line("dns: the last line");
            conversation.end(Exit::WaitingForBbb);
        })
        .await;
        assert_eq!(request, expected);
        assert_eq!(run.code, 7, "{run}");
        assert_eq!(run.stdout, "dns: the first line\ndns: the last line\n");
        // Progress is for terminals.
        assert_eq!(run.stderr, "bbb-agent: something went wrong\n  what to do: this\n");
        assert_eq!(rig.state(), before, "the command itself changes nothing");
        assert_eq!(rig.calls(Imds), [""; 0], "nor asks anybody");
    })
    .await;
}

#[tokio::test]
async fn a_service_of_turn_agent_is_asked_likewise() {
    let rig = Rig::turn().await;
    let (request, run) = served(&rig, &["register"], |conversation| conversation.end(Exit::Done)).await;
    assert_eq!(request, Request::Register { only: None, wait: false });
    assert_eq!(run.code, 0, "{run}");
    let (request, run) =
        served(&rig, &["drain", "--wait"], |conversation| conversation.end(Exit::Done)).await;
    assert_eq!(request, Request::Drain { deadline: None, wait: true });
    assert_eq!(run.code, 0, "{run}");
}

#[tokio::test]
async fn a_service_that_goes_away_in_the_middle() {
    let rig = Rig::bbb().await;
    let (_, run) = served(&rig, &["drain", "--wait"], |conversation| {
        conversation.line("begun");
        drop(conversation);
    })
    .await;
    assert_eq!((run.code, run.stdout.as_str()), (8, "begun\n"), "{run}");
    run.says(&["drain: the service went away in the middle", "journalctl -u bbb-agent.service"]);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_not_waited_for_for_ever() {
    let rig = Rig::bbb().await;
    let _silent = Service::on(&rig);
    let run = rig.expect(8, &["deregister", "--set", "timeouts.deregister=1"]).await;
    run.says(&["deregister: the service does not answer in time"]);
    let status = rig.expect(3, &["status", "--json", "--set", "timeouts.status=5"]).await;
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["service"]["running"], Value::Null);
    assert!(status["service"]["error"].as_str().unwrap().contains("no answer in time"), "{status:#}");
}

#[tokio::test]
async fn a_command_that_is_stopped_leaves_the_service_alone() {
    let rig = Rig::bbb().await;
    let service = Service::on(&rig);
    let running = rig.begin(&["drain", "--wait"]);
    let (_, conversation) = service.listener.next().await;
    running.signal("INT").await;
    assert_eq!(running.end().await.code, 130);
    while !conversation.is_gone() {
        tokio::task::yield_now().await;
    }
    conversation.end(Exit::Done);
}

#[tokio::test]
async fn the_service_ends_while_a_command_waits_which_then_works_itself() {
    let rig = Rig::bbb().await;
    // It has the lock, and does not listen (yet, or any more).
    let lock = Lock::try_take(rig.agent.directory()).unwrap().unwrap();
    let mut running = rig.begin(&["register"]);
    running.said("waiting for another", 1).await;
    drop(lock);
    let run = running.end().await;
    assert_eq!(run.code, 0, "{run}");
    registered(&rig);
}

#[tokio::test]
async fn a_service_that_starts_to_listen_while_a_command_waits() {
    let rig = Rig::bbb().await;
    let lock = Lock::try_take(rig.agent.directory()).unwrap().unwrap();
    let mut running = rig.begin(&["register"]);
    running.said("waiting for another", 1).await;
    let listener = Listener::bind(&lock).unwrap();
    let (_, conversation) = listener.next().await;
    conversation.end(Exit::Partly);
    assert_eq!(running.end().await.code, 9);
    assert_eq!(rig.records(), [""; 0]);
}

#[tokio::test]
async fn drain_needs_the_service() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    let before = rig.state();
    let run = rig.expect(1, &["drain"]).await;
    run.says(&[
        "drain: the service bbb-agent.service does not run on this host",
        "what to do: systemctl start bbb-agent.service",
        "deregister, which ends the meetings",
    ]);
    assert_eq!(rig.state(), before);
    rig.expect(2, &["drain", "--deadline", "0"]).await;
}

#[tokio::test]
async fn the_state_of_the_service_is_shown() {
    let rig = Rig::bbb().await;
    let state = ServiceState {
        state: "draining".into(),
        words: "waits for 2 meetings (deadline 18:00)".into(),
        since: 1_795_348_740,
        more: [("meetings".to_owned(), json!(2))].into_iter().collect(),
    };
    let service = Service::on(&rig);
    let serving = async {
        loop {
            let (request, conversation) = service.listener.next().await;
            assert_eq!(request, Request::Status);
            conversation.service(state.clone());
            conversation.end(Exit::Done);
        }
    };
    let looking = async {
        let screen = rig.expect(3, &["status"]).await;
        screen.says(&["service      running, draining: waits for 2 meetings (deadline 18:00)\n"]);
        rig.status(3).await
    };
    let status = tokio::select! { status = looking => status, () = serving => unreachable!() };
    let shown = json!({
        "running": true, "state": "draining", "words": "waits for 2 meetings (deadline 18:00)",
        "since": 1_795_348_740, "meetings": 2, "error": null,
    });
    assert_eq!(status["service"], shown);
}

#[tokio::test]
async fn without_a_service_the_host_is_in_order_all_the_same() {
    let rig = Rig::bbb().await;
    rig.expect(0, &["register"]).await;
    rig.cloud.scalelite.poll().await;
    let status = rig.status(0).await;
    assert_eq!(status["service"], json!({"running": false, "error": null}));
    assert_eq!(status["reasons"], json!([]));
    rig.host.close(Imds).await;
    let screen = rig.expect(5, &["status", "--set", "timeouts.status=1"]).await;
    screen.says(&["host         not known", "service      not running\n"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_no_obstacle_and_one_that_cannot_be_used_is() {
    let rig = Rig::bbb().await;
    let nowhere = ["--set", "service.directory=/proc/no-such-agent", "--log-level", "debug"];
    let run = rig.expect(0, &[&["register"][..], &nowhere].concat()).await;
    run.says(&["no lock is taken: /proc/no-such-agent is missing and cannot be made"]);
    registered(&rig);

    let file = format!("service.directory={}", rig.agent.config().display());
    for command in ["register", "deregister"] {
        let run = rig.expect(1, &[command, "--set", &file]).await;
        run.says(&["cannot tell whether the service works on this host", "what to do: "]);
    }
    registered(&rig);
}

/// Lets everybody, the owner, or nobody into a directory.
fn open_to(directory: &Path, mode: u32) {
    std::fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn who_may_not_see_the_lock_is_told_to_be_root() {
    let rig = Rig::bbb().await;
    let own = tempfile::tempdir().unwrap();
    let root = own.path().metadata().unwrap().uid() == 0;
    // Nobody can read the configuration that others have written, nor perhaps where the agent was built.
    let place = tempfile::tempdir().unwrap();
    open_to(place.path(), 0o755);
    let binary = place.path().join("bbb-agent");
    sandbox::binaries::copy(rig.agent.binary(), &binary).unwrap();
    let below = own.path().join("below");
    for directory in [own.path(), &below] {
        open_to(own.path(), if root { 0o700 } else { 0o000 });
        for command in ["register", "deregister", "drain"] {
            let mut command_line = tokio::process::Command::new(&binary);
            command_line.arg(command).env_clear().env("BBB_AGENT_SERVICE_DIRECTORY", directory);
            command_line
                .env("BBB_AGENT_DNS_ZONE_ID", &rig.cloud.zone_id)
                .env("BBB_AGENT_DNS_DOMAIN", "example.org");
            command_line.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
            if root {
                command_line.uid(65_534).gid(65_534);
            }
            let run = Running::start(command_line).end().await;
            assert_eq!(run.code, 1, "{command} {}:\n{run}", directory.display());
            run.says(&["Permission denied", "what to do: run this as root"]);
        }
    }
    open_to(own.path(), 0o700);
}
