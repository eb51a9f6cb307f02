//! The instances and their Auto Scaling groups: the one state behind IMDS, EC2 and Auto Scaling.

mod group;
mod lifecycle;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use group::{ActionOf, Group, Hook, HookResult, Member, PendingAction, Transition};
pub use lifecycle::LifecycleState;

use crate::clock::Clock;

/// The facts that IMDS tells an instance about itself; EC2 tells others the same. An absent value is a 404 in IMDS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceFacts {
    /// `i-` and 17 hexadecimal digits.
    pub instance_id: String,
    /// Twelve digits.
    pub account_id: String,
    /// The region, e.g. `eu-central-1`.
    pub region: String,
    /// The partition, e.g. `aws-cn`.
    pub partition: String,
    /// The DNS suffix of the partition's services, e.g. `amazonaws.com.cn`.
    pub domain: String,
    /// The availability zone, e.g. `eu-central-1a`.
    pub availability_zone: String,
    /// The image's id, `ami-...`.
    pub image_id: String,
    /// The instance type, e.g. `c5.xlarge`.
    pub instance_type: String,
    /// The private address.
    pub local_ipv4: Option<Ipv4Addr>,
    /// The public address; none in a private subnet.
    pub public_ipv4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// The network interface's address.
    pub mac: Option<String>,
    /// `on-demand` or `spot`.
    pub life_cycle: Option<String>,
    /// The instance's tags.
    pub tags: BTreeMap<String, String>,
    /// Whether IMDS shows the tags (`InstanceMetadataTags`; off by default in EC2).
    pub tags_in_metadata: bool,
    /// The role of the instance profile; without one IMDS has no `iam/`.
    pub role: Option<String>,
    /// The value of `autoscaling/target-lifecycle-state` in place of the group's; normally none.
    pub target_lifecycle_state: Option<String>,
    /// The spot interruption notice.
    pub spot: Option<SpotNotice>,
    /// The time of a rebalance recommendation, e.g. `2026-01-31T23:59:59Z`.
    pub rebalance: Option<String>,
    /// The UserData of the launch, as IMDS shows it; none means 404.
    pub user_data: Option<String>,
    /// Scheduled maintenance events, as IMDS shows them.
    pub maintenance: Vec<Value>,
}

/// A spot interruption notice: `spot/instance-action`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpotNotice {
    /// The action: `terminate`, `stop` or `hibernate`.
    pub action: String,
    /// The time of the interruption, e.g. `2026-01-31T23:59:59Z`; two minutes ahead at best.
    pub time: String,
}

impl Default for InstanceFacts {
    /// Returns a BBB host with documentation addresses (RFC 5737, RFC 3849).
    fn default() -> Self {
        Self {
            instance_id: "i-0123456789abcdef0".to_owned(),
            account_id: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
            partition: "aws".to_owned(),
            domain: "amazonaws.com".to_owned(),
            availability_zone: "eu-central-1a".to_owned(),
            image_id: "ami-0abcdef1234567890".to_owned(),
            instance_type: "c5.xlarge".to_owned(),
            local_ipv4: Some(Ipv4Addr::new(10, 0, 0, 10)),
            public_ipv4: Some(Ipv4Addr::new(203, 0, 113, 10)),
            ipv6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10)),
            mac: Some("0a:00:00:00:00:10".to_owned()),
            life_cycle: Some("on-demand".to_owned()),
            tags: BTreeMap::from([("Name".to_owned(), "bbb-0".to_owned())]),
            tags_in_metadata: true,
            role: Some("bbb-fleet-host".to_owned()),
            target_lifecycle_state: None,
            spot: None,
            rebalance: None,
            user_data: None,
            maintenance: Vec::new(),
        }
    }
}

/// EC2's instance states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// The instance is being launched.
    Pending,
    /// The instance runs.
    Running,
    /// The instance is being terminated.
    ShuttingDown,
    /// The instance is gone, but listed for about another hour.
    Terminated,
    /// The instance is being stopped.
    Stopping,
    /// The instance is stopped.
    Stopped,
}

impl InstanceState {
    /// Returns EC2's number for the state.
    pub fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }

    /// Returns EC2's name for the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instance {
    /// The facts of the instance.
    pub facts: InstanceFacts,
    /// The state in EC2.
    pub state: InstanceState,
    /// The time of the launch, in seconds since 1970.
    pub launched: u64,
    /// Whether DescribeInstances does not show the instance yet: EC2 is eventually consistent.
    pub hidden: bool,
}

/// A refusal in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error code, e.g. `ValidationError`.
    pub code: &'static str,
    /// The message.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", message)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<String, Instance>,
    groups: BTreeMap<String, Group>,
    /// The instance that each EBS volume is attached to.
    volumes: BTreeMap<String, Option<String>>,
}

/// All instances and groups of the account in one region.
#[derive(Debug)]
pub struct Fleet {
    clock: Clock,
    state: Mutex<State>,
}

impl Fleet {
    /// Creates an empty fleet.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default() })
    }

    /// Returns the clock by which lifecycle hooks expire.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Locks the state; every access first lets expired lifecycle hooks take their default result.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.seconds();
        state.groups.values_mut().for_each(|group| group.expire(now));
        state
    }

    /// Adds a running instance, launched now, in no group; replaces one with the same id.
    pub fn launch(&self, facts: InstanceFacts) {
        let launched = self.clock.seconds();
        let instance = Instance { facts, state: InstanceState::Running, launched, hidden: false };
        self.state().instances.insert(instance.facts.instance_id.clone(), instance);
    }

    /// Returns an instance, whether it is visible to EC2 or not.
    pub fn instance(&self, id: &str) -> Option<Instance> {
        self.state().instances.get(id).cloned()
    }

    /// Returns all instances, by id.
    pub fn instances(&self) -> Vec<Instance> {
        self.state().instances.values().cloned().collect()
    }

    /// Changes an instance in place, except for its id.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Instance)) -> Result<(), Refusal> {
        let mut state = self.state();
        let instance = state.instances.get_mut(id).ok_or_else(|| unknown_instance(id))?;
        change(instance);
        id.clone_into(&mut instance.facts.instance_id);
        Ok(())
    }

    /// Makes DescribeInstances overlook the instance until [`Fleet::reveal`].
    pub fn hide(&self, id: &str) -> Result<(), Refusal> {
        self.change(id, |instance| instance.hidden = true)
    }

    /// Ends [`Fleet::hide`].
    pub fn reveal(&self, id: &str) -> Result<(), Refusal> {
        self.change(id, |instance| instance.hidden = false)
    }

    /// Lets EC2 begin to end the instance: `shutting-down`, as after a termination hook or a hard termination.
    pub fn shut_down(&self, id: &str) -> Result<(), Refusal> {
        self.change(id, |instance| instance.state = InstanceState::ShuttingDown)
    }

    /// Ends the instance: it is `terminated`, without addresses, and no longer in a group. Works without a shutdown
    /// before it, as a crash does.
    pub fn finish_termination(&self, id: &str) -> Result<(), Refusal> {
        self.change(id, |instance| {
            instance.state = InstanceState::Terminated;
            instance.facts.local_ipv4 = None;
            instance.facts.public_ipv4 = None;
            instance.facts.ipv6 = None;
        })?;
        let mut state = self.state();
        state.groups.values_mut().for_each(|group| drop(group.members.remove(id)));
        state.volumes.values_mut().filter(|of| of.as_deref() == Some(id)).for_each(|of| *of = None);
        Ok(())
    }

    /// Makes an EBS volume, which no instance has.
    pub fn add_volume(&self, volume: &str) {
        self.state().volumes.insert(volume.to_owned(), None);
    }

    /// Returns the instance that has a volume.
    pub fn volume_at(&self, volume: &str) -> Option<String> {
        self.state().volumes.get(volume).cloned().flatten()
    }

    /// Attaches a volume to an instance, from which only its end takes it (EC2's API reference, AttachVolume and "Error
    /// codes").
    pub fn attach_volume(&self, volume: &str, instance: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        let is_there = |found: &Instance| !matches!(found.state, InstanceState::Terminated);
        if !state.instances.get(instance).is_some_and(is_there) {
            return Err(unknown_instance(instance));
        }
        let missing =
            || Refusal::new("InvalidVolume.NotFound", format!("The volume '{volume}' does not exist."));
        let of = state.volumes.get_mut(volume).ok_or_else(missing)?;
        if of.is_some() {
            return Err(Refusal::new("VolumeInUse", format!("{volume} is already attached to an instance")));
        }
        *of = Some(instance.to_owned());
        Ok(())
    }
}

fn unknown_instance(id: &str) -> Refusal {
    Refusal::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
}
