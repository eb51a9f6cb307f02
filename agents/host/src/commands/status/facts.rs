//! What `status` tells, as data. Its JSON is an interface: fields are added, never renamed or removed.

use plan::health::Verdict;
use serde::{Serialize, Serializer};

use crate::control::ServiceState;
use crate::report::Exit;

/// Everything that `status` tells. A part that could not be found out has its reason in `error`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of this JSON's shape.
    pub schema: u32,
    /// `bbb-agent` or `turn-agent`.
    pub agent: String,
    /// The agent's version and commit.
    pub version: String,
    /// `registered`, `drift`, `not-registered` or `cannot-tell`.
    #[serde(serialize_with = "word")]
    pub verdict: Verdict,
    /// Why, the gravest reason first; empty when everything is in order.
    pub reasons: Vec<String>,
    /// Who this host is.
    pub identity: Identity,
    /// Its name in DNS.
    pub dns: Dns,
    /// Its entry in Scalelite; null where none is configured.
    pub scalelite: Option<Scalelite>,
    /// BBB on this host; null on a TURN host.
    pub bbb: Option<BbbHost>,
    /// Its place in its Auto Scaling group.
    pub auto_scaling: AutoScaling,
    /// The agent's service on it.
    pub service: Service,
}

/// Who this host is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Identity {
    /// Instance id.
    pub instance: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Availability zone.
    pub availability_zone: Option<String>,
    /// Instance type.
    pub instance_type: Option<String>,
    /// `bbb` or `turn`.
    pub role: String,
    /// Fully qualified name.
    pub fqdn: Option<String>,
    /// The IPv4 address to register.
    pub ipv4: Option<String>,
    /// The IPv6 address to register.
    pub ipv6: Option<String>,
    /// Why this is not known.
    pub error: Option<String>,
}

/// The host's name in DNS.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Dns {
    /// What should be there, as `TYPE name ttl value`.
    pub desired: Vec<String>,
    /// What each authoritative server says; Route 53's API stands in where none answers.
    pub servers: Vec<Server>,
    /// The instance that the ownership TXT names.
    pub owner: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: Option<u64>,
    /// Why the authoritative servers were not asked, or did not answer.
    pub error: Option<String>,
    /// Route 53 calls that this took.
    pub route53_calls: u32,
}

/// What one source says about the host's name.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// A server's name and address, or `Route 53 API`.
    pub server: String,
    /// `live`, `absent`, `different`, `foreign` or `unknown`.
    pub state: String,
    /// The record sets there, or why they are not known.
    pub detail: String,
}

/// The host in Scalelite.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scalelite {
    /// Scalelite's address.
    pub url: String,
    /// The host's server URL, by which its entries are found.
    pub server_url: Option<String>,
    /// The host's entries.
    pub entries: Vec<Entry>,
    /// Why no meeting is placed here, if so.
    pub blocked: Option<String>,
    /// Why this is not known.
    pub error: Option<String>,
}

/// One entry in Scalelite.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Scalelite's id.
    pub id: String,
    /// `enabled`, `cordoned` or `disabled`.
    pub state: String,
    /// Whether Scalelite's polls reach the host.
    pub online: bool,
    /// Its load; null while Scalelite does not know.
    pub load: Option<f64>,
    /// Its load multiplier.
    pub load_multiplier: Option<f64>,
    /// Its tag.
    pub tag: Option<String>,
    /// Whether its secret is that of this host's BBB; null where that is not known.
    pub secret_matches: Option<bool>,
    /// Whether its URL is that of this host's BBB, and not only its name; null where that is not known.
    pub url_matches: Option<bool>,
}

/// BBB on this host.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BbbHost {
    /// Whether its API answers.
    pub answers: bool,
    /// Its version, where it says.
    pub version: Option<String>,
    /// Running meetings, breakout rooms included.
    pub meetings: Option<usize>,
    /// People in them.
    pub participants: Option<u64>,
    /// Recordings that have not left the host.
    pub recordings: Recordings,
    /// Why this is not known.
    pub error: Option<String>,
}

/// Recordings that have not left the host. Those to wait for are null, not empty, while they are not known.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Recordings {
    /// All of it in words.
    pub summary: Option<String>,
    /// Those to wait for.
    pub pending: Option<Vec<Recording>>,
    /// Those that BBB has given up, by their ids; nobody waits for them.
    pub failed: Option<Vec<String>>,
    /// Jobs in BBB's queues, to be waited for too.
    pub jobs: Option<u64>,
    /// Why something of this is not known.
    pub error: Option<String>,
}

/// One recording to wait for.
#[derive(Clone, Debug, Serialize)]
pub struct Recording {
    /// BBB's id.
    pub id: String,
    /// What it waits for: `archive`, `check`, `publish` or `send`.
    pub stage: String,
}

/// The host's place in its Auto Scaling group.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AutoScaling {
    /// The group; null outside one.
    pub group: Option<String>,
    /// The state that the group wants the instance in; null outside a group.
    pub target_state: Option<String>,
    /// A spot interruption notice: what will happen and when.
    pub spot_notice: Option<String>,
    /// Why something of this is not known.
    pub error: Option<String>,
}

/// The agent's service on this host. Without one, the host stays as it was registered by hand.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Service {
    /// Whether it runs; null where that is not known.
    pub running: Option<bool>,
    /// What it says of itself: `state`, `words`, `since`, and whatever it adds; nothing where it does not run.
    #[serde(flatten)]
    pub state: Option<ServiceState>,
    /// Why this is not known.
    pub error: Option<String>,
}

impl Status {
    /// The exit code of the verdict.
    pub fn exit(&self) -> Exit {
        match self.verdict {
            Verdict::Registered => Exit::Done,
            Verdict::Drift => Exit::Drift,
            Verdict::NotRegistered => Exit::NotRegistered,
            Verdict::CannotTell => Exit::CannotTell,
        }
    }
}

fn word<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.as_str())
}
