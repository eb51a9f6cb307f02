//! The keys and values below `/latest/`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::json;

use crate::aws::Keys;
use crate::clock::{iso8601, real_time};
use crate::ec2::{private_name, public_name};
use crate::fleet::InstanceFacts;

/// Returns the key after `/latest/` or `/2021-07-15/`; none for other paths.
pub(super) fn below_version(path: &str) -> Option<&str> {
    let (version, key) = path.strip_prefix('/')?.split_once('/').unwrap_or((path.strip_prefix('/')?, ""));
    let dated = version.len() == 10
        && version.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    (version == "latest" || dated).then_some(key)
}

/// Returns a value, or the listing of a directory.
pub(super) fn lookup(values: &BTreeMap<String, String>, key: &str) -> Option<String> {
    if let Some(value) = values.get(key) {
        return Some(value.clone());
    }
    let directory = key.trim_end_matches('/');
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let below: BTreeSet<String> = values
        .keys()
        .filter_map(|name| name.strip_prefix(&prefix))
        .map(|rest| match rest.split_once('/') {
            Some((child, _)) => format!("{child}/"),
            None => rest.to_owned(),
        })
        .collect();
    (!below.is_empty()).then(|| below.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Returns all keys that exist now. `group` is the target state that follows from the Auto Scaling group.
pub(super) fn values(
    facts: &InstanceFacts,
    group: Option<&str>,
    keys: Option<&Keys>,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut put = |key: &str, value: String| drop(values.insert(key.to_owned(), value));
    put("dynamic/instance-identity/document", document(facts));
    if let Some(script) = &facts.user_data {
        put("user-data", script.clone());
    }
    for (key, value) in meta_data(facts, group) {
        put(&format!("meta-data/{key}"), value);
    }
    if let (Some(role), Some(keys)) = (&facts.role, keys) {
        put("meta-data/iam/info", profile(facts, role));
        put(&format!("meta-data/iam/security-credentials/{role}"), credentials(keys));
    }
    values
}

fn meta_data(facts: &InstanceFacts, group: Option<&str>) -> Vec<(String, String)> {
    let mut values = vec![
        ("ami-id", facts.image_id.clone()),
        ("ami-launch-index", "0".to_owned()),
        ("ami-manifest-path", "(unknown)".to_owned()),
        ("block-device-mapping/ami", "/dev/sda1".to_owned()),
        ("block-device-mapping/root", "/dev/sda1".to_owned()),
        ("events/maintenance/scheduled", json!(facts.maintenance).to_string()),
        ("instance-action", "none".to_owned()),
        ("instance-id", facts.instance_id.clone()),
        ("instance-type", facts.instance_type.clone()),
        ("placement/availability-zone", facts.availability_zone.clone()),
        ("placement/region", facts.region.clone()),
        ("profile", "default-hvm".to_owned()),
        ("reservation-id", named("r", facts)),
        ("security-groups", "default".to_owned()),
        ("services/domain", facts.domain.clone()),
        ("services/partition", facts.partition.clone()),
    ];
    let mut some = |key, value: Option<String>| values.extend(value.map(|value| (key, value)));
    some("instance-life-cycle", facts.life_cycle.clone());
    some("local-ipv4", facts.local_ipv4.map(|ip| ip.to_string()));
    some("local-hostname", facts.local_ipv4.map(|ip| private_name(ip, &facts.region)));
    some("hostname", facts.local_ipv4.map(|ip| private_name(ip, &facts.region)));
    some("public-ipv4", facts.public_ipv4.map(|ip| ip.to_string()));
    some("public-hostname", facts.public_ipv4.map(|ip| public_name(ip, &facts.region)));
    some("ipv6", facts.ipv6.map(|ip| ip.to_string()));
    some("mac", facts.mac.clone());
    let target = facts.target_lifecycle_state.clone().or_else(|| group.map(str::to_owned));
    some("autoscaling/target-lifecycle-state", target);
    let spot = facts.spot.as_ref();
    some("spot/instance-action", spot.map(|notice| json!(notice).to_string()));
    // The older key announces only terminations.
    let termination = spot.filter(|notice| notice.action == "terminate");
    some("spot/termination-time", termination.map(|notice| notice.time.clone()));
    let rebalance = facts.rebalance.as_ref().map(|time| json!({ "noticeTime": time }).to_string());
    some("events/recommendations/rebalance", rebalance);
    let mut values: Vec<(String, String)> =
        values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    if facts.tags_in_metadata {
        values.extend(facts.tags.iter().map(|(key, value)| (format!("tags/instance/{key}"), value.clone())));
    }
    values.extend(interface(facts));
    values
}

/// Returns the keys below `network/interfaces/macs/<mac>/`, which cloud-init reads. Every instance of today is in a
/// VPC; its networks here are the /16 and the /24 of its private address.
fn interface(facts: &InstanceFacts) -> Vec<(String, String)> {
    let Some(mac) = &facts.mac else { return Vec::new() };
    let network = |prefix: u32| {
        let mask = u32::MAX << (32 - prefix);
        facts.local_ipv4.map(|ip| format!("{}/{prefix}", Ipv4Addr::from(u32::from(ip) & mask)))
    };
    let (subnet, vpc) = (network(24), network(16));
    let keys = [
        ("device-number", Some("0".to_owned())),
        ("interface-id", Some(named("eni", facts))),
        ("ipv6s", facts.ipv6.map(|ip| ip.to_string())),
        ("local-hostname", facts.local_ipv4.map(|ip| private_name(ip, &facts.region))),
        ("local-ipv4s", facts.local_ipv4.map(|ip| ip.to_string())),
        ("mac", Some(mac.clone())),
        ("owner-id", Some(facts.account_id.clone())),
        ("public-hostname", facts.public_ipv4.map(|ip| public_name(ip, &facts.region))),
        ("public-ipv4s", facts.public_ipv4.map(|ip| ip.to_string())),
        ("security-group-ids", Some("sg-0123456789abcdef0".to_owned())),
        ("security-groups", Some("default".to_owned())),
        ("subnet-id", Some("subnet-0123456789abcdef0".to_owned())),
        ("subnet-ipv4-cidr-block", subnet),
        ("vpc-id", Some("vpc-0123456789abcdef0".to_owned())),
        ("vpc-ipv4-cidr-block", vpc.clone()),
        ("vpc-ipv4-cidr-blocks", vpc),
    ];
    let path = |key: &str| format!("network/interfaces/macs/{mac}/{key}");
    let association = facts.public_ipv4.zip(facts.local_ipv4);
    let association =
        association.map(|(public, local)| (path(&format!("ipv4-associations/{public}")), local.to_string()));
    keys.into_iter().filter_map(|(key, value)| Some((path(key), value?))).chain(association).collect()
}

/// Returns the id of a thing that the instance has one of.
fn named(prefix: &str, facts: &InstanceFacts) -> String {
    format!("{prefix}-{}", facts.instance_id.trim_start_matches("i-"))
}

fn document(facts: &InstanceFacts) -> String {
    let document = json!({
        "accountId": facts.account_id,
        "architecture": "x86_64",
        "availabilityZone": facts.availability_zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": facts.image_id,
        "instanceId": facts.instance_id,
        "instanceType": facts.instance_type,
        "kernelId": null,
        "pendingTime": "2026-01-01T00:00:00Z",
        "privateIp": facts.local_ipv4,
        "ramdiskId": null,
        "region": facts.region,
        "version": "2017-09-30",
    });
    format!("{document:#}")
}

fn profile(facts: &InstanceFacts, role: &str) -> String {
    let profile = json!({
        "Code": "Success",
        "LastUpdated": iso8601(real_time().as_secs()),
        "InstanceProfileArn": format!("arn:aws:iam::{}:instance-profile/{role}", facts.account_id),
        "InstanceProfileId": "AIPAEXAMPLEEXAMPLE000",
    });
    format!("{profile:#}")
}

fn credentials(keys: &Keys) -> String {
    let credentials = json!({
        "Code": "Success",
        "LastUpdated": iso8601(keys.issued()),
        "Type": "AWS-HMAC",
        "AccessKeyId": keys.access_key,
        "SecretAccessKey": keys.secret_key,
        "Token": keys.session_token,
        "Expiration": iso8601(keys.expires.unwrap_or(real_time().as_secs() + 6 * 3600)),
    });
    format!("{credentials:#}")
}
