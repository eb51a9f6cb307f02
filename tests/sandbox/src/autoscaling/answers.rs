//! The Describe operations.

use super::{AutoScaling, answer, ids, required};
use crate::aws::query::{Params, page};
use crate::aws::xml::Xml;
use crate::fleet::{Fleet, Group, Hook, HookResult, Member, Refusal, Transition};
use crate::http::Response;

impl AutoScaling {
    /// Answers DescribeAutoScalingInstances; instances without a group and unknown ones are left out, which is not an
    /// error.
    pub(super) fn describe_instances(&self, params: &Params) -> Result<Response, Refusal> {
        params.only(&["InstanceIds", "MaxRecords", "NextToken"])?;
        let wanted = ids(params, 0, 50)?;
        let size = params.number("MaxRecords", 1..=50)?.unwrap_or(50);
        let mut rows: Vec<(String, String, Member)> = Vec::new();
        for group in self.fleet.groups() {
            rows.extend(group.members.into_iter().map(|(id, member)| (id, group.name.clone(), member)));
        }
        rows.retain(|(id, _, _)| wanted.is_empty() || wanted.contains(id));
        let (rows, next) = page(&rows, params.get("NextToken"), size, "InvalidNextToken")?;
        Ok(answer("DescribeAutoScalingInstances", |xml| {
            xml.element("AutoScalingInstances", |xml| {
                for (id, group, member) in rows {
                    xml.element("member", |xml| {
                        xml.text("AutoScalingGroupName", group);
                        instance(xml, &self.fleet, id, member);
                    });
                }
            });
            xml.maybe("NextToken", next);
        }))
    }

    pub(super) fn describe_groups(&self, params: &Params) -> Result<Response, Refusal> {
        params.only(&["AutoScalingGroupNames", "IncludeInstances", "MaxRecords", "NextToken"])?;
        let with_instances = params.get("IncludeInstances") != Some("false");
        let wanted = params.list("AutoScalingGroupNames.member");
        let size = params.number("MaxRecords", 1..=100)?.unwrap_or(50);
        let mut groups = self.fleet.groups();
        groups.retain(|group| wanted.is_empty() || wanted.contains(&group.name));
        let (rows, next) = page(&groups, params.get("NextToken"), size, "InvalidNextToken")?;
        Ok(answer("DescribeAutoScalingGroups", |xml| {
            xml.element("AutoScalingGroups", |xml| {
                for group in rows {
                    xml.element("member", |xml| self.group(xml, group, with_instances));
                }
            });
            xml.maybe("NextToken", next);
        }))
    }

    pub(super) fn describe_hooks(&self, params: &Params) -> Result<Response, Refusal> {
        params.only(&["AutoScalingGroupName", "LifecycleHookNames"])?;
        let name = required(params, "AutoScalingGroupName")?;
        let wanted = params.list("LifecycleHookNames.member");
        let group = self
            .fleet
            .group(name)
            .ok_or_else(|| Refusal::validation(format!("AutoScalingGroup name not found - {name}")))?;
        Ok(answer("DescribeLifecycleHooks", |xml| {
            xml.element("LifecycleHooks", |xml| {
                let chosen = |hook: &&Hook| wanted.is_empty() || wanted.contains(&hook.name);
                for hook in group.hooks.iter().filter(chosen) {
                    xml.element("member", |xml| describe_hook(xml, &group, hook));
                }
            });
        }))
    }

    fn group(&self, xml: &mut Xml, group: &Group, with_instances: bool) {
        let (region, account) = (&self.region, &self.account);
        xml.text("AutoScalingGroupName", &group.name);
        xml.text(
            "AutoScalingGroupARN",
            format!(
                "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:\
                 01234567-89ab-cdef-0123-456789abcdef:autoScalingGroupName/{}",
                group.name
            ),
        );
        xml.text("MinSize", group.min).text("MaxSize", group.max).text("DesiredCapacity", group.desired);
        xml.text("DefaultCooldown", 300);
        xml.element("AvailabilityZones", |xml| {
            for zone in ["a", "b", "c"] {
                xml.text("member", format!("{region}{zone}"));
            }
        });
        xml.text("HealthCheckType", "EC2").text("HealthCheckGracePeriod", 0);
        xml.element("Instances", |xml| {
            // Only DescribeWarmPool lists the instances in the warm pool.
            for (id, member) in
                group.members.iter().filter(|(_, member)| with_instances && !member.state.is_warm())
            {
                xml.element("member", |xml| instance(xml, &self.fleet, id, member));
            }
        });
        xml.text("CreatedTime", "2026-01-01T00:00:00.000Z");
        xml.text("NewInstancesProtectedFromScaleIn", false);
        if group.deleted {
            xml.text("Status", "Delete in progress");
        }
    }
}

fn instance(xml: &mut Xml, fleet: &Fleet, id: &str, member: &Member) {
    xml.text("InstanceId", id);
    if let Some(instance) = fleet.instance(id) {
        xml.text("InstanceType", &instance.facts.instance_type);
        xml.text("AvailabilityZone", &instance.facts.availability_zone);
    }
    xml.text("LifecycleState", member.state.as_str());
    xml.text("HealthStatus", "Healthy");
    xml.text("ProtectedFromScaleIn", member.protected);
}

fn describe_hook(xml: &mut Xml, group: &Group, hook: &Hook) {
    let transition = match hook.transition {
        Transition::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
        Transition::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
    };
    let result = match hook.default_result {
        HookResult::Continue => "CONTINUE",
        HookResult::Abandon => "ABANDON",
    };
    xml.text("LifecycleHookName", &hook.name).text("AutoScalingGroupName", &group.name);
    xml.text("LifecycleTransition", transition).text("HeartbeatTimeout", hook.heartbeat_timeout);
    xml.text("GlobalTimeout", hook.global_timeout()).text("DefaultResult", result);
}
