//! The work that the state demands now, and the time of the next step.

use std::time::Duration;

use super::cordon::Cordon;
use super::machine::{Machine, Running};
use super::state::{Care, State, Undoing};
use super::{Action, Call, Cause, Job, Moment};
use crate::instance::Role;

/// The time for which a job that should have given up is still waited for, since it knows the reason for its failure.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Machine {
    /// Begins the work that is due and cancels a job that no longer fits the state.
    pub(super) fn begin(&mut self, now: Moment) {
        if self.state == State::Ended {
            return;
        }
        match self.job {
            None => {
                if let Some(job) = self.due_job(now) {
                    self.job = Some(Running { job, cancelled: false });
                    self.actions.push(Action::Start(job));
                }
            }
            Some(running) if !self.fits(running.job, now) => self.cancel(),
            Some(_) => {}
        }
        for call in self.due_calls(now) {
            if !self.calls.contains(&call) {
                if call == Call::Count {
                    self.count_began = now;
                }
                self.calls.push(call);
                self.actions.push(Action::Call(call));
            }
        }
    }

    pub(super) fn cancel(&mut self) {
        if let Some(running) = self.job.as_mut().filter(|running| !running.cancelled) {
            running.cancelled = true;
            self.actions.push(Action::Cancel);
        }
    }

    fn due_job(&self, now: Moment) -> Option<Job> {
        self.jobs().into_iter().flatten().find(|(_, due)| *due <= now).map(|(job, _)| job)
    }

    /// Returns the jobs of the state with the time at which each is due, the most important first.
    fn jobs(&self) -> [Option<(Job, Moment)>; 3] {
        let scalelite = self.policy.scalelite;
        let name = |care: &Care| Some((Job::Name, care.name.due()));
        let entry = |care: &Care, job| scalelite.then_some((job, care.entry.due()));
        match &self.state {
            State::Joining(state) => {
                let joins = state.named && self.may_join(state.aim);
                [name(&state.care), entry(&state.care, state.aim.job()).filter(|_| joins), None]
            }
            State::Serving(state) => [name(&state.care), entry(&state.care, Job::Keep), None],
            State::Cordoned(state) => {
                let cordon = state.cordon.as_ref().and_then(Cordon::job);
                let cordon = cordon.map(|(job, due)| match (job, state.why) {
                    (Job::Cordon, why) if why.spares_the_last() => (Job::CordonUnlessLast, due),
                    (job, _) => (job, due),
                });
                [cordon.or_else(|| entry(&state.care, Job::Look)), name(&state.care), None]
            }
            State::Draining(drain) if self.policy.role == Role::Turn => {
                [drain.cordon.job().map(|(_, due)| (Job::Unname, due)), None, None]
            }
            State::Draining(drain) => {
                let cordon = drain.cordon.job().unwrap_or((Job::Look, drain.care.entry.due()));
                [scalelite.then_some(cordon), name(&drain.care).filter(|_| drain.names), None]
            }
            State::Leaving(state) if state.left.is_none() => {
                [Some((Job::Leave, state.part.due())), None, None]
            }
            State::Stopping(state) => [state.undoing.job(), None, None],
            State::Starting | State::Leaving(_) | State::Unregistered(_) | State::Ended => [None, None, None],
        }
    }

    /// Tells whether a running job still fits the state, and no more urgent job has to take its place.
    fn fits(&self, job: Job, now: Moment) -> bool {
        let jobs = self.jobs();
        let overdue = match &self.state {
            State::Leaving(state) => state.until.saturating_add(LAST_WORDS) <= now,
            State::Stopping(state) => state.until.saturating_add(LAST_WORDS) <= now,
            _ => false,
        };
        let urgent = match &self.state {
            State::Draining(_) | State::Cordoned(_) => jobs.first().copied().flatten(),
            _ => None,
        };
        let preempted = urgent.is_some_and(|(first, due)| first != job && first != Job::Look && due <= now);
        !overdue && !preempted && jobs.iter().flatten().any(|(wanted, _)| *wanted == job)
    }

    fn due_calls(&mut self, now: Moment) -> Vec<Call> {
        let mut calls = Vec::new();
        if self.counts() && self.count_due <= now {
            calls.push(Call::Count);
        }
        if self.look_at().is_some_and(|due| due <= now) {
            calls.push(Call::Addresses);
        }
        if self.repair_at().is_some_and(|due| due <= now) {
            calls.push(Call::Repair);
        }
        let work = self.work.as_ref().map(|(_, work)| work);
        if let State::Draining(drain) = &mut self.state
            && let Some(minutes) = drain.announcement(&self.policy, work, now)
        {
            calls.push(Call::Announce(minutes));
        }
        calls.extend(self.due_protection(now));
        calls.extend(self.due_for_hooks(now));
        calls.extend(self.due_report(now));
        calls
    }

    fn due_protection(&self, now: Moment) -> Option<Call> {
        let switched_off = self.policy.protection.is_none() && self.protection.is_on();
        let free =
            !self.calls.iter().any(|call| matches!(call, Call::Protect(_) | Call::Group | Call::Closing));
        if !free || self.protection.due() > now {
            return None;
        }
        match (self.protects(), self.protection.asks()) {
            (None, _) => switched_off.then_some(Call::Protect(false)),
            (Some(_), true) => Some(Call::Group),
            (Some(_), false) if self.protection.asks_closing(now) => Some(Call::Closing),
            (Some(idle), false) => self.protection.wants(idle, now).map(Call::Protect),
        }
    }

    /// Returns how long the host has to be idle before its protection ends, if it can be protected in this state.
    pub(super) fn protects(&self) -> Option<Duration> {
        let grouped = self.intent.is_some_and(|intent| intent.grouped);
        let ending = match &self.state {
            State::Starting | State::Stopping(_) | State::Ended => true,
            State::Leaving(leaving) => leaving.cause != Cause::Hand,
            State::Draining(drain) => drain.cause == Cause::Group,
            State::Unregistered(out) => out.cause != Some(Cause::Hand),
            State::Joining(_) | State::Serving(_) | State::Cordoned(_) => false,
        };
        self.policy.protection.filter(|_| grouped && !ending)
    }

    fn counts(&self) -> bool {
        match &self.state {
            State::Joining(_) | State::Serving(_) | State::Cordoned(_) | State::Draining(_) => true,
            State::Leaving(leaving) => {
                leaving.left.as_ref().is_some_and(|left| left.recordings_until.is_some())
            }
            State::Stopping(state) => matches!(state.undoing, Undoing::Cordon(_)),
            State::Starting | State::Unregistered(_) | State::Ended => false,
        }
    }

    /// Returns when the next [`super::Event::Tick`] is due. Work that was due before has begun, or waits for another
    /// event.
    pub fn wake(&self) -> Option<Moment> {
        let jobs = self.jobs().into_iter().flatten().map(|(_, due)| due);
        let count = self.counts().then_some(self.count_due);
        let hooks = self.wake_for_hooks();
        let report = self.report_at();
        let protection = self.protects().and_then(|idle| self.protection.wake(idle));
        let addresses = self.look_at().into_iter().chain(self.repair_at());
        let all = jobs.chain(count).chain(addresses).chain(hooks).chain(report).chain(protection);
        let all = all.chain(self.bounds());
        all.filter(|due| *due > self.now()).min()
    }

    /// Returns the times at which the state changes by itself.
    fn bounds(&self) -> Vec<Moment> {
        match &self.state {
            State::Draining(drain) => {
                let times = [drain.empty_at(&self.policy), drain.next_announcement(&self.policy)];
                times.into_iter().flatten().chain([drain.deadline]).collect()
            }
            State::Leaving(leaving) => {
                let recordings = leaving.left.as_ref().and_then(|left| left.over_at(self.policy.quiet));
                let times = [leaving.until, leaving.until.saturating_add(LAST_WORDS), leaving.complete.due()];
                times.into_iter().chain(recordings).collect()
            }
            State::Stopping(stopping) => vec![stopping.until, stopping.until.saturating_add(LAST_WORDS)],
            // A maintenance comes near without a new answer from the metadata service.
            State::Serving(_) | State::Cordoned(_) | State::Joining(_) => {
                let begin = self.intent.and_then(|intent| intent.maintenance);
                let cordon = begin.map(|begin| begin.saturating_sub(self.policy.deadline));
                let over = self.intent.and_then(|intent| intent.rebalance);
                let over = over.map(|since| since.saturating_add(self.policy.rebalance_for));
                let missed = match &self.state {
                    State::Serving(serving) => serving.polled.missed_at(&self.policy),
                    _ => None,
                };
                cordon.into_iter().chain(over).chain(self.spared).chain(missed).collect()
            }
            State::Starting | State::Unregistered(_) | State::Ended => Vec::new(),
        }
    }
}
