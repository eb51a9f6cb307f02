//! The facts and clients that the service's jobs and calls share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use plan::lifecycle::Memory;
use plan::metrics;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tracing::info;

use super::clock::Started;
use super::jobs::{Wanted, World};
use super::registration::Registration;
use crate::dns::Zone;
use crate::identity::Host;
use crate::report::{Exit, Failure};
use crate::session::{Session, now, scalelite_url};
use clients::aws::ec2::Ec2;
use clients::aws::route53::HostedZone;
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
    /// The lifecycle hook that holds it.
    pub(super) hook: Rc<RefCell<Option<String>>>,
    /// BBB's settings when the host's entry was last looked after.
    joined: RefCell<Option<Installation>>,
    /// The URL under which the host was then in Scalelite.
    url: RefCell<Option<String>>,
    /// BBB's settings as read last, with what its files looked like.
    settings: RefCell<Option<(Looks, Installation)>>,
    /// The zone's authoritative servers: when and what was found.
    servers: RefCell<Option<(Instant, NameServers)>>,
    /// The progress of the host's name.
    pub(super) registration: Registration,
    /// Scalelite with its secret: since when.
    scalelite: RefCell<Option<(Instant, Scalelite)>>,
    /// The last count of meetings and recordings, with its time.
    figures: RefCell<Option<(Instant, Figures)>>,
    /// The facts that the metrics need again and again.
    pub(super) known: Known,
    /// Why each kind of call failed last, as it was told.
    complaints: RefCell<BTreeMap<&'static str, String>>,
}

/// The counts of meetings and recordings; an unknown one is `None`.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) meetings: Option<Vec<metrics::Meeting>>,
    pub(super) recordings: Option<metrics::Recordings>,
}

/// The facts that the metrics found out once and report again and again.
#[derive(Debug, Default)]
pub(super) struct Known {
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
    /// What goes on with another configuration: the host and its name are the same. Who still asks for the hook with
    /// the former one tells both.
    pub(super) fn after(former: &Self, session: Session) -> Self {
        let registration = Registration::after(&former.registration, session.settings.dns.spread);
        let hook = Rc::clone(&former.hook);
        let (url, joined) = (former.url.clone(), former.joined.clone());
        Self { hook, url, joined, ..Self::with(session, former.started, registration) }
    }

    /// At the start of a service with this memory of the boot.
    pub(super) fn new(session: Session, started: Started, memory: Memory) -> Self {
        let registration = Registration::new(session.settings.dns.spread, memory);
        Self::with(session, started, registration)
    }

    fn with(session: Session, started: Started, registration: Registration) -> Self {
        Self {
            session,
            started,
            registration,
            host: OnceCell::new(),
            group: RefCell::default(),
            hook: Rc::default(),
            joined: RefCell::default(),
            url: RefCell::default(),
            settings: RefCell::default(),
            servers: RefCell::default(),
            scalelite: RefCell::default(),
            figures: RefCell::default(),
            known: Known::default(),
            complaints: RefCell::default(),
        }
    }

    /// Who this host is. The state machine asks for nothing before that is known.
    pub(super) fn host(&self) -> Result<&Host, Failure> {
        self.host.get().ok_or_else(|| Failure::new(Exit::TryAgain, "who this host is is not known yet"))
    }

    /// Why this kind of call failed, if it did and has not been told so already: what is tried again and again is told
    /// once.
    pub(super) fn news<'a>(&self, action: &'static str, why: Option<&'a String>) -> Option<&'a str> {
        let mut complaints = self.complaints.borrow_mut();
        let former = match why {
            Some(why) => complaints.insert(action, why.clone()),
            None => complaints.remove(action),
        };
        why.filter(|why| former.as_ref() != Some(why)).map(String::as_str)
    }

    /// Keeps a count of meetings and recordings.
    pub(super) fn counted(&self, figures: Figures) {
        self.figures.replace(Some((Instant::now(), figures)));
    }

    /// Returns the last count if it is not older than this.
    pub(super) fn figures(&self, age: Duration) -> Option<Figures> {
        let figures = self.figures.borrow();
        figures.as_ref().filter(|(at, _)| at.elapsed() <= age).map(|(_, figures)| figures.clone())
    }

    /// Whether the host has been in Scalelite since the service began.
    pub(super) fn has_joined(&self) -> bool {
        self.url.borrow().is_some()
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
            reads_api: settings.dns.read_through_api,
            entry: settings.scalelite.as_ref().map(|scalelite| scalelite.entry.clone()),
        }
    }

    fn registration(&self) -> &Registration {
        &self.registration
    }

    async fn host(&self, deadline: Instant) -> Result<Host, Failure> {
        self.session.host(deadline).await
    }

    fn known_host(&self) -> Result<Host, Failure> {
        Self::host(self).cloned()
    }

    // Its servers are found once an hour; when that fails, the former ones are asked: without any, Route 53's API would
    // be, by all hosts at once.
    async fn zone(&self, host: &Host) -> Result<Zone, Failure> {
        let known = self.servers.borrow().clone();
        if let Some((_, servers)) = known.as_ref().filter(|(found, _)| found.elapsed() < FRESH) {
            return self.session.zone_with(host, Ok(servers.clone())).await;
        }
        let zone = self.session.zone(host).await?;
        match (&zone.servers, known) {
            (Ok(servers), _) => {
                self.servers.replace(Some((Instant::now(), servers.clone())));
                Ok(zone)
            }
            (Err(_), Some((_, former))) => Ok(Zone { servers: Ok(former), ..zone }),
            (Err(_), None) => Ok(zone),
        }
    }

    // Its secret is fetched once an hour.
    async fn scalelite(&self, host: &Host, deadline: Instant) -> Result<Option<Scalelite>, Failure> {
        let known = self.scalelite.borrow().clone();
        if let Some((_, scalelite)) = known.filter(|(since, _)| since.elapsed() < FRESH) {
            return Ok(Some(scalelite));
        }
        let scalelite = self.session.scalelite(host, deadline).await?;
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

    fn now(&self) -> u64 {
        now()
    }

    fn leaves_alone(&self, words: &str) {
        if let Some(words) = self.news("leave alone", Some(&words.to_owned())) {
            info!("{words}");
        }
    }
}
