//! One agent as a service: the real engine, with the real state machine and jobs, in a simulated world. Replaced are
//! the parts of `host::service` around the engine, fetching settings and secrets, and the calls to the group.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use clients::bbb::{Algorithm, Installation};
use host::dns::Zone;
use host::execute;
use host::identity::{Host, server_url};
use host::membership::{Known, Meetings, Note};
use host::report::{Exit, Failure};
use host::service::engine::{self, Effect, Engine, Finished, Happened};
use host::service::jobs;
use host::service::registration::Registration;
use plan::addresses::{Announced, Difference, OnAddresses, Place};
use plan::dns::{Holder, Observed};
use plan::instance::{InstanceId, Role};
use plan::lifecycle::{
    Call, Cause, Event, Heard, Hook, HookResult, Hooks, Intent, Job, Machine, Moment, OnStop, Order, Policy,
    Rest, State as Phase, StopCause, Target,
};
use plan::membership;
use plan::work::{Figure, Meetings as Listed, Rules, Work};
use secrecy::SecretString;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::bbb::NEW;
use crate::fleet::{Announces, BBB_SECRET, Ec2};
use crate::lives::closing;
use crate::scalelite::POLL;
use crate::turn::TTL;
use crate::world::{Service, State, World};
use crate::{route53, scalelite};

/// The longest time for which a drain waits.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);
/// The longest time that a stop may take.
pub(crate) const STOP: Duration = Duration::from_secs(80);
/// The time for which the lifecycle hook holds an instance without a heartbeat.
pub(crate) const HOOK: Duration = Duration::from_secs(300);

/// The time for which recordings are still waited for after a deadline that ended meetings.
pub(crate) const AFTER_DEADLINE: Duration = Duration::from_secs(300);
/// The time after which a recording that nobody works on is not waited for.
pub(crate) const STUCK: Duration = Duration::from_secs(300);
/// The time after which a meeting with nobody in it is not waited for.
pub(crate) const EMPTY_MEETING: Duration = Duration::from_secs(120);

/// Returns the settings of the fleet's hosts of this role.
fn policy(role: Role) -> Policy {
    let minute = Duration::from_secs(60);
    Policy {
        scalelite: role == Role::Bbb,
        role,
        on_stop: OnStop::Leave,
        check_name: 2 * minute,
        check_entry: 3 * minute,
        ttl: TTL,
        count: minute,
        poll: POLL,
        live_patience: 2 * minute,
        stop_patience: STOP,
        deadline: DEADLINE,
        rules: Rules { recordings: true, empty_meeting: EMPTY_MEETING, stuck: STUCK },
        after_deadline: AFTER_DEADLINE,
        quiet: minute / 2,
        at_deadline: HookResult::Continue,
        addresses: if role == Role::Bbb { OnAddresses::Repair } else { OnAddresses::Ignore },
        rebalance: true,
        rebalance_for: 4000 * minute,
        maintenance: false,
        announce: Vec::new(),
        protection: (role == Role::Bbb).then_some(5 * minute),
        launch: None,
        unhealthy_after: None,
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
    role: Role,
    booted: Instant,
    /// The host's identity when the service was started.
    host: Host,
    registration: Registration,
    announced: execute::Announced,
    /// Whether the service has begun what the metadata service asked for.
    resumed: Cell<bool>,
    entries: Known,
}

/// The watch for news of the metadata service, as in `host::service::watch`.
struct Watch {
    heard: Heard,
    /// The answer that was read last.
    intent: Intent,
}

/// Runs the service of this instance, which was booted at this time, until it ends. Dropping the future is a crash.
pub(crate) async fn serve(
    world: World,
    who: InstanceId,
    booted: Instant,
    mut wanted: UnboundedReceiver<Wanted>,
) -> Result<(), String> {
    let kept = world.state().machine(&who).kept.clone();
    let host = world.state().host(&who);
    let registration = Registration::new(world.state().spread, kept.memory);
    let watch = Watch { heard: Heard::new(&kept), intent: Intent::default() };
    world.state().machine(&who).heard = None;
    world.state().machine(&who).misled_since = None;
    world.state().machine(&who).closing.forget();
    let (announced, resumed) = (execute::Announced::default(), Cell::new(false));
    let entries = Known::default();
    let role = world.state().machine(&who).role;
    let shared =
        Rc::new(Shared { world, who, role, booted, host, registration, announced, resumed, entries });
    let terms = shared.world.state().terms.clone();
    let policy = terms.map_or_else(|| policy(role), |terms| terms.policy.clone());
    let mut engine = Engine::new(Rc::clone(&shared), Machine::new(policy, kept));
    let mut told = Box::pin(shared.told(watch));
    shared.publish(&engine);
    while engine.end().is_none() {
        let Happened { finished, events } = tokio::select! {
            biased;
            Some(wanted) = wanted.recv() => wanted.into(),
            (watch, intent) = &mut told => {
                told.set(shared.told(watch));
                shared.world.state().machine(&shared.who).heard = Some(intent);
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
        self.judge_window(engine.machine().state());
        self.judge_return(engine.machine().state());
        let mut world = self.world.state();
        let who = &self.who;
        world.machine(who).spared = engine.machine().is_spared();
        world.note_rest(who, engine.machine().state());
        if world.machine(who).state != state {
            world.judge_name_first(who, engine.machine().state());
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
            Effect::Remember(kept) => self.world.state().machine(who).kept = kept,
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
        if *job == Job::Name && trouble.is_none() {
            self.judge_address(*took);
        }
    }

    /// Checks what a look at the name that has found nothing wrong, and took so long, leaves there: the address of this
    /// host alone, unless it has changed meanwhile.
    fn judge_address(&self, took: Duration) {
        let mut world = self.world.state();
        let began = world.now().saturating_sub(took);
        let machine = world.machine(&self.who).clone();
        let zone = world.route53.zone();
        let own = zone.get(&machine.name).filter(|there| matches!(there.holder(&self.who), Holder::Me(_)));
        let wrong = own.map(Observed::ip_addresses).unwrap_or_default();
        if machine.addressless.is_none()
            && machine.addressed() < began
            && wrong.iter().any(|address| *address != machine.address)
        {
            let what = format!("{}: {wrong:?}, not {}", self.who, machine.address);
            world.breaks("a name with a former address is taken for right", what);
        }
    }

    /// Checks that a host which its group or EC2 ends is never brought back.
    fn judge_return(&self, state: &Phase) {
        let who = &self.who;
        let mut world = self.world.state();
        let machine = world.machine(who);
        let ends = |cause| matches!(cause, Cause::Group | Cause::Spot);
        match state {
            Phase::Draining(drain) => machine.ends |= ends(drain.cause),
            Phase::Leaving(leaving) => machine.ends |= ends(leaving.cause),
            Phase::Joining(_) | Phase::Serving(_) | Phase::Cordoned(_) if machine.ends => {
                machine.ends = false;
                world.breaks("a host that is to end came back", format_args!("{who}: {}", state.name()));
            }
            _ => {}
        }
    }

    /// Checks that a restarted service goes on with the drain of the one before it, with its deadline.
    fn judge_window(&self, state: &Phase) {
        let who = &self.who;
        let mut world = self.world.state();
        let former = world.machine(who).window;
        let window = match state {
            Phase::Draining(drain) => Some((drain.deadline, false)),
            Phase::Leaving(leaving) => leaving.window.map(|window| (window.deadline, window.forced)),
            // Nothing is begun, or nothing more.
            Phase::Starting | Phase::Stopping(_) | Phase::Ended => return,
            _ => None,
        };
        world.machine(who).window = window;
        let resumed = self.resumed.replace(true);
        let ends = window.zip(former).filter(|_| !resumed);
        let spot = world.machine(who).spot.is_some();
        if let Some(((deadline, forced), (before, was_forced))) = ends {
            let earlier = deadline < before && !spot;
            if earlier || deadline > before || was_forced && !forced {
                let what = format_args!("{who}: {before:?} ({was_forced}), then {deadline:?} ({forced})");
                world.breaks("a restart changed a drain's deadline", what);
            }
        }
    }

    /// Waits until the metadata service is to be asked; `doubts` tells whether its last answer is to be heard again.
    async fn look(&self, doubts: bool) {
        let every = self.world.state().terms.as_ref().map(|terms| terms.metadata);
        let Some(every) = every else {
            // The real service asks more often; the answer seldom changes, and each call costs simulated time.
            let calm = self.world.state().calm;
            return self.world.pause(2.0, if calm { 200.0 } else { 40.0 }).await;
        };
        // In a whole day most questions would get the same answer: those are left out.
        let news = Rc::clone(&self.world.state().machine(&self.who).news);
        if !doubts {
            news.notified().await;
        }
        self.world.pause(0.0, every.as_secs_f64()).await;
    }

    /// Waits for news of the metadata service; now and then the machine is told the same twice.
    async fn told(self: &Rc<Self>, mut watch: Watch) -> (Watch, Intent) {
        loop {
            self.look(watch.heard.doubts()).await;
            let read = self.world.call(Service::Metadata, &self.who, |state| {
                let (now, again, partly) = (state.now(), state.mishap(30), state.mishap(20));
                let glitch = state.mishap(15) && !state.machine(&self.who).glitched;
                let machine = state.machine(&self.who);
                machine.glitched |= glitch;
                let left = |end: Duration| self.booted.elapsed() + end.saturating_sub(now);
                let intent = Intent {
                    target: machine.target,
                    grouped: true,
                    spot: machine.spot.map(left),
                    rebalance: machine.rebalance.then_some(Duration::ZERO),
                    maintenance: None,
                };
                let nothing = Intent { grouped: true, ..Intent::default() };
                (if glitch { nothing } else { intent }, glitch, partly, again)
            });
            let Ok((mut intent, glitch, partly, again)) = read.await else { continue };
            if !glitch && !partly {
                self.world.state().machine(&self.who).glitched = false;
            }
            if partly {
                // Before it was known once, nothing is told.
                if self.world.state().machine(&self.who).heard.is_none() {
                    continue;
                }
                intent.target = watch.intent.target;
            }
            watch.intent = intent;
            if let Some(news) = watch.heard.hear(intent, !partly) {
                return (watch, news);
            }
            let heard = self.world.state().machine(&self.who).heard;
            if let Some(heard) = heard.filter(|_| again) {
                return (watch, heard);
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
        let answer = self.world.call(Service::Bbb, &self.who, |state| state.meetings(&self.who)).await;
        let meetings = answer.ok().flatten().filter(|meetings| meetings.unlisted.is_none())?;
        u32::try_from(meetings.listed.len()).ok()
    }
}

impl jobs::World for Shared {
    type Api = route53::Client;
    type Servers = route53::Client;
    type Scalelite = scalelite::Client;
    type Bbb = Bbb;
    type Ec2 = Ec2;

    fn wanted(&self) -> jobs::Wanted {
        let entry = (self.role == Role::Bbb).then(membership::Desired::default);
        jobs::Wanted { role: self.role, ttl: 60, entry, succession: None }
    }

    fn announced(&self) -> &execute::Announced {
        &self.announced
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
        let client = scalelite::Client { world: self.world.clone(), who: self.who.clone() };
        Ok((self.role == Role::Bbb).then_some(client))
    }

    fn forget_secret(&self) {}

    async fn url(&self, host: &Host) -> Result<String, Failure> {
        Ok(server_url(&host.name))
    }

    async fn ready_bbb(&self, host: &Host) -> Result<(Installation, Bbb), Failure> {
        let bbb = Bbb { world: self.world.clone(), who: self.who.clone() };
        let answers = self.world.call(Service::Bbb, &self.who, |state| state.machine(&self.who).bbb).await;
        if !answers.unwrap_or_default() {
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

    fn known(&self) -> &Known {
        &self.entries
    }

    fn note(&self, _host: &Host) -> Option<Note> {
        self.world.state().machine(&self.who).note.clone()
    }

    fn keep_note(&self, note: Option<&Note>) {
        self.world.state().machine(&self.who).note = note.cloned();
    }

    fn enabled(&self, _: bool) {}

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
            Call::Count if self.role == Role::Turn => {
                let relays = self.world.call(Service::Kernel, who, |state| state.relays(who)).await;
                let relays = relays.unwrap_or_else(|_| Figure::Unknown("no answer in time".to_owned()));
                Event::Counted(Work { relays: Some(relays), ..Work::default() })
            }
            Call::Count => {
                let listed = self.world.call(Service::Bbb, who, |state| state.meetings(who)).await;
                let unanswered = || Listed::unknown("no answer in time".to_owned());
                let meetings = listed.ok().flatten().unwrap_or_else(unanswered);
                self.world.state().machine(who).listed |= meetings.unlisted.is_none();
                // The meetings come first: a recording of one that ends meanwhile is seen.
                let recordings =
                    self.world.call(Service::Redis, who, |state| state.recordings(who, true)).await;
                let recordings = recordings.unwrap_or_else(|_| self.world.state().recordings(who, false));
                Event::Counted(Work { meetings, recordings, relays: None })
            }
            Call::Addresses => {
                let seen = self.world.call(Service::Bbb, who, |state| state.machine(who).announces).await;
                // An answer that is lost tells the agent nothing.
                if let Ok(announces) = seen {
                    let mut state = self.world.state();
                    let now = state.now();
                    let machine = state.machine(who);
                    let misled = announces == Announces::OtherAddress;
                    machine.misled_since = misled.then(|| machine.misled_since.unwrap_or(now));
                }
                Event::Announced(announced(seen.map_err(silent)))
            }
            Call::Repair => {
                let repaired = self.world.call(Service::Bbb, who, |state| state.set_right(who));
                Event::Called(call, repaired.await.map_err(silent))
            }
            Call::Group => {
                let asked =
                    self.world.call(Service::AutoScaling, who, |state| Some(state.machine(who).protected));
                Event::Grouped(asked.await.map_err(silent))
            }
            Call::Closing => Event::Closing(closing::ask(&self.world, who).await.map_err(silent)),
            Call::Hook => {
                let timeout = self.world.state().terms.as_ref().map_or(HOOK, |terms| terms.hook);
                let hook = Hook {
                    name: "drain".to_owned(),
                    heartbeat_timeout: timeout,
                    ceiling: self.world.state().ceiling,
                    own: true,
                };
                let hooks = Hooks { terminating: vec![hook], launching: None };
                Event::Hooked(self.world.call(Service::AutoScaling, who, |_| hooks).await.map_err(silent))
            }
            call => {
                let told = self.world.call(Service::AutoScaling, who, |state| {
                    let now = state.now();
                    match call {
                        Call::Heartbeat => state.machine(who).heartbeat = now,
                        Call::Complete(_) => state.machine(who).completed = true,
                        Call::Protect(on) => state.protect(who, on),
                        _ => {}
                    }
                    state.note(format_args!("{who}: {call:?}"));
                });
                Event::Called(call, told.await.map_err(silent))
            }
        }
    }
}

/// Returns the finding about BBB's files that say this.
fn announced(seen: Result<Announces, String>) -> Announced {
    let [found, wanted] = [1, 2].map(|last| Ipv4Addr::new(198, 51, 100, last));
    match seen {
        Ok(Announces::OtherAddress) => {
            Announced::Other(vec![Difference { place: Place::ExternalRtp, found, wanted }])
        }
        Ok(Announces::OtherTurn) => Announced::OtherTurn,
        Ok(Announces::Right) => Announced::Right,
        Err(why) => Announced::Unknown(why),
    }
}

impl State {
    /// Notes whether the host is to take no new meetings as far as its agent knows, and whether it is cordoned for
    /// that.
    fn note_rest(&mut self, who: &InstanceId, state: &Phase) {
        let now = self.now();
        let machine = self.machine(who);
        let told = |heard: Intent| {
            [(Rest::Standby, heard.target == Target::Standby), (Rest::Rebalance, heard.rebalance.is_some())]
        };
        // An operator may have overruled one reason, and not the other.
        let spared = |why| why == Rest::Rebalance && machine.spared;
        let holds =
            |(why, holds): (Rest, bool)| holds && !machine.kept.overruled.contains(&why) && !spared(why);
        let told = machine.heard.is_some_and(|heard| told(heard).into_iter().any(holds));
        let registered = matches!(state, Phase::Joining(_) | Phase::Serving(_) | Phase::Cordoned(_));
        let rests = told && registered;
        machine.rest_since = rests.then(|| machine.rest_since.unwrap_or(now));
        machine.rests = matches!(state, Phase::Cordoned(cordoned) if cordoned.cordon.is_some());
        if !machine.rests {
            (machine.leaked, machine.listed) = (None, false);
        }
        match state {
            Phase::Leaving(_) if machine.leaving_since.is_none() => {
                machine.leaving_since = Some(now);
                machine.activity.pass(now);
                machine.ends_meetings = machine.activity.occupied(NEW, now) > 0;
            }
            Phase::Starting
            | Phase::Leaving(_)
            | Phase::Stopping(_)
            | Phase::Ended
            | Phase::Unregistered(_) => {}
            _ => machine.leaving_since = None,
        }
    }
}
