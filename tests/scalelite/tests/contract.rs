//! The sandbox's Scalelite gives the recorded answers, and whatever happens during the comparison, nothing is left
//! and no other entry is touched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "contract/program.rs"]
mod program;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use contract::{Report, SECRET as OWN_SECRET, Target, URL, Verdict, replay, rows};
use sandbox::bbb::Network;
use sandbox::bbb::checksum::Algorithm;
use sandbox::faults::{Fault, Faults, Planned};
use sandbox::http::{Gate, Request, ServiceName};
use sandbox::journal::Journal;
use sandbox::scalelite::{Config, Scalelite, ServerIds, ServerState, StrayWatches};

pub(crate) const SECRET: &str = "load balancer's secret";
const THEIRS: &str = "https://vc-1.example.org/bigbluebutton/api";

pub(crate) struct World {
    pub(crate) scalelite: Arc<Scalelite>,
    pub(crate) base: String,
    faults: Faults,
    journal: Journal,
    _gate: Gate,
}

pub(crate) async fn world(config: Config) -> World {
    let scalelite = Scalelite::new(config, Network::plain());
    let (faults, journal) = (Faults::default(), Journal::default());
    let service = Arc::clone(&scalelite);
    let route = Arc::new(move |_: &Request| Arc::clone(&service) as _);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (address, gate) =
        Gate::listen(any, true, None, route, faults.clone(), journal.clone()).await.unwrap();
    World { scalelite, base: format!("http://{address}"), faults, journal, _gate: gate }
}

impl World {
    async fn replay(&self) -> Report {
        let target = Target::new(&self.base, SECRET).unwrap();
        replay(&target, pending()).await
    }

    fn fault(&self, action: &str, fault: Fault, times: Option<u32>) {
        let (service, action) = (ServiceName::Scalelite, Some(action.to_owned()));
        self.faults.plan(Planned { service, action, fault, times });
    }

    /// Asserts that nothing is left but the pool as it was.
    #[track_caller]
    fn is_as_before(&self, before: &sandbox::scalelite::Snapshot, report: &Report) {
        assert_eq!(&self.scalelite.snapshot(), before, "{report}");
        assert_eq!(report.left, Vec::<String>::new(), "{report}");
    }
}

fn not_asked(report: &Report) -> Vec<&str> {
    let reasons = report.rows.iter().filter_map(|(_, _, verdict)| match verdict {
        Verdict::NotAsked(why) => Some(why.as_str()),
        _ => None,
    });
    let mut reasons: Vec<&str> = reasons.collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

#[tokio::test]
async fn the_sandbox_gives_every_recorded_answer() {
    let plain = || Config::new(SECRET);
    let unkinder = StrayWatches { workers: 2, lost_deletes: true };
    for (what, config, reasons) in [
        ("the default", plain(), vec!["SERVER_ID_IS_HOSTNAME is not set"]),
        (
            "host names for ids",
            Config { ids: ServerIds::Hostname, ..plain() },
            vec!["SERVER_ID_IS_HOSTNAME is set"],
        ),
        (
            "one algorithm",
            Config { algorithms: vec![Algorithm::Sha512], ..plain() },
            vec!["LOADBALANCER_CHECKSUM_ALGORITHM does not allow it", "SERVER_ID_IS_HOSTNAME is not set"],
        ),
        (
            "no tags",
            Config { version: (1, 5, 1), ..plain() },
            vec!["SERVER_ID_IS_HOSTNAME is not set", "this Scalelite has no tags"],
        ),
        ("as unkind as life", plain().as_observed(1), vec!["SERVER_ID_IS_HOSTNAME is not set"]),
        (
            "unkinder",
            Config { stray_watches: Some(unkinder), seed: 2, ..plain() },
            vec!["SERVER_ID_IS_HOSTNAME is not set"],
        ),
    ] {
        let world = world(config).await;
        let unkind = world.scalelite.configuration().stray_watches.is_some();
        let report = world.replay().await;
        assert!(report.is_good(), "{what}: {report}");
        assert_eq!(report.rows.len(), rows().unwrap().len(), "{what}");
        assert_eq!(not_asked(&report), reasons, "{what}");
        assert!(report.alike() > 60, "{what}: {report}");
        assert_eq!(world.scalelite.servers(), [], "{what}");
        assert!(unkind || report.conflicts == 0, "{what}");
    }
}

#[tokio::test]
async fn save_conflicts_are_borne_as_a_client_has_to() {
    for ids in [ServerIds::Uuid, ServerIds::Hostname] {
        let world = world(Config { ids, ..Config::new(SECRET) }).await;
        let conflict = "Servers list concurrently modified";
        for (action, status, code, times) in [
            ("addServer", 500, "", 3),
            ("updateServer", 400, conflict, 2),
            ("panicServer", 400, "Couldn't disable server id=x", 1),
        ] {
            world.fault(action, Fault::Error { status, code: code.to_owned() }, Some(times));
        }
        world.fault("addServer", Fault::ErrorAfter { status: 500, code: String::new() }, Some(2));
        let report = world.replay().await;
        assert!(report.is_good(), "{ids:?}: {report}");
        assert_eq!(report.conflicts, 8, "{ids:?}: {report}");
        assert_eq!(world.scalelite.servers(), [], "{ids:?}");
    }
}

#[tokio::test]
async fn a_pool_in_use_is_left_as_it_was() {
    for seed in 0..3 {
        let world = world(Config::new(SECRET).as_observed(seed)).await;
        let theirs = world.scalelite.add_server(THEIRS, "their secret", ServerState::Enabled);
        world.scalelite.map_meeting("room", &theirs);
        let before = world.scalelite.snapshot();
        let report = world.replay().await;
        assert!(report.is_good(), "{report}");
        assert!(not_asked(&report).contains(&"the pool is in use"), "{report}");
        assert!(!report.to_string().contains("their secret") && !report.to_string().contains(SECRET));
        world.is_as_before(&before, &report);
        // What a run that was killed has left is taken away by the next one.
        world.scalelite.add_server(URL, OWN_SECRET, ServerState::Disabled);
        world.scalelite.add_server("20", OWN_SECRET, ServerState::Disabled);
        let report = world.replay().await;
        assert!(report.is_good(), "{report}");
        world.is_as_before(&before, &report);
    }
}

#[tokio::test]
async fn what_differs_is_told_and_nothing_is_left() {
    for (action, status, code) in [
        ("panicServer", 200, "unsupportedRequest"),
        ("updateServer", 404, "No such thing"),
        ("getServerInfo", 500, "html"),
    ] {
        let world = world(Config::new(SECRET)).await;
        world.scalelite.add_server(THEIRS, "their secret", ServerState::Enabled);
        let before = world.scalelite.snapshot();
        world.fault(action, Fault::Error { status, code: code.to_owned() }, None);
        let report = world.replay().await;
        assert!(!report.is_good() && report.different() > 2 && report.ended.is_none(), "{report}");
        let text = report.to_string();
        assert!(
            text.contains("DIFFERS: ") && text.contains("recorded: 200 ") && text.contains("here:     "),
            "{text}"
        );
        world.is_as_before(&before, &report);
    }
}

#[tokio::test]
async fn a_kinder_scalelite_is_found_out() {
    let world = world(Config::new(SECRET)).await;
    world.fault(
        "addServer",
        Fault::Error { status: 400, code: "Server needs a URL and a secret".to_owned() },
        None,
    );
    let report = world.replay().await;
    assert!(report.ended.as_deref().is_some_and(|why| why.contains("an entry cannot be added")), "{report}");
    assert!(!report.is_good(), "what could not be asked is not good");
}

#[tokio::test]
async fn it_may_be_stopped_at_any_moment() {
    let stops = [1, 3, 4, 5, 9, 40, 41, 42, 43, 120, 200];
    for requests in stops {
        let world = world(Config::new(SECRET).as_observed(requests as u64)).await;
        world.scalelite.add_server(THEIRS, "their secret", ServerState::Enabled);
        let before = world.scalelite.snapshot();
        let target = Target::new(&world.base, SECRET).unwrap();
        let report = replay(&target, world.journal.reached(ServiceName::Scalelite, "", requests)).await;
        assert_eq!(report.ended.is_some(), report.rows.len() < rows().unwrap().len(), "{report}");
        world.is_as_before(&before, &report);
    }
}

#[tokio::test]
async fn lost_answers_leave_nothing_behind() {
    for action in ["addServer", "deleteServer", "updateServer"] {
        let world = world(Config::new(SECRET)).await;
        world.fault(action, Fault::LoseReply, Some(1));
        let report = world.replay().await;
        assert!(report.ended.is_some() && !report.is_good(), "{action}: {report}");
        assert_eq!(world.scalelite.servers(), [], "{action}");
        assert!(report.to_string().contains("ENDED EARLY: "), "{report}");
        assert!(!report.to_string().contains("checksum="), "{report}");
    }
}

#[tokio::test]
async fn without_the_right_secret_nothing_is_sent_that_changes_anything() {
    let world = world(Config::new("another")).await;
    let report = world.replay().await;
    assert!(report.ended.as_deref().is_some_and(|why| why.contains("secret")), "{report}");
    assert_eq!(world.journal.count(ServiceName::Scalelite, "Server"), 3, "one list for each algorithm");
    assert_eq!(world.journal.count(ServiceName::Scalelite, "getServers"), 3);
    let nobody = Target::new("http://127.0.0.1:1", SECRET).unwrap();
    assert!(replay(&nobody, pending()).await.ended.is_some());
}

#[tokio::test]
async fn what_cannot_be_deleted_is_named() {
    let world = world(Config::new(SECRET)).await;
    world.fault("deleteServer", Fault::Error { status: 200, code: "internalError".to_owned() }, None);
    let report = world.replay().await;
    assert_eq!(report.left.len(), 1, "{report}");
    assert!(report.to_string().contains(&format!("LEFT BEHIND: entry {}", report.left[0])), "{report}");
    assert!(!report.is_good());
}
