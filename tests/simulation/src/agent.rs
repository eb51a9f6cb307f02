//! One agent as a service: the real state machine and the real loops. What is between them, the few lines of
//! `host::service` that fetch settings and secrets, is stood in for.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use host::execute::Executor;
use host::identity::{Host, server_url};
use host::interrupt::{Interrupt, Trigger};
use host::naming::{Named, Standing, Zone};
use host::pace::Queued;
use host::pool::{Meetings, Pool};
use host::report::{Exit, Failure};
use host::route53::ChangeId;
use host::scalelite::Management;
use plan::backoff::Queue;
use plan::dns::Desired;
use plan::instance::{InstanceId, Role};
use plan::lifecycle::{
    Action, Call, Event, Found, Hook, Intent, Job, Machine, Moment, OnStop, Order, Policy, State, StopCause,
    Trouble, TroubleKind, Verdict, Work,
};
use plan::membership::{self, Entry};
use secrecy::SecretString;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use crate::fleet::Ec2;
use crate::scalelite::POLL;
use crate::world::{Service, World};
use crate::{route53, scalelite};

/// As in `host::service::jobs`.
const ATTEMPT: Duration = Duration::from_secs(15);
const LEAVE: Duration = Duration::from_secs(60);
const PROPAGATION: Duration = Duration::from_secs(120);

/// How long a drain waits at most.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);
/// How long a stop may take.
pub(crate) const STOP: Duration = Duration::from_secs(80);
/// How long the lifecycle hook holds an instance without a heartbeat.
pub(crate) const HOOK: Duration = Duration::from_secs(300);

/// The settings of the fleet.
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

/// What people and PID 1 want of a service.
pub(crate) enum Wanted {
    Order(Order),
    Stop(StopCause),
}

/// What the name was made of, when, and by which change, while not all servers answer so.
type Awaited = (Instant, Desired, Option<ChangeId>);

struct Shared {
    world: World,
    who: InstanceId,
    awaited: RefCell<Option<Awaited>>,
    queue: RefCell<Queue>,
    /// Whether the name is known to be its own.
    named: Cell<bool>,
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

/// Is the service of this instance, which was booted then, until it ends. Dropped, it has crashed.
pub(crate) async fn serve(
    world: World,
    who: InstanceId,
    booted: Instant,
    mut wanted: UnboundedReceiver<Wanted>,
) -> Result<(), String> {
    let (memory, window) = world.state().machine(&who).memory;
    let queue = RefCell::new(Queue::new(world.state().spread));
    let shared = Rc::new(Shared { world, who, awaited: RefCell::default(), queue, named: Cell::default() });
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

    /// Waits for what the metadata service says next; now and then it is told twice.
    fn watch(&self, told: Option<Intent>) {
        let (shared, booted) = (Rc::clone(&self.shared), self.booted);
        self.work.push(Box::pin(async move {
            loop {
                // Less often than the real service asks: what it says seldom changes, and asking costs simulated time.
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
                // The clocks differ a little: what was read of the notice first stays.
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
                // Before anything is done: whoever judges it has to know in which state.
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
            State::Leaving(leaving) => LEAVE.min(leaving.until.saturating_sub(self.now())),
            _ => ATTEMPT,
        };
        let steady =
            matches!(self.machine.state(), State::Serving(_) | State::Resting(_) | State::Draining(_));
        let shared = Rc::clone(&self.shared);
        let begun = Instant::now();
        self.work.push(Box::pin(async move {
            let deadline = begun + patience;
            let executor = Executor::new(interrupt.clone(), false);
            let result = interrupt.or_stop(shared.job(job, steady, &executor, deadline)).await;
            // Promise 6: every wait is bounded; what is under way may end, and a call takes ten seconds at most.
            let (took, who) = (begun.elapsed(), &shared.who);
            if took > patience + Duration::from_secs(40) {
                let most = patience.as_secs();
                shared
                    .world
                    .state()
                    .breaks("a job takes for ever", format_args!("{who}: {job:?}: {took:?} of {most} s"));
            }
            Done::Job(
                job,
                match result {
                    Ok(Ok(found)) => Ok(found),
                    Ok(Err(failure)) => Err(trouble(&failure)),
                    Err(_) => Err(Trouble { words: "cancelled".to_owned(), kind: TroubleKind::Cancelled }),
                },
            )
        }));
    }
}

fn trouble(failure: &Failure) -> Trouble {
    let kind = match (failure.turn(), failure.exit) {
        (Some(wait), _) => TroubleKind::Turn(wait),
        (None, Exit::Interrupted(_)) => TroubleKind::Cancelled,
        (None, Exit::WaitingForBbb) => TroubleKind::Waiting,
        (None, Exit::TryAgain) => TroubleKind::Passing,
        (None, _) => TroubleKind::Lasting,
    };
    Trouble { words: failure.headline(), kind }
}

/// BBB on the host.
struct Bbb<'a>(&'a Shared);

impl Meetings for Bbb<'_> {
    async fn running(&self) -> Option<u32> {
        let Self(shared) = self;
        let answer = shared.world.call(Service::Bbb, &shared.who, |state| state.work(&shared.who)).await;
        answer.ok().flatten().and_then(|(meetings, _)| u32::try_from(meetings.len()).ok())
    }
}

impl Shared {
    async fn host(&self) -> Result<Host, Failure> {
        let who = &self.who;
        let host = self.world.call(Service::Metadata, who, |state| state.host(who)).await;
        host.map_err(|_| Failure::new(Exit::TryAgain, "the metadata service does not answer"))
    }

    async fn job(
        &self,
        job: Job,
        steady: bool,
        executor: &Executor,
        deadline: Instant,
    ) -> Result<Found, Failure> {
        let host = match (job, self.host().await) {
            (Job::Name | Job::Join | Job::Keep, host) => host?,
            // What takes it out does not wait for the metadata.
            (_, host) => host.unwrap_or_else(|_| self.world.state().host(&self.who)),
        };
        let (url, secret) = (server_url(&host.name), SecretString::from("the host's secret"));
        let scalelite = scalelite::Client { world: self.world.clone(), who: self.who.clone() };
        let pool = Pool { scalelite: &scalelite, url: &url, secret: &secret, executor, deadline };
        let wanted = membership::Desired::default();
        let kept = |entries: &[Entry]| {
            membership::kept(entries).0.map_or(Found::Missing, |entry| Found::Entry(entry.state))
        };
        let others = match job {
            Job::Name | Job::Join | Job::Keep => false,
            _ => !self.named.get() && self.zone().borne_by_another(&host, deadline).await?.is_some(),
        };
        match job {
            Job::Look if others => Ok(Found::Missing),
            Job::Cordon | Job::Recordon | Job::Disable if others => Ok(Found::Done),
            Job::Name => self.name(&host, steady, executor, deadline).await,
            Job::Join | Job::Keep if Bbb(self).running().await.is_none() => {
                Err(Failure::new(Exit::WaitingForBbb, "BBB does not answer"))
            }
            Job::Join => Ok(kept(&pool.join(&wanted, &Bbb(self)).await?.entries)),
            Job::Keep => Ok(kept(&pool.keep(&wanted, &Bbb(self)).await?.entries)),
            Job::Look => match scalelite.entries(&url, &secret).await {
                Ok(entries) => Ok(kept(&entries)),
                Err(error) => Err(Failure::new(Exit::TryAgain, "looking").because(error)),
            },
            Job::Cordon => pool.cordon().await.map(|_| Found::Done),
            Job::Recordon => pool.recordon().await.map(|_| Found::Done),
            Job::Disable => pool.disable().await.map(|_| Found::Done),
            Job::Leave => {
                self.awaited.replace(None);
                let zone = self.zone();
                let ec2 = Ec2 { world: self.world.clone(), who: self.who.clone() };
                let leave = async {
                    match others {
                        true => Ok(()),
                        false => pool.leave().await.map(drop),
                    }
                };
                let (left, unnamed) = tokio::join!(leave, zone.deregister(&host, &ec2, executor, deadline));
                left.and(unnamed.map(drop)).map(|()| Found::Done)
            }
        }
    }

    fn zone(&self) -> Zone<route53::Client, route53::Client> {
        let client = route53::Client { world: self.world.clone(), who: self.who.clone() };
        Zone { api: client.clone(), servers: Ok(client) }
    }

    async fn name(
        &self,
        host: &Host,
        steady: bool,
        executor: &Executor,
        deadline: Instant,
    ) -> Result<Found, Failure> {
        let clock = self.world.state().clock(&self.who);
        let desired = host.desired(Role::Bbb, 60, clock)?;
        let zone = self.zone();
        let awaited = self.awaited.borrow().clone().filter(|(since, former, _)| {
            since.elapsed() < PROPAGATION && former.addresses() == desired.addresses()
        });
        let change = match awaited {
            Some((_, _, change)) => change,
            None => {
                if steady {
                    match zone.standing(&desired).await {
                        Standing::Live => return Ok(Found::Live),
                        Standing::Nobody(why) => {
                            return Err(
                                Failure::new(Exit::TryAgain, "the name cannot be looked at").because(why)
                            );
                        }
                        Standing::Otherwise(_) => {}
                    }
                }
                let mut queued = Queued::again_and_again(deadline, self.queue.borrow().clone());
                let named = zone.register(&desired, executor, &mut queued).await;
                self.queue.replace(queued.into_queue());
                match &named {
                    Ok(_) => self.named.set(true),
                    Err(failure) if failure.exit == Exit::Refused => self.named.set(false),
                    Err(_) => {}
                }
                let change = match named? {
                    Named::Changed(id) => Some(id),
                    Named::Already | Named::Confirmed | Named::Planned => None,
                };
                self.awaited.replace(Some((Instant::now(), desired.clone(), change.clone())));
                change
            }
        };
        match zone.wait_until_live(&desired, change.as_ref(), Instant::now()).await {
            Ok(_) => {
                self.awaited.replace(None);
                self.queue.replace(Queue::new(Duration::ZERO));
                Ok(Found::Live)
            }
            Err(late) if late.exit == Exit::Partly => Ok(Found::Behind(late.headline())),
            Err(failure) => Err(failure),
        }
    }

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
