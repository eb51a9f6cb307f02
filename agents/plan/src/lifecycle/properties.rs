//! Properties that hold for any order of events: what must never happen, and what must happen in the end.

use proptest::prelude::*;
use proptest::sample::select;

use super::rig::{other_address, policy, turn, work};
use super::*;
use crate::addresses::{Announced, OnAddresses};
use crate::membership::State as EntryState;
use crate::recordings::Recordings;
use crate::work::{Figure, Meetings};

const STOPS: [StopCause; 5] =
    [StopCause::Restart, StopCause::Reboot, StopCause::PowerOff, StopCause::Stop, StopCause::Unknown];

/// An event in the life of a host.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Time(u64),
    Tell(Intent),
    Order(Order),
    Stop(StopCause),
    /// The running job ends: well or not, with or without its effect.
    Job {
        well: bool,
        effect: bool,
        kind: TroubleKind,
    },
    /// The host gets an address, or loses it.
    Address(bool),
    /// A look at BBB's files would show this from now on.
    Announces(Seen),
    /// An operator sets the entry.
    Somebody(EntryState),
    /// The oldest call ends; `known` says whether BBB tells its meetings.
    Call {
        well: bool,
        known: bool,
        recordings: Option<usize>,
    },
    /// This many meetings run: more than before only where Scalelite places some. On a TURN host relays, which come by
    /// its name.
    Meetings(usize),
    /// The service is killed, the running job with or without its effect, and starts again.
    Kill {
        effect: bool,
    },
}

/// What a look at BBB's files shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Right,
    Other,
    OtherTurn,
    Unknown,
}

fn happening() -> impl Strategy<Value = Happening> {
    let target = select(vec![Target::Serve, Target::Serve, Target::Standby, Target::Warm, Target::Terminate]);
    let intent =
        (target, any::<bool>(), prop::option::weighted(0.1, 0u64..4000), prop::option::of(0u64..4000))
            .prop_map(|(target, grouped, spot, rebalance)| Intent {
                target,
                grouped,
                spot: spot.map(Duration::from_secs),
                rebalance: rebalance.map(Duration::from_secs),
                maintenance: None,
            });
    let order = select(vec![
        Order::Register,
        Order::Register,
        Order::Deregister,
        Order::Drain(None),
        Order::Drain(Some(Duration::from_secs(2000))),
        Order::Check,
    ]);
    let stop = select(STOPS.to_vec());
    let kind = prop_oneof![
        3 => select(vec![TroubleKind::Waiting, TroubleKind::Passing, TroubleKind::Lasting]),
        1 => (0u64..300).prop_map(|seconds| TroubleKind::Turn(Duration::from_secs(seconds))),
    ];
    let entry = select(vec![EntryState::Enabled, EntryState::Cordoned, EntryState::Disabled]);
    let count = prop::option::weighted(0.9, 0usize..2);
    prop_oneof![
        6 => (0u64..400).prop_map(Happening::Time),
        2 => intent.prop_map(Happening::Tell),
        1 => order.prop_map(Happening::Order),
        8 => (any::<bool>(), any::<bool>(), kind).prop_map(|(well, effect, kind)| Happening::Job { well, effect, kind }),
        1 => entry.prop_map(Happening::Somebody),
        1 => any::<bool>().prop_map(Happening::Address),
        2 => select(vec![Seen::Right, Seen::Other, Seen::OtherTurn, Seen::Unknown]).prop_map(Happening::Announces),
        8 => (any::<bool>(), prop::bool::weighted(0.9), count)
            .prop_map(|(well, known, recordings)| Happening::Call { well, known, recordings }),
        4 => (0usize..3).prop_map(Happening::Meetings),
        1 => any::<bool>().prop_map(|effect| Happening::Kill { effect }),
        1 => stop.prop_map(Happening::Stop),
    ]
}

/// A machine with a model of the world.
struct World {
    machine: Machine,
    now: Moment,
    job: Option<(Job, bool)>,
    /// The calls under way, with the number of meetings when each was made.
    calls: Vec<(Call, usize)>,
    meetings: usize,
    /// Whether the entry was enabled by an operator during a drain.
    meddled: bool,
    /// Whether it was enabled by an operator since it was cordoned last.
    lifted: bool,
    kept: Kept,
    /// The last answer of the metadata service.
    intent: Option<Intent>,
    /// Whether the host has an address, and whether the machine has been told last that it has none.
    address: bool,
    told_addressless: bool,
    /// What a look at BBB's files shows, and whether the machine has been told last that it is another address; `None`
    /// before it has looked.
    seen: Seen,
    told_other: Option<bool>,
    entry: Option<EntryState>,
    /// Whether anything is left of what this machine may have made.
    registered: bool,
    /// Until when resolvers know a name that was given up.
    known_until: Moment,
    /// The deadline of the present drain, as last seen.
    deadline: Option<Moment>,
    /// Whether an operator wanted the drain to end at once.
    at_once: bool,
    ready: usize,
    end: Option<Result<(), String>>,
}

impl World {
    fn new(policy: Policy, memory: Memory) -> Self {
        Self {
            machine: Machine::new(policy, memory.into()),
            now: Duration::ZERO,
            job: None,
            calls: Vec::new(),
            meetings: 0,
            meddled: false,
            lifted: false,
            kept: memory.into(),
            intent: None,
            address: true,
            told_addressless: false,
            seen: Seen::Right,
            told_other: None,
            entry: (memory != Memory::Fresh).then_some(EntryState::Enabled),
            registered: memory != Memory::Fresh,
            known_until: Duration::ZERO,
            deadline: None,
            at_once: memory == Memory::Unregistered,
            ready: 0,
            end: None,
        }
    }

    fn happen(&mut self, happening: Happening) {
        if self.end.is_some() {
            return;
        }
        match happening {
            Happening::Time(seconds) => {
                let end = self.now + Duration::from_secs(seconds);
                while let Some(due) = self.machine.wake().filter(|due| *due <= end && self.end.is_none()) {
                    assert!(due > self.now, "time stands still at {due:?}");
                    self.now = due;
                    self.step(Event::Tick);
                }
                self.now = end;
            }
            Happening::Tell(intent) => {
                self.intent = Some(intent);
                self.step(Event::Told(intent));
            }
            Happening::Order(order) => {
                self.at_once |= order == Order::Deregister;
                self.step(Event::Ordered(order));
            }
            Happening::Stop(cause) => {
                self.at_once = true;
                self.step(Event::Stop(cause));
            }
            Happening::Address(has) => self.address = has,
            Happening::Announces(seen) => self.seen = seen,
            Happening::Somebody(state) => {
                self.entry = self.entry.map(|_| state);
                self.meddled |= state == EntryState::Enabled;
                self.lifted |= state == EntryState::Enabled;
            }
            Happening::Meetings(meetings) => {
                let placed = match self.machine.policy.role {
                    Role::Bbb => self.entry == Some(EntryState::Enabled),
                    Role::Turn => self.registered || self.now < self.known_until,
                };
                self.meetings = if placed { meetings } else { self.meetings.min(meetings) };
            }
            Happening::Kill { effect } => self.killed(effect),
            Happening::Job { well, effect, kind } => self.job_ends(well, effect, kind),
            Happening::Call { well, known, recordings } => self.call_ends(well, known, recordings),
        }
    }

    /// Kills the service and starts it again: the new one is told the same, and keeps each deadline.
    fn killed(&mut self, effect: bool) {
        let (before, told) = (self.machine.state().clone(), self.intent);
        self.restart(effect);
        if let Some(intent) = told {
            self.step(Event::Told(intent));
        }
        match (before, self.machine.state()) {
            (State::Draining(former), State::Draining(drain)) => {
                assert_eq!((former.since, former.deadline), (drain.since, drain.deadline), "after a restart");
            }
            (State::Leaving(former), state)
                if former.forced && told.is_some_and(|intent| intent.target == Target::Terminate) =>
            {
                assert!(matches!(state, State::Leaving(Leaving { forced: true, .. })), "{state:?}");
            }
            _ => {}
        }
    }

    fn restart(&mut self, effect: bool) {
        if let (Some((job, _)), true) = (self.job.take(), effect) {
            self.take_effect(job);
        }
        self.calls.clear();
        self.ready = 0;
        self.at_once |= self.kept.memory == Memory::Unregistered;
        self.told_addressless = false;
        self.told_other = None;
        let policy = self.machine.policy.clone();
        self.machine = Machine::new(policy, self.kept.clone());
    }

    fn job_ends(&mut self, well: bool, effect: bool, kind: TroubleKind) {
        let Some((job, cancelled)) = self.job.take() else { return };
        let kind = if cancelled { TroubleKind::Cancelled } else { kind };
        let found = match job {
            Job::Name if !self.address => Found::Addressless("none".to_owned()),
            Job::Name => Found::Live,
            Job::Join(_) | Job::Keep | Job::Look => self.entry.map_or(Found::Missing, Found::Entry),
            // Whether the host is the last one is as good as drawn.
            Job::CordonUnlessLast if !effect => Found::LastOne,
            Job::Cordon
            | Job::CordonUnlessLast
            | Job::Recordon
            | Job::Unname
            | Job::Withdraw(_)
            | Job::Leave => Found::Done,
        };
        if well && found != Found::LastOne || effect {
            self.take_effect(job);
        }
        let trouble = Trouble { words: "no".to_owned(), kind };
        if job == Job::Name && well && !cancelled {
            self.told_addressless = !self.address;
        }
        self.step(Event::Finished(job, if well && !cancelled { Ok(found) } else { Err(trouble) }));
    }

    fn take_effect(&mut self, job: Job) {
        match job {
            Job::Name => self.registered |= self.address,
            Job::Join(state) => (self.entry, self.registered) = (Some(state), true),
            Job::Cordon | Job::CordonUnlessLast | Job::Recordon => {
                self.entry = self.entry.map(|state| state.max(EntryState::Cordoned));
                (self.meddled, self.lifted) = (false, false);
            }
            Job::Unname => {
                if std::mem::take(&mut self.registered) {
                    self.known_until = self.now + self.machine.policy.ttl;
                }
            }
            Job::Withdraw(_) => (self.entry, self.meetings) = (None, 0),
            Job::Leave => (self.entry, self.registered, self.meetings) = (None, false, 0),
            Job::Keep | Job::Look => {}
        }
    }

    fn call_ends(&mut self, well: bool, known: bool, recordings: Option<usize>) {
        if self.calls.is_empty() {
            return;
        }
        let no = || Err("no".to_owned());
        let (call, meetings) = self.calls.remove(0);
        let event = match call {
            Call::Count if self.machine.policy.role == Role::Turn => {
                let relays = if known {
                    Figure::Known(meetings as u64)
                } else {
                    Figure::Unknown("no file".to_owned())
                };
                Event::Counted(Work { relays: Some(relays), ..Work::default() })
            }
            Call::Count => {
                let mut counted = work(meetings, recordings.unwrap_or_default());
                if !known {
                    counted.meetings = Meetings::unknown("no answer".to_owned());
                }
                if recordings.is_none() {
                    counted.recordings = Recordings::unknown("no answer".to_owned());
                }
                Event::Counted(counted)
            }
            Call::Addresses => {
                let before = self.told_other.unwrap_or_default();
                self.told_other = Some(self.seen == Seen::Other || self.seen == Seen::Unknown && before);
                Event::Announced(match self.seen {
                    Seen::Right => Announced::Right,
                    Seen::Other => other_address(),
                    Seen::OtherTurn => Announced::OtherTurn,
                    Seen::Unknown => Announced::Unknown("no answer".to_owned()),
                })
            }
            Call::Group => {
                Event::Grouped(if well { Ok(Some(recordings == Some(1))) } else { no().map(|()| None) })
            }
            Call::Closing => Event::Closing(if well { Ok(known) } else { no().map(|()| false) }),
            Call::Hook => {
                let hook = |seconds: u64, own| Hook {
                    name: seconds.to_string(),
                    heartbeat_timeout: Duration::from_secs(seconds),
                    ceiling: Duration::from_secs(100 * seconds),
                    own,
                };
                let terminating = if known { vec![hook(300, true), hook(400, false)] } else { Vec::new() };
                let launching = Some(Duration::from_secs(300)).filter(|_| known);
                Event::Hooked(if well {
                    Ok(Hooks { terminating, launching })
                } else {
                    no().map(|()| Hooks::default())
                })
            }
            Call::Repair if well => {
                self.seen = Seen::Right;
                Event::Called(call, Ok(()))
            }
            call => Event::Called(call, if well { Ok(()) } else { no() }),
        };
        self.step(event);
    }

    fn step(&mut self, event: Event) {
        let sooner = match &event {
            Event::Told(Intent { spot: Some(end), .. }) => Some(end.saturating_sub(Duration::from_secs(30))),
            Event::Ordered(Order::Drain(within)) => within.map(|within| self.now + within),
            _ => None,
        };
        self.deadline = self.deadline.into_iter().chain(sooner).min();
        let drained = matches!(self.machine.state(), State::Draining(_));
        let shown = format!("{event:?}");
        let actions = self.machine.step(event, self.now, 0.5).unwrap_or_else(|illegal| panic!("{illegal}"));
        match self.machine.state() {
            State::Draining(drain) => self.deadline = Some(drain.deadline),
            State::Leaving(leaving) if drained && !self.at_once => {
                let over = self.deadline.is_some_and(|deadline| deadline <= self.now);
                let empty = self.machine.work().is_some_and(|work| work.is_idle(&policy().rules));
                assert!(
                    over || empty,
                    "{shown} ended meetings at {:?}, the deadline is {:?}",
                    self.now,
                    self.deadline
                );
                assert_eq!(leaving.forced, over && leaving.forced, "{shown}");
            }
            State::Joining(_) | State::Serving(_) | State::Cordoned(_) => {
                (self.at_once, self.deadline, self.meddled) = (false, None, false);
            }
            _ => {}
        }
        // Meetings on a host without an address would fail. An operator who enables its entry all the same is obeyed.
        let serves = matches!(self.machine.state(), State::Serving(_));
        assert!(
            !serves || !self.told_addressless || !self.machine.overruled.is_empty(),
            "{shown} has a host serve that has no address"
        );
        assert!(
            !serves || !self.is_told_other() || !self.machine.overruled.is_empty(),
            "{shown} has a host serve whose BBB announces another address"
        );
        // Other TURN servers are no reason to keep a meeting's people away.
        let meets = self.machine.work().is_some_and(|work| work.may_meet(&policy().rules));
        let repairs = self.calls.iter().any(|(call, _)| *call == Call::Repair);
        let turn = matches!(self.machine.state(), State::Cordoned(Cordoned { why: Rest::Turn, .. }));
        assert!(
            !turn || !meets || repairs,
            "{shown} keeps a host out, which has meetings, for its TURN servers"
        );
        for action in actions {
            self.act(action, &shown);
        }
    }

    /// Tells whether the machine knows that people could not talk on this host, and can do anything about it.
    fn is_told_other(&self) -> bool {
        self.told_other == Some(true) && self.machine.policy.scalelite
    }

    fn act(&mut self, action: Action, shown: &str) {
        match action {
            Action::Start(job) => {
                assert_eq!(self.job, None, "{shown} began {job:?} beside another job");
                let ends = matches!(job, Job::Leave | Job::Withdraw(_));
                let leaving = matches!(self.machine.state(), State::Leaving(_) | State::Stopping(_));
                assert!(!ends || leaving, "{shown} ended meetings in {:?}", self.machine.state());
                let enables = job == Job::Join(EntryState::Enabled);
                let looked = self.told_other.is_some() || !self.machine.overruled.is_empty();
                assert!(!enables || looked, "{shown} began to join before a look");
                let wrong = self.is_told_other() && self.machine.overruled.is_empty();
                assert!(!enables || !wrong, "{shown} began to join with another address");
                let adds = matches!(job, Job::Name | Job::Join(_) | Job::Keep);
                assert!(!adds || !leaving, "{shown} began {job:?} while leaving");
                let early = !self.at_once && self.deadline.is_some_and(|deadline| self.now < deadline);
                let relays = self.machine.policy.role == Role::Turn;
                let waits = relays || self.machine.policy.scalelite && !self.meddled;
                assert!(
                    !(ends && early && waits && self.meetings > 0),
                    "{shown} ended {} meetings at {:?}, before {:?}",
                    self.meetings,
                    self.now,
                    self.deadline
                );
                assert!(
                    !(ends && early && relays && self.registered),
                    "{shown} has a TURN host leave before its name"
                );
                self.job = Some((job, false));
            }
            Action::Cancel => {
                let (job, cancelled) = self.job.expect("a job to cancel");
                assert!(!cancelled, "{shown} cancelled twice");
                self.job = Some((job, true));
            }
            Action::Call(call) => {
                assert!(self.calls.iter().all(|(made, _)| *made != call), "{shown} made {call:?} twice");
                let free = self.meetings == 0 && self.entry != Some(EntryState::Enabled) || self.lifted;
                // Without Scalelite a meeting can begin at any time: what counts is the last count.
                let policy = &self.machine.policy;
                let none = self.machine.work().is_some_and(|work| !work.may_meet(&policy.rules));
                let free = free || !policy.scalelite && none;
                assert!(call != Call::Repair || free, "{shown} began a repair, which ends meetings");
                self.calls.push((call, self.meetings));
            }
            Action::Ready => self.ready += 1,
            Action::Remember(kept) => self.kept = kept,
            Action::Refuse(_) => {}
            Action::End(result) => self.end = Some(result),
        }
        assert!(self.ready <= 1);
    }
}

/// The settings of a host: with Scalelite, without, and those of a TURN host.
fn settings() -> impl Strategy<Value = Policy> {
    let bbb = |scalelite, addresses| Policy { scalelite, addresses, ..policy() };
    let refuses = [true, false].map(|scalelite| bbb(scalelite, OnAddresses::Refuse));
    let [with, without] = refuses;
    let [repairs, alone] = [true, false].map(|scalelite| bbb(scalelite, OnAddresses::Repair));
    select(vec![with, without, repairs, alone, turn()])
}

fn memory() -> impl Strategy<Value = Memory> {
    select(vec![
        Memory::Fresh,
        Memory::Joining,
        Memory::Joined,
        Memory::Cordoned,
        Memory::Drain,
        Memory::Unregistered,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_ended_early_doubled_or_illegal(
        happenings in prop::collection::vec(happening(), 1..120),
        memory in memory(),
        settings in settings(),
    ) {
        let mut world = World::new(settings, memory);
        for happening in happenings {
            world.happen(happening);
            // A host that is out in good order has undone everything that was ever done here.
            if let State::Unregistered(Unregistered { trouble: None, .. }) = world.machine.state()
                && world.job.is_none()
            {
                prop_assert_eq!(world.entry, None, "left in Scalelite");
                prop_assert!(!world.registered, "left a name");
            }
        }
    }

    #[test]
    fn a_stop_always_ends_and_undoes_what_it_can(
        happenings in prop::collection::vec(happening(), 0..60),
        memory in memory(),
        cause in select(STOPS.to_vec()),
        fails in any::<bool>(),
    ) {
        let bbb = Policy { addresses: OnAddresses::Repair, ..policy() };
        let mut world = World::new(bbb, memory);
        // Only the first stop counts.
        let before = happenings.into_iter().filter(|happening| !matches!(happening, Happening::Stop(_)));
        before.for_each(|happening| world.happen(happening));
        let begun = world.now;
        let registered = world.registered;
        world.happen(Happening::Stop(cause));
        for _ in 0..200 {
            world.happen(Happening::Job { well: !fails, effect: false, kind: TroubleKind::Passing });
            if world.end.is_none() && world.job.is_none() {
                let due = world.machine.wake();
                prop_assert!(due.is_some(), "it waits for nothing");
                world.happen(Happening::Time(1));
            }
        }
        prop_assert!(world.end.is_some(), "it did not end");
        prop_assert!(world.now <= begun + 2 * policy().stop_patience);
        if !fails && registered && matches!(cause, StopCause::PowerOff | StopCause::Stop)
            && world.machine.job().is_none()
        {
            prop_assert_ne!(world.entry, Some(EntryState::Enabled));
        }
    }
}
