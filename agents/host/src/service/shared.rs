//! The facts and clients that the service's jobs and calls share.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use plan::addresses;
use plan::backoff::{Place, Retryable};
use plan::lifecycle::{Hook, Kept};
use plan::relay::Relay;
use plan::work::Work;
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::calls;
use super::clock::Started;
use super::jobs::{Wanted, World};
use super::name_servers::Servers;
use super::policy;
use super::registration::Registration;
use super::troubles::Troubles;
use crate::control::CertificateFacts;
use crate::dns::Zone;
use crate::dns::delegation::Delegation;
use crate::execute::Announced;
use crate::identity::Host;
use crate::membership::{Known, Note};
use crate::report::{Exit, Failure};
use crate::retry::Patience;
use crate::session::{self, Session, now, scalelite_url};
use crate::succession::Bounds;
use clients::aws::ec2::Ec2;
use clients::aws::route53::{Description, HostedZone};
use clients::bbb::{Bbb, Installation, NotReady};
use clients::dns::authoritative::NameServers;
use clients::scalelite::Scalelite;

/// One configuration's session, and what was found out with it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) session: Session,
    /// The host's clock.
    pub(super) started: Started,
    /// Who this host is: its addresses may change, its instance and its name do not.
    pub(super) host: OnceCell<Host>,
    /// Its Auto Scaling group.
    pub(super) group: RefCell<Option<String>>,
    /// Held by who asks for the group: others wait for the same answer.
    pub(super) asking: Mutex<()>,
    /// The termination hooks of its group.
    pub(super) hooks: Rc<RefCell<Vec<Hook>>>,
    /// BBB's settings when the host's entry was last looked after.
    joined: RefCell<Option<Installation>>,
    /// Whether the host has taken meetings since the boot and has not left since.
    entered: Cell<bool>,
    /// The URL under which the host was then in Scalelite.
    url: RefCell<Option<String>>,
    /// BBB's settings as read last, with what its files looked like.
    settings: RefCell<Option<(Looks, Installation)>>,
    /// The zone's authoritative servers.
    servers: Servers,
    /// The progress of the host's name.
    pub(super) registration: Registration,
    /// Scalelite with its secret: since when.
    scalelite: RefCell<Option<(Instant, Scalelite)>>,
    /// The memory of the host's entries.
    entries: Known,
    /// Who this host was when that was asked last: its addresses are those.
    seen: RefCell<Option<Host>>,
    /// The last finding about the address that BBB announces.
    address: RefCell<Option<addresses::Announced>>,
    /// The last count of the work on the host, with its time.
    work: RefCell<Option<(Instant, Work)>>,
    /// What coturn on a BBB host did when it was asked last, with the time.
    coturn: RefCell<Option<(Instant, Option<Relay>)>>,
    /// The last look at the fleet's certificate.
    pub(super) certificate: RefCell<Option<CertificateFacts>>,
    /// The facts that the metrics need again and again.
    pub(super) known: Facts,
    /// The troubles that were told.
    pub(super) troubles: Rc<Troubles>,
    /// The actions that were announced and have not succeeded yet.
    pub(super) announced: Announced,
}

/// The facts that the metrics found out once and report again and again.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// When the certificate ends, in seconds since 1970, and when it was seen.
    pub(super) certificate: RefCell<Option<(Instant, u64)>>,
    /// When Auto Scaling did not say which group the host is in, and why.
    pub(super) group: RefCell<Option<(Instant, String)>>,
    /// Since when BBB has not answered.
    pub(super) silent: Cell<Option<Instant>>,
}

/// The marks by which a change of a file is noticed: device, inode, size, time of the change.
type Looks = (FileLooks, FileLooks);
type FileLooks = (u64, u64, u64, i64, i64);

fn look(path: &Path) -> Option<FileLooks> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

/// The time for which a finding is used without asking again: a steady host asks nobody every minute.
const FRESH: Duration = Duration::from_secs(3600);

impl Shared {
    /// Returns the same host's state under another configuration. An answer about the hooks that still comes under the
    /// former one counts for both.
    pub(super) fn after(former: &Self, session: Session) -> Self {
        let same_name = policy::renamed(&former.session.settings, &session.settings).is_none();
        let registration = Registration::after(&former.registration, session.settings.dns.spread, same_name);
        let hooks = Rc::clone(&former.hooks);
        let (url, joined) = match same_name {
            true => (former.url.clone(), former.joined.clone()),
            false => Default::default(),
        };
        let entered = former.entered.clone();
        let troubles = Rc::clone(&former.troubles);
        Self { hooks, url, joined, entered, ..Self::with(session, former.started, registration, troubles) }
    }

    /// At the start of a service that remembers this of the boot.
    pub(super) fn new(session: Session, started: Started, kept: &Kept, troubles: Rc<Troubles>) -> Self {
        let registration = Registration::new(session.settings.dns.spread, kept.memory);
        let shared = Self::with(session, started, registration, troubles);
        shared.entered(kept.joined);
        shared
    }

    fn with(session: Session, started: Started, registration: Registration, troubles: Rc<Troubles>) -> Self {
        Self {
            session,
            started,
            registration,
            host: OnceCell::new(),
            group: RefCell::default(),
            asking: Mutex::default(),
            hooks: Rc::default(),
            joined: RefCell::default(),
            entered: Cell::default(),
            url: RefCell::default(),
            settings: RefCell::default(),
            servers: Servers::default(),
            scalelite: RefCell::default(),
            entries: Known::default(),
            seen: RefCell::default(),
            address: RefCell::default(),
            work: RefCell::default(),
            coturn: RefCell::default(),
            certificate: RefCell::default(),
            known: Facts::default(),
            troubles,
            announced: Announced::default(),
        }
    }

    /// Who this host is. The state machine asks for nothing before that is known.
    pub(super) fn host(&self) -> Result<&Host, Failure> {
        self.host.get().ok_or_else(|| Failure::new(Exit::TryAgain, "who this host is is not known yet"))
    }

    /// Who this host was when that was asked last.
    pub(super) fn present_host(&self) -> Result<Host, Failure> {
        let seen = self.seen.borrow().clone();
        seen.map_or_else(|| self.host().cloned(), Ok)
    }

    /// Keeps the finding about the address that BBB announces.
    pub(super) fn announced_address(&self, announced: addresses::Announced) {
        self.address.replace(Some(announced));
    }

    /// Returns the number of places at which BBB announces another address, if that is known.
    pub(super) fn wrong_addresses(&self) -> Option<usize> {
        self.address.borrow().as_ref()?.wrong()
    }

    /// Keeps a count of the work on the host.
    pub(super) fn counted(&self, work: Work) {
        self.work.replace(Some((Instant::now(), work)));
    }

    /// Returns the last count if it is not older than this.
    pub(super) fn work(&self, age: Duration) -> Option<Work> {
        let work = self.work.borrow();
        work.as_ref().filter(|(at, _)| at.elapsed() <= age).map(|(_, work)| work.clone())
    }

    /// Keeps what coturn did; `None` where it could not be asked.
    pub(super) fn asked_coturn(&self, relay: Option<Relay>) {
        self.coturn.replace(Some((Instant::now(), relay)));
    }

    /// Asks coturn, unless it was asked within this time; returns `None` where it is not asked, or cannot be.
    pub(super) async fn relay(&self, host: &Host, age: Duration) -> Option<Relay> {
        let known = self.coturn.borrow().filter(|(at, _)| at.elapsed() <= age);
        match known {
            Some((_, relay)) => relay,
            None => self.session.relay(self.session.coturn(host)?).await.ok(),
        }
    }

    /// Whether the host has taken meetings since the boot and has not left since.
    pub(super) fn has_joined(&self) -> bool {
        self.entered.get()
    }

    /// Notes whether the host has taken meetings and has not left since.
    pub(super) fn entered(&self, entered: bool) {
        self.entered.set(entered);
    }

    /// Returns BBB's settings on this host. They are read again only when their files look otherwise: where the agent
    /// may not read them itself, each reading is a process.
    pub(super) async fn installation(&self, host: &Host) -> Option<Result<Installation, NotReady>> {
        let looks = self
            .session
            .settings
            .bbb
            .as_ref()
            .and_then(|bbb| Some((look(&bbb.properties)?, look(&bbb.defaults).unwrap_or_default())));
        if let (Some(looks), Some((former, installation))) = (&looks, &*self.settings.borrow())
            && looks == former
        {
            return Some(Ok(installation.clone()));
        }
        let read = self.session.installation(host).await?;
        self.settings.replace(looks.zip(read.as_ref().ok().cloned()));
        Some(read)
    }

    /// Whether BBB's settings are others than those with which the entry was last looked after; that is told once.
    pub(super) fn is_changed(&self, installation: &Installation) -> bool {
        let mut joined = self.joined.borrow_mut();
        let Some(former) = joined.as_ref() else { return false };
        let same = former.server_url == installation.server_url
            && former.secret.expose_secret() == installation.secret.expose_secret();
        if !same {
            *joined = None;
        }
        !same
    }
}

impl World for Shared {
    type Api = HostedZone;
    type Servers = NameServers;
    type Scalelite = Scalelite;
    type Bbb = Bbb;
    type Ec2 = Ec2;

    fn wanted(&self) -> Wanted {
        let settings = &self.session.settings;
        Wanted {
            role: self.session.agent.role,
            ttl: settings.dns.ttl,
            entry: settings.scalelite.as_ref().map(|scalelite| scalelite.entry.clone()),
            succession: Bounds::of(settings),
        }
    }

    fn registration(&self) -> &Registration {
        &self.registration
    }

    async fn host(&self, deadline: Instant) -> Result<Host, Failure> {
        let host = self.session.host(Patience::once(deadline)).await?;
        self.seen.replace(Some(host.clone()));
        Ok(host)
    }

    async fn connect(&self) {
        if let Some(host) = self.host.get() {
            self.session.connect(&host.region, None).await;
        }
    }

    fn known_host(&self) -> Result<Host, Failure> {
        Self::host(self).cloned()
    }

    async fn zone(&self, host: &Host) -> Result<Zone, Failure> {
        let find = async |own: Option<Delegation>| match own {
            Some(own) => self.session.servers_of(&own).await,
            None => self.session.name_servers().await,
        };
        let (api, servers) = tokio::join!(self.session.hosted_zone(host), self.servers.get(find));
        Ok(Zone { api: api?, servers })
    }

    async fn compare_servers(&self, host: &Host) -> Option<String> {
        // What keeps the client from being made is told where it is used.
        let api = self.session.hosted_zone(host).await.ok()?;
        let compare = async |found: &NameServers, described: &Description| {
            self.session.other_zone(found, described).await
        };
        match self.servers.doubt(async || api.describe().await, compare).await {
            Ok(differs) => {
                let words = differs?;
                warn!("dns: {words}; the zone's own are asked from now on");
                Some(words)
            }
            Err(error) => {
                self.registration.asks_later(error.passing().unwrap_or(Retryable::Passing));
                Some(format!("whether the name servers are the zone's is not known: {error}"))
            }
        }
    }

    // Its secret is fetched once an hour.
    async fn scalelite(&self, host: &Host, deadline: Instant) -> Result<Option<Scalelite>, Failure> {
        let known = self.scalelite.borrow().clone();
        if let Some((_, scalelite)) = known.filter(|(since, _)| since.elapsed() < FRESH) {
            return Ok(Some(scalelite));
        }
        let scalelite = self.session.scalelite(host, Patience::once(deadline)).await?;
        self.scalelite.replace(scalelite.clone().map(|scalelite| (Instant::now(), scalelite)));
        Ok(scalelite)
    }

    fn forget_secret(&self) {
        self.scalelite.replace(None);
    }

    // By BBB's settings, or as it was when they could be read.
    async fn url(&self, host: &Host) -> Result<String, Failure> {
        let known = self.url.borrow().clone();
        scalelite_url(self.installation(host).await, known, host)
    }

    async fn ready_bbb(&self, host: &Host) -> Result<(Installation, Bbb), Failure> {
        let ready = self.session.ready_bbb(self.installation(host).await).await;
        ready.map_err(|failure| match failure.exit {
            Exit::TryAgain => failure.with_exit(Exit::WaitingForBbb),
            _ => failure,
        })
    }

    fn joined_as(&self, installation: &Installation) {
        self.url.replace(Some(installation.scalelite_url()));
        self.joined.replace(Some(installation.clone()));
    }

    async fn ec2(&self, host: &Host) -> Result<Ec2, Failure> {
        self.session.ec2(host).await
    }

    fn announced(&self) -> &Announced {
        &self.announced
    }

    fn now(&self) -> u64 {
        now()
    }

    fn clock(&self) -> Duration {
        session::clock()
    }

    async fn place(&self, host: &Host) -> Option<Place> {
        match calls::bounded(calls::place(self, host)).await {
            Ok(place) => place,
            Err(why) => {
                debug!("the host's place in its group is not known: {why}");
                None
            }
        }
    }

    fn known(&self) -> &Known {
        &self.entries
    }

    fn note(&self, host: &Host) -> Option<Note> {
        self.session.note(&host.instance)
    }

    fn keep_note(&self, note: Option<&Note>) {
        self.session.keep_note(note);
    }

    fn enabled(&self, enabled: bool) {
        self.session.enabled(enabled);
    }

    fn leaves_alone(&self, words: &str) {
        if self.troubles.is_new("leave alone", words) {
            info!("{words}");
        }
    }
}
