//! One agent as a service: the real engine, with the real state machine and jobs, in a simulated world. Replaced are the
//! parts of `host::service` around the engine, fetching settings and secrets, and the calls to the group.

use std::rc::Rc;
use std::time::Duration;

use clients::bbb::{Algorithm, Installation};
use host::dns::Zone;
use host::identity::{Host, server_url};
use host::membership::Meetings;
use host::report::{Exit, Failure};
use host::service::engine::{self, Effect, Engine, Finished, Happened};
use host::service::jobs;
use host::service::registration::Registration;
use plan::instance::{InstanceId, Role};
use plan::lifecycle::{
    Call, Event, Hook, HookResult, Intent, Machine, Moment, OnStop, Order, Policy, StopCause, Work,
};
use plan::membership;
use secrecy::SecretString;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

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
        at_deadline: HookResult::Continue,
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
    booted: Instant,
    /// The host's identity when the service was started.
    host: Host,
    registration: Registration,
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
    let shared = Rc::new(Shared { world, who, booted, host, registration });
    let mut engine = Engine::new(Rc::clone(&shared), Machine::new(policy(), memory, window));
    let mut told = Box::pin(shared.told(None));
    shared.publish(&engine);
    while engine.end().is_none() {
        let Happened { finished, events } = tokio::select! {
            biased;
            Some(wanted) = wanted.recv() => wanted.into(),
            intent = &mut told => {
                told.set(shared.told(Some(intent)));
                Event::Told(intent).into()
            }
            happened = engine.next() => happened,
        };
        if let Some(finished) = finished {
            shared.check(&finished);
        }
        for event in events {
            for effect in engine.feed(event) {
                shared.carry_out(effect);
            }
            // Nothing has run yet of what follows from the event: its checks depend on the state.
            shared.publish(&engine);
        }
    }
    engine.end().cloned().unwrap_or(Ok(()))
}

impl From<Wanted> for Happened {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Order(order) => Event::Ordered(order),
            Wanted::Stop(cause) => Event::Stop(cause),
        }
        .into()
    }
}

impl Shared {
    /// Publishes the state to the checks.
    fn publish(&self, engine: &Engine<Self>) {
        let state = engine.machine().state().name();
        let mut world = self.world.state();
        let who = &self.who;
        if world.machine(who).state != state {
            let words = engine.words();
            world.note(format_args!("{who}: {state}: {words}"));
            let now = world.now();
            let machine = world.machine(who);
            if (machine.state, state) == ("joining", "serving") {
                machine.enabled = now;
            }
            (machine.state, machine.words) = (state, words);
        }
    }

    fn carry_out(&self, effect: Effect) {
        let who = &self.who;
        match effect {
            Effect::Remember(memory, window) => self.world.state().machine(who).memory = (memory, window),
            Effect::Illegal(why) => {
                self.world.state().breaks("an illegal transition", format_args!("{who}: {why}"));
            }
            Effect::Moved(_) | Effect::Ready | Effect::Refuse(_) => {}
        }
    }

    /// Promise 6: every wait is bounded. A call that is under way may end, and takes ten seconds at most.
    fn check(&self, Finished { job, took, patience, trouble, .. }: &Finished) {
        let who = &self.who;
        if let Some(trouble) = trouble {
            self.world.state().note(format_args!("{who}: {job:?}: {}", trouble.words));
        }
        if *took > *patience + Duration::from_secs(40) {
            let most = patience.as_secs();
            let what = format_args!("{who}: {job:?}: {took:?} of {most} s");
            self.world.state().breaks("a job takes for ever", what);
        }
    }

    /// Waits for the next answer of the metadata service; now and then the machine is told the same answer twice.
    async fn told(self: &Rc<Self>, told: Option<Intent>) -> Intent {
        loop {
            // The real service asks more often; the answer seldom changes, and each call costs simulated time.
            let calm = self.world.state().calm;
            self.world.pause(2.0, if calm { 200.0 } else { 40.0 }).await;
            let read = self.world.call(Service::Metadata, &self.who, |state| {
                let (now, again) = (state.now(), state.mishap(30));
                let machine = state.machine(&self.who);
                let left = |end: Duration| self.booted.elapsed() + end.saturating_sub(now);
                (machine.target, machine.spot.map(left), again)
            });
            let Ok((target, spot, again)) = read.await else { continue };
            // The clocks differ a little, so the first reading of the notice is kept.
            let spot = spot.map(|spot| told.and_then(|told| told.spot).unwrap_or(spot));
            let intent = Intent { target, grouped: true, spot, rebalance: false, maintenance: None };
            if told != Some(intent) || again {
                return intent;
            }
        }
    }
}

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

impl engine::World for Shared {
    fn moment(&self) -> Moment {
        self.booted.elapsed()
    }

    fn timer(&self, moment: Moment) -> Option<Instant> {
        self.booted.checked_add(moment)
    }

    async fn make(&self, call: Call) -> Vec<Event> {
        vec![self.call(call).await]
    }
}

impl Shared {
    async fn call(&self, call: Call) -> Event {
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
