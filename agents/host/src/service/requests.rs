//! People who have ordered something by hand: what they are told, and when they have waited long enough.

use std::time::Duration;

use plan::lifecycle::{Hook, Job, Machine, Moment, Order, Refusal, State, TroubleKind, Unregistered};
use plan::work::{Rules, Work};
use tokio::time::Instant;

use super::metrics::Metrics;
use super::shared::Shared;
use crate::config::table::DRAIN_ORDER;
use crate::control::{
    Conversation, Counts, Details, HookFacts, RelayFacts, Request, ServiceState, WorkFacts,
};
use crate::report::Exit;
use crate::session::{Session, now as unix_now};

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Requests(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    conversation: Conversation,
    request: Request,
    /// When a BBB that is not there is no longer waited for.
    bbb: Instant,
    until: Instant,
    words: String,
    refused: Option<Refusal>,
    /// The jobs whose last try has failed in a way that will come again, with the exit code of the command alone.
    failed: Vec<(Job, Exit, String)>,
}

/// The end of a wait.
enum End {
    Well(String),
    Badly(Exit, String),
}

impl Requests {
    /// Takes a request: the order that it means, if it means one.
    pub(super) fn receive(
        &mut self,
        request: Request,
        conversation: Conversation,
        machine: &Machine,
        metrics: &Metrics,
        shared: &Shared,
        now: Moment,
    ) -> Option<Order> {
        let session = &shared.session;
        let timeouts = &session.settings.timeouts;
        let (order, patience) = match request {
            Request::Status => {
                conversation.service(standing(machine, metrics, shared, now));
                conversation.end(Exit::Done);
                return None;
            }
            Request::Register { only: Some(_), .. } | Request::Deregister { only: Some(_), .. } => {
                conversation.complaint(
                    "the service looks after the name and the entry together: run it without --only, or stop the service before",
                );
                conversation.end(Exit::Usage);
                return None;
            }
            Request::Register { .. } => (Order::Register, timeouts.register),
            Request::Deregister { .. } => (Order::Deregister, timeouts.deregister),
            Request::Drain { deadline, wait } => {
                // The command keeps to that; who else writes to the socket may not.
                let deadline = deadline.map(|seconds| Duration::from_secs(seconds.min(DRAIN_ORDER.most)));
                let drain =
                    if wait { deadline.unwrap_or(session.settings.drain.deadline) } else { Duration::ZERO };
                (Order::Drain(deadline), drain + timeouts.deregister)
            }
        };
        let begun = Instant::now();
        let (bbb, until) = (begun + timeouts.bbb, begun + patience);
        let (words, refused, failed) = (String::new(), None, Vec::new());
        self.0.push(Waiting { conversation, request, bbb, until, words, refused, failed });
        Some(order)
    }

    /// The last order cannot be obeyed.
    pub(super) fn refuse(&mut self, why: Refusal) {
        if let Some(last) = self.0.last_mut() {
            last.refused = Some(why);
        }
    }

    /// Notes the end of a job: a failure that will come again, or anything else, which makes a former one good. Nobody
    /// has to wait for such a failure until the time is over, and the service tries again all the same.
    pub(super) fn ended(&mut self, job: Job, failure: Option<(Exit, &str)>) {
        for waiting in self.0.iter_mut().filter(|waiting| waiting.needs(job)) {
            waiting.failed.retain(|(former, ..)| *former != job);
            waiting.failed.extend(failure.map(|(exit, words)| (job, exit, words.to_owned())));
        }
    }

    /// Something was done that everybody wants to read.
    pub(super) fn line(&self, line: &str) {
        for waiting in &self.0 {
            waiting.conversation.line(line);
        }
    }

    /// Returns the next time at which a person has waited long enough.
    pub(super) fn wake(&self) -> Option<Instant> {
        let now = Instant::now();
        self.0.iter().flat_map(|waiting| [waiting.bbb, waiting.until]).filter(|time| *time > now).min()
    }

    /// Ends the conversations of those who have what they wait for, or have waited long enough.
    pub(super) fn settle(&mut self, machine: &Machine, session: &Session, now: Moment) {
        let words = machine.words(now);
        let waiting = std::mem::take(&mut self.0);
        for mut waiting in waiting {
            if waiting.conversation.is_gone() {
                continue;
            }
            match waiting.end(machine, &words) {
                Some(End::Well(words)) => {
                    waiting.conversation.line(format_args!("{}: {words}", session.agent.name));
                    waiting.conversation.end(Exit::Done);
                }
                Some(End::Badly(exit, words)) => {
                    waiting.conversation.complaint(words);
                    waiting.conversation.end(exit);
                }
                None => {
                    if waiting.words != words {
                        waiting.conversation.progress(&words);
                        waiting.words.clone_from(&words);
                    }
                    self.0.push(waiting);
                }
            }
        }
    }

    /// The service ends.
    pub(super) fn close(self) {
        for waiting in self.0 {
            waiting.conversation.complaint("the service has been stopped meanwhile");
            waiting.conversation.end(Exit::TryAgain);
        }
    }
}

impl Waiting {
    fn end(&self, machine: &Machine, words: &str) -> Option<End> {
        if let Some(why) = self.refused {
            let exit = if why.passes() { Exit::TryAgain } else { Exit::Refused };
            return Some(End::Badly(exit, format!("{}: {why}", self.request.name())));
        }
        // People who still wait are told when the service has done what its stop demands.
        if matches!(machine.state(), State::Stopping(_) | State::Ended) {
            return None;
        }
        let over = self.until <= Instant::now();
        let end = match self.request {
            Request::Register { .. } => self.registered(machine, words, over),
            Request::Deregister { .. } => out(machine, words),
            Request::Drain { wait, .. } => drained(machine, words, wait),
            Request::Status => None,
        };
        let end = end.or_else(|| self.given_up(machine));
        end.or_else(|| over.then(|| End::Badly(Exit::TryAgain, format!("the service goes on: {words}"))))
    }

    /// Tells whether the order needs this job.
    fn needs(&self, job: Job) -> bool {
        match self.request {
            Request::Register { .. } => matches!(job, Job::Name | Job::Join(_) | Job::Keep),
            Request::Deregister { .. } => job == Job::Leave,
            Request::Drain { .. } => matches!(job, Job::Cordon | Job::Recordon | Job::Unname | Job::Leave),
            Request::Status => false,
        }
    }

    /// Returns the end of the wait when its order has failed for good.
    fn given_up(&self, machine: &Machine) -> Option<End> {
        let (_, exit, words) = self.failed.last()?;
        let exit = match machine.state() {
            // As after `register` alone: the host has its name, and what stops it has something to undo.
            State::Joining(joining) if joining.named && *exit != Exit::Refused => Exit::Partly,
            State::Joining(_) | State::Leaving(_) => *exit,
            State::Draining(drain) if drain.cordon.since().is_none() => *exit,
            _ => return None,
        };
        Some(End::Badly(exit, format!("{words}; the service goes on")))
    }

    fn registered(&self, machine: &Machine, words: &str, over: bool) -> Option<End> {
        match machine.state() {
            State::Serving(_) | State::Cordoned(_) => Some(End::Well(words.to_owned())),
            State::Joining(joining) => {
                let trouble = joining.care.entry.trouble().filter(|_| joining.named);
                let no_bbb = trouble.is_some_and(|trouble| trouble.kind == TroubleKind::Waiting);
                match (no_bbb && self.bbb <= Instant::now(), over && joining.named) {
                    (true, _) => {
                        Some(End::Badly(Exit::WaitingForBbb, format!("{words}; the service goes on")))
                    }
                    (false, true) => Some(End::Badly(Exit::Partly, format!("{words}; the service goes on"))),
                    (false, false) => None,
                }
            }
            State::Starting => None,
            _ => Some(End::Badly(Exit::Failed, format!("something else came between: {words}"))),
        }
    }
}

fn out(machine: &Machine, words: &str) -> Option<End> {
    match machine.state() {
        State::Unregistered(Unregistered { trouble: Some(_), .. }) => {
            Some(End::Badly(Exit::TryAgain, words.to_owned()))
        }
        State::Unregistered(_) => Some(End::Well(words.to_owned())),
        State::Leaving(_) => None,
        _ => Some(End::Badly(Exit::Failed, format!("something else came between: {words}"))),
    }
}

fn drained(machine: &Machine, words: &str, wait: bool) -> Option<End> {
    match machine.state() {
        State::Draining(drain) => {
            let begun = drain.cordon.since().is_some() || !machine.is_cordoned_first();
            (!wait && begun).then(|| End::Well(words.to_owned()))
        }
        State::Leaving(_) if wait => None,
        State::Leaving(_) => Some(End::Well(words.to_owned())),
        _ => out(machine, words),
    }
}

/// Returns the service's state for `status`.
fn standing(machine: &Machine, metrics: &Metrics, shared: &Shared, now: Moment) -> ServiceState {
    let settings = &shared.session.settings;
    let before = |moment: Moment| unix_now().saturating_sub(now.saturating_sub(moment).as_secs());
    let deadline = match machine.state() {
        State::Draining(drain) => Some(unix_now() + drain.deadline.saturating_sub(now).as_secs()),
        _ => None,
    };
    let rules = &settings.drain.rules;
    // A TURN host has no meetings and recordings, and a BBB host's relays serve its meetings.
    let meets = settings.bbb.is_some();
    let work = machine.work().filter(|_| meets);
    let relays = machine.work().filter(|_| !meets).and_then(RelayFacts::of);
    let hook = |hook: &Hook| HookFacts {
        name: hook.name.clone(),
        heartbeat_timeout: hook.heartbeat_timeout.as_secs(),
        ceiling: hook.ceiling.as_secs(),
        own: hook.own,
    };
    let details = Details {
        deadline,
        hooks: machine.hooks().map(|hooks| hooks.iter().map(hook).collect()),
        work: work.map(|work| counts(work, rules)),
        facts: work.map(|work| WorkFacts::of(work, rules)),
        relays,
        certificate: shared.certificate.borrow().clone(),
        metrics: metrics.report(),
    };
    ServiceState {
        state: machine.state().name().to_owned(),
        words: machine.words(now),
        since: before(machine.since()),
        more: details.into(),
    }
}

fn counts(work: &Work, rules: &Rules) -> Counts {
    let whole = work.meetings.unlisted.is_none();
    let waits = work.waits(rules);
    let known = work.recordings.unlisted.is_none() && work.recordings.jobs.known().is_some();
    let recordings: usize = waits.recordings.values().sum();
    let jobs = usize::try_from(waits.jobs).unwrap_or(usize::MAX);
    Counts {
        meetings: whole.then(|| work.meetings.own().count()),
        recordings: (known || !rules.recordings).then(|| recordings.saturating_add(jobs)),
    }
}
