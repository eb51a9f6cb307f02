//! Makes the state machine's calls: counting, and what the Auto Scaling group has to be asked or told.

use std::collections::BTreeSet;
use std::time::Duration;

use plan::addresses::Announced;
use plan::backoff::Place;
use plan::health::Part;
use plan::instance::Role;
use plan::lifecycle::{Call, Event, HookResult, Hooks, Order};
use plan::recordings::Recordings;
use plan::relay;
use plan::work::{Meetings, Work};
use tokio::time::timeout;
use tracing::{info, warn};

use super::shared::Shared;
use super::troubles::Failing;
use crate::execute::{Executor, Outcome};
use crate::hooks;
use crate::identity::Host;
use crate::report::Failure;
use crate::work;
use clients::aws::autoscaling::{AutoScaling, Membership};
use clients::bbb::addresses::repairer;
use clients::bbb::{Installation, NotReady};
use clients::untrusted::visible_line;

/// The longest time for one call.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who speaks in a meeting.
const SPEAKER: &str = "System";

/// Makes one call, and returns the events that come of it. A count that finds BBB's settings changed since the entry
/// was last looked after also orders a look at everything.
pub(super) async fn make(shared: &Shared, call: Call) -> Vec<Event> {
    match call {
        Call::Count => {
            let (events, ()) = tokio::join!(count(shared), watch_coturn(shared));
            events
        }
        Call::Addresses => vec![Event::Announced(addresses(shared).await)],
        Call::Repair => vec![Event::Called(call, repair(shared).await)],
        Call::Group => {
            let answer = bounded(membership(shared)).await;
            note(shared, "asking the Auto Scaling group", "group", &answer, |why| {
                format!("the group cannot be asked about this instance: {why}")
            });
            vec![Event::Grouped(answer.map(|found| found.map(|membership| membership.protected)))]
        }
        Call::Closing => {
            let answer = bounded(is_closing(shared)).await;
            note(shared, "asking what becomes of the Auto Scaling group", "closing", &answer, |why| {
                format!("the group cannot be asked whether it is being deleted: {why}")
            });
            if answer == Ok(true) && shared.troubles.is_new("closing", "the group is being deleted") {
                info!(
                    action = "closing",
                    "the group is being deleted, or may have no instances any more: no host of it stays protected from scale-in"
                );
            }
            vec![Event::Closing(answer)]
        }
        Call::Hook => {
            let answer = bounded(hooks(shared)).await;
            note(shared, "listing the lifecycle hooks", "hook", &answer, |why| {
                format!("the group's lifecycle hooks cannot be listed: {why}")
            });
            vec![Event::Hooked(answer)]
        }
        call => {
            let answer = match call {
                // Every meeting is a call of its own.
                Call::Announce(_) => change(shared, call).await,
                _ => bounded(change(shared, call)).await,
            };
            let action = action(call);
            if answer.is_ok() {
                shared.announced.done(action);
            }
            note(shared, action, action, &answer, |why| format!("{action}: {why}; it is tried again"));
            vec![Event::Called(call, answer)]
        }
    }
}

/// Has the log told whether a call has gone well.
fn note<T>(
    shared: &Shared,
    part: &'static str,
    action: &str,
    answer: &Result<T, String>,
    line: impl FnOnce(&str) -> String,
) {
    let result = answer.as_ref().map(drop).map_err(|why| Failing::new(why, line(why)));
    shared.troubles.take(part, action, None, result);
}

pub(super) async fn bounded<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// A call as people name it.
fn action(call: Call) -> &'static str {
    match call {
        Call::Count => "count",
        Call::Addresses => "addresses",
        Call::Repair => "repair",
        Call::Group => "group",
        Call::Closing => "closing",
        Call::Hook => "hook",
        Call::Heartbeat => "heartbeat",
        Call::Complete(_) => "complete",
        Call::Protect(_) => "protect",
        Call::Announce(_) => "announce",
        Call::LaunchHeartbeat => "launch-heartbeat",
        Call::Launched(_) => "launched",
        Call::Unhealthy => "unhealthy",
    }
}

fn headline(failure: &Failure) -> String {
    failure.headline()
}

// ---- counting

async fn count(shared: &Shared) -> Vec<Event> {
    let (work, installation) = tally(shared).await;
    let changed = installation.is_some_and(|installation| shared.is_changed(&installation));
    let counted = Event::Counted(work);
    if !changed {
        return vec![counted];
    }
    info!(action = "check", "BBB's settings on this host have changed: looking at everything again");
    vec![counted, Event::Ordered(Order::Check)]
}

/// Counts the work on the host, and leaves it for the metrics; also returns BBB's settings, where they could be read.
pub(super) async fn tally(shared: &Shared) -> (Work, Option<Installation>) {
    let host = match shared.host() {
        Ok(host) => host,
        Err(failure) => return (unknown(headline(&failure)), None),
    };
    let local = shared.installation(host).await;
    let work = work::count(&shared.session, host, local.as_ref(), shared.has_joined()).await;
    shared.counted(work.clone());
    let installation = match local {
        Some(Ok(installation)) => Some(installation),
        Some(Err(NotReady::OtherHost { installation, .. })) => Some(*installation),
        Some(Err(_)) | None => None,
    };
    (work, installation)
}

fn unknown(why: String) -> Work {
    Work { meetings: Meetings::unknown(why.clone()), recordings: Recordings::unknown(why), relays: None }
}

// ---- the coturn of a BBB host

/// Has the log told whether coturn on a BBB host does what it should. On a TURN host the look at the name does that.
async fn watch_coturn(shared: &Shared) {
    let session = &shared.session;
    if session.agent.role != Role::Bbb {
        return;
    }
    let Some(address) = shared.host().ok().and_then(|host| session.coturn(host)) else { return };
    let answer = session.relay(address).await;
    let words = match relay::part(&answer, session.agent.role, address) {
        Part::NotUsed | Part::InOrder => None,
        Part::Settling(words) | Part::Unknown(words) | Part::Drift(words) | Part::Missing(words) => {
            Some(words)
        }
    };
    let failing = words.as_ref().map(|words| Failing::new(words, words.clone()));
    shared.troubles.take("asking coturn for a relay", "coturn", None, failing.map_or(Ok(()), Err));
    shared.asked_coturn(answer.ok());
}

// ---- the address that BBB or coturn announces

/// Finds out which address is announced, compared with those that the host had when they were last asked for.
async fn addresses(shared: &Shared) -> Announced {
    let announced = match shared.present_host() {
        Ok(host) => shared.session.announced(&host, shared.installation(&host).await.as_ref()).await,
        Err(failure) => Announced::Unknown(headline(&failure)),
    };
    let words = announced.to_string();
    let failing = match &announced {
        Announced::Right | Announced::Nothing(_) => Ok(()),
        _ => Err(Failing::new(&words, words.clone())),
    };
    shared.troubles.take("looking at what is announced", "addresses", None, failing);
    shared.announced_address(announced.clone());
    announced
}

/// Has the address set right, and says what was done.
async fn repair(shared: &Shared) -> Result<(), String> {
    let (agent, socket) = (shared.session.agent.name, &shared.session.settings.addresses.repairer);
    let executor =
        Executor::again_and_again(shared.session.interrupt.clone(), &shared.announced, action(Call::Repair));
    let what = "set right what is announced";
    // A host whose TURN servers cannot be found out gets its own address all the same.
    let turn = match shared.present_host() {
        Ok(host) => shared.session.turn_servers(&host).await.ok().flatten(),
        Err(_) => None,
    };
    let secret = turn.as_ref().map(|servers| &servers.secret);
    let sent = executor.run(action(Call::Repair), what, repairer::ask(agent, socket, secret));
    let answer = match sent.await.map_err(|failure| headline(&failure))? {
        Outcome::Ran(answer) => answer,
        Outcome::Shown => Ok(Vec::new()),
    };
    note(shared, "setting right what is announced", action(Call::Repair), &answer, |why| {
        format!("what is announced cannot be set right: {why}; it is tried again")
    });
    let lines = answer?;
    shared.announced.done(action(Call::Repair));
    for line in lines {
        info!(action = action(Call::Repair), "{}", visible_line(&line));
    }
    Ok(())
}

// ---- the group

async fn group(shared: &Shared) -> Result<AutoScaling, String> {
    let host = shared.host().map_err(|failure| headline(&failure))?;
    shared.session.autoscaling(host).await.map_err(|failure| headline(&failure))
}

/// This instance in its group; `None` outside one.
pub(super) async fn membership(shared: &Shared) -> Result<Option<Membership>, String> {
    let _one_at_a_time = shared.asking.lock().await;
    ask_membership(shared).await
}

async fn ask_membership(shared: &Shared) -> Result<Option<Membership>, String> {
    let host = shared.host().map_err(|failure| headline(&failure))?;
    let membership =
        group(shared).await?.membership(&host.instance).await.map_err(|error| error.to_string())?;
    shared.group.replace(membership.as_ref().map(|membership| membership.group.clone()));
    Ok(membership)
}

/// Tells whether this instance's group will have no instances any more.
async fn is_closing(shared: &Shared) -> Result<bool, String> {
    let Some(name) = known_group(shared).await? else { return Ok(false) };
    group(shared).await?.is_closing(&name).await.map_err(|error| error.to_string())
}

/// The name of this instance's group, as it was told last; `None` outside one.
async fn known_group(shared: &Shared) -> Result<Option<String>, String> {
    let _one_at_a_time = shared.asking.lock().await;
    let known = shared.group.borrow().clone();
    match known {
        Some(name) => Ok(Some(name)),
        None => Ok(ask_membership(shared).await?.map(|membership| membership.group)),
    }
}

async fn group_name(shared: &Shared) -> Result<String, String> {
    known_group(shared).await?.ok_or_else(|| "this instance is in no group".to_owned())
}

/// Returns the host's place among the members of its group, in the order of their ids; `None` outside one.
pub(super) async fn place(shared: &Shared, host: &Host) -> Result<Option<Place>, String> {
    let Some(name) = known_group(shared).await? else { return Ok(None) };
    let members = group(shared).await?.members(&BTreeSet::from([name])).await;
    let members = members.map_err(|error| error.to_string())?;
    let before = members.keys().take_while(|member| **member < host.instance).count();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Some(Place { size: number(members.len().max(before + 1)), before: number(before) }))
}

/// The group's hooks: who completes them follows from the settings.
async fn hooks(shared: &Shared) -> Result<Hooks, String> {
    let Some(name) = known_group(shared).await? else {
        shared.hooks.take();
        return Ok(Hooks::default());
    };
    let settings = &shared.session.settings;
    let listed = group(shared).await?.hooks(&name).await.map_err(|error| {
        // The instance may be in another group by now.
        shared.group.take();
        error.to_string()
    })?;
    let hooks = hooks::of(settings, &listed);
    let words = hooks::words(settings, &hooks, &name);
    if shared.troubles.is_new("hooks", &words) {
        match hooks.terminating.iter().any(|hook| hook.own) {
            true => info!(action = "hook", "{words}"),
            false => warn!(action = "hook", "{words}"),
        }
    }
    shared.hooks.replace(hooks.terminating.clone());
    Ok(hooks)
}

// ---- what changes something

async fn change(shared: &Shared, call: Call) -> Result<(), String> {
    let executor =
        Executor::again_and_again(shared.session.interrupt.clone(), &shared.announced, action(call));
    if let Call::Announce(minutes) = call {
        return announce(shared, &executor, minutes).await;
    }
    let host = shared.host().map_err(|failure| headline(&failure))?;
    let scaling = group(shared).await?;
    let group = group_name(shared).await?;
    let mut failed = None;
    for (what, step) in steps(shared, host, call) {
        let sent = executor.run(action(call), &what, async {
            match &step {
                Step::Protect(on) => scaling.protect(&group, &host.instance, *on).await,
                Step::Report => scaling.report_unhealthy(&host.instance).await,
                Step::Complete(hook, verdict) => {
                    scaling.complete(&group, hook, &host.instance, *verdict).await
                }
                Step::Heartbeat(hook) => scaling.heartbeat(&group, hook, &host.instance).await,
            }
        });
        match sent.await.map_err(|failure| headline(&failure))? {
            // The lifecycle action ended by itself, or someone else has completed it.
            Outcome::Ran(Err(error)) if error.is_gone() => info!(action = action(call), "{error}"),
            // Each hook is told, whatever another one has answered.
            Outcome::Ran(Err(error)) => failed = Some(error.to_string()),
            Outcome::Ran(Ok(())) | Outcome::Shown => {}
        }
    }
    failed.map_or(Ok(()), Err)
}

/// One request to the group.
enum Step {
    Protect(bool),
    Report,
    Heartbeat(String),
    Complete(String, HookResult),
}

/// Returns the requests that a call needs, each with its words.
fn steps(shared: &Shared, host: &Host, call: Call) -> Vec<(String, Step)> {
    let (hooks, instance) = (shared.hooks.borrow(), &host.instance);
    let launch = shared.session.settings.service.launch.as_ref().map(|launch| launch.hook.clone());
    let beat = |hook: String| (format!("Auto Scaling: heartbeat for {hook}"), Step::Heartbeat(hook));
    let end = |hook: String, verdict| {
        (
            format!("Auto Scaling: complete the lifecycle action of {hook}: {verdict:?}"),
            Step::Complete(hook, verdict),
        )
    };
    match call {
        Call::Protect(true) => {
            vec![(format!("Auto Scaling: protect {instance} from scale-in"), Step::Protect(true))]
        }
        Call::Protect(false) => {
            vec![(format!("Auto Scaling: end the scale-in protection of {instance}"), Step::Protect(false))]
        }
        Call::Unhealthy => vec![(
            format!("Auto Scaling: report {instance} as unhealthy: BBB has not answered for long"),
            Step::Report,
        )],
        Call::Heartbeat => hooks.iter().map(|hook| beat(hook.name.clone())).collect(),
        Call::Complete(verdict) => {
            hooks.iter().filter(|hook| hook.own).map(|hook| end(hook.name.clone(), verdict)).collect()
        }
        Call::LaunchHeartbeat => launch.map(beat).into_iter().collect(),
        Call::Launched(verdict) => launch.map(|hook| end(hook, verdict)).into_iter().collect(),
        Call::Count
        | Call::Addresses
        | Call::Repair
        | Call::Group
        | Call::Closing
        | Call::Hook
        | Call::Announce(_) => Vec::new(),
    }
}

/// Tells every running meeting that it ends. Where BBB cannot do that, the meetings end unannounced.
async fn announce(shared: &Shared, executor: &Executor, minutes: u64) -> Result<(), String> {
    let host = shared.host().map_err(|failure| headline(&failure))?;
    let Some(local) = shared.installation(host).await else { return Ok(()) };
    let bbb = work::bbb(&shared.session, &local)?;
    let message = shared.session.settings.drain.message.replace("{minutes}", &minutes.to_string());
    let meetings = bbb.meetings().await.map_err(|error| error.to_string())?;
    let mut failed = meetings.rest;
    for id in meetings.listed.into_iter().filter_map(|meeting| meeting.id) {
        let what = format!("BBB: tell a meeting that it ends in {minutes} minutes");
        let sent = executor.run("announce", &what, bbb.send_chat_message(&id, &message, SPEAKER)).await;
        match sent.map_err(|failure| headline(&failure))? {
            Outcome::Ran(Err(error)) if error.is_unsupported() => {
                let why = error.to_string();
                if shared.troubles.is_new("chat", &why) {
                    info!(action = "announce", "meetings are not told that they end: {why}");
                }
                return Ok(());
            }
            Outcome::Ran(Err(error)) => failed = Some(error.to_string()),
            Outcome::Ran(Ok(())) | Outcome::Shown => {}
        }
    }
    failed.map_or(Ok(()), Err)
}
