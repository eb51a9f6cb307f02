//! The lifecycle hooks of the group: heartbeats for all that hold this instance, and the end of those that this agent
//! completes.
//!
//! An instance that ends stays until each of its group's termination hooks is done; one that runs out may end the
//! others' wait, too, as its default result says (facts/aws.md). So each gets its heartbeats, and the drain ends before
//! the first of them reaches its longest time.

use std::time::Duration;

use super::machine::{Hold, Machine};
use super::state::{Leaving, Polled, Serving, State, Unregistered};
use super::upkeep::Upkeep;
use super::{Call, Cause, HookResult, Intent, Moment, Target, Trouble, TroubleKind};

/// The shortest time between two heartbeats, whatever timeout a hook is said to have.
const SHORTEST_BEAT: Duration = Duration::from_secs(1);
/// The interval at which the group is asked for its hooks, so that `status` shows them: when the group ends an instance
/// it is asked anew...
const LISTS: Duration = Duration::from_secs(4 * 3600);
/// ... and while hooks hold the instance: another one may have been added...
const LISTS_HELD: Duration = Duration::from_secs(900);
/// ... or the first one.
const LISTS_BARE: Duration = Duration::from_secs(60);

/// A termination hook of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// How long the hook holds the instance without a heartbeat.
    pub heartbeat_timeout: Duration,
    /// How long the hook holds the instance at most.
    pub ceiling: Duration,
    /// Whether this agent completes it.
    pub own: bool,
}

/// The hooks of the instance's group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// All termination hooks.
    pub terminating: Vec<Hook>,
    /// The heartbeat timeout of the launch hook that the settings name, if the group has it.
    pub launching: Option<Duration>,
}

/// The rules for a launch hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launching {
    /// How long after the boot the host may take until it serves.
    pub limit: Duration,
    /// How the launch is completed then.
    pub at_limit: HookResult,
}

/// The knowledge of the group's hooks, and what they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    known: Option<Hooks>,
    /// Whether that was heard since the group has begun to hold the instance.
    fresh: bool,
    /// The question for them.
    asks: Upkeep,
    /// The launch that a hook may hold.
    launch: Launch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Launch {
    since: Moment,
    beat: Upkeep,
    complete: Upkeep,
    done: bool,
}

impl Launch {
    fn at(since: Moment) -> Self {
        Self { since, beat: Upkeep::at(since), complete: Upkeep::at(since), done: false }
    }
}

impl Group {
    pub(super) fn new() -> Self {
        Self { known: None, fresh: false, asks: Upkeep::at(Moment::ZERO), launch: Launch::at(Moment::ZERO) }
    }

    /// Returns the hooks, as far as the group has told them.
    pub(super) fn known(&self) -> Option<&Hooks> {
        self.known.as_ref()
    }

    /// Asks again soon: what is known may not hold any more.
    pub(super) fn ask_again(&mut self, now: Moment) {
        self.fresh = false;
        self.asks.hurry(now);
    }

    fn terminating(&self) -> &[Hook] {
        self.known.as_ref().map_or(&[], |hooks| &hooks.terminating)
    }

    /// Tells whether an action of this instance is left for this agent to complete; `None` while that is not known.
    pub(super) fn is_ours(&self) -> Option<bool> {
        let ours = self.terminating().iter().any(|hook| hook.own);
        (ours || self.fresh).then_some(ours)
    }
}

impl Machine {
    /// Returns the termination hooks of the group, as far as they are known.
    pub fn hooks(&self) -> Option<&[Hook]> {
        self.group.known().map(|hooks| hooks.terminating.as_slice())
    }

    /// Takes in a word of the metadata service that may begin another launch, or another membership.
    pub(super) fn regrouped(&mut self, former: Option<Intent>, intent: Intent, now: Moment) {
        if former.is_some_and(|former| former.grouped != intent.grouped) {
            self.group.known = None;
            self.group.ask_again(now);
        }
        if former.is_some_and(|former| former.target == Target::Warm) && intent.target != Target::Warm {
            self.group.launch = Launch::at(now);
        }
    }

    /// Takes in the group's hooks.
    pub(super) fn hooked(&mut self, answer: Result<Hooks, String>, now: Moment, chance: f64) {
        let held = self.hold.is_some();
        match answer {
            Ok(hooks) => {
                let next = match (held, hooks.terminating.is_empty()) {
                    (true, true) => LISTS_BARE,
                    (true, false) => LISTS_HELD,
                    // Hosts that have asked together do not do so again.
                    (false, _) => LISTS.mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0),
                };
                if let Some(hold) = self.hold.as_mut().filter(|_| self.group.known.as_ref() != Some(&hooks)) {
                    hold.part.hurry(now);
                }
                self.group.known = Some(hooks);
                self.group.fresh = true;
                self.group.asks.went_well(now + next);
                self.bound_by_hooks();
            }
            Err(words) => {
                let kind = if held { TroubleKind::Passing } else { TroubleKind::Lasting };
                self.group.asks.failed(Trouble { words, kind }, now, chance);
            }
        }
    }

    /// Returns the longest time for which the hooks hold an instance.
    pub(super) fn ceiling(&self) -> Option<Duration> {
        self.group.terminating().iter().map(|hook| hook.ceiling).min()
    }

    /// Returns the calls to the group that are due now because of its hooks.
    pub(super) fn due_for_hooks(&self, now: Moment) -> Vec<Call> {
        let mut calls = Vec::new();
        if self.asks_for_hooks() && self.group.asks.is_due(now) {
            calls.push(Call::Hook);
        }
        let beats = self.hold.as_ref().is_some_and(|hold| hold.part.is_due(now));
        // When the host has left, there is no more reason to hold the instance: if the agent may not complete the
        // lifecycle action, the action expires.
        if beats && !self.group.terminating().is_empty() && !self.has_left() {
            calls.push(Call::Heartbeat);
        }
        calls.extend(self.due_completion(now));
        calls.extend(self.due_launch(now));
        calls
    }

    fn asks_for_hooks(&self) -> bool {
        let grouped = self.intent.is_some_and(|intent| intent.grouped);
        let needs = match &self.state {
            State::Starting | State::Stopping(_) | State::Ended => false,
            // Only a launch into the warm pool may still be held.
            State::Unregistered(out) => {
                self.policy.launch.is_some() && matches!(out.cause, None | Some(Cause::WarmPool))
            }
            _ => true,
        };
        needs && (grouped || self.hold.is_some())
    }

    fn has_left(&self) -> bool {
        matches!(&self.state, State::Leaving(Leaving { left: Some(left), .. }) if left.recordings_until.is_none())
    }

    fn due_completion(&self, now: Moment) -> Option<Call> {
        let State::Leaving(leaving) = &self.state else { return None };
        let held = self.hold.is_some() && self.group.is_ours() == Some(true);
        let verdict = if leaving.forced { self.policy.at_deadline } else { HookResult::Continue };
        (held && self.has_left() && leaving.complete.is_due(now)).then_some(Call::Complete(verdict))
    }

    /// Returns the interval between two heartbeats for these timeouts.
    fn interval(timeouts: impl Iterator<Item = Duration>) -> Option<Duration> {
        timeouts.min().map(|timeout| (timeout / 3).max(SHORTEST_BEAT))
    }

    /// Takes in the answer to the heartbeats.
    pub(super) fn beaten(&mut self, answer: Result<(), String>, now: Moment, chance: f64) {
        let timeouts = self.group.terminating().iter().map(|hook| hook.heartbeat_timeout);
        let Some(interval) = Self::interval(timeouts) else { return };
        if let Some(Hold { part, .. }) = &mut self.hold {
            match answer {
                Ok(()) => part.went_well(now + interval),
                Err(words) => part.failed(Trouble { words, kind: TroubleKind::Passing }, now, chance),
            }
        }
    }

    // ---- the launch

    /// Returns the launch hook's timeout while it may hold the instance.
    fn launching(&self) -> Option<Duration> {
        let held = self.intent.is_some_and(|intent| intent.grouped && intent.target != Target::Terminate);
        let launching = self.group.known().and_then(|hooks| hooks.launching);
        launching.filter(|_| self.policy.launch.is_some() && held && !self.group.launch.done)
    }

    /// Returns how the launch ends, if it does now.
    fn verdict(&self, now: Moment) -> Option<HookResult> {
        let rules = self.policy.launch?;
        match &self.state {
            State::Serving(Serving { polled: Polled::Reached, .. }) => Some(HookResult::Continue),
            // A host in the warm pool is not meant to serve.
            State::Unregistered(Unregistered { cause: None | Some(Cause::WarmPool), .. }) => {
                Some(HookResult::Continue)
            }
            State::Joining(_) | State::Serving(_) | State::Cordoned(_) => {
                (self.group.launch.since + rules.limit <= now).then_some(rules.at_limit)
            }
            _ => None,
        }
    }

    fn due_launch(&self, now: Moment) -> Option<Call> {
        self.launching()?;
        match self.verdict(now) {
            Some(verdict) => self.group.launch.complete.is_due(now).then_some(Call::Launched(verdict)),
            None => {
                let waits = matches!(self.state, State::Joining(_) | State::Serving(_) | State::Cordoned(_));
                (waits && self.group.launch.beat.is_due(now)).then_some(Call::LaunchHeartbeat)
            }
        }
    }

    /// Takes in the answer to a call about the launch.
    pub(super) fn launched(&mut self, call: Call, answer: Result<(), String>, now: Moment, chance: f64) {
        let interval = Self::interval(self.launching().into_iter());
        let launch = &mut self.group.launch;
        let trouble = |words| Trouble { words, kind: TroubleKind::Passing };
        match (call, answer) {
            (Call::Launched(_), Ok(())) => launch.done = true,
            (Call::Launched(_), Err(words)) => launch.complete.failed(trouble(words), now, chance),
            (_, Ok(())) => launch.beat.went_well(now + interval.unwrap_or(LISTS_BARE)),
            (_, Err(words)) => launch.beat.failed(trouble(words), now, chance),
        }
    }

    /// Returns when something is due next because of the hooks.
    pub(super) fn wake_for_hooks(&self) -> Vec<Moment> {
        let asks = self.asks_for_hooks().then(|| self.group.asks.due());
        let beat = self.hold.as_ref().map(|hold| hold.part.due());
        let launch = self.launching().is_some().then(|| {
            let limit = self.policy.launch.map_or(Moment::MAX, |rules| self.group.launch.since + rules.limit);
            [self.group.launch.beat.due(), self.group.launch.complete.due(), limit]
        });
        asks.into_iter().chain(beat).chain(launch.into_iter().flatten()).collect()
    }
}
