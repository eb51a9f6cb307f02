//! The work that the state demands now, and the time of the next step.

use std::time::Duration;

use super::machine::Holder;
use super::machine::{Machine, Running, undo};
use super::state::{Care, State};
use super::{Action, Call, Cause, HookResult, Job, Moment};

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
                let job = if state.enable { Job::Join } else { Job::Keep };
                [name(&state.care), entry(&state.care, job).filter(|_| state.named), None]
            }
            State::Serving(state) => [name(&state.care), entry(&state.care, Job::Keep), None],
            State::Cordoned(state) => {
                let job = if state.cordon { Job::Cordon } else { Job::Look };
                [entry(&state.care, job), name(&state.care), None]
            }
            State::Draining(drain) => {
                let (job, due) = match (drain.cordoned, drain.leaks()) {
                    (None, _) => (Job::Cordon, drain.cordon.due()),
                    (Some(_), true) => (Job::Recordon, drain.cordon.due()),
                    (Some(_), false) => (Job::Look, drain.care.entry.due()),
                };
                [scalelite.then_some((job, due)), name(&drain.care).filter(|_| drain.names), None]
            }
            State::Leaving(state) if state.left.is_none() => {
                [Some((Job::Leave, state.part.due())), None, None]
            }
            State::Stopping(state) => {
                let job = undo(state.cause, &self.policy).filter(|_| !state.done);
                [job.map(|job| (job, state.part.due())), None, None]
            }
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
        let work = self.work.as_ref();
        if let State::Draining(drain) = &mut self.state
            && let Some(minutes) = drain.announcement(&self.policy, work, now)
        {
            calls.push(Call::Announce(minutes));
        }
        let has_left = matches!(&self.state, State::Leaving(leaving) if leaving.left.is_some());
        if let Some(hold) = self.hold.as_ref().filter(|hold| hold.part.is_due(now)) {
            match hold.hook {
                Holder::Unasked => calls.push(Call::Hook),
                // When the host has left, there is no more reason to hold the instance: if the agent may not complete
                // the lifecycle action, the action expires.
                Holder::Held(_) if !has_left => calls.push(Call::Heartbeat),
                Holder::Held(_) | Holder::Nothing => {}
            }
        }
        calls.extend(self.due_completion(now));
        calls.extend(self.due_protection(now));
        calls
    }

    fn due_completion(&self, now: Moment) -> Option<Call> {
        let State::Leaving(leaving) = &self.state else { return None };
        let held = self.hold.as_ref().is_some_and(|hold| matches!(hold.hook, Holder::Held(_)));
        let verdict = if leaving.forced { self.policy.at_deadline } else { HookResult::Continue };
        (held && leaving.left.is_some() && leaving.complete.is_due(now)).then_some(Call::Complete(verdict))
    }

    fn due_protection(&self, now: Moment) -> Option<Call> {
        let switched_off = self.policy.protection.is_none() && self.protection.is_on();
        let free = !self.calls.iter().any(|call| matches!(call, Call::Protect(_) | Call::Group));
        if !free || self.protection.due() > now {
            return None;
        }
        match (self.protects(), self.protection.asks()) {
            (None, _) => switched_off.then_some(Call::Protect(false)),
            (Some(_), true) => Some(Call::Group),
            (Some(idle), false) => self.protection.wants(idle, now).map(Call::Protect),
        }
    }

    /// Returns how long the host has to be idle before its protection ends, if it can be protected in this state.
    pub(super) fn protects(&self) -> Option<Duration> {
        let grouped = self.intent.is_some_and(|intent| intent.grouped);
        let ending =
            matches!(self.state, State::Starting | State::Leaving(_) | State::Stopping(_) | State::Ended)
                || matches!(&self.state, State::Draining(drain) if drain.cause == Cause::Group)
                || matches!(&self.state, State::Unregistered(out) if out.cause != Some(Cause::Hand));
        self.policy.protection.filter(|_| grouped && !ending)
    }

    fn counts(&self) -> bool {
        let registered = matches!(
            self.state,
            State::Joining(_) | State::Serving(_) | State::Cordoned(_) | State::Draining(_)
        );
        self.policy.meetings && registered
    }

    /// Returns when the next [`super::Event::Tick`] is due. Work that was due before has begun, or waits for another
    /// event.
    pub fn wake(&self) -> Option<Moment> {
        let jobs = self.jobs().into_iter().flatten().map(|(_, due)| due);
        let count = self.counts().then_some(self.count_due);
        let hold = self.hold.as_ref().map(|hold| hold.part.due());
        let protection = self.protects().and_then(|idle| self.protection.wake(idle));
        let all = jobs.chain(count).chain(hold).chain(protection).chain(self.bounds());
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
                vec![leaving.until, leaving.until.saturating_add(LAST_WORDS), leaving.complete.due()]
            }
            State::Stopping(stopping) => vec![stopping.until, stopping.until.saturating_add(LAST_WORDS)],
            // A maintenance comes near without a new answer from the metadata service.
            State::Serving(_) | State::Cordoned(_) | State::Joining(_) => {
                let begin = self.intent.and_then(|intent| intent.maintenance);
                begin.map(|begin| begin.saturating_sub(self.policy.deadline)).into_iter().collect()
            }
            State::Starting | State::Unregistered(_) | State::Ended => Vec::new(),
        }
    }
}
