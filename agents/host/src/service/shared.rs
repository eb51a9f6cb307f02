//! What the service's jobs and calls share.

use std::cell::RefCell;
use std::time::Duration;

use plan::dns::Desired;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::bbb::Installation;
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
    /// The zone's authoritative servers: when and what was found.
    servers: RefCell<Option<(Instant, NameServers)>>,
    /// The name as Route 53 has it by its own word, while not all of its servers answer so.
    awaited: RefCell<Option<Awaited>>,
    /// Scalelite with its secret: since when.
    scalelite: RefCell<Option<(Instant, Scalelite)>>,
}

/// What Route 53's servers are expected to answer soon.
#[derive(Debug)]
struct Awaited {
    since: Instant,
    desired: Desired,
    change: Option<ChangeId>,
}

/// How long Route 53's servers are waited for before the name is read as if nothing were known of it. A change usually takes
/// 60 seconds (facts/aws.md).
const PROPAGATION: Duration = Duration::from_secs(120);

/// How long what was found out is used without asking again: a steady host asks nobody every minute.
const FRESH: Duration = Duration::from_secs(3600);

impl Shared {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            host: OnceCell::new(),
            group: RefCell::default(),
            hook: RefCell::default(),
            joined: RefCell::default(),
            servers: RefCell::default(),
            awaited: RefCell::default(),
            scalelite: RefCell::default(),
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
        self.awaited.replace(Some(Awaited { since: Instant::now(), desired, change }));
    }

    /// All servers have answered, or something else has happened.
    pub(super) fn awaits_nothing(&self) {
        self.awaited.replace(None);
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

    /// The entry was looked after with these settings of BBB's.
    pub(super) fn joined_as(&self, installation: &Installation) {
        self.joined.replace(Some(installation.clone()));
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
