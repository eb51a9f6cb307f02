//! Results of the jobs and calls that were begun.

use std::time::Duration;

use super::draining::{Drain, after_a_poll};
use super::machine::Holder;
use super::machine::{Hold, Machine, Wish, undo};
use super::state::{Joining, Serving, State};
use super::upkeep::Upkeep;
use super::{Call, Cause, Found, Hook, Job, Memory, Moment, Policy, Rest, Trouble, TroubleKind, Work};
use crate::membership;

/// The time that the lifecycle action must have left when the drain is over.
const HOOK_RESERVE: Duration = Duration::from_secs(120);
/// The shortest time between two heartbeats, whatever timeout the hook is said to have.
const SHORTEST_BEAT: Duration = Duration::from_secs(1);

impl Machine {
    pub(super) fn finished(&mut self, job: Job, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        if matches!(&result, Err(trouble) if trouble.kind == TroubleKind::Cancelled) {
            return;
        }
        match (&mut self.state, job) {
            (_, Job::Name) => self.named(result, now, chance),
            (State::Joining(_), Job::Join | Job::Keep) => self.joined(job, result, now, chance),
            (State::Serving(_), Job::Keep) => self.kept(result, now, chance),
            (State::Cordoned(state), Job::Cordon) => match result {
                Ok(_) => {
                    state.cordon = false;
                    state.care.entry.went_well(now + after_a_poll(&self.policy));
                }
                Err(trouble) => state.care.entry.failed(trouble, now, chance),
            },
            (State::Cordoned(_) | State::Draining(_), Job::Look) => self.looked(result, now, chance),
            (State::Draining(drain), Job::Cordon | Job::Recordon) => match result {
                Ok(_) => {
                    drain.note_cordon(&self.policy, now);
                    self.count_due = now;
                    self.count_is_stale = self.calls.contains(&Call::Count);
                }
                Err(trouble) => drain.cordon.failed(trouble, now, chance),
            },
            (State::Leaving(leaving), Job::Leave) => match result {
                Ok(_) => leaving.left = Some(Ok(())),
                Err(trouble) => leaving.part.failed(trouble, now, chance),
            },
            (State::Stopping(stopping), job) if undo(stopping.cause, &self.policy) == Some(job) => {
                match result {
                    Ok(_) => stopping.done = true,
                    Err(trouble) => stopping.part.failed(trouble, now, chance),
                }
            }
            // The job no longer fits the state: the next look shows its effect.
            _ => {}
        }
    }

    pub(super) fn named(&mut self, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let next = now + self.policy.check_name;
        let patience = self.policy.live_patience;
        if let State::Joining(joining) = &mut self.state {
            match &result {
                Ok(Found::Behind(_)) => {
                    let since = *joining.behind_since.get_or_insert(now);
                    joining.named |= now >= since + patience;
                }
                Ok(_) => (joining.named, joining.behind_since) = (true, None),
                Err(_) => {}
            }
            if joining.named {
                self.ready();
            }
        }
        if let (State::Draining(drain), Ok(Found::Live)) = (&mut self.state, &result) {
            drain.named = true;
        }
        let joins = matches!(self.state, State::Joining(_));
        let Some(care) = self.state.care_mut() else { return };
        match result {
            Ok(Found::Behind(words)) if joins => {
                care.name.failed(Trouble { words, kind: TroubleKind::Waiting }, now, chance);
            }
            Ok(_) => care.name.went_well(next),
            Err(trouble) => care.name.failed(trouble, now, chance),
        }
        self.serve_without_scalelite(now);
    }

    /// Serves as soon as the host has its name, if there is no Scalelite to join.
    pub(super) fn serve_without_scalelite(&mut self, now: Moment) {
        if let State::Joining(Joining { named: true, .. }) = &self.state
            && !self.policy.scalelite
        {
            self.serve(None, now);
        }
    }

    pub(super) fn serve(&mut self, enabled: Option<Moment>, now: Moment) {
        let Some(mut care) = self.state.care_mut().cloned() else { return };
        care.entry.went_well(now + after_a_poll(&self.policy).min(self.policy.check_entry));
        self.state = State::Serving(Serving { care, enabled });
        self.memory = Memory::Joined;
    }

    pub(super) fn joined(&mut self, job: Job, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        match result {
            Ok(Found::Entry(state)) if state != membership::State::Enabled => {
                self.found_out(state, now);
            }
            Ok(Found::Missing) => self.rejoin(now),
            Ok(_) => {
                let overwritten = matches!(&self.state, State::Joining(joining) if joining.overwritten);
                self.serve((job == Job::Join && !overwritten).then_some(now), now);
            }
            Err(trouble) => {
                if let Some(care) = self.state.care_mut() {
                    care.entry.failed(trouble, now, chance);
                }
            }
        }
    }

    /// Follows the state of an entry that a joining host finds cordoned or disabled, either by this agent before it
    /// was restarted, or by an operator.
    fn found_out(&mut self, state: membership::State, now: Moment) {
        let wish = self.intent.map(|intent| self.wish(&intent, now));
        match (self.memory, wish) {
            (Memory::Cordoned, Some(Wish::Rest(why))) => self.rest(why, false, now),
            _ => self.rest(Rest::Somebody(state), false, now),
        }
    }

    /// Joins again because the entry is gone. An added entry is disabled at first; until the agent has enabled it,
    /// that must not be taken for an operator's decision.
    fn rejoin(&mut self, now: Moment) {
        self.enable_again(false, now);
    }

    /// Joins again, with the name as it is.
    fn enable_again(&mut self, overwritten: bool, now: Moment) {
        let name = self.state.care_mut().map(|care| care.name.clone());
        self.join(true, now);
        if let (State::Joining(joining), Some(name)) = (&mut self.state, name) {
            joining.care.name = name;
            joining.overwritten = overwritten;
        }
    }

    pub(super) fn kept(&mut self, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let State::Serving(serving) = &mut self.state else { return };
        let overwritten = serving.enabled.is_some_and(|at| now <= at + 2 * after_a_poll(&self.policy));
        match result {
            Ok(Found::Entry(membership::State::Disabled)) if overwritten => self.enable_again(true, now),
            Ok(Found::Missing) => self.rejoin(now),
            Ok(Found::Entry(state)) if state != membership::State::Enabled => {
                self.rest(Rest::Somebody(state), false, now);
            }
            Ok(_) => serving.care.entry.went_well(now + self.policy.check_entry),
            Err(trouble) => serving.care.entry.failed(trouble, now, chance),
        }
    }

    pub(super) fn looked(&mut self, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let enabled = result == Ok(Found::Entry(membership::State::Enabled));
        match &mut self.state {
            State::Cordoned(resting) if enabled => {
                // An operator wants the host enabled, even where the agent had cordoned it.
                self.overruled = !matches!(resting.why, Rest::Somebody(_));
                self.serve(None, now);
            }
            State::Draining(Drain { cause: Cause::Hand, named: true, .. }) if enabled => {
                self.serve(None, now);
            }
            // It is not known yet whether the host has its name.
            State::Draining(Drain { cause: Cause::Hand, .. }) if enabled => self.join(true, now),
            State::Draining(drain) if enabled => drain.note_enabling(now),
            State::Cordoned(_) if result == Ok(Found::Missing) => self.rejoin(now),
            State::Cordoned(resting) => {
                if let (Rest::Somebody(state), Ok(Found::Entry(found))) = (&mut resting.why, &result) {
                    *state = *found;
                }
                entry_looked_at(&mut resting.care.entry, result, &self.policy, now, chance);
            }
            State::Draining(drain) => {
                entry_looked_at(&mut drain.care.entry, result, &self.policy, now, chance);
            }
            _ => {}
        }
    }

    pub(super) fn counted(&mut self, work: Work, now: Moment) {
        let interval = match &self.state {
            State::Draining(_) => Drain::interval(&self.policy),
            _ => self.policy.count,
        };
        self.count_due = now + interval;
        self.protection.counted(&work, now);
        match &mut self.state {
            State::Draining(_) if self.count_is_stale => self.count_due = now,
            State::Draining(drain) => drain.counted(&work, &self.policy, now),
            _ => {}
        }
        self.count_is_stale = false;
        self.work = Some(work);
    }

    pub(super) fn hooked(&mut self, answer: Result<Option<Hook>, String>, now: Moment, chance: f64) {
        let Some(hold) = &mut self.hold else { return };
        match answer {
            Ok(hook) => {
                hold.hook = hook.map_or(Holder::Nothing, Holder::Held);
                hold.part.went_well(now);
                let ceiling =
                    hook.map(|hook| hold.since.saturating_add(hook.ceiling).saturating_sub(HOOK_RESERVE));
                if let (State::Draining(drain), Some(ceiling)) = (&mut self.state, ceiling) {
                    drain.deadline = drain.deadline.min(ceiling);
                }
            }
            Err(words) => hold.part.failed(Trouble { words, kind: TroubleKind::Passing }, now, chance),
        }
    }

    pub(super) fn called(&mut self, call: Call, answer: Result<(), String>, now: Moment, chance: f64) {
        let trouble = |words| Trouble { words, kind: TroubleKind::Passing };
        match call {
            Call::Protect(on) => {
                self.protection.protected(on, answer, now, chance);
                if let State::Stopping(stopping) = &self.state
                    && on
                {
                    self.unprotect(stopping.cause);
                }
            }
            Call::Heartbeat => {
                if let Some(Hold { hook: Holder::Held(hook), part, .. }) = &mut self.hold {
                    match answer {
                        Ok(()) => part.went_well(now + (hook.heartbeat_timeout / 3).max(SHORTEST_BEAT)),
                        Err(words) => part.failed(trouble(words), now, chance),
                    }
                }
            }
            Call::Complete(_) => {
                // The answer may belong to a drain that is over.
                if let State::Leaving(leaving) = &mut self.state
                    && leaving.left.is_some()
                {
                    match answer {
                        Ok(()) => {
                            let (cause, left) = (leaving.cause, leaving.left.take());
                            self.out(Some(cause), left.and_then(Result::err));
                        }
                        Err(words) => leaving.complete.failed(trouble(words), now, chance),
                    }
                }
            }
            Call::Count | Call::Group | Call::Hook | Call::Announce(_) => {}
        }
    }
}

fn entry_looked_at(
    part: &mut Upkeep,
    result: Result<Found, Trouble>,
    policy: &Policy,
    now: Moment,
    chance: f64,
) {
    match result {
        Ok(_) => part.went_well(now + policy.check_entry),
        Err(trouble) => part.failed(trouble, now, chance),
    }
}
