//! The engine: feeds what happens into the state machine and carries out the jobs and calls that come back. The service
//! runs it in its world, the simulation in another one.
//!
//! The engine asks its world for the time whenever it needs it, so no time is kept across a wait.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use plan::lifecycle::{
    Action, Call, Event, Found, Job, Kept, Machine, Moment, Order, Refusal, State, Trouble, TroubleKind,
};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::jobs;
use crate::interrupt::{Interrupt, Trigger};
use crate::report::Exit;

/// The surroundings of one host's engine: the services that its jobs and calls need, and its clock.
pub trait World: jobs::World {
    /// Returns the time since the host was booted.
    fn moment(&self) -> Moment;

    /// Returns the timer of a moment; `None` for a moment that never comes.
    fn timer(&self, moment: Moment) -> Option<Instant>;

    /// Makes one call, and returns the events that come of it in their order.
    fn make(&self, call: Call) -> impl Future<Output = Vec<Event>>;
}

/// An effect of a step that the engine leaves to its owner.
#[derive(Debug)]
pub enum Effect {
    /// The state has changed from the one with this name, or a stop has begun.
    Moved(&'static str),
    /// The host is ready: systemd may start what waits for it.
    Ready,
    /// The memory to keep for the next start of the service.
    Remember(Kept),
    /// The last order is refused.
    Refuse(Refusal),
    /// The event is not allowed in the present state. That is a fault of ours, and no reason to let go of a host.
    Illegal(String),
}

/// The end of a job, for the people who wait for it and for the journal.
#[derive(Debug)]
pub struct Finished {
    /// The job.
    pub job: Job,
    /// The time that it took.
    pub took: Duration,
    /// The time that it was allowed to take.
    pub patience: Duration,
    /// Why it was not done.
    pub trouble: Option<Trouble>,
    /// The exit code of the command by hand, where trying again will not help.
    pub lasting: Option<Exit>,
    /// The changes that it has made, in words.
    pub lines: Vec<String>,
}

/// Something that has happened: first report the job, then feed the events one after the other.
#[derive(Debug)]
pub struct Happened {
    /// The job that has ended, if one has.
    pub finished: Option<Finished>,
    /// The events for the state machine.
    pub events: Vec<Event>,
}

impl From<Event> for Happened {
    fn from(event: Event) -> Self {
        Self { finished: None, events: vec![event] }
    }
}

type Work = Pin<Box<dyn Future<Output = Happened>>>;

/// One host's engine.
pub struct Engine<W> {
    world: Rc<W>,
    machine: Machine,
    work: FuturesUnordered<Work>,
    /// Cancels the running job.
    trigger: Option<Trigger>,
    end: Option<Result<(), String>>,
}

impl<W: World + 'static> Engine<W> {
    /// Makes an engine in which nothing has happened yet.
    pub fn new(world: Rc<W>, machine: Machine) -> Self {
        Self { world, machine, work: FuturesUnordered::new(), trigger: None, end: None }
    }

    /// Returns the state machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns the world.
    pub fn world(&self) -> &Rc<W> {
        &self.world
    }

    /// Replaces the world. Jobs and calls that are under way end in the former one.
    pub fn move_to(&mut self, world: Rc<W>) {
        self.world = world;
    }

    /// Returns the result of the engine once it has ended.
    pub fn end(&self) -> Option<&Result<(), String>> {
        self.end.as_ref()
    }

    /// Returns the present by the world's clock.
    pub fn now(&self) -> Moment {
        self.world.moment()
    }

    /// Returns the state machine's own words for the present state.
    pub fn words(&self) -> String {
        self.machine.words(self.now())
    }

    /// Waits until a job or a call has ended, or something is due. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Happened {
        let due = self.machine.wake().and_then(|due| self.world.timer(due));
        let happened = tokio::select! {
            Some(happened) = self.work.next() => happened,
            () = at(due) => Event::Tick.into(),
        };
        if happened.finished.is_some() {
            self.trigger = None;
        }
        happened
    }

    /// Takes an event in and starts what follows from it.
    pub fn feed(&mut self, event: Event) -> Vec<Effect> {
        let (before, job) = (self.machine.state().name(), self.machine.job());
        let stopping = matches!(event, Event::Stop(_));
        if event == Event::Ordered(Order::Check) {
            self.world.known().forget();
            self.world.registration().forget();
        }
        let actions = match self.machine.step(event, self.now(), fastrand::f64()) {
            Ok(actions) => actions,
            Err(illegal) => return vec![Effect::Illegal(illegal.to_string())],
        };
        let state = self.machine.state().name();
        debug!(?actions, ?job, "{state}");
        let moved = (state != before || stopping).then_some(Effect::Moved(before));
        let effects = actions.into_iter().filter_map(|action| self.act(action)).collect::<Vec<_>>();
        moved.into_iter().chain(effects).collect()
    }

    fn act(&mut self, action: Action) -> Option<Effect> {
        match action {
            Action::Start(job) => self.begin(job),
            Action::Cancel => self.trigger.iter().for_each(Trigger::pull),
            Action::Call(call) => {
                let world = Rc::clone(&self.world);
                self.work.push(Box::pin(async move {
                    Happened { finished: None, events: world.make(call).await }
                }));
            }
            Action::End(result) => self.end = Some(result),
            Action::Ready => return Some(Effect::Ready),
            Action::Remember(kept) => return Some(Effect::Remember(kept)),
            Action::Refuse(why) => return Some(Effect::Refuse(why)),
        }
        None
    }

    fn begin(&mut self, job: Job) {
        let (trigger, interrupt) = Interrupt::manual();
        self.trigger = Some(trigger);
        let left = |until: Moment| until.saturating_sub(self.now());
        let patience = match self.machine.state() {
            State::Stopping(stopping) => left(stopping.until),
            State::Leaving(leaving) => jobs::LEAVE.min(left(leaving.until)),
            _ => jobs::ATTEMPT,
        };
        let world = Rc::clone(&self.world);
        self.work.push(Box::pin(async move {
            let begun = Instant::now();
            let jobs::Report { found, lasting, lines } = jobs::run(world, job, interrupt, patience).await;
            let trouble = match &found {
                Ok(Found::Addressless(words)) => {
                    Some(Trouble { words: words.clone(), kind: TroubleKind::Waiting })
                }
                found => found.as_ref().err().cloned(),
            };
            let finished = Finished { job, took: begun.elapsed(), patience, trouble, lasting, lines };
            Happened { finished: Some(finished), events: vec![Event::Finished(job, found)] }
        }));
    }
}

/// Waits until then; for ever without a time.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
