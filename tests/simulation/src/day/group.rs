//! The Auto Scaling group of a day: it launches and ends instances as its policy and its schedule say, and EC2 takes
//! some of them back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use host::identity::server_url;
use plan::instance::{InstanceId, Role};
use plan::lifecycle::{StopCause, Target};
use plan::membership::State as EntryState;
use plan::metrics::{self, Metric};
use plan::work::{Rules, Work};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::scaling::{Capacity, Minute, Scheduled, Tracking};
use super::tally::{Sample, Tally};
use crate::agent::Wanted;
use crate::fleet::BBB_SECRET;
use crate::lives::Service;
use crate::scalelite::Server;
use crate::world::World;

/// How often the group looks at its instances.
const TICK: Duration = Duration::from_secs(15);
/// The time from an instance's launch until it runs and is in service for its group, which waits for no installation.
const RUNNING: Duration = Duration::from_secs(45);
/// The longest time from EC2's word to the end of the instance: the two minutes of a spot notice.
const NOTICE: Duration = Duration::from_secs(120);
/// The longest time from a rebalance recommendation to the spot notice, which may come at the same time.
const EARLY: Duration = Duration::from_secs(20 * 60);
/// The time that a shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(120);

/// What is set up for a group.
pub(crate) struct Setup {
    /// Whether bbb-agent runs on the hosts; else the scripts of the AWS sample do.
    pub(crate) agents: bool,
    /// The time from the launch until BBB answers.
    pub(crate) boot: Duration,
    /// The least and the greatest size.
    pub(crate) sizes: (u32, u32),
    /// The policy and the schedule; none of them where the size is fixed.
    pub(crate) tracking: Option<Tracking>,
    pub(crate) schedule: Vec<Scheduled>,
    /// Whether new instances are protected from scale-in.
    pub(crate) protected: bool,
    /// Whether the group replaces an instance that is at risk before its spot notice comes.
    pub(crate) rebalances: bool,
    /// The chance that EC2 takes an instance back within an hour.
    pub(crate) spot: f64,
    /// The people that a host can take.
    pub(crate) capacity: u32,
    /// What counts as work.
    pub(crate) rules: Rules,
    /// How long the lifecycle hook holds an instance without a heartbeat.
    pub(crate) hook: Duration,
    pub(crate) seed: u64,
}

/// An instance as its group knows it.
struct Member {
    id: InstanceId,
    launched: Duration,
    phase: Phase,
    service: Option<Service>,
    /// Whether another instance takes its place already.
    replaced: bool,
    /// When EC2 recommends to replace it, and when it takes it back.
    fate: Option<(Duration, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Pending,
    InService,
    Terminating,
}

/// The group.
pub(crate) struct Group {
    world: World,
    setup: Setup,
    tally: Rc<RefCell<Tally>>,
    members: BTreeMap<InstanceId, Member>,
    least: u32,
    desired: u32,
    rng: fastrand::Rng,
}

impl Group {
    pub(crate) fn new(world: World, setup: Setup, tally: Rc<RefCell<Tally>>) -> Self {
        let (least, rng) = (setup.sizes.0, fastrand::Rng::with_seed(setup.seed));
        Self { world, setup, tally, members: BTreeMap::new(), least, desired: least, rng }
    }

    /// Launches the first instances, on which BBB is installed already, and lives for ever.
    pub(crate) async fn live(mut self) {
        for _ in 0..self.desired {
            self.launch(Duration::ZERO);
        }
        for tick in 0_u32.. {
            let now = self.world.state().now();
            self.age(now);
            self.take_back(now);
            self.terminate_completed(now);
            if tick % 4 == 0 {
                self.minute(tick / 4, now);
            }
            self.reconcile();
            sleep(TICK).await;
        }
    }

    fn launch(&mut self, boot: Duration) {
        let (world, agents) = (self.world.clone(), self.setup.agents);
        let id = world.state().launch(Role::Bbb);
        let now = world.state().now();
        world.state().machine(&id).protected = agents && self.setup.protected;
        let service = agents.then(|| Service::start(world.clone(), id.clone(), Instant::now()));
        self.tally.borrow_mut().launched(&id, now);
        let member = Member {
            id: id.clone(),
            launched: now,
            phase: Phase::Pending,
            service,
            replaced: false,
            fate: None,
        };
        self.members.insert(id.clone(), member);
        spawn_local(async move {
            sleep(boot).await;
            let mut state = world.state();
            let machine = state.machine(&id);
            machine.bbb = machine.alive;
            // The sample's script adds the host when everything is installed.
            if machine.alive && !agents {
                let url = server_url(&machine.name);
                let entry = state.add_entry(Server::new(&url, BBB_SECRET));
                state.set_entry(&entry, EntryState::Enabled);
            }
        });
    }

    fn age(&mut self, now: Duration) {
        for member in self.members.values_mut().filter(|member| member.phase == Phase::Pending) {
            if member.launched + RUNNING <= now {
                member.phase = Phase::InService;
            }
        }
    }

    /// Lets EC2 take instances back.
    fn take_back(&mut self, now: Duration) {
        let chance = self.setup.spot * TICK.as_secs_f64() / 3600.0;
        let mut due = Vec::new();
        for member in self.members.values_mut() {
            if member.fate.is_none() && chance > 0.0 && self.rng.f64() < chance {
                member.fate = Some((now, now + EARLY.mul_f64(self.rng.f64())));
            }
            let Some((_, notice)) = member.fate else { continue };
            let mut state = self.world.state();
            let machine = state.machine(&member.id);
            if self.setup.rebalances && !machine.rebalance {
                machine.rebalance = true;
                member.replaced = true;
                machine.news.notify_one();
            }
            if notice <= now && machine.spot.is_none() {
                machine.spot = Some(now + NOTICE);
                machine.news.notify_one();
                state.excuse(&member.id, now);
            } else if machine.spot.is_some_and(|end| end <= now) {
                due.push(member.id.clone());
            }
        }
        for id in due {
            let Some(member) = self.members.remove(&id) else { continue };
            let lost = self.end(member);
            let mut tally = self.tally.borrow_mut();
            tally.interruptions += 1;
            tally.lose(lost, true);
        }
    }

    /// Ends an instance at once, and returns the meetings and recordings that are lost with it.
    fn end(&self, member: Member) -> (usize, usize) {
        let id = &member.id;
        if let Some(service) = member.service {
            service.task.abort();
        }
        let mut state = self.world.state();
        let now = state.now();
        let name = state.machine(id).name.clone();
        if !self.setup.agents {
            // The sample's script takes the host out of Scalelite at its shutdown.
            let own = state.pool.entries.iter().find(|(_, server)| server.host() == name);
            if let Some(entry) = own.map(|(entry, _)| entry.clone()) {
                state.pool.remove(&entry);
            }
        }
        state.machine(id).activity.pass(now);
        let lost = state.machine(id).activity.at_stake(now);
        state.terminate(id);
        self.tally.borrow_mut().terminated(id, now);
        lost
    }

    /// Begins to end an instance: with a lifecycle hook where an agent heeds it, at once without.
    fn terminate(&mut self, id: &InstanceId) {
        if !self.setup.agents {
            let Some(member) = self.members.remove(id) else { return };
            let lost = self.end(member);
            self.tally.borrow_mut().lose(lost, false);
            return;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        member.phase = Phase::Terminating;
        let mut state = self.world.state();
        let now = state.now();
        let machine = state.machine(id);
        (machine.target, machine.heartbeat, machine.expected) = (Target::Terminate, now, None);
        machine.news.notify_one();
    }

    /// Lets the instances go whose lifecycle action is completed, or has run out.
    fn terminate_completed(&mut self, now: Duration) {
        let mut over = Vec::new();
        for member in self.members.values().filter(|member| member.phase == Phase::Terminating) {
            let mut state = self.world.state();
            let machine = state.machine(&member.id);
            let expired = machine.heartbeat + self.setup.hook < now;
            if machine.completed || expired {
                over.push(member.id.clone());
            }
            if expired && !machine.completed {
                state.breaks("the lifecycle hook ran out", &member.id);
            }
        }
        for id in over {
            let Some(member) = self.members.remove(&id) else { continue };
            spawn_local(shut_down(self.world.clone(), Rc::clone(&self.tally), member));
        }
    }

    /// Counts what CloudWatch and the day see in this minute, and lets schedule and policy decide.
    fn minute(&mut self, number: u32, now: Duration) {
        let minute = self.measure(now);
        for action in self.setup.schedule.iter().filter(|action| action.is_due(number)) {
            self.least = action.least.unwrap_or(self.least);
            self.desired = action.desired.unwrap_or(self.desired);
        }
        let warming = |member: &&Member| match (&self.setup.tracking, member.phase) {
            (_, Phase::Terminating) => false,
            (_, Phase::Pending) => true,
            (Some(tracking), Phase::InService) => now < member.launched + RUNNING + tracking.warmup,
            (None, Phase::InService) => false,
        };
        let warming = self.members.values().filter(warming).count() as u32;
        let capacity = Capacity { desired: self.desired, warming };
        if let Some(tracking) = &mut self.setup.tracking {
            self.desired = tracking.decide(minute, capacity).unwrap_or(self.desired);
        }
        self.desired = self.desired.clamp(self.least, self.setup.sizes.1.max(self.least));
    }

    fn measure(&mut self, now: Duration) -> Minute {
        let mut minute = Minute { desired: self.desired, ..Minute::default() };
        let mut sample = Sample { hosts: self.members.len() as u32, ..Sample::default() };
        let mut tally = self.tally.borrow_mut();
        for member in self.members.values() {
            minute.in_service += u32::from(member.phase == Phase::InService);
            let mut state = self.world.state();
            let Some(meetings) = state.meetings(&member.id) else { continue };
            let machine = state.machine(&member.id);
            let people = machine.activity.people(now);
            tally.people(people, self.setup.capacity);
            sample.people += people;
            let drains =
                member.phase == Phase::Terminating || matches!(machine.state, "draining" | "leaving");
            sample.draining += u32::from(drains);
            let findings = metrics::Findings {
                work: Some(Work { meetings, ..Work::default() }),
                ..metrics::Findings::default()
            };
            let phases = metrics::PhaseFigures::default();
            let data = metrics::data(Role::Bbb, &phases, &findings, &self.setup.rules);
            for datum in data.into_iter().filter(|datum| datum.metric == Metric::Participants) {
                minute.sum += datum.value;
                minute.data += 1;
            }
        }
        let mut state = self.world.state();
        let open: Vec<_> =
            state.pool.entries.values().filter(|server| server.is_placed()).map(Server::host).collect();
        sample.open = open.len() as u32;
        let capacity = self.setup.capacity;
        let room = open.iter().any(|name| {
            state.machines.of_name_mut(name).is_some_and(|there| there.activity.people(now) < capacity)
        });
        tally.room(room, now);
        tally.samples.push(sample);
        minute
    }

    /// Launches and ends instances until there are as many as desired.
    fn reconcile(&mut self) {
        let counts = |member: &&Member| member.phase != Phase::Terminating && !member.replaced;
        let there = self.members.values().filter(counts).count() as u32;
        for _ in there..self.desired {
            let share = 0.85 + 0.3 * self.rng.f64();
            self.launch(self.setup.boot.mul_f64(share));
        }
        // A replacement is in service before the instance at risk goes.
        let ready = self.members.values().all(|member| member.phase != Phase::Pending);
        let at_risk =
            self.members.values().filter(|member| member.replaced && member.phase == Phase::InService);
        let mut over: Vec<InstanceId> = at_risk.filter(|_| ready).map(|member| member.id.clone()).collect();
        let mut free: Vec<&Member> = self
            .members
            .values()
            .filter(|member| member.phase == Phase::InService && !member.replaced)
            .filter(|member| !self.world.state().machine(&member.id).protected)
            .collect();
        // All are of one launch template: the oldest goes first, as both of the template's termination policies say.
        free.sort_by_key(|member| (member.launched, member.id.clone()));
        let surplus = there.saturating_sub(self.desired) as usize;
        over.extend(free.into_iter().take(surplus).map(|member| member.id.clone()));
        for id in over {
            self.terminate(&id);
        }
    }
}

/// Shuts an instance down whose lifecycle action is completed.
async fn shut_down(world: World, tally: Rc<RefCell<Tally>>, member: Member) {
    let id = member.id;
    {
        let mut state = world.state();
        let now = state.now();
        let machine = state.machine(&id);
        machine.activity.pass(now);
        let lost = machine.activity.at_stake(now);
        // A drain that a spot notice has cut short could not wait longer.
        let spot = machine.spot.is_some();
        tally.borrow_mut().lose(lost, spot);
        state.excuse(&id, now);
    }
    if let Some(mut service) = member.service {
        let _ = service.wanted.send(Wanted::Stop(StopCause::PowerOff));
        if timeout(SHUTDOWN, &mut service.task).await.is_err() {
            world.state().breaks("a stop takes for ever", &id);
            service.task.abort();
        }
    }
    let mut state = world.state();
    let now = state.now();
    state.terminate(&id);
    tally.borrow_mut().terminated(&id, now);
}
