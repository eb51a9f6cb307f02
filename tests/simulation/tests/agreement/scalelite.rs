//! Scalelite: calls, its poller, and what happens on the hosts meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use host::http::{Limits, client};
use host::names::SystemResolver;
use host::scalelite::{Error, Management, Scalelite, Update};
use plan::membership::{Entry, State, normalise_url};
use plan::record::Name;
use proptest::option;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sandbox::bbb::{BbbHost, Mode, Network};
use sandbox::http::Gate;
use sandbox::scalelite::{Config, Scalelite as Sandbox, ServerState};
use secrecy::SecretString;
use simulation::{Services, Stored};

use crate::{Runtimes, serve, tls};

const HOSTS: usize = 2;
const SECRET: &str = "the load balancer's secret";
const LIMITS: Limits = Limits { connect: Duration::from_secs(3), total: Duration::from_secs(10) };

/// Which entry a call is for: one that was added at some time, or none that ever was.
#[derive(Clone, Debug)]
enum Pick {
    Added(Index),
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
    Add { url: usize, secret: &'static str, multiplier: Option<f64>, tag: Option<&'static str> },
    Update { entry: Pick, secret: Option<&'static str>, multiplier: Option<f64>, tag: Option<&'static str> },
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
}

/// What the agents learn from an answer.
#[derive(Clone, Debug, PartialEq)]
enum Learnt {
    Done,
    Refused { variant: &'static str, status: Option<u16>, words: String, retryable: bool, gone: bool },
}

impl Learnt {
    /// `id` is this side's id of the entry: it may stand in the words.
    fn of<T>(answer: &Result<T, Error>, id: &str) -> Self {
        let Err(error) = answer else { return Self::Done };
        let (variant, status, words) = match error {
            Error::Address => ("address", None, ""),
            Error::Transport { words, .. } => ("transport", None, words.as_str()),
            Error::Distrusted { words, .. } => ("distrusted", None, words.as_str()),
            Error::Refused { key, .. } => ("refused", None, key.as_str()),
            Error::Http { status, message, .. } => ("http", Some(*status), message.as_str()),
            Error::Unexpected { what, .. } => ("unexpected", None, what.as_str()),
            Error::PanicIncomplete { message, .. } => ("panic incomplete", None, message.as_str()),
            Error::Conflict { status, message, .. } => ("conflict", Some(*status), message.as_str()),
        };
        let words = words.replace(id, "ID");
        Self::Refused { variant, status, words, retryable: error.is_retryable(), gone: error.is_gone() }
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

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // The first two lead to the hosts as the agents write them.
    let url = prop_oneof![12 => 0..HOSTS, 3 => HOSTS..URLS];
    let call = prop_oneof![
        6 => Just(Call::Enable),
        3 => Just(Call::Cordon),
        2 => Just(Call::Disable),
        2 => Just(Call::Panic),
        1 => Just(Call::Delete),
    ];
    let step = prop_oneof![
        6 => (url, a_secret(), a_multiplier(), a_tag())
            .prop_map(|(url, secret, multiplier, tag)| Step::Add { url, secret, multiplier, tag }),
        2 => (a_pick(), option::of(a_secret()), a_multiplier(), a_tag())
            .prop_map(|(entry, secret, multiplier, tag)| Step::Update { entry, secret, multiplier, tag }),
        14 => (call, a_pick()).prop_map(|(call, entry)| Step::Call(call, entry)),
        3 => (0..HOSTS, any::<bool>()).prop_map(|(host, answers)| Step::Bbb(host, answers)),
        5 => Just(Step::Create),
        1 => any::<Index>().prop_map(Step::End),
        6 => Just(Step::Poll),
        4 => Just(Step::BeginPoll),
        4 => Just(Step::EndPoll),
    ];
    vec(step, 1..=24)
}

/// How many URLs there are: see [`Sides::new`].
const URLS: usize = HOSTS + 6;

/// Both sides, and the clients for them.
struct Sides {
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

impl Sides {
    fn new() -> Self {
        let runtimes = Runtimes::new();
        let simulated = runtimes.paused.block_on(async { Services::new(HOSTS) });
        let names: Vec<Name> = simulated.names();
        let network = Network::plain();
        let sandbox =
            Sandbox::new(Config { processing: Duration::ZERO, ..Config::new(SECRET) }, network.clone());
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
        Self { runtimes, sandbox, hosts, client, simulated, urls, added, meetings, _gates: gates }
    }

    fn run(steps: &[Step]) -> Result<(), TestCaseError> {
        let mut sides = Self::new();
        for (at, step) in steps.iter().enumerate() {
            sides.step(step)?;
            sides.compare().map_err(|error| TestCaseError::fail(format!("after step {at}, {step:?}: {error}")))?;
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
                agree(&on_simulated, &simulated, &answer, &there)
            }
            Step::Call(call, entry) => {
                let (there, simulated) = self.ids(entry);
                let answer = self.runtimes.real.block_on(make(*call, &self.client, &there));
                let management = self.simulated.management();
                let on_simulated = self.runtimes.paused.block_on(make(*call, &management, &simulated));
                agree(&on_simulated, &simulated, &answer, &there)
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
                self.hosts.iter().for_each(|host| drop(host.end_meeting(meeting)));
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
            _ => {}
        }
    }

    fn ids(&self, entry: &Pick) -> (String, String) {
        match entry {
            Pick::Added(index) if !self.added.is_empty() => index.get(&self.added).clone(),
            _ => ("nobody".to_owned(), "nobody".to_owned()),
        }
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
        agree(&simulated, "", &answer, "")?;
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
            None => prop_assert!(places.is_empty(), "{} is placed at none, but could be at {:?}", meeting, places),
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
            let there = self.runtimes.real.block_on(self.client.entries(&url, &secret)).unwrap();
            let simulated = self.runtimes.paused.block_on(management.entries(&url, &secret)).unwrap();
            let (there, simulated) = (self.renamed(by_id(there)), self.renamed(by_id(simulated)));
            prop_assert_eq!(simulated, there, "entries of {}, simulated and in the sandbox", url);
        }
        let there = self.runtimes.real.block_on(self.client.names()).unwrap();
        let simulated = self.runtimes.paused.block_on(management.names()).unwrap();
        prop_assert_eq!(simulated, there, "names, simulated and in the sandbox");
        let (simulated, there) = (self.renamed(self.simulated.entries()), self.renamed(self.in_sandbox()));
        prop_assert_eq!(simulated, there, "what is stored, simulated and in the sandbox");
        for (index, host) in self.hosts.iter().enumerate() {
            let there: BTreeSet<String> =
                host.snapshot().meetings.into_iter().map(|meeting| meeting.id).collect();
            prop_assert_eq!(self.simulated.meetings_on(index), there, "meetings on host {}", index);
        }
        Ok(())
    }
}

impl Sides {
    /// Values by the order in which their entries were added, which is what both sides' ids have in common.
    fn renamed<T>(&self, by_id: BTreeMap<String, T>) -> BTreeMap<usize, T> {
        let added = |id: &str| self.added.iter().position(|(there, simulated)| there == id || simulated == id);
        by_id.into_iter().map(|(id, value)| (added(&id).expect("an entry that was added"), value)).collect()
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

fn agree<T, U>(
    simulated: &Result<T, Error>,
    simulated_id: &str,
    answer: &Result<U, Error>,
    id: &str,
) -> Result<(), TestCaseError> {
    let learnt = (Learnt::of(simulated, simulated_id), Learnt::of(answer, id));
    prop_assert_eq!(&learnt.0, &learnt.1, "an answer, simulated and in the sandbox");
    Ok(())
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scalelite_answers_the_same(steps in steps()) {
        Sides::run(&steps)?;
    }
}
