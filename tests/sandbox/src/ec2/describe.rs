//! The operation DescribeInstances.

use super::NAMESPACE;
use super::filter::Filter;
use crate::aws::query::{Params, page};
use crate::aws::xml::{Xml, request_id};
use crate::clock::iso8601;
use crate::fleet::{Fleet, Instance, InstanceState, Refusal};
use crate::http::{Response, reply};

pub(super) fn instances(fleet: &Fleet, params: &Params) -> Result<Response, Refusal> {
    params.only(&["InstanceId", "Filter", "MaxResults", "NextToken", "DryRun"])?;
    let wanted = params.list("InstanceId");
    let size = params.number("MaxResults", 5..=1000)?;
    if !wanted.is_empty() && size.is_some() {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    let filters = Filter::read(params)?;
    if params.get("DryRun") == Some("true") {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(Refusal::new("DryRunOperation", message));
    }
    let visible: Vec<Instance> = fleet.instances().into_iter().filter(|instance| !instance.hidden).collect();
    check_ids(&wanted, &visible)?;
    let found: Vec<Instance> = visible
        .into_iter()
        .filter(|instance| wanted.is_empty() || wanted.contains(&instance.facts.instance_id))
        .filter(|instance| filters.iter().all(|filter| filter.passes(instance)))
        .collect();
    let (rows, next) = page(&found, params.get("NextToken"), size.unwrap_or(1000), "InvalidParameterValue")?;
    let body = Xml::document("DescribeInstancesResponse", NAMESPACE, |xml| {
        xml.text("requestId", request_id());
        xml.element("reservationSet", |xml| rows.iter().for_each(|instance| reservation(xml, instance)));
        xml.maybe("nextToken", next);
    });
    Ok(reply(200, "text/xml;charset=UTF-8", body))
}

/// Refuses unknown ids, unlike filters that match nothing; the error names all of them.
fn check_ids(wanted: &[String], visible: &[Instance]) -> Result<(), Refusal> {
    if let Some(id) = wanted.iter().find(|id| !well_formed(id)) {
        return Err(Refusal::new("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
    }
    let known = |id: &&String| visible.iter().any(|instance| instance.facts.instance_id == **id);
    let unknown: Vec<&str> = wanted.iter().filter(|id| !known(id)).map(String::as_str).collect();
    let message = match unknown.as_slice() {
        [] => return Ok(()),
        [id] => format!("The instance ID '{id}' does not exist"),
        ids => format!("The instance IDs '{}' do not exist", ids.join(", ")),
    };
    Err(Refusal::new("InvalidInstanceID.NotFound", message))
}

fn well_formed(id: &str) -> bool {
    id.strip_prefix("i-").is_some_and(|hex| {
        [8, 17].contains(&hex.len()) && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn reservation(xml: &mut Xml, instance: &Instance) {
    let hex = instance.facts.instance_id.trim_start_matches("i-");
    xml.element("item", |xml| {
        xml.text("reservationId", format!("r-{hex}"));
        xml.text("ownerId", &instance.facts.account_id);
        xml.element("groupSet", |_| {});
        xml.element("instancesSet", |xml| {
            xml.element("item", |xml| describe(xml, instance));
        });
    });
}

fn describe(xml: &mut Xml, instance: &Instance) {
    let facts = &instance.facts;
    xml.text("instanceId", &facts.instance_id);
    xml.text("imageId", &facts.image_id);
    xml.element("instanceState", |xml| {
        xml.text("code", instance.state.code()).text("name", instance.state.as_str());
    });
    let private = facts.local_ipv4.map(|ip| private_name(ip, &facts.region)).unwrap_or_default();
    xml.text("privateDnsName", private);
    xml.text("dnsName", facts.public_ipv4.map(|ip| public_name(ip, &facts.region)).unwrap_or_default());
    xml.text("reason", "");
    xml.text("amiLaunchIndex", 0);
    xml.text("instanceType", &facts.instance_type);
    xml.text("launchTime", iso8601(instance.launched).replace('Z', ".000Z"));
    xml.element("placement", |xml| {
        xml.text("availabilityZone", &facts.availability_zone);
        xml.text("groupName", "").text("tenancy", "default");
    });
    xml.element("monitoring", |xml| {
        xml.text("state", "disabled");
    });
    xml.maybe("privateIpAddress", facts.local_ipv4);
    xml.maybe("ipAddress", facts.public_ipv4);
    xml.maybe("instanceLifecycle", facts.life_cycle.as_ref().filter(|cycle| *cycle != "on-demand"));
    xml.element("tagSet", |xml| {
        for (key, value) in &facts.tags {
            xml.element("item", |xml| {
                xml.text("key", key).text("value", value);
            });
        }
    });
    if instance.state != InstanceState::Terminated {
        xml.element("networkInterfaceSet", |xml| {
            xml.element("item", |xml| interface(xml, instance));
        });
    }
    if let Some(role) = &facts.role {
        xml.element("iamInstanceProfile", |xml| {
            xml.text("arn", format!("arn:aws:iam::{}:instance-profile/{role}", facts.account_id));
        });
    }
}

fn interface(xml: &mut Xml, instance: &Instance) {
    let facts = &instance.facts;
    let association = |xml: &mut Xml| {
        if let Some(ip) = facts.public_ipv4 {
            xml.element("association", |xml| {
                xml.text("publicIp", ip).text("publicDnsName", public_name(ip, &facts.region));
                xml.text("ipOwnerId", "amazon");
            });
        }
    };
    xml.text("networkInterfaceId", format!("eni-{}", facts.instance_id.trim_start_matches("i-")));
    xml.text("status", "in-use");
    xml.maybe("macAddress", facts.mac.as_ref());
    xml.maybe("privateIpAddress", facts.local_ipv4);
    association(xml);
    xml.element("privateIpAddressesSet", |xml| {
        if let Some(ip) = facts.local_ipv4 {
            xml.element("item", |xml| {
                xml.text("privateIpAddress", ip).text("primary", true);
                association(xml);
            });
        }
    });
    xml.element("ipv6AddressesSet", |xml| {
        if let Some(ip) = facts.ipv6 {
            xml.element("item", |xml| {
                xml.text("ipv6Address", ip);
            });
        }
    });
}

/// Returns a name such as `ec2-203-0-113-10.eu-central-1.compute.amazonaws.com`.
pub(crate) fn public_name(ip: std::net::Ipv4Addr, region: &str) -> String {
    format!("ec2-{}.{region}.compute.amazonaws.com", ip.to_string().replace('.', "-"))
}

/// Returns a name such as `ip-10-0-0-10.eu-central-1.compute.internal`.
pub(crate) fn private_name(ip: std::net::Ipv4Addr, region: &str) -> String {
    format!("ip-{}.{region}.compute.internal", ip.to_string().replace('.', "-"))
}
