//! The address that BBB announces: a host whose BBB announces another one joins no pool, and one that serves is cordoned.
//! Where it may be set right, it is, once no meeting runs here and none can be placed here: that ends running calls. On
//! a host without Scalelite it is enough that no meeting runs.
//!
//! TURN servers that BBB is to tell its clients with another secret are a milder matter: the host goes on to take meetings
//! until it is idle, and after a repair that has not helped.

use std::time::Duration;

use super::machine::Machine;
use super::state::{Aim, Cordoned, Joining, State};
use super::upkeep::Upkeep;
use super::{Call, Moment, Rest, Trouble, TroubleKind};
use crate::addresses::{Announced, Decision, OnAddresses, decide};
use crate::instance::Role;

/// The time after which a repair that has changed nothing is tried again.
const REPAIR_AGAIN: Duration = Duration::from_secs(300);
/// The same for a host that has to be taken out for it.
const OUT_AGAIN: Duration = Duration::from_secs(3600);

impl Machine {
    /// Returns the last finding about the address that BBB announces; `None` before the first look, and where nobody
    /// looks.
    pub fn announced(&self) -> Option<&Announced> {
        self.announced.as_ref()
    }

    /// Tells whether the address that BBB announces keeps the host out.
    pub(super) fn is_misannounced(&self) -> bool {
        self.decision().keeps_out()
    }

    fn decision(&self) -> Decision {
        decide(self.policy.addresses, self.announced())
    }

    /// Tells whether the host, which may take meetings, is taken out now, so that BBB tells its clients the right TURN
    /// servers.
    pub(super) fn is_to_be_repaired(&self, now: Moment) -> bool {
        let idle = self.work().is_some_and(|work| !work.may_meet(&self.policy.rules));
        let due = idle && self.out_due <= now && !self.is_spared_at(now);
        // BBB does not tell its meetings while it is restarted.
        self.waits_for_repair() && (due || self.calls.contains(&Call::Repair))
    }

    /// Tells whether the host takes meetings although something has to be set right.
    pub(super) fn waits_for_repair(&self) -> bool {
        self.decision() == Decision::RepairWhenIdle
    }

    /// Tells whether a host that joins for this may have an entry in Scalelite now. An entry that it has already is
    /// looked after whatever BBB announces: if it takes meetings, it has to be cordoned.
    pub(super) fn may_join(&self, aim: Aim) -> bool {
        match aim {
            Aim::Serve => self.decision() != Decision::LookFirst,
            Aim::Rest(_) | Aim::Keep => true,
        }
    }

    /// Tells whether a reason to cordon the host that an operator has overruled may still hold: after a restart of the
    /// service that is not known before the first look.
    pub(super) fn may_hold(&self, why: Rest) -> bool {
        why.needs_repair() && self.announced.is_none()
    }

    /// Returns when to look again, if anybody looks.
    pub(super) fn look_at(&self) -> Option<Moment> {
        let joins = matches!(self.state, State::Joining(_) | State::Serving(_) | State::Cordoned(_));
        (joins && self.policy.addresses != OnAddresses::Ignore).then_some(self.look_due)
    }

    /// Has the addresses looked at again where a host joins that was out: it may have been stopped meanwhile, or have
    /// got another address. One that was found wrong stays out until then.
    pub(super) fn look_anew(&mut self, now: Moment) {
        let registered = matches!(self.state, State::Joining(_) | State::Serving(_) | State::Cordoned(_));
        if registered {
            return;
        }
        if !self.is_misannounced() {
            self.announced = None;
        }
        self.look_due = now;
    }

    /// Takes in what BBB announces.
    pub(super) fn looked_at_addresses(&mut self, found: Announced, now: Moment) {
        self.announced = Some(found.after(self.announced.as_ref()));
        let decision = self.decision();
        // Another change does not wait for the last repair's pause.
        let repaired = !decision.keeps_out() && decision != Decision::RepairWhenIdle;
        if repaired {
            self.repair = Upkeep::at(now);
        }
        if decision != Decision::RepairWhenIdle {
            self.out_due = now;
        }
        self.wrong_since = (!repaired).then(|| self.wrong_since.unwrap_or(now));
        self.look_due = now + self.look_interval();
    }

    /// Returns when BBB's addresses are to be set right, if they may be: when meetings have been counted since the host
    /// gets no new ones, and none runs.
    pub(super) fn repair_at(&self) -> Option<Moment> {
        let due = match self.decision() {
            Decision::Repair => self.repair.due(),
            Decision::RepairWhenIdle => self.out_due,
            Decision::Join | Decision::LookFirst | Decision::StayOut => return None,
        };
        if self.policy.role == Role::Turn {
            // Relays at another address have ended with that.
            return Some(due);
        }
        let out_since = match &self.state {
            State::Joining(Joining { aim: Aim::Rest(why), absent_since, .. }) if why.needs_repair() => {
                *absent_since
            }
            State::Cordoned(Cordoned { cordon: Some(cordon), .. }) if cordon.is_settled(&self.policy) => {
                cordon.since()
            }
            // Nothing keeps people away from a host without Scalelite, but none of them can talk before the repair.
            State::Joining(_) | State::Serving(_) if !self.policy.scalelite => self.wrong_since,
            _ => None,
        };
        let (counted, work) = self.work.as_ref()?;
        let empty = out_since.is_some_and(|since| since < *counted) && !work.may_meet(&self.policy.rules);
        empty.then_some(due)
    }

    /// Takes in the end of a repair. What it has done is seen by a look.
    pub(super) fn repaired(&mut self, answer: Result<(), String>, now: Moment, chance: f64) {
        self.out_due = now + OUT_AGAIN;
        match answer {
            Ok(()) => self.repair.went_well(now + REPAIR_AGAIN),
            Err(words) => {
                self.repair.failed(Trouble { words, kind: TroubleKind::Lasting }, now, chance);
            }
        }
        self.look_due = now;
    }

    /// Returns the time until the next look. A host that waits for it looks as often as it counts.
    fn look_interval(&self) -> Duration {
        match self.state {
            State::Joining(_) => self.policy.count.min(self.policy.check_name),
            _ => self.policy.check_name,
        }
    }
}
