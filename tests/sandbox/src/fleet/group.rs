//! Auto Scaling groups: members, lifecycle hooks, and the effects of completed and expired hooks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Fleet, LifecycleState, Refusal, State, unknown_instance};
use crate::aws::xml::request_id;

/// The transition that a lifecycle hook holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transition {
    /// The launch: `autoscaling:EC2_INSTANCE_LAUNCHING`.
    #[serde(rename = "autoscaling:EC2_INSTANCE_LAUNCHING")]
    Launching,
    /// The termination: `autoscaling:EC2_INSTANCE_TERMINATING`.
    #[serde(rename = "autoscaling:EC2_INSTANCE_TERMINATING")]
    Terminating,
}

/// The result of a lifecycle action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HookResult {
    /// Go on; other hooks still hold the instance.
    Continue,
    /// Go on at once, despite other hooks; a launch is given up.
    Abandon,
}

/// A lifecycle hook of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The hook's name.
    pub name: String,
    /// The transition that the hook holds.
    pub transition: Transition,
    /// The seconds from the start, or from the last heartbeat, until the default result: 30 to 7200 in AWS.
    pub heartbeat_timeout: u64,
    /// The result when the action is not completed in time.
    pub default_result: HookResult,
}

impl Hook {
    /// Returns the longest time for which the hook holds an instance, in seconds: 48 hours or 100 heartbeat timeouts,
    /// whichever is shorter.
    pub fn global_timeout(&self) -> u64 {
        (48 * 3600).min(self.heartbeat_timeout.saturating_mul(100))
    }
}

/// A hook that holds an instance now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingAction {
    /// The hook's name.
    pub hook: String,
    /// The lifecycle action token (a UUID).
    pub token: String,
    /// When the action expires, in seconds since 1970.
    pub deadline: u64,
    /// When the action expires despite all heartbeats, in seconds since 1970.
    pub ceiling: u64,
    /// The number of heartbeats so far.
    pub heartbeats: u32,
}

/// An instance in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The state in the lifecycle.
    pub state: LifecycleState,
    /// Whether the instance is protected from scale-in.
    pub protected: bool,
    /// The hooks that hold the instance now.
    pub actions: Vec<PendingAction>,
}

/// An Auto Scaling group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// The least number of instances.
    pub min: u32,
    /// The greatest number of instances.
    pub max: u32,
    /// The wanted number of instances.
    pub desired: u32,
    /// Whether the group is being deleted.
    pub deleted: bool,
    /// The lifecycle hooks.
    pub hooks: Vec<Hook>,
    /// The instances in the group, by id.
    pub members: BTreeMap<String, Member>,
}

/// The lifecycle action that a heartbeat or a completion names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionOf<'a> {
    /// The group.
    pub group: &'a str,
    /// The hook.
    pub hook: &'a str,
    /// The instance's id, when no token is given.
    pub instance: Option<&'a str>,
    /// The action's token.
    pub token: Option<&'a str>,
}

impl Group {
    pub(super) fn expire(&mut self, now: u64) {
        if self.deleted || self.max == 0 {
            let Self { members, hooks, .. } = &mut *self;
            let may_go =
                |member: &&mut Member| member.state == LifecycleState::InService && !member.protected;
            members.values_mut().filter(may_go).for_each(|member| member.terminate(hooks, now));
        }
        for member in self.members.values_mut() {
            let expired =
                member.actions.iter().find(|action| action.deadline <= now).map(|action| action.hook.clone());
            // One hook expires at a time: a CONTINUE leaves the others to their own deadlines, an ABANDON ends them
            // too.
            if let Some(name) = expired {
                let hook = self.hooks.iter().find(|hook| hook.name == name);
                let result = hook.map_or(HookResult::Abandon, |hook| hook.default_result);
                member.complete(&name, result, &self.hooks, now);
            }
        }
        let more = |member: &Member| member.actions.iter().any(|action| action.deadline <= now);
        if self.members.values().any(more) {
            self.expire(now);
        }
    }

    fn hook(&self, name: &str) -> Result<&Hook, Refusal> {
        self.hooks.iter().find(|hook| hook.name == name).ok_or_else(|| {
            Refusal::validation(format!("Lifecycle Hook {name} not found for group {}", self.name))
        })
    }
}

impl Member {
    fn new(state: LifecycleState) -> Self {
        Self { state, protected: false, actions: Vec::new() }
    }

    fn hold(&mut self, transition: Transition, hooks: &[Hook], now: u64) {
        self.actions = hooks
            .iter()
            .filter(|hook| hook.transition == transition)
            .map(|hook| PendingAction {
                hook: hook.name.clone(),
                token: request_id(),
                deadline: now + hook.heartbeat_timeout,
                ceiling: now + hook.global_timeout(),
                heartbeats: 0,
            })
            .collect();
    }

    fn launch(&mut self, hooks: &[Hook], now: u64) {
        self.hold(Transition::Launching, hooks, now);
        self.state =
            if self.actions.is_empty() { LifecycleState::InService } else { LifecycleState::PendingWait };
    }

    fn terminate(&mut self, hooks: &[Hook], now: u64) {
        self.hold(Transition::Terminating, hooks, now);
        self.state = self.state.terminating(!self.actions.is_empty());
    }

    fn complete(&mut self, hook: &str, result: HookResult, hooks: &[Hook], now: u64) {
        self.actions.retain(|action| action.hook != hook);
        if result == HookResult::Continue && !self.actions.is_empty() {
            return;
        }
        self.actions.clear();
        match (self.state, result) {
            (LifecycleState::TerminatingWait, _) => self.state = LifecycleState::TerminatingProceed,
            (LifecycleState::WarmedTerminatingWait, _) => {
                self.state = LifecycleState::WarmedTerminatingProceed;
            }
            (LifecycleState::PendingWait, HookResult::Continue) => self.state = LifecycleState::InService,
            (LifecycleState::WarmedPendingWait, HookResult::Continue) => {
                self.state = LifecycleState::WarmedStopped;
            }
            (_, HookResult::Abandon) => self.terminate(hooks, now),
            (_, HookResult::Continue) => {}
        }
    }
}

impl State {
    fn group(&mut self, name: &str) -> Result<&mut Group, Refusal> {
        // Observed wording: "AutoScalingGroup name not found - null" for a missing name.
        self.groups
            .get_mut(name)
            .ok_or_else(|| Refusal::validation(format!("AutoScalingGroup name not found - {name}")))
    }

    fn group_of(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.values_mut().find(|group| group.members.contains_key(id))
    }

    fn member<R>(&mut self, id: &str, act: impl FnOnce(&mut Member, &[Hook]) -> R) -> Result<R, Refusal> {
        let group =
            self.group_of(id).ok_or_else(|| Refusal::validation(format!("Instance Id not found - {id}")))?;
        let Group { members, hooks, .. } = group;
        let member = members.get_mut(id).ok_or_else(|| unknown_instance(id))?;
        Ok(act(member, hooks))
    }

    fn action(&mut self, of: &ActionOf<'_>) -> Result<(String, PendingAction, Hook), Refusal> {
        let group = self.group(of.group)?;
        let hook = group.hook(of.hook)?.clone();
        let found = group.members.iter().find_map(|(id, member)| {
            let action = member.actions.iter().find(|action| {
                action.hook == of.hook
                    && of.token.is_none_or(|token| token == action.token)
                    && of.instance.is_none_or(|instance| instance == id)
            })?;
            Some((id.clone(), action.clone()))
        });
        let missing = || match (of.token, of.instance) {
            (Some(token), _) => format!("No active Lifecycle Action found with token {token}"),
            (None, id) => {
                format!("No active Lifecycle Action found with instance ID {}", id.unwrap_or_default())
            }
        };
        let (id, action) = found.ok_or_else(|| Refusal::validation(missing()))?;
        Ok((id, action, hook))
    }
}

/// The methods for Auto Scaling.
impl Fleet {
    /// Adds a group without instances; replaces one with the same name.
    pub fn add_group(&self, name: &str, min: u32, max: u32, hooks: Vec<Hook>) {
        let (desired, deleted, members) = (min, false, BTreeMap::new());
        let group = Group { name: name.to_owned(), min, max, desired, deleted, hooks, members };
        self.state().groups.insert(name.to_owned(), group);
    }

    /// Adds or replaces a hook. Instances that a hook already holds are not affected.
    pub fn put_hook(&self, group: &str, hook: Hook) -> Result<(), Refusal> {
        let mut state = self.state();
        let group = state.group(group)?;
        group.hooks.retain(|old| old.name != hook.name);
        group.hooks.push(hook);
        Ok(())
    }

    /// Removes a hook: instances that it holds go on, as with CONTINUE.
    pub fn remove_hook(&self, group: &str, name: &str) -> Result<(), Refusal> {
        let now = self.clock().seconds();
        let mut state = self.state();
        let group = state.group(group)?;
        group.hook(name)?;
        group.hooks.retain(|hook| hook.name != name);
        let Group { members, hooks, .. } = group;
        for member in members.values_mut().filter(|member| member.actions.iter().any(|a| a.hook == name)) {
            member.complete(name, HookResult::Continue, hooks, now);
        }
        Ok(())
    }

    /// Returns a group.
    pub fn group(&self, name: &str) -> Option<Group> {
        self.state().groups.get(name).cloned()
    }

    /// Returns all groups, by name.
    pub fn groups(&self) -> Vec<Group> {
        self.state().groups.values().cloned().collect()
    }

    /// Returns the name of an instance's group, and the instance's membership.
    pub fn membership(&self, id: &str) -> Option<(String, Member)> {
        let mut state = self.state();
        let group = state.group_of(id)?;
        Some((group.name.clone(), group.members.get(id)?.clone()))
    }

    /// Puts an instance into a group as `InService`, without any launch hook.
    pub fn attach(&self, group: &str, id: &str) -> Result<(), Refusal> {
        self.enter(group, id, |member, _, _| member.state = LifecycleState::InService)
    }

    /// Lets the group launch the instance: a launch hook holds it in `Pending:Wait`, without one it is `InService`.
    pub fn launch_into(&self, group: &str, id: &str) -> Result<(), Refusal> {
        self.enter(group, id, Member::launch)
    }

    fn enter(
        &self,
        group: &str,
        id: &str,
        start: impl FnOnce(&mut Member, &[Hook], u64),
    ) -> Result<(), Refusal> {
        let now = self.clock().seconds();
        let mut state = self.state();
        if !state.instances.contains_key(id) {
            return Err(unknown_instance(id));
        }
        if let Some(other) = state.group_of(id) {
            let message = format!("Instance {id} is already part of AutoScalingGroup:{}", other.name);
            return Err(Refusal::validation(message));
        }
        let name = group.to_owned();
        let group = state.group(group)?;
        let mut member = Member::new(LifecycleState::Pending);
        start(&mut member, &group.hooks, now);
        group.members.insert(id.to_owned(), member);
        group.desired = group.desired.max(group.counted());
        group.max = group.max.max(group.desired);
        // Auto Scaling tags the instances that it launches or attaches (its user guide, "Tag Auto Scaling groups and
        // instances").
        if let Some(instance) = state.instances.get_mut(id) {
            instance.facts.tags.insert("aws:autoscaling:groupName".to_owned(), name);
        }
        Ok(())
    }

    /// Puts a member into any state, without hooks: `Standby`, `Warmed:Stopped` and so on.
    pub fn set_lifecycle_state(&self, id: &str, lifecycle: LifecycleState) -> Result<(), Refusal> {
        self.state().member(id, |member, _| {
            member.actions.clear();
            member.state = lifecycle;
        })
    }

    /// Takes a warm-pool instance into service, through the launch hooks.
    pub fn launch_from_pool(&self, id: &str) -> Result<LifecycleState, Refusal> {
        let now = self.clock().seconds();
        self.state().member(id, |member, hooks| {
            if !member.state.is_warm() {
                return Err(Refusal::validation(format!("The instance {id} is not in the warm pool.")));
            }
            member.launch(hooks, now);
            Ok(member.state)
        })?
    }

    /// Lets the group end the instance whether it is protected or not (health replacement, instance refresh): a
    /// termination hook holds it in `Terminating:Wait`. EC2 ends it only at [`Fleet::shut_down`] and
    /// [`Fleet::finish_termination`]. Has no effect on an instance that is already ending.
    pub fn terminate(&self, id: &str) -> Result<LifecycleState, Refusal> {
        let now = self.clock().seconds();
        self.state().member(id, |member, hooks| {
            if !member.state.is_ending() {
                member.terminate(hooks, now);
            }
            member.state
        })
    }

    /// Lowers the wanted number by one, and ends the oldest unprotected `InService` instance for it. Returns `None`
    /// when all are protected: then the number is lower, but every instance stays, as in AWS.
    pub fn scale_in(&self, group: &str) -> Result<Option<String>, Refusal> {
        let now = self.clock().seconds();
        let mut state = self.state();
        let State { instances, groups, .. } = &mut *state;
        let group = groups
            .get_mut(group)
            .ok_or_else(|| Refusal::validation(format!("AutoScalingGroup name not found - {group}")))?;
        if group.desired <= group.min {
            let (desired, min) = (i64::from(group.desired) - 1, group.min);
            let message = format!(
                "New SetDesiredCapacity value {desired} is below min value {min} for the AutoScalingGroup."
            );
            return Err(Refusal::validation(message));
        }
        group.desired -= 1;
        let Group { members, hooks, .. } = group;
        let chosen = members
            .iter_mut()
            .filter(|(_, member)| member.state == LifecycleState::InService && !member.protected)
            .min_by_key(|(id, _)| instances.get(*id).map_or(u64::MAX, |instance| instance.launched));
        Ok(chosen.map(|(id, member)| {
            member.terminate(hooks, now);
            id.clone()
        }))
    }

    /// Empties the group for good, as CloudFormation does before it deletes it: all unprotected `InService` instances end.
    pub fn empty(&self, group: &str) -> Result<(), Refusal> {
        self.close(group, |group| group.max = 0)
    }

    /// Begins to delete the group with all its instances (DeleteAutoScalingGroup): those that are protected stay.
    pub fn delete_group(&self, group: &str) -> Result<(), Refusal> {
        self.close(group, |group| group.deleted = true)
    }

    fn close(&self, group: &str, change: impl FnOnce(&mut Group)) -> Result<(), Refusal> {
        let mut state = self.state();
        let group = state.group(group)?;
        change(group);
        (group.min, group.desired) = (0, 0);
        Ok(())
    }

    /// Extends a lifecycle action by the hook's heartbeat timeout, up to its ceiling.
    pub fn heartbeat(&self, of: &ActionOf<'_>) -> Result<(), Refusal> {
        let now = self.clock().seconds();
        let mut state = self.state();
        let (id, found, hook) = state.action(of)?;
        state.member(&id, |member, _| {
            for action in member.actions.iter_mut().filter(|action| action.token == found.token) {
                action.heartbeats += 1;
                action.deadline = action.ceiling.min(now + hook.heartbeat_timeout);
            }
        })
    }

    /// Ends a lifecycle action.
    pub fn complete(&self, of: &ActionOf<'_>, result: HookResult) -> Result<(), Refusal> {
        let now = self.clock().seconds();
        let mut state = self.state();
        let (id, _, hook) = state.action(of)?;
        state.member(&id, |member, hooks| member.complete(&hook.name, result, hooks, now))
    }

    /// Switches the protection from scale-in on or off for all of these instances, or for none.
    pub fn protect(&self, group: &str, ids: &[String], protected: bool) -> Result<(), Refusal> {
        let mut state = self.state();
        let group = state.group(group)?;
        for id in ids {
            let member = group.members.get(id).ok_or_else(|| {
                Refusal::validation(format!(
                    "The instance {id} is not part of Auto Scaling group {}.",
                    group.name
                ))
            })?;
            // Observed: "The instance i-... is not in InService or EnteringStandby or Standby."
            let allowed =
                [LifecycleState::InService, LifecycleState::EnteringStandby, LifecycleState::Standby];
            if !allowed.contains(&member.state) {
                let message = format!("The instance {id} is not in InService or EnteringStandby or Standby.");
                return Err(Refusal::validation(message));
            }
        }
        for id in ids {
            if let Some(member) = group.members.get_mut(id) {
                member.protected = protected;
            }
        }
        Ok(())
    }
}

impl Group {
    fn counted(&self) -> u32 {
        let counted =
            self.members.values().filter(|member| !member.state.is_warm() && !member.state.is_ending());
        u32::try_from(counted.count()).unwrap_or(u32::MAX)
    }
}
