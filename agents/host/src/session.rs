//! The equipment of one run of an agent: settings, signals, and clients that are created at first use, so that a
//! command pays only for those that it needs.

mod turn_servers;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plan::addresses::{Announced, OnAddresses};
use plan::image::Origin;
use plan::instance::{InstanceId, Role};
use plan::membership::host_of;
use plan::relay::Relay;
use rustix::time::{ClockId, clock_gettime};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tracing::warn;

use crate::agent::Agent;
use crate::cli::Only;
use crate::config::settings::{self, Coturn, Settings};
use crate::dns::Zone;
use crate::dns::delegation::Delegation;
use crate::identity::{self, Host, Place};
use crate::interrupt::Interrupt;
use crate::membership::{Note, enabling};
use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience};
use clients::aws::autoscaling::AutoScaling;
use clients::aws::cloudwatch::CloudWatch;
use clients::aws::ec2::Ec2;
use clients::aws::route53::HostedZone;
use clients::aws::{self, AssumedRole};
use clients::bbb::addresses::repair::{Places, is_unfinished};
use clients::bbb::recordings::Spool;
use clients::bbb::{self, Bbb, Installation, NotReady, PropertyFiles, addresses};
use clients::certificate::bundle::{Bundle, Defect};
use clients::coturn;
use clients::dns::authoritative::NameServers;
use clients::dns::system::SystemResolver;
use clients::http::{self, Tls};
use clients::imds::Imds;
use clients::scalelite::{Checksums, Scalelite};
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
    zone_role: OnceCell<AssumedRole>,
    scalelite_http: std::cell::OnceCell<http::Client>,
    spool: Option<Spool>,
    /// The password of BBB's Redis, as it was fetched last.
    redis_password: RefCell<Option<SecretString>>,
    turn_servers: RefCell<Option<turn_servers::Fetched>>,
    /// The checksums that Scalelite takes.
    checksums: Checksums,
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
        let spool = settings.bbb.as_ref().map(|bbb| {
            let sending = bbb.recordings.sender.sending(settings.scalelite.is_some());
            Spool::new(bbb.recordings.directory.clone(), sending)
        });
        let (names, aws, zone_role) = (SystemResolver::new(), OnceCell::new(), OnceCell::new());
        let (redis_password, scalelite_http) = (RefCell::default(), std::cell::OnceCell::new());
        let checksums = Checksums::default();
        Self {
            agent,
            settings,
            interrupt,
            tls,
            names,
            imds,
            aws,
            zone_role,
            scalelite_http,
            spool,
            redis_password,
            turn_servers: RefCell::default(),
            checksums,
        }
    }

    /// Returns a session with the same settings on a machine that is no host of the fleet: its metadata service, if there
    /// is one, is not asked, neither who this is nor for credentials.
    pub fn outside(&self) -> Result<Self, Failure> {
        let imds =
            Imds::absent().map_err(|error| Failure::new(Exit::Failed, "cannot begin").because(error))?;
        Ok(Self::on_host_of(imds, self.agent, self.settings.clone(), self.interrupt.clone()))
    }

    /// Returns the client of the metadata service.
    pub fn imds(&self) -> &Imds {
        &self.imds
    }

    /// Returns the authorities that TLS trusts.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Determines this host's identity, waiting for the metadata service with this patience, but not longer than
    /// configured.
    pub async fn host(&self, patience: impl Into<Patience>) -> Result<Host, Failure> {
        self.observed(patience.into(), async |_| {}).await
    }

    async fn observed(&self, patience: Patience, in_region: impl AsyncFn(&str)) -> Result<Host, Failure> {
        let patience = patience.until(within(self.settings.timeouts.imds));
        let host = identity::observe(&self.imds, &self.settings.dns, patience, in_region);
        let (host, relay) = tokio::join!(host, self.relay_of_name());
        let mut host = Host { relay, ..host? };
        if self.agent.role == Role::Turn && self.settings.addresses.on != OnAddresses::Ignore {
            host.announced = Some(Box::pin(self.announced(&host, None)).await);
        }
        Ok(host)
    }

    /// Asks coturn what it does, where its answer may cost the host its name.
    async fn relay_of_name(&self) -> Option<Relay> {
        match self.settings.coturn {
            Some(Coturn::At(address)) if Relay::Open.keeps_out(self.agent.role) => {
                self.relay(address).await.ok()
            }
            _ => None,
        }
    }

    /// Returns where coturn is asked for a relay; `None` where it is not asked.
    pub fn coturn(&self, host: &Host) -> Option<SocketAddr> {
        self.settings.coturn.map(|coturn| coturn.address(host.private_ipv4))
    }

    /// Asks coturn at this address for a relay without credentials. The error says why it could not be asked.
    pub async fn relay(&self, address: SocketAddr) -> Result<Relay, String> {
        match coturn::relay(address).await {
            Ok(Relay::Silent) if self.lacks_coturn() => Ok(Relay::Absent),
            Ok(relay) => Ok(relay),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells whether coturn is not installed on a BBB host, which then uses TURN hosts, or none. A TURN host has no
    /// other purpose.
    fn lacks_coturn(&self) -> bool {
        let program = self.settings.addresses.root.join("usr/bin/turnserver");
        self.agent.role == Role::Bbb && matches!(program.try_exists(), Ok(false))
    }

    /// The same for a command that will change something: opens the connections for that as soon as the region is
    /// known.
    pub async fn host_ahead(
        &self,
        patience: impl Into<Patience>,
        only: Option<Only>,
    ) -> Result<Host, Failure> {
        self.observed(patience.into(), async |region: &str| self.connect(region, only).await).await
    }

    /// Begins to open the connections to Scalelite and to Route 53, which is far away from most regions, and does not
    /// wait for them: what does not need them is done meanwhile. No request is sent.
    pub async fn connect(&self, region: &str, only: Option<Only>) {
        if Only::pools(only)
            && let Some(settings) = &self.settings.scalelite
            && let Ok(client) = self.scalelite_client()
        {
            let url = settings.url.clone();
            tokio::spawn(async move { http::open(&client, &url).await });
        }
        if Only::names(only)
            && let Ok(aws) = self.aws(region).await
        {
            let zone = HostedZone::new(aws, &self.settings.dns.zone_id);
            tokio::spawn(async move { zone.open().await });
        }
    }

    /// Returns the zone of the host's name, with its authoritative servers as configured or as found.
    pub async fn zone(&self, host: &Host) -> Result<Zone, Failure> {
        let (api, servers) = tokio::join!(self.hosted_zone(host), self.name_servers());
        Ok(Zone { api: api?, servers })
    }

    /// Returns Route 53's API alone.
    pub async fn hosted_zone(&self, at: &impl Place) -> Result<HostedZone, Failure> {
        let (aws, id) = (self.aws(at.region()).await?, &self.settings.dns.zone_id);
        Ok(match self.zone_role(at).await? {
            Some(role) => HostedZone::assuming(aws, id, role),
            None => HostedZone::new(aws, id),
        })
    }

    /// Returns the role that is assumed for Route 53; `None` where none is configured. The run has only one session of
    /// it.
    pub async fn zone_role(&self, at: &impl Place) -> Result<Option<AssumedRole>, Failure> {
        let Some(settings::ZoneRole { arn, external_id }) = &self.settings.dns.role else { return Ok(None) };
        let aws = self.aws(at.region()).await?;
        let role = self
            .zone_role
            .get_or_init(async || AssumedRole::new(aws, arn, external_id.as_deref(), at.caller()))
            .await;
        Ok(Some(role.clone()))
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

    /// Looks up the addresses of the hosted zone's own servers.
    pub async fn servers_of(&self, own: &Delegation) -> Result<NameServers, String> {
        let found = NameServers::named(&self.names, &own.zone, own.servers.clone()).await;
        found.map_err(|error| error.to_string())
    }

    /// Returns EC2 in the host's own region.
    pub async fn ec2(&self, at: &impl Place) -> Result<Ec2, Failure> {
        self.ec2_in(at.region(), at).await
    }

    /// Returns EC2 in this region.
    pub async fn ec2_in(&self, region: &str, at: &impl Place) -> Result<Ec2, Failure> {
        Ok(Ec2::new(self.aws(at.region()).await?, region))
    }

    /// Returns Auto Scaling in the host's own region.
    pub async fn autoscaling(&self, at: &impl Place) -> Result<AutoScaling, Failure> {
        Ok(AutoScaling::new(self.aws(at.region()).await?, at.region()))
    }

    /// Says where the credentials for AWS come from; the error says why there are none.
    pub async fn describe_credentials(&self, host: &Host) -> Result<String, String> {
        let config = self.aws(&host.region).await.map_err(|failure| failure.headline())?;
        aws::describe_credentials(config, &self.imds, self.settings.profile.as_deref()).await
    }

    /// Returns CloudWatch in the host's own region.
    pub async fn cloudwatch(&self, host: &Host) -> Result<CloudWatch, Failure> {
        Ok(CloudWatch::new(self.aws(&host.region).await?, &host.region))
    }

    /// Returns Scalelite, after fetching the load balancer's secret; `None` where no Scalelite is configured.
    pub async fn scalelite(
        &self,
        at: &impl Place,
        patience: impl Into<Patience>,
    ) -> Result<Option<Scalelite>, Failure> {
        let Some(settings) = &self.settings.scalelite else { return Ok(None) };
        let secret = self.secret("scalelite.secret", &settings.secret, at, patience.into()).await?;
        let scalelite = Scalelite::new(self.scalelite_client()?, &settings.url, secret);
        scalelite
            .map(|scalelite| Some(scalelite.sharing(&self.checksums)))
            .map_err(|error| Failure::new(Exit::Usage, "scalelite.url").because(error))
    }

    /// Returns the HTTP client for Scalelite, of which the run has only one: it keeps open connections.
    fn scalelite_client(&self) -> Result<http::Client, Failure> {
        if let Some(client) = self.scalelite_http.get() {
            return Ok(client.clone());
        }
        let client = http::client(&self.tls, &self.names, http::Limits::default()).map_err(tls_failure)?;
        Ok(self.scalelite_http.get_or_init(|| client).clone())
    }

    /// Reads the note on the Scalelite entry that a reboot of this instance has taken out.
    pub fn note(&self, instance: &InstanceId) -> Option<Note> {
        Note::read(self.settings.service.state.as_deref()?, instance)
    }

    /// Keeps the note over a reboot; `None` removes it.
    pub fn keep_note(&self, note: Option<&Note>) {
        let Some(directory) = &self.settings.service.state else { return };
        let Some(note) = note else { return Note::remove(directory) };
        if let Err(error) = note.write(directory) {
            warn!(
                "the Scalelite entry's tag and load multiplier are not kept over the reboot: cannot write into {}: {error}; \
                 let systemd make it (StateDirectory=), or set service.state",
                directory.display()
            );
        }
    }

    /// Notes that the host's entry was enabled now, or is gone.
    pub fn enabled(&self, enabled: bool) {
        let directory = &self.settings.service.directory;
        if enabled { enabling::note(directory) } else { enabling::forget(directory) }
    }

    /// Returns how long ago the agent has enabled the host's entry, if that is known.
    pub fn since_enabled(&self) -> Option<Duration> {
        enabling::elapsed(&self.settings.service.directory)
    }

    /// Reads BBB's settings on this host; returns `None` on a TURN host.
    pub async fn installation(&self, host: &Host) -> Option<Result<Installation, NotReady>> {
        let settings::Bbb { defaults, properties, .. } = self.settings.bbb.as_ref()?;
        let reader = self.settings.addresses.reader.as_deref();
        let files = PropertyFiles { defaults, properties, reader };
        Some(bbb::read_installation(files, &host.name).await)
    }

    /// Finds out which address BBB or, on a TURN host, coturn announces, and whether BBB tells its clients the
    /// configured TURN servers. `local` are BBB's settings as they were just read; `None` where they are known to be this host's.
    pub async fn announced(&self, host: &Host, local: Option<&Result<Installation, NotReady>>) -> Announced {
        let (agent, settings::Addresses { root, reader, .. }) = (self.agent.name, &self.settings.addresses);
        if let Some(Err(NotReady::OtherHost { installation, .. })) = local
            && self.origin(installation, host).is_image()
        {
            return Announced::Image(installation.host().to_owned());
        }
        let own = host.own();
        let addresses::Read { readings, turn_servers } =
            addresses::read(agent, root, reader.as_deref()).await;
        let unfinished = is_unfinished(&Places::of(agent, root));
        let announced = Announced::of(&readings, unfinished, own.as_ref());
        // Before that nobody meets here, and the installer makes the file.
        if matches!(local, Some(Err(NotReady::NotInstalled { .. }))) {
            return announced;
        }
        match self.tells_turn_servers(host, turn_servers).await {
            Some(same) => announced.with_turn(same),
            None => announced,
        }
    }

    /// Returns whose name the BBB on this host has.
    pub fn origin(&self, installation: &Installation, host: &Host) -> Origin {
        Origin::of(installation.host(), &host.name, self.settings.dns.fleet())
    }

    /// Returns BBB's spool of recordings; `None` on a TURN host. The run has only one, because it remembers a hanging
    /// look.
    pub fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Returns the password of BBB's Redis; `None` where none is configured. It is fetched once, until
    /// [`Self::forget_redis_password`].
    pub async fn redis_password(
        &self,
        host: &Host,
        patience: impl Into<Patience>,
    ) -> Result<Option<SecretString>, Failure> {
        let reference = self.settings.bbb.as_ref().and_then(|bbb| bbb.recordings.redis_password.as_ref());
        let Some(reference) = reference else { return Ok(None) };
        let known = self.redis_password.borrow().clone();
        if known.is_some() {
            return Ok(known);
        }
        let password = self.secret("recordings.redis_password", reference, host, patience.into()).await?;
        self.redis_password.replace(Some(password.clone()));
        Ok(Some(password))
    }

    /// Has the password fetched again: Redis does not take it, or does not answer.
    pub fn forget_redis_password(&self) {
        self.redis_password.replace(None);
    }

    /// Returns a client for the BBB API of this host. Resolvers may not know the host's name yet, or only with an old
    /// address: the connection goes to the configured address instead, with the name for TLS and nginx.
    pub fn local_client(&self, server_url: &str) -> Result<http::Client, Failure> {
        let address = self.settings.bbb.as_ref().map(|bbb| SocketAddr::new(bbb.address, 0));
        let pin = host_of(server_url).map(str::to_owned).zip(address);
        http::local_client(&self.tls, &self.names, http::Limits::default(), pin).map_err(tls_failure)
    }

    /// The BBB on this host, whose settings were just read, if it answers with the secret of its property files.
    /// Where it may do so at any moment, the exit is [`Exit::TryAgain`]; where it has to be installed or repaired
    /// first, [`Exit::WaitingForBbb`].
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
        // Unlike the call for the version, this one needs the secret of the property files.
        match bbb.prove().await {
            Ok(()) => Ok((installation, bbb)),
            // A certificate comes with the installation too.
            Err(error @ bbb::Error::Distrusted { .. }) => {
                Err(Failure::new(Exit::WaitingForBbb, error.to_string()))
            }
            Err(error) if error.is_retryable() => Err(Failure::new(Exit::TryAgain, error.to_string())),
            Err(error) => Err(Failure::new(Exit::Failed, "the BBB API of this host").because(error)),
        }
    }

    /// Fetches the certificate of the whole fleet, and checks that clients of this host would accept it.
    pub async fn fleet_certificate(
        &self,
        certificate: &settings::FleetCertificate,
        host: &Host,
        patience: impl Into<Patience>,
    ) -> Result<Bundle, Failure> {
        const SETTING: &str = "tls.certificate";
        let text = self.secret(SETTING, &certificate.secret, host, patience.into()).await?;
        let unusable = |defect: Defect| {
            Failure::new(Exit::Failed, format!("{SETTING}: {} cannot be used", certificate.secret))
                .because(defect)
        };
        let bundle = Bundle::parse(text.expose_secret()).map_err(unusable)?;
        bundle.check(&host.name, &self.tls, now()).map_err(tls_failure)?.map_err(unusable)?;
        Ok(bundle)
    }

    async fn secret(
        &self,
        setting: &str,
        reference: &secrets::SecretReference,
        at: &impl Place,
        patience: Patience,
    ) -> Result<SecretString, Failure> {
        let mut pace = Pace::remote(patience);
        let aws = match reference.needs_aws() {
            true => Some(self.aws(at.region()).await?),
            false => None,
        };
        loop {
            match secrets::resolve(reference, aws).await {
                Ok(secret) => return Ok(secret),
                Err(error) if error.is_retryable() => pace.again(setting, &error).await?,
                Err(error) => return Err(Failure::new(Exit::Failed, setting).because(error)),
            }
        }
    }

    /// Returns the region that the settings or the environment name, if any does.
    pub fn named_region(&self) -> Option<String> {
        let variable = || std::env::var("AWS_REGION").ok().filter(|region| !region.is_empty());
        self.settings.region.clone().or_else(variable)
    }

    async fn aws(&self, region: &str) -> Result<&aws::SdkConfig, Failure> {
        let named = self.named_region();
        let region = named.as_deref().unwrap_or(region);
        self.aws
            .get_or_try_init(|| {
                let profile = self.settings.profile.as_deref();
                aws::sdk_config(&self.tls, &self.names, &self.imds, region, profile)
            })
            .await
            .map_err(tls_failure)
    }
}

/// The URL under which a host is in Scalelite: by BBB's settings, which were just read; else the one that is `known`
/// from before; else the one that it would have by its name.
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

/// Returns the time since the host's boot: the clock that the state machine counts by.
pub(crate) fn since_boot() -> Duration {
    let boot = clock_gettime(ClockId::Monotonic);
    // This clock never shows a negative time.
    let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(boot.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

/// Returns the seconds since 1970.
pub fn now() -> u64 {
    clock().as_secs()
}

/// Returns the time since 1970. A clock that shows an earlier time is taken for one that begins: its certificates are
/// not valid yet.
pub(crate) fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
