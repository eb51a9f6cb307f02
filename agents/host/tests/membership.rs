//! The host's place in the pool against the sandbox's Scalelite and BBB host, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
#[path = "../../clients/tests/clients/served.rs"]
mod served;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use clients::bbb::Bbb;
use clients::scalelite::Scalelite;
use host::execute::Executor;
use host::interrupt::Interrupt;
use host::membership::{Applied, Known, Pool};
use host::report::Exit;
use plan::membership::{Desired, State};
use sandbox::bbb::{BbbHost, Network};
use sandbox::faults::Fault;
use sandbox::scalelite::{self as stand_in, Config, ServerIds, ServerState};
use secrecy::SecretString;
use served::{Served, client};
use tokio::time::Instant;

const SECRET: &str = "the load balancer's";
const HOST_SECRET: &str = "the host's";

struct Rig {
    stand_in: Arc<stand_in::Scalelite>,
    served: Served,
    scalelite: Scalelite,
    host: Arc<BbbHost>,
    bbb: Bbb,
    url: String,
    secret: SecretString,
    executor: Executor,
    known: Known,
    _bbb_served: Served,
}

impl Rig {
    async fn start() -> Self {
        Self::with(ServerIds::Uuid).await
    }

    async fn with(ids: ServerIds) -> Self {
        let config = Config { ids, ..Config::new(SECRET) };
        let stand_in = stand_in::Scalelite::new(config, Network::plain());
        let served = Served::start(stand_in.clone()).await;
        let scalelite = Scalelite::new(client(), &served.url(), SECRET.into()).unwrap();
        let host = BbbHost::new(HOST_SECRET, "3.0.4");
        let bbb_served = Served::start(host.clone()).await;
        let bbb = Bbb::new(client(), &bbb_served.url(), HOST_SECRET.into());
        Self {
            url: format!("{}/bigbluebutton/api", bbb_served.url()),
            secret: HOST_SECRET.into(),
            executor: Executor::new(Interrupt::listen().unwrap(), false),
            known: Known::default(),
            _bbb_served: bbb_served,
            stand_in,
            served,
            scalelite,
            host,
            bbb,
        }
    }

    fn pool(&self) -> Pool<'_> {
        let Self { scalelite, url, secret, known, executor, .. } = self;
        Pool {
            scalelite,
            url,
            secret,
            known,
            executor,
            patience: (Instant::now() + Duration::from_secs(60)).into(),
        }
    }

    fn add(&self, state: ServerState) -> String {
        self.stand_in.add_server(&self.url, HOST_SECRET, state)
    }

    async fn keep(&self) -> Applied {
        self.pool().keep(&Desired::default(), &self.bbb).await.unwrap()
    }

    /// Whether new meetings can be placed on the host, which the API does not show.
    fn in_placement(&self) -> bool {
        self.stand_in.servers().iter().any(|server| server.in_placement)
    }
}

fn states(applied: &Applied) -> Vec<State> {
    applied.entries.iter().map(|entry| entry.state).collect()
}

#[tokio::test]
async fn what_somebody_cordoned_or_disabled_is_kept_so() {
    for (before, after) in [
        (ServerState::Enabled, State::Enabled),
        (ServerState::Cordoned, State::Cordoned),
        (ServerState::Disabled, State::Disabled),
    ] {
        let rig = Rig::start().await;
        let id = rig.stand_in.add_server(&rig.url, "old", before);
        let desired = Desired { multiplier: Some(2.0), tag: None };
        let applied = rig.pool().keep(&desired, &rig.bbb).await.unwrap();
        assert_eq!(applied.done, [format!("update the secret and the load multiplier of entry {id}")]);
        assert_eq!(states(&applied), [after]);
        assert!(applied.entries[0].secret_matches, "these are the entries after the change");
        assert_eq!(applied.entries[0].multiplier, Some(2.0));
        let again = rig.pool().keep(&desired, &rig.bbb).await.unwrap();
        assert_eq!((again.done.len(), states(&again)), (0, vec![after]));
    }
}

#[tokio::test]
async fn a_missing_entry_is_not_added_by_keeping() {
    let rig = Rig::start().await;
    let applied = rig.keep().await;
    assert_eq!(states(&applied), []);
    assert_eq!(rig.stand_in.servers(), []);
}

#[tokio::test]
async fn duplicates_go_but_meetings_stay() {
    let rig = Rig::start().await;
    rig.add(ServerState::Cordoned);
    rig.add(ServerState::Disabled);
    rig.host.start_meeting("room", 2);
    assert_eq!(rig.keep().await.entries.len(), 2);
    rig.host.end_meeting("room");
    assert_eq!(states(&rig.keep().await), [State::Cordoned]);
}

/// The entry that was added while BBB still had http.
const BEFORE_TLS: &str = "https://127.0.0.1:8090/bigbluebutton/api/";

#[tokio::test]
async fn an_entry_with_an_old_url_is_replaced_when_the_host_is_empty() {
    for ids in [ServerIds::Uuid, ServerIds::Hostname] {
        let rig = Rig::with(ids).await;
        let old = rig.stand_in.add_server(BEFORE_TLS, HOST_SECRET, ServerState::Enabled);
        let other = rig.stand_in.add_server("https://127.0.0.2/bigbluebutton/api", "x", ServerState::Enabled);
        let applied = rig.pool().join(State::Enabled, &Desired::default(), &rig.bbb).await.unwrap();
        let gone = ["cordon", "disable", "end the meetings of", "delete"];
        for (done, verb) in applied.done.iter().zip(gone) {
            assert!(done.starts_with(verb) && done.contains(&old), "{:?}", applied.done);
        }
        assert_eq!(&applied.done[4..], ["add an entry", "enable the new entry"]);
        let urls: Vec<String> = rig.stand_in.servers().iter().map(|server| server.url.clone()).collect();
        assert_eq!(urls.len(), 2, "{urls:?}");
        assert!(urls.contains(&rig.url), "{urls:?}");
        assert!(rig.stand_in.servers().iter().any(|server| server.id == other));
    }
}

#[tokio::test]
async fn an_entry_with_an_old_url_keeps_its_meetings() {
    let rig = Rig::start().await;
    let old = rig.stand_in.add_server(BEFORE_TLS, HOST_SECRET, ServerState::Enabled);
    rig.host.start_meeting("room", 2);
    let applied = rig.pool().join(State::Enabled, &Desired::default(), &rig.bbb).await.unwrap();
    assert_eq!(applied.done, ["add an entry", "enable the new entry", &format!("cordon entry {old}")]);
    assert_eq!(applied.entries.len(), 2);
    rig.host.end_meeting("room");
    let applied = rig.keep().await;
    assert_eq!((states(&applied), applied.entries[0].url_matches), (vec![State::Enabled], true));
}

#[tokio::test]
async fn cordoning_ends_no_meeting_and_is_done_once() {
    let rig = Rig::start().await;
    assert_eq!(rig.pool().cordon().await.unwrap(), Applied { done: vec![], enabled: false, entries: vec![] });
    let id = rig.add(ServerState::Enabled);
    rig.host.start_meeting("room", 2);
    let applied = rig.pool().cordon().await.unwrap();
    assert_eq!(
        (applied.done.clone(), states(&applied)),
        (vec![format!("cordon entry {id}")], vec![State::Cordoned])
    );
    assert_eq!(rig.pool().cordon().await.unwrap().done, [""; 0]);
    assert!(rig.host.meeting("room").is_some() && !rig.in_placement());
}

#[tokio::test]
async fn a_cordon_that_a_poll_undoes_is_set_again() {
    let rig = Rig::start().await;
    let id = rig.add(ServerState::Enabled);
    rig.host.start_meeting("room", 2);
    rig.stand_in.poll_begin().await;
    rig.pool().cordon().await.unwrap();
    rig.stand_in.poll_end().await;
    assert!(rig.in_placement(), "Scalelite's race");
    assert_eq!(rig.pool().cordon().await.unwrap().done, [""; 0], "the entry says that it is cordoned");
    assert!(rig.in_placement());

    // Cut off in between, the host must not stay enabled.
    rig.served.fail("updateServer", Fault::LoseReply);
    let applied = rig.pool().recordon().await.unwrap();
    assert_eq!(
        applied.done,
        [format!("cordon entry {id}")],
        "it was enabled by the call whose reply was lost"
    );
    assert_eq!(states(&applied), [State::Cordoned]);
    assert!(!rig.in_placement() && rig.host.meeting("room").is_some());

    let applied = rig.pool().recordon().await.unwrap();
    assert_eq!(applied.done, [format!("enable entry {id}"), format!("cordon entry {id}")]);
    assert_eq!(states(&applied), [State::Cordoned]);
}

#[tokio::test]
async fn leaving_ends_the_meetings_and_tells_of_the_entry_as_it_was() {
    let rig = Rig::start().await;
    for state in [ServerState::Cordoned, ServerState::Disabled] {
        let id = rig.add(state);
        rig.stand_in.set_tag(&id, Some("big"));
        let meeting = format!("room on {id}");
        rig.host.start_meeting(&meeting, 2);
        rig.stand_in.map_meeting(&meeting, &id);
    }
    rig.stand_in.refuse_panics(1);
    let told = RefCell::new(Vec::new());
    rig.pool().leave(|entry| told.borrow_mut().push((entry.state, entry.tag.clone()))).await.unwrap();
    let first = told.borrow().first().cloned();
    assert_eq!(first, Some((State::Cordoned, Some("big".to_owned()))));
    assert!(rig.stand_in.servers().is_empty() && rig.stand_in.meetings().is_empty());
    // The refused panic forgot one meeting without ending it.
    assert_eq!(rig.host.snapshot().meetings.len(), 1);
    let nothing = Rig::start().await;
    nothing.pool().leave(|entry| panic!("{entry:?}")).await.unwrap();
}

#[tokio::test]
async fn a_refusal_names_the_entry() {
    let mut rig = Rig::start().await;
    rig.add(ServerState::Enabled);
    rig.scalelite = Scalelite::new(client(), &rig.served.url(), "another".into()).unwrap();
    let keep = rig.pool().keep(&Desired::default(), &rig.bbb).await;
    let others = [rig.pool().cordon().await, rig.pool().recordon().await, keep];
    for failure in others.map(Result::unwrap_err) {
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.to_string().contains(&rig.url), "{failure}");
    }
}
