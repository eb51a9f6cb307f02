//! What people and PID 1 want.

use super::machine::{Machine, Wish, undo};
use super::part::Part;
use super::state::{Out, State, Stopping};
use super::{Action, Cause, Memory, Moment, OnStop, Order, StopCause};

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
                self.remember(Memory::Fresh);
                self.join(true, now);
            }
            (Order::Deregister, _) => {
                let cause = match &self.state {
                    State::Draining(drain) => drain.cause,
                    State::Leaving(leaving) => leaving.cause,
                    State::Out(Out { cause: Some(cause), .. }) => *cause,
                    _ => Cause::Hand,
                };
                if cause == Cause::Hand {
                    self.remember(Memory::Out);
                }
                self.leave(cause, false, now);
            }
            (Order::Drain(until), Some(wish)) => self.drain_by_hand(until, wish, now),
        }
    }

    pub(super) fn drain_by_hand(&mut self, until: Option<Moment>, wish: Wish, now: Moment) {
        match &mut self.state {
            State::Leaving(_) | State::Out(_) => {}
            State::Draining(drain) if drain.cause == Cause::Hand => {
                drain.deadline = until.unwrap_or(drain.deadline);
            }
            State::Draining(drain) => {
                drain.deadline = until.map_or(drain.deadline, |it| drain.deadline.min(it));
            }
            _ => {
                if matches!(wish, Wish::Serve | Wish::Rest(_)) {
                    self.remember(Memory::Drain);
                }
                self.drain(Cause::Hand, until, now);
            }
        }
    }

    pub(super) fn stop(&mut self, cause: StopCause, now: Moment) {
        if matches!(self.state, State::Stopping(_)) {
            return;
        }
        if cause == StopCause::Stop && self.policy.on_stop != OnStop::Keep {
            self.remember(Memory::Fresh);
        }
        self.hold = None;
        let nothing_left = matches!(self.state, State::Out(Out { trouble: None, .. }));
        if nothing_left || undo(cause, &self.policy).is_none() {
            self.cancel();
            return self.end(Ok(()));
        }
        let until = now + self.policy.stop_patience;
        self.state = State::Stopping(Stopping { cause, until, part: Part::at(now) });
    }

    pub(super) fn hurry(&mut self, now: Moment) {
        self.again = self.job.is_some();
        self.count_due = now;
        if let Some(care) = self.state.care_mut() {
            care.name.hurry(now);
            care.entry.hurry(now);
        }
        if let State::Draining(drain) = &mut self.state {
            drain.cordon.hurry(now);
        }
    }
}
