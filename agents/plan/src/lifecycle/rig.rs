//! A machine with a world that answers the work it begins, in the situations that the table of transitions names.

use super::*;
use crate::addresses::{Announced, OnAddresses};
use crate::instance::Role;
use crate::membership::State as EntryState;
use crate::recordings::{Part, Pending, Recordings, Stage};
use crate::work::{Figure, Meeting, Meetings, Room};

#[path = "addresses_rig.rs"]
mod addresses_rig;

pub(super) use addresses_rig::other_address;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const JOIN: Job = Job::Join(EntryState::Enabled);

pub(super) fn policy() -> Policy {
    Policy {
        scalelite: true,
        role: Role::Bbb,
        on_stop: OnStop::Leave,
        check_name: MINUTE,
        check_entry: 5 * MINUTE,
        ttl: MINUTE,
        count: MINUTE / 2,
        poll: MINUTE,
        live_patience: 3 * MINUTE,
        stop_patience: MINUTE,
        deadline: 60 * MINUTE,
        rules: Rules { recordings: true, empty_meeting: 30 * MINUTE, stuck: 120 * MINUTE },
        after_deadline: 20 * MINUTE,
        quiet: MINUTE / 2,
        at_deadline: HookResult::Abandon,
        addresses: OnAddresses::Ignore,
        rebalance: true,
        rebalance_for: 120 * MINUTE,
        maintenance: true,
        announce: vec![30 * MINUTE, 5 * MINUTE],
        protection: Some(5 * MINUTE),
        launch: None,
        unhealthy_after: None,
    }
}

/// A machine with a world that answers the work it begins.
pub(super) struct Rig {
    pub(super) machine: Machine,
    pub(super) now: Moment,
    pub(super) entry: EntryState,
    /// Whether there is no entry.
    pub(super) absent: bool,
    pub(super) log: Vec<Action>,
    /// Calls that were made and not answered.
    pub(super) calls: Vec<Call>,
}

/// Returns a meeting with this many people.
pub(super) fn meeting(id: &str, people: u32) -> Meeting {
    Meeting {
        id: id.to_owned(),
        internal: None,
        room: Room::Main,
        people: Figure::Known(people),
        voices: None,
        videos: None,
        ended: false,
        empty_for: None,
    }
}

pub(super) fn work(meetings: usize, recordings: usize) -> Work {
    let listed = (0..meetings).map(|number| meeting(&number.to_string(), 3)).collect();
    let pending = |number: usize| {
        let part = Part { id: number.to_string(), format: None };
        (part, Pending { stage: Stage::Publish, age: Duration::ZERO })
    };
    let pending = (0..recordings).map(pending).collect();
    let recordings = Recordings { pending, ..Recordings::default() };
    Work { meetings: Meetings { listed, unlisted: None }, recordings, relays: None }
}

/// Returns the work of a TURN host with this many relays in use.
pub(super) fn relays(count: u64) -> Work {
    Work { relays: Some(Figure::Known(count)), ..Work::default() }
}

/// The settings of a TURN host.
pub(super) fn turn() -> Policy {
    Policy { role: Role::Turn, scalelite: false, protection: None, ..policy() }
}

/// A TURN host that serves.
pub(super) fn relaying() -> Rig {
    Rig::new(turn(), Memory::Fresh).told(serve()).settle()
}

impl Rig {
    pub(super) fn new(policy: Policy, kept: impl Into<Kept>) -> Self {
        let machine = Machine::new(policy, kept.into());
        let (entry, absent) = (EntryState::Enabled, false);
        Self { machine, now: MINUTE, entry, absent, log: Vec::new(), calls: Vec::new() }
    }

    pub(super) fn step(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Announced(_) => self.calls.retain(|call| *call != Call::Addresses),
            Event::Called(Call::Repair, _) => self.calls.retain(|call| *call != Call::Repair),
            _ => {}
        }
        let actions = self.machine.step(event, self.now, 0.5).expect("a legal event");
        self.log.extend(actions.iter().cloned());
        self.calls.extend(actions.iter().filter_map(|action| match action {
            Action::Call(call) => Some(*call),
            _ => None,
        }));
        actions
    }

    /// Ends the running job as a healthy world would.
    pub(super) fn answer(&mut self) -> Vec<Action> {
        let job = self.machine.job().expect("a job");
        let found = match job {
            Job::Name => Found::Live,
            Job::Join(state) => {
                (self.entry, self.absent) = (state, false);
                Found::Entry(state)
            }
            Job::Keep | Job::Look if self.absent => Found::Missing,
            Job::Keep | Job::Look => Found::Entry(self.entry),
            Job::Cordon | Job::CordonUnlessLast | Job::Recordon => {
                self.entry = EntryState::Cordoned;
                Found::Done
            }
            Job::Unname | Job::Withdraw(_) | Job::Leave => Found::Done,
        };
        self.step(Event::Finished(job, Ok(found)))
    }

    /// Answers jobs until none runs.
    pub(super) fn settle(mut self) -> Self {
        while self.machine.job().is_some() {
            self.answer();
        }
        self
    }

    pub(super) fn told(mut self, intent: Intent) -> Self {
        let first = self.machine.intent.is_none();
        self.step(Event::Told(intent));
        match first && self.calls.contains(&Call::Hook) && self.machine.hold.is_none() {
            true => self.hooked(hook()),
            false => self,
        }
    }

    /// Returns the hooks that the group has told before, or the usual one.
    fn hooks(&self) -> Hooks {
        self.machine.hooks().map_or_else(|| hooks([hook()]), |known| hooks(known.iter().cloned()))
    }

    pub(super) fn ordered(mut self, order: Order) -> Self {
        self.step(Event::Ordered(order));
        self
    }

    /// Answers the question for the hooks.
    pub(super) fn hooked(mut self, hook: Hook) -> Self {
        self.calls.retain(|call| *call != Call::Hook);
        self.step(Event::Hooked(Ok(hooks([hook]))));
        self
    }

    /// Answers the next count.
    pub(super) fn counted(mut self, work: Work) -> Self {
        while !self.calls.contains(&Call::Count) {
            self.pass();
        }
        self.calls.retain(|call| *call != Call::Count);
        self.step(Event::Counted(work));
        self
    }

    /// Waits until the addresses that BBB announces are looked at.
    pub(super) fn look_begins(mut self) -> Self {
        while !self.calls.contains(&Call::Addresses) {
            self.pass();
        }
        self
    }

    /// Answers the next look at the addresses.
    pub(super) fn looked(self, announced: Announced) -> Self {
        let mut rig = self.look_begins();
        rig.step(Event::Announced(announced));
        rig
    }

    /// Waits until a count begins.
    pub(super) fn count_begins(mut self) -> Self {
        while !self.calls.contains(&Call::Count) {
            self.pass();
        }
        self
    }

    /// Ends the running job, or lets time pass until something is due.
    pub(super) fn pass(&mut self) {
        if self.machine.job().is_some() {
            self.answer();
        } else {
            self.now = self.machine.wake().expect("something is due");
            self.step(Event::Tick);
        }
    }

    /// Lets time pass until `end`, or until the machine is in this state, and answers everything; `on` is called with
    /// each call other than counts and questions to the group, and its time.
    pub(super) fn live(
        &mut self,
        end: Moment,
        state: &str,
        work: &Work,
        mut on: impl FnMut(Moment, Call) -> Result<(), String>,
    ) {
        while self.now < end && self.machine.state().name() != state {
            for call in std::mem::take(&mut self.calls) {
                match call {
                    Call::Count => drop(self.step(Event::Counted(work.clone()))),
                    Call::Group => drop(self.step(Event::Grouped(Ok(Some(false))))),
                    Call::Closing => drop(self.step(Event::Closing(Ok(false)))),
                    Call::Hook => drop(self.step(Event::Hooked(Ok(self.hooks())))),
                    call => {
                        let answer = on(self.now, call);
                        self.step(Event::Called(call, answer));
                    }
                }
            }
            if self.machine.state().name() != state {
                self.pass();
            }
        }
    }

    /// Lets the service come to the end of its stop, while a meeting goes on.
    pub(super) fn ends(&mut self) {
        self.live(self.now + 10 * MINUTE, "ended", &work(1, 0), |_, _| Ok(()));
    }

    /// Lets time pass until this job runs, and answers the others.
    pub(super) fn until(mut self, job: Job) -> Self {
        while self.machine.job() != Some(job) {
            self.pass();
        }
        self
    }
}

/// Lets ten minutes pass in which Scalelite can be asked about the entry, or not.
fn ten_minutes(mut rig: Rig, answers: bool) -> Rig {
    let end = rig.now + 10 * MINUTE;
    while rig.now < end {
        match rig.machine.job() {
            Some(Job::Keep) if !answers => {
                let trouble = Trouble { words: "no answer".to_owned(), kind: TroubleKind::Passing };
                rig.step(Event::Finished(Job::Keep, Err(trouble)));
            }
            Some(_) => drop(rig.answer()),
            None => rig.pass(),
        }
    }
    rig
}

pub(super) fn serve() -> Intent {
    Intent { grouped: true, ..Intent::default() }
}

pub(super) fn intent(words: &str) -> Intent {
    let target = |target| Intent { target, ..serve() };
    match words {
        "serve" => serve(),
        "terminate" => target(Target::Terminate),
        "warm pool" => target(Target::Warm),
        "standby" => target(Target::Standby),
        "rebalance" => Intent { rebalance: Some(MINUTE), ..serve() },
        "spot notice" => Intent { spot: Some(24 * 60 * MINUTE), ..serve() },
        "maintenance soon" => Intent { maintenance: Some(30 * MINUTE), ..serve() },
        "maintenance in a week" => Intent { maintenance: Some(7 * 24 * 60 * MINUTE), ..serve() },
        other => panic!("{other}"),
    }
}

pub(super) fn fresh() -> Rig {
    Rig::new(policy(), Memory::Fresh)
}

pub(super) fn serving() -> Rig {
    fresh().told(serve()).settle()
}

pub(super) fn found(rig: Rig, entry: EntryState) -> Rig {
    let mut rig = rig.until(Job::Keep);
    rig.entry = entry;
    rig.settle()
}

/// Returns a machine in the state of a table's cell, with the intent that belongs to it.
pub(super) fn rig(cell: &str) -> Rig {
    let remembering = |memory| Rig::new(policy(), memory);
    let without_scalelite = || Rig::new(Policy { scalelite: false, ..policy() }, Memory::Fresh);
    match cell {
        "starting" => fresh(),
        "starting, joined before" => remembering(Memory::Joined),
        "starting, drained by hand before" => remembering(Memory::Drain),
        "starting, taken out by hand before" => remembering(Memory::Unregistered),
        "starting, cordoned by this agent before" => remembering(Memory::Cordoned),
        "joining, cordoned by this agent before" => {
            remembering(Memory::Cordoned).told(intent("standby")).until(Job::Keep)
        }
        "starting, forced to leave before" => {
            let window =
                Window { since: Moment::ZERO, deadline: MINUTE, held: Some(MINUTE / 2), forced: true };
            Rig::new(policy(), Kept { memory: Memory::Joined, window: Some(window), ..Kept::default() })
        }
        "joining" => fresh().told(serve()),
        "joining for standby, named" => {
            fresh().told(intent("standby")).until(Job::Join(EntryState::Cordoned))
        }
        "joining, joined before" => remembering(Memory::Joined).told(serve()),
        "joining, named" => fresh().told(serve()).until(JOIN),
        "joining, joined before, named" => remembering(Memory::Joined).told(serve()).until(Job::Keep),
        "joining without Scalelite" => without_scalelite().told(serve()),
        "serving" => serving(),
        "serving, looking after the name" => serving().until(Job::Name),
        "serving without Scalelite, looking after the name" => {
            without_scalelite().told(serve()).settle().until(Job::Name)
        }
        "cordoned: address" => {
            let mut rig = serving().until(Job::Name);
            rig.step(Event::Finished(Job::Name, Ok(Found::Addressless("none".to_owned()))));
            rig.answer();
            rig
        }
        "cordoned: address, looking after the name" => {
            let mut rig = rig("cordoned: address");
            while rig.machine.job() != Some(Job::Name) {
                rig.pass();
            }
            rig
        }
        "draining: terminate, looking after the name" => {
            serving().told(intent("terminate")).settle().until(Job::Name)
        }
        "serving, looking after the entry" => {
            let mut rig = serving().until(Job::Keep);
            rig.answer();
            rig.until(Job::Keep)
        }
        "serving, not polled yet" => {
            let mut rig = fresh().told(serve()).until(JOIN);
            rig.step(Event::Finished(JOIN, Ok(Found::Unpolled)));
            rig
        }
        "offline, looking after the entry" => {
            let mut rig = rig("serving, not polled yet");
            while rig.machine.state().name() != "offline" {
                match rig.machine.job() {
                    Some(job) => drop(rig.step(Event::Finished(job, Ok(Found::Unpolled)))),
                    None => rig.pass(),
                }
            }
            rig.until(Job::Keep)
        }
        "serving, just enabled" => serving().until(Job::Keep),
        "serving, enabled twice" => {
            let mut rig = serving().until(Job::Keep);
            rig.entry = EntryState::Disabled;
            rig.settle().until(Job::Keep)
        }
        "serving, not seen since it was enabled" => ten_minutes(serving(), false).until(Job::Keep),
        "serving, seen before, and not for a while" => {
            ten_minutes(ten_minutes(serving(), true), false).until(Job::Keep)
        }
        "serving, rebalance overruled" => {
            serving().told(intent("rebalance")).settle().ordered(Order::Register).settle()
        }
        "serving without Scalelite" => without_scalelite().told(serve()).settle(),
        "cordoned: somebody" => found(serving(), EntryState::Cordoned),
        "cordoned: rebalance" => serving().told(intent("rebalance")).settle(),
        "cordoned: rebalance, not yet" => serving().told(intent("rebalance")),
        "cordoned: rebalance, counted once" => serving()
            .told(intent("rebalance"))
            .settle()
            .counted(work(0, 0))
            .counted(work(1, 0))
            .count_begins(),
        "cordoned: somebody, counted once" => {
            let rig = found(serving(), EntryState::Cordoned);
            rig.counted(work(0, 0)).counted(work(1, 0)).count_begins()
        }
        "cordoned: rebalance, looking at the entry" => {
            serving().told(intent("rebalance")).settle().until(Job::Look)
        }
        "cordoned: somebody, looking at the entry" => found(serving(), EntryState::Cordoned).until(Job::Look),
        "draining: by hand" => serving().ordered(Order::Drain(None)).settle(),
        "draining: by hand, looking at the entry" => {
            serving().ordered(Order::Drain(None)).settle().until(Job::Look)
        }
        "draining: by hand before a restart, looking at the entry" => {
            remembering(Memory::Drain).told(serve()).settle().until(Job::Look)
        }
        "draining: terminate" => serving().told(intent("terminate")).settle(),
        "draining: terminate, not cordoned" => serving().told(intent("terminate")),
        "draining: terminate, looking at the entry" => {
            serving().told(intent("terminate")).settle().until(Job::Look)
        }
        "draining: warm pool" => serving().told(intent("warm pool")).settle(),
        "draining: spot notice" => serving().told(intent("spot notice")).settle(),
        "draining: terminate, counted once" => serving()
            .told(intent("terminate"))
            .settle()
            .counted(work(0, 0))
            .counted(work(1, 0))
            .count_begins(),
        "draining: terminate, empty" => {
            serving().told(intent("terminate")).settle().counted(work(0, 0)).counted(work(0, 0))
        }
        "leaving: terminate" => {
            let mut rig = rig("draining: terminate, empty").hooked(hook());
            rig.now += 2 * MINUTE;
            rig.step(Event::Tick);
            rig
        }
        "leaving: terminate, by force" => {
            let mut rig = rig("draining: terminate").hooked(hook()).counted(work(1, 0));
            rig.now += policy().deadline;
            rig.step(Event::Tick);
            rig
        }
        "leaving: terminate, by force, left" => rig("leaving: terminate, by force").settle(),
        "leaving: terminate, left" => rig("leaving: terminate").settle(),
        "leaving: by hand" => serving().ordered(Order::Deregister),
        "unregistered: by hand" => serving().ordered(Order::Deregister).settle(),
        "unregistered: terminate" => {
            let mut rig = rig("leaving: terminate, left");
            rig.step(Event::Called(Call::Complete(HookResult::Continue), Ok(())));
            rig
        }
        "unregistered: warm pool" | "warm pool" => fresh().told(intent("warm pool")),
        "serving relays" => relaying(),
        "joining for relays" => Rig::new(turn(), Memory::Fresh).told(serve()),
        "starting for relays, drained by hand before" => Rig::new(turn(), Memory::Drain),
        "draining relays: terminate, named" => relaying().told(intent("terminate")),
        "draining relays: terminate" => relaying().told(intent("terminate")).settle(),
        "draining relays: by hand" => relaying().ordered(Order::Drain(None)).settle(),
        "draining relays: terminate, without any, the name still known" => {
            relaying().told(intent("terminate")).settle().counted(relays(0)).counted(relays(0))
        }
        "draining relays: terminate, without any" => {
            let mut rig = rig("draining relays: terminate, without any, the name still known");
            let forgotten = rig.now + turn().ttl;
            rig = rig.count_begins();
            while rig.now < forgotten {
                rig = rig.counted(relays(0)).count_begins();
            }
            rig
        }
        "draining relays: terminate, with some" => {
            relaying().told(intent("terminate")).settle().counted(relays(0)).counted(relays(2))
        }
        "draining relays: terminate, counting again" => {
            rig("draining relays: terminate, with some").count_begins()
        }
        "unregistered relays: by hand" => relaying().ordered(Order::Deregister).settle(),
        "stopping" => {
            let mut rig = serving();
            rig.step(Event::Stop(StopCause::PowerOff));
            rig
        }
        other => addresses_rig::situation(other).unwrap_or_else(|| panic!("{other}")),
    }
}

pub(super) fn hook() -> Hook {
    Hook { name: "drain".to_owned(), heartbeat_timeout: 15 * MINUTE, ceiling: 1500 * MINUTE, own: true }
}

pub(super) fn hooks(hooks: impl IntoIterator<Item = Hook>) -> Hooks {
    Hooks { terminating: hooks.into_iter().collect(), launching: None }
}

pub(super) fn event(cell: &str, rig: &mut Rig) -> Event {
    if let Some(words) = cell.strip_prefix("told: ") {
        return Event::Told(intent(words));
    }
    let finished = |rig: &Rig, found| Event::Finished(rig.machine.job().expect("a job"), Ok(found));
    let failed = |rig: &Rig, kind| {
        let trouble = Trouble { words: "no".to_owned(), kind };
        Event::Finished(rig.machine.job().expect("a job"), Err(trouble))
    };
    match cell {
        "by hand: register" => Event::Ordered(Order::Register),
        "by hand: deregister" => Event::Ordered(Order::Deregister),
        "by hand: drain" => Event::Ordered(Order::Drain(None)),
        "SIGUSR1" => Event::Ordered(Order::Check),
        "the name is live" => finished(rig, Found::Live),
        "the name is behind" => finished(rig, Found::Behind("1 of 4".to_owned())),
        "there is no address" => finished(rig, Found::Addressless("none".to_owned())),
        "BBB announces the host's address" => Event::Announced(Announced::Right),
        "BBB announces another address" => Event::Announced(other_address()),
        "a repair has not ended" => Event::Announced(Announced::Unfinished),
        "it is set right" => Event::Called(Call::Repair, Ok(())),
        "it cannot be set right" => Event::Called(Call::Repair, Err("no".to_owned())),
        "BBB tells other TURN servers" => Event::Announced(Announced::OtherTurn),
        "nobody knows what BBB announces" => Event::Announced(Announced::Unknown("no answer".to_owned())),
        "the entry is enabled" => finished(rig, Found::Entry(EntryState::Enabled)),
        "the entry is cordoned" => finished(rig, Found::Entry(EntryState::Cordoned)),
        "the entry is disabled" => finished(rig, Found::Entry(EntryState::Disabled)),
        "the entry is gone" => finished(rig, Found::Missing),
        "done" => finished(rig, Found::Done),
        "failed" => failed(rig, TroubleKind::Passing),
        "BBB is not there yet" => failed(rig, TroubleKind::Waiting),
        "nothing counted" => Event::Counted(work(0, 0)),
        "meetings not known" => {
            let meetings = Meetings::unknown("no answer".to_owned());
            Event::Counted(Work { meetings, ..work(0, 0) })
        }
        "no relay counted" => Event::Counted(relays(0)),
        "2 relays counted" => Event::Counted(relays(2)),
        "relays cannot be counted" => {
            Event::Counted(Work { relays: Some(Figure::Unknown("no file".to_owned())), ..Work::default() })
        }
        "another meeting counted" => Event::Counted(work(3, 0)),
        "quiet for long enough" => {
            rig.now += 2 * MINUTE;
            Event::Tick
        }
        "it is the last one" => finished(rig, Found::LastOne),
        "two hours pass" => {
            rig.now += 120 * MINUTE;
            Event::Tick
        }
        "three polls pass" => {
            rig.now += 3 * policy().poll;
            Event::Tick
        }
        "deadline" => {
            rig.now += policy().deadline;
            Event::Tick
        }
        "completed" => Event::Called(Call::Complete(HookResult::Continue), Ok(())),
        other => panic!("{other}"),
    }
}
