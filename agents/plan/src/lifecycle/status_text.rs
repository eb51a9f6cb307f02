//! One-line descriptions of what the service does and waits for, for systemd's status line and for `status`.

use super::machine::Machine;
use super::state::{Aim, Care, Cordoned, Leaving, Polled, Serving, State, Stopping, Undoing, Unregistered};
use super::{Call, Cause, Drain, Moment, Policy, Rest, StopCause, Upkeep};
use crate::addresses::OnAddresses;
use crate::instance::Role;
use crate::time::duration;
use crate::work::Work;

impl Machine {
    /// Describes in one line what the service does and what it waits for.
    pub fn words(&self, now: Moment) -> String {
        let words = match &self.state {
            State::Starting => "waiting for the instance metadata service".to_owned(),
            State::Joining(state) if !state.named => with("registering the name", &state.care.name, now),
            State::Joining(state) => {
                let words = match state.aim {
                    Aim::Serve if self.policy.scalelite && !self.may_join(state.aim) => {
                        "finding out which address BBB announces".to_owned()
                    }
                    Aim::Serve | Aim::Keep => "joining Scalelite".to_owned(),
                    Aim::Rest(why) if why.needs_repair() => {
                        format!("not joining Scalelite: {}", self.reason(why))
                    }
                    Aim::Rest(why) => format!("joining Scalelite, cordoned: {}", self.reason(why)),
                };
                with(&format!("the name is registered; {words}"), &state.care.entry, now)
            }
            // There is no pool from which such a host could stay away.
            State::Serving(state)
                if self.waits_for_repair() || !self.policy.scalelite && self.is_misannounced() =>
            {
                format!("{}; {}", serving(state, &self.policy, now), self.reason(Rest::Announced))
            }
            State::Serving(state) => serving(state, &self.policy, now),
            State::Cordoned(state) => cordoned(state, &self.reason(state.why), now),
            State::Draining(drain) => draining(drain, &self.policy, self.work(), now),
            State::Leaving(state) => leaving(state, &self.policy, self.work(), now),
            State::Unregistered(out) => out_of(out),
            State::Stopping(state) => stopping(state, now),
            State::Ended => "ended".to_owned(),
        };
        match self.protection.trouble().filter(|_| self.protects().is_some()) {
            Some(trouble) => format!("{words}; scale-in protection: {}", trouble.words),
            None => words,
        }
    }

    /// Describes why a host takes no new meetings.
    fn reason(&self, why: Rest) -> String {
        match why {
            Rest::Somebody(state) => format!("an operator has {state} its entry in Scalelite"),
            Rest::Standby => "its Auto Scaling group has it in standby".to_owned(),
            Rest::Rebalance => "EC2 recommends replacing this instance".to_owned(),
            Rest::Maintenance => "EC2 will maintain this instance".to_owned(),
            Rest::Address => "this host has no address to register".to_owned(),
            Rest::Announced | Rest::Turn => {
                let words = self.announced.as_ref().map(ToString::to_string);
                let words =
                    words.unwrap_or_else(|| "BBB announces another address than this host's".to_owned());
                format!("{words}; {}", self.repair_words())
            }
        }
    }

    /// Describes what is done about an address that BBB announces wrongly.
    fn repair_words(&self) -> String {
        if self.policy.addresses != OnAddresses::Repair && !self.waits_for_repair() {
            return match self.policy.role {
                Role::Bbb => "set it right, or set bbb.addresses to \"repair\" or \"ignore\"",
                Role::Turn => "set it right, or set turn.addresses to \"repair\" or \"ignore\"",
            }
            .to_owned();
        }
        match self.repair.trouble() {
            _ if self.calls.contains(&Call::Repair) => "setting it right now".to_owned(),
            Some(trouble) => format!("setting it right has failed: {}; it is tried again", trouble.words),
            None if self.is_spared() => "setting it right waits until another host takes meetings".to_owned(),
            None if self.repair_at().is_some() => "setting it right soon".to_owned(),
            None => match self.work() {
                Some(work) if work.may_meet(&self.policy.rules) => {
                    format!("setting it right waits for {}", work.waits(&self.policy.rules))
                }
                _ => "setting it right waits for a count of the meetings".to_owned(),
            },
        }
    }
}

fn with(words: &str, part: &Upkeep, now: Moment) -> String {
    match (part.trouble(), part.turn(now)) {
        (Some(trouble), Some(wait)) => format!("{words}: {}; next try in {}", trouble.words, duration(wait)),
        (Some(trouble), None) => format!("{words}: {}", trouble.words),
        (None, _) => words.to_owned(),
    }
}

fn serving(state: &Serving, policy: &Policy, now: Moment) -> String {
    let care = troubled(&state.care);
    let words = match state.polled {
        Polled::Reached => "registered".to_owned(),
        Polled::Awaited(_) => {
            format!("registered; waiting for a poll of Scalelite's (every {})", duration(policy.poll))
        }
        Polled::Offline(_) => format!(
            "offline: the entry is enabled, but three polls of Scalelite's in a row have not reached this host, so no \
             meeting is placed here; {}",
            crate::health::UNREACHED
        ),
    };
    with(&words, care, now)
}

/// Returns the upkeep that does not succeed, the name's first.
fn troubled(care: &Care) -> &Upkeep {
    if care.name.trouble().is_some() { &care.name } else { &care.entry }
}

fn cordoned(state: &Cordoned, why: &str, now: Moment) -> String {
    let care = troubled(&state.care);
    let Some(cordon) = &state.cordon else {
        let words = format!("registered, but {why}; enable it there, or call register");
        return with(&words, care, now);
    };
    match (cordon.since(), cordon.trouble()) {
        (None, Some(trouble)) => format!("cordoning: {why}; not cordoned yet: {}", trouble.words),
        (None, None) => format!("cordoning: {why}"),
        (Some(_), Some(trouble)) => {
            format!(
                "registered, but cordoned: {why}; Scalelite still places meetings here: {}",
                trouble.words
            )
        }
        (Some(_), None) if state.why == Rest::Address => with(&format!("cordoned: {why}"), care, now),
        (Some(_), None) => with(&format!("registered, but cordoned: {why}"), care, now),
    }
}

/// Describes why a host is drained or out.
fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Hand => "by hand",
        Cause::Group => "its Auto Scaling group ends this host",
        Cause::WarmPool => "its Auto Scaling group puts this host into the warm pool",
        Cause::Spot => "EC2 takes this spot instance back",
    }
}

fn draining(drain: &Drain, policy: &Policy, work: Option<&Work>, now: Moment) -> String {
    let left = duration(drain.deadline.saturating_sub(now));
    let waits = match work {
        None if policy.role == Role::Turn => "counting relays".to_owned(),
        None => "counting meetings and recordings".to_owned(),
        Some(work) => waiting(work, policy),
    };
    let words = format!("draining ({}): {waits}; at most {left} more", because(drain.cause));
    match (drain.cordon.trouble(), drain.care.name.trouble()) {
        (Some(trouble), _) if policy.role == Role::Turn => {
            format!("{words}; the name is not given up yet: {}", trouble.words)
        }
        (Some(trouble), _) => format!("{words}; not cordoned yet: {}", trouble.words),
        (None, Some(trouble)) => format!("{words}; {}", trouble.words),
        (None, None) => words,
    }
}

/// Describes what is waited for, and what is not.
fn waiting(work: &Work, policy: &Policy) -> String {
    let (waits, reported) = (work.waits(&policy.rules), work.reported(&policy.rules));
    let waits = format!("waiting for {waits}");
    if reported.is_nothing() { waits } else { format!("{waits}, not for {reported}") }
}

fn leaving(state: &Leaving, policy: &Policy, work: Option<&Work>, now: Moment) -> String {
    let mut words = format!("leaving ({})", because(state.cause));
    let Some(left) = &state.left else {
        if state.forced {
            let waits = work.map(|work| work.waits(&policy.rules).to_string());
            let waits = waits.unwrap_or_else(|| "work that was not counted".to_owned());
            words = format!("{words}, as its time is over, with {waits}");
        }
        return with(&words, &state.part, now);
    };
    if state.forced {
        words = format!("{words}, as its time is over");
    }
    match left.recordings_until {
        Some(until) => {
            let waits = work.map_or_else(|| "counting recordings".to_owned(), |work| waiting(work, policy));
            let left = duration(until.saturating_sub(now));
            format!("{words}; its meetings have ended, {waits}; at most {left} more")
        }
        None => with(&format!("{words}: completing the lifecycle action"), &state.complete, now),
    }
}

fn out_of(out: &Unregistered) -> String {
    let words = match out.cause {
        None => "not registered: this host is in the warm pool".to_owned(),
        Some(Cause::Hand) => "not registered: taken out by hand; register brings it back".to_owned(),
        Some(cause) => format!("not registered: {}", because(cause)),
    };
    match &out.trouble {
        Some(trouble) => format!("{words}; not everything could be undone: {trouble}"),
        None => words,
    }
}

fn stopping(state: &Stopping, now: Moment) -> String {
    let why = match state.cause {
        StopCause::Restart => "the service is restarted",
        StopCause::Reboot => "the host reboots",
        StopCause::PowerOff => "the host powers off",
        StopCause::Stop => "the service is stopped",
        StopCause::Unknown => "nobody says why: the name is kept, and the entry is only cordoned",
    };
    match &state.undoing {
        Undoing::Job(_, part) => with(&format!("stopping ({why})"), part, now),
        Undoing::Cordon(cordon) => match cordon.trouble() {
            Some(trouble) => format!("stopping ({why}): not cordoned yet: {}", trouble.words),
            None if cordon.since().is_none() => format!("stopping ({why})"),
            None => {
                format!("stopping ({why}): cordoned; waiting for a poll of Scalelite's, which may undo that")
            }
        },
        Undoing::Nothing => format!("stopping ({why})"),
    }
}
