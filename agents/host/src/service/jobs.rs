//! Carries out the state machine's jobs: each is observe, plan, execute, report, once. The loops are the same over the
//! real services and over those of a simulation: see [`World`].

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use plan::backoff::Retryable;
use plan::dns::{self, Desired};
use plan::instance::Role;
use plan::lifecycle::{Found, Job, Trouble, TroubleKind};
use plan::membership::{self, Entry};
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};

use super::registration::Registration;
use crate::dns::{Propagation, Zone, left_alone};
use crate::execute::Executor;
use crate::identity::Host;
use crate::interrupt::Interrupt;
use crate::membership::{Applied, Meetings, Pool};
use crate::report::{Exit, Failure};
use crate::retry::Queued;
use crate::session::within;
use clients::aws::ec2::Instances;
use clients::aws::route53::{ChangeId, RecordSets};
use clients::bbb::Installation;
use clients::dns::authoritative::Authorities;
use clients::scalelite::Management;

/// The longest time for one attempt. Then its trouble is reported, and the state machine decides when to try again.
pub const ATTEMPT: Duration = Duration::from_secs(15);

/// The longest time for one attempt to leave: every meeting that has to be ended takes its time.
pub const LEAVE: Duration = Duration::from_secs(60);

/// The time for which a call may hang beyond its attempt: less than the state machine waits for the attempt's result.
const HANGS: Duration = Duration::from_millis(500);

/// The same for all other attempts, which nobody waits for: whatever can give up by itself has done so by then.
const HANGS_LONG: Duration = Duration::from_secs(30);

/// The longest time for the metadata service to identify a host that is known already.
const METADATA: Duration = Duration::from_secs(2);

/// The wishes of the settings for this host.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The role of the host.
    pub role: Role,
    /// The time to live of its record sets, in seconds.
    pub ttl: u32,
    /// Whether records are read through the API alone.
    pub reads_api: bool,
    /// The desired entry in Scalelite, if the host has one.
    pub entry: Option<membership::Desired>,
}

/// The world of the jobs: the services as this host reaches them, and the facts that were found out before.
pub trait World {
    /// Route 53's API.
    type Api: RecordSets;
    /// The zone's authoritative servers.
    type Servers: Authorities;
    /// Scalelite's management API.
    type Scalelite: Management;
    /// The BBB on this host.
    type Bbb: Meetings;
    /// EC2 in the host's region.
    type Ec2: Instances;

    /// Returns the wishes of the settings.
    fn wanted(&self) -> Wanted;

    /// Returns the progress of the host's name.
    fn registration(&self) -> &Registration;

    /// Who this host is now, by the metadata service.
    fn host(&self, deadline: Instant) -> impl Future<Output = Result<Host, Failure>>;

    /// Who it was when that was asked first.
    fn known_host(&self) -> Result<Host, Failure>;

    /// The zone that the host's name is in.
    fn zone(&self, host: &Host) -> impl Future<Output = Result<Zone<Self::Api, Self::Servers>, Failure>>;

    /// Scalelite, if one is configured.
    fn scalelite(
        &self,
        host: &Host,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<Self::Scalelite>, Failure>>;

    /// Something went wrong: Scalelite's secret may have been changed.
    fn forget_secret(&self);

    /// The URL under which the host is in Scalelite.
    fn url(&self, host: &Host) -> impl Future<Output = Result<String, Failure>>;

    /// The BBB on this host, once it answers with the secret of its property files.
    fn ready_bbb(&self, host: &Host) -> impl Future<Output = Result<(Installation, Self::Bbb), Failure>>;

    /// The entry was looked after with these settings of BBB's.
    fn joined_as(&self, installation: &Installation);

    /// EC2 in the host's region.
    fn ec2(&self, host: &Host) -> impl Future<Output = Result<Self::Ec2, Failure>>;

    /// The time, in seconds since 1970.
    fn now(&self) -> u64;

    /// The entry under the host's name is left alone, for this reason. That is told once.
    fn leaves_alone(&self, words: &str);
}

/// The result of a job.
#[derive(Debug)]
pub struct Report {
    /// The finding, or the trouble that kept the job from being done.
    pub found: Result<Found, Trouble>,
    /// The exit code of the command by hand, where trying again will not help.
    pub lasting: Option<Exit>,
    /// The changes that it has made, for people who wait for it.
    pub lines: Vec<String>,
}

/// Carries out one job, within `patience`; the interrupt cancels it.
///
/// `steady` says that the name was live before: then a name that cannot be looked at is no reason to ask Route 53.
pub async fn run<W: World>(
    world: Rc<W>,
    job: Job,
    steady: bool,
    interrupt: Interrupt,
    patience: Duration,
) -> Report {
    let executor = Executor::new(interrupt.clone(), false);
    let (world, deadline) = (world.as_ref(), within(patience));
    let mut attempt = Attempt { world, steady, executor, deadline, lines: Vec::new() };
    let result = interrupt.or_stop(attempt.bounded(job)).await;
    let (found, exit) = match result {
        Ok(Ok(found)) => (Ok(found), None),
        Ok(Err(failure)) => {
            if job != Job::Name {
                world.forget_secret();
            }
            (Err(trouble(&failure)), Some(failure.exit))
        }
        Err(_) => {
            let words = "cancelled".to_owned();
            (Err(Trouble { words, kind: TroubleKind::Cancelled }), None)
        }
    };
    let lasts = matches!(&found, Err(trouble) if trouble.kind == TroubleKind::Lasting);
    Report { found, lasting: exit.filter(|_| lasts), lines: attempt.lines }
}

/// Returns the kind of trouble that a failure is.
fn trouble(failure: &Failure) -> Trouble {
    let kind = match (failure.turn(), failure.exit) {
        (Some(wait), _) => TroubleKind::Turn(wait),
        (None, Exit::Interrupted(_)) => TroubleKind::Cancelled,
        (None, Exit::WaitingForBbb) => TroubleKind::Waiting,
        (None, Exit::TryAgain) => TroubleKind::Passing,
        (None, _) => TroubleKind::Lasting,
    };
    Trouble { words: failure.headline(), kind }
}

struct Attempt<'a, W> {
    world: &'a W,
    steady: bool,
    executor: Executor,
    deadline: Instant,
    lines: Vec<String>,
}

impl<W: World> Attempt<'_, W> {
    /// Nothing hangs for ever, be it a file on a network mount that is gone.
    async fn bounded(&mut self, job: Job) -> Result<Found, Failure> {
        let late = || Failure::new(Exit::TryAgain, format!("{job:?}")).because("no answer in time");
        let last = self.deadline + HANGS_LONG;
        timeout_at(last, self.job(job)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn job(&mut self, job: Job) -> Result<Found, Failure> {
        let host = self.host(job).await?;
        match job {
            Job::Name => self.name(&host).await,
            Job::Join | Job::Keep => self.join(&host, job).await,
            Job::Look => self.look(&host).await,
            Job::Cordon | Job::Recordon | Job::Disable => self.set(&host, job).await,
            Job::Leave => self.leave(&host).await,
        }
    }

    /// Who this host is now. What takes it out does not need its present addresses, and must not wait for a metadata
    /// service that does not answer.
    async fn host(&self, job: Job) -> Result<Host, Failure> {
        if matches!(job, Job::Name | Job::Join | Job::Keep) {
            return self.world.host(self.deadline).await;
        }
        let soon = self.deadline.min(within(METADATA));
        match self.world.host(soon).await {
            Ok(host) => Ok(host),
            Err(failure) => self.world.known_host().map_err(|_| failure),
        }
    }

    async fn name(&mut self, host: &Host) -> Result<Found, Failure> {
        let (wanted, registration) = (self.world.wanted(), self.world.registration());
        let desired = host.desired(wanted.role, wanted.ttl, self.world.now())?;
        let zone = self.world.zone(host).await?;
        if !registration.is_awaited(&desired) {
            if self.steady && self.is_live(&zone, &desired).await? {
                registration.came_up();
                return Ok(Found::Live);
            }
            let change = self.register(&zone, &desired).await?;
            registration.awaits(desired.clone(), change);
        }
        // One look: when to look again is not decided here.
        Ok(match self.behind(&zone, &desired, registration.change().as_ref()).await? {
            Some(why) => {
                Found::Behind(format!("{} is registered, but not live everywhere yet: {why}", desired.name))
            }
            None => {
                registration.awaits_nothing();
                registration.came_up();
                Found::Live
            }
        })
    }

    /// Why the name is not live everywhere, in words; none when it is. Where no server can be asked, Route 53 is.
    async fn behind(
        &self,
        zone: &Zone<W::Api, W::Servers>,
        desired: &Desired,
        change: Option<&ChangeId>,
    ) -> Result<Option<String>, Failure> {
        let not_yet = || Some("Route 53 has not told all its servers yet".to_owned());
        match (zone.propagation(desired).await, change) {
            (Propagation::Complete, _) => Ok(None),
            (Propagation::Behind(why), _) => Ok(Some(why)),
            // Nobody can be asked, and nothing was changed: what Route 53 has is all that is known.
            (Propagation::Unknown(_), None) => Ok(None),
            (Propagation::Unknown(_), Some(_)) if !self.world.registration().may_ask() => Ok(not_yet()),
            (Propagation::Unknown(_), Some(id)) => match zone.api.is_in_sync(id).await {
                Ok(true) => Ok(None),
                Ok(false) => {
                    self.world.registration().asks_later(Retryable::Passing);
                    Ok(not_yet())
                }
                Err(error) => match error.passing() {
                    Some(refusal) => {
                        self.world.registration().asks_later(refusal);
                        Ok(Some(error.to_string()))
                    }
                    None => {
                        Err(Failure::new(Exit::Failed, format!("DNS name {}", desired.name)).because(error))
                    }
                },
            },
        }
    }

    /// Whether nothing has happened to a name that was live. Asks Route 53 nothing.
    async fn is_live(&self, zone: &Zone<W::Api, W::Servers>, desired: &Desired) -> Result<bool, Failure> {
        match zone.propagation(desired).await {
            Propagation::Complete => Ok(true),
            Propagation::Unknown(why) if !self.world.wanted().reads_api => {
                Err(Failure::new(Exit::TryAgain, format!("{} cannot be looked at", desired.name))
                    .because(why))
            }
            Propagation::Behind(_) | Propagation::Unknown(_) => Ok(false),
        }
    }

    /// Makes the name as desired; the change of it, where Route 53 has told one.
    async fn register(
        &mut self,
        zone: &Zone<W::Api, W::Servers>,
        desired: &Desired,
    ) -> Result<Option<ChangeId>, Failure> {
        let registration = self.world.registration();
        let mut queued = Queued::again_and_again(self.deadline, registration.queue());
        let named = zone.register(desired, registration.source(), &self.executor, &mut queued).await;
        registration.keep_queue(queued.into_queue());
        // From now on the entry under the name is known to be this host's, or not to be.
        match &named {
            Ok(_) => registration.named(true),
            Err(failure) if failure.exit == Exit::Refused => registration.named(false),
            Err(_) => {}
        }
        let (said, change) = named?;
        self.lines.extend(said.news());
        Ok(change)
    }

    async fn join(&mut self, host: &Host, job: Job) -> Result<Found, Failure> {
        let Some(wanted) = self.world.wanted().entry else { return Ok(Found::Done) };
        if self.borne_by_another(host).await?.is_some() {
            // Whose it is stands in the trouble with the name.
            let what = format!("scalelite: the entry of {} was left untouched", host.name);
            return Err(Failure::new(Exit::Refused, what).because("the name is not this host's"));
        }
        let (installation, bbb) = self.world.ready_bbb(host).await?;
        let Some(scalelite) = self.world.scalelite(host, self.deadline).await? else {
            return Ok(Found::Done);
        };
        let url = installation.scalelite_url();
        let pool = self.pool(&scalelite, &url, &installation.secret);
        let applied = match job {
            Job::Join => pool.join(&wanted, &bbb).await?,
            _ => pool.keep(&wanted, &bbb).await?,
        };
        self.world.joined_as(&installation);
        self.report(&url, &applied);
        Ok(state(&applied.entries))
    }

    async fn look(&mut self, host: &Host) -> Result<Found, Failure> {
        let url = self.world.url(host).await?;
        if self.left_alone(host).await?.is_some() {
            return Ok(Found::Missing);
        }
        let Some(scalelite) = self.world.scalelite(host, self.deadline).await? else {
            return Ok(Found::Done);
        };
        let entries = scalelite.entries(&url, &SecretString::default()).await.map_err(|error| {
            let exit = if error.is_retryable() { Exit::TryAgain } else { Exit::Failed };
            Failure::new(exit, format!("Scalelite entry {url}")).because(error)
        })?;
        Ok(state(&entries))
    }

    /// Sets the state of the host's entries.
    async fn set(&mut self, host: &Host, job: Job) -> Result<Found, Failure> {
        if let Some(words) = self.left_alone(host).await? {
            self.lines.push(words);
            return Ok(Found::Done);
        }
        let Some(scalelite) = self.world.scalelite(host, self.deadline).await? else {
            return Ok(Found::Done);
        };
        let url = self.world.url(host).await?;
        // Only adding or updating an entry needs BBB's secret.
        let secret = SecretString::default();
        let pool = self.pool(&scalelite, &url, &secret);
        let applied = match job {
            Job::Recordon => pool.recordon().await?,
            Job::Disable => pool.disable().await?,
            _ => pool.cordon().await?,
        };
        self.report(&url, &applied);
        Ok(Found::Done)
    }

    /// Both halves at once: neither a Scalelite nor a Route 53 that does not answer keeps the other from being done.
    async fn leave(&mut self, host: &Host) -> Result<Found, Failure> {
        let (left, unnamed) = tokio::join!(
            self.in_time("Scalelite".to_owned(), self.leave_pool(host)),
            self.in_time(format!("DNS name {}", host.name), self.unname(host))
        );
        for line in [&left, &unnamed].into_iter().flatten().flatten() {
            self.lines.push(line.clone());
        }
        match (left, unnamed) {
            (Err(left), Err(unnamed)) => Err(both(&left, &unnamed)),
            (left, unnamed) => left.and(unnamed).map(|_| Found::Done),
        }
    }

    /// Ends what hangs in a call, a moment after whatever could give up by itself has said why.
    async fn in_time<T>(
        &self,
        what: String,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let late = || Err(Failure::new(Exit::TryAgain, what).because("no answer in time"));
        timeout_at(self.deadline + HANGS, work).await.unwrap_or_else(|_| late())
    }

    async fn leave_pool(&self, host: &Host) -> Result<Option<String>, Failure> {
        if let Some(words) = self.left_alone(host).await? {
            return Ok(Some(words));
        }
        let Some(scalelite) = self.world.scalelite(host, self.deadline).await? else { return Ok(None) };
        let url = self.world.url(host).await?;
        let said = self.pool(&scalelite, &url, &SecretString::default()).leave().await?;
        Ok(said.news())
    }

    /// Whose the entry under the host's name is, if it is another host's. Not asked where this service has had the
    /// name.
    async fn borne_by_another(&self, host: &Host) -> Result<Option<dns::Refusal>, Failure> {
        if self.world.wanted().entry.is_none() || self.world.registration().is_named() {
            return Ok(None);
        }
        self.world.zone(host).await?.borne_by_another(host, self.deadline).await
    }

    /// The same in words, which are told.
    async fn left_alone(&self, host: &Host) -> Result<Option<String>, Failure> {
        let why = self.borne_by_another(host).await?;
        Ok(why.map(|why| {
            let words = left_alone(host, &why);
            self.world.leaves_alone(&words);
            words
        }))
    }

    async fn unname(&self, host: &Host) -> Result<Option<String>, Failure> {
        self.world.registration().awaits_nothing();
        let zone = self.world.zone(host).await?;
        let ec2 = self.world.ec2(host).await?;
        self.world.registration().doubts_dns();
        let (said, _) = zone.deregister(host, &ec2, &self.executor, self.deadline).await?;
        Ok(said.news())
    }

    fn pool<'b>(
        &'b self,
        scalelite: &'b W::Scalelite,
        url: &'b str,
        secret: &'b SecretString,
    ) -> Pool<'b, W::Scalelite> {
        Pool { scalelite, url, secret, executor: &self.executor, deadline: self.deadline }
    }

    fn report(&mut self, url: &str, applied: &Applied) {
        if !applied.done.is_empty() {
            self.lines.push(format!("scalelite: {url}: {}", applied.done.join(", ")));
        }
    }
}

/// Two failures as one: tried again as soon as one of them may have passed.
fn both(one: &Failure, other: &Failure) -> Failure {
    let exits = [one.exit, other.exit];
    let cancelled = exits.into_iter().find(|exit| matches!(exit, Exit::Interrupted(_)));
    let passing = exits.into_iter().find(|exit| *exit == Exit::TryAgain);
    let exit = cancelled.or(passing).unwrap_or(one.exit);
    Failure::new(exit, format!("{}; {}", one.headline(), other.headline()))
}

fn state(entries: &[Entry]) -> Found {
    membership::kept(entries).0.map_or(Found::Missing, |entry| Found::Entry(entry.state))
}
