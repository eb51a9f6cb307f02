//! Orders by operators, and stops of the service.

use std::time::Duration;

use super::cordon::Cordon;
use super::draining::Drain;
use super::machine::{Machine, undo};
use super::state::{Aim, Cordoned, Joining, State, Stopping, Undoing, Unregistered};
use super::upkeep::Upkeep;
use super::wish::Wish;
use super::{Action, Call, Cause, Job, Memory, Moment, Order, Refusal, Rest, StopCause};
use crate::membership;

/// The longest time for a stop before the metadata service has answered: nothing can be undone without the host's name.
const UNKNOWN_HOST: Duration = Duration::from_secs(10);

impl Machine {
    pub(super) fn obey(&mut self, order: Order, now: Moment) {
        if order == Order::Check {
            return self.hurry(now);
        }
        match self.wished(now) {
            _ if matches!(self.state, State::Stopping(_)) => self.refuse(Refusal::Stopping),
            None => self.refuse(Refusal::Starting),
            Some(wish) => match order {
                Order::Check => {}
                Order::Register => self.register(wish, now),
                Order::Deregister => self.deregister(now),
                Order::Drain(within) => {
                    let until = within.map(|within| now.saturating_add(within));
                    self.drain_by_hand(until, wish, now);
                }
            },
        }
    }

    fn refuse(&mut self, why: Refusal) {
        self.actions.push(Action::Refuse(why));
    }

    fn register(&mut self, wish: Wish, now: Moment) {
        match wish {
            Wish::Drain(Cause::Spot, _) => self.refuse(Refusal::Spot),
            Wish::Drain(..) => self.refuse(Refusal::Group),
            Wish::Warm => self.refuse(Refusal::WarmPool),
            Wish::Serve | Wish::Rest(_) => {
                self.overrule(now);
                self.join(Aim::Serve, now);
            }
        }
    }

    fn deregister(&mut self, now: Moment) {
        let cause = match &self.state {
            State::Draining(drain) => drain.cause,
            State::Leaving(leaving) => leaving.cause,
            State::Unregistered(Unregistered { cause: Some(cause), .. }) => *cause,
            _ => Cause::Hand,
        };
        self.leave(cause, false, now);
    }

    pub(super) fn drain_by_hand(&mut self, until: Option<Moment>, wish: Wish, now: Moment) {
        match &mut self.state {
            State::Leaving(_) | State::Unregistered(_) => {}
            State::Draining(drain) => {
                // A host cannot get more time than its group or EC2 allows.
                let by_hand = drain.cause == Cause::Hand;
                let deadline = until.map(|until| if by_hand { until } else { until.min(drain.deadline) });
                if let Some(deadline) = deadline {
                    drain.ends_at(deadline);
                }
            }
            _ => {
                if matches!(wish, Wish::Serve | Wish::Rest(_)) {
                    self.memory = Memory::Drain;
                }
                self.drain(Cause::Hand, until, now);
            }
        }
    }

    pub(super) fn stop(&mut self, cause: StopCause, now: Moment) {
        if matches!(self.state, State::Stopping(_)) {
            return;
        }
        let undoes = undo(cause, &self.policy, self.set_by_operator());
        self.memory = self.memory_of_stop(undoes);
        if !self.protecting() {
            self.unprotect(cause);
        }
        self.hold = None;
        let nothing_left = matches!(self.state, State::Unregistered(Unregistered { trouble: None, .. }));
        let undoing = match undoes {
            Some(_) if nothing_left && self.job.is_none() => Undoing::Nothing,
            Some(Job::Cordon) => Undoing::Cordon(self.present_cordon(now)),
            Some(job) => Undoing::Job(job, Upkeep::at(now)),
            None => Undoing::Nothing,
        };
        if undoing == Undoing::Nothing && self.job.is_none() && !self.protecting() {
            return self.end(Ok(()));
        }
        let patience = match self.state {
            State::Starting => self.policy.stop_patience.min(UNKNOWN_HOST),
            _ => self.policy.stop_patience,
        };
        self.state = State::Stopping(Stopping { cause, until: now + patience, undoing });
    }

    /// Returns the state that an operator has given to the entry, if one has.
    fn set_by_operator(&self) -> Option<membership::State> {
        match &self.state {
            State::Cordoned(Cordoned { why: Rest::Somebody(state), .. })
            | State::Joining(Joining { aim: Aim::Rest(Rest::Somebody(state)), .. }) => Some(*state),
            _ => None,
        }
    }

    /// Returns the cordon that the entry has, or one that is due now.
    fn present_cordon(&self, now: Moment) -> Cordon {
        match &self.state {
            State::Cordoned(Cordoned { cordon: Some(cordon), .. }) => cordon.clone(),
            State::Draining(drain) => drain.cordon.clone(),
            _ => Cordon::due_now(now),
        }
    }

    /// Returns the memory that a stop leaves, which undoes this: at its next start the agent does again what it has
    /// undone itself, even without a boot in between.
    fn memory_of_stop(&self, undoes: Option<Job>) -> Memory {
        let by_operator = matches!(&self.state, State::Cordoned(Cordoned { why: Rest::Somebody(_), .. }));
        match (undoes, self.memory) {
            (None, memory) => memory,
            // A cordon changes nothing about what an operator has set or ordered.
            (Some(Job::Cordon), Memory::Joined) if by_operator => Memory::Joined,
            (Some(Job::Cordon), Memory::Joined | Memory::Joining) => Memory::Cordoned,
            (Some(Job::Cordon), memory) => memory,
            (Some(_), _) => Memory::Joining,
        }
    }

    /// Tells whether a call that switches the protection on or off is under way.
    pub(super) fn protecting(&self) -> bool {
        self.calls.iter().any(|call| matches!(call, Call::Protect(_)))
    }

    /// Ends the protection from scale-in if it is on and an operator stops the service: nothing else would ever end
    /// it.
    pub(super) fn unprotect(&mut self, cause: StopCause) {
        if cause == StopCause::Stop && self.protection.is_on() {
            self.calls.push(Call::Protect(false));
            self.actions.push(Action::Call(Call::Protect(false)));
        }
    }

    pub(super) fn hurry(&mut self, now: Moment) {
        self.again = self.job.is_some();
        self.count_due = now;
        self.look_due = now;
        self.protection.hurry(now);
        self.group.ask_again(now);
        if let Some(hold) = &mut self.hold {
            hold.part.hurry(now);
        }
        if let State::Leaving(leaving) = &mut self.state {
            leaving.part.hurry(now);
            leaving.complete.hurry(now);
        }
        if let Some(care) = self.state.care_mut() {
            care.name.hurry(now);
            care.entry.hurry(now);
        }
        if let State::Draining(Drain { cordon, .. })
        | State::Cordoned(Cordoned { cordon: Some(cordon), .. }) = &mut self.state
        {
            cordon.hurry(now);
        }
    }
}
