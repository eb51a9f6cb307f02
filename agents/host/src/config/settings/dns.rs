//! The settings of the host's name, and of the name that it shares with other hosts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use plan::instance::Role;
use plan::ownership::is_account;
use plan::record::{HostTemplate, Name};
use plan::share::{SharedName, is_health_check};

use super::super::checker::Checker;
use super::super::choices::{Ipv4Choice, ReadFrom};

/// The host's name.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Hosted zone id, without `/hostedzone/`.
    pub zone_id: String,
    /// Domain below which the host gets its name.
    pub domain: Name,
    /// The source of the name.
    pub naming: Naming,
    /// Time to live in seconds.
    pub ttl: u32,
    /// The IPv4 address that is registered.
    pub ipv4: Ipv4Choice,
    /// Whether an IPv6 address is registered.
    pub ipv6: bool,
    /// Whether existing records are read through Route 53's API only.
    pub read_through_api: bool,
    /// The time over which hosts that boot at once spread their first change.
    pub spread: Duration,
    /// Authoritative servers; empty when they are to be found through NS records.
    pub servers: Vec<SocketAddr>,
    /// The zone's own name, where it is not to be found through SOA records.
    pub apex: Option<Name>,
    /// The role in which Route 53 is called; `None` for the host's own.
    pub role: Option<ZoneRole>,
    /// The name in which the host has a share; `None` where it has none.
    pub shared: Option<SharedName>,
}

/// A role of the account that has the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneRole {
    /// Its ARN.
    pub arn: String,
    /// The external id that its trust policy wants.
    pub external_id: Option<String>,
}

/// The source of a host's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// A template below the domain.
    Template(HostTemplate),
    /// One fixed name.
    Fixed(Name),
}

impl Dns {
    /// Returns how the fleet names its hosts by their instances, with its domain; `None` where it does not.
    pub fn fleet(&self) -> Option<(&HostTemplate, &Name)> {
        match &self.naming {
            Naming::Template(template) => Some((template, &self.domain)),
            Naming::Fixed(_) => None,
        }
    }
}

impl Checker<'_> {
    pub(super) fn dns(&mut self) -> Option<Dns> {
        let zone_id = self.required("dns.zone_id", zone_id);
        let domain = self.required("dns.domain", Name::host);
        let naming = self.naming(domain.as_ref());
        let ttl = self.integer("dns.ttl");
        let ipv4 = self.choice("dns.ipv4");
        let ipv6 = self.bool("dns.ipv6");
        let read = self.choice::<ReadFrom>("dns.read");
        let spread = self.seconds("dns.spread");
        let servers = self.list("dns.servers", server);
        let apex = self.apex(domain.as_ref());
        let role = self.zone_role();
        let shared = match self.agent.role {
            Role::Turn => self.shared_name(domain.as_ref(), naming.as_ref()),
            Role::Bbb => Some(None),
        };
        if ipv4 == Some(Ipv4Choice::Off) && ipv6 == Some(false) {
            self.complain(
                "dns.ipv4",
                "is \"off\" while dns.ipv6 is false: no address would be left to register",
            );
        }
        Some(Dns {
            zone_id: zone_id?,
            domain: domain?,
            naming: naming?,
            ttl: u32::try_from(ttl?).ok()?,
            ipv4: ipv4?,
            ipv6: ipv6?,
            read_through_api: read? == ReadFrom::Api,
            spread: spread?,
            servers: servers?,
            apex: apex?,
            role: role?,
            shared: shared?,
        })
    }

    fn zone_role(&mut self) -> Option<Option<ZoneRole>> {
        let arn = self.optional("dns.role_arn", role_arn);
        let external_id = self.optional("dns.role_external_id", external_id);
        match (arn?, external_id?) {
            (None, Some(_)) => {
                self.complain("dns.role_external_id", "is set without dns.role_arn, whose external id it is");
                None
            }
            (arn, external_id) => Some(arn.map(|arn| ZoneRole { arn, external_id })),
        }
    }

    fn naming(&mut self, domain: Option<&Name>) -> Option<Naming> {
        if self.raw.get("dns.name").is_some() && self.raw.get("dns.hostname").is_some() {
            self.complain(
                "dns.name",
                "is set together with dns.hostname; a host has one name: remove one of them",
            );
            return None;
        }
        if let Some(name) = self.optional("dns.name", Name::host)? {
            if domain.is_some_and(|domain| !name.is_within(domain)) {
                self.complain("dns.name", "is not below dns.domain");
                return None;
            }
            return Some(Naming::Fixed(name));
        }
        let template = self.text("dns.hostname", HostTemplate::parse)?;
        // The longest instance id and region show already now whether every host's name will fit.
        let longest = plan::instance::InstanceId::parse("i-0123456789abcdef0").ok()?;
        if let Some(Err(error)) = domain.map(|domain| template.name(&longest, "ap-southeast-1", domain)) {
            // With the default template, the domain is the part that a person wrote and can change.
            let path = if self.raw.get("dns.hostname").is_some() { "dns.hostname" } else { "dns.domain" };
            self.complain(path, format!("host names would not fit: {error}"));
            return None;
        }
        Some(Naming::Template(template))
    }

    fn apex(&mut self, domain: Option<&Name>) -> Option<Option<Name>> {
        let apex = self.optional("dns.apex", Name::host)?;
        if let (Some(apex), Some(domain)) = (&apex, domain)
            && !domain.is_within(apex)
        {
            self.complain("dns.apex", format!("is not dns.domain ({domain}) or above it"));
            return None;
        }
        Some(apex)
    }

    fn shared_name(&mut self, domain: Option<&Name>, naming: Option<&Naming>) -> Option<Option<SharedName>> {
        let name = self.optional("turn.shared_name", Name::host);
        let health_check = self.optional("turn.shared_health_check", health_check);
        let (Some(name), health_check) = (name?, health_check?) else {
            if self.raw.get("turn.shared_health_check").is_some() {
                self.complain(
                    "turn.shared_health_check",
                    "is set without turn.shared_name, whose check it is",
                );
                return None;
            }
            return Some(None);
        };
        let domain = domain?;
        if !name.is_within(domain) {
            self.complain(
                "turn.shared_name",
                "is not dns.domain or below it, where the sweep looks for shares",
            );
            return None;
        }
        let is_a_hosts = match naming? {
            Naming::Fixed(own) => *own == name,
            Naming::Template(template) => template.instance(&name, domain).is_some(),
        };
        if is_a_hosts {
            self.complain("turn.shared_name", "is the name of one host; the shared name is another one");
            return None;
        }
        Some(Some(SharedName { name, health_check }))
    }
}

fn zone_id(text: &str) -> Result<String, &'static str> {
    let id = text.strip_prefix("/hostedzone/").unwrap_or(text);
    let right = id.starts_with('Z') && (2..=32).contains(&id.len());
    if right && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
        return Ok(id.to_owned());
    }
    Err("must be a Route 53 hosted zone id: Z and up to 31 upper-case letters and digits")
}

/// Checks an ARN such as `arn:aws:iam::123456789012:role/path/NAME`, by IAM's rules for paths and names.
pub(super) fn role_arn(text: &str) -> Result<String, &'static str> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let right = matches!(parts.as_slice(), ["arn", partition, "iam", "", account, role]
        if partition.starts_with("aws") && is_account(account)
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty() && !name.ends_with('/')));
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@/:-".contains(&byte);
    if right && text.bytes().all(usual) {
        return Ok(text.to_owned());
    }
    Err("must be the ARN of a role, for example arn:aws:iam::123456789012:role/bbb-dns")
}

/// Checks an external id, by STS's rule (AssumeRole).
fn external_id(text: &str) -> Result<String, &'static str> {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    if (2..=1224).contains(&text.len()) && text.bytes().all(usual) {
        return Ok(text.to_owned());
    }
    Err("must be 2 to 1224 letters, digits and characters of _+=,.@:/-")
}

fn health_check(text: &str) -> Result<String, &'static str> {
    if is_health_check(text) {
        return Ok(text.to_owned());
    }
    Err("must be the id of a Route 53 health check: at most 64 letters, digits and hyphens")
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    address
        .or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is not an IP address with or without a port"))
}
