//! The machine's conclusion from the plans of the group and of EC2, and how the state follows it.

use super::machine::{LEAVE_PATIENCE, Machine, SPOT_RESERVE};
use super::state::{Aim, Cordoned, Joining, State};
use super::upkeep::Upkeep;
use super::{Cause, Intent, Memory, Moment, Rest, Target};

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

    /// Returns what a host should join for.
    fn aim(self) -> Aim {
        match self {
            Self::Rest(why) => Aim::Rest(why),
            Self::Serve | Self::Warm | Self::Drain(..) => Aim::Serve,
        }
    }
}

impl Machine {
    /// Returns the reasons to cordon the host that hold now, the most important first.
    pub(super) fn reasons(&self, intent: &Intent, now: Moment) -> Vec<Rest> {
        let maintained = intent.maintenance.is_some_and(|begin| begin <= now + self.policy.deadline);
        let reasons = [
            (Rest::Address, self.addressless),
            (Rest::Announced, self.is_misannounced()),
            (Rest::Standby, intent.target == Target::Standby),
            (Rest::Rebalance, self.policy.rebalance && self.is_to_be_replaced(intent, now)),
            (Rest::Maintenance, maintained && self.policy.maintenance),
            (Rest::Turn, self.is_to_be_repaired(now)),
        ];
        // Without Scalelite there is nothing to cordon.
        let holds = reasons.into_iter().filter(|(_, holds)| *holds && self.policy.scalelite);
        holds.map(|(why, _)| why).collect()
    }

    /// Tells whether EC2's recommendation to replace the host still counts: not for ever, and not while no other host
    /// would get new meetings.
    fn is_to_be_replaced(&self, intent: &Intent, now: Moment) -> bool {
        let fresh = |since: Moment| now < since.saturating_add(self.policy.rebalance_for);
        intent.rebalance.is_some_and(fresh) && !self.is_spared_at(now)
    }

    pub(super) fn wish(&self, intent: &Intent, now: Moment) -> Wish {
        let spot = intent.spot.map(|end| end.saturating_sub(SPOT_RESERVE));
        match intent.target {
            Target::Terminate => Wish::Drain(Cause::Group, spot),
            _ if spot.is_some() => Wish::Drain(Cause::Spot, spot),
            Target::Warm => Wish::Warm,
            Target::Serve | Target::Standby => {
                let mut reasons = self.reasons(intent, now).into_iter();
                reasons.find(|why| !self.overruled.contains(why)).map_or(Wish::Serve, Wish::Rest)
            }
        }
    }

    /// Returns the wish that follows from the last answer, if there was one.
    pub(super) fn wished(&self, now: Moment) -> Option<Wish> {
        self.intent.map(|intent| self.wish(&intent, now))
    }

    /// Notes that an operator wants the host in service in spite of all reasons that hold now.
    pub(super) fn overrule(&mut self, now: Moment) {
        if let Some(intent) = self.intent {
            self.overruled.extend(self.reasons(&intent, now));
        }
    }

    /// Prolongs a drain that was to end with a spot notice, whose time has turned out to be later: the clock has been
    /// set since. An earlier time needs no care.
    pub(super) fn respite(&mut self, former: Moment, spot: Moment) {
        let policy = self.policy.deadline;
        let State::Draining(drain) = &mut self.state else { return };
        if spot <= former || drain.deadline != former.saturating_sub(SPOT_RESERVE) {
            return;
        }
        let latest = match drain.cause {
            Cause::Spot => Moment::MAX,
            Cause::Hand | Cause::Group | Cause::WarmPool => drain.since + policy,
        };
        drain.ends_at(spot.saturating_sub(SPOT_RESERVE).min(latest).max(drain.deadline));
    }

    /// Lets the state follow the wish and the time.
    pub(super) fn follow(&mut self, now: Moment) {
        if let Some(intent) = self.intent {
            let reasons = self.reasons(&intent, now);
            let mut overruled = std::mem::take(&mut self.overruled);
            overruled.retain(|why| reasons.contains(why) || self.may_hold(*why));
            self.overruled = overruled;
            self.follow_wish(self.wish(&intent, now), now);
        }
        self.follow_time(now);
    }

    fn follow_wish(&mut self, wish: Wish, now: Moment) {
        match (&mut self.state, wish) {
            (State::Starting, wish) => self.start(wish, now),
            (State::Joining(_) | State::Serving(_) | State::Cordoned(_), Wish::Drain(cause, until)) => {
                self.drain(cause, until, now);
            }
            (State::Joining(_) | State::Serving(_) | State::Cordoned(_), Wish::Warm) => {
                self.drain(Cause::WarmPool, None, now);
            }
            (State::Joining(Joining { aim: Aim::Keep, .. }), _) => {}
            (State::Joining(joining), wish) => {
                if joining.aim.job() != wish.aim().job() {
                    (joining.care.entry, joining.absent_since) = (Upkeep::at(now), None);
                }
                joining.aim = wish.aim();
            }
            (State::Serving(_), Wish::Rest(why)) => self.cordon(why, now),
            (State::Cordoned(Cordoned { why: Rest::Somebody(_), .. }), _) => {}
            (State::Cordoned(state), Wish::Rest(why)) => state.why = why,
            (State::Cordoned(_), Wish::Serve) => self.join(Aim::Serve, now),
            (State::Draining(_) | State::Leaving(_), wish) => self.follow_while_ending(wish, now),
            (State::Unregistered(out), wish) => {
                let cause = out.cause;
                self.follow_unregistered(cause, wish, now);
            }
            _ => {}
        }
    }

    fn follow_while_ending(&mut self, wish: Wish, now: Moment) {
        match (&mut self.state, wish) {
            (State::Draining(drain), Wish::Drain(cause, until)) => {
                drain.ends_by(until.unwrap_or(drain.deadline));
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
            (State::Draining(_), Wish::Serve | Wish::Rest(_)) => self.join(wish.aim(), now),
            (State::Leaving(leaving), wish) => {
                if let Some(cause) = wish.held().filter(|cause| *cause != leaving.cause) {
                    leaving.cause = cause;
                    // The group waits for the host now, and does not wait for ever.
                    leaving.until = leaving.until.min(now + LEAVE_PATIENCE);
                    self.hold_if_held(cause, now);
                }
            }
            _ => {}
        }
    }

    fn follow_unregistered(&mut self, cause: Option<Cause>, wish: Wish, now: Moment) {
        match wish {
            // The group holds the instance until the lifecycle action is completed. Recordings of the meetings that an
            // order has ended may still be worked on.
            Wish::Drain(Cause::Group, until) if matches!(cause, Some(Cause::Hand | Cause::Spot)) => {
                self.drain_unregistered(Cause::Group, until, now);
            }
            Wish::Warm if matches!(cause, Some(Cause::Hand | Cause::Spot)) => {
                self.drain_unregistered(Cause::WarmPool, None, now);
            }
            // A host of the warm pool has nothing to wait for.
            Wish::Drain(Cause::Group, _) if cause != Some(Cause::Group) => {
                self.leave(Cause::Group, false, now);
            }
            Wish::Serve | Wish::Rest(_) if cause != Some(Cause::Hand) => self.join(wish.aim(), now),
            _ => {}
        }
    }

    /// Waits for what is left of a host that is out already: it gets no name again.
    fn drain_unregistered(&mut self, cause: Cause, until: Option<Moment>, now: Moment) {
        self.drain(cause, until, now);
        if let State::Draining(drain) = &mut self.state {
            drain.names = false;
            // The order that took the host out may have ended some.
            drain.met = Some(now);
        }
    }

    /// Begins, with what the service before this one has remembered.
    fn start(&mut self, wish: Wish, now: Moment) {
        match (wish, self.memory) {
            (Wish::Drain(cause, until), _) => self.drain_on(cause, until, now),
            (Wish::Warm, Memory::Fresh) => self.out(None, None),
            (Wish::Warm, _) => self.drain_on(Cause::WarmPool, None, now),
            // The host may not be out yet: the service may have crashed after the order.
            (_, Memory::Unregistered) => {
                let former = self.former.take();
                self.leave(Cause::Hand, former.is_some_and(|window| window.forced), now);
                if let State::Leaving(leaving) = &mut self.state {
                    leaving.window = former;
                }
            }
            (_, Memory::Drain) => self.drain_on(Cause::Hand, None, now),
            (wish, Memory::Fresh | Memory::Joining) => self.join(wish.aim(), now),
            (Wish::Serve, Memory::Cordoned) => self.join(Aim::Serve, now),
            (Wish::Rest(_), Memory::Cordoned) | (_, Memory::Joined) => self.join(Aim::Keep, now),
        }
    }

    /// Continues to drain a host whose progress is not known: its name is left as it is.
    fn drain_on(&mut self, cause: Cause, until: Option<Moment>, now: Moment) {
        let former = self.former.take();
        self.drain(cause, until, now);
        let State::Draining(drain) = &mut self.state else { return };
        drain.names = false;
        // The last one may have ended a moment ago.
        drain.met = Some(now);
        let Some(window) = former else { return };
        drain.since = window.since;
        drain.deadline = until.map_or(window.deadline, |until| until.min(window.deadline));
        if let (Some(hold), Some(held)) = (&mut self.hold, window.held) {
            hold.since = held;
        }
        if window.forced {
            self.leave(cause, true, now);
        }
    }
}
