//! Carries out the state machine's jobs: each is observe, plan, execute, report, once. The loops are the same over the
//! real services and over those of a simulation: see [`World`].

mod name;

use std::future::{Future, ready};
use std::rc::Rc;
use std::time::Duration;

use plan::backoff::Place;
use plan::instance::Role;
use plan::lifecycle::{Found, Job, Trouble, TroubleKind};
use plan::membership::{self, Entry};
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::registration::Registration;
use crate::dns::Zone;
use crate::execute::{Announced, Executor};
use crate::identity::Host;
use crate::interrupt::Interrupt;
use crate::membership::{Applied, Known, Meetings, Note, Pool};
use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience};
use crate::session::within;
use crate::succession::Bounds;
use clients::aws::ec2::Instances;
use clients::aws::route53::RecordSets;
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

/// The shortest time between two tries of one half of leaving.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest time for the metadata service to identify a host that is known already.
const METADATA: Duration = Duration::from_secs(2);

/// The upkeep of the name, in the words of the log.
pub const NAME: &str = "looking after the name";
/// The upkeep of the entry.
pub const ENTRY: &str = "looking after the Scalelite entry";
/// What undoes them.
pub const LEAVING: &str = "leaving";

/// Returns the part of the work that a job belongs to.
pub fn part(job: Job) -> &'static str {
    match job {
        Job::Name => NAME,
        Job::Join(_) | Job::Keep | Job::Look | Job::Cordon | Job::CordonUnlessLast | Job::Recordon => ENTRY,
        Job::Unname | Job::Withdraw(_) | Job::Leave => LEAVING,
    }
}

/// The wishes of the settings for this host.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The role of the host.
    pub role: Role,
    /// The time to live of its record sets, in seconds.
    pub ttl: u32,
    /// The desired entry in Scalelite, if the host has one.
    pub entry: Option<membership::Desired>,
    /// The bounds within which the host succeeds a former owner of its name, if it has a fixed one.
    pub succession: Option<Bounds>,
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

    /// Begins to open the connections that leaving will use, and does not wait for them.
    fn connect(&self) -> impl Future<Output = ()> {
        ready(())
    }

    /// Who it was when that was asked first.
    fn known_host(&self) -> Result<Host, Failure>;

    /// The zone that the host's name is in.
    fn zone(&self, host: &Host) -> impl Future<Output = Result<Zone<Self::Api, Self::Servers>, Failure>>;

    /// Compares the servers that are asked with the hosted zone's own: they do not show what Route 53 has. Returns
    /// what differs, if they are another zone's; then the own ones are asked from now on.
    fn compare_servers(&self, _host: &Host) -> impl Future<Output = Option<String>> {
        ready(None)
    }

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

    /// The actions of former attempts.
    fn announced(&self) -> &Announced;

    /// The time, in seconds since 1970.
    fn now(&self) -> u64;

    /// The same time more exactly.
    fn clock(&self) -> Duration {
        Duration::from_secs(self.now())
    }

    /// The host's place in its group; `None` outside one, and where the group does not answer.
    fn place(&self, _host: &Host) -> impl Future<Output = Option<Place>> {
        ready(None)
    }

    /// Returns the memory of the host's entries.
    fn known(&self) -> &Known;

    /// Returns the note on the entry that a reboot has taken out, if there is one.
    fn note(&self, host: &Host) -> Option<Note>;

    /// Keeps the note over a reboot; `None` removes it.
    fn keep_note(&self, note: Option<&Note>);

    /// The entry was enabled, or is gone.
    fn enabled(&self, enabled: bool);

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
pub async fn run<W: World>(world: Rc<W>, job: Job, interrupt: Interrupt, patience: Duration) -> Report {
    let (world, deadline) = (world.as_ref(), within(patience));
    let executor = Executor::again_and_again(interrupt.clone(), world.announced(), part(job));
    let mut attempt = Attempt { world, executor, deadline, lines: Vec::new() };
    let result = interrupt.or_stop(attempt.bounded(job)).await;
    let (found, exit) = match result {
        Ok(Ok(found)) => {
            world.announced().done(part(job));
            (Ok(found), None)
        }
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
        if matches!(job, Job::Leave | Job::Unname) {
            self.world.connect().await;
        }
        let host = self.host(job).await?;
        match job {
            Job::Name => self.name(&host).await,
            Job::Join(_) | Job::Keep => self.join(&host, job).await,
            Job::Look => self.look(&host).await,
            Job::Cordon | Job::CordonUnlessLast | Job::Recordon => self.set(&host, job).await,
            Job::Unname => self.unname(&host).await.map(|said| {
                self.lines.extend(said);
                Found::Done
            }),
            Job::Withdraw(set) => self.withdraw(&host, set).await,
            Job::Leave => self.leave(&host).await,
        }
    }

    /// Who this host is now. What takes it out does not need its present addresses, and must not wait for a metadata
    /// service that does not answer.
    async fn host(&self, job: Job) -> Result<Host, Failure> {
        if matches!(job, Job::Name | Job::Join(_) | Job::Keep) {
            return self.world.host(self.deadline).await;
        }
        let soon = self.deadline.min(within(METADATA));
        match self.world.host(soon).await {
            Ok(host) => Ok(host),
            Err(failure) => self.world.known_host().map_err(|_| failure),
        }
    }

    async fn join(&mut self, host: &Host, job: Job) -> Result<Found, Failure> {
        let Some(wanted) = self.world.wanted().entry else { return Ok(Found::Done) };
        if self.borne_by_another(host, false).await?.is_some() {
            // Whose it is stands in the trouble with the name.
            let what = format!("scalelite: the entry of {} was left untouched", host.name);
            return Err(Failure::new(Exit::Refused, what).because("the name is not this host's"));
        }
        let (installation, bbb) = self.world.ready_bbb(host).await?;
        let Some(scalelite) = self.world.scalelite(host, self.deadline).await? else {
            return Ok(Found::Done);
        };
        let url = installation.scalelite_url();
        let note = self.world.note(host);
        let wanted = Note::completes(note.as_ref(), wanted);
        let pool = self.pool(&scalelite, &url, &installation.secret);
        let applied = match job {
            Job::Join(state) => {
                // An operator had cordoned or disabled the entry before the reboot.
                let set = note.as_ref().and_then(Note::state);
                pool.join(set.unwrap_or(state), &wanted, &bbb).await?
            }
            _ => pool.keep(&wanted, &bbb).await?,
        };
        if note.is_some() {
            self.world.keep_note(None);
        }
        if applied.enabled {
            self.world.enabled(true);
        }
        self.world.joined_as(&installation);
        self.report(&url, &applied);
        Ok(state(&applied.entries))
    }

    async fn look(&mut self, host: &Host) -> Result<Found, Failure> {
        let url = self.world.url(host).await?;
        if self.left_alone(host, true).await?.is_some() {
            return Ok(Found::Missing);
        }
        let Some(scalelite) = self.world.scalelite(host, self.deadline).await? else {
            return Ok(Found::Done);
        };
        let entries = self.world.known().entries(&scalelite, &url, &SecretString::default(), false).await;
        let entries = entries.map_err(|error| {
            let exit = if error.is_retryable() { Exit::TryAgain } else { Exit::Failed };
            Failure::new(exit, format!("Scalelite entry {url}")).because(error)
        })?;
        Ok(state(&entries))
    }

    /// Sets the state of the host's entries.
    async fn set(&mut self, host: &Host, job: Job) -> Result<Found, Failure> {
        if let Some(words) = self.left_alone(host, false).await? {
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
        if job == Job::CordonUnlessLast && pool.is_last().await? {
            let why = "no other server is enabled and online, so this one is not cordoned";
            self.world.leaves_alone(&format!("scalelite: EC2 recommends replacing this instance, but {why}"));
            return Ok(Found::LastOne);
        }
        let applied = match job {
            Job::Recordon => pool.recordon().await?,
            _ => pool.cordon().await?,
        };
        self.report(&url, &applied);
        Ok(Found::Done)
    }

    /// Both halves at once: neither a Scalelite nor a Route 53 that does not answer keeps the other from being done.
    async fn leave(&mut self, host: &Host) -> Result<Found, Failure> {
        // Whether a half is at work.
        let (pool, name) = (watch::Sender::new(true), watch::Sender::new(true));
        let (left, unnamed) = tokio::join!(
            self.half(&pool, &name, || self.in_time("Scalelite".to_owned(), self.leave_pool(host, |_| {}))),
            self.half(&name, &pool, || self.in_time(format!("DNS name {}", host.name), self.unname(host)))
        );
        for line in [&left, &unnamed].into_iter().flatten().flatten() {
            self.lines.push(line.clone());
        }
        match (left, unnamed) {
            (Err(left), Err(unnamed)) => Err(both(&left, &unnamed)),
            (left, unnamed) => left.and(unnamed).map(|_| Found::Done),
        }
    }

    /// Does one half of leaving. Where the other half takes its time, a failure that may pass is tried again meanwhile:
    /// the next attempt comes only after both.
    async fn half<T>(
        &self,
        own: &watch::Sender<bool>,
        other: &watch::Sender<bool>,
        work: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut pace = Pace::remote(Patience::quietly(self.deadline));
        let mut other = other.subscribe();
        loop {
            own.send_replace(true);
            let result = work().await;
            own.send_replace(false);
            let wait = match &result {
                Err(failure) if failure.exit == Exit::TryAgain => {
                    failure.turn().unwrap_or_else(|| pace.draw())
                }
                _ => return result,
            };
            tokio::select! {
                biased;
                _ = other.wait_for(|at_work| !at_work) => return result,
                () = sleep(wait.max(SHORTEST)) => {}
            }
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

    /// Takes the entry out and keeps the name.
    async fn withdraw(&mut self, host: &Host, set: Option<membership::State>) -> Result<Found, Failure> {
        let note = |entry: &Entry| self.world.keep_note(Some(&Note::new(&host.instance, entry, set)));
        let said = self.leave_pool(host, note).await?;
        self.lines.extend(said);
        Ok(Found::Done)
    }

    async fn leave_pool(&self, host: &Host, notes: impl Fn(&Entry)) -> Result<Option<String>, Failure> {
        if let Some(words) = self.left_alone(host, false).await? {
            return Ok(Some(words));
        }
        let Some(scalelite) = self.world.scalelite(host, self.deadline).await? else { return Ok(None) };
        let url = self.world.url(host).await?;
        let said = self.pool(&scalelite, &url, &SecretString::default()).leave(notes).await?;
        self.world.enabled(false);
        Ok(said.news())
    }

    fn pool<'b>(
        &'b self,
        scalelite: &'b W::Scalelite,
        url: &'b str,
        secret: &'b SecretString,
    ) -> Pool<'b, W::Scalelite> {
        let (known, patience) = (self.world.known(), Patience::once(self.deadline));
        Pool { scalelite, url, secret, known, executor: &self.executor, patience }
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
    let both = Failure::new(exit, format!("{}; {}", one.headline(), other.headline()));
    let turn = one.turn().or(other.turn()).filter(|_| exit == Exit::TryAgain);
    turn.into_iter().fold(both, Failure::at)
}

fn state(entries: &[Entry]) -> Found {
    match membership::kept(entries).0 {
        None => Found::Missing,
        Some(entry) if entry.state == membership::State::Enabled && !entry.is_polled() => Found::Unpolled,
        Some(entry) => Found::Entry(entry.state),
    }
}
