//! The whole cloud: all parts started on loopback and connected, with a handle to each.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use sandbox::cloud::{Cloud, Options};
//!
//! let cloud = Cloud::start(Options::default()).await?;
//! let agent = std::process::Command::new("bbb-agent").envs(cloud.environment());
//! cloud.imds.update(|facts| facts.public_ipv4 = Some([203, 0, 113, 11].into()))?;
//! # Ok(()) }
//! ```
//!
//! The DNS servers do not listen on port 53 unless told so, and an NS record cannot carry a port: give
//! [`Cloud::dns`]'s addresses to the client. A test as root may choose addresses such as `127.0.0.53:53`; then the
//! resolver also resolves the names of the zone's name servers to them.

mod host;
mod listener;
mod options;
mod state;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use host::{Host, HostOptions};
pub use options::{Addresses, Delays, GroupOptions, Options};

use crate::autoscaling::AutoScaling;
use crate::aws::{Front, Vault};
use crate::bbb::{BbbHost, HostFiles, Network};
use crate::clock::Clock;
use crate::cloudformation::CloudFormation;
use crate::cloudwatch::CloudWatch;
use crate::dns::{NameServers, Resolver};
use crate::ec2::Ec2;
use crate::faults::Faults;
use crate::fleet::Fleet;
use crate::http::{Delay, Gate, Service, ServiceName};
use crate::imds::Imds;
use crate::journal::Journal;
use crate::route53::Route53;
use crate::s3::S3;
use crate::scalelite::Scalelite;
use crate::secrets::SecretsManager;
use crate::sts::Sts;
use crate::tls::Authority;
use listener::{Listener, Net};

/// An error at the start: an address that is taken, or an option that is not valid.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The name of the AWS front, for clients that use [`Cloud::resolver`].
pub const AWS_NAME: &str = "aws.sandbox.test";
/// The name of Scalelite, for clients that use [`Cloud::resolver`].
pub const SCALELITE_NAME: &str = "scalelite.sandbox.test";
/// The secret in Secrets Manager that holds the load balancer's secret.
pub const SCALELITE_SECRET_ID: &str = "bbb/scalelite";
/// The bucket of the sample's scripts, from which releases come too.
pub const BUCKET: &str = "sandbox-sources";
/// The JSON key in that secret.
pub const SCALELITE_SECRET_KEY: &str = "loadbalancer_secret";

/// A running cloud. Its parts are steered through their own methods.
#[derive(Debug)]
pub struct Cloud {
    /// The IMDS of the first host.
    pub imds: Arc<Imds>,
    /// The BBB API of the first host.
    pub bbb: Arc<BbbHost>,
    /// The BBB property files of the first host.
    pub files: HostFiles,
    /// All instances and groups.
    pub fleet: Arc<Fleet>,
    /// The clock of lifecycle hooks and IMDS tokens.
    pub clock: Clock,
    /// The front that verifies and denies AWS requests.
    pub aws: Arc<Front>,
    /// The AWS keys.
    pub vault: Arc<Vault>,
    /// Route 53's API.
    pub route53: Arc<Route53>,
    /// The zones' authoritative servers.
    pub dns: Arc<NameServers>,
    /// A recursive resolver.
    pub resolver: Resolver,
    /// CloudWatch.
    pub cloudwatch: Arc<CloudWatch>,
    /// Secrets Manager.
    pub secrets: Arc<SecretsManager>,
    /// STS.
    pub sts: Arc<Sts>,
    /// S3.
    pub s3: Arc<S3>,
    /// CloudFormation.
    pub cloudformation: Arc<CloudFormation>,
    /// Scalelite.
    pub scalelite: Arc<Scalelite>,
    /// The addresses to which host names lead Scalelite.
    pub network: Network,
    /// The planned faults.
    pub faults: Faults,
    /// The requests so far.
    pub journal: Journal,
    /// The id of the first zone.
    pub zone_id: String,
    /// The name of the first zone, without a final dot.
    pub zone_name: String,
    /// The Auto Scaling group that hosts join.
    pub group: String,
    hosts: Mutex<Vec<Arc<Host>>>,
    listeners: Listeners,
    net: Net,
    delays: Delays,
    directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Listeners {
    aws: Listener,
    /// Route 53's own, where it is at another distance than the other AWS services.
    route53: Option<Listener>,
    scalelite: Listener,
}

impl Cloud {
    /// Starts all parts. They stop when the cloud is dropped.
    pub async fn start(options: Options) -> Result<Arc<Self>, Error> {
        let directory = tempfile::Builder::new().prefix("sandbox-").tempdir()?;
        let net = Net::new(&options, directory.path())?;
        let network = net.network()?;
        let clock = Clock::default();
        let (fleet, vault) = (Fleet::new(clock.clone()), Vault::new());
        fleet.add_group(
            &options.group.name,
            options.group.min,
            options.group.max,
            options.group.hooks.clone(),
        );
        let facts = options.host.facts.clone();
        let route53 = Route53::new(options.route53.clone())?;
        let zone = options.route53.zones.first().ok_or("at least one zone is needed")?;
        let dns = NameServers::start(Arc::clone(&route53), options.dns.clone()).await?;
        let resolver = options::resolver(&options, &dns);
        let resolver = Resolver::start(Arc::clone(&dns), resolver).await?;
        let cloudwatch = CloudWatch::new();
        let secrets = SecretsManager::new(&facts.account_id, &facts.region);
        let scalelite = Scalelite::new(options.scalelite.clone(), network.clone());
        put_secrets(&secrets, &options);

        let aws = Front::new(&facts.region, Arc::clone(&vault));
        aws.serve(Arc::clone(&route53) as Arc<dyn Service>);
        aws.serve(Ec2::new(Arc::clone(&fleet)));
        aws.serve(AutoScaling::new(Arc::clone(&fleet), &facts.account_id, &facts.region));
        aws.serve(Arc::clone(&cloudwatch) as Arc<dyn Service>);
        aws.serve(Arc::clone(&secrets) as Arc<dyn Service>);
        let sts = Sts::new(Arc::clone(&vault), &facts.account_id);
        aws.serve(Arc::clone(&sts) as Arc<dyn Service>);
        let s3 = S3::new(&facts.region, &facts.account_id, aws.denials());
        s3.create_bucket(BUCKET);
        aws.serve(Arc::clone(&s3) as Arc<dyn Service>);
        let cloudformation = CloudFormation::new();
        aws.serve(Arc::clone(&cloudformation) as Arc<dyn Service>);
        let names = options::aws_names(&facts.region, &facts.domain);
        let open = |service| !options.closed.contains(&service);
        let front = async |address, delay| {
            net.listen(address, open(ServiceName::Route53), true, &names, aws.route(), delay).await
        };
        let delays = options.delays;
        let listeners = Listeners {
            aws: front(options.addresses.aws, delays.aws).await?,
            route53: match delays.route53 == Delay::default() {
                true => None,
                false => Some(front(([127, 0, 0, 1], 0).into(), delays.route53).await?),
            },
            scalelite: net
                .serve(
                    options.addresses.scalelite,
                    open(ServiceName::Scalelite),
                    true,
                    &[SCALELITE_NAME.to_owned()],
                    Arc::clone(&scalelite) as Arc<dyn Service>,
                    delays.scalelite,
                )
                .await?,
        };
        let world = host::World {
            fleet: &fleet,
            vault: &vault,
            network: &network,
            net: &net,
            zone: &zone.name,
            delays,
        };
        let first = Host::start(&options.host, &options.closed, world, directory.path()).await?;
        if let Some(group) = &options.host.group {
            fleet.attach(group, first.id())?;
        }
        Ok(Arc::new(Self {
            imds: Arc::clone(&first.imds),
            bbb: Arc::clone(&first.bbb),
            files: first.files.clone(),
            zone_id: zone.id.clone(),
            zone_name: zone.name.trim_end_matches('.').to_owned(),
            group: options.group.name,
            faults: net.faults.clone(),
            journal: net.journal.clone(),
            hosts: Mutex::new(vec![Arc::new(first)]),
            fleet,
            clock,
            aws,
            vault,
            route53,
            dns,
            resolver,
            cloudwatch,
            secrets,
            sts,
            s3,
            cloudformation,
            scalelite,
            network,
            listeners,
            net,
            delays,
            directory,
        }))
    }

    /// Adds a host with an IMDS, a BBB API and property files of its own.
    pub async fn add_host(&self, options: HostOptions) -> Result<Arc<Host>, Error> {
        let world = host::World {
            fleet: &self.fleet,
            vault: &self.vault,
            network: &self.network,
            net: &self.net,
            zone: &self.zone_name,
            delays: self.delays,
        };
        let host = Arc::new(Host::start(&options, &[], world, self.directory.path()).await?);
        if let Some(group) = &options.group {
            self.fleet.attach(group, host.id())?;
        }
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&host));
        Ok(host)
    }

    /// Returns all hosts, the first host first.
    pub fn hosts(&self) -> Vec<Arc<Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the host of an instance.
    pub fn host(&self, instance: &str) -> Option<Arc<Host>> {
        self.hosts().into_iter().find(|host| host.id() == instance)
    }

    /// Returns the environment for an agent's process on the first host. The region comes from IMDS.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment_of(self.imds_address())
    }

    /// Returns the environment for an agent's process on this host.
    pub fn environment_on(&self, host: &Host) -> Vec<(String, String)> {
        self.environment_of(host.imds_address())
    }

    fn environment_of(&self, imds: SocketAddr) -> Vec<(String, String)> {
        let mut environment = vec![
            ("AWS_ENDPOINT_URL".to_owned(), self.aws_url()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), format!("http://{imds}")),
        ];
        let route53 = self.listeners.route53.as_ref().map(Listener::url);
        environment.extend(route53.map(|url| ("AWS_ENDPOINT_URL_ROUTE_53".to_owned(), url)));
        let authority = self.ca_file().map(|path| path.to_string_lossy().into_owned());
        environment.extend(authority.map(|path| ("SSL_CERT_FILE".to_owned(), path)));
        environment
    }

    /// Returns the AWS endpoint, by address.
    pub fn aws_url(&self) -> String {
        self.listeners.aws.url()
    }

    /// Returns the AWS endpoint, by [`AWS_NAME`], which only [`Cloud::resolver`] knows.
    pub fn aws_url_by_name(&self) -> String {
        self.listeners.aws.url_as(AWS_NAME)
    }

    /// Returns the address of the AWS front.
    pub fn aws_address(&self) -> SocketAddr {
        self.listeners.aws.address
    }

    /// Returns Scalelite's URL, by address and without a path: its API is below `/scalelite/api`.
    pub fn scalelite_url(&self) -> String {
        self.listeners.scalelite.url()
    }

    /// Returns Scalelite's URL, by [`SCALELITE_NAME`], which only [`Cloud::resolver`] knows.
    pub fn scalelite_url_by_name(&self) -> String {
        self.listeners.scalelite.url_as(SCALELITE_NAME)
    }

    /// Returns the address of the first host's IMDS, which is always plain HTTP.
    pub fn imds_address(&self) -> SocketAddr {
        self.first_address(Host::imds_address)
    }

    /// Returns the address of the first host's BBB API.
    pub fn bbb_address(&self) -> SocketAddr {
        self.first_address(Host::bbb_address)
    }

    fn first_address(&self, of: impl FnOnce(&Host) -> SocketAddr) -> SocketAddr {
        let nowhere = || SocketAddr::from(([127, 0, 0, 1], 0));
        self.hosts().first().map_or_else(nowhere, |host| of(host))
    }

    /// Returns `bigbluebutton.web.serverURL` of the first host, without `/bigbluebutton/api`.
    pub fn bbb_url(&self) -> String {
        self.hosts().first().map(|host| host.bbb_url.clone()).unwrap_or_default()
    }

    /// Returns the root directory of the first host's files.
    pub fn root(&self) -> PathBuf {
        self.hosts().first().map(|host| host.root.clone()).unwrap_or_default()
    }

    /// Returns the file of the certificate authority, if the cloud has TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.net.ca_file()
    }

    /// Returns the certificate authority, if the cloud has TLS.
    pub fn authority(&self) -> Option<&Authority> {
        self.net.authority()
    }

    /// Returns the gate of a service. All AWS services share one, unless Route 53 is at a distance of its own; IMDS and BBB are those of the first host.
    pub fn gate(&self, service: ServiceName) -> Gate {
        self.listener(service).gate
    }

    /// Closes a service's listener and returns once connections are refused. Open connections stay open.
    pub async fn close(&self, service: ServiceName) {
        self.listener(service).close().await;
    }

    /// Opens a service's listener again and returns once connections are accepted.
    pub async fn open(&self, service: ServiceName) {
        self.listener(service).open().await;
    }

    fn listener(&self, service: ServiceName) -> Listener {
        let host = self.hosts().into_iter().next();
        match (service, host) {
            (ServiceName::Scalelite, _) => self.listeners.scalelite.clone(),
            (ServiceName::Imds, Some(host)) => host.imds_listener.clone(),
            (ServiceName::Bbb, Some(host)) => host.bbb_listener.clone(),
            (ServiceName::Route53, _) => {
                self.listeners.route53.as_ref().unwrap_or(&self.listeners.aws).clone()
            }
            _ => self.listeners.aws.clone(),
        }
    }

    /// Announces a spot interruption of an instance two minutes from now, by the cloud's clock.
    pub fn interrupt(
        &self,
        instance: &str,
        action: &str,
        ahead: Duration,
    ) -> Result<(), crate::fleet::Refusal> {
        let time = crate::clock::iso8601((self.clock.now() + ahead).as_secs());
        let notice = crate::fleet::SpotNotice { action: action.to_owned(), time };
        self.fleet.change(instance, |instance| instance.facts.spot = Some(notice))
    }
}

fn put_secrets(secrets: &SecretsManager, options: &Options) {
    let value = serde_json::json!({ SCALELITE_SECRET_KEY: options.scalelite.secret.expose() });
    secrets.put(SCALELITE_SECRET_ID, &value.to_string());
    for (name, value) in &options.secrets {
        secrets.put(name, value);
    }
}
