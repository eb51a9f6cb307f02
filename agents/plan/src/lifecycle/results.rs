//! Results of the jobs and calls that were begun.

use std::time::Duration;

use super::cordon::{Cordon, after_a_poll};
use super::draining::Drain;
use super::machine::Machine;
use super::state::{Aim, Cordoned, Joining, Leaving, Left, Polled, Serving, State, Stopping, Undoing};
use super::upkeep::Upkeep;
use super::wish::Wish;
use super::{Call, Cause, Found, Job, Memory, Moment, Policy, Rest, Trouble, TroubleKind, Work};
use crate::membership;

/// The time for which the last host that takes meetings is spared when it is to be replaced or repaired.
const SPARED: Duration = Duration::from_secs(600);

impl Machine {
    pub(super) fn finished(&mut self, job: Job, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        if matches!(&result, Err(trouble) if trouble.kind == TroubleKind::Cancelled) {
            return;
        }
        match (&mut self.state, job) {
            (_, Job::Name) => self.named(result, now, chance),
            (State::Joining(_), Job::Join(_) | Job::Keep) => self.joined(job, result, now, chance),
            // A look that ends when the host may serve again says nothing about what an operator wants.
            (State::Joining(Joining { aim: Aim::Rest(why), .. }), Job::Look) if why.needs_repair() => {
                let why = *why;
                self.found_while_out(why, result, now, chance);
            }
            (State::Serving(_), Job::Keep) => self.kept(result, now, chance),
            (State::Cordoned(_) | State::Draining(_), Job::Look) => self.looked(result, now, chance),
            (State::Cordoned(_), Job::CordonUnlessLast) if result == Ok(Found::LastOne) => {
                self.spared = Some(now + SPARED);
            }
            (
                State::Cordoned(_) | State::Draining(_),
                Job::Cordon | Job::CordonUnlessLast | Job::Recordon | Job::Unname,
            ) => {
                self.cordoned(result, now, chance);
            }
            (State::Leaving(leaving), Job::Leave) => match result {
                Ok(_) => self.left(now),
                // Only another order ends what an operator has ordered.
                Err(trouble) if leaving.cause == Cause::Hand => {
                    leaving.part.failed_before(leaving.until, trouble, now, chance);
                }
                Err(trouble) => leaving.part.failed_at_the_end(&mut leaving.until, trouble, now, chance),
            },
            (State::Stopping(_), job) => self.undone(job, result, now, chance),
            // The job no longer fits the state: the next look shows its effect.
            _ => {}
        }
    }

    /// Takes in the result of a stop's job.
    fn undone(&mut self, job: Job, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let State::Stopping(Stopping { undoing, until, .. }) = &mut self.state else { return };
        match (&mut *undoing, result) {
            (Undoing::Job(undoes, _), Ok(_)) if *undoes == job => *undoing = Undoing::Nothing,
            (Undoing::Job(undoes, _), Err(trouble)) if *undoes == job => {
                undoing.failed(until, trouble, now, chance);
            }
            (Undoing::Cordon(cordon), Ok(_)) if matches!(job, Job::Cordon | Job::Recordon) => {
                cordon.succeeded(now);
                self.count_now(now);
            }
            (Undoing::Cordon(_), Err(trouble)) if matches!(job, Job::Cordon | Job::Recordon) => {
                undoing.failed(until, trouble, now, chance);
            }
            // The job was begun before the stop.
            _ => {}
        }
    }

    pub(super) fn named(&mut self, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let next = now + self.policy.check_name;
        self.follow_name(&result, now);
        let joins = matches!(self.state, State::Joining(_));
        let Some(care) = self.state.care_mut() else { return };
        match result {
            Ok(Found::Behind(words)) if joins => {
                care.name.failed(Trouble { words, kind: TroubleKind::Waiting }, now, chance);
            }
            Ok(Found::Addressless(words)) => {
                care.name.failed(Trouble { words, kind: TroubleKind::Waiting }, now, chance);
            }
            Ok(_) => care.name.went_well(next),
            Err(trouble) => care.name.failed(trouble, now, chance),
        }
        self.serve_without_scalelite(now);
    }

    /// Lets the state follow what was found at the name.
    fn follow_name(&mut self, result: &Result<Found, Trouble>, now: Moment) {
        let Ok(found) = result else { return };
        let patience = self.policy.live_patience;
        self.addressless = matches!(found, Found::Addressless(_));
        match (&mut self.state, found) {
            (State::Joining(joining), Found::Behind(_)) => {
                let since = *joining.behind_since.get_or_insert(now);
                joining.named |= now >= since + patience;
            }
            (State::Joining(joining), _) => {
                (joining.named, joining.behind_since) = (!self.addressless, None);
            }
            (State::Draining(drain), Found::Live) => drain.named = true,
            (State::Draining(drain), Found::Addressless(_)) => drain.named = false,
            // Nothing can be cordoned.
            (State::Serving(_), Found::Addressless(_)) if !self.policy.scalelite => {
                self.join(Aim::Serve, now);
                if let State::Joining(joining) = &mut self.state {
                    joining.named = false;
                }
            }
            _ => {}
        }
        if matches!(&self.state, State::Joining(Joining { named: true, .. })) {
            self.ready();
        }
    }

    /// Serves as soon as the host has its name, if there is no Scalelite to join.
    pub(super) fn serve_without_scalelite(&mut self, now: Moment) {
        if let State::Joining(Joining { named: true, .. }) = &self.state
            && !self.policy.scalelite
        {
            self.serve(None, Polled::Reached, now);
        }
    }

    pub(super) fn serve(&mut self, enabled: Option<Moment>, polled: Polled, now: Moment) {
        let Some(mut care) = self.state.care_mut().cloned() else { return };
        care.entry.went_well(now + after_a_poll(&self.policy).min(self.policy.check_entry));
        self.state = State::Serving(Serving { care, enabled, polled });
        (self.memory, self.joined) = (Memory::Joined, true);
    }

    /// Takes in the result of a cordon, whatever the host is cordoned for.
    fn cordoned(&mut self, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let next = now + after_a_poll(&self.policy);
        match (&mut self.state, result) {
            (State::Draining(drain), Ok(_)) => drain.note_cordon(&self.policy, now),
            (State::Draining(drain), Err(trouble)) => return drain.cordon.failed(trouble, now, chance),
            (State::Cordoned(state), result) => {
                let Some(cordon) = &mut state.cordon else { return };
                match result {
                    Ok(_) => {
                        cordon.succeeded(now);
                        state.care.entry.went_well(next);
                    }
                    Err(trouble) => return cordon.failed(trouble, now, chance),
                }
            }
            _ => return,
        }
        self.count_now(now);
    }

    fn joined(&mut self, job: Job, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        match result {
            Ok(Found::Entry(state)) if state != membership::State::Enabled => self.found_out(state, now),
            Ok(Found::Missing) => self.rejoin(now),
            Ok(found) => {
                let overwritten = matches!(&self.state, State::Joining(joining) if joining.overwritten);
                let enabled = job == Aim::Serve.job();
                let polled = Polled::Reached.shown(found != Found::Unpolled, now);
                self.serve((enabled && !overwritten).then_some(now), polled, now);
            }
            Err(trouble) => {
                if let Some(care) = self.state.care_mut() {
                    care.entry.failed(trouble, now, chance);
                }
            }
        }
    }

    /// Takes in the entry of a host that must not have meetings, for this reason. It adds none; one that was left behind
    /// by a crash is cordoned.
    fn found_while_out(&mut self, why: Rest, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let next = now + self.policy.check_entry;
        let State::Joining(joining) = &mut self.state else { return };
        match result {
            Ok(Found::Entry(membership::State::Enabled) | Found::Unpolled) => {
                self.cordon(why, now);
            }
            Ok(Found::Entry(state)) => self.found_out(state, now),
            Ok(_) => {
                joining.care.entry.went_well(next);
                joining.absent_since.get_or_insert(now);
                self.count_now(now);
            }
            Err(trouble) => joining.care.entry.failed(trouble, now, chance),
        }
    }

    /// Follows the state of an entry that is cordoned or disabled when the host has joined, either by this agent or by
    /// an operator.
    fn found_out(&mut self, state: membership::State, now: Moment) {
        let aim = match &self.state {
            State::Joining(joining) => joining.aim,
            _ => Aim::Keep,
        };
        match (aim, self.memory, self.wished(now)) {
            (Aim::Rest(why), ..) | (_, Memory::Cordoned, Some(Wish::Rest(why))) => {
                self.rest(why, Some(Cordon::found(now)), now);
                self.count_now(now);
            }
            _ => self.rest(Rest::Somebody(state), None, now),
        }
    }

    /// Joins again because the entry is gone. An added entry is disabled at first; until the agent has enabled it,
    /// that must not be taken for an operator's decision.
    fn rejoin(&mut self, now: Moment) {
        self.join_again(false, now);
    }

    /// Joins again as it is wished, with the name as it is.
    fn join_again(&mut self, overwritten: bool, now: Moment) {
        let name = self.state.care_mut().map(|care| care.name.clone());
        let aim = match self.wished(now) {
            Some(Wish::Rest(why)) => Aim::Rest(why),
            _ => Aim::Serve,
        };
        self.join(aim, now);
        if let (State::Joining(joining), Some(name)) = (&mut self.state, name) {
            joining.care.name = name;
            joining.overwritten = overwritten;
        }
    }

    pub(super) fn kept(&mut self, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let State::Serving(serving) = &mut self.state else { return };
        let soon = serving.enabled.is_some_and(|at| now <= at + 2 * after_a_poll(&self.policy));
        // Scalelite could not be asked since: nobody has seen the entry enabled after a poll.
        let unseen = serving.enabled.is_some() && serving.care.entry.trouble().is_some();
        match result {
            Ok(Found::Entry(membership::State::Disabled)) if soon || unseen => self.join_again(true, now),
            Ok(Found::Missing) => self.rejoin(now),
            Ok(Found::Entry(state)) if state != membership::State::Enabled => {
                self.rest(Rest::Somebody(state), None, now);
            }
            Ok(found) => {
                serving.enabled = serving.enabled.filter(|_| soon);
                serving.polled = serving.polled.shown(found != Found::Unpolled, now);
                let next = match serving.polled {
                    Polled::Reached => self.policy.check_entry,
                    Polled::Awaited(_) | Polled::Offline(_) => {
                        after_a_poll(&self.policy).min(self.policy.check_entry)
                    }
                };
                serving.care.entry.went_well(now + next);
            }
            Err(trouble) => serving.care.entry.failed(trouble, now, chance),
        }
    }

    pub(super) fn looked(&mut self, result: Result<Found, Trouble>, now: Moment, chance: f64) {
        let enabled = matches!(result, Ok(Found::Entry(membership::State::Enabled) | Found::Unpolled));
        let polled = Polled::Reached.shown(result != Ok(Found::Unpolled), now);
        match &mut self.state {
            State::Cordoned(_) if enabled => {
                // An operator wants the host enabled, even where the agent had cordoned it.
                self.overrule(now);
                self.serve(None, polled, now);
            }
            State::Draining(Drain { cause: Cause::Hand, named: true, .. }) if enabled => {
                self.serve(None, polled, now);
            }
            // It is not known yet whether the host has its name.
            State::Draining(Drain { cause: Cause::Hand, .. }) if enabled => self.join(Aim::Serve, now),
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

    pub(super) fn counted(&mut self, mut work: Work, now: Moment) {
        let interval = match &self.state {
            State::Draining(_) | State::Leaving(_) | State::Stopping(_) => Drain::interval(&self.policy),
            _ => self.policy.count,
        };
        self.count_due = now + interval;
        if let Some((then, former)) = &self.work {
            work.follow(former, now.saturating_sub(*then));
        }
        self.protection.counted(work.is_idle(&self.policy.rules), now);
        self.silence.counted(&work.meetings, now);
        match &mut self.state {
            State::Draining(_) | State::Leaving(_) | State::Cordoned(_) | State::Stopping(_)
                if self.count_is_stale =>
            {
                self.count_due = now;
            }
            // It may have been made before it was known that the host has no entry.
            State::Joining(Joining { absent_since: Some(since), .. }) if self.count_is_stale => {
                (*since, self.count_due) = (now, now);
            }
            State::Draining(drain) => drain.counted(&work, &self.policy, self.count_began, now),
            State::Cordoned(Cordoned { cordon: Some(cordon), .. })
            | State::Stopping(Stopping { undoing: Undoing::Cordon(cordon), .. }) => {
                cordon.counted(&work.meetings, now);
            }
            State::Leaving(Leaving { left: Some(left), .. }) => {
                let idle = work.has_no_recordings(&self.policy.rules);
                left.quiet_since = idle.then(|| left.quiet_since.unwrap_or(now));
            }
            _ => {}
        }
        self.count_is_stale = false;
        self.work = Some((now, work));
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
            Call::Heartbeat => self.beaten(answer, now, chance),
            Call::LaunchHeartbeat | Call::Launched(_) => self.launched(call, answer, now, chance),
            Call::Unhealthy => self.silence.reported(answer, now, chance),
            Call::Complete(_) => {
                // The answer may belong to a drain that is over.
                if let State::Leaving(leaving) = &mut self.state
                    && leaving.left.is_some()
                {
                    match answer {
                        Ok(()) => {
                            let (cause, left) = (leaving.cause, leaving.left.take());
                            self.out(Some(cause), left.and_then(|Left { result, .. }| result.err()));
                        }
                        Err(words) => leaving.complete.failed(trouble(words), now, chance),
                    }
                }
            }
            Call::Repair => self.repaired(answer, now, chance),
            Call::Count | Call::Addresses | Call::Group | Call::Closing | Call::Hook | Call::Announce(_) => {}
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
