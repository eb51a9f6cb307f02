//! The world outside the agents, with everything that goes wrong there.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use plan::instance::InstanceId;
use plan::lifecycle::Policy;
use tokio::time::{Instant, sleep};

use crate::fleet::Machines;
use crate::route53::Route53;
use crate::scalelite::Pool;

/// The time at which the simulated world begins, in seconds since 1970.
const EPOCH: u64 = 1_800_000_000;

/// The service that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Route53,
    Dns,
    Scalelite,
    Ec2,
    AutoScaling,
    Metadata,
    Bbb,
    Redis,
    Kernel,
}

const SERVICES: [Service; 9] = [
    Service::Route53,
    Service::Dns,
    Service::Scalelite,
    Service::Ec2,
    Service::AutoScaling,
    Service::Metadata,
    Service::Bbb,
    Service::Redis,
    Service::Kernel,
];

/// The fate of one call.
enum Fate {
    Well,
    /// The request never arrives.
    LostRequest,
    /// The call has its effect, but its reply is lost.
    LostReply,
    /// The service refuses it for now.
    Refused,
}

/// The reason why a call had no answer.
pub(crate) enum Lost {
    /// There was no answer in time: the call may have had its effect.
    Silence,
    /// The service has too much to do at the moment.
    Refused,
}

/// The settings of a fleet in which nothing goes wrong.
pub(crate) struct Terms {
    /// The hosts' settings.
    pub(crate) policy: Policy,
    /// The time for which the lifecycle hook holds an instance without a heartbeat.
    pub(crate) hook: Duration,
    /// The longest time for which it holds an instance.
    pub(crate) ceiling: Duration,
    /// The interval at which an agent asks the metadata service.
    pub(crate) metadata: Duration,
}

/// The state of the whole world. It is only ever borrowed between two awaits.
pub(crate) struct State {
    begun: Instant,
    /// The generator for everything that happens; the agents draw from another one.
    pub(crate) rng: fastrand::Rng,
    /// Whether things have stopped going wrong.
    pub(crate) calm: bool,
    /// Since when.
    pub(crate) calm_since: Option<Duration>,
    /// The settings of a fleet that lives through a day; none in the stories of seeds.
    pub(crate) terms: Option<Rc<Terms>>,
    /// How long the group's lifecycle hook holds an instance at most.
    pub(crate) ceiling: Duration,
    /// The fleet's `dns.spread`.
    pub(crate) spread: Duration,
    /// Whether no meeting begins any more.
    pub(crate) night: bool,
    /// Whether no host asks the name servers: the fleet's `dns.read` is "api".
    pub(crate) reads_api: bool,
    /// Whether no host reaches the name servers, ever: a firewall keeps port 53 closed.
    pub(crate) no_dns: bool,
    /// The services that an instance cannot reach, and until when.
    cut: BTreeMap<(Service, InstanceId), Instant>,
    /// The services that no instance can reach, and until when.
    out: BTreeMap<Service, Instant>,
    pub(crate) route53: Route53,
    pub(crate) pool: Pool,
    pub(crate) machines: Machines,
    /// The violations of invariants.
    pub(crate) broken: Vec<String>,
    trace: Option<Vec<String>>,
    /// The number of events.
    pub(crate) events: u64,
}

/// A handle to the world; clones share it.
#[derive(Clone)]
pub(crate) struct World(Rc<RefCell<State>>);

impl State {
    /// Returns the age of the world.
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Returns the seconds since 1970 by the clock of an instance, which may jump.
    pub(crate) fn clock(&mut self, who: &InstanceId) -> u64 {
        let time = EPOCH + self.now().as_secs();
        time.saturating_add_signed(self.machine(who).skew)
    }

    /// Notes an event in the trace.
    pub(crate) fn note(&mut self, what: impl fmt::Display) {
        self.events += 1;
        if self.trace.is_some() {
            let line = format!("{:9.3} {what}", self.now().as_secs_f64());
            self.trace.get_or_insert_default().push(line);
        }
    }

    /// Notes a violation of an invariant.
    pub(crate) fn breaks(&mut self, invariant: &str, what: impl fmt::Display) {
        let line = format!("{invariant}: {what}");
        self.note(format_args!("VIOLATION {line}"));
        self.broken.push(line);
    }

    /// Draws whether a mishap happens that happens in one of `one_in` cases, and never in calm.
    pub(crate) fn mishap(&mut self, one_in: u32) -> bool {
        !self.calm && self.rng.u32(0..one_in) == 0
    }

    /// Draws a time between two limits in seconds.
    pub(crate) fn between(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(from + self.rng.f64() * (to - from))
    }

    fn fate(&mut self, service: Service, who: &InstanceId) -> Fate {
        let cut = self.cut.get(&(service, who.clone())).max(self.out.get(&service)).copied();
        if cut.is_some_and(|until| Instant::now() < until) && !self.calm {
            return Fate::LostRequest;
        }
        if self.mishap(400) {
            let service = SERVICES.get(self.rng.usize(0..SERVICES.len())).copied().unwrap_or(service);
            let until = Instant::now() + self.between(5.0, 110.0);
            if self.mishap(4) {
                self.out.insert(service, until);
                self.note(format_args!("nobody reaches {service:?} for a while"));
            } else {
                self.cut.insert((service, who.clone()), until);
                self.note(format_args!("{who} does not reach {service:?} for a while"));
            }
        }
        match (self.calm, self.rng.u32(0..100)) {
            (false, 0..=3) => Fate::LostRequest,
            (false, 4..=8) => Fate::LostReply,
            (false, 9..=13) => Fate::Refused,
            _ => Fate::Well,
        }
    }
}

impl World {
    /// Creates the world of a seed; a `traced` world keeps its events in words.
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let route53 = Route53::new(&mut rng);
        let spread = Duration::from_secs(if rng.bool() { 0 } else { 60 });
        let reads_api = rng.u32(0..8) == 0;
        let no_dns = rng.u32(0..8) == 0;
        let ceiling = Duration::from_secs(if rng.u32(0..4) == 0 { 400 } else { 30_000 });
        Self(Rc::new(RefCell::new(State {
            begun: Instant::now(),
            rng,
            calm: false,
            terms: None,
            calm_since: None,
            ceiling,
            night: false,
            spread,
            reads_api,
            no_dns,
            cut: BTreeMap::new(),
            out: BTreeMap::new(),
            route53,
            pool: Pool::new(seed),
            machines: Machines::default(),
            broken: Vec::new(),
            trace: traced.then(Vec::new),
            events: 0,
        })))
    }

    /// Creates a world in which nothing goes wrong with clients and services.
    pub(crate) fn calm(seed: u64, terms: Terms) -> Self {
        let world = Self::new(seed, false);
        {
            let mut state = world.state();
            state.calm = true;
            (state.ceiling, state.spread) = (terms.ceiling, Duration::ZERO);
            (state.reads_api, state.no_dns) = (false, false);
            state.terms = Some(Rc::new(terms));
        }
        world
    }

    /// Borrows the state, until the next await.
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// Returns the trace.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }

    /// Waits for a time drawn between two limits in seconds.
    pub(crate) async fn pause(&self, from: f64, to: f64) {
        let pause = self.state().between(from, to);
        sleep(pause).await;
    }

    /// Makes one call: on its way there, at the service, on its way back. Dropping the future is the death of the
    /// caller there.
    pub(crate) async fn call<T>(
        &self,
        service: Service,
        who: &InstanceId,
        act: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Lost> {
        let (there, back, patience, fate) = {
            let mut state = self.state();
            if state.calm {
                return Ok(act(&mut state));
            }
            let slow = if state.mishap(8) { 2.0 } else { 0.05 };
            let (there, back) = (state.between(0.001, slow), state.between(0.001, slow));
            (there, back, state.between(0.5, 9.0), state.fate(service, who))
        };
        let mut under_way = UnderWay { world: self, who, service, act: Some(act) };
        sleep(there).await;
        let act = under_way.arrives();
        match fate {
            Fate::LostRequest => {
                sleep(patience).await;
                Err(Lost::Silence)
            }
            Fate::Refused => Err(Lost::Refused),
            Fate::LostReply => {
                drop(act(&mut self.state()));
                self.state().note(format_args!("the answer of {service:?} to {who} is lost"));
                sleep(patience).await;
                Err(Lost::Silence)
            }
            Fate::Well => {
                let answer = act(&mut self.state());
                sleep(back).await;
                Ok(answer)
            }
        }
    }
}

/// A call on its way. Its sender may die or give up meanwhile: then the call arrives all the same, or never.
struct UnderWay<'a, T, F: FnOnce(&mut State) -> T> {
    world: &'a World,
    who: &'a InstanceId,
    service: Service,
    act: Option<F>,
}

impl<T, F: FnOnce(&mut State) -> T> UnderWay<'_, T, F> {
    fn arrives(&mut self) -> F {
        match self.act.take() {
            Some(act) => act,
            None => unreachable!("a call arrives once"),
        }
    }
}

impl<T, F: FnOnce(&mut State) -> T> Drop for UnderWay<'_, T, F> {
    fn drop(&mut self) {
        let Some(act) = self.act.take() else { return };
        // The code that drops this must not hold the state. At the end of a story the state is no longer of interest.
        let Ok(mut state) = self.world.0.try_borrow_mut() else { return };
        if state.mishap(2) {
            let (who, service) = (self.who, self.service);
            state.note(format_args!("what {who} has sent to {service:?} arrives when its sender is gone"));
            drop(act(&mut state));
        }
    }
}
