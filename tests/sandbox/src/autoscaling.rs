//! EC2 Auto Scaling's query API, version 2011-01-01, as far as a host calls it. The groups are in a [`Fleet`], where
//! tests steer them: [`Fleet::scale_in`], [`Fleet::terminate`], [`Fleet::protect`].

mod answers;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::aws::query::{Params, failure};
use crate::aws::xml::{Xml, request_id};
use crate::fleet::{ActionOf, Fleet, HookResult, Refusal};
use crate::http::{Request, Response, Service, ServiceName, reply};

pub(crate) const NAMESPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

/// Auto Scaling's API, which shows and changes the groups of a [`Fleet`].
#[derive(Debug)]
pub struct AutoScaling {
    fleet: Arc<Fleet>,
    account: String,
    region: String,
}

impl AutoScaling {
    /// Creates Auto Scaling for this account and region (they appear only in ARNs).
    pub fn new(fleet: Arc<Fleet>, account: &str, region: &str) -> Arc<Self> {
        Arc::new(Self { fleet, account: account.to_owned(), region: region.to_owned() })
    }

    fn act(&self, request: &Request) -> Result<Response, Refusal> {
        let params = Params::of(request);
        let action = params.required("Action").map_err(|_| {
            Refusal::new("MissingAction", "Could not find operation; the parameter Action is missing")
        })?;
        if params.get("Version") != Some("2011-01-01") {
            let version = params.get("Version").unwrap_or_default();
            let message = format!("Could not find operation {action} for version {version}");
            return Err(Refusal::new("InvalidAction", message));
        }
        match action {
            "DescribeAutoScalingInstances" => self.describe_instances(&params),
            "DescribeAutoScalingGroups" => self.describe_groups(&params),
            "DescribeLifecycleHooks" => self.describe_hooks(&params),
            "RecordLifecycleActionHeartbeat" => self.heartbeat(&params),
            "CompleteLifecycleAction" => self.complete(&params),
            "SetInstanceProtection" => self.protect(&params),
            "SetInstanceHealth" => self.health(&params),
            other => {
                let message = format!("Could not find operation {other} for version 2011-01-01");
                Err(Refusal::new("InvalidAction", message))
            }
        }
    }

    fn heartbeat(&self, params: &Params) -> Result<Response, Refusal> {
        params.only(&["AutoScalingGroupName", "LifecycleHookName", "LifecycleActionToken", "InstanceId"])?;
        self.fleet.heartbeat(&action_of(params)?)?;
        Ok(done("RecordLifecycleActionHeartbeat"))
    }

    fn complete(&self, params: &Params) -> Result<Response, Refusal> {
        params.only(&[
            "AutoScalingGroupName",
            "LifecycleHookName",
            "LifecycleActionToken",
            "LifecycleActionResult",
            "InstanceId",
        ])?;
        let result = match required(params, "LifecycleActionResult")? {
            "CONTINUE" => HookResult::Continue,
            "ABANDON" => HookResult::Abandon,
            other => {
                let message = format!("Lifecycle Action Result {other} is not valid: CONTINUE or ABANDON");
                return Err(Refusal::validation(message));
            }
        };
        self.fleet.complete(&action_of(params)?, result)?;
        Ok(done("CompleteLifecycleAction"))
    }

    fn protect(&self, params: &Params) -> Result<Response, Refusal> {
        params.only(&["AutoScalingGroupName", "InstanceIds", "ProtectedFromScaleIn"])?;
        let group = required(params, "AutoScalingGroupName")?;
        let protected = match required(params, "ProtectedFromScaleIn")? {
            "true" => true,
            "false" => false,
            other => {
                let message = format!("'{other}' at 'protectedFromScaleIn' is not a boolean");
                return Err(Refusal::new("MalformedInput", message));
            }
        };
        let ids = ids(params, 1, 50)?;
        self.fleet.protect(group, &ids, protected)?;
        Ok(done("SetInstanceProtection"))
    }

    /// Replaces an instance that is reported as unhealthy at once, protected or not.
    fn health(&self, params: &Params) -> Result<Response, Refusal> {
        params.only(&["InstanceId", "HealthStatus", "ShouldRespectGracePeriod"])?;
        let instance = required(params, "InstanceId")?;
        match required(params, "HealthStatus")? {
            "Unhealthy" => drop(self.fleet.terminate(instance)?),
            "Healthy" => {}
            other => {
                let message = format!("HealthStatus {other} is not valid: Healthy or Unhealthy");
                return Err(Refusal::validation(message));
            }
        }
        Ok(done("SetInstanceHealth"))
    }
}

/// Returns a parameter, or refuses a request without it in Auto Scaling's words.
pub(crate) fn required<'a>(params: &'a Params, name: &str) -> Result<&'a str, Refusal> {
    let mut field = name.to_owned();
    if let Some(first) = field.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    params.get(name).ok_or_else(|| {
        Refusal::validation(format!(
            "1 validation error detected: Value null at '{field}' failed to satisfy constraint: \
             Member must not be null"
        ))
    })
}

fn ids(params: &Params, least: usize, most: usize) -> Result<Vec<String>, Refusal> {
    let ids = params.list("InstanceIds.member");
    if (least..=most).contains(&ids.len()) {
        return Ok(ids);
    }
    Err(Refusal::validation(format!("{} instance ids given; {least} to {most} are allowed", ids.len())))
}

fn action_of(params: &Params) -> Result<ActionOf<'_>, Refusal> {
    let of = ActionOf {
        group: required(params, "AutoScalingGroupName")?,
        hook: required(params, "LifecycleHookName")?,
        instance: params.get("InstanceId"),
        token: params.get("LifecycleActionToken"),
    };
    if of.instance.is_none() && of.token.is_none() {
        return Err(Refusal::validation("Either a token or an instance ID must be specified."));
    }
    Ok(of)
}

impl Service for AutoScaling {
    fn name(&self) -> ServiceName {
        ServiceName::AutoScaling
    }

    fn action(&self, request: &Request) -> String {
        Params::of(request).get("Action").unwrap_or("(no action)").to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let answer = self
            .act(request)
            .unwrap_or_else(|refusal| failure(NAMESPACE, 400, refusal.code, &refusal.message));
        Box::pin(std::future::ready(answer))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        failure(NAMESPACE, status, code, crate::aws::message(code))
    }
}

/// Returns the answer of an operation; `result` writes the content of `<...Result>`.
pub(crate) fn answer(operation: &str, result: impl FnOnce(&mut Xml)) -> Response {
    let body = Xml::document(&format!("{operation}Response"), NAMESPACE, |xml| {
        xml.element(&format!("{operation}Result"), result);
        xml.element("ResponseMetadata", |xml| {
            xml.text("RequestId", request_id());
        });
    });
    reply(200, "text/xml", body)
}

fn done(operation: &str) -> Response {
    answer(operation, |_| {})
}
