//! Carries out the state machine's jobs: each is observe, plan, execute, report, once.

use std::rc::Rc;
use std::time::Duration;

use plan::backoff::Refusal;
use plan::dns::Desired;
use plan::lifecycle::{Found, Job, Trouble, TroubleKind};
use plan::membership::{self, Entry};
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::shared::Shared;
use crate::bbb::{Bbb, Installation};
use crate::commands::deregister::left_alone;
use crate::commands::register::addresses_words;
use crate::execute::Executor;
use crate::identity::Host;
use crate::interrupt::Interrupt;
use crate::naming::{Named, Standing, Unnamed, Zone};
use crate::pace::Queued;
use crate::pool::{Pool, Standing as Place};
use crate::report::{Exit, Failure};
use crate::route53::{ChangeId, RecordSets};
use crate::scalelite::{Management, Scalelite};
use crate::session::{Session, now, within};

/// How long one attempt may take: then its trouble is told, and the state machine decides when to try again.
pub(super) const ATTEMPT: Duration = Duration::from_secs(15);

/// How long one attempt to leave may take: every meeting that has to be ended takes its time.
pub(super) const LEAVE: Duration = Duration::from_secs(60);

/// How much longer than its attempt may take a call can hang: less than the state machine waits for its last words.
const HANGS: Duration = Duration::from_millis(500);

/// How long the metadata service may take to say who a host is that is known already.
const METADATA: Duration = Duration::from_secs(2);

/// How a job ended.
#[derive(Debug)]
pub(super) struct Report {
    /// What it found, or why it did not do it.
    pub(super) found: Result<Found, Trouble>,
    /// How a command by hand would end, where trying again will not help.
    pub(super) lasting: Option<Exit>,
    /// What it has changed, for people who wait for it.
    pub(super) lines: Vec<String>,
}

/// Carries out one job, within `patience`; the interrupt cancels it.
///
/// `steady` says that the name was live before: then a name that cannot be looked at is no reason to ask Route 53.
pub(super) async fn run(
    shared: Rc<Shared>,
    job: Job,
    steady: bool,
    interrupt: Interrupt,
    patience: Duration,
) -> Report {
    let executor = Executor::new(interrupt.clone(), false);
    let (shared, deadline) = (shared.as_ref(), within(patience));
    let mut attempt =
        Attempt { shared, session: &shared.session, steady, executor, deadline, lines: Vec::new() };
    let result = interrupt.or_stop(attempt.job(job)).await;
    let (found, exit) = match result {
        Ok(Ok(found)) => (Ok(found), None),
        Ok(Err(failure)) => {
            if job != Job::Name {
                shared.forget_secret();
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

/// What kind of trouble a failure is.
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

struct Attempt<'a> {
    shared: &'a Shared,
    session: &'a Session,
    steady: bool,
    executor: Executor,
    deadline: Instant,
    lines: Vec<String>,
}

impl Attempt<'_> {
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

    /// Who this host is now. What takes it out does not need its present addresses, and must not wait for a metadata service
    /// that does not answer.
    async fn host(&self, job: Job) -> Result<Host, Failure> {
        if matches!(job, Job::Name | Job::Join | Job::Keep) {
            return self.session.host(self.deadline).await;
        }
        let soon = self.deadline.min(within(METADATA));
        match self.session.host(soon).await {
            Ok(host) => Ok(host),
            Err(failure) => self.shared.host().cloned().map_err(|_| failure),
        }
    }

    async fn name(&mut self, host: &Host) -> Result<Found, Failure> {
        let desired = host.desired(self.session.agent.role, self.session.settings.dns.ttl, now())?;
        let zone = self.shared.zone(host).await?;
        let change = match self.shared.is_awaited(&desired) {
            Some(change) => change,
            None => {
                if self.steady && self.is_live(&zone, &desired).await? {
                    self.shared.is_up();
                    return Ok(Found::Live);
                }
                let change = self.register(&zone, &desired).await?;
                self.shared.awaits(desired.clone(), change.clone());
                change
            }
        };
        // One look: when to look again is not decided here.
        Ok(match self.behind(&zone, &desired, change.as_ref()).await? {
            Some(why) => {
                Found::Behind(format!("{} is registered, but not live everywhere yet: {why}", desired.name))
            }
            None => {
                self.shared.awaits_nothing();
                self.shared.is_up();
                Found::Live
            }
        })
    }

    /// Why the name is not live everywhere, in words; none when it is. Where no server can be asked, Route 53 is.
    async fn behind(
        &self,
        zone: &Zone,
        desired: &Desired,
        change: Option<&ChangeId>,
    ) -> Result<Option<String>, Failure> {
        let not_yet = || Some("Route 53 has not told all its servers yet".to_owned());
        match (zone.standing(desired).await, change) {
            (Standing::Live, _) => Ok(None),
            (Standing::Otherwise(why), _) => Ok(Some(why)),
            // Nobody can be asked, and nothing was changed: what Route 53 has is all that is known.
            (Standing::Nobody(_), None) => Ok(None),
            (Standing::Nobody(_), Some(_)) if !self.shared.may_ask() => Ok(not_yet()),
            (Standing::Nobody(_), Some(id)) => match zone.api.is_in_sync(id).await {
                Ok(true) => Ok(None),
                Ok(false) => {
                    self.shared.asks_later(Refusal::Passing);
                    Ok(not_yet())
                }
                Err(error) => match error.passing() {
                    Some(refusal) => {
                        self.shared.asks_later(refusal);
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
    async fn is_live(&self, zone: &Zone, desired: &Desired) -> Result<bool, Failure> {
        match zone.standing(desired).await {
            Standing::Live => Ok(true),
            Standing::Nobody(why) if !self.session.settings.dns.read_through_api => {
                Err(Failure::new(Exit::TryAgain, format!("{} cannot be looked at", desired.name))
                    .because(why))
            }
            Standing::Otherwise(_) | Standing::Nobody(_) => Ok(false),
        }
    }

    /// Makes the name as desired; the change of it, where Route 53 has told one.
    async fn register(&mut self, zone: &Zone, desired: &Desired) -> Result<Option<ChangeId>, Failure> {
        let mut queued = Queued::again_and_again(self.deadline, self.shared.queue());
        let named = zone.register(desired, &self.executor, &mut queued).await;
        self.shared.keep_queue(queued.into_queue());
        // What goes by the name is this host's own from now on, or no longer.
        match &named {
            Ok(_) => self.shared.named(true),
            Err(failure) if failure.exit == Exit::Refused => self.shared.named(false),
            Err(_) => {}
        }
        let named = named?;
        if let Named::Changed(..) | Named::Confirmed = &named {
            let (name, calls) = (&desired.name, zone.api.calls());
            let addresses = addresses_words(&desired.addresses());
            self.lines.push(format!("dns: {name} registered: {addresses} (Route 53 calls: {calls})"));
        }
        Ok(match named {
            Named::Changed(id) => Some(id),
            Named::Already | Named::Confirmed | Named::Planned => None,
        })
    }

    async fn join(&mut self, host: &Host, job: Job) -> Result<Found, Failure> {
        let Some(settings) = &self.session.settings.scalelite else { return Ok(Found::Done) };
        let (installation, bbb) = ready_bbb(self.shared, host).await?;
        let Some(scalelite) = self.shared.scalelite(host, self.deadline).await? else {
            return Ok(Found::Done);
        };
        let url = installation.scalelite_url();
        let pool = self.pool(&scalelite, &url, &installation.secret);
        let standing = match job {
            Job::Join => pool.join(&settings.entry, &bbb).await?,
            _ => pool.keep(&settings.entry, &bbb).await?,
        };
        self.shared.joined_as(&installation);
        self.report(&url, &standing);
        Ok(state(&standing.entries))
    }

    async fn look(&mut self, host: &Host) -> Result<Found, Failure> {
        let url = self.shared.url(host).await?;
        if self.left_alone(host).await?.is_some() {
            return Ok(Found::Missing);
        }
        let Some(scalelite) = self.shared.scalelite(host, self.deadline).await? else {
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
        let Some(scalelite) = self.shared.scalelite(host, self.deadline).await? else {
            return Ok(Found::Done);
        };
        let url = self.shared.url(host).await?;
        // Only whoever adds or updates an entry needs BBB's secret.
        let secret = SecretString::default();
        let pool = self.pool(&scalelite, &url, &secret);
        let standing = match job {
            Job::Recordon => pool.recordon().await?,
            Job::Disable => pool.disable().await?,
            _ => pool.cordon().await?,
        };
        self.report(&url, &standing);
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
        let Some(scalelite) = self.shared.scalelite(host, self.deadline).await? else { return Ok(None) };
        let url = self.shared.url(host).await?;
        let standing = self.pool(&scalelite, &url, &SecretString::default()).leave().await?;
        Ok((!standing.done.is_empty())
            .then(|| format!("scalelite: {url} removed: {}", standing.done.join(", "))))
    }

    /// Why the entry under the host's name is left alone, in words, if it is another host's. Not asked where this service has
    /// had the name.
    async fn left_alone(&self, host: &Host) -> Result<Option<String>, Failure> {
        if self.session.settings.scalelite.is_none() || self.shared.is_named() {
            return Ok(None);
        }
        let zone = self.shared.zone(host).await?;
        let Some(why) = zone.borne_by_another(host, self.deadline).await? else { return Ok(None) };
        let words = left_alone(host, &why);
        if let Some(words) = self.shared.is_news("leave alone", Some(&words)) {
            info!("{words}");
        }
        Ok(Some(words))
    }

    async fn unname(&self, host: &Host) -> Result<Option<String>, Failure> {
        self.shared.awaits_nothing();
        let zone = self.shared.zone(host).await?;
        let ec2 = self.session.ec2(host).await?;
        let unnamed = zone.deregister(host, &ec2, &self.executor, self.deadline).await?;
        let (name, calls) = (&host.name, zone.api.calls());
        Ok(match unnamed {
            Unnamed::Already | Unnamed::Planned => None,
            Unnamed::Others(why) => Some(format!("dns: {name} was left untouched: {why}")),
            Unnamed::Changed(_) => Some(format!("dns: {name} removed (Route 53 calls: {calls})")),
        })
    }

    fn pool<'b>(&'b self, scalelite: &'b Scalelite, url: &'b str, secret: &'b SecretString) -> Pool<'b> {
        Pool { scalelite, url, secret, executor: &self.executor, deadline: self.deadline }
    }

    fn report(&mut self, url: &str, standing: &Place) {
        if !standing.done.is_empty() {
            self.lines.push(format!("scalelite: {url}: {}", standing.done.join(", ")));
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

/// The BBB on this host, once it answers with the secret of its property files.
async fn ready_bbb(shared: &Shared, host: &Host) -> Result<(Installation, Bbb), Failure> {
    let waiting = |why: &dyn std::fmt::Display| Failure::new(Exit::WaitingForBbb, why.to_string());
    let installation = match shared.installation(host).await {
        None => return Err(waiting(&"this is no BBB host")),
        Some(Ok(installation)) => installation,
        Some(Err(error)) if error.may_come() => return Err(waiting(&error)),
        Some(Err(error)) => {
            return Err(Failure::new(Exit::Failed, "BBB's settings on this host").because(error));
        }
    };
    let bbb = Bbb::of(shared.session.local_client(&installation.server_url)?, &installation);
    match bbb.meetings().await {
        Ok(_) => Ok((installation, bbb)),
        // A certificate comes with the installation too.
        Err(error) if error.is_retryable() || matches!(error, crate::bbb::Error::Distrusted { .. }) => {
            Err(waiting(&error))
        }
        Err(error) => Err(Failure::new(Exit::Failed, "the BBB API of this host").because(error)),
    }
}
