//! A boot storm: many hosts that start at once, and leave at once, against the embedded cloud with an account's quota
//! for Route 53, its serialisation of changes, and a Scalelite that is as unkind as the real one: it loses adds that
//! meet, has save conflicts for a client that is alone and a poller that loses results, and takes its time for each
//! request.
//!
//! The hosts are the real service (`host::service::run`), some hundred in a process, which is how a host boots; and
//! some real processes of `bbb-agent register --wait`. The cloud is in a process of its own, so that neither waits
//! for the other.

pub mod crowd;
mod figures;
mod fleet;
pub mod said;

use std::path::Path;
use std::time::{Duration, Instant};

use sandbox::cloud::Cloud;
use sandbox::route53::{Action, BucketSize, RecordType};
use sandbox::scalelite::ServerState;

pub use figures::{Aim, Figures, Left, Phase};

use fleet::Fleet;

/// Whatever keeps a storm from being tried.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How often is looked whether all hosts are there.
const LOOK: Duration = Duration::from_millis(100);
/// How much longer than they try themselves the hosts are waited for.
const MARGIN: Duration = Duration::from_secs(20);

/// What kind of storm.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many hosts.
    pub hosts: u16,
    /// The account's quota of Route 53 calls.
    pub quota: BucketSize,
    /// How long Route 53 processes a change: another one of the same zone is refused meanwhile. Nobody has published
    /// how long that is.
    pub processing: Duration,
    /// `dns.spread`, in seconds.
    pub spread: u64,
    /// How many of the hosts are processes of `bbb-agent register --wait`.
    pub processes: u16,
    /// How long a change takes to reach the name servers.
    pub propagation: Duration,
    /// How long the hosts have to register (`timeouts.register`).
    pub patience: Duration,
    /// Whether all hosts leave at once afterwards, and how long they have (`timeouts.deregister`).
    pub leave: Option<Duration>,
    /// The seed by which Scalelite is as unkind as it was observed to be; none for one that is kind and costs nothing.
    pub unkind: Option<u64>,
}

impl Options {
    /// The least time in which so many calls pass, one for each host.
    pub fn least(&self) -> Duration {
        let hosts = f64::from(self.hosts) - f64::from(self.quota.capacity);
        Duration::from_secs_f64((hosts / self.quota.per_second).max(0.0))
    }
}

/// Returns the `dns.spread` in seconds that docs/install.md recommends for so many hosts.
pub fn recommended(hosts: u16, quota: BucketSize) -> u64 {
    if u32::from(hosts) <= quota.capacity {
        return 0;
    }
    // The cast saturates; there are no fractions of a second in the setting.
    (f64::from(hosts) / quota.per_second).ceil() as u64
}

/// Lets it happen. `crowd` is the program that is [`crowd::serve`].
pub async fn run(options: &Options, crowd: &Path) -> Result<Figures, Error> {
    let mut fleet = Fleet::prepare(options, crowd).await?;
    let began = Instant::now();
    fleet.register().await?;
    let deadline = began + options.patience + MARGIN;
    while !is_complete(&fleet.cloud, options.hosts) && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    let joined = began.elapsed();
    fleet.registered().await?;
    let boot = Phase::of(&fleet.cloud.route53.calls(), began);
    let mut figures = Figures {
        options: options.clone(),
        least: options.least(),
        registered: addresses(&fleet.cloud),
        doubled: doubled(&fleet.cloud),
        enabled: enabled(&fleet.cloud),
        entries: fleet.cloud.scalelite.servers().len(),
        live: fleet
            .cloud
            .route53
            .changes()
            .iter()
            .all(|change| fleet.cloud.route53.in_sync(&change.id) == Some(true)),
        joined,
        boot,
        scalelite: fleet.cloud.scalelite.take_traffic(),
        left: None,
    };
    if options.leave.is_some() {
        let (before, began) = (fleet.cloud.route53.calls().len(), Instant::now());
        fleet.leave().await?;
        let calls = fleet.cloud.route53.calls().split_off(before);
        figures.left = Some(Left {
            phase: Phase::of(&calls, began),
            names: addresses(&fleet.cloud),
            entries: fleet.cloud.scalelite.servers().len(),
            scalelite: fleet.cloud.scalelite.take_traffic(),
        });
    }
    Ok(figures)
}

/// Whether every host has its name, live everywhere, and takes meetings.
fn is_complete(cloud: &Cloud, hosts: u16) -> bool {
    let changes = cloud.route53.changes();
    enabled(cloud) == usize::from(hosts)
        && addresses(cloud) == usize::from(hosts)
        && changes.last().is_none_or(|change| cloud.route53.in_sync(&change.id) == Some(true))
}

/// How many names have an IPv4 address.
fn addresses(cloud: &Cloud) -> usize {
    let sets = cloud.route53.records(&cloud.zone_id).unwrap_or_default();
    sets.iter().filter(|set| set.record_type == RecordType::A).count()
}

/// How many hosts were given an address more than once.
fn doubled(cloud: &Cloud) -> usize {
    let changes = cloud.route53.changes();
    let created = changes.iter().flat_map(|accepted| &accepted.changes);
    let mut names: Vec<&str> = created
        .filter(|change| change.action == Action::Create && change.set.record_type == RecordType::A)
        .map(|change| change.set.name.as_str())
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    all - names.len()
}

/// How many hosts have an entry that is enabled.
fn enabled(cloud: &Cloud) -> usize {
    let servers = cloud.scalelite.servers();
    let mut urls: Vec<&str> = servers
        .iter()
        .filter(|server| server.state == ServerState::Enabled)
        .map(|server| server.url.as_str())
        .collect();
    urls.sort_unstable();
    urls.dedup();
    urls.len()
}
