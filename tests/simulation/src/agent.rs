//! One agent as a service: the real state machine and the real loops. The parts of `host::service` between them are
//! replaced: its main loop, fetching settings and secrets, and the calls to the group.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use clients::bbb::{Algorithm, Installation};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use host::dns::Zone;
use host::identity::{Host, server_url};
use host::interrupt::{Interrupt, Trigger};
use host::membership::Meetings;
use host::report::{Exit, Failure};
use host::service::jobs;
use host::service::registration::Registration;
use plan::instance::{InstanceId, Role};
use plan::lifecycle::{
    Action, Call, Event, Found, Hook, Intent, Job, Machine, Moment, OnStop, Order, Policy, State, StopCause,
    Trouble, Verdict, Work,
};
use plan::membership;
use secrecy::SecretString;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use crate::fleet::{BBB_SECRET, Ec2};
use crate::scalelite::POLL;
use crate::world::{Service, World};
use crate::{route53, scalelite};

/// The longest time for which a drain waits.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);
/// The longest time that a stop may take.
pub(crate) const STOP: Duration = Duration::from_secs(80);
/// The time for which the lifecycle hook holds an instance without a heartbeat.
pub(crate) const HOOK: Duration = Duration::from_secs(300);

/// Returns the settings of the fleet.
fn policy() -> Policy {
    let minute = Duration::from_secs(60);
    Policy {
        scalelite: true,
        meetings: true,
        on_stop: OnStop::Leave,
        check_name: 2 * minute,
        check_entry: 3 * minute,
        count: minute,
        poll: POLL,
        live_patience: 2 * minute,
        stop_patience: STOP,
        deadline: DEADLINE,
        recordings: true,
        quiet: minute / 2,
        at_deadline: Verdict::Continue,
        rebalance: false,
        maintenance: false,
        announce: Vec::new(),
        protection: Some(5 * minute),
    }
}

/// A message to a service: an operator's order or systemd's signal.
pub(crate) enum Wanted {
    Order(Order),
    Stop(StopCause),
}

struct Shared {
    world: World,
    who: InstanceId,
    /// The host's identity when the service was started.
    host: Host,
    registration: Registration,
}

enum Done {
    Job(Job, Result<Found, Trouble>),
    Call(Event),
    Told(Intent),
}

type Task = Pin<Box<dyn Future<Output = Done>>>;

struct Agent {
    shared: Rc<Shared>,
    booted: Instant,
    machine: Machine,
    work: FuturesUnordered<Task>,
    trigger: Option<Trigger>,
    end: Option<Result<(), String>>,
}

/// Runs the service of this instance, which was booted at this time, until it ends. Dropping the future is a crash.
pub(crate) async fn serve(
    world: World,
    who: InstanceId,
    booted: Instant,
    mut wanted: UnboundedReceiver<Wanted>,
) -> Result<(), String> {
    let (memory, window) = world.state().machine(&who).memory;
    let host = world.state().host(&who);
    let registration = Registration::new(world.state().spread, memory);
    let shared = Rc::new(Shared { world, who, host, registration });
    let machine = Machine::new(policy(), memory, window);
    let mut agent =
        Agent { shared, booted, machine, work: FuturesUnordered::new(), trigger: None, end: None };
    agent.watch(None);
    agent.tell();
    while agent.end.is_none() {
        let wake = agent.machine.wake().and_then(|due| agent.booted.checked_add(due));
        tokio::select! {
            biased;
            Some(wanted) = wanted.recv() => agent.feed(match wanted {
                Wanted::Order(order) => Event::Ordered(order),
                Wanted::Stop(cause) => Event::Stop(cause),
            }),
            Some(done) = agent.work.next() => agent.done(done),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => agent.feed(Event::Tick),
        }
        agent.tell();
    }
    agent.end.unwrap_or(Ok(()))
}

impl Agent {
    fn now(&self) -> Moment {
        self.booted.elapsed()
    }

    fn tell(&self) {
        let state = self.machine.state().name();
        let mut world = self.shared.world.state();
        let who = &self.shared.who;
        if world.machine(who).state != state {
            let words = self.machine.words(self.now());
            world.note(format_args!("{who}: {state}: {words}"));
            let now = world.now();
            let machine = world.machine(who);
            if (machine.state, state) == ("joining", "serving") {
                machine.enabled = now;
            }
            (machine.state, machine.words) = (state, words);
        }
    }

    /// Waits for the next answer of the metadata service; now and then the machine is told the same answer twice.
    fn watch(&self, told: Option<Intent>) {
        let (shared, booted) = (Rc::clone(&self.shared), self.booted);
        self.work.push(Box::pin(async move {
            loop {
                // The real service asks more often; the answer seldom changes, and each call costs simulated time.
                let calm = shared.world.state().calm;
                shared.world.pause(2.0, if calm { 200.0 } else { 40.0 }).await;
                let who = &shared.who;
                let read = shared.world.call(Service::Metadata, who, |state| {
                    let (now, again) = (state.now(), state.mishap(30));
                    let machine = state.machine(who);
                    let left = |end: Duration| booted.elapsed() + end.saturating_sub(now);
                    (machine.target, machine.spot.map(left), again)
                });
                let Ok((target, spot, again)) = read.await else { continue };
                // The clocks differ a little, so the first reading of the notice is kept.
                let spot = spot.map(|spot| told.and_then(|told| told.spot).unwrap_or(spot));
                let intent = Intent { target, grouped: true, spot, rebalance: false, maintenance: None };
                if told != Some(intent) || again {
                    return Done::Told(intent);
                }
            }
        }));
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Job(job, result) => {
                self.trigger = None;
                if let Err(trouble) = &result {
                    let who = &self.shared.who;
                    self.shared.world.state().note(format_args!("{who}: {job:?}: {}", trouble.words));
                }
                self.feed(Event::Finished(job, result));
            }
            Done::Call(event) => self.feed(event),
            Done::Told(intent) => {
                self.watch(Some(intent));
                self.feed(Event::Told(intent));
            }
        }
    }

    fn feed(&mut self, event: Event) {
        let (now, chance) = (self.now(), fastrand::f64());
        let who = self.shared.who.clone();
        match self.machine.step(event, now, chance) {
            Ok(actions) => {
                // The state is published before any action, because the checks of those actions depend on it.
                self.tell();
                actions.into_iter().for_each(|action| self.act(action));
            }
            Err(illegal) => {
                self.shared.world.state().breaks("an illegal transition", format_args!("{who}: {illegal}"));
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(job) => self.begin(job),
            Action::Cancel => self.trigger.iter().for_each(Trigger::pull),
            Action::Call(call) => {
                let shared = Rc::clone(&self.shared);
                self.work.push(Box::pin(async move { Done::Call(shared.make(call).await) }));
            }
            Action::Remember(memory, window) => {
                self.shared.world.state().machine(&self.shared.who).memory = (memory, window);
            }
            Action::End(result) => self.end = Some(result),
            Action::Ready | Action::Refuse(_) => {}
        }
    }

    fn begin(&mut self, job: Job) {
        let (trigger, interrupt) = Interrupt::manual();
        self.trigger = Some(trigger);
        let patience = match self.machine.state() {
            State::Stopping(stopping) => stopping.until.saturating_sub(self.now()),
            State::Leaving(leaving) => jobs::LEAVE.min(leaving.until.saturating_sub(self.now())),
            _ => jobs::ATTEMPT,
        };
        let steady =
            matches!(self.machine.state(), State::Serving(_) | State::Cordoned(_) | State::Draining(_));
        let shared = Rc::clone(&self.shared);
        let begun = Instant::now();
        self.work.push(Box::pin(async move {
            let report = jobs::run(Rc::clone(&shared), job, steady, interrupt, patience).await;
            // Promise 6: every wait is bounded. A call that is under way may end, and takes ten seconds at most.
            let (took, who) = (begun.elapsed(), &shared.who);
            if took > patience + Duration::from_secs(40) {
                let most = patience.as_secs();
                shared
                    .world
                    .state()
                    .breaks("a job takes for ever", format_args!("{who}: {job:?}: {took:?} of {most} s"));
            }
            Done::Job(job, report.found)
        }));
    }
}

/// A client for the BBB on the host.
struct Bbb {
    world: World,
    who: InstanceId,
}

impl Meetings for Bbb {
    async fn running(&self) -> Option<u32> {
        let answer = self.world.call(Service::Bbb, &self.who, |state| state.work(&self.who)).await;
        answer.ok().flatten().and_then(|(meetings, _)| u32::try_from(meetings.len()).ok())
    }
}

impl jobs::World for Shared {
    type Api = route53::Client;
    type Servers = route53::Client;
    type Scalelite = scalelite::Client;
    type Bbb = Bbb;
    type Ec2 = Ec2;

    fn wanted(&self) -> jobs::Wanted {
        let entry = Some(membership::Desired::default());
        jobs::Wanted { role: Role::Bbb, ttl: 60, reads_api: self.world.state().reads_api, entry }
    }

    fn registration(&self) -> &Registration {
        &self.registration
    }

    async fn host(&self, _deadline: Instant) -> Result<Host, Failure> {
        let who = &self.who;
        let host = self.world.call(Service::Metadata, who, |state| state.host(who)).await;
        host.map_err(|_| Failure::new(Exit::TryAgain, "the metadata service does not answer"))
    }

    fn known_host(&self) -> Result<Host, Failure> {
        Ok(self.host.clone())
    }

    async fn zone(&self, _host: &Host) -> Result<Zone<route53::Client, route53::Client>, Failure> {
        let client = route53::Client { world: self.world.clone(), who: self.who.clone() };
        let servers = match self.world.state().reads_api {
            true => Err("the settings say so".to_owned()),
            false => Ok(client.clone()),
        };
        Ok(Zone { api: client, servers })
    }

    async fn scalelite(
        &self,
        _host: &Host,
        _deadline: Instant,
    ) -> Result<Option<scalelite::Client>, Failure> {
        Ok(Some(scalelite::Client { world: self.world.clone(), who: self.who.clone() }))
    }

    fn forget_secret(&self) {}

    async fn url(&self, host: &Host) -> Result<String, Failure> {
        Ok(server_url(&host.name))
    }

    async fn ready_bbb(&self, host: &Host) -> Result<(Installation, Bbb), Failure> {
        let bbb = Bbb { world: self.world.clone(), who: self.who.clone() };
        if bbb.running().await.is_none() {
            return Err(Failure::new(Exit::WaitingForBbb, "BBB does not answer"));
        }
        let url = server_url(&host.name);
        let installation = Installation {
            server_url: url.trim_end_matches("/bigbluebutton/api").to_owned(),
            secret: SecretString::from(BBB_SECRET),
            checksum: Algorithm::Sha256,
        };
        Ok((installation, bbb))
    }

    fn joined_as(&self, _installation: &Installation) {}

    async fn ec2(&self, _host: &Host) -> Result<Ec2, Failure> {
        Ok(Ec2 { world: self.world.clone(), who: self.who.clone(), abroad: false })
    }

    fn now(&self) -> u64 {
        self.world.state().clock(&self.who)
    }

    fn leaves_alone(&self, words: &str) {
        self.world.state().note(format_args!("{}: {words}", self.who));
    }
}

impl Shared {
    async fn make(&self, call: Call) -> Event {
        let who = &self.who;
        let silent = |_| "no answer in time".to_owned();
        match call {
            Call::Count => {
                let work = self.world.call(Service::Bbb, who, |state| state.work(who)).await.ok().flatten();
                let (meetings, recordings) = work.unzip();
                Event::Counted(Work { meetings, recordings, remark: None })
            }
            Call::Group => {
                let asked =
                    self.world.call(Service::AutoScaling, who, |state| Some(state.machine(who).protected));
                Event::Grouped(asked.await.map_err(silent))
            }
            Call::Hook => {
                let hook = Hook { heartbeat_timeout: HOOK, ceiling: 100 * HOOK };
                Event::Hooked(
                    self.world.call(Service::AutoScaling, who, |_| Some(hook)).await.map_err(silent),
                )
            }
            call => {
                let told = self.world.call(Service::AutoScaling, who, |state| {
                    let now = state.now();
                    let machine = state.machine(who);
                    match call {
                        Call::Heartbeat => machine.heartbeat = now,
                        Call::Complete(_) => machine.completed = true,
                        Call::Protect(on) => machine.protected = on,
                        _ => {}
                    }
                    state.note(format_args!("{who}: {call:?}"));
                });
                Event::Called(call, told.await.map_err(silent))
            }
        }
    }
}
