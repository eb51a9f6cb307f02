//! What the service's jobs and calls share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use plan::backoff::{Queue, Refusal};
use plan::dns::Desired;
use plan::metrics;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::metrics::Known;
use crate::bbb::{Installation, NotReady};
use crate::identity::Host;
use crate::naming::Zone;
use crate::report::{Exit, Failure};
use crate::resolver::NameServers;
use crate::route53::ChangeId;
use crate::scalelite::Scalelite;
use crate::session::Session;

/// One configuration's session, and what was found out with it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) session: Session,
    /// Who this host is: its addresses may change, its instance and its name do not.
    pub(super) host: OnceCell<Host>,
    /// Its Auto Scaling group.
    pub(super) group: RefCell<Option<String>>,
    /// The lifecycle hook that holds it.
    pub(super) hook: RefCell<Option<String>>,
    /// BBB's settings when the host's entry was last looked after.
    joined: RefCell<Option<Installation>>,
    /// The URL under which the host was then in Scalelite.
    url: RefCell<Option<String>>,
    /// BBB's settings as read last, with what its files looked like.
    settings: RefCell<Option<(Looks, Installation)>>,
    /// The zone's authoritative servers: when and what was found.
    servers: RefCell<Option<(Instant, NameServers)>>,
    /// The name as Route 53 has it by its own word, while not all of its servers answer so.
    awaited: RefCell<Option<Awaited>>,
    /// Whether the name is this host's, by Route 53's word or that of all its servers.
    named: Cell<bool>,
    /// This host among all that want changes in Route 53.
    queue: RefCell<Queue>,
    /// Scalelite with its secret: since when.
    scalelite: RefCell<Option<(Instant, Scalelite)>>,
    /// What goes on on the host, when it was counted last.
    figures: RefCell<Option<(Instant, Figures)>>,
    /// What the metrics need again and again.
    pub(super) known: Known,
    /// Why each kind of call failed last, as it was told.
    complaints: RefCell<BTreeMap<&'static str, String>>,
}

/// What goes on on the host, in figures; what is not known is `None`.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) meetings: Option<Vec<metrics::Meeting>>,
    pub(super) recordings: Option<metrics::Recordings>,
}

/// What tells whether a file has changed: device, inode, size, and when it was changed.
type Looks = (FileLooks, FileLooks);
type FileLooks = (u64, u64, u64, i64, i64);

fn look(path: &Path) -> Option<FileLooks> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

/// What Route 53's servers are expected to answer soon.
#[derive(Debug)]
struct Awaited {
    since: Instant,
    desired: Desired,
    change: Option<ChangeId>,
    /// When Route 53 may be asked how far they are, where they do not answer themselves.
    ask: Instant,
    /// This host among all that ask that.
    queue: Queue,
}

/// With `dns.spread`, which says that many hosts boot together, nobody asks before a change may be through...
const ASK_AFTER: Duration = Duration::from_secs(30);
/// ... and all within this time: until then [`PROPAGATION`] is not over.
const ASK_WITHIN: Duration = Duration::from_secs(80);

/// How long Route 53's servers are waited for before the name is read as if nothing were known of it. A change usually takes
/// 60 seconds (facts/aws.md).
const PROPAGATION: Duration = Duration::from_secs(120);

/// How long what was found out is used without asking again: a steady host asks nobody every minute.
const FRESH: Duration = Duration::from_secs(3600);

impl Shared {
    /// What goes on with another configuration: the host and its name are the same.
    pub(super) fn after(former: &Self, session: Session) -> Self {
        let shared = Self::new(session);
        shared.named.set(former.named.get());
        shared.queue.replace(former.queue());
        shared
    }

    pub(super) fn new(session: Session) -> Self {
        let queue = RefCell::new(Queue::new(session.settings.dns.spread));
        Self {
            session,
            queue,
            host: OnceCell::new(),
            group: RefCell::default(),
            hook: RefCell::default(),
            joined: RefCell::default(),
            url: RefCell::default(),
            settings: RefCell::default(),
            servers: RefCell::default(),
            awaited: RefCell::default(),
            named: Cell::default(),
            scalelite: RefCell::default(),
            figures: RefCell::default(),
            known: Known::default(),
            complaints: RefCell::default(),
        }
    }

    /// The zone that the host's name is in. Its servers are found once an hour; when that fails, the former ones are asked:
    /// without any, Route 53's API would be, by all hosts at once.
    pub(super) async fn zone(&self, host: &Host) -> Result<Zone, Failure> {
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

    /// Whether exactly this is on its way to Route 53's servers, and by which change. To look at them again costs nothing; to
    /// register again would cost a call, which Route 53 refuses because it has the change already, and another to see that.
    pub(super) fn is_awaited(&self, desired: &Desired) -> Option<Option<ChangeId>> {
        let awaited = self.awaited.borrow();
        let awaited = awaited.as_ref().filter(|awaited| awaited.since.elapsed() < PROPAGATION)?;
        let same = |former: &Desired| {
            (&former.name, former.ttl, former.addresses())
                == (&desired.name, desired.ttl, desired.addresses())
        };
        same(&awaited.desired).then(|| awaited.change.clone())
    }

    /// Route 53 has this now, but not all of its servers.
    pub(super) fn awaits(&self, desired: Desired, change: Option<ChangeId>) {
        let since = Instant::now();
        let spread = self.session.settings.dns.spread.min(ASK_WITHIN);
        let ask = match spread.is_zero() {
            true => since,
            false => since + ASK_AFTER + spread.mul_f64(fastrand::f64()),
        };
        let queue = Queue::new(Duration::ZERO);
        self.awaited.replace(Some(Awaited { since, desired, change, ask, queue }));
    }

    /// Whether Route 53 may be asked now how far its servers are: that comes out of the budget of all hosts.
    pub(super) fn may_ask(&self) -> bool {
        self.awaited.borrow().as_ref().is_none_or(|awaited| awaited.ask <= Instant::now())
    }

    /// It was asked, and they are not there yet, or it refused to say.
    pub(super) fn asks_later(&self, refusal: Refusal) {
        if let Some(awaited) = &mut *self.awaited.borrow_mut() {
            let wait = awaited.queue.after(refusal, Duration::MAX, fastrand::f64());
            awaited.ask = Instant::now() + wait;
        }
    }

    /// All servers have answered, or something else has happened.
    pub(super) fn awaits_nothing(&self) {
        self.awaited.replace(None);
    }

    /// Whether what goes by the host's name is known to be its own.
    pub(super) fn is_named(&self) -> bool {
        self.named.get()
    }

    /// That it is, or that the name turned out to be somebody else's.
    pub(super) fn named(&self, is_own: bool) {
        self.named.set(is_own);
    }

    /// Where this host stands among all that want changes in Route 53.
    pub(super) fn queue(&self) -> Queue {
        self.queue.borrow().clone()
    }

    /// That, as a try has left it.
    pub(super) fn keep_queue(&self, queue: Queue) {
        self.queue.replace(queue);
    }

    /// The name is live: what has to be repaired from now on is repaired at once.
    pub(super) fn is_up(&self) {
        self.queue.replace(Queue::new(Duration::ZERO));
    }

    /// Scalelite, if one is configured, with the load balancer's secret as it was within the last hour.
    pub(super) async fn scalelite(
        &self,
        host: &Host,
        deadline: Instant,
    ) -> Result<Option<Scalelite>, Failure> {
        let known = self.scalelite.borrow().clone();
        if let Some((_, scalelite)) = known.filter(|(since, _)| since.elapsed() < FRESH) {
            return Ok(Some(scalelite));
        }
        let scalelite = self.session.scalelite(host, deadline).await?;
        self.scalelite.replace(scalelite.clone().map(|scalelite| (Instant::now(), scalelite)));
        Ok(scalelite)
    }

    /// Something went wrong: the secret may have been changed.
    pub(super) fn forget_secret(&self) {
        self.scalelite.replace(None);
    }

    /// Who this host is. The state machine asks for nothing before that is known.
    pub(super) fn host(&self) -> Result<&Host, Failure> {
        self.host.get().ok_or_else(|| Failure::new(Exit::TryAgain, "who this host is is not known yet"))
    }

    /// Why this kind of call failed, if it did and has not been told so already: what is tried again and again is told once.
    pub(super) fn is_news<'a>(&self, action: &'static str, why: Option<&'a String>) -> Option<&'a str> {
        let mut complaints = self.complaints.borrow_mut();
        let former = match why {
            Some(why) => complaints.insert(action, why.clone()),
            None => complaints.remove(action),
        };
        why.filter(|why| former.as_ref() != Some(why)).map(String::as_str)
    }

    /// What goes on on the host was counted.
    pub(super) fn counted(&self, figures: Figures) {
        self.figures.replace(Some((Instant::now(), figures)));
    }

    /// What was counted at most so long ago.
    pub(super) fn figures(&self, age: Duration) -> Option<Figures> {
        let figures = self.figures.borrow();
        figures.as_ref().filter(|(at, _)| at.elapsed() <= age).map(|(_, figures)| figures.clone())
    }

    /// The entry was looked after with these settings of BBB's.
    pub(super) fn joined_as(&self, installation: &Installation) {
        self.url.replace(Some(installation.scalelite_url()));
        self.joined.replace(Some(installation.clone()));
    }

    /// Whether the host has been in Scalelite since this configuration was read.
    pub(super) fn has_joined(&self) -> bool {
        self.url.borrow().is_some()
    }

    /// What BBB's settings on this host say. They are read again only when their files look otherwise: where the agent may
    /// not read them itself, each reading is a process.
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

    /// The URL under which the host is in Scalelite: by BBB's settings, or as it was when they could be read.
    pub(super) async fn url(&self, host: &Host) -> Result<String, Failure> {
        let known = self.url.borrow().clone();
        match (self.installation(host).await, known) {
            (Some(Ok(installation)), _) => Ok(installation.scalelite_url()),
            (_, Some(url)) => Ok(url),
            (Some(Err(error)), None) if !error.may_come() => {
                Err(Failure::new(Exit::Failed, "BBB's settings on this host").because(error))
            }
            (Some(Err(_)) | None, None) => Ok(host.server_url()),
        }
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
