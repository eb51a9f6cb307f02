//! Makes the state machine's calls: counting, and what the Auto Scaling group has to be asked or told.

use std::time::Duration;

use plan::lifecycle::{Call, Event, Hook, Order, Work};
use plan::metrics::{self, Recordings};
use tokio::time::timeout;
use tracing::{info, warn};

use super::shared::{Figures, Shared};
use crate::execute::{Executor, Outcome};
use crate::report::Failure;
use clients::aws::autoscaling::{self, AutoScaling, Membership};
use clients::bbb::{Bbb, Installation, Meeting, NotReady};

/// The longest time for one call.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who speaks in a meeting.
const SPEAKER: &str = "System";

/// Makes one call, and returns the events that come of it. A count that finds BBB's settings changed since the entry
/// was last looked after also orders a look at everything.
pub(super) async fn make(shared: &Shared, call: Call) -> Vec<Event> {
    match call {
        Call::Count => count(shared).await,
        Call::Group => {
            let answer = bounded(membership(shared)).await;
            if let Some(why) = shared.news("group", answer.as_ref().err()) {
                warn!(action = "group", reason = why, "the group cannot be asked about this instance: {why}");
            }
            vec![Event::Grouped(answer.map(|found| found.map(|membership| membership.protected)))]
        }
        Call::Hook => {
            let answer = bounded(hook(shared)).await;
            if let Some(why) = shared.news("hook", answer.as_ref().err()) {
                warn!(action = "hook", reason = why, "the group's termination hook cannot be found: {why}");
            }
            vec![Event::Hooked(answer)]
        }
        call => {
            let answer = match call {
                // Every meeting is a call of its own.
                Call::Announce(_) => change(shared, call).await,
                _ => bounded(change(shared, call)).await,
            };
            let action = action(call);
            if let Some(why) = shared.news(action, answer.as_ref().err()) {
                warn!(action, reason = why, "{action}: {why}; it is tried again");
            }
            vec![Event::Called(call, answer)]
        }
    }
}

pub(super) async fn bounded<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// A call as people name it.
fn action(call: Call) -> &'static str {
    match call {
        Call::Count => "count",
        Call::Group => "group",
        Call::Hook => "hook",
        Call::Heartbeat => "heartbeat",
        Call::Complete(_) => "complete",
        Call::Protect(_) => "protect",
        Call::Announce(_) => "announce",
    }
}

fn headline(failure: &Failure) -> String {
    failure.headline()
}

// ---- counting

async fn count(shared: &Shared) -> Vec<Event> {
    let Tally { meetings, recordings, installation } = tally(shared).await;
    let changed = installation.is_some_and(|installation| shared.is_changed(&installation));
    let (ids, trouble) = match meetings {
        Ok(meetings) => {
            let main = meetings.into_iter().filter(|meeting| !meeting.breakout);
            (Some(main.map(|meeting| meeting.id).collect()), None)
        }
        Err(why) => (None, Some(why)),
    };
    let (recordings, remark) = match recordings {
        Ok((Recordings { pending, failed }, remark)) => {
            let failed =
                (failed > 0).then(|| format!("{failed} recordings have failed and are not waited for"));
            let remarks: Vec<String> = [failed, remark].into_iter().flatten().collect();
            (Some(pending), (!remarks.is_empty()).then(|| remarks.join("; ")))
        }
        Err(why) => (None, Some(why)),
    };
    let remarks: Vec<String> = [trouble, remark].into_iter().flatten().collect();
    let remark = (!remarks.is_empty()).then(|| remarks.join("; "));
    let counted = Event::Counted(Work { meetings: ids, recordings, remark });
    if !changed {
        return vec![counted];
    }
    info!(action = "check", "BBB's settings on this host have changed: looking at everything again");
    vec![counted, Event::Ordered(Order::Check)]
}

/// The meetings and recordings on the host, as they were counted.
pub(super) struct Tally {
    /// The meetings on this host: none before BBB is installed.
    meetings: Result<Vec<Meeting>, String>,
    /// The number of recordings that still have to leave, and a remark for people.
    recordings: Result<(Recordings, Option<String>), String>,
    /// BBB's settings, where they could be read.
    installation: Option<Installation>,
}

/// Counts what goes on on the host, and leaves the figures for the metrics.
pub(super) async fn tally(shared: &Shared) -> Tally {
    let ((meetings, installation), recordings) = tokio::join!(meetings(shared), recordings(shared));
    let figures = |meetings: &Vec<Meeting>| meetings.iter().map(figures).collect();
    shared.counted(Figures {
        meetings: meetings.as_ref().ok().map(figures),
        recordings: recordings.as_ref().ok().map(|(recordings, _)| *recordings),
    });
    Tally { meetings, recordings, installation }
}

fn figures(meeting: &Meeting) -> metrics::Meeting {
    let Meeting { participants, voices, videos, breakout, .. } = *meeting;
    metrics::Meeting { participants, voices, videos, breakout }
}

async fn meetings(shared: &Shared) -> (Result<Vec<Meeting>, String>, Option<Installation>) {
    let (bbb, installation) = match bbb(shared).await {
        Ok(Some(found)) => found,
        Ok(None) => return (Ok(Vec::new()), None),
        Err(why) => return (Err(why), None),
    };
    let meetings = bounded(async { bbb.meetings().await.map_err(|error| error.to_string()) }).await;
    (meetings, Some(installation))
}

/// The BBB on this host; `None` before it is installed.
async fn bbb(shared: &Shared) -> Result<Option<(Bbb, Installation)>, String> {
    let host = shared.host().map_err(|failure| headline(&failure))?;
    let installation = match shared.installation(host).await {
        None => return Ok(None),
        Some(Ok(installation)) => installation,
        // Perhaps the host was called otherwise before: its meetings run on.
        Some(Err(NotReady::OtherHost { installation, .. })) => *installation,
        // Before BBB is installed nothing runs here; once the host takes meetings, nobody can say.
        Some(Err(error)) if error.may_come() && !shared.has_joined() => return Ok(None),
        Some(Err(error)) => return Err(error.to_string()),
    };
    let client =
        shared.session.local_client(&installation.server_url).map_err(|failure| headline(&failure))?;
    Ok(Some((Bbb::of(client, &installation), installation)))
}

async fn recordings(shared: &Shared) -> Result<(Recordings, Option<String>), String> {
    let Some(spool) = shared.session.spool() else {
        return Ok((Recordings { pending: 0, failed: 0 }, None));
    };
    let found = spool.look().await.map_err(|error| error.to_string())?;
    let pending = found.pending.len().max(usize::try_from(found.jobs).unwrap_or(usize::MAX));
    Ok((Recordings { pending, failed: found.failed.len() }, found.remark))
}

// ---- the group

async fn group(shared: &Shared) -> Result<AutoScaling, String> {
    let host = shared.host().map_err(|failure| headline(&failure))?;
    shared.session.autoscaling(host).await.map_err(|failure| headline(&failure))
}

/// This instance in its group; `None` outside one.
pub(super) async fn membership(shared: &Shared) -> Result<Option<Membership>, String> {
    let host = shared.host().map_err(|failure| headline(&failure))?;
    let membership =
        group(shared).await?.membership(&host.instance).await.map_err(|error| error.to_string())?;
    shared.group.replace(membership.as_ref().map(|membership| membership.group.clone()));
    Ok(membership)
}

/// The name of this instance's group.
async fn group_name(shared: &Shared) -> Result<String, String> {
    let known = shared.group.borrow().clone();
    if let Some(name) = known {
        return Ok(name);
    }
    let membership = membership(shared).await?;
    membership.map(|membership| membership.group).ok_or_else(|| "this instance is in no group".to_owned())
}

/// The termination hook that is this agent's; `None` where the group has none, or several of which none is configured.
async fn hook(shared: &Shared) -> Result<Option<Hook>, String> {
    let Some(membership) = membership(shared).await? else { return Ok(None) };
    let hooks = group(shared).await?.termination_hooks(&membership.group).await;
    let hooks = hooks.map_err(|error| error.to_string())?;
    let configured = shared.session.settings.drain.hook.as_deref();
    let found: Option<&autoscaling::Hook> = match (configured, hooks.as_slice()) {
        (Some(name), hooks) => hooks.iter().find(|hook| hook.name == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    match found {
        Some(hook) => info!(
            action = "hook",
            "the lifecycle hook {} of {} holds this instance", hook.name, membership.group
        ),
        None => {
            let names: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
            warn!(
                action = "hook",
                "the group {} has the termination hooks [{}], of which drain.hook names none: the instance may end before it is drained",
                membership.group,
                names.join(", ")
            );
        }
    }
    shared.hook.replace(found.map(|hook| hook.name.clone()));
    Ok(found.map(|hook| Hook { heartbeat_timeout: hook.heartbeat_timeout, ceiling: hook.ceiling }))
}

// ---- what changes something

async fn change(shared: &Shared, call: Call) -> Result<(), String> {
    let executor = Executor::new(shared.session.interrupt.clone(), false);
    if let Call::Announce(minutes) = call {
        return announce(shared, &executor, minutes).await;
    }
    let host = shared.host().map_err(|failure| headline(&failure))?;
    let scaling = group(shared).await?;
    let group = group_name(shared).await?;
    let hook = shared.hook.borrow().clone();
    let hook = match call {
        Call::Protect(_) => String::new(),
        _ => hook.ok_or("no lifecycle hook is known")?,
    };
    let what = match call {
        Call::Protect(true) => format!("Auto Scaling: protect {} from scale-in", host.instance),
        Call::Protect(false) => format!("Auto Scaling: end the scale-in protection of {}", host.instance),
        Call::Complete(verdict) => {
            format!("Auto Scaling: complete the lifecycle action of {hook}: {verdict:?}")
        }
        _ => format!("Auto Scaling: heartbeat for {hook}"),
    };
    let sent = executor.run(action(call), &what, async {
        match call {
            Call::Protect(on) => scaling.protect(&group, &host.instance, on).await,
            Call::Complete(verdict) => scaling.complete(&group, &hook, &host.instance, verdict).await,
            _ => scaling.heartbeat(&group, &hook, &host.instance).await,
        }
    });
    match sent.await.map_err(|failure| headline(&failure))? {
        // The lifecycle action ended by itself, or someone else has completed it.
        Outcome::Ran(Err(error)) if error.is_gone() => {
            info!(action = action(call), "{error}");
            Ok(())
        }
        Outcome::Ran(Err(error)) => Err(error.to_string()),
        Outcome::Ran(Ok(())) | Outcome::Shown => Ok(()),
    }
}

/// Tells every running meeting that it ends. Where BBB cannot do that, the meetings end unannounced.
async fn announce(shared: &Shared, executor: &Executor, minutes: u64) -> Result<(), String> {
    let Some((bbb, _)) = bbb(shared).await? else { return Ok(()) };
    let message = shared.session.settings.drain.message.replace("{minutes}", &minutes.to_string());
    let meetings = bbb.meetings().await.map_err(|error| error.to_string())?;
    let mut failed = None;
    for meeting in meetings {
        let what = format!("BBB: tell a meeting that it ends in {minutes} minutes");
        let sent =
            executor.run("announce", &what, bbb.send_chat_message(&meeting.id, &message, SPEAKER)).await;
        match sent.map_err(|failure| headline(&failure))? {
            Outcome::Ran(Err(error)) if error.is_unsupported() => {
                let why = error.to_string();
                if let Some(why) = shared.news("chat", Some(&why)) {
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
