//! The lives of the fleet's hosts, drawn from the seed.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use plan::dns::Holder;
use plan::instance::InstanceId;
use plan::lifecycle::{Memory, Order, StopCause, Target};
use plan::membership::State as EntryState;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use crate::agent::{DEADLINE, HOOK, STOP, Wanted, serve};
use crate::scalelite::Server;
use crate::world::World;

/// The time that systemd waits for a service to stop, beyond the service's own limit.
const MARGIN: Duration = Duration::from_secs(15);

/// The running service of a host.
struct Service {
    wanted: UnboundedSender<Wanted>,
    task: JoinHandle<()>,
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
            machine.memory = (Memory::Fresh, None);
            machine.excuse = None;
            machine.meetings.clear();
        }
        self.begin();
        world.pause(5.0, 50.0).await;
        world.state().machine(&id).bbb = true;
    }

    fn begin(&mut self) {
        let (world, id, booted) = (self.world.clone(), self.id.clone(), self.booted);
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
        self.service = Some(Service { wanted, task });
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
        if cause != StopCause::Restart {
            let now = self.world.state().now();
            self.world.state().excuse(&self.id, now);
        }
        self.world.state().machine(&self.id).undone = false;
        let Some(service) = &mut self.service else { return };
        let _ = service.wanted.send(Wanted::Stop(cause));
        if timeout(STOP + MARGIN, &mut service.task).await.is_err() {
            self.world.state().breaks("a stop takes for ever", &self.id);
        }
        if matches!(cause, StopCause::PowerOff | StopCause::Stop) {
            self.judge_undoing();
        }
        self.crash();
    }

    /// Checks that a service which says that everything is undone has left nothing behind.
    fn judge_undoing(&self) {
        let mut state = self.world.state();
        let machine = state.machine(&self.id).clone();
        let zone = state.route53.zone();
        let named =
            zone.get(&machine.name).is_some_and(|there| matches!(there.holder(&self.id), Holder::Me(_)));
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
                self.expect(Some("serving"));
                self.boot().await;
            }
            31..=35 => {
                self.stop(StopCause::Stop).await;
                self.world.pause(1.0, 100.0).await;
                self.expect(Some("serving"));
                self.world.state().machine(&self.id).excuse = None;
                self.begin();
            }
            36..=41 => {
                // A power cut, after which the host comes back.
                self.crash();
                self.down().await;
                self.expect(Some("serving"));
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
            56..=68 => return self.scale_in().await,
            69..=73 => return self.spot().await,
            74..=77 => self.world.state().readdress(&self.id),
            78..=79 => {
                let mut state = self.world.state();
                let skew = state.rng.i64(-300..300);
                state.note(format_args!("{}: its clock jumps to {skew} s", self.id));
                state.machine(&self.id).skew = skew;
            }
            80..=91 => self.by_hand().await,
            _ => self.meddle().await,
        }
        true
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
            machine.meetings.clear();
        }
        self.world.pause(20.0, 90.0).await;
    }

    /// Lets the group end the host; the group waits for the lifecycle action.
    async fn scale_in(&mut self) -> bool {
        let from = {
            let mut state = self.world.state();
            let now = state.now();
            state.note(format_args!("{}: the group ends it", self.id));
            state.excuse(&self.id, now + DEADLINE);
            let machine = state.machine(&self.id);
            (machine.target, machine.heartbeat, machine.expected) = (Target::Terminate, now, None);
            now
        };
        loop {
            sleep(Duration::from_secs(10)).await;
            if self.world.state().mishap(40) {
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
                (machine.completed, machine.heartbeat + HOOK < now, there)
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

    /// Checks that no one is in a meeting when the group goes on, since the meeting ends then.
    fn judge_completion(&self) {
        let mut state = self.world.state();
        let now = state.now();
        let running = state.work(&self.id).map_or(0, |(meetings, _)| meetings.len());
        let excuse = state.machine(&self.id).excuse;
        // The last meeting may have begun while the answer was on its way.
        if running > 1 && excuse.is_none_or(|excuse| now < excuse) {
            let what = format!("{} with {running} meetings, allowed from {excuse:?}", self.id);
            state.breaks("a planned event ended a meeting: the lifecycle action was completed", what);
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
        let certain = heard.then_some(expected);
        self.expect(certain);
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
        let own = state.pool.entries.iter().find(|(_, server)| server.host() == name);
        let own = own.map(|(entry, _)| entry.clone());
        match (state.rng.u32(0..5), own) {
            (0, _) => {
                state.note(format_args!("somebody deletes {name}"));
                state.put(&name, None);
            }
            (4, Some(entry)) => {
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
                state.pool.entries.remove(&entry);
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
                // change the state itself.
                let certain = to == EntryState::Cordoned
                    && matches!(machine.state, "serving" | "cordoned")
                    && machine.enabled + DEADLINE < now;
                machine.expected = certain.then_some("cordoned");
            }
            _ => {}
        }
        None
    }
}
