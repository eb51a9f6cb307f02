//! EC2's query API, version 2016-11-15: `DescribeInstances`, as the agents call it, and `AttachVolume`, as UserData does.

mod describe;
mod filter;

use std::sync::Arc;

use futures_util::future::BoxFuture;

pub(crate) use describe::{private_name, public_name};

use crate::aws::query::Params;
use crate::aws::xml::{Xml, request_id};
use crate::fleet::{Fleet, Refusal};
use crate::http::{Request, Response, Service, ServiceName, reply};
use crate::xml::escape;

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// EC2's API, which shows the instances of a [`Fleet`].
#[derive(Debug)]
pub struct Ec2 {
    fleet: Arc<Fleet>,
}

impl Ec2 {
    /// Creates EC2 for these instances. Steer it through the fleet: [`Fleet::hide`], [`Fleet::change`] and so on.
    pub fn new(fleet: Arc<Fleet>) -> Arc<Self> {
        Arc::new(Self { fleet })
    }

    fn act(&self, request: &Request) -> Result<Response, Refusal> {
        let params = Params::of(request);
        let action = params.required("Action").map_err(|_| {
            Refusal::new("MissingAction", "The request must contain the parameter Action".to_owned())
        })?;
        if params.get("Version") != Some("2016-11-15") {
            let version = params.get("Version").unwrap_or_default();
            return Err(Refusal::new(
                "NoSuchVersion",
                format!("The requested version ({version}) of service AmazonEC2 does not exist"),
            ));
        }
        match action {
            "DescribeInstances" => describe::instances(&self.fleet, &params),
            "AttachVolume" => self.attach(&params),
            other => Err(Refusal::new(
                "InvalidAction",
                format!("The action {other} is not valid for this web service."),
            )),
        }
    }
}

impl Ec2 {
    fn attach(&self, params: &Params) -> Result<Response, Refusal> {
        params.only(&["Device", "InstanceId", "VolumeId"])?;
        let [device, instance, volume] =
            ["Device", "InstanceId", "VolumeId"].map(|name| params.required(name));
        let (device, instance, volume) = (device?, instance?, volume?);
        self.fleet.attach_volume(volume, instance)?;
        let body = Xml::document("AttachVolumeResponse", NAMESPACE, |xml| {
            xml.text("requestId", request_id()).text("volumeId", volume).text("instanceId", instance);
            xml.text("device", device).text("status", "attaching").text("deleteOnTermination", false);
        });
        Ok(reply(200, "text/xml;charset=UTF-8", body))
    }
}

impl Service for Ec2 {
    fn name(&self) -> ServiceName {
        ServiceName::Ec2
    }

    fn action(&self, request: &Request) -> String {
        Params::of(request).get("Action").unwrap_or("(no action)").to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let answer = self.act(request).unwrap_or_else(|refusal| {
            // EC2 answers a dry run that would have succeeded with 412.
            let status = if refusal.code == "DryRunOperation" { 412 } else { 400 };
            failure(status, refusal.code, &refusal.message)
        });
        Box::pin(std::future::ready(answer))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        failure(status, code, crate::aws::message(code))
    }
}

fn failure(status: u16, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{}</Code><Message>{}</Message>\
         </Error></Errors><RequestID>{}</RequestID></Response>",
        escape(code),
        escape(message),
        request_id()
    );
    reply(status, "text/xml;charset=UTF-8", body)
}
