//! The calls for instances, groups and IMDS.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome, Problem, done};
use crate::cloud::{Host, HostOptions};
use crate::fleet::{Hook, HookResult, InstanceFacts, LifecycleState, Transition};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Spot {
    action: String,
    seconds: u64,
}

impl Default for Spot {
    fn default() -> Self {
        Self { action: "terminate".to_owned(), seconds: 120 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHost {
    number: u8,
    #[serde(default = "yes")]
    installed: bool,
    #[serde(default = "default_group")]
    group: Option<String>,
}

fn yes() -> bool {
    true
}

fn default_group() -> Option<String> {
    HostOptions::default().group
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifecycle {
    state: LifecycleState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HookBody {
    transition: Transition,
    heartbeat_timeout: u64,
    default_result: HookResult,
}

pub(super) async fn call(call: &Call<'_>) -> Option<Outcome> {
    let cloud = call.cloud;
    let fleet = &cloud.fleet;
    let (method, path) = call.parts();
    let outcome = match (method, path.as_slice()) {
        ("GET", ["imds"]) => call.host().and_then(|host| facts(&host)),
        ("PATCH", ["imds"]) => patch_facts(call),
        ("POST", ["imds", action @ ("expire-tokens" | "disable" | "enable")]) => imds(call, action),
        ("POST", ["spot"]) => spot(call),
        ("DELETE", ["spot"]) => change(call, |facts| facts.spot = None),
        ("POST", ["rebalance"]) => {
            let time = crate::clock::iso8601(cloud.clock.seconds());
            change(call, |facts| facts.rebalance = Some(time))
        }
        ("DELETE", ["rebalance"]) => change(call, |facts| facts.rebalance = None),
        ("POST", ["hosts"]) => add_host(call).await,
        ("GET", ["instances"]) => Ok(json!(fleet.instances())),
        ("GET", ["instances", id]) => match fleet.instance(id) {
            Some(instance) => Ok(json!({ "instance": instance, "membership": fleet.membership(id) })),
            None => Err(Problem::absent(format!("no instance {id}"))),
        },
        ("POST", ["instances", id, action]) => return instance(call, id, action),
        ("PUT", ["instances", id, "lifecycle"]) => lifecycle(call, id),
        ("GET", ["groups"]) => Ok(json!(fleet.groups())),
        ("POST", ["groups", "scale-in"]) => scale_in(call, &cloud.group),
        ("POST", ["groups", group, "scale-in"]) => scale_in(call, group),
        ("PUT", ["groups", group, "hooks", name]) => put_hook(call, group, name),
        ("DELETE", ["groups", group, "hooks", name]) => {
            fleet.remove_hook(group, name).map_err(Problem::from).and_then(|()| done())
        }
        _ => return None,
    };
    Some(outcome)
}

fn facts(host: &Host) -> Outcome {
    host.imds.facts().map(|facts| json!(facts)).ok_or_else(|| Problem::absent("the instance is gone"))
}

fn change(call: &Call<'_>, change: impl FnOnce(&mut InstanceFacts)) -> Outcome {
    let host = call.host()?;
    host.imds.update(change)?;
    facts(&host)
}

/// Changes facts: each given key replaces the whole former value, tags included.
fn patch_facts(call: &Call<'_>) -> Outcome {
    let patch: serde_json::Map<String, Value> = call.body()?;
    let host = call.host()?;
    let mut merged = facts(&host)?;
    if let Some(merged) = merged.as_object_mut() {
        merged.extend(patch);
    }
    let new: InstanceFacts =
        serde_json::from_value(merged).map_err(|error| Problem::bad(format!("the facts: {error}")))?;
    if new.instance_id != host.id() {
        return Err(Problem::bad("an instance's id cannot be changed"));
    }
    change(call, |facts| *facts = new)
}

fn imds(call: &Call<'_>, action: &str) -> Outcome {
    let host = call.host()?;
    match action {
        "expire-tokens" => host.imds.expire_tokens(),
        action => host.imds.set_disabled(action == "disable"),
    }
    done()
}

fn spot(call: &Call<'_>) -> Outcome {
    let spot: Spot = call.body()?;
    if !["terminate", "stop", "hibernate"].contains(&spot.action.as_str()) {
        return Err(Problem::bad(format!("no spot action {}: terminate, stop or hibernate", spot.action)));
    }
    let host = call.host()?;
    call.cloud.interrupt(host.id(), &spot.action, Duration::from_secs(spot.seconds))?;
    facts(&host)
}

async fn add_host(call: &Call<'_>) -> Outcome {
    let new: NewHost = call.body()?;
    if !(2..=250).contains(&new.number) {
        return Err(Problem::bad("number: 2 to 250"));
    }
    if let Some(group) = new.group.as_ref().filter(|group| call.cloud.fleet.group(group).is_none()) {
        return Err(Problem::absent(format!("no group {group}")));
    }
    let options =
        HostOptions { installed: new.installed, group: new.group, ..HostOptions::numbered(new.number) };
    let host = call.cloud.add_host(options).await.map_err(|error| Problem::conflict(error.to_string()))?;
    let environment: serde_json::Map<String, Value> = call
        .cloud
        .environment_on(&host)
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    Ok(json!({
        "instance": host.id(),
        "imds": format!("http://{}", host.imds_address()),
        "bbb_url": host.bbb_url,
        "root": host.root,
        "environment": environment,
    }))
}

fn instance(call: &Call<'_>, id: &str, action: &str) -> Option<Outcome> {
    let fleet = &call.cloud.fleet;
    let result = match action {
        "hide" => fleet.hide(id),
        "reveal" => fleet.reveal(id),
        "terminate" => fleet.terminate(id).map(drop),
        "shut-down" => fleet.shut_down(id),
        "finish" => fleet.finish_termination(id),
        _ => return None,
    };
    let shown = || json!({ "instance": fleet.instance(id), "membership": fleet.membership(id) });
    Some(result.map(|()| shown()).map_err(Problem::from))
}

fn lifecycle(call: &Call<'_>, id: &str) -> Outcome {
    let Lifecycle { state } = call.body()?;
    call.cloud.fleet.set_lifecycle_state(id, state)?;
    done()
}

fn scale_in(call: &Call<'_>, group: &str) -> Outcome {
    Ok(json!({ "chosen": call.cloud.fleet.scale_in(group)? }))
}

fn put_hook(call: &Call<'_>, group: &str, name: &str) -> Outcome {
    let HookBody { transition, heartbeat_timeout, default_result } = call.body()?;
    if !(30..=7200).contains(&heartbeat_timeout) {
        return Err(Problem::bad("heartbeat_timeout: 30 to 7200 seconds"));
    }
    let hook = Hook { name: name.to_owned(), transition, heartbeat_timeout, default_result };
    call.cloud.fleet.put_hook(group, hook)?;
    done()
}
