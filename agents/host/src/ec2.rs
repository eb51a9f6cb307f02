//! EC2's API, as far as a host needs it to know about other hosts. One call each, no retry.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_sdk_ec2::types::Filter;
use plan::instance::InstanceId;

use crate::aws;

/// EC2 in the host's own region.
#[derive(Clone, Debug)]
pub struct Ec2 {
    client: aws_sdk_ec2::Client,
}

impl Ec2 {
    /// EC2 with the given settings.
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self { client: aws_sdk_ec2::Client::new(config) }
    }

    /// Which instances of this account and region, other than terminated ones, have this address (DescribeInstances).
    pub async fn holders(&self, address: IpAddr) -> Result<BTreeSet<String>, String> {
        let filter = match address {
            IpAddr::V4(v4) if v4.is_private() => "private-ip-address",
            IpAddr::V4(_) => "ip-address",
            IpAddr::V6(_) => "network-interface.ipv6-addresses.ipv6-address",
        };
        let filter = Filter::builder().name(filter).values(address.to_string()).build();
        let answer = self.client.describe_instances().filters(filter).send().await;
        let answer = answer.map_err(|error| format!("EC2 DescribeInstances: {}", aws::explain(&error)))?;
        let instances = answer.reservations().iter().flat_map(|reservation| reservation.instances());
        Ok(instances.filter_map(|instance| instance.instance_id().map(str::to_owned)).collect())
    }

    /// The Auto Scaling group that an instance's tags name (DescribeInstances); `None` outside a group.
    pub async fn group_name(&self, instance: &InstanceId) -> Result<Option<String>, String> {
        // A filter answers with fewer rows where an id that EC2 does not know yet would be an error.
        let filter = Filter::builder().name("instance-id").values(instance.as_str()).build();
        let answer = self.client.describe_instances().filters(filter).send().await;
        let answer = answer.map_err(|error| format!("EC2 DescribeInstances: {}", aws::explain(&error)))?;
        let instances = answer.reservations().iter().flat_map(|reservation| reservation.instances());
        let tag = instances
            .flat_map(|instance| instance.tags())
            .find(|tag| tag.key() == Some("aws:autoscaling:groupName"));
        Ok(tag.and_then(|tag| tag.value()).map(str::to_owned))
    }
}
