//! The lives of the fleet's hosts, drawn from the seed.

pub(crate) mod closing;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use host::membership::Note;
use plan::dns::Holder;
use plan::instance::{InstanceId, Role};
use plan::lifecycle::{Kept, Order, StopCause, Target};
use plan::membership::State as EntryState;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use crate::agent::{AFTER_DEADLINE, DEADLINE, HOOK, STOP, Wanted, serve};
use crate::fleet::Announces;
use crate::scalelite::Server;
use crate::world::World;

/// The time that systemd waits for a service to stop, beyond the service's own limit.
const MARGIN: Duration = Duration::from_secs(15);

/// The running service of a host.
pub(crate) struct Service {
    pub(crate) wanted: UnboundedSender<Wanted>,
    pub(crate) task: JoinHandle<()>,
}

impl Service {
    /// Starts the service of an instance that was booted at this time.
    pub(crate) fn start(world: World, id: InstanceId, booted: Instant) -> Self {
        let (wanted, receiver) = unbounded_channel();
        let now = world.state().now();
        world.state().machine(&id).agent_since = Some(now);
        let task = spawn_local(async move {
            let service = AssertUnwindSafe(serve(world.clone(), id.clone(), booted, receiver));
            let Ok(result) = service.catch_unwind().await else {
                return world.state().breaks("a panic", &id);
            };
            let mut state = world.state();
            state.note(format_args!("{id}: the service ends: {result:?}"));
            let machine = state.machine(&id);
            (machine.state, machine.undone) = ("ended", result.is_ok());
        });
        Self { wanted, task }
    }
}

/// One host.
pub(crate) struct Life {
    world: World,
    id: InstanceId,
    booted: Instant,
    service: Option<Service>,
}

impl Life {
    /// Lives from launch to death, or for ever in peace.
    pub(crate) async fn live(world: World, id: InstanceId) {
        let mut life = Self { world, id, booted: Instant::now(), service: None };
        life.world.pause(0.0, 60.0).await;
        life.boot().await;
        loop {
            life.world.pause(40.0, 700.0).await;
            if life.world.state().calm {
                break;
            }
            if !life.happen().await {
                return;
            }
        }
        // An entry that somebody else has added is found once in some hours, or at such an order.
        if !life.world.state().no_dns {
            life.order(Order::Check);
        }
        // In peace the host stays as it is.
        std::future::pending::<()>().await;
    }

    async fn boot(&mut self) {
        self.booted = Instant::now();
        let (world, id) = (self.world.clone(), self.id.clone());
        {
            let mut state = world.state();
            state.note(format_args!("{id} boots"));
            let machine = state.machine(&id);
            machine.kept = Kept::default();
            (machine.excuse, machine.recordings_excuse, machine.window) = (None, None, None);
            (machine.leaving_since, machine.rest_since, machine.rests) = (None, None, false);
            machine.ends = false;
            machine.activity.lose_meetings();
            machine.relays.lose();
        }
        self.begin();
        world.pause(5.0, 50.0).await;
        world.state().machine(&id).bbb = true;
    }

    fn begin(&mut self) {
        self.service = Some(Service::start(self.world.clone(), self.id.clone(), self.booted));
    }

    /// Kills the service in the middle of its work.
    fn crash(&mut self) {
        if let Some(service) = self.service.take() {
            service.task.abort();
            let mut state = self.world.state();
            state.note(format_args!("{}: the service dies", self.id));
            let machine = state.machine(&self.id);
            (machine.state, machine.agent_since) = ("", None);
        }
    }

    async fn stop(&mut self, cause: StopCause) {
        self.world.state().note(format_args!("{}: SIGTERM ({cause:?})", self.id));
        if !matches!(cause, StopCause::Restart | StopCause::Unknown) {
            let now = self.world.state().now();
            self.world.state().excuse(&self.id, now);
        }
        {
            let mut state = self.world.state();
            let machine = state.machine(&self.id);
            (machine.undone, machine.only_cordons) = (false, cause == StopCause::Unknown);
        }
        let Some(service) = &mut self.service else { return };
        let _ = service.wanted.send(Wanted::Stop(cause));
        if timeout(STOP + MARGIN, &mut service.task).await.is_err() {
            self.world.state().breaks("a stop takes for ever", &self.id);
        }
        if matches!(cause, StopCause::PowerOff | StopCause::Stop | StopCause::Reboot) {
            self.judge_undoing(cause);
        }
        self.crash();
    }

    /// Checks that a service which says that everything is undone has left nothing behind; at a reboot its name stays.
    fn judge_undoing(&self, cause: StopCause) {
        let mut state = self.world.state();
        let machine = state.machine(&self.id).clone();
        let zone = state.route53.zone();
        let named = cause != StopCause::Reboot
            && zone.get(&machine.name).is_some_and(|there| matches!(there.holder(&self.id), Holder::Me(_)));
        let entries = state.pool.entries.values().filter(|server| server.host() == machine.name).count();
        let entries = if machine.collides { 0 } else { entries };
        if machine.undone && (named || entries > 0) {
            let what = format!("{}: its name {named}, entries {entries}", self.id);
            state.breaks("a service that ended well has left something", what);
        }
    }

    fn order(&self, order: Order) {
        self.world.state().note(format_args!("{}: ordered to {order:?}", self.id));
        if let Some(service) = &self.service {
            let _ = service.wanted.send(Wanted::Order(order));
        }
    }

    fn expect(&self, state: Option<&'static str>) {
        self.world.state().machine(&self.id).expected = state;
    }

    /// Expects that the host comes back into service, or rests as it is told to.
    fn expect_in_service(&self) {
        let mut state = self.world.state();
        let machine = state.machine(&self.id);
        // What an operator had cordoned or disabled before a reboot stays so.
        let set = machine.note.as_ref().and_then(Note::state).is_some();
        machine.expected = match (set || machine.is_to_rest(), machine.kept.overruled.is_empty()) {
            (false, _) => Some("serving"),
            (true, true) => Some("cordoned"),
            (true, false) => None,
        };
    }

    /// Lets the group put the host into standby, or EC2 recommend to replace it, or both; or the group takes it back
    /// into service.
    async fn rest(&mut self) {
        let (collides, turns, standby) = {
            let mut state = self.world.state();
            let machine = state.machine(&self.id);
            (machine.collides, machine.role == Role::Turn, machine.target == Target::Standby)
        };
        // Nothing keeps clients from a TURN host but the end of its name.
        if collides || turns {
            return;
        }
        if standby {
            return self.aim(Target::Serve, false);
        }
        let chance = self.world.state().rng.u32(0..4);
        if chance < 2 {
            self.aim(Target::Serve, true);
            self.world.pause(60.0, 200.0).await;
            if chance == 0 {
                // Standby is another reason than the one that the order overrules.
                self.expect(None);
                self.order(Order::Register);
                self.world.pause(60.0, 200.0).await;
                self.world.state().machine(&self.id).excuse = None;
            }
        }
        self.aim(Target::Standby, chance < 2);
    }

    fn aim(&self, target: Target, rebalance: bool) {
        let mut state = self.world.state();
        state.note(format_args!("{}: the group wants {target:?}, rebalance {rebalance}", self.id));
        let machine = state.machine(&self.id);
        (machine.target, machine.rebalance) = (target, rebalance);
        machine.expected = match (machine.expected, machine.is_to_rest()) {
            (Some("serving"), true) => Some("cordoned"),
            // Whatever was overruled before.
            (None, true) if machine.state == "serving" && target == Target::Standby => Some("cordoned"),
            (Some("cordoned"), true) if machine.rests => Some("cordoned"),
            (Some("cordoned"), false) if machine.rests => Some("serving"),
            (Some("unregistered"), _) => Some("unregistered"),
            _ => None,
        };
    }

    /// Lets something happen to the host; returns false when the host is dead.
    async fn happen(&mut self) -> bool {
        let chance = self.world.state().rng.u32(0..100);
        match chance {
            0..=14 => {
                self.repair(1.0).await;
                self.crash();
                self.world.pause(5.0, 60.0).await;
                self.begin();
            }
            15..=21 => {
                self.stop(StopCause::Restart).await;
                self.begin();
            }
            22..=30 => {
                self.stop(StopCause::Reboot).await;
                self.down().await;
                self.world.state().machine(&self.id).kept = Kept::default();
                self.expect_in_service();
                self.boot().await;
            }
            31..=33 => {
                self.stop(StopCause::Stop).await;
                self.world.pause(1.0, 100.0).await;
                self.expect_in_service();
                self.world.state().machine(&self.id).excuse = None;
                self.begin();
            }
            34..=35 => {
                self.stop(StopCause::Unknown).await;
                self.world.pause(1.0, 100.0).await;
                self.begin();
            }
            36..=41 => {
                // A power cut, after which the host comes back.
                self.crash();
                self.down().await;
                self.world.state().machine(&self.id).kept = Kept::default();
                self.expect_in_service();
                self.boot().await;
            }
            42..=48 => {
                self.repair(30.0).await;
                self.stop(StopCause::PowerOff).await;
                self.world.state().terminate(&self.id);
                return false;
            }
            49..=55 => {
                self.crash();
                self.world.state().terminate(&self.id);
                return false;
            }
            56..=59 => return self.close().await,
            60..=68 => return self.scale_in().await,
            69..=73 => return self.spot().await,
            74..=75 => self.world.state().readdress(&self.id),
            76..=77 => self.lose_address().await,
            78 => self.mislead().await,
            // A new secret of the TURN servers, which the agent follows when it can.
            79 if self.world.state().rng.bool() => {
                self.world.state().note(format_args!("{}: its TURN servers have a new secret", self.id));
                self.world.state().machine(&self.id).announces = Announces::OtherTurn;
            }
            79 => {
                let mut state = self.world.state();
                let skew = state.rng.i64(-300..300);
                state.note(format_args!("{}: its clock jumps to {skew} s", self.id));
                state.machine(&self.id).skew = skew;
            }
            80..=89 => self.by_hand().await,
            90..=94 => self.rest().await,
            _ => self.meddle().await,
        }
        true
    }

    /// Takes the host's address away for a while: meanwhile it gets no meetings.
    async fn lose_address(&mut self) {
        self.world.state().lose_address(&self.id);
        self.world.pause(500.0, 900.0).await;
        let mut state = self.world.state();
        let (id, since) = (self.id.clone(), state.now().saturating_sub(Duration::from_secs(500)));
        let machine = state.machine(&id).clone();
        let had_time =
            machine.addressless.is_some() && machine.agent_since.is_some_and(|begun| begun < since);
        if machine.state == "serving" && machine.kept.overruled.is_empty() && had_time {
            state.breaks("a host without an address serves", &id);
        }
        let zone = state.route53.zone();
        let named = zone.get(&machine.name).is_some_and(|there| matches!(there.holder(&id), Holder::Me(_)));
        if named && had_time && matches!(machine.state, "serving" | "cordoned") {
            state.breaks("a host without an address keeps its name", &id);
        }
        state.regain_address(&id);
    }

    /// Lets BBB announce another address for a while: meanwhile the host gets no meetings.
    async fn mislead(&mut self) {
        self.world.state().note(format_args!("{}: its BBB announces another address", self.id));
        self.world.state().machine(&self.id).announces = Announces::OtherAddress;
        self.world.pause(300.0, 700.0).await;
        let mut state = self.world.state();
        let (id, since) = (self.id.clone(), state.now().saturating_sub(Duration::from_secs(60)));
        let machine = state.machine(&id).clone();
        let known = machine.misled_since.is_some_and(|known| known < since) && machine.agent_since.is_some();
        if machine.state == "serving" && machine.kept.overruled.is_empty() && known {
            state.breaks("a host serves whose BBB announces another address", &id);
        }
        state.note(format_args!("{id}: its BBB announces its address again"));
        state.machine(&id).announces = Announces::Right;
    }

    /// Has the name deleted and repaired, now and then, just before something else happens to the host: the repair may
    /// still be under way, or on its way to the name servers for at most this many seconds.
    async fn repair(&self, most: f64) {
        {
            let mut state = self.world.state();
            let name = state.machine(&self.id).name.clone();
            if state.machine(&self.id).collides || state.rng.bool() {
                return;
            }
            state.note(format_args!("somebody deletes {name}"));
            state.put(&name, None);
        }
        self.order(Order::Check);
        self.world.pause(0.0, most).await;
    }

    /// Takes BBB down with all its meetings for a while.
    async fn down(&mut self) {
        {
            let mut state = self.world.state();
            let machine = state.machine(&self.id);
            machine.bbb = false;
            machine.activity.lose_meetings();
        }
        self.world.pause(20.0, 90.0).await;
    }

    /// Lets the group end the host; the group waits for the lifecycle action.
    async fn scale_in(&mut self) -> bool {
        let collides = self.world.state().machine(&self.id).collides;
        if self.world.state().mishap(6) && !collides {
            let now = self.world.state().now();
            self.world.state().excuse(&self.id, now + DEADLINE);
            self.order(Order::Drain(None));
            self.world.pause(5.0, 300.0).await;
        }
        let (from, ceiling) = {
            let mut state = self.world.state();
            let (now, ceiling) = (state.now(), state.ceiling);
            state.note(format_args!("{}: the group ends it", self.id));
            let held = ceiling.saturating_sub(Duration::from_secs(120));
            let silent = if state.mishap(3) { state.between(50.0, 500.0) } else { Duration::ZERO };
            let machine = state.machine(&self.id);
            machine.activity.redis_back = now + silent;
            let drains = matches!(machine.state, "joining" | "serving" | "cordoned" | "draining");
            let judged = drains || machine.excuse.is_none();
            let ends = machine.excuse.map_or(now + DEADLINE, |ends| ends.min(now + DEADLINE));
            machine.recordings_excuse = judged.then(|| (now + held).min(ends + AFTER_DEADLINE));
            (machine.target, machine.heartbeat, machine.expected) = (Target::Terminate, now, None);
            state.excuse(&self.id, now + DEADLINE.min(held));
            (now, ceiling)
        };
        loop {
            sleep(Duration::from_secs(10)).await;
            if self.world.state().mishap(30) {
                if self.world.state().rng.bool() {
                    self.stop(StopCause::Restart).await;
                }
                self.crash();
                self.world.pause(2.0, 30.0).await;
                self.begin();
            }
            let (completed, due, forgot) = {
                let mut state = self.world.state();
                let now = state.now();
                let machine = state.machine(&self.id);
                let since = machine.agent_since.map(|since| since.max(from));
                // An agent that ran all the time had enough time to send a heartbeat.
                let there = since.is_some_and(|since| since + HOOK < now);
                let expired = machine.heartbeat + HOOK < now;
                // Nothing extends a hook beyond its ceiling, of which an agent may have heard late.
                (machine.completed, expired || from + ceiling < now, expired && there)
            };
            if completed {
                self.judge_completion();
                self.stop(StopCause::PowerOff).await;
                break;
            }
            if due {
                if forgot {
                    let what = format!("{} was not extended", self.id);
                    self.world.state().breaks("the lifecycle hook ran out", what);
                }
                self.crash();
                break;
            }
        }
        self.world.state().terminate(&self.id);
        false
    }

    /// Checks that no one is in a meeting when the group goes on, since the meeting ends then, and that no recording is
    /// lost with the host.
    fn judge_completion(&self) {
        let mut state = self.world.state();
        state.judge_relays(&self.id);
        let now = state.now();
        let machine = state.machine(&self.id);
        machine.activity.pass(now);
        // What has only just begun may have begun while the answer was on its way.
        let running = machine.activity.occupied(Duration::from_secs(60), now);
        let before = machine.leaving_since.unwrap_or(now);
        let recordings: Vec<String> =
            machine.activity.awaited(before, now).into_iter().map(str::to_owned).collect();
        // After its deadline a drain that has ended no meeting waits no longer.
        let over = machine.excuse.filter(|_| !machine.ends_meetings);
        let recordings_excuse =
            machine.recordings_excuse.map(|until| over.map_or(until, |over| over.min(until)));
        let excuse = machine.excuse;
        if running > 0 && excuse.is_none_or(|excuse| now < excuse) {
            let what = format!("{} with {running} meetings, allowed from {excuse:?}", self.id);
            state.breaks("a planned event ended a meeting: the lifecycle action was completed", what);
        }
        if !recordings.is_empty() && recordings_excuse.is_some_and(|excuse| now < excuse) {
            let what = format!("{} with {recordings:?}, allowed from {recordings_excuse:?}", self.id);
            state.breaks("a planned event lost a recording: the lifecycle action was completed", what);
        }
    }

    async fn spot(&mut self) -> bool {
        {
            let mut state = self.world.state();
            let end = state.now() + Duration::from_secs(120);
            state.note(format_args!("{}: a spot notice", self.id));
            state.excuse(&self.id, end.saturating_sub(Duration::from_secs(31)));
            let machine = state.machine(&self.id);
            (machine.spot, machine.expected) = (Some(end), None);
        }
        sleep(Duration::from_secs(120)).await;
        self.crash();
        self.world.state().terminate(&self.id);
        false
    }

    async fn by_hand(&mut self) {
        let now = self.world.state().now();
        if self.world.state().machine(&self.id).collides {
            // Without its name the host cannot get in either way.
            self.order(Order::Drain(None));
            self.world.pause(1.0, 60.0).await;
            return self.order(Order::Register);
        }
        let chance = self.world.state().rng.u32(0..5);
        if chance == 4 {
            // An operator changes an order while the first change is still under way.
            self.order(Order::Register);
            self.world.pause(1.0, 60.0).await;
        }
        let now = now.max(self.world.state().now());
        let (order, expected) = match chance {
            0 => (Order::Register, "serving"),
            1 | 4 => (Order::Deregister, "unregistered"),
            2 => (Order::Drain(None), "unregistered"),
            _ => return self.order(Order::Check),
        };
        let excuse = match order {
            Order::Deregister => Some(now),
            Order::Drain(_) => Some(now + DEADLINE),
            _ => None,
        };
        if let Some(from) = excuse {
            self.world.state().excuse(&self.id, from);
        }
        // An order is refused before the metadata service has answered, and lost when no service runs.
        let heard = !matches!(self.world.state().machine(&self.id).state, "" | "starting" | "ended");
        self.order(order);
        let rests = self.world.state().machine(&self.id).is_to_rest();
        let certain = heard && !(rests && order == Order::Register);
        self.expect(certain.then_some(expected));
        if order == Order::Register {
            self.world.pause(60.0, 90.0).await;
            self.world.state().machine(&self.id).excuse = None;
        }
    }

    /// Lets an operator with a console change something.
    async fn meddle(&self) {
        if let Some(excuse) = self.somebody() {
            self.world.pause(250.0, 300.0).await;
            self.world.state().machine(&self.id).excuse = excuse;
        }
    }

    /// Makes the operator's change; where it breaks meetings, returns the excuse that holds again later.
    fn somebody(&self) -> Option<Option<Duration>> {
        let id = self.id.clone();
        let mut state = self.world.state();
        if state.machine(&id).collides {
            return None;
        }
        let name = state.machine(&id).name.clone();
        let own = state.pool.entries.iter().filter(|(_, server)| server.host() == name);
        let own: Vec<String> = own.map(|(entry, _)| entry.clone()).collect();
        let (is_only, own) = (own.len() == 1, own.into_iter().next());
        match (state.rng.u32(0..5), own) {
            (0, _) => {
                state.note(format_args!("somebody deletes {name}"));
                state.put(&name, None);
            }
            (4, Some(entry)) if !state.no_dns => {
                // An older agent does this, which does not check whether there is an entry already.
                let again = state.pool.entries.get(&entry).map(Server::again);
                let entry = again.map(|again| state.add_entry(again));
                // The new entry is enabled: a host that rests or drains because of an operator serves again.
                if state.machine(&id).expected != Some("serving") {
                    state.machine(&id).expected = None;
                }
                state.note(format_args!("somebody adds {name} again: {entry:?}"));
            }
            (1, Some(entry)) => {
                state.note(format_args!("somebody deletes {entry}"));
                state.pool.remove(&entry);
                // The meetings are broken, whichever agent ends them.
                let (now, before) = (state.now(), state.machine(&id).excuse);
                state.excuse(&id, now);
                // A host that rested because of this entry comes back.
                state.machine(&id).expected = None;
                return Some(before);
            }
            (to, Some(entry)) => {
                let to = if to == 2 { EntryState::Cordoned } else { EntryState::Enabled };
                state.note(format_args!("somebody sets {entry} to {to}"));
                state.set_entry(&entry, to);
                let now = state.now();
                let machine = state.machine(&id);
                // Uncertain while the agent may take the change for a race of Scalelite's poller, or is about to
                // change the state itself. Where the agent has cordoned the entry already, it changes nothing.
                let certain = to == EntryState::Cordoned
                    && is_only
                    && (machine.state == "serving" || machine.state == "cordoned" && !machine.rests)
                    && machine.enabled + DEADLINE < now;
                machine.expected = certain.then_some("cordoned");
            }
            _ => {}
        }
        None
    }
}
