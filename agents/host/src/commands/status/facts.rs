//! The answer of `status`, as data. Its JSON is an interface: fields are added, never renamed or removed.

use plan::health::Verdict;
use serde::{Serialize, Serializer};

use crate::control::{RelayFacts, ServiceState, WorkFacts};
use crate::report::Exit;

/// The answer of `status`. A part that could not be determined has the reason in `error`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of this JSON's shape.
    pub schema: u32,
    /// `bbb-agent` or `turn-agent`.
    pub agent: String,
    /// The agent's version and commit.
    pub version: String,
    /// `registered`, `drift`, `not-registered` or `cannot-tell`; the exit code says the same.
    #[serde(serialize_with = "word")]
    pub verdict: Verdict,
    /// Reasons for the verdict, the gravest first; empty when everything is in order.
    pub reasons: Vec<String>,
    /// The host's identity.
    pub identity: Identity,
    /// The host's name in DNS.
    pub dns: Dns,
    /// The host in Scalelite; null where no Scalelite is configured.
    pub scalelite: Option<Scalelite>,
    /// BBB on this host; null on a TURN host.
    pub bbb: Option<BbbHost>,
    /// coturn on this host; null where it is not asked (`metrics.coturn`).
    pub coturn: Option<Coturn>,
    /// The host's place in its Auto Scaling group.
    pub auto_scaling: AutoScaling,
    /// The agent's service on this host. A host that a command registered is in order without it, too.
    pub service: Service,
}

/// The host's identity.
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
    /// Full name of the host.
    pub fqdn: Option<String>,
    /// The IPv4 address to register.
    pub ipv4: Option<String>,
    /// The IPv6 address to register.
    pub ipv6: Option<String>,
    /// Why this part is not known.
    pub error: Option<String>,
}

/// The host's name in DNS.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Dns {
    /// The record sets that should exist, each as `TYPE name ttl value`.
    pub desired: Vec<String>,
    /// The answer of each authoritative server; Route 53's API stands in where none answers.
    pub servers: Vec<Server>,
    /// The instance that the ownership TXT names.
    pub owner: Option<String>,
    /// When that instance took the name, in seconds since 1970.
    pub since: Option<u64>,
    /// The host's share in a shared name; null where none is configured.
    pub share: Option<Share>,
    /// Why the authoritative servers were not asked, or did not answer.
    pub error: Option<String>,
    /// Number of Route 53 calls that this answer took.
    pub route53_calls: u32,
}

/// The host's share in a shared name.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// The shared name.
    pub name: String,
    /// The health check that leaves the host out while it fails.
    pub health_check: Option<String>,
    /// `live`, `unseen` (more hosts have a share than a server shows), `left-out` (by its health check), `missing`, `none`
    /// (the host's ownership TXT names no such share) or `unknown`.
    pub state: String,
}

/// The answer of one source about the host's name.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// A server's name and address, or `Route 53 API`.
    pub server: String,
    /// `live`, `absent`, `different`, `shareless`, `foreign` or `unknown`.
    pub state: String,
    /// The record sets of that answer, or why they are not known.
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
    /// The reason why no meeting is placed here, if there is one.
    pub blocked: Option<String>,
    /// Why this part is not known.
    pub error: Option<String>,
}

/// One entry in Scalelite.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The entry's id in Scalelite.
    pub id: String,
    /// `enabled`, `cordoned` or `disabled`.
    pub state: String,
    /// Whether Scalelite's polls reach the host.
    pub online: bool,
    /// The entry's load; null while Scalelite does not know it.
    pub load: Option<f64>,
    /// The entry's load multiplier.
    pub load_multiplier: Option<f64>,
    /// The entry's tag.
    pub tag: Option<String>,
    /// Whether the entry has the secret of this host's BBB; null where that is not known.
    pub secret_matches: Option<bool>,
    /// Whether the entry has the URL of this host's BBB, and not only its name; null where that is not known.
    pub url_matches: Option<bool>,
}

/// BBB on this host.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BbbHost {
    /// Whether BBB's API answers.
    pub answers: bool,
    /// BBB's version, where BBB tells it.
    pub version: Option<String>,
    /// The addresses that BBB announces, compared with the host's.
    pub addresses: Addresses,
    /// The meetings and recordings on it: as the service has counted them last, or counted now where none runs.
    #[serde(flatten)]
    pub work: WorkFacts,
    /// Why this part is not known.
    pub error: Option<String>,
}

/// The addresses that BBB announces, compared with the host's.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Addresses {
    /// Whether they are the host's; null where that is not known or nothing can be compared.
    pub right: Option<bool>,
    /// The places at which another address stands.
    pub differences: Vec<WrongAddress>,
    /// Why this part is not known.
    pub error: Option<String>,
}

/// A place at which another address than the host's stands.
#[derive(Clone, Debug, Serialize)]
pub struct WrongAddress {
    /// The file.
    pub file: String,
    /// The key in it.
    pub key: String,
    /// The address that stands there.
    pub found: String,
    /// The address that should.
    pub wanted: String,
}

/// coturn on this host.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Coturn {
    /// Where it was asked for a relay without credentials.
    pub address: String,
    /// Its answer: `asks-for-credentials`, `relays`, `refuses`, `silent` or `not-installed`; null where it could not be
    /// asked.
    pub answer: Option<String>,
    /// The same in words.
    pub words: String,
    /// The relays that it has in use on a TURN host; null on a BBB host, and where they are not counted.
    pub relays: Option<RelayFacts>,
    /// The addresses that it announces on a TURN host, compared with the host's; null on a BBB host, which has them with
    /// BBB's.
    pub addresses: Option<Addresses>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// The host's place in its Auto Scaling group.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AutoScaling {
    /// The group; null outside one.
    pub group: Option<String>,
    /// The state that the group wants the instance in; null outside a group.
    pub target_state: Option<String>,
    /// EC2's spot interruption notice: what will happen and when.
    pub spot_notice: Option<String>,
    /// Why something in this part is not known.
    pub error: Option<String>,
}

/// The agent's service on this host. Without one, the host stays as a command registered it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Service {
    /// Whether the service runs; null where that is not known.
    pub running: Option<bool>,
    /// The service's own account of its state; absent where it does not run.
    #[serde(flatten)]
    pub state: Option<ServiceState>,
    /// Why this part is not known.
    pub error: Option<String>,
}

impl Status {
    /// Returns the exit code of the verdict.
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
