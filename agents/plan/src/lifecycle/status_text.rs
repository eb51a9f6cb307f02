//! One-line descriptions of what the service does and waits for, for systemd's status line and for `status`.

use std::time::Duration;

use super::machine::Machine;
use super::state::{Leaving, State, Stopping, Unregistered};
use super::{Cause, Drain, Moment, Rest, StopCause, Upkeep, Work};

impl Machine {
    /// Describes in one line what the service does and what it waits for.
    pub fn words(&self, now: Moment) -> String {
        let words = match &self.state {
            State::Starting => "waiting for the instance metadata service".to_owned(),
            State::Joining(state) if !state.named => with("registering the name", &state.care.name, now),
            State::Joining(state) => {
                with("the name is registered; joining Scalelite", &state.care.entry, now)
            }
            State::Serving(state) => {
                let care =
                    if state.care.name.trouble().is_some() { &state.care.name } else { &state.care.entry };
                with("registered", care, now)
            }
            State::Cordoned(state) => with(&resting(state.why, state.cordon), &state.care.entry, now),
            State::Draining(drain) => draining(drain, self.work.as_ref(), now),
            State::Leaving(state) => leaving(state, self.work.as_ref(), now),
            State::Unregistered(out) => out_of(out),
            State::Stopping(state) => stopping(state, now),
            State::Ended => "ended".to_owned(),
        };
        match self.protection.trouble().filter(|_| self.protects().is_some()) {
            Some(trouble) => format!("{words}; scale-in protection: {}", trouble.words),
            None => words,
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

fn resting(why: Rest, cordon: bool) -> String {
    let why = match why {
        Rest::Somebody(state) => {
            return format!(
                "registered, but somebody has it {state} in Scalelite: it stays so until it is enabled there, or register is called"
            );
        }
        Rest::Standby => "its Auto Scaling group has it in standby",
        Rest::Rebalance => "EC2 recommends to replace this instance",
        Rest::Maintenance => "EC2 will maintain this instance",
    };
    let state = if cordon { "cordoning" } else { "registered, but cordoned" };
    format!("{state}: {why}")
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

fn draining(drain: &Drain, work: Option<&Work>, now: Moment) -> String {
    let left = duration(drain.deadline.saturating_sub(now));
    let waits = work
        .map_or_else(|| "counting what goes on".to_owned(), |work| format!("waiting for {}", going_on(work)));
    let words = format!("draining ({}): {waits}; at most {left} more", because(drain.cause));
    match drain.cordon.trouble() {
        Some(trouble) => format!("{words}; not cordoned yet: {}", trouble.words),
        None => words,
    }
}

/// Describes the meetings and recordings of a count.
fn going_on(work: &Work) -> String {
    let meetings = match work.meetings.as_ref().map(|ids| ids.len()) {
        None => "meetings that cannot be counted".to_owned(),
        Some(1) => "1 meeting".to_owned(),
        Some(count) => format!("{count} meetings"),
    };
    let recordings = match work.recordings {
        None => "recordings that cannot be seen".to_owned(),
        Some(1) => "1 recording".to_owned(),
        Some(count) => format!("{count} recordings"),
    };
    let words = format!("{meetings} and {recordings}");
    work.remark.as_ref().map_or(words.clone(), |remark| format!("{words} ({remark})"))
}

fn leaving(state: &Leaving, work: Option<&Work>, now: Moment) -> String {
    let mut words = format!("leaving ({})", because(state.cause));
    if state.forced {
        let left = work.map_or_else(|| "nobody knows what".to_owned(), going_on);
        words = format!("{words}, as its time is over, with {left}");
    }
    match &state.left {
        None => with(&words, &state.part, now),
        Some(_) => with(&format!("{words}: completing the lifecycle action"), &state.complete, now),
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
    };
    with(&format!("stopping ({why})"), &state.part, now)
}

/// Formats a time as `2 h 5 min`, `5 min` or `40 s`.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}
