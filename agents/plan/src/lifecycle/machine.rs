//! The machine: events change the state, the state decides what is due.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cordon::{Cordon, after_a_poll};
use super::draining::Drain;
use super::hooks::Group;
use super::protection::Protection;
use super::silence::Silence;
use super::state::{
    Aim, Care, Cordoned, Joining, Leaving, Left, Polled, Serving, State, Undoing, Unregistered,
};
use super::upkeep::Upkeep;
use super::{
    Action, Call, Cause, Event, Illegal, Intent, Job, Kept, Memory, Moment, OnStop, Policy, Rest, StopCause,
    Window, Work,
};
use crate::addresses::Announced;
use crate::instance::Role;
use crate::membership;

/// The part of a spot notice that is reserved for leaving.
pub(super) const SPOT_RESERVE: Duration = Duration::from_secs(30);

/// The time for which leaving is tried when only the group waits for it, which heartbeats hold.
pub(super) const LEAVE_PATIENCE: Duration = Duration::from_secs(900);

/// The time that the lifecycle action must have left when the drain is over.
const HOOK_RESERVE: Duration = Duration::from_secs(120);

/// The lifecycle actions that may hold this instance on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) since: Moment,
    /// The heartbeats.
    pub(super) part: Upkeep,
}

/// The state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub(super) policy: Policy,
    pub(super) state: State,
    /// When the present state began.
    pub(super) since: Moment,
    /// The last count, with its time.
    pub(super) work: Option<(Moment, Work)>,
    pub(super) protection: Protection,
    pub(super) hold: Option<Hold>,
    pub(super) group: Group,
    pub(super) silence: Silence,
    /// Until when the host stays in service although it is to be replaced or repaired, because it is the last one.
    pub(super) spared: Option<Moment>,
    pub(super) intent: Option<Intent>,
    pub(super) memory: Memory,
    /// The drain that a service before this one began.
    pub(super) former: Option<Window>,
    /// What the service was last asked to keep.
    kept: Kept,
    /// The reasons to cordon the host in spite of which an operator wants it in service.
    pub(super) overruled: BTreeSet<Rest>,
    /// Whether the host has no address that its name could lead to.
    pub(super) addressless: bool,
    /// The last finding about the address that BBB announces.
    pub(super) announced: Option<Announced>,
    /// Since when it has been known that what BBB announces has to be set right.
    pub(super) wrong_since: Option<Moment>,
    /// When to look at it again.
    pub(super) look_due: Moment,
    /// The repair of BBB's addresses.
    pub(super) repair: Upkeep,
    /// When a host that may take meetings may be taken out for a repair.
    pub(super) out_due: Moment,
    /// Whether the host has taken meetings and has not left since.
    pub(super) joined: bool,
    ready: bool,
    pub(super) job: Option<Running>,
    /// Whether everything has to be looked at again after the running job, which may have looked before the request
    /// came.
    pub(super) again: bool,
    pub(super) calls: Vec<Call>,
    pub(super) count_due: Moment,
    /// When the last count began.
    pub(super) count_began: Moment,
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

impl Machine {
    /// Creates the machine of a service that starts, with its memory of this boot.
    pub fn new(policy: Policy, kept: Kept) -> Self {
        Self {
            policy,
            state: State::Starting,
            since: Moment::ZERO,
            work: None,
            protection: Protection::new(),
            hold: None,
            group: Group::new(),
            silence: Silence::default(),
            spared: None,
            intent: None,
            memory: kept.memory,
            former: kept.window,
            overruled: kept.overruled.clone(),
            addressless: false,
            announced: None,
            wrong_since: None,
            look_due: Moment::ZERO,
            repair: Upkeep::at(Moment::ZERO),
            out_due: Moment::ZERO,
            joined: kept.joined,
            kept,
            ready: false,
            job: None,
            again: false,
            calls: Vec::new(),
            count_due: Moment::ZERO,
            count_began: Moment::ZERO,
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

    /// Tells whether the host stays in service although it is to be replaced or repaired, because it is the last one.
    pub fn is_spared(&self) -> bool {
        self.is_spared_at(self.now)
    }

    pub(super) fn is_spared_at(&self, now: Moment) -> bool {
        self.spared.is_some_and(|until| now < until)
    }

    /// Tells whether a drain begins with something that keeps new work away: the cordon of the entry, or the end of a
    /// TURN host's name.
    pub fn is_cordoned_first(&self) -> bool {
        self.policy.scalelite || self.policy.role == Role::Turn
    }

    /// Tells whether the metadata service says that the host is in a group.
    pub fn is_grouped(&self) -> bool {
        self.intent.is_some_and(|intent| intent.grouped)
    }

    /// Returns the last count.
    pub fn work(&self) -> Option<&Work> {
        self.work.as_ref().map(|(_, work)| work)
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
                let former = self.intent.replace(intent);
                self.regrouped(former, intent, now);
                if let Some((former, spot)) = former.and_then(|former| former.spot).zip(intent.spot) {
                    self.respite(former, spot);
                }
            }
            Event::Ordered(order) => self.obey(order, now),
            Event::Stop(cause) => self.stop(cause, now),
            Event::Configured(policy) => {
                self.policy = *policy;
                // The new configuration may name another hook.
                self.group.ask_again(now);
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
            Event::Announced(found) => {
                self.returned(Call::Addresses)?;
                self.looked_at_addresses(found, now);
            }
            Event::Grouped(answer) => {
                self.returned(Call::Group)?;
                self.protection.grouped(answer, now, chance);
            }
            Event::Closing(answer) => {
                self.returned(Call::Closing)?;
                self.protection.closing(answer, now);
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

    pub(super) fn follow_time(&mut self, now: Moment) {
        let protecting = self.protecting();
        match &mut self.state {
            State::Serving(Serving { polled, .. }) => {
                if let (Polled::Awaited(since), Some(missed)) = (*polled, polled.missed_at(&self.policy))
                    && missed <= now
                {
                    *polled = Polled::Offline(since);
                }
            }
            State::Draining(drain) => {
                let empty = drain.empty_at(&self.policy).is_some_and(|at| at <= now);
                let cause = drain.cause;
                if empty {
                    self.leave(cause, false, now);
                } else if drain.deadline <= now {
                    self.leave(cause, true, now);
                }
            }
            State::Leaving(leaving) => {
                if leaving.left.is_none() && leaving.until <= now && self.job.is_none() {
                    let words = leaving.part.trouble().map(|trouble| trouble.words.clone());
                    let words = words.unwrap_or_else(|| "there was no time for it".to_owned());
                    leaving.left = Some(Left::with(Err(words)));
                }
                if let Some(left) = &mut leaving.left
                    && left.over_at(self.policy.quiet).is_some_and(|at| at <= now)
                {
                    left.recordings_until = None;
                }
                self.complete_or_be_out(now);
            }
            State::Stopping(stopping) if self.job.is_none() => {
                let over = stopping.until <= now;
                if let Undoing::Cordon(cordon) = &stopping.undoing
                    && (cordon.is_settled(&self.policy) || over && cordon.job().is_none())
                {
                    stopping.undoing = Undoing::Nothing;
                }
                match &stopping.undoing {
                    Undoing::Nothing if over || !protecting => self.end(Ok(())),
                    Undoing::Job(..) | Undoing::Cordon(_) if over => {
                        let words = stopping.undoing.trouble().map(|trouble| trouble.words.clone());
                        self.end(Err(words.unwrap_or_else(|| "there was no time for it".to_owned())));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    // ---- transitions

    pub(super) fn join(&mut self, aim: Aim, now: Moment) {
        let named = self.is_named();
        self.hold = None;
        if aim != Aim::Keep {
            self.memory = Memory::Joining;
        }
        self.look_anew(now);
        let care = Care::now(now);
        let (behind_since, absent_since, overwritten) = (None, None, false);
        self.state = State::Joining(Joining { care, behind_since, named, aim, absent_since, overwritten });
    }

    /// Tells whether the name may be built upon. A host that never got its name, because another host owns it, can be
    /// drained too.
    fn is_named(&self) -> bool {
        match &self.state {
            State::Joining(joining) => joining.named,
            State::Draining(drain) => drain.named,
            State::Cordoned(state) => state.why != Rest::Address,
            state => matches!(state, State::Serving(_)),
        }
    }

    /// Has the entry cordoned for a reason that holds now.
    pub(super) fn cordon(&mut self, why: Rest, now: Moment) {
        self.rest(why, Some(Cordon::due_now(now)), now);
    }

    /// Takes no new meetings; `cordon` is the agent's own, `None` where an operator has set the entry.
    pub(super) fn rest(&mut self, why: Rest, cordon: Option<Cordon>, now: Moment) {
        let Some(care) = self.state.care_mut().cloned() else { return };
        let mut care = care;
        care.entry = Upkeep::at(now + after_a_poll(&self.policy));
        self.joined = true;
        self.memory = if cordon.is_some() { Memory::Cordoned } else { Memory::Joined };
        self.state = State::Cordoned(Cordoned { care, why, cordon });
    }

    pub(super) fn drain(&mut self, cause: Cause, until: Option<Moment>, now: Moment) {
        let deadline = until.unwrap_or(now + self.policy.deadline);
        let mut drain = Drain::new(cause, deadline, now);
        drain.named = self.policy.role == Role::Bbb && self.is_named();
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
            // Whoever has ordered this ends the meetings: nothing is left to protect, even if it cannot be finished.
            self.protection.end();
        }
        let held = self.hold.as_ref().map(|hold| hold.since);
        let (window, met) = match &self.state {
            State::Draining(drain) => {
                let empty = drain.empty_at(&self.policy).is_some_and(|at| at <= now);
                // The last count is as good as one now.
                let meets = self.work().is_none_or(|work| work.may_meet(&self.policy.rules));
                let met = if meets { Some(now) } else { drain.met };
                (Some(Window { forced, ..drain.window(held) }), met.filter(|_| !empty))
            }
            State::Leaving(leaving) => (leaving.window, leaving.met),
            _ => (None, Some(now)),
        };
        self.state = State::Leaving(Leaving {
            cause,
            forced,
            until,
            window,
            met,
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
        self.protection.end();
        self.joined &= trouble.is_some();
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
            self.hold = Some(Hold { since: now, part: Upkeep::at(now) });
            self.group.ask_again(now);
            self.bound_by_hooks();
        }
    }

    pub(super) fn complete_or_be_out(&mut self, now: Moment) {
        let State::Leaving(Leaving { cause, left: Some(left), until, .. }) = &self.state else { return };
        let waits = self.hold.is_some() && self.group.is_ours().unwrap_or(now < *until);
        if !waits {
            let (cause, trouble) = (*cause, left.result.clone().err());
            self.out(Some(cause), trouble);
        }
    }

    /// Notes that the host has left. The recordings of the last meetings are waited for as long as a lifecycle action
    /// holds the instance: a deadline or an order has ended them, or they have ended shortly before. Recordings that
    /// the drain itself has waited for in vain are not waited for once more.
    pub(super) fn left(&mut self, now: Moment) {
        let records = self.policy.role == Role::Bbb && self.policy.rules.recordings;
        let held = self.hold.is_some() && records;
        let State::Leaving(leaving) = &mut self.state else { return };
        let until = leaving.met.map(|met| met + self.policy.after_deadline);
        let recordings_until = until.filter(|until| held && *until > now);
        leaving.left = Some(Left { recordings_until, ..Left::with(Ok(())) });
        self.count_now(now);
        self.bound_by_hooks();
    }

    /// Makes a count due now; one that is under way may be out of date.
    pub(super) fn count_now(&mut self, now: Moment) {
        self.count_due = now;
        self.count_is_stale = self.calls.contains(&Call::Count);
    }

    /// Keeps every wait within the time for which the lifecycle hooks hold the instance at most.
    pub(super) fn bound_by_hooks(&mut self) {
        let Some((Hold { since, .. }, ceiling)) = self.hold.as_ref().zip(self.ceiling()) else { return };
        let ceiling = since.saturating_add(ceiling).saturating_sub(HOOK_RESERVE);
        match &mut self.state {
            State::Draining(drain) => drain.ends_by(ceiling),
            State::Leaving(Leaving { left: Some(left), .. }) => {
                left.recordings_until = left.recordings_until.map(|until| until.min(ceiling));
            }
            _ => {}
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
        let held = self.hold.as_ref().map(|hold| hold.since);
        let window = match &self.state {
            State::Draining(drain) => Some(drain.window(held)),
            State::Leaving(leaving) => leaving.window.map(|window| Window { held, ..window }),
            // A restarted service goes on with its drain.
            State::Starting | State::Stopping(_) | State::Ended => self.kept.window,
            _ => None,
        };
        let overruled = self.overruled.clone();
        let kept = Kept { memory: self.memory, window, overruled, joined: self.joined };
        if self.kept != kept {
            self.kept = kept.clone();
            self.actions.push(Action::Remember(kept));
        }
    }
}

/// Returns the job that undoes what a stop for this cause has to undo; `set` is the state that an operator has given to
/// the entry.
pub(super) fn undo(cause: StopCause, policy: &Policy, set: Option<membership::State>) -> Option<Job> {
    match (cause, policy.on_stop) {
        (StopCause::Restart, _) | (StopCause::Stop, OnStop::Keep) => None,
        (StopCause::Reboot, _) => policy.scalelite.then_some(Job::Withdraw(set)),
        (StopCause::Stop, OnStop::Cordon) | (StopCause::Unknown, _) => {
            policy.scalelite.then_some(Job::Cordon)
        }
        (StopCause::PowerOff, _) | (StopCause::Stop, OnStop::Leave) => Some(Job::Leave),
    }
}
