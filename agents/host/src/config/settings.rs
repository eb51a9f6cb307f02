//! From raw values to settings that can be used: every value checked, every problem named with its place.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::instance::Role;
use plan::lifecycle::{OnStop, Verdict};
use plan::membership::{self, normalise_url};
use plan::record::{HostTemplate, Name};

mod metrics;

pub use self::metrics::{Certificate, Dimension, Metrics};

use super::ConfigError;
use super::checker::Checker;
use super::load::{Flags, Raw, load};
use crate::agent::Agent;
use crate::log::Level;
use clients::secrets::SecretReference;

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the host is named in DNS.
    pub dns: Dns,
    /// Where BBB is on this host; `None` on a TURN host.
    pub bbb: Option<Bbb>,
    /// Which Scalelite to join; `None` when none is configured.
    pub scalelite: Option<Scalelite>,
    /// How the service works.
    pub service: Service,
    /// How the host is taken out.
    pub drain: Drain,
    /// How hosts that died are cleaned up after.
    pub sweep: Sweep,
    /// What is told about the host in figures; `None` when nothing is.
    pub metrics: Option<Metrics>,
    /// Region for AWS calls, if not the instance's own.
    pub region: Option<String>,
    /// Further certificate authorities (PEM).
    pub ca_bundle: Option<PathBuf>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What is logged.
    pub log_level: Level,
}

/// How the host is named.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Hosted zone id, without `/hostedzone/`.
    pub zone_id: String,
    /// Domain below which the host gets its name.
    pub domain: Name,
    /// Where the name comes from.
    pub naming: Naming,
    /// Time to live in seconds.
    pub ttl: u32,
    /// Which IPv4 address is registered.
    pub ipv4: Ipv4Choice,
    /// Whether an IPv6 address is registered.
    pub ipv6: bool,
    /// Whether existing records are read through Route 53's API only.
    pub read_through_api: bool,
    /// Within what time hosts that boot at once make their first change.
    pub spread: Duration,
    /// Authoritative servers; empty when they are to be found through NS records.
    pub servers: Vec<SocketAddr>,
    /// The zone's own name, where it is not to be found through SOA records.
    pub apex: Option<Name>,
}

/// Where a host's name comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// A template below the domain.
    Template(HostTemplate),
    /// One fixed name.
    Fixed(Name),
}

/// Which IPv4 address is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Choice {
    /// The public one.
    Public,
    /// The one inside the VPC.
    Private,
    /// None.
    Off,
}

/// Where BBB is on this host.
#[derive(Clone, Debug)]
pub struct Bbb {
    /// BBB's own settings, which win.
    pub properties: PathBuf,
    /// The settings that BBB ships.
    pub defaults: PathBuf,
    /// Where its API is reached.
    pub address: IpAddr,
    /// The socket of whoever may read those files, if it is to be asked.
    pub reader: Option<PathBuf>,
    /// Its spool of recordings.
    pub recordings: PathBuf,
    /// The Redis with its queues of recording jobs, if it is to be asked.
    pub redis: Option<SocketAddr>,
}

/// Which Scalelite to join, and how.
#[derive(Clone, Debug)]
pub struct Scalelite {
    /// Its address, e.g. `https://scalelite.example.org`.
    pub url: String,
    /// Where the load balancer's secret is.
    pub secret: SecretReference,
    /// How the host's entry should look.
    pub entry: membership::Desired,
    /// How often it polls its servers.
    pub poll_interval: Duration,
}

/// How the service works.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where its lock and its socket are.
    pub directory: PathBuf,
    /// What a stop by hand undoes.
    pub on_stop: OnStop,
    /// How often the metadata service is asked what is intended with the host.
    pub metadata: Duration,
    /// How often the host's name is checked.
    pub name: Duration,
    /// How often its entry in Scalelite is checked.
    pub scalelite: Duration,
    /// How often its meetings and recordings are counted.
    pub work: Duration,
    /// How long a host has to be idle before its scale-in protection ends; `None` when it never gets any.
    pub protection: Option<Duration>,
}

/// How the host is taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long meetings and recordings are waited for.
    pub deadline: Duration,
    /// Whether recordings are waited for.
    pub recordings: bool,
    /// How long nothing may have been going on before the host counts as empty.
    pub quiet: Duration,
    /// How the lifecycle action is completed at the deadline.
    pub at_deadline: Verdict,
    /// The termination hook that is the agent's, where the group has several.
    pub hook: Option<String>,
    /// Whether a rebalance recommendation cordons.
    pub rebalance: bool,
    /// Whether a scheduled maintenance cordons.
    pub maintenance: bool,
    /// When running meetings are told, in time before their end, the longest first.
    pub announce: Vec<Duration>,
    /// What they are told, with `{minutes}`.
    pub message: String,
}

/// How hosts that died are cleaned up after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Whether the service does it.
    pub enabled: bool,
    /// How often the fleet does it.
    pub interval: Duration,
    /// How old an ownership TXT has to be.
    pub grace: Duration,
    /// How far apart EC2's two answers have to be.
    pub pause: Duration,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Waiting for the metadata service.
    pub imds: Duration,
    /// All of `register`.
    pub register: Duration,
    /// All of `deregister`.
    pub deregister: Duration,
    /// All of `sweep`, without its pause.
    pub sweep: Duration,
    /// Waiting for the API of a BBB that is installed.
    pub bbb: Duration,
    /// Any one answer that `status` and `check` wait for.
    pub status: Duration,
}

/// Reads and checks the configuration from all its places.
pub fn read(agent: &Agent, flags: &Flags) -> Result<Settings, ConfigError> {
    // Names and values that are not UTF-8 cannot be ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    check(agent, &load(agent, flags, environment)?)
}

/// Checks raw values. All problems are reported at once.
pub fn check(agent: &Agent, raw: &Raw) -> Result<Settings, ConfigError> {
    let mut checker = Checker::new(agent, raw);
    let settings = checker.settings();
    match settings {
        Some(settings) if checker.problems.is_empty() => Ok(settings),
        _ => Err(ConfigError::new(&checker.problems)),
    }
}

impl Checker<'_> {
    fn settings(&mut self) -> Option<Settings> {
        // Each part is checked even when an earlier one failed: all problems are reported.
        let dns = self.dns();
        let bbb = if self.agent.role == Role::Bbb { self.bbb().map(Some) } else { Some(None) };
        let scalelite = if self.agent.role == Role::Bbb { self.scalelite() } else { Some(None) };
        let region = self.optional("aws.region", region);
        let ca_bundle = self.optional("tls.ca_bundle", absolute);
        let service = self.service();
        let drain = self.drain();
        let sweep = self.sweep();
        let metrics = self.metrics();
        let timeouts = self.timeouts();
        if let (Some(dns), Some(timeouts)) = (&dns, &timeouts) {
            self.spread(dns.spread, timeouts.register);
        }
        let log_level = self.with_default("log.level", "info", |text| {
            Level::parse(text).ok_or("must be \"error\", \"warn\", \"info\" or \"debug\"")
        });
        Some(Settings {
            dns: dns?,
            bbb: bbb?,
            scalelite: scalelite?,
            service: service?,
            drain: drain?,
            sweep: sweep?,
            metrics: metrics?,
            region: region?,
            ca_bundle: ca_bundle?,
            timeouts: timeouts?,
            log_level: log_level?,
        })
    }

    fn dns(&mut self) -> Option<Dns> {
        let zone_id = self.required("dns.zone_id", zone_id);
        let domain = self.required("dns.domain", Name::host);
        let naming = self.naming(domain.as_ref());
        let ttl = self.integer("dns.ttl", 60, 1, 86_400);
        let ipv4 = self.with_default("dns.ipv4", "public", |text| match text {
            "public" => Ok(Ipv4Choice::Public),
            "private" => Ok(Ipv4Choice::Private),
            "off" => Ok(Ipv4Choice::Off),
            _ => Err("must be \"public\", \"private\" or \"off\""),
        });
        let ipv6 = self.bool("dns.ipv6", true);
        let read_through_api = self.with_default("dns.read", "auto", |text| match text {
            "auto" => Ok(false),
            "api" => Ok(true),
            _ => Err("must be \"auto\" or \"api\""),
        });
        let spread = self.seconds("dns.spread", 0, 0, 43_200);
        let servers = self.list("dns.servers", server);
        let apex = self.apex(domain.as_ref());
        if ipv4 == Some(Ipv4Choice::Off) && !ipv6 {
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
            ipv6,
            read_through_api: read_through_api?,
            spread: spread?,
            servers: servers?,
            apex: apex?,
        })
    }

    /// The other half of the time is for the calls themselves and for joining.
    fn spread(&mut self, spread: Duration, register: Duration) {
        if spread > register / 2 {
            let (spread, register) = (spread.as_secs(), register.as_secs());
            self.complain(
                "dns.spread",
                format!("{spread} s is more than half of timeouts.register ({register} s): a host could still wait for its turn when its time is over"),
            );
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
        let default = self.agent.default_hostname;
        let template = self.with_default("dns.hostname", default, HostTemplate::parse)?;
        // The longest instance id and region tell now whether every host's name will fit.
        let longest = plan::instance::InstanceId::parse("i-0123456789abcdef0").ok()?;
        if let Some(Err(error)) = domain.map(|domain| template.name(&longest, "ap-southeast-1", domain)) {
            // With the default template it is the domain that a person has written, and can change.
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

    fn bbb(&mut self) -> Option<Bbb> {
        let properties =
            self.with_default("bbb.properties", "/etc/bigbluebutton/bbb-web.properties", absolute);
        let shipped = "/usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties";
        let defaults = self.with_default("bbb.defaults", shipped, absolute);
        let address = self.with_default("bbb.address", "127.0.0.1", |text| {
            text.parse().map_err(|_| "must be an IP address")
        });
        let reader = self.with_default("bbb.reader", "/run/bbb-agent-settings.sock", |text| match text {
            "" => Ok(None),
            path => absolute(path).map(Some),
        });
        let recordings = self.with_default("recordings.directory", "/var/bigbluebutton/recording", absolute);
        let redis = self.with_default("recordings.redis", "127.0.0.1:6379", |text| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| "must be an IP address with a port"),
        });
        Some(Bbb {
            properties: properties?,
            defaults: defaults?,
            address: address?,
            reader: reader?,
            recordings: recordings?,
            redis: redis?,
        })
    }

    fn scalelite(&mut self) -> Option<Option<Scalelite>> {
        let url = self.optional("scalelite.url", |text| {
            normalise_url(text)
                .ok_or("must be an http or https URL, for example https://scalelite.example.org")
        });
        let secret = self.optional("scalelite.secret", SecretReference::parse);
        let multiplier = self.float(
            "scalelite.load_multiplier",
            |number| number.is_finite() && number > 0.0,
            "must be above 0",
        );
        let tag = self.optional("scalelite.tag", |text| {
            let plain = !text.chars().any(char::is_control);
            if plain { Ok(text.to_owned()) } else { Err("must have no control characters") }
        });
        let poll_interval = self.seconds("scalelite.poll_interval", 60, 5, 3600);
        let (url, secret, multiplier, tag) = (url?, secret?, multiplier?, tag?);
        match (url, secret) {
            (Some(url), Some(secret)) => {
                let entry = membership::Desired { multiplier, tag };
                Some(Some(Scalelite { url, secret, entry, poll_interval: poll_interval? }))
            }
            (None, None) => Some(None),
            (Some(_), None) => {
                self.complain("scalelite.url", "is set without scalelite.secret; both are needed to join");
                None
            }
            (None, Some(_)) => {
                self.complain("scalelite.secret", "is set without scalelite.url; both are needed to join");
                None
            }
        }
    }

    fn service(&mut self) -> Option<Service> {
        let directory = self.optional("service.directory", absolute);
        let on_stop = self.with_default("service.on_stop", "leave", |text| match text {
            "leave" => Ok(OnStop::Leave),
            "cordon" => Ok(OnStop::Cordon),
            "keep" => Ok(OnStop::Keep),
            _ => Err("must be \"leave\", \"cordon\" or \"keep\""),
        });
        let metadata = self.seconds("checks.metadata", 2, 1, 60);
        let name = self.seconds("checks.name", 60, 5, 86_400);
        let scalelite = self.seconds("checks.scalelite", 300, 5, 86_400);
        let work = self.seconds("checks.work", 30, 1, 3600);
        let protected = self.agent.role == Role::Bbb && self.bool("protection.enabled", true);
        let idle = self.seconds("protection.idle", 300, 0, 86_400);
        Some(Service {
            directory: directory?.unwrap_or_else(|| self.agent.directory()),
            on_stop: on_stop?,
            metadata: metadata?,
            name: name?,
            scalelite: scalelite?,
            work: work?,
            protection: Some(idle?).filter(|_| protected),
        })
    }

    fn drain(&mut self) -> Option<Drain> {
        let deadline = self.seconds("drain.deadline", 21_600, 60, 172_800);
        let quiet = self.seconds("drain.quiet", 30, 0, 3600);
        let at_deadline = self.with_default("drain.at_deadline", "continue", |text| match text {
            "continue" => Ok(Verdict::Continue),
            "abandon" => Ok(Verdict::Abandon),
            _ => Err("must be \"continue\" or \"abandon\""),
        });
        let hook = self.optional("drain.hook", |text| match text {
            "" => Err("must be the name of a lifecycle hook"),
            name => Ok(name.to_owned()),
        });
        let rebalance = self.with_default("drain.rebalance", "cordon", cordons);
        let maintenance = self.with_default("drain.maintenance", "cordon", cordons);
        let announce = self.list("drain.announce", minutes);
        let message = self.with_default("drain.message", MESSAGE, |text| match text.chars().count() {
            // BBB's own limit of a chat message, unless it is configured otherwise.
            1..=500 => Ok(text.to_owned()),
            _ => Err("must have 1 to 500 characters"),
        });
        let mut announce = announce?;
        announce.sort_by_key(|before| std::cmp::Reverse(*before));
        announce.dedup();
        Some(Drain {
            deadline: deadline?,
            recordings: self.bool("recordings.wait", true),
            quiet: quiet?,
            at_deadline: at_deadline?,
            hook: hook?,
            rebalance: rebalance?,
            maintenance: maintenance?,
            announce,
            message: message?,
        })
    }

    fn sweep(&mut self) -> Option<Sweep> {
        let interval = self.seconds("sweep.interval", 3600, 60, 604_800);
        let grace = self.seconds("sweep.grace", 3600, 300, 2_592_000);
        let pause = self.seconds("sweep.pause", 120, 1, 3600);
        let enabled = self.bool("sweep.enabled", true);
        Some(Sweep { enabled, interval: interval?, grace: grace?, pause: pause? })
    }

    fn timeouts(&mut self) -> Option<Timeouts> {
        let imds = self.seconds("timeouts.imds", 120, 1, 3600);
        let register = self.seconds("timeouts.register", 300, 1, 86_400);
        let deregister = self.seconds("timeouts.deregister", 80, 1, 86_400);
        let sweep = self.seconds("timeouts.sweep", 600, 1, 86_400);
        let bbb = self.seconds("timeouts.bbb", 60, 0, 86_400);
        let status = self.seconds("timeouts.status", 10, 1, 300);
        Some(Timeouts {
            imds: imds?,
            register: register?,
            deregister: deregister?,
            sweep: sweep?,
            bbb: bbb?,
            status: status?,
        })
    }
}

/// What meetings are told unless something else is configured.
const MESSAGE: &str = "This meeting will be ended in {minutes} minutes, because its server is shut down. You can start it again at once.";

fn cordons(text: &str) -> Result<bool, &'static str> {
    match text {
        "cordon" => Ok(true),
        "ignore" => Ok(false),
        _ => Err("must be \"cordon\" or \"ignore\""),
    }
}

fn minutes(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(minutes @ 1..=2880) => Ok(Duration::from_secs(60 * minutes)),
        _ => Err(format!("{text:?} is not a number of minutes (1 to 2880)")),
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

fn region(text: &str) -> Result<String, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if plain && text.contains('-') {
        Ok(text.to_owned())
    } else {
        Err("must be an AWS region, for example eu-central-1")
    }
}

fn absolute(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err("must be an absolute path") }
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    address
        .or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is not an IP address with or without a port"))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
