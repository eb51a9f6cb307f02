//! The equipment of one run of an agent: settings, signals, and clients that are created at first use, so that a
//! command pays only for those that it needs.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plan::membership::host_of;
use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::config::settings::{self, Settings};
use crate::dns::Zone;
use crate::identity::{self, Host};
use crate::interrupt::Interrupt;
use crate::report::{Exit, Failure};
use crate::retry::Pace;
use clients::aws;
use clients::aws::autoscaling::AutoScaling;
use clients::aws::cloudwatch::CloudWatch;
use clients::aws::ec2::Ec2;
use clients::aws::route53::HostedZone;
use clients::bbb::recordings::{self, Spool};
use clients::bbb::{self, Bbb, Installation, NotReady, PropertyFiles};
use clients::dns::authoritative::NameServers;
use clients::dns::system::SystemResolver;
use clients::http::{self, Tls};
use clients::imds::Imds;
use clients::scalelite::Scalelite;
use clients::secrets;

/// One run of an agent.
#[derive(Debug)]
pub struct Session {
    /// The agent.
    pub agent: Agent,
    /// Its settings.
    pub settings: Settings,
    /// Its signals.
    pub interrupt: Interrupt,
    tls: Tls,
    names: SystemResolver,
    imds: Imds,
    aws: OnceCell<aws::SdkConfig>,
    spool: Option<Spool>,
}

impl Session {
    /// Creates a session. Asks nothing yet.
    pub fn new(agent: Agent, settings: Settings, interrupt: Interrupt) -> Result<Self, Failure> {
        let imds =
            Imds::from_env().map_err(|error| Failure::new(Exit::Usage, "metadata service").because(error))?;
        Ok(Self::on_host_of(imds, agent, settings, interrupt))
    }

    /// Creates a session on the host of this metadata service, whatever the environment names.
    pub fn on_host_of(imds: Imds, agent: Agent, settings: Settings, interrupt: Interrupt) -> Self {
        let tls = Tls::new(settings.ca_bundle.clone());
        let spool = settings
            .bbb
            .as_ref()
            .map(|bbb| Spool::new(bbb.recordings.clone(), recordings::SENDER.into(), bbb.redis));
        let (names, aws) = (SystemResolver::new(), OnceCell::new());
        Self { agent, settings, interrupt, tls, names, imds, aws, spool }
    }

    /// Returns the client of the metadata service.
    pub fn imds(&self) -> &Imds {
        &self.imds
    }

    /// Returns the authorities that TLS trusts.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Determines this host's identity, waiting for the metadata service as configured, but not beyond `deadline`.
    pub async fn host(&self, deadline: Instant) -> Result<Host, Failure> {
        let patience = Instant::now() + self.settings.timeouts.imds;
        identity::observe(&self.imds, &self.settings.dns, deadline.min(patience)).await
    }

    /// Returns the zone of the host's name, with its authoritative servers as configured or as found.
    pub async fn zone(&self, host: &Host) -> Result<Zone, Failure> {
        let (aws, servers) = tokio::join!(self.aws(host), self.name_servers());
        Ok(Zone { api: HostedZone::new(aws?, &self.settings.dns.zone_id), servers })
    }

    /// Returns Route 53's API alone.
    pub async fn hosted_zone(&self, host: &Host) -> Result<HostedZone, Failure> {
        Ok(HostedZone::new(self.aws(host).await?, &self.settings.dns.zone_id))
    }

    /// Returns the zone with servers that are already known.
    pub async fn zone_with(
        &self,
        host: &Host,
        servers: Result<NameServers, String>,
    ) -> Result<Zone, Failure> {
        Ok(Zone { api: self.hosted_zone(host).await?, servers })
    }

    /// Returns the zone's authoritative servers, or the reason why they are not asked.
    pub async fn name_servers(&self) -> Result<NameServers, String> {
        let settings::Dns { read_through_api, servers, domain, apex, .. } = &self.settings.dns;
        if *read_through_api {
            return Err("dns.read = \"api\"".to_owned());
        }
        if !servers.is_empty() {
            return Ok(NameServers::fixed(servers.clone()));
        }
        let found = NameServers::discover(&self.names, domain, apex.as_ref()).await;
        found.map_err(|error| error.to_string())
    }

    /// Returns EC2 in the host's own region.
    pub async fn ec2(&self, host: &Host) -> Result<Ec2, Failure> {
        self.ec2_in(&host.region, host).await
    }

    /// Returns EC2 in this region.
    pub async fn ec2_in(&self, region: &str, host: &Host) -> Result<Ec2, Failure> {
        Ok(Ec2::new(self.aws(host).await?, region))
    }

    /// Returns Auto Scaling in the host's own region.
    pub async fn autoscaling(&self, host: &Host) -> Result<AutoScaling, Failure> {
        Ok(AutoScaling::new(self.aws(host).await?, &host.region))
    }

    /// Returns CloudWatch in the host's own region.
    pub async fn cloudwatch(&self, host: &Host) -> Result<CloudWatch, Failure> {
        Ok(CloudWatch::new(self.aws(host).await?, &host.region))
    }

    /// Returns Scalelite, after fetching the load balancer's secret; `None` where no Scalelite is configured.
    pub async fn scalelite(&self, host: &Host, deadline: Instant) -> Result<Option<Scalelite>, Failure> {
        let Some(settings) = &self.settings.scalelite else { return Ok(None) };
        let secret = self.secret(&settings.secret, host, deadline).await?;
        let client = http::client(&self.tls, &self.names, http::Limits::default()).map_err(tls_failure)?;
        let scalelite = Scalelite::new(client, &settings.url, secret);
        scalelite.map(Some).map_err(|error| Failure::new(Exit::Usage, "scalelite.url").because(error))
    }

    /// Reads BBB's settings on this host; returns `None` on a TURN host.
    pub async fn installation(&self, host: &Host) -> Option<Result<Installation, NotReady>> {
        let settings::Bbb { defaults, properties, reader, .. } = self.settings.bbb.as_ref()?;
        let files = PropertyFiles { defaults, properties, reader: reader.as_deref() };
        Some(bbb::read_installation(files, &host.name).await)
    }

    /// Returns BBB's spool of recordings; `None` on a TURN host. The run has only one, because it remembers a hanging
    /// look.
    pub fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Returns a client for the BBB API of this host. Resolvers may not know the host's name yet, or only with an old
    /// address: the connection goes to the configured address instead, with the name for TLS and nginx.
    pub fn local_client(&self, server_url: &str) -> Result<http::Client, Failure> {
        let address = self.settings.bbb.as_ref().map(|bbb| SocketAddr::new(bbb.address, 0));
        let pin = host_of(server_url).map(str::to_owned).zip(address);
        http::local_client(&self.tls, &self.names, http::Limits::default(), pin).map_err(tls_failure)
    }

    /// The BBB on this host, whose settings were just read, if it answers with the secret of its property files. Where it
    /// may do so at any moment, the exit is [`Exit::TryAgain`]; where it has to be installed or repaired first,
    /// [`Exit::WaitingForBbb`].
    pub async fn ready_bbb(
        &self,
        read: Option<Result<Installation, NotReady>>,
    ) -> Result<(Installation, Bbb), Failure> {
        let installation = match read {
            None => return Err(Failure::new(Exit::WaitingForBbb, "this is no BBB host")),
            Some(Ok(installation)) => installation,
            Some(Err(error)) if error.may_come() => {
                return Err(Failure::new(Exit::WaitingForBbb, error.to_string()));
            }
            Some(Err(error)) => return Err(unusable(error)),
        };
        let bbb = Bbb::of(self.local_client(&installation.server_url)?, &installation);
        // This call, unlike the one for the version, proves that BBB runs with the secret of its property files.
        match bbb.meetings().await {
            Ok(_) => Ok((installation, bbb)),
            // A certificate comes with the installation too.
            Err(error @ bbb::Error::Distrusted { .. }) => {
                Err(Failure::new(Exit::WaitingForBbb, error.to_string()))
            }
            Err(error) if error.is_retryable() => Err(Failure::new(Exit::TryAgain, error.to_string())),
            Err(error) => Err(Failure::new(Exit::Failed, "the BBB API of this host").because(error)),
        }
    }

    async fn secret(
        &self,
        at: &secrets::SecretReference,
        host: &Host,
        deadline: Instant,
    ) -> Result<SecretString, Failure> {
        let mut pace = Pace::remote(deadline);
        let aws = match at.needs_aws() {
            true => Some(self.aws(host).await?),
            false => None,
        };
        loop {
            match secrets::resolve(at, aws).await {
                Ok(secret) => return Ok(secret),
                Err(error) if error.is_retryable() => pace.again("scalelite.secret", &error).await?,
                Err(error) => return Err(Failure::new(Exit::Failed, "scalelite.secret").because(error)),
            }
        }
    }

    async fn aws(&self, host: &Host) -> Result<&aws::SdkConfig, Failure> {
        let variable = std::env::var("AWS_REGION").ok().filter(|region| !region.is_empty());
        let region = self.settings.region.as_ref().or(variable.as_ref()).unwrap_or(&host.region);
        self.aws
            .get_or_try_init(|| aws::sdk_config(&self.tls, &self.names, &self.imds, region))
            .await
            .map_err(tls_failure)
    }
}

/// The URL under which a host is in Scalelite: by BBB's settings, which were just read; else the one that is `known` from
/// before; else the one that it would have by its name.
pub fn scalelite_url(
    read: Option<Result<Installation, NotReady>>,
    known: Option<String>,
    host: &Host,
) -> Result<String, Failure> {
    match (read, known) {
        (Some(Ok(installation)), _) => Ok(installation.scalelite_url()),
        (_, Some(url)) => Ok(url),
        (Some(Err(error)), None) if !error.may_come() => Err(unusable(error)),
        (Some(Err(_)) | None, None) => Ok(host.server_url()),
    }
}

fn unusable(error: NotReady) -> Failure {
    Failure::new(Exit::Failed, "BBB's settings on this host").because(error)
}

fn tls_failure(error: http::TlsError) -> Failure {
    Failure::new(Exit::Failed, "TLS cannot be used").because(error)
}

/// Returns the point in time `limit` from now.
pub fn within(limit: Duration) -> Instant {
    Instant::now() + limit
}

/// Returns the seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}
