//! Scalelite: calls, its poller, and what happens on the hosts meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clients::dns::system::SystemResolver;
use clients::http::{Limits, client};
use clients::scalelite::{Error, Management, Scalelite, Update};
use plan::membership::{Entry, State, normalise_url};
use plan::record::Name;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sandbox::bbb::{BbbHost, Mode, Network};
use sandbox::http::Gate;
use sandbox::scalelite::{Config, Scalelite as Sandbox, ServerState, StrayWatches};
use secrecy::SecretString;
use simulation::{Services, Stored};

use crate::{Runtimes, Seen, check, serve, tls};

const CASES: u32 = 128;
const HOSTS: usize = 2;
const SECRET: &str = "the load balancer's secret";
const LIMITS: Limits = Limits { connect: Duration::from_secs(3), total: Duration::from_secs(10) };

/// Which entry a call is for: one that was added at some time, or none that ever was.
#[derive(Clone, Debug)]
enum Pick {
    Added(Index),
    Last,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Enable,
    Cordon,
    Disable,
    Panic,
    Delete,
}

#[derive(Clone, Debug)]
enum Step {
    Add {
        url: usize,
        secret: &'static str,
        multiplier: Option<f64>,
        tag: Option<&'static str>,
    },
    Update {
        entry: Pick,
        secret: Option<&'static str>,
        multiplier: Option<f64>,
        tag: Option<&'static str>,
    },
    Call(Call, Pick),
    /// BBB on a host answers from now on, or does not.
    Bbb(usize, bool),
    /// Somebody creates a meeting.
    Create,
    /// A meeting ends on its host, without Scalelite.
    End(Index),
    /// A whole poll.
    Poll,
    /// The two halves of a poll, with others' doings in between.
    BeginPoll,
    EndPoll,
    /// A poll whose results are lost.
    LostPoll,
}

/// What the agents learn from an answer.
#[derive(Clone, Debug, PartialEq)]
enum Learnt {
    Done,
    Refused { variant: &'static str, status: Option<u16>, words: String, retryable: bool, gone: bool },
}

impl Learnt {
    /// `id` is this side's id of the entry, where there is one: it may stand in the words.
    fn of<T>(answer: &Result<T, Error>, id: Option<&str>) -> Self {
        let Err(error) = answer else { return Self::Done };
        let (variant, status, words) = match error {
            Error::Address => ("address", None, ""),
            Error::Transport { words, .. } => ("transport", None, words.as_str()),
            Error::Distrusted { words, .. } => ("distrusted", None, words.as_str()),
            Error::Refused { key, .. } => ("refused", None, key.as_str()),
            Error::Http { status, message, .. } => ("http", Some(*status), message.as_str()),
            Error::Unexpected { what, .. } => ("unexpected", None, what.as_str()),
            Error::PanicIncomplete { message, .. } => ("panic incomplete", None, message.as_str()),
            // The words for a 500 are the client's own.
            Error::Conflict { status: 500, .. } => ("conflict", Some(500), ""),
            Error::Conflict { status, message, .. } => ("conflict", Some(*status), message.as_str()),
        };
        let words = id.map_or_else(|| words.to_owned(), |id| words.replace(id, "ID"));
        Self::Refused { variant, status, words, retryable: error.is_retryable(), gone: error.is_gone() }
    }
}

impl Learnt {
    fn variant(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused { variant, .. } => variant,
        }
    }
}

fn a_pick() -> impl Strategy<Value = Pick> {
    prop_oneof![12 => any::<Index>().prop_map(Pick::Added), 1 => Just(Pick::Unknown)]
}

fn a_secret() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(Services::BBB_SECRET), 2 => Just("another"), 1 => Just(""), 1 => Just(" ")]
}

fn a_multiplier() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![5 => Just(None), 3 => select(vec![1.0, 2.5, 0.5, -3.0]).prop_map(Some), 1 => Just(Some(0.0))]
}

fn a_tag() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![5 => Just(None), 2 => select(vec!["", " ", "large", "ünd"]).prop_map(Some)]
}

fn a_call() -> impl Strategy<Value = Step> {
    let call = prop_oneof![
        6 => Just(Call::Enable),
        4 => Just(Call::Cordon),
        3 => Just(Call::Disable),
        4 => Just(Call::Panic),
        1 => Just(Call::Delete),
    ];
    (call, a_pick()).prop_map(|(call, entry)| Step::Call(call, entry))
}

fn a_step() -> impl Strategy<Value = Step> {
    // The first two lead to the hosts as the agents write them.
    let url = prop_oneof![6 => 0..HOSTS, 3 => HOSTS..URLS];
    prop_oneof![
        3 => (url, a_secret(), a_multiplier(), a_tag())
            .prop_map(|(url, secret, multiplier, tag)| Step::Add { url, secret, multiplier, tag }),
        3 => (a_pick(), option::of(a_secret()), a_multiplier(), a_tag())
            .prop_map(|(entry, secret, multiplier, tag)| Step::Update { entry, secret, multiplier, tag }),
        12 => a_call(),
        4 => (0..HOSTS, any::<bool>()).prop_map(|(host, answers)| Step::Bbb(host, answers)),
        6 => Just(Step::Create),
        2 => any::<Index>().prop_map(Step::End),
        6 => Just(Step::Poll),
        2 => Just(Step::BeginPoll),
        2 => Just(Step::EndPoll),
        1 => Just(Step::LostPoll),
    ]
}

/// A host as an agent adds it, with a meeting.
fn a_host() -> impl Strategy<Value = Vec<Step>> {
    (0..HOSTS, a_multiplier()).prop_map(|(url, multiplier)| {
        let add = Step::Add { url, secret: Services::BBB_SECRET, multiplier, tag: None };
        let enable = Step::Call(Call::Enable, Pick::Last);
        vec![Step::Bbb(url, true), add, enable, Step::Poll, Step::Create]
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = prop_oneof![
        8 => a_step().prop_map(|step| vec![step]),
        2 => a_host(),
        // What is mapped cannot be ended, because it has ended or its host does not answer.
        1 => (0..HOSTS, any::<Index>(), any::<bool>()).prop_map(|(host, index, down)| {
            let broken = if down { Step::Bbb(host, false) } else { Step::End(index) };
            vec![Step::Create, broken, Step::Call(Call::Panic, Pick::Last)]
        }),
        // While the poller is between reading and saving.
        2 => vec(a_call(), 1..=2).prop_map(|calls| [vec![Step::BeginPoll], calls, vec![Step::EndPoll]].concat()),
    ];
    (a_host(), vec(group, 1..=16)).prop_map(|(host, groups)| [host, groups.concat()].concat())
}

/// How many URLs there are: see [`Sides::new`].
const URLS: usize = HOSTS + 6;

/// Both sides, and the clients for them.
struct Sides<'a> {
    seen: &'a Seen,
    runtimes: Runtimes,
    sandbox: Arc<Sandbox>,
    hosts: Vec<Arc<BbbHost>>,
    client: Scalelite,
    simulated: Services,
    urls: [String; URLS],
    /// Every entry that was ever added, with its ids in the sandbox and in the simulation.
    added: Vec<(String, String)>,
    /// Every meeting that was ever created.
    meetings: Vec<String>,
    _gates: Vec<Gate>,
}

impl<'a> Sides<'a> {
    fn new(seen: &'a Seen) -> Self {
        let runtimes = Runtimes::new();
        let simulated = runtimes.paused.block_on(async { Services::new(HOSTS) });
        let names: Vec<Name> = simulated.names();
        let network = Network::plain();
        // Both sides draw alike.
        let stray_watches = Some(StrayWatches::default());
        let config = Config { processing: Duration::ZERO, stray_watches, seed: 0, ..Config::new(SECRET) };
        let sandbox = Sandbox::new(config, network.clone());
        let hosts: Vec<Arc<BbbHost>> =
            names.iter().map(|_| BbbHost::new(Services::BBB_SECRET, "3.0.4")).collect();
        let (client, gates) = runtimes.real.block_on(async {
            let (address, gate) = serve(Arc::clone(&sandbox) as _).await;
            let mut gates = vec![gate];
            for (name, host) in names.iter().zip(&hosts) {
                let (address, gate) = serve(Arc::clone(host) as _).await;
                network.route(name.as_str(), address);
                gates.push(gate);
            }
            let http = client(&tls(), &SystemResolver::new(), LIMITS).unwrap();
            let client =
                Scalelite::new(http, &format!("http://{address}"), SecretString::from(SECRET)).unwrap();
            (client, gates)
        });
        let host = names[0].as_str();
        let urls = [
            format!("http://{host}/bigbluebutton/api"),
            format!("http://{}/bigbluebutton/api", names[1]),
            format!("HTTP://{}:80/bigbluebutton/api/", host.to_uppercase()),
            "http://bbb.elsewhere.example/bigbluebutton/api".to_owned(),
            format!("ftp://{host}/bigbluebutton/api"),
            "not a url".to_owned(),
            String::new(),
            " ".to_owned(),
        ];
        let (added, meetings) = (Vec::new(), Vec::new());
        Self { seen, runtimes, sandbox, hosts, client, simulated, urls, added, meetings, _gates: gates }
    }

    fn run(mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for (at, step) in steps.iter().enumerate() {
            self.step(step)?;
            self.compare()
                .map_err(|error| TestCaseError::fail(format!("after step {at}, {step:?}: {error}")))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Add { url, secret, multiplier, tag } => self.add(*url, secret, *multiplier, *tag),
            Step::Update { entry, secret, multiplier, tag } => {
                let secret = secret.map(SecretString::from);
                let update = Update { secret: secret.as_ref(), multiplier: *multiplier, tag: *tag };
                let (there, simulated) = self.ids(entry);
                let answer = self.runtimes.real.block_on(self.client.update(&there, update));
                let management = self.simulated.management();
                let on_simulated = self.runtimes.paused.block_on(management.update(&simulated, update));
                self.agree(&on_simulated, Some(&simulated), &answer, Some(&there))
            }
            Step::Call(call, entry) => {
                let (there, simulated) = self.ids(entry);
                let answer = self.runtimes.real.block_on(make(*call, &self.client, &there));
                let management = self.simulated.management();
                let on_simulated = self.runtimes.paused.block_on(make(*call, &management, &simulated));
                self.agree(&on_simulated, Some(&simulated), &answer, Some(&there))
            }
            Step::Create => self.create(),
            other => {
                self.happen(other);
                Ok(())
            }
        }
    }

    /// What happens without a call to Scalelite.
    fn happen(&mut self, step: &Step) {
        match step {
            Step::Bbb(host, answers) => {
                self.hosts[*host].set_mode(if *answers { Mode::Ready } else { Mode::Starting });
                self.simulated.set_bbb(*host, *answers);
            }
            Step::End(index) if !self.meetings.is_empty() => {
                let meeting = index.get(&self.meetings);
                self.hosts.iter().for_each(|host| _ = host.end_meeting(meeting));
                self.simulated.end_meeting(meeting);
            }
            Step::Poll => {
                self.happen(&Step::BeginPoll);
                self.happen(&Step::EndPoll);
            }
            Step::BeginPoll => {
                self.runtimes.real.block_on(self.sandbox.poll_begin());
                self.runtimes.paused.block_on(async { self.simulated.begin_poll() });
            }
            Step::EndPoll => {
                self.runtimes.real.block_on(self.sandbox.poll_end());
                self.runtimes.paused.block_on(async { self.simulated.end_poll() });
            }
            Step::LostPoll => {
                self.sandbox.lose_polls(1);
                self.happen(&Step::BeginPoll);
                self.runtimes.real.block_on(self.sandbox.poll_end());
                self.runtimes.paused.block_on(async { self.simulated.lose_poll() });
            }
            _ => {}
        }
    }

    fn ids(&self, entry: &Pick) -> (String, String) {
        let added = match entry {
            Pick::Added(index) if !self.added.is_empty() => Some(index.get(&self.added)),
            Pick::Last => self.added.last(),
            _ => None,
        };
        added.cloned().unwrap_or_else(|| ("nobody".to_owned(), "nobody".to_owned()))
    }

    fn add(
        &mut self,
        url: usize,
        secret: &str,
        multiplier: Option<f64>,
        tag: Option<&str>,
    ) -> Result<(), TestCaseError> {
        let (url, secret) = (&self.urls[url], SecretString::from(secret));
        let answer = self.runtimes.real.block_on(self.client.add(url, &secret, multiplier, tag));
        let management = self.simulated.management();
        let simulated = self.runtimes.paused.block_on(management.add(url, &secret, multiplier, tag));
        self.agree(&simulated, None, &answer, None)?;
        if let (Ok(there), Ok(simulated)) = (answer, simulated) {
            self.added.push((there, simulated));
        }
        Ok(())
    }

    /// Somebody creates a meeting; the sandbox's Scalelite chooses among the servers, and the simulation follows.
    fn create(&mut self) -> Result<(), TestCaseError> {
        let meeting = format!("meeting-{:03}", self.meetings.len());
        // Refused, too, where the host does not answer: the meeting is mapped to it all the same.
        let _ = self.runtimes.real.block_on(self.sandbox.create_meeting(&meeting));
        let places = self.simulated.places();
        match self.sandbox.meetings().get(&meeting) {
            None => {
                prop_assert!(
                    places.is_empty(),
                    "{} is placed at none, but could be at {:?}",
                    meeting,
                    places
                );
            }
            Some(mapped) => {
                let ids = self.added.iter().find(|(there, _)| *there == mapped.server_id);
                let (_, simulated) = ids.expect("an entry that was added");
                prop_assert!(places.contains(simulated), "{} of {:?}", simulated, places);
                self.runtimes.paused.block_on(async { self.simulated.create_meeting(simulated, &meeting) });
                self.meetings.push(meeting);
            }
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let management = self.simulated.management();
        let secret = SecretString::from(Services::BBB_SECRET);
        for url in self.urls.iter().filter_map(|url| normalise_url(url)).collect::<BTreeSet<String>>() {
            let there = self.runtimes.real.block_on(self.client.entries(&url, &secret)).unwrap().entries;
            let simulated = self.runtimes.paused.block_on(management.entries(&url, &secret)).unwrap().entries;
            let (there, simulated) = (self.renamed(by_id(there)), self.renamed(by_id(simulated)));
            prop_assert_eq!(simulated, there, "entries of {}, simulated and in the sandbox", url);
        }
        let there = self.runtimes.real.block_on(self.client.names()).unwrap();
        let simulated = self.runtimes.paused.block_on(management.names()).unwrap();
        prop_assert_eq!(simulated, there, "names, simulated and in the sandbox");
        let (simulated, there) = (self.renamed(self.simulated.entries()), self.renamed(self.in_sandbox()));
        prop_assert_eq!(&simulated, &there, "what is stored, simulated and in the sandbox");
        for stored in simulated.values() {
            self.seen.count((stored.state, stored.placed));
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let there: BTreeSet<String> =
                host.snapshot().meetings.into_iter().map(|meeting| meeting.id).collect();
            prop_assert_eq!(self.simulated.meetings_on(index), there, "meetings on host {}", index);
        }
        Ok(())
    }
}

impl Sides<'_> {
    /// Values by the order in which their entries were added, which is what both sides' ids have in common.
    fn renamed<T>(&self, by_id: BTreeMap<String, T>) -> BTreeMap<usize, T> {
        let added =
            |id: &str| self.added.iter().position(|(there, simulated)| there == id || simulated == id);
        by_id.into_iter().map(|(id, value)| (added(&id).expect("an entry that was added"), value)).collect()
    }

    fn agree<T>(
        &self,
        simulated: &Result<T, Error>,
        simulated_id: Option<&str>,
        answer: &Result<T, Error>,
        id: Option<&str>,
    ) -> Result<(), TestCaseError> {
        let learnt = Learnt::of(answer, id);
        prop_assert_eq!(
            &Learnt::of(simulated, simulated_id),
            &learnt,
            "an answer, simulated and in the sandbox"
        );
        self.seen.count(learnt.variant());
        Ok(())
    }

    fn in_sandbox(&self) -> BTreeMap<String, Stored> {
        let snapshot = self.sandbox.snapshot();
        let mapped = |id: &str| {
            let mapped = snapshot.meetings.iter().filter(|(_, mapped)| mapped.server_id == id);
            mapped.map(|(meeting, _)| meeting.clone()).collect()
        };
        let servers = snapshot.servers.iter().map(|server| {
            let stored = Stored {
                state: match server.state {
                    ServerState::Enabled => State::Enabled,
                    ServerState::Cordoned => State::Cordoned,
                    ServerState::Disabled => State::Disabled,
                },
                online: server.online,
                load: server.load,
                placed: server.in_placement,
                meetings: mapped(&server.id),
            };
            (server.id.clone(), stored)
        });
        servers.collect()
    }
}

fn by_id(entries: Vec<Entry>) -> BTreeMap<String, Entry> {
    entries.into_iter().map(|entry| (entry.id.clone(), Entry { id: String::new(), ..entry })).collect()
}

async fn make(call: Call, management: &impl Management, id: &str) -> Result<(), Error> {
    match call {
        Call::Enable => management.enable(id).await,
        Call::Cordon => management.cordon(id).await,
        Call::Disable => management.disable(id).await,
        Call::Panic => management.panic(id).await,
        Call::Delete => management.delete(id).await,
    }
}

#[test]
fn scalelite_answers_the_same() {
    let seen = Seen::default();
    check(CASES, &steps(), |steps| Sides::new(&seen).run(steps));
    for (variant, times) in [("done", 500), ("http", 50), ("panic incomplete", 5), ("conflict", 4)] {
        seen.has(variant, times);
    }
    // The states with which a poll that was raced leaves a server where new meetings are placed.
    for state in [State::Enabled, State::Cordoned, State::Disabled] {
        seen.has((state, true), 10);
    }
}

/// What the simulation was once wrong about.
#[test]
fn found_before() {
    let add = |multiplier, tag, secret| Step::Add { url: 0, secret, multiplier, tag };
    let last = |call| Step::Call(call, Pick::Last);
    let joined = [add(None, None, Services::BBB_SECRET), last(Call::Enable), Step::Poll, Step::Create];
    let after = |more: &[Step]| [joined.to_vec(), more.to_vec()].concat();
    let update = |secret, multiplier, tag| Step::Update { entry: Pick::Last, secret, multiplier, tag };
    for (what, steps) in [
        ("a multiplier and a tag are stored", vec![add(Some(2.5), Some("large"), Services::BBB_SECRET)]),
        ("a blank secret is refused", vec![add(None, None, " ")]),
        (
            "a multiplier and a tag can be changed",
            after(&[update(None, Some(2.5), Some("large")), Step::Poll]),
        ),
        ("no multiplier is zero", after(&[update(None, Some(0.0), None)])),
        ("an update without anything is refused", after(&[update(None, None, None)])),
        (
            "a wrong secret keeps a host offline",
            vec![add(None, None, "another"), last(Call::Enable), Step::Poll],
        ),
        ("a disabled server shows no load", after(&[Step::Poll, last(Call::Disable)])),
        ("a load is carried through a cordon", after(&[last(Call::Cordon), last(Call::Enable)])),
        ("a first failed poll changes nothing", after(&[Step::Bbb(0, false), Step::Poll])),
        ("a second takes the host offline", after(&[Step::Bbb(0, false), Step::Poll, Step::Poll])),
        (
            "a lost poll clears the meetings and leaves the host online",
            after(&[Step::Bbb(0, false), Step::Poll, Step::LostPoll, Step::Poll]),
        ),
        (
            "to disable a new entry is a change",
            vec![add(None, None, Services::BBB_SECRET), last(Call::Panic)],
        ),
        (
            "a poll puts a server back only with another load",
            after(&[Step::Poll, Step::BeginPoll, last(Call::Disable), Step::EndPoll]),
        ),
        ("a meeting is mapped to a host that is down", after(&[Step::Bbb(0, false), Step::Create])),
    ] {
        let seen = Seen::default();
        Sides::new(&seen).run(&steps).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}
