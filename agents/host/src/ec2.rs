//! EC2's API, as far as a host needs it to know about other hosts. One call each, no retry.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_sdk_ec2::types::{Filter, Instance};
use plan::instance::InstanceId;

use crate::aws;

/// Why EC2 did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EC2 DescribeInstances: {message}")]
pub struct Error {
    message: String,
    retryable: bool,
}

impl Error {
    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// EC2 in the region that the instances in question are in.
#[derive(Clone, Debug)]
pub struct Ec2 {
    client: aws_sdk_ec2::Client,
}

impl Ec2 {
    /// EC2 in `region`, whatever region the settings have: elsewhere nobody would know the host's own addresses.
    pub fn new(config: &aws_config::SdkConfig, region: &str) -> Self {
        let region = aws_sdk_ec2::config::Region::new(region.to_owned());
        let config = aws_sdk_ec2::config::Builder::from(config).region(region).build();
        Self { client: aws_sdk_ec2::Client::from_conf(config) }
    }

    /// Which instances of this account and region, other than terminated ones, have this address (DescribeInstances).
    pub async fn holders(&self, address: IpAddr) -> Result<BTreeSet<String>, Error> {
        let filter = match address {
            IpAddr::V4(v4) if v4.is_private() => "private-ip-address",
            IpAddr::V4(_) => "ip-address",
            IpAddr::V6(_) => "network-interface.ipv6-addresses.ipv6-address",
        };
        let instances = self.describe(filter, &address.to_string()).await?;
        Ok(instances.iter().filter_map(|instance| instance.instance_id().map(str::to_owned)).collect())
    }

    /// The Auto Scaling group that an instance's tags name (DescribeInstances): `None` when EC2 does not know the instance
    /// (yet), `Some(None)` outside a group.
    pub async fn group_name(&self, instance: &InstanceId) -> Result<Option<Option<String>>, Error> {
        let instances = self.describe("instance-id", instance.as_str()).await?;
        let group = |instance: &Instance| {
            let tag = instance.tags().iter().find(|tag| tag.key() == Some("aws:autoscaling:groupName"))?;
            tag.value().map(str::to_owned)
        };
        Ok(instances.first().map(group))
    }

    /// The instances that a filter lets through: an unknown one gives fewer rows, where asking by id gives an error.
    async fn describe(&self, filter: &str, value: &str) -> Result<Vec<Instance>, Error> {
        let filter = Filter::builder().name(filter).values(value).build();
        let answer =
            self.client.describe_instances().filters(filter).send().await.map_err(|error| Error {
                message: aws::explain(&error),
                retryable: aws::is_retryable(&error),
            })?;
        let reservations = answer.reservations.unwrap_or_default().into_iter();
        Ok(reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()).collect())
    }
}
