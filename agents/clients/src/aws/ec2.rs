//! EC2's API, for what a host has to know about other hosts. One call each, no retry.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_sdk_ec2::types::{Filter, Instance, InstanceStateName};
use plan::instance::InstanceId;
use plan::sweep::Seen;

use crate::aws;

/// An EC2 question that got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EC2 DescribeInstances: {message}")]
pub struct Error {
    /// The service's message, or why the call got no answer.
    pub message: String,
    /// `true` where the same call may succeed later.
    pub retryable: bool,
}

impl Error {
    /// Reports whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// The most values that a filter takes (DescribeInstances).
pub const VALUES: usize = 200;
/// The most pages to read. A page has up to [`PAGE`] instances, and a question names at most [`VALUES`] of them.
const PAGES: usize = 50;
/// The most instances in a page (DescribeInstances).
const PAGE: i32 = 1000;
/// The tag by which Auto Scaling marks the instances of a group.
const GROUP: &str = "aws:autoscaling:groupName";

/// The questions that the loops ask EC2 in a region. [`Ec2`] is the real implementation.
pub trait Instances {
    /// Returns the ids of the instances of this account and region that have this address, without terminated ones.
    fn holders(&self, address: IpAddr) -> impl Future<Output = Result<BTreeSet<String>, Error>>;

    /// Returns the present state of these instances, at most [`VALUES`] of them.
    fn seen(&self, asked: &[InstanceId]) -> impl Future<Output = Result<BTreeMap<InstanceId, Seen>, Error>>;
}

/// The Auto Scaling group of an instance, by its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupName {
    /// EC2 does not know the instance (yet).
    UnknownInstance,
    /// The instance is in no group.
    Nowhere,
    /// The name of the instance's group.
    In(String),
}

/// An instance as EC2 describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its state.
    pub state: Seen,
    /// Its availability zone.
    pub availability_zone: Option<String>,
    /// When it was launched, in seconds since 1970.
    pub launched: Option<u64>,
    /// The Auto Scaling group that its tags name.
    pub group: Option<String>,
    /// Its public IPv4 address.
    pub public_ipv4: Option<Ipv4Addr>,
    /// Its address inside the VPC.
    pub private_ipv4: Option<Ipv4Addr>,
    /// Its IPv6 addresses.
    pub ipv6: BTreeSet<Ipv6Addr>,
}

impl Described {
    fn of(instance: &Instance) -> Self {
        let v4 = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let interfaces = instance.network_interfaces().iter();
        let ipv6 = interfaces.flat_map(|interface| interface.ipv6_addresses());
        Self {
            state: state(instance),
            availability_zone: instance.placement().and_then(|at| at.availability_zone()).map(str::to_owned),
            launched: instance.launch_time().and_then(|time| u64::try_from(time.secs()).ok()),
            group: group(instance),
            public_ipv4: v4(instance.public_ip_address()),
            private_ipv4: v4(instance.private_ip_address()),
            ipv6: ipv6.filter_map(|address| address.ipv6_address()?.parse().ok()).collect(),
        }
    }
}

/// EC2 in the region of the instances in question.
#[derive(Clone, Debug)]
pub struct Ec2 {
    client: aws_sdk_ec2::Client,
}

impl Ec2 {
    /// Creates a client for `region`, whatever region the settings name: no other region knows the host's own
    /// addresses.
    pub fn new(config: &aws_config::SdkConfig, region: &str) -> Self {
        let region = aws_sdk_ec2::config::Region::new(region.to_owned());
        let config = aws_sdk_ec2::config::Builder::from(config).region(region).build();
        Self { client: aws_sdk_ec2::Client::from_conf(config) }
    }

    /// Returns the Auto Scaling group that an instance's tags name (DescribeInstances).
    pub async fn group_name(&self, instance: &InstanceId) -> Result<GroupName, Error> {
        let instances = self.describe("instance-id", vec![instance.as_str().to_owned()]).await?;
        let Some(instance) = instances.first() else { return Ok(GroupName::UnknownInstance) };
        Ok(group(instance).map_or(GroupName::Nowhere, GroupName::In))
    }

    /// Lists all instances of this account and region (DescribeInstances): one call for each thousand. A filter by id
    /// takes [`VALUES`] of them only, and does not find an instance without a name.
    pub async fn all(&self) -> Result<BTreeMap<InstanceId, Described>, Error> {
        let instances = self.pages(None, Some(PAGE)).await?;
        let described = instances.iter().filter_map(|instance| {
            let id = InstanceId::parse(instance.instance_id()?).ok()?;
            Some((id, Described::of(instance)))
        });
        Ok(described.collect())
    }

    /// Lists the instances that match a filter. For an unknown instance a filter returns no row; asking by id fails.
    async fn describe(&self, filter: &str, values: Vec<String>) -> Result<Vec<Instance>, Error> {
        let filter = Filter::builder().name(filter).set_values(Some(values)).build();
        self.pages(Some(filter), None).await
    }

    /// Reads all pages of an answer.
    async fn pages(&self, filter: Option<Filter>, size: Option<i32>) -> Result<Vec<Instance>, Error> {
        let mut instances = Vec::new();
        let mut next = None;
        // An answer with a further page must not be read as proof that the rest does not exist.
        for _ in 0..PAGES {
            let filters = filter.clone().map(|filter| vec![filter]);
            let request = self.client.describe_instances().set_filters(filters);
            let request = request.set_max_results(size).set_next_token(next);
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
        let what = filter.map_or("all instances".to_owned(), |filter| format!("{filter:?}"));
        let message = format!("DescribeInstances has more than {PAGES} pages for {what}");
        Err(Error { message, retryable: false })
    }
}

impl Instances for Ec2 {
    /// Calls DescribeInstances.
    async fn holders(&self, address: IpAddr) -> Result<BTreeSet<String>, Error> {
        let filter = match address {
            IpAddr::V4(v4) if v4.is_private() => "private-ip-address",
            IpAddr::V4(_) => "ip-address",
            IpAddr::V6(_) => "network-interface.ipv6-addresses.ipv6-address",
        };
        let instances = self.describe(filter, vec![address.to_string()]).await?;
        Ok(instances.iter().filter_map(|instance| instance.instance_id().map(str::to_owned)).collect())
    }

    /// Calls DescribeInstances.
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

/// Returns the Auto Scaling group that an instance's tags name.
fn group(instance: &Instance) -> Option<String> {
    let tag = instance.tags().iter().find(|tag| tag.key() == Some(GROUP));
    tag.and_then(|tag| tag.value()).map(str::to_owned)
}

/// Translates the instance's state; a state that EC2 leaves out proves nothing.
fn state(instance: &Instance) -> Seen {
    match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Terminated) => Seen::Terminated,
        Some(other) => Seen::There(other.as_str().to_owned()),
        None => Seen::There("in no known state".to_owned()),
    }
}
