//! The group's lifecycle hooks as this agent sees them: which are its own, and what that means, in words.

use clients::aws::autoscaling::{self, Transition};
use plan::lifecycle::{Hook, Hooks};
use plan::time::duration;

use crate::config::settings::{HookChoice, Settings};

/// Returns the hooks of a group, as the settings see them: which termination hooks this agent completes, and the launch
/// hook that they name.
pub(crate) fn of(settings: &Settings, listed: &[autoscaling::Hook]) -> Hooks {
    let terminating: Vec<&autoscaling::Hook> =
        listed.iter().filter(|hook| hook.transition == Transition::Terminating).collect();
    let is_own = |hook: &autoscaling::Hook| match (settings.drain.hooks, settings.drain.hook.as_deref()) {
        (HookChoice::All, _) => true,
        (HookChoice::Own, Some(name)) => hook.name == name,
        (HookChoice::Own, None) => terminating.len() == 1,
    };
    let hook = |hook: &&autoscaling::Hook| Hook {
        name: hook.name.clone(),
        heartbeat_timeout: hook.heartbeat_timeout,
        ceiling: hook.ceiling,
        own: is_own(hook),
    };
    let launch = settings.service.launch.as_ref();
    let mut launching = listed.iter().filter(|hook| hook.transition == Transition::Launching);
    Hooks {
        terminating: terminating.iter().map(hook).collect(),
        launching: launching
            .find(|hook| launch.is_some_and(|launch| launch.hook == hook.name))
            .map(|hook| hook.heartbeat_timeout),
    }
}

/// Says what the hooks of a group do for this host.
pub(crate) fn words(settings: &Settings, hooks: &Hooks, group: &str) -> String {
    let launch = match (&settings.service.launch, hooks.launching) {
        (Some(launch), None) => {
            format!("; it has no launch hook {} (service.launch_hook)", launch.hook)
        }
        (Some(launch), Some(_)) => format!("; {} holds launches until the host serves", launch.hook),
        (None, _) => String::new(),
    };
    let listed: Vec<String> = hooks.terminating.iter().map(described).collect();
    let listed = listed.join(", ");
    let what = match (hooks.terminating.as_slice(), hooks.terminating.iter().any(|hook| hook.own)) {
        ([], _) => "has no termination hook: an instance that it ends goes without being drained".to_owned(),
        (_, true) => format!("holds an instance that it ends: {listed}"),
        (_, false) => format!(
            "holds an instance that it ends by {listed}, none of which this agent completes: name one in drain.hook, or set drain.hooks = \"all\""
        ),
    };
    format!("the group {group} {what}{launch}")
}

fn described(hook: &Hook) -> String {
    let (held, most) = (duration(hook.heartbeat_timeout), duration(hook.ceiling));
    let own = if hook.own { "completed by this agent" } else { "completed by somebody else" };
    format!("{} ({held} without a heartbeat, {most} at most, {own})", hook.name)
}
