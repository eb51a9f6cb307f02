//! EC2 Auto Scaling's API: the host's own membership and its group's termination hooks. One call each, no retry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_autoscaling::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_autoscaling::types::{AutoScalingGroup, LifecycleHook};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use plan::fleet::Member;
use plan::instance::InstanceId;
use plan::lifecycle::HookResult;

use crate::aws;
use crate::untrusted::clean;

/// The transition of hooks that hold terminating instances (reference of `DescribeLifecycleHooks`) ...
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
/// ... and of those that hold launching ones.
const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";

/// The beginning of Auto Scaling's refusal when the hook does not hold the instance. The error code is the one of any
/// invalid parameter (`ValidationError`), so only the message distinguishes it; other programs, such as AWS's
/// node-termination-handler, rely on it too.
const NO_ACTION: &str = "no active lifecycle action found";

/// The heartbeat timeout of a hook that sets none (reference of `PutLifecycleHook`).
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(3600);
/// The longest time that a hook can hold an instance (reference of `LifecycleHook`) ...
const CEILING: Duration = Duration::from_secs(48 * 3600);
/// ... unless this many heartbeat timeouts add up to less.
const HEARTBEATS: u32 = 100;

/// The state that the SDK puts where an answer has none (seen in aws-sdk-autoscaling 1.141).
const UNSET: &str = "no value was set";

/// The status of a group that is being deleted; other groups have none (reference of `AutoScalingGroup`).
const DELETED: &str = "Delete in progress";

/// The most groups in a page (DescribeAutoScalingGroups) ...
const PAGE: i32 = 100;
/// ... and the most pages to read.
const PAGES: usize = 10;

/// An Auto Scaling call that failed. `action` names the call and its object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The hook does not hold the instance (any more): its time ran out, or its action was completed.
    #[error("Auto Scaling {action}: {message}")]
    Gone {
        /// The call and its object.
        action: String,
        /// Auto Scaling's message.
        message: String,
    },
    /// Auto Scaling refused, or could not be asked.
    #[error("Auto Scaling {action}: {message}")]
    Failed {
        /// The call and its object.
        action: String,
        /// The service's message, or why the call got no answer.
        message: String,
        /// `true` where the same call may succeed later.
        retryable: bool,
    },
}

impl Error {
    fn new<E>(action: String, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let message = aws::explain(error);
        if error.code() == Some("ValidationError") && message.to_ascii_lowercase().contains(NO_ACTION) {
            return Self::Gone { action, message };
        }
        Self::Failed { action, message, retryable: aws::is_retryable(error) }
    }

    /// Reports whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Failed { retryable: true, .. })
    }

    /// Reports whether the hook no longer holds the instance. To a caller that wants to complete it, this is no
    /// failure.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

/// An instance's place in its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group's name.
    pub group: String,
    /// The lifecycle state, e.g. `InService`, `Terminating:Wait`, `Warmed:Stopped`.
    pub state: String,
    /// Whether it is protected from scale-in.
    pub protected: bool,
}

/// The way on which a hook holds an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Into service.
    Launching,
    /// Out of the group.
    Terminating,
}

/// A lifecycle hook of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// The way on which it holds instances.
    pub transition: Transition,
    /// The time that it holds an instance after its start or the last heartbeat.
    pub heartbeat_timeout: Duration,
    /// The longest time that it holds an instance, however many heartbeats it gets.
    pub ceiling: Duration,
}

impl Hook {
    /// Reads a hook; returns `None` for one of an unknown transition.
    fn of(hook: &LifecycleHook) -> Option<Self> {
        let name = hook.lifecycle_hook_name()?.to_owned();
        // A hook that holds nothing for no time at all does not exist: such a figure is as unknown as a missing one.
        let seconds = |number: Option<i32>| {
            number
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs)
        };
        let heartbeat_timeout = seconds(hook.heartbeat_timeout()).unwrap_or(DEFAULT_HEARTBEAT);
        let ceiling = seconds(hook.global_timeout());
        let ceiling = ceiling.unwrap_or_else(|| CEILING.min(heartbeat_timeout.saturating_mul(HEARTBEATS)));
        let transition = match hook.lifecycle_transition()? {
            TERMINATING => Transition::Terminating,
            LAUNCHING => Transition::Launching,
            _ => return None,
        };
        Some(Self { name, transition, heartbeat_timeout, ceiling })
    }
}

/// Auto Scaling in the region that the host is in.
#[derive(Clone, Debug)]
pub struct AutoScaling {
    client: aws_sdk_autoscaling::Client,
}

impl AutoScaling {
    /// Creates a client for `region`, the host's own, whatever region the settings name: no other region knows the
    /// host.
    pub fn new(config: &aws_config::SdkConfig, region: &str) -> Self {
        let region = aws_sdk_autoscaling::config::Region::new(region.to_owned());
        let config = aws_sdk_autoscaling::config::Builder::from(config).region(region).build();
        Self { client: aws_sdk_autoscaling::Client::from_conf(config) }
    }

    /// Returns the instance's place in its group (DescribeAutoScalingInstances), or `None` if it is in no group.
    pub async fn membership(&self, instance: &InstanceId) -> Result<Option<Membership>, Error> {
        let action = || format!("DescribeAutoScalingInstances of {instance}");
        let request = self.client.describe_auto_scaling_instances().instance_ids(instance.as_str());
        let answer = request.send().await.map_err(|error| Error::new(action(), &error))?;
        let mut found = answer.auto_scaling_instances().iter();
        let own = found.find(|found| found.instance_id() == Some(instance.as_str()));
        let Some(own) = own else { return Ok(None) };
        // The SDK puts an empty text where a field is missing that should be there.
        let [group, state] = [own.auto_scaling_group_name(), own.lifecycle_state()]
            .map(|told| told.filter(|text| !text.is_empty()));
        let (Some(group), Some(state)) = (group, state) else {
            let message = "an answer without a group's name or a lifecycle state".to_owned();
            return Err(Error::Failed { action: action(), message, retryable: false });
        };
        let protected = own.protected_from_scale_in().unwrap_or_default();
        Ok(Some(Membership { group: group.to_owned(), state: state.to_owned(), protected }))
    }

    /// Lists the instances of these groups, without those in warm pools (DescribeAutoScalingGroups): one call for each
    /// hundred groups. DescribeAutoScalingInstances tells of fifty instances a call.
    pub async fn members(&self, groups: &BTreeSet<String>) -> Result<BTreeMap<InstanceId, Member>, Error> {
        let action = || {
            let names: Vec<&str> = groups.iter().map(String::as_str).collect();
            format!("DescribeAutoScalingGroups of {}", clean(&names.join(", ")))
        };
        let failed = |message: String| Error::Failed { action: action(), message, retryable: false };
        let names: Vec<String> = groups.iter().cloned().collect();
        // A question that names no group would be one about all.
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (mut members, mut next) = (BTreeMap::new(), None);
        for _ in 0..PAGES {
            let request = self.client.describe_auto_scaling_groups().max_records(PAGE);
            let request = request.set_auto_scaling_group_names(Some(names.clone())).set_next_token(next);
            let answer = request.send().await.map_err(|error| Error::new(action(), &error))?;
            for group in answer.auto_scaling_groups() {
                members.extend(members_of(group).ok_or_else(|| {
                    failed("an answer with an instance without an id or a lifecycle state".to_owned())
                })?);
            }
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(members);
            }
        }
        Err(failed(format!("more than {PAGES} pages")))
    }

    /// Tells whether the group will have no instances any more: it is being deleted, or its greatest size is 0, to which
    /// CloudFormation sets a group before it deletes it (DescribeAutoScalingGroups, without the instances). A group that
    /// is not listed has said nothing.
    pub async fn is_closing(&self, group: &str) -> Result<bool, Error> {
        let request = self.client.describe_auto_scaling_groups().auto_scaling_group_names(group);
        let answer =
            request.include_instances(false).send().await.map_err(|error| {
                Error::new(format!("DescribeAutoScalingGroups of {}", clean(group)), &error)
            })?;
        let mut found = answer.auto_scaling_groups().iter();
        let own = found.find(|found| found.auto_scaling_group_name() == Some(group));
        Ok(own.is_some_and(|own| {
            let deleted = own.status().is_some_and(|status| status.eq_ignore_ascii_case(DELETED));
            deleted || own.max_size() == Some(0)
        }))
    }

    /// Lists the group's hooks (DescribeLifecycleHooks).
    pub async fn hooks(&self, group: &str) -> Result<Vec<Hook>, Error> {
        let request = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group);
        let answer = request
            .send()
            .await
            .map_err(|error| Error::new(format!("DescribeLifecycleHooks of group {group}"), &error))?;
        Ok(answer.lifecycle_hooks().iter().filter_map(Hook::of).collect())
    }

    /// Makes the hook hold the instance for another heartbeat timeout (RecordLifecycleActionHeartbeat), up to the
    /// hook's ceiling.
    pub async fn heartbeat(&self, group: &str, hook: &str, instance: &InstanceId) -> Result<(), Error> {
        let request = self.client.record_lifecycle_action_heartbeat();
        let request = request.auto_scaling_group_name(group).lifecycle_hook_name(hook);
        let sent = request.instance_id(instance.as_str()).send().await;
        sent.map(drop).map_err(|error| {
            Error::new(held("RecordLifecycleActionHeartbeat", group, hook, instance), &error)
        })
    }

    /// Ends the hook's hold on the instance (CompleteLifecycleAction). Called again after a lost reply, it returns
    /// [`Error::Gone`].
    pub async fn complete(
        &self,
        group: &str,
        hook: &str,
        instance: &InstanceId,
        verdict: HookResult,
    ) -> Result<(), Error> {
        let result = match verdict {
            HookResult::Continue => "CONTINUE",
            HookResult::Abandon => "ABANDON",
        };
        let request = self.client.complete_lifecycle_action();
        let request = request.auto_scaling_group_name(group).lifecycle_hook_name(hook);
        let sent = request.instance_id(instance.as_str()).lifecycle_action_result(result).send().await;
        sent.map(drop)
            .map_err(|error| Error::new(held("CompleteLifecycleAction", group, hook, instance), &error))
    }

    /// Tells the group that the instance is unhealthy, so that it replaces it, after the grace period of its health
    /// checks (SetInstanceHealth).
    pub async fn report_unhealthy(&self, instance: &InstanceId) -> Result<(), Error> {
        let request = self.client.set_instance_health().instance_id(instance.as_str());
        let sent = request.health_status("Unhealthy").should_respect_grace_period(true).send().await;
        sent.map(drop).map_err(|error| Error::new(format!("SetInstanceHealth of {instance}"), &error))
    }

    /// Switches the instance's scale-in protection on or off (SetInstanceProtection). Auto Scaling refuses unless the
    /// instance is `InService` or in standby.
    pub async fn protect(&self, group: &str, instance: &InstanceId, protected: bool) -> Result<(), Error> {
        let request = self.client.set_instance_protection();
        let request = request.auto_scaling_group_name(group).instance_ids(instance.as_str());
        let sent = request.protected_from_scale_in(protected).send().await;
        let action = || format!("SetInstanceProtection of {instance} in group {group}");
        sent.map(drop).map_err(|error| Error::new(action(), &error))
    }
}

/// Reads the instances of a group; `None` where one lacks what has to be there.
fn members_of(group: &AutoScalingGroup) -> Option<BTreeMap<InstanceId, Member>> {
    let members = group.instances().iter().map(|instance| {
        let id = InstanceId::parse(instance.instance_id()?).ok()?;
        // The SDK puts one of these where a field is missing that should be there.
        let told = |text: Option<&str>| text.filter(|text| !["", UNSET].contains(text)).map(str::to_owned);
        let state = instance.lifecycle_state().map(|state| state.as_str());
        let member = Member {
            group: told(group.auto_scaling_group_name())?,
            state: told(state)?,
            protected: instance.protected_from_scale_in(),
            availability_zone: told(instance.availability_zone()),
        };
        Some((id, member))
    });
    members.collect()
}

fn held(call: &str, group: &str, hook: &str, instance: &InstanceId) -> String {
    format!("{call} of {instance} by hook {hook} of group {group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hook_does_not_tell_is_what_auto_scaling_documents() {
        // The heartbeat timeout and the global timeout as told; then what they mean.
        let rows = [
            (Some(900), Some(90_000), (900, 90_000)),
            (Some(900), Some(3600), (900, 3600)),
            (Some(900), None, (900, 90_000)),
            (Some(30), None, (30, 3000)),
            (Some(7200), None, (7200, 172_800)),
            (None, Some(3600), (3600, 3600)),
            (None, None, (3600, 172_800)),
            (Some(-1), Some(-1), (3600, 172_800)),
            (Some(900), Some(0), (900, 90_000)),
            (Some(0), None, (3600, 172_800)),
        ];
        for (heartbeat, global, (held, ceiling)) in rows {
            let hook = LifecycleHook::builder()
                .lifecycle_hook_name("drain")
                .lifecycle_transition(TERMINATING)
                .set_heartbeat_timeout(heartbeat)
                .set_global_timeout(global)
                .build();
            let expected = Hook {
                name: "drain".to_owned(),
                transition: Transition::Terminating,
                heartbeat_timeout: Duration::from_secs(held),
                ceiling: Duration::from_secs(ceiling),
            };
            assert_eq!(Hook::of(&hook), Some(expected), "{heartbeat:?}, {global:?}");
        }
    }
}
