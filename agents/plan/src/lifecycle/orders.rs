//! Orders by operators, and stops of the service.

use super::machine::{Machine, Wish, undo};
use super::state::{State, Stopping, Unregistered};
use super::upkeep::Upkeep;
use super::{Action, Call, Cause, Memory, Moment, Order, StopCause};

impl Machine {
    pub(super) fn obey(&mut self, order: Order, now: Moment) {
        let wish = self.intent.map(|intent| self.wish(&intent, now));
        let refuse = |why: &str| Action::Refuse(why.to_owned());
        match (order, wish) {
            (Order::Check, _) => self.hurry(now),
            _ if matches!(self.state, State::Stopping(_)) => {
                self.actions.push(refuse("the service is stopping"));
            }
            (_, None) => {
                self.actions
                    .push(refuse("the metadata service has not said yet what is intended with this host"));
            }
            (Order::Register, Some(Wish::Drain(Cause::Spot, _))) => {
                self.actions.push(refuse("EC2 is about to take this spot instance back"));
            }
            (Order::Register, Some(Wish::Drain(..))) => {
                self.actions.push(refuse("its Auto Scaling group is ending this host"));
            }
            (Order::Register, Some(Wish::Warm)) => {
                self.actions.push(refuse("this host is in the warm pool of its Auto Scaling group"));
            }
            (Order::Register, Some(wish)) => {
                self.overruled = wish != Wish::Serve;
                self.join(true, now);
            }
            (Order::Deregister, _) => {
                let cause = match &self.state {
                    State::Draining(drain) => drain.cause,
                    State::Leaving(leaving) => leaving.cause,
                    State::Unregistered(Unregistered { cause: Some(cause), .. }) => *cause,
                    _ => Cause::Hand,
                };
                self.leave(cause, false, now);
            }
            (Order::Drain(within), Some(wish)) => {
                let until = within.map(|within| now.saturating_add(within));
                self.drain_by_hand(until, wish, now);
            }
        }
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
        let undone = undo(cause, &self.policy).is_some();
        if undone {
            // At its next start the agent does again what it has undone itself, even without a boot in between.
            self.memory = Memory::Joining;
        }
        if !self.protecting() {
            self.unprotect(cause);
        }
        self.hold = None;
        let nothing_left = matches!(self.state, State::Unregistered(Unregistered { trouble: None, .. }));
        let done = self.job.is_none() && nothing_left;
        if self.job.is_none() && !undone || done && !self.protecting() {
            return self.end(Ok(()));
        }
        let until = now + self.policy.stop_patience;
        self.state = State::Stopping(Stopping { cause, until, part: Upkeep::at(now), done });
    }

    /// Tells whether a call that switches the protection on or off is under way.
    pub(super) fn protecting(&self) -> bool {
        self.calls.iter().any(|call| matches!(call, Call::Protect(_)))
    }

    /// Ends the protection from scale-in if it is on and a stop for this cause undoes anything: nothing else would
    /// ever end it.
    pub(super) fn unprotect(&mut self, cause: StopCause) {
        if cause == StopCause::Stop && undo(cause, &self.policy).is_some() && self.protection.is_on() {
            self.calls.push(Call::Protect(false));
            self.actions.push(Action::Call(Call::Protect(false)));
        }
    }

    pub(super) fn hurry(&mut self, now: Moment) {
        self.again = self.job.is_some();
        self.count_due = now;
        self.protection.hurry(now);
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
        if let State::Draining(drain) = &mut self.state {
            drain.cordon.hurry(now);
        }
    }
}
