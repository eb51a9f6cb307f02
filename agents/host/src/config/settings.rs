//! The checked settings: turns raw values into usable ones, and names every problem with its place.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::addresses::OnAddresses;
use plan::instance::Role;
use plan::lifecycle::{HookResult, Launching, OnStop};
use plan::membership::{self, normalise_url};
use plan::work::Rules;

mod addresses;
mod bbb;
mod dns;
mod metrics;
mod recordings;
mod timeouts;

pub use self::addresses::Addresses;
pub use self::bbb::{Bbb, Turn};
pub use self::dns::{Dns, Naming, ZoneRole};
pub use self::metrics::{Certificate, CloudWatch, Coturn, Listen, Metrics};
pub use self::recordings::{Recordings, SenderChoice};
pub use self::timeouts::Timeouts;
pub use super::choices::{Dimension, HookChoice, Ipv4Choice};

use super::ConfigError;
use super::checker::{Checker, Number};
use super::choices::OnNotice;
use super::load::{Flags, Raw, load};
use crate::agent::Agent;
use crate::log::Level;
use clients::secrets::SecretReference;

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's name in DNS.
    pub dns: Dns,
    /// BBB on this host; `None` on a TURN host.
    pub bbb: Option<Bbb>,
    /// The settings about the addresses that it announces.
    pub addresses: Addresses,
    /// The Scalelite to join; `None` when none is configured.
    pub scalelite: Option<Scalelite>,
    /// The service's work.
    pub service: Service,
    /// The rules for draining the host.
    pub drain: Drain,
    /// The sweep of the records and entries of dead hosts.
    pub sweep: Sweep,
    /// The metrics about the host; `None` when nobody gets them.
    pub metrics: Option<Metrics>,
    /// The place where coturn is asked for a relay; `None` when it is not asked.
    pub coturn: Option<Coturn>,
    /// The ports of coturn's relays; `None` where these are not counted, as on a BBB host.
    pub relays: Option<RangeInclusive<u16>>,
    /// Region for AWS calls, if not the instance's own.
    pub region: Option<String>,
    /// The profile in the user's AWS files that the credentials come from; `None` for the instance's role.
    pub profile: Option<String>,
    /// Further certificate authorities (PEM).
    pub ca_bundle: Option<PathBuf>,
    /// The certificate of the whole fleet; `None` where each host has its own.
    pub certificate: Option<FleetCertificate>,
    /// The limits of waiting.
    pub timeouts: Timeouts,
    /// The messages that are logged.
    pub log_level: Level,
}

/// The certificate of the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetCertificate {
    /// The reference to the secret that holds it.
    pub secret: SecretReference,
    /// The socket of the helper that puts it into place.
    pub installer: PathBuf,
    /// The time between two looks at the secret.
    pub interval: Duration,
}

/// The Scalelite to join, and the host's entry there.
#[derive(Clone, Debug)]
pub struct Scalelite {
    /// Its address, e.g. `https://scalelite.example.org`.
    pub url: String,
    /// The reference to the load balancer's secret.
    pub secret: SecretReference,
    /// The host's entry as it should be.
    pub entry: membership::Desired,
    /// The time between two of its polls.
    pub poll_interval: Duration,
}

/// The service's work.
#[derive(Clone, Debug)]
pub struct Service {
    /// The directory of its lock and its socket.
    pub directory: PathBuf,
    /// The directory that survives a reboot; `None` on a TURN host, which keeps nothing.
    pub state: Option<PathBuf>,
    /// The work that an operator's stop undoes.
    pub on_stop: OnStop,
    /// The time between two questions to the metadata service about the plans of the group and EC2 for the host.
    pub metadata: Duration,
    /// The time between two checks of the host's name.
    pub name: Duration,
    /// The time between two checks of its Scalelite entry.
    pub scalelite: Duration,
    /// The time between two counts of the work on it.
    pub work: Duration,
    /// The idle time after which the host's scale-in protection ends; `None` when it never gets any.
    pub protection: Option<Duration>,
    /// The launch hook that it completes, if one is named.
    pub launch: Option<Launch>,
    /// The time after which a silent BBB is reported to the group; `None` if it never is.
    pub unhealthy_after: Option<Duration>,
}

/// The launch hook that the service completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Its name.
    pub hook: String,
    /// When and how it ends a launch that takes too long.
    pub rules: Launching,
}

/// The rules for draining the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The longest wait for the work on it.
    pub deadline: Duration,
    /// What it waits for.
    pub rules: Rules,
    /// The time for which it waits for recordings after the deadline.
    pub after_deadline: Duration,
    /// The time without work after which the host counts as empty.
    pub quiet: Duration,
    /// The result of the lifecycle action at the deadline.
    pub at_deadline: HookResult,
    /// The group's termination hook that this agent completes, where the group has several.
    pub hook: Option<String>,
    /// The termination hooks that it completes.
    pub hooks: HookChoice,
    /// Whether a rebalance recommendation cordons.
    pub rebalance: bool,
    /// For how long it does.
    pub rebalance_for: Duration,
    /// Whether a scheduled maintenance cordons.
    pub maintenance: bool,
    /// The times before their end at which running meetings get the message, the longest first.
    pub announce: Vec<Duration>,
    /// That message, with `{minutes}`.
    pub message: String,
}

/// The sweep of the records and entries of dead hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Whether the service does it.
    pub enabled: bool,
    /// The time between two sweeps of the fleet.
    pub interval: Duration,
    /// The least age of an ownership TXT whose host is removed.
    pub grace: Duration,
    /// The least time between EC2's two answers.
    pub pause: Duration,
}

/// Reads and checks the configuration from all its places.
pub fn read(agent: &Agent, flags: &Flags) -> Result<Settings, ConfigError> {
    // Names and values that are not UTF-8 are not the agent's.
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
        // Every part is checked, even after an earlier one failed, so that all problems are reported.
        let dns = self.dns();
        let bbb = if self.agent.role == Role::Bbb { self.bbb().map(Some) } else { Some(None) };
        let addresses = self.addresses(self.agent.role);
        let scalelite = if self.agent.role == Role::Bbb { self.scalelite() } else { Some(None) };
        let region = self.optional("aws.region", region);
        let profile = self.optional("aws.profile", plain);
        let ca_bundle = self.optional("tls.ca_bundle", absolute);
        let certificate = self.certificate();
        let service = self.service();
        let drain = self.drain();
        let sweep = self.sweep();
        let metrics = self.metrics();
        let coturn = self.coturn();
        let relays = self.relays();
        let timeouts = self.timeouts();
        if let (Some(dns), Some(timeouts)) = (&dns, &timeouts) {
            self.spread(dns.spread, timeouts.register);
        }
        if let (Some(Some(Bbb { turn: Some(_), .. })), Some(Addresses { on, .. })) = (&bbb, &addresses)
            && *on == OnAddresses::Ignore
        {
            self.complain(
                "bbb.turn_server",
                "needs another bbb.addresses than \"ignore\": the file would not be looked at",
            );
        }
        let log_level = self.choice("log.level");
        Some(Settings {
            dns: dns?,
            bbb: bbb?,
            addresses: addresses?,
            scalelite: scalelite?,
            service: service?,
            drain: drain?,
            sweep: sweep?,
            metrics: metrics?,
            coturn: coturn?,
            relays: relays?,
            region: region?,
            profile: profile?,
            ca_bundle: ca_bundle?,
            certificate: certificate?,
            timeouts: timeouts?,
            log_level: log_level?,
        })
    }

    /// Checks that the spread leaves half of the time for the calls themselves and for joining.
    fn spread(&mut self, spread: Duration, register: Duration) {
        if spread > register / 2 {
            let (spread, register) = (spread.as_secs(), register.as_secs());
            self.complain(
                "dns.spread",
                format!("{spread} s is more than half of timeouts.register ({register} s): a host could still wait for its turn when its time is over"),
            );
        }
    }

    fn certificate(&mut self) -> Option<Option<FleetCertificate>> {
        let secret = self.optional("tls.certificate", SecretReference::parse);
        let installer = self.text("tls.installer", absolute);
        let interval = self.seconds("checks.certificate");
        let (secret, installer, interval) = (secret?, installer?, interval?);
        Some(secret.map(|secret| FleetCertificate { secret, installer, interval }))
    }

    fn scalelite(&mut self) -> Option<Option<Scalelite>> {
        let url = self.optional("scalelite.url", |text| {
            normalise_url(text)
                .ok_or("must be an http or https URL, for example https://scalelite.example.org")
        });
        let secret = self.optional("scalelite.secret", SecretReference::parse);
        let multiplier = self.float("scalelite.load_multiplier");
        let reference = self.integer("scalelite.reference_cpus");
        let tag = self.optional("scalelite.tag", plain);
        let poll_interval = self.seconds("scalelite.poll_interval");
        let (url, secret, tag) = (url?, secret?, tag?);
        let multiplier = match (multiplier?, reference?) {
            (Number::Open, _) => None,
            (Number::Is(multiplier), _) => Some(multiplier),
            (Number::Found, reference) => Some(membership::multiplier(cpus(), reference)),
        };
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
        let directory = self.text("service.directory", absolute);
        let state = match self.agent.role {
            Role::Bbb => self.text("service.state", absolute).map(Some),
            Role::Turn => Some(None),
        };
        let on_stop = self.choice("service.on_stop");
        let metadata = self.seconds("checks.metadata");
        let name = self.seconds("checks.name");
        let scalelite = self.seconds("checks.scalelite");
        let work = self.seconds("checks.work");
        let protected = self.bool("protection.enabled");
        let idle = self.seconds("protection.idle");
        let launch = self.optional("service.launch_hook", hook_name);
        let limit = self.seconds("service.launch_limit");
        let at_limit = self.choice("service.launch_at_limit");
        let unhealthy_after = match self.agent.role {
            Role::Bbb => self.seconds("service.unhealthy_after"),
            Role::Turn => Some(Duration::ZERO),
        };
        let (limit, at_limit) = (limit?, at_limit?);
        Some(Service {
            directory: directory?,
            state: state?,
            on_stop: on_stop?,
            metadata: metadata?,
            name: name?,
            scalelite: scalelite?,
            work: work?,
            protection: (protected? && self.agent.role == Role::Bbb).then_some(idle?),
            launch: launch?.map(|hook| Launch { hook, rules: Launching { limit, at_limit } }),
            unhealthy_after: unhealthy_after.map(|after| Some(after).filter(|after| !after.is_zero()))?,
        })
    }

    fn drain(&mut self) -> Option<Drain> {
        let deadline = self.seconds("drain.deadline");
        let quiet = self.seconds("drain.quiet");
        let at_deadline = self.choice("drain.at_deadline");
        let hook = self.optional("drain.hook", hook_name);
        let hooks = self.choice("drain.hooks");
        let rebalance = self.choice::<OnNotice>("drain.rebalance");
        let rebalance_for = self.seconds("drain.rebalance_for");
        let maintenance = self.choice::<OnNotice>("drain.maintenance");
        let announce = self.numbers("drain.announce");
        let message = self.text("drain.message", |text| Ok::<_, Infallible>(text.to_owned()));
        let rules = self.rules();
        let after_deadline = self.seconds("recordings.after_deadline");
        let mut announce: Vec<Duration> =
            announce?.into_iter().map(|minutes| Duration::from_secs(60 * minutes)).collect();
        announce.sort_by_key(|before| std::cmp::Reverse(*before));
        announce.dedup();
        Some(Drain {
            deadline: deadline?,
            rules: rules?,
            after_deadline: after_deadline?,
            quiet: quiet?,
            at_deadline: at_deadline?,
            hook: hook?,
            hooks: hooks?,
            rebalance: rebalance? == OnNotice::Cordon,
            rebalance_for: rebalance_for?,
            maintenance: maintenance? == OnNotice::Cordon,
            announce,
            message: message?,
        })
    }

    fn sweep(&mut self) -> Option<Sweep> {
        let interval = self.seconds("sweep.interval");
        let grace = self.seconds("sweep.grace");
        let pause = self.seconds("sweep.pause");
        let enabled = self.bool("sweep.enabled");
        Some(Sweep { enabled: enabled?, interval: interval?, grace: grace?, pause: pause? })
    }
}

fn region(text: &str) -> Result<String, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if plain && text.contains('-') {
        Ok(text.to_owned())
    } else {
        Err("must be an AWS region, for example eu-central-1")
    }
}

fn plain(text: &str) -> Result<String, &'static str> {
    let plain = !text.chars().any(char::is_control);
    if plain { Ok(text.to_owned()) } else { Err("must have no control characters") }
}

fn absolute(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err("must be an absolute path") }
}

/// Returns the number of CPUs of this host.
fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;

fn hook_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("must be the name of a lifecycle hook") } else { Ok(text.to_owned()) }
}
