//! EC2's API, as far as a host needs it to know about other hosts. One call each, no retry.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;

use aws_sdk_ec2::types::{Filter, Instance, InstanceStateName};
use plan::instance::InstanceId;
use plan::sweep::Seen;

use crate::aws;

/// Why EC2 did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EC2 DescribeInstances: {message}")]
pub struct Error {
    /// What answered.
    pub message: String,
    /// Whether asking again may help.
    pub retryable: bool,
}

impl Error {
    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Most values of a filter (DescribeInstances).
pub const VALUES: usize = 200;
/// Most pages that are read: a page has up to 1,000 instances, and never more are asked about than [`VALUES`].
const PAGES: usize = 50;

/// What the loops ask EC2 in a region. [`Ec2`] is the real one.
pub trait Instances {
    /// Which instances of this account and region, other than terminated ones, have this address.
    fn holders(&self, address: IpAddr) -> impl Future<Output = Result<BTreeSet<String>, Error>>;

    /// What has become of these instances, [`VALUES`] at most.
    fn seen(&self, asked: &[InstanceId]) -> impl Future<Output = Result<BTreeMap<InstanceId, Seen>, Error>>;
}

/// The Auto Scaling group of an instance, by its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupName {
    /// EC2 does not know the instance, or not yet.
    UnknownInstance,
    /// The instance is in no group.
    Nowhere,
    /// The name of the instance's group.
    In(String),
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

    /// Returns the Auto Scaling group that an instance's tags name (DescribeInstances).
    pub async fn group_name(&self, instance: &InstanceId) -> Result<GroupName, Error> {
        let instances = self.describe("instance-id", vec![instance.as_str().to_owned()]).await?;
        let Some(instance) = instances.first() else { return Ok(GroupName::UnknownInstance) };
        let tag = instance.tags().iter().find(|tag| tag.key() == Some("aws:autoscaling:groupName"));
        let name = tag.and_then(|tag| tag.value()).map(str::to_owned);
        Ok(name.map_or(GroupName::Nowhere, GroupName::In))
    }

    /// The instances that a filter lets through: an unknown one gives fewer rows, where asking by id gives an error.
    async fn describe(&self, filter: &str, values: Vec<String>) -> Result<Vec<Instance>, Error> {
        let filter = Filter::builder().name(filter).set_values(Some(values)).build();
        let mut instances = Vec::new();
        let mut next = None;
        // An answer that goes on must not be read as the absence of the rest.
        for _ in 0..PAGES {
            let request = self.client.describe_instances().filters(filter.clone()).set_next_token(next);
            let answer = request.send().await.map_err(|error| Error {
                message: aws::explain(&error),
                retryable: aws::is_retryable(&error),
            })?;
            let reservations = answer.reservations.unwrap_or_default().into_iter();
            instances.extend(reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()));
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(instances);
            }
        }
        let message = format!("DescribeInstances has more than {PAGES} pages for {filter:?}");
        Err(Error { message, retryable: false })
    }
}

impl Instances for Ec2 {
    /// DescribeInstances.
    async fn holders(&self, address: IpAddr) -> Result<BTreeSet<String>, Error> {
        let filter = match address {
            IpAddr::V4(v4) if v4.is_private() => "private-ip-address",
            IpAddr::V4(_) => "ip-address",
            IpAddr::V6(_) => "network-interface.ipv6-addresses.ipv6-address",
        };
        let instances = self.describe(filter, vec![address.to_string()]).await?;
        Ok(instances.iter().filter_map(|instance| instance.instance_id().map(str::to_owned)).collect())
    }

    /// DescribeInstances.
    async fn seen(&self, asked: &[InstanceId]) -> Result<BTreeMap<InstanceId, Seen>, Error> {
        let values = asked.iter().map(|id| id.as_str().to_owned()).collect();
        let instances = self.describe("instance-id", values).await?;
        let seen = asked.iter().map(|id| {
            let instance = instances.iter().find(|instance| instance.instance_id() == Some(id.as_str()));
            (id.clone(), instance.map_or(Seen::Absent, state))
        });
        Ok(seen.collect())
    }
}

/// A state that EC2 does not tell is no proof of anything.
fn state(instance: &Instance) -> Seen {
    match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Terminated) => Seen::Terminated,
        Some(other) => Seen::There(other.as_str().to_owned()),
        None => Seen::There("in no known state".to_owned()),
    }
}
