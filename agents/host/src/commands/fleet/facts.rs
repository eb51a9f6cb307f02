//! The answer of `fleet`, as data. Its JSON is an interface: fields are added, never renamed or removed.

use plan::fleet::{Row, Standing, Verdict};
use serde::{Serialize, Serializer};

use crate::report::Exit;

/// The answer of `fleet`.
#[derive(Clone, Debug, Serialize)]
pub struct Fleet {
    /// Version of this JSON's shape.
    pub schema: u32,
    /// `bbb-agent` or `turn-agent`.
    pub agent: String,
    /// The agent's version and commit.
    pub version: String,
    /// `in-order`, `wrong` or `cannot-tell`; the exit code says the same.
    #[serde(serialize_with = "word")]
    pub verdict: Verdict,
    /// The domain of the names.
    pub domain: String,
    /// The region that was asked.
    pub region: String,
    /// The reason why each source could not be asked; null where it answered.
    pub errors: Errors,
    /// Number of Route 53 calls that this answer took.
    pub route53_calls: u32,
    /// The fleet in figures.
    pub totals: Totals,
    /// The hosts, by instance.
    pub hosts: Vec<Host>,
}

/// The reasons why sources could not be asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Errors {
    /// Why the zone is not known.
    pub route53: Option<String>,
    /// Why Scalelite's entries are not known.
    pub scalelite: Option<String>,
    /// Why the instances are not known.
    pub ec2: Option<String>,
    /// Why the groups are not known.
    pub auto_scaling: Option<String>,
}

/// The fleet in figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Number of hosts.
    pub hosts: usize,
    /// Number of hosts in order.
    pub in_order: usize,
    /// Number of hosts not meant to get meetings.
    pub out: usize,
    /// Number of hosts of which something is not known.
    pub unknown: usize,
    /// Number of dead hosts of which something is left.
    pub debris: usize,
    /// Number of hosts with something wrong.
    pub wrong: usize,
    /// Number of hosts on which Scalelite places meetings.
    pub taking_meetings: Option<usize>,
    /// Sum of the loads that Scalelite knows.
    pub load: Option<f64>,
    /// Number of Scalelite's entries that belong to no host of the fleet.
    pub other_entries: Option<usize>,
}

/// One host.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Instance id.
    pub instance: String,
    /// Availability zone.
    pub availability_zone: Option<String>,
    /// When EC2 launched it, in seconds since 1970.
    pub launched: Option<u64>,
    /// EC2's state, or `absent`.
    pub instance_state: Option<String>,
    /// Auto Scaling group.
    pub group: Option<String>,
    /// Its lifecycle state in the group.
    pub lifecycle_state: Option<String>,
    /// Whether it is protected from scale-in.
    pub protected: Option<bool>,
    /// The name that it has or should have.
    pub name: Option<String>,
    /// `right`, `wrong` (address), `there` (not compared), `none` or `foreign`.
    pub name_state: Option<String>,
    /// `enabled`, `cordoned`, `disabled`, `none`, `several` or `odd`.
    pub entry: Option<String>,
    /// Whether Scalelite's polls reach it.
    pub online: Option<bool>,
    /// The entry's load.
    pub load: Option<f64>,
    /// `in-order`, `out`, `unknown`, `debris` or `wrong`.
    pub standing: String,
    /// The host's troubles, what is not known of it, or the reason why it is out, in words.
    pub words: Vec<String>,
}

impl Fleet {
    /// Returns the exit code of the verdict.
    pub fn exit(&self) -> Exit {
        match self.verdict {
            Verdict::InOrder => Exit::Done,
            Verdict::Wrong => Exit::Drift,
            Verdict::CannotTell => Exit::CannotTell,
        }
    }

    /// Tells whether there is a Scalelite.
    pub(super) fn has_scalelite(&self) -> bool {
        self.errors.scalelite.is_some() || self.totals.taking_meetings.is_some()
    }
}

impl Host {
    /// Describes a row.
    pub(super) fn of(row: &Row) -> Self {
        let (instance, member, entry) = (row.machine.instance(), row.place.member(), row.entries.one());
        let of_instance = instance.and_then(|instance| instance.availability_zone.clone());
        let of_member = || member.and_then(|member| member.availability_zone.clone());
        let by_tag = || instance.and_then(|instance| instance.group.clone());
        Self {
            instance: row.instance.to_string(),
            availability_zone: of_instance.or_else(of_member),
            launched: instance.and_then(|instance| instance.launched),
            instance_state: row.machine.state().map(str::to_owned),
            group: member.map(|member| member.group.clone()).or_else(by_tag),
            lifecycle_state: member.map(|member| member.state.clone()),
            protected: member.and_then(|member| member.protected),
            name: row.name.as_ref().map(ToString::to_string),
            name_state: row.named.as_str().map(str::to_owned),
            entry: row.entries.as_str().map(str::to_owned),
            online: entry.map(|entry| entry.online),
            load: entry.and_then(|entry| entry.load),
            standing: row.standing.as_str().to_owned(),
            words: row.words.clone(),
        }
    }

    /// Tells whether nothing needs to be said about it.
    pub(super) fn is_in_order(&self) -> bool {
        self.standing == Standing::InOrder.as_str()
    }

    /// Tells whether the words are news about something that needs a look.
    pub(super) fn needs_a_look(&self) -> bool {
        [Standing::Wrong, Standing::Debris].iter().any(|standing| standing.as_str() == self.standing)
    }
}

fn word<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.as_str())
}
