//! Who this host is: the instance's identity and addresses from IMDSv2, its name by the configuration.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plan::addresses::{Announced, Own};
use plan::dns::Desired;
use plan::instance::{InstanceId, Role};
use plan::ownership::Owner;
use plan::record::Name;
use plan::relay::Relay;
use plan::share::SharedName;

use crate::config::settings::{Dns, Ipv4Choice, Naming};
use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience};
use clients::imds::{self, Imds};

/// This host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its instance id.
    pub instance: InstanceId,
    /// Its region.
    pub region: String,
    /// Its AWS account, 12 digits, if the metadata service tells it.
    pub account: Option<String>,
    /// Its availability zone.
    pub availability_zone: String,
    /// Its instance type.
    pub instance_type: String,
    /// Its fully qualified name.
    pub name: Name,
    /// The IPv4 address to register, as configured.
    pub ipv4: Option<Ipv4Addr>,
    /// Its address inside the VPC.
    pub private_ipv4: Ipv4Addr,
    /// The IPv6 address to register, as configured.
    pub ipv6: Option<Ipv6Addr>,
    /// Whether the host is registered only with a public IPv4 address.
    pub requires_ipv4: bool,
    /// The name in which it has a share, as configured.
    pub shared: Option<SharedName>,
    /// What the coturn of a TURN host does for a client without credentials; `None` where it is not asked, or cannot be.
    pub relay: Option<Relay>,
    /// What the coturn of a TURN host announces; `None` where the agent does not look.
    pub announced: Option<Announced>,
}

/// A machine from which AWS is called.
pub trait Place {
    /// Returns the region of the fleet.
    fn region(&self) -> &str;
    /// Returns the name under which a role is assumed.
    fn caller(&self) -> &str;
}

impl Place for Host {
    fn region(&self) -> &str {
        &self.region
    }

    fn caller(&self) -> &str {
        self.instance.as_str()
    }
}

/// A machine that is no host of the fleet, such as an operator's.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The region of the fleet.
    pub region: String,
}

impl Place for Outside {
    fn region(&self) -> &str {
        &self.region
    }

    fn caller(&self) -> &'static str {
        "operator"
    }
}

impl Host {
    /// The addresses to register.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6)).collect()
    }

    /// Returns the addresses that its BBB should have; `None` where it has no IPv4 address to announce.
    pub fn own(&self) -> Option<Own> {
        Some(Own { announced: self.ipv4?, private: self.private_ipv4 })
    }

    /// The same host under the names that these settings give it.
    pub fn renamed(self, settings: &Dns) -> Result<Self, Failure> {
        let shared = settings.shared.clone();
        Ok(Self { name: name(settings, &self.instance, &self.region)?, shared, ..self })
    }

    /// The server URL that its BBB has unless BBB's own settings say otherwise.
    pub fn server_url(&self) -> String {
        server_url(&self.name)
    }

    /// Says what keeps the host from being registered: an open relay, an address that it should have and does not, or
    /// another one that it announces.
    pub fn lack(&self) -> Option<String> {
        self.open_relay().or_else(|| self.missing_address()).or_else(|| self.other_address())
    }

    fn open_relay(&self) -> Option<String> {
        let is_open = self.relay.is_some_and(|relay| relay.keeps_out(Role::Turn));
        is_open.then(|| {
            format!("{} is not registered: coturn on this host relays without credentials", self.name)
        })
    }

    fn other_address(&self) -> Option<String> {
        let announced = self.announced.as_ref().filter(|announced| announced.is_wrong())?;
        Some(format!("{} is not registered: {announced}", self.name))
    }

    fn missing_address(&self) -> Option<String> {
        let missing = match (self.ipv4, self.ipv6) {
            (None, _) if self.requires_ipv4 => "public IPv4 address, which dns.ipv4 = \"public\" requires",
            (None, None) => "address of the kind that dns.ipv4 and dns.ipv6 ask for",
            _ => return None,
        };
        Some(format!("{} cannot be registered: the metadata service reports no {missing}", self.name))
    }

    /// Returns the record sets that the name should have when registered at `now`, in seconds since 1970. Fails for now
    /// where something keeps the host from being registered.
    pub fn desired(&self, role: Role, ttl: u32, now: u64) -> Result<Desired, Failure> {
        if let Some(lack) = self.open_relay() {
            return Err(Failure::new(Exit::TryAgain, lack).advise(
                "stop coturn, give it use-auth-secret and static-auth-secret (/etc/turnserver.conf), and start it again",
            ));
        }
        if let Some(lack) = self.missing_address() {
            return Err(Failure::new(Exit::TryAgain, lack).advise(
                "give the instance a public address, or set dns.ipv4 to \"public-if-any\" (then IPv6 is enough) or \"private\"",
            ));
        }
        if let Some(lack) = self.other_address() {
            return Err(Failure::new(Exit::TryAgain, lack).advise(
                "set it right in /etc/turnserver.conf and restart coturn, or set turn.addresses to \"repair\" (the service does \
                 it) or \"ignore\"",
            ));
        }
        let owner = Owner::new(role, self.instance.clone(), self.region.clone(), now);
        let owner = Owner { account: self.account.clone(), share: self.shared.clone(), ..owner };
        Ok(Desired { name: self.name.clone(), ttl, ipv4: self.ipv4, ipv6: self.ipv6, owner })
    }
}

/// The server URL of a host with this name, as its BBB has it unless its settings say otherwise.
pub fn server_url(name: &Name) -> String {
    format!("https://{name}/bigbluebutton/api")
}

/// Reads the host's identity and addresses, waiting for the metadata service with this patience. Tells `in_region` the
/// region before it reads the addresses.
pub async fn observe(
    imds: &Imds,
    settings: &Dns,
    patience: Patience,
    in_region: impl AsyncFn(&str),
) -> Result<Host, Failure> {
    let mut pace = Pace::local(patience);
    loop {
        match read(imds, settings, &in_region).await {
            Ok(metadata) => return metadata.host(settings),
            Err(error) if error.is_retryable() => pace.again("instance metadata (IMDSv2)", &error).await?,
            Err(error) => {
                return Err(Failure::new(Exit::Failed, "cannot read instance metadata (IMDSv2)")
                    .because(error)
                    .advise("this has to run on an EC2 instance with its metadata service enabled"));
            }
        }
    }
}

/// The metadata of an instance, as far as the settings need it.
struct Metadata {
    identity: imds::Identity,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
}

async fn read(imds: &Imds, settings: &Dns, in_region: &impl AsyncFn(&str)) -> Result<Metadata, imds::Error> {
    let identity = imds.identity().await?;
    in_region(&identity.region).await;
    let ipv4 = match settings.ipv4 {
        Ipv4Choice::Public | Ipv4Choice::PublicIfAny => imds.public_ipv4().await?,
        Ipv4Choice::Private => Some(identity.private_ipv4),
        Ipv4Choice::Off => None,
    };
    let ipv6 = if settings.ipv6 { imds.ipv6().await? } else { None };
    Ok(Metadata { identity, ipv4, ipv6 })
}

impl Metadata {
    fn host(self, settings: &Dns) -> Result<Host, Failure> {
        let Self { identity, ipv4, ipv6 } = self;
        Ok(Host {
            name: name(settings, &identity.instance, &identity.region)?,
            private_ipv4: identity.private_ipv4,
            instance: identity.instance,
            region: identity.region,
            account: identity.account,
            availability_zone: identity.availability_zone,
            instance_type: identity.instance_type,
            ipv4,
            ipv6,
            requires_ipv4: settings.ipv4 == Ipv4Choice::Public,
            shared: settings.shared.clone(),
            relay: None,
            announced: None,
        })
    }
}

fn name(settings: &Dns, instance: &InstanceId, region: &str) -> Result<Name, Failure> {
    match &settings.naming {
        Naming::Fixed(name) => Ok(name.clone()),
        Naming::Template(template) => template.name(instance, region, &settings.domain).map_err(|error| {
            Failure::new(Exit::Usage, "dns.hostname makes no usable name for this host").because(error)
        }),
    }
}
