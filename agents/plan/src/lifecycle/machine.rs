//! The machine: events change the state, the state decides what is due.

use std::time::Duration;

use super::draining::{Drain, after_a_poll};
use super::protection::Protection;
use super::state::{Care, Cordoned, Joining, Leaving, State, Unregistered};
use super::upkeep::Upkeep;
use super::{
    Action, Call, Cause, Event, Hook, Illegal, Intent, Job, Memory, Moment, OnStop, Policy, Rest, StopCause,
    Target, Window, Work,
};

/// The part of a spot notice that is reserved for leaving.
const SPOT_RESERVE: Duration = Duration::from_secs(30);

/// The time for which leaving is tried when only the group waits for it, which heartbeats hold.
const LEAVE_PATIENCE: Duration = Duration::from_secs(900);

/// The lifecycle action that holds this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) since: Moment,
    pub(super) hook: Holder,
    /// The question for the hook, then the heartbeats.
    pub(super) part: Upkeep,
}

/// The termination hook that may hold this instance, as far as the group has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// The group has not answered yet.
    Unasked,
    /// The group has no termination hook.
    Nothing,
    /// This hook.
    Held(Hook),
}

/// The state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub(super) policy: Policy,
    pub(super) state: State,
    /// When the present state began.
    pub(super) since: Moment,
    pub(super) work: Option<Work>,
    pub(super) protection: Protection,
    pub(super) hold: Option<Hold>,
    pub(super) intent: Option<Intent>,
    pub(super) memory: Memory,
    /// The drain that a service before this one began.
    former: Option<Window>,
    /// The memory and the drain that the service was last asked to keep.
    kept: (Memory, Option<Window>),
    /// Whether an operator wants this host in service although there is a reason to cordon it.
    pub(super) overruled: bool,
    ready: bool,
    pub(super) job: Option<Running>,
    /// Whether everything has to be looked at again after the running job, which may have looked before the request
    /// came.
    pub(super) again: bool,
    pub(super) calls: Vec<Call>,
    pub(super) count_due: Moment,
    /// Whether the running count began before the cordon.
    pub(super) count_is_stale: bool,
    pub(super) actions: Vec<Action>,
    /// The time of the last step.
    now: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) job: Job,
    pub(super) cancelled: bool,
}

/// The machine's conclusion from the metadata service's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Serve,
    Rest(Rest),
    Warm,
    Drain(Cause, Option<Moment>),
}

impl Wish {
    /// Returns the cause for which the group holds the instance until a lifecycle action is completed, if it does.
    fn held(self) -> Option<Cause> {
        match self {
            Self::Drain(Cause::Group, _) => Some(Cause::Group),
            Self::Warm => Some(Cause::WarmPool),
            Self::Serve | Self::Rest(_) | Self::Drain(..) => None,
        }
    }
}

impl Machine {
    /// Creates the machine of a service that starts, with its memory of this boot.
    pub fn new(policy: Policy, memory: Memory, former: Option<Window>) -> Self {
        Self {
            policy,
            state: State::Starting,
            since: Moment::ZERO,
            work: None,
            protection: Protection::new(),
            hold: None,
            intent: None,
            memory,
            former,
            kept: (memory, former),
            overruled: false,
            ready: false,
            job: None,
            again: false,
            calls: Vec::new(),
            count_due: Moment::ZERO,
            count_is_stale: false,
            actions: Vec::new(),
            now: Moment::ZERO,
        }
    }

    /// Returns the state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the time of the last step.
    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// Returns when the present state began.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Returns the running job.
    pub fn job(&self) -> Option<Job> {
        self.job.map(|running| running.job)
    }

    /// Tells whether there is a Scalelite in which the host can be cordoned.
    pub fn has_scalelite(&self) -> bool {
        self.policy.scalelite
    }

    /// Tells whether the metadata service says that the host is in a group.
    pub fn is_grouped(&self) -> bool {
        self.intent.is_some_and(|intent| intent.grouped)
    }

    /// Returns the last count.
    pub fn work(&self) -> Option<&Work> {
        self.work.as_ref()
    }

    /// Takes in an event and returns the actions to carry out now. `chance`, evenly drawn from `0.0..1.0`, spreads
    /// retries.
    pub fn step(&mut self, event: Event, now: Moment, chance: f64) -> Result<Vec<Action>, Illegal> {
        if self.state == State::Ended {
            return Err(self.illegal(&event));
        }
        let before = self.state.name();
        self.now = now;
        self.take(event, now, chance)?;
        self.follow(now);
        if self.state.name() != before {
            self.since = now;
        }
        self.keep();
        self.begin(now);
        Ok(std::mem::take(&mut self.actions))
    }

    pub(super) fn take(&mut self, event: Event, now: Moment, chance: f64) -> Result<(), Illegal> {
        match event {
            Event::Tick => {}
            Event::Told(intent) => {
                if self.intent.is_some_and(|former| former.grouped != intent.grouped) {
                    self.protection.forget();
                }
                self.intent = Some(intent);
            }
            Event::Ordered(order) => self.obey(order, now),
            Event::Stop(cause) => self.stop(cause, now),
            Event::Configured(policy) => {
                self.policy = *policy;
                // The new configuration may name another hook.
                if let Some(hold) = &mut self.hold {
                    hold.hook = Holder::Unasked;
                }
                self.hurry(now);
            }
            Event::Finished(job, result) => {
                let running = self.job.take().is_some_and(|running| running.job == job);
                if !running {
                    return Err(self.illegal(&format_args!("the end of {job:?}, which does not run,")));
                }
                self.finished(job, result, now, chance);
                if std::mem::take(&mut self.again) {
                    self.hurry(now);
                }
            }
            Event::Counted(work) => {
                self.returned(Call::Count)?;
                self.counted(work, now);
            }
            Event::Grouped(answer) => {
                self.returned(Call::Group)?;
                self.protection.grouped(answer, now, chance);
            }
            Event::Hooked(answer) => {
                self.returned(Call::Hook)?;
                self.hooked(answer, now, chance);
            }
            Event::Called(call, answer) => {
                self.returned(call)?;
                self.called(call, answer, now, chance);
            }
        }
        Ok(())
    }

    pub(super) fn illegal(&self, event: &dyn std::fmt::Debug) -> Illegal {
        Illegal { state: self.state.name(), event: format!("{event:?}") }
    }

    pub(super) fn returned(&mut self, call: Call) -> Result<(), Illegal> {
        let Some(index) = self.calls.iter().position(|made| *made == call) else {
            return Err(self.illegal(&format_args!("the end of {call:?}, which was not called,")));
        };
        self.calls.swap_remove(index);
        Ok(())
    }

    // ---- the metadata service's answer, and the time

    pub(super) fn wish(&self, intent: &Intent, now: Moment) -> Wish {
        let spot = intent.spot.map(|end| end.saturating_sub(SPOT_RESERVE));
        let maintained = intent.maintenance.is_some_and(|begin| begin <= now + self.policy.deadline);
        match intent.target {
            Target::Terminate => Wish::Drain(Cause::Group, spot),
            _ if spot.is_some() => Wish::Drain(Cause::Spot, spot),
            Target::Warm => Wish::Warm,
            // Without Scalelite there is nothing to cordon.
            _ if !self.policy.scalelite => Wish::Serve,
            Target::Standby => Wish::Rest(Rest::Standby),
            Target::Serve if intent.rebalance && self.policy.rebalance => Wish::Rest(Rest::Rebalance),
            Target::Serve if maintained && self.policy.maintenance => Wish::Rest(Rest::Maintenance),
            Target::Serve => Wish::Serve,
        }
    }

    /// Lets the state follow the wish and the time.
    pub(super) fn follow(&mut self, now: Moment) {
        if let Some(intent) = self.intent {
            let wish = self.wish(&intent, now);
            if wish == Wish::Serve {
                self.overruled = false;
            }
            self.follow_wish(wish, now);
        }
        self.follow_time(now);
    }

    pub(super) fn follow_wish(&mut self, wish: Wish, now: Moment) {
        match (&mut self.state, wish) {
            (State::Starting, wish) => self.start(wish, now),
            (State::Joining(_) | State::Serving(_) | State::Cordoned(_), Wish::Drain(cause, until)) => {
                self.drain(cause, until, now);
            }
            (State::Joining(_) | State::Serving(_) | State::Cordoned(_), Wish::Warm) => {
                self.drain(Cause::WarmPool, None, now);
            }
            (State::Serving(_), Wish::Rest(why)) if !self.overruled => self.rest(why, true, now),
            (State::Cordoned(Cordoned { why: Rest::Somebody(_), .. }), _) => {}
            (State::Cordoned(state), Wish::Rest(why)) => state.why = why,
            (State::Cordoned(_), Wish::Serve) => self.join(true, now),
            (State::Draining(drain), Wish::Drain(cause, until)) => {
                drain.deadline = until.map_or(drain.deadline, |until| drain.deadline.min(until));
                if drain.cause != cause && drain.cause != Cause::Group {
                    drain.cause = cause;
                    self.hold_if_held(cause, now);
                }
            }
            // Only the operator's order remains as a reason to drain.
            (State::Draining(drain), Wish::Serve | Wish::Rest(_)) if self.memory == Memory::Drain => {
                drain.cause = Cause::Hand;
                self.hold = None;
            }
            (State::Draining(drain), Wish::Warm) if drain.cause != Cause::WarmPool => {
                drain.cause = Cause::WarmPool;
                self.hold_if_held(Cause::WarmPool, now);
            }
            // The host was meant to end, and no longer is.
            (State::Draining(_), Wish::Serve | Wish::Rest(_)) => self.join(true, now),
            (State::Leaving(leaving), wish) => {
                if let Some(cause) = wish.held().filter(|cause| *cause != leaving.cause) {
                    leaving.cause = cause;
                    // The group waits for the host now, and does not wait for ever.
                    leaving.until = leaving.until.min(now + LEAVE_PATIENCE);
                    self.hold_if_held(cause, now);
                }
            }
            // The group holds the instance until the lifecycle action is completed; it does not hold a host that has
            // always been in the warm pool.
            (State::Unregistered(out), Wish::Drain(Cause::Group, _)) if out.cause != Some(Cause::Group) => {
                self.leave(Cause::Group, false, now);
            }
            (State::Unregistered(out), Wish::Warm)
                if matches!(out.cause, Some(Cause::Hand | Cause::Spot)) =>
            {
                self.leave(Cause::WarmPool, false, now);
            }
            (State::Unregistered(out), Wish::Serve | Wish::Rest(_)) if out.cause != Some(Cause::Hand) => {
                self.join(true, now);
            }
            _ => {}
        }
    }

    pub(super) fn start(&mut self, wish: Wish, now: Moment) {
        match (wish, self.memory) {
            (Wish::Drain(cause, until), _) => self.drain_on(cause, until, now),
            (Wish::Warm, Memory::Fresh) => self.out(None, None),
            (Wish::Warm, _) => self.drain_on(Cause::WarmPool, None, now),
            // The host may not be out yet: the service may have crashed after the order.
            (_, Memory::Unregistered) => self.leave(Cause::Hand, false, now),
            (_, Memory::Drain) => self.drain_on(Cause::Hand, None, now),
            (_, Memory::Fresh | Memory::Joining) | (Wish::Serve, Memory::Cordoned) => self.join(true, now),
            (Wish::Rest(_), Memory::Cordoned) | (_, Memory::Joined) => self.join(false, now),
        }
    }

    /// Continues to drain a host whose progress is not known: its name is left as it is.
    fn drain_on(&mut self, cause: Cause, until: Option<Moment>, now: Moment) {
        self.drain(cause, until, now);
        let State::Draining(drain) = &mut self.state else { return };
        drain.names = false;
        let Some(window) = self.former.take() else { return };
        drain.since = window.since;
        drain.deadline = until.map_or(window.deadline, |until| until.min(window.deadline));
        if let Some(hold) = &mut self.hold {
            hold.since = window.since;
        }
    }

    pub(super) fn follow_time(&mut self, now: Moment) {
        let protecting = self.protecting();
        match &mut self.state {
            State::Draining(drain) => {
                let empty = drain.empty_at(&self.policy).is_some_and(|at| at <= now);
                let cause = drain.cause;
                if empty || !self.policy.meetings {
                    self.leave(cause, false, now);
                } else if drain.deadline <= now {
                    self.leave(cause, true, now);
                }
            }
            State::Leaving(leaving) => {
                if leaving.left.is_none() && leaving.until <= now && self.job.is_none() {
                    let words = leaving.part.trouble().map(|trouble| trouble.words.clone());
                    leaving.left = Some(Err(words.unwrap_or_else(|| "there was no time for it".to_owned())));
                }
                self.complete_or_be_out(now);
            }
            State::Stopping(stopping)
                if self.job.is_none() && undo(stopping.cause, &self.policy).is_none() =>
            {
                self.end(Ok(()));
            }
            State::Stopping(stopping) if stopping.done && (stopping.until <= now || !protecting) => {
                self.end(Ok(()));
            }
            State::Stopping(stopping) if stopping.until <= now && self.job.is_none() => {
                let words = stopping.part.trouble().map(|trouble| trouble.words.clone());
                self.end(Err(words.unwrap_or_else(|| "there was no time for it".to_owned())));
            }
            _ => {}
        }
    }

    // ---- transitions

    pub(super) fn join(&mut self, enable: bool, now: Moment) {
        let named = self.is_named();
        self.hold = None;
        if enable {
            self.memory = Memory::Joining;
        }
        let care = Care::now(now);
        self.state = State::Joining(Joining { care, behind_since: None, named, enable, overwritten: false });
    }

    /// Tells whether the name may be built upon. A host that never got its name, because another host owns it, can be
    /// drained too.
    fn is_named(&self) -> bool {
        match &self.state {
            State::Joining(joining) => joining.named,
            State::Draining(drain) => drain.named,
            state => matches!(state, State::Cordoned(_) | State::Serving(_)),
        }
    }

    pub(super) fn rest(&mut self, why: Rest, cordon: bool, now: Moment) {
        let Some(care) = self.state.care_mut().cloned() else { return };
        let mut care = care;
        care.entry = Upkeep::at(if cordon { now } else { now + after_a_poll(&self.policy) });
        self.state = State::Cordoned(Cordoned { care, why, cordon });
        self.memory = match why {
            Rest::Somebody(_) => Memory::Joined,
            Rest::Standby | Rest::Rebalance | Rest::Maintenance => Memory::Cordoned,
        };
    }

    pub(super) fn drain(&mut self, cause: Cause, until: Option<Moment>, now: Moment) {
        let deadline = until.unwrap_or(now + self.policy.deadline);
        let mut drain = Drain::new(cause, deadline, now);
        drain.named = self.is_named();
        if let Some(care) = self.state.care_mut() {
            drain.care.name = care.name.clone();
        }
        self.state = State::Draining(drain);
        self.count_due = now;
        self.hold_if_held(cause, now);
        self.ready();
    }

    pub(super) fn leave(&mut self, cause: Cause, forced: bool, now: Moment) {
        let until = match cause {
            // Only another order ends what an operator has ordered.
            Cause::Hand => Moment::MAX,
            Cause::Group | Cause::WarmPool => now + LEAVE_PATIENCE,
            Cause::Spot => self.intent.and_then(|intent| intent.spot).unwrap_or(now).max(now + SPOT_RESERVE),
        };
        if cause == Cause::Hand {
            self.memory = Memory::Unregistered;
        }
        self.state = State::Leaving(Leaving {
            cause,
            forced,
            until,
            part: Upkeep::at(now),
            left: None,
            complete: Upkeep::at(now),
        });
        self.hold_if_held(cause, now);
        self.ready();
    }

    pub(super) fn out(&mut self, cause: Option<Cause>, trouble: Option<String>) {
        self.hold = None;
        self.work = None;
        self.protection.idle_for_good();
        if trouble.is_none() && cause != Some(Cause::Hand) {
            self.memory = Memory::Fresh;
        }
        self.state = State::Unregistered(Unregistered { cause, trouble });
        self.ready();
    }

    /// Remembers that the group holds an instance that it takes out of service until the lifecycle action is
    /// completed.
    pub(super) fn hold_if_held(&mut self, cause: Cause, now: Moment) {
        if matches!(cause, Cause::Group | Cause::WarmPool) && self.hold.is_none() {
            self.hold = Some(Hold { since: now, hook: Holder::Unasked, part: Upkeep::at(now) });
        }
    }

    pub(super) fn complete_or_be_out(&mut self, now: Moment) {
        let State::Leaving(Leaving { cause, left: Some(left), until, .. }) = &self.state else { return };
        let waits = match self.hold.as_ref().map(|hold| hold.hook) {
            Some(Holder::Held(_)) => true,
            Some(Holder::Unasked) => now < *until,
            Some(Holder::Nothing) | None => false,
        };
        if !waits {
            let (cause, trouble) = (*cause, left.clone().err());
            self.out(Some(cause), trouble);
        }
    }

    pub(super) fn end(&mut self, result: Result<(), String>) {
        self.state = State::Ended;
        self.actions.push(Action::End(result));
    }

    pub(super) fn ready(&mut self) {
        if !self.ready {
            self.ready = true;
            self.actions.push(Action::Ready);
        }
    }

    /// Asks the service to keep what a restarted service could not find out.
    fn keep(&mut self) {
        let window = match &self.state {
            State::Draining(drain) => Some(Window { since: drain.since, deadline: drain.deadline }),
            // A restarted service goes on with its drain.
            State::Starting | State::Stopping(_) | State::Ended => self.kept.1,
            _ => None,
        };
        if self.kept != (self.memory, window) {
            self.kept = (self.memory, window);
            self.actions.push(Action::Remember(self.memory, window));
        }
    }
}

/// Returns the job that undoes what a stop for this cause has to undo.
pub(super) fn undo(cause: StopCause, policy: &Policy) -> Option<Job> {
    match (cause, policy.on_stop) {
        (StopCause::Restart, _) | (StopCause::Stop, OnStop::Keep) => None,
        (StopCause::Reboot, _) => policy.scalelite.then_some(Job::Disable),
        (StopCause::Stop, OnStop::Cordon) => policy.scalelite.then_some(Job::Cordon),
        (StopCause::PowerOff, _) | (StopCause::Stop, OnStop::Leave) => Some(Job::Leave),
    }
}
