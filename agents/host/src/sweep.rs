//! The sweep after dead hosts: observe, plan (`plan::sweep`), execute, in two rounds with a pause between.

mod instances;
pub(crate) mod reading;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use plan::instance::InstanceId;
use plan::record::Name;
use plan::sweep::{self, Conclusion, Evidence, Finding, Key, Sweeper, Zone};
use secrecy::SecretString;
use tokio::time::sleep;
use tracing::info;

use crate::config::settings::Naming;
use crate::dns::words_of;
use crate::execute::{Executor, Outcome};
use crate::identity::{Host, server_url};
use crate::membership::{Known, Pool};
use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience, asked};
use crate::session::{Session, now, within};
use clients::aws::ec2::{Ec2, Instances};
use clients::aws::route53::{Cursor, Error, HostedZone, RecordSets};
use clients::scalelite::{self, Management, Scalelite};

/// The most races that a batch may lose against other changes: the next sweep does the rest.
const CONFLICTS: u32 = 5;

/// The findings and the results of a sweep.
#[derive(Debug)]
pub struct Report {
    /// The verdict on each host of this role, on each share, and on each entry below the domain that no host's ownership TXT names.
    pub findings: Vec<Finding>,
    /// The findings of which nothing is left.
    pub removed: BTreeSet<Key>,
    /// The failures.
    pub trouble: Vec<Failure>,
    /// The number of hosts that have a name.
    pub hosts: usize,
    /// The number of calls to Route 53.
    pub calls: u32,
}

impl Report {
    /// Summarises the sweep in one line. A dry run has removed nothing.
    pub fn summary(&self, dry_run: bool) -> String {
        let Self { findings, removed, hosts, calls, .. } = self;
        let gone = findings.iter().filter(|finding| finding.verdict.is_gone()).count();
        let well = findings.iter().filter(|finding| finding.verdict.is_well()).count();
        let open = findings.len() - gone - well;
        let removed = if dry_run { 0 } else { removed.len() };
        format!(
            "sweep: {hosts} hosts with a name; {well} are well, {gone} gone, {removed} of them removed, {open} left alone for other \
             reasons (Route 53 calls: {calls})"
        )
    }
}

/// The end of a sweep.
#[derive(Debug)]
pub enum Swept {
    /// The sweep went through the whole zone.
    Whole(Report),
    /// The sweep ended after the first page, which had this many hosts.
    Peeked(usize),
}

/// The world of a sweep: the fleet's zone, its Scalelite, and EC2 in each region. `Reach` is the real one.
pub trait World {
    /// Route 53.
    type Zone: RecordSets;
    /// Scalelite.
    type Scalelite: Management;
    /// EC2 in one region.
    type Ec2: Instances;

    /// Returns the zone.
    fn zone(&self) -> &Self::Zone;

    /// Returns Scalelite, if there is one. Called only once a whole sweep begins, because its secret has to be
    /// fetched.
    fn scalelite(&self, patience: Patience)
    -> impl Future<Output = Result<Option<Self::Scalelite>, Failure>>;

    /// Returns EC2 in a region.
    fn ec2(&self, region: &str) -> impl Future<Output = Result<Self::Ec2, Failure>>;

    /// Returns the time, in seconds since 1970.
    fn now(&self) -> u64;
}

/// The real world, as this host reaches it.
struct Reach<'a> {
    session: &'a Session,
    host: &'a Host,
    zone: HostedZone,
}

impl World for Reach<'_> {
    type Zone = HostedZone;
    type Scalelite = Scalelite;
    type Ec2 = Ec2;

    fn zone(&self) -> &HostedZone {
        &self.zone
    }

    async fn scalelite(&self, patience: Patience) -> Result<Option<Scalelite>, Failure> {
        self.session.scalelite(self.host, patience).await
    }

    async fn ec2(&self, region: &str) -> Result<Ec2, Failure> {
        self.session.ec2_in(region, self.host).await
    }

    fn now(&self) -> u64 {
        now()
    }
}

/// The time limits of the parts of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The limit for the whole sweep, without the pause.
    pub whole: Duration,
    /// The pause between the two questions to EC2.
    pub pause: Duration,
    /// The limit for ending the entries of one host.
    pub leave: Duration,
}

/// One sweep.
#[derive(Debug)]
pub struct Sweep<'a, W: World> {
    world: W,
    executor: &'a Executor,
    sweeper: Sweeper,
    limits: Limits,
    scalelite: Option<W::Scalelite>,
    patience: Patience,
    trouble: Vec<Failure>,
}

/// The observed state: the zone and the host names of Scalelite's entries.
struct Situation {
    zone: Zone,
    entries: BTreeSet<Name>,
}

/// Sweeps the whole zone once. Any number of sweeps may run at once, on one host or on many.
pub async fn sweep(session: &Session, host: &Host, executor: &Executor) -> Result<Report, Failure> {
    prepare(session, host, executor).await?.run().await
}

/// Sweeps the whole zone once, without a word about what is tried again; if the zone has more than one page, `goes_on`
/// first decides by the number of hosts on the first.
pub async fn sweep_unless(
    session: &Session,
    host: &Host,
    executor: &Executor,
    goes_on: impl FnOnce(usize) -> bool,
) -> Result<Swept, Failure> {
    let sweep = prepare(session, host, executor).await?.quietly();
    let mut zone = Zone::new();
    let next = sweep.page(Cursor::start(&sweep.sweeper.domain), &mut zone).await?;
    let hosts = sweep.sweeper.count(&zone);
    if next.is_some() && !goes_on(hosts) {
        return Ok(Swept::Peeked(hosts));
    }
    sweep.rest(next, &mut zone).await?;
    sweep.whole(zone).await.map(Swept::Whole)
}

/// Describes this host as the one that sweeps.
pub(crate) fn sweeper(session: &Session, host: &Host) -> Sweeper {
    sweeper_of(session, host.instance.clone(), &host.region, host.account.clone())
}

/// The same for a host of which this is known.
pub(crate) fn sweeper_of(
    session: &Session,
    me: InstanceId,
    region: &str,
    account: Option<String>,
) -> Sweeper {
    let settings = &session.settings;
    Sweeper {
        me,
        role: session.agent.role,
        region: region.to_owned(),
        account,
        domain: settings.dns.domain.clone(),
        template: match &settings.dns.naming {
            Naming::Template(template) => Some(template.clone()),
            Naming::Fixed(_) => None,
        },
        shared: settings.dns.shared.as_ref().map(|shared| shared.name.clone()),
        grace: settings.sweep.grace.as_secs(),
    }
}

async fn prepare<'a>(
    session: &'a Session,
    host: &'a Host,
    executor: &'a Executor,
) -> Result<Sweep<'a, Reach<'a>>, Failure> {
    let zone = session.hosted_zone(host).await?;
    let settings = &session.settings;
    let limits = Limits {
        whole: settings.timeouts.sweep,
        pause: settings.sweep.pause,
        leave: settings.timeouts.deregister,
    };
    Ok(Sweep::new(Reach { session, host, zone }, sweeper(session, host), limits, executor))
}

impl<'a, W: World> Sweep<'a, W> {
    /// Creates a sweep. Asks nothing yet.
    pub fn new(world: W, sweeper: Sweeper, limits: Limits, executor: &'a Executor) -> Self {
        let patience = Patience::aloud(within(limits.whole));
        Self { world, executor, sweeper, limits, scalelite: None, patience, trouble: Vec::new() }
    }

    /// Makes it say only at its end what has failed.
    fn quietly(self) -> Self {
        Self { patience: Patience::quietly(self.patience.deadline()), ..self }
    }

    /// Sweeps the whole zone once.
    pub async fn run(self) -> Result<Report, Failure> {
        let zone = self.list().await?;
        self.whole(zone).await
    }

    async fn whole(mut self, zone: Zone) -> Result<Report, Failure> {
        self.scalelite = self.world.scalelite(self.patience).await?;
        let mut seen = Situation { zone, entries: self.entries().await? };
        let mut evidence = Evidence::default();
        self.look(&self.findings(&seen, &evidence), &mut evidence).await?;
        let suspects = self.findings(&seen, &evidence);
        let count = suspects.iter().filter(|finding| finding.verdict == Conclusion::AskAgain).count();
        if count > 0 {
            self.pause(count).await;
            // Only records that still exist after the pause are debris.
            let zone = self.list().await?;
            seen = Situation { zone, entries: self.entries().await? };
            let suspects = self.findings(&seen, &evidence);
            self.ask_holders(&suspects, &mut evidence).await?;
            self.look(&suspects, &mut evidence).await?;
        }
        let findings = self.findings(&seen, &evidence);
        let removed = self.remove(&findings, &seen.entries, &evidence).await?;
        let (hosts, calls) = (self.sweeper.count(&seen.zone), self.world.zone().calls());
        Ok(Report { findings, removed, trouble: self.trouble, hosts, calls })
    }

    fn findings(&self, seen: &Situation, evidence: &Evidence) -> Vec<Finding> {
        let mut findings = self.sweeper.hosts(&seen.zone, evidence, self.world.now());
        findings.extend(self.sweeper.shares(&seen.zone, evidence));
        findings.extend(self.sweeper.entries(&seen.zone, &seen.entries, evidence));
        findings
    }

    async fn pause(&mut self, suspects: usize) {
        let pause = self.limits.pause;
        info!("EC2 says of {suspects} hosts that they are gone; it is asked again in {} s", pause.as_secs());
        sleep(pause).await;
        self.patience = self.patience.later(pause);
    }

    /// Lists the zone.
    async fn list(&self) -> Result<Zone, Failure> {
        let mut zone = Zone::new();
        self.rest(Some(Cursor::start(&self.sweeper.domain)), &mut zone).await?;
        Ok(zone)
    }

    /// Reads the zone from here to its end.
    async fn rest(&self, next: Option<Cursor>, zone: &mut Zone) -> Result<(), Failure> {
        let late = "it takes longer than timeouts.sweep; nothing was removed";
        reading::rest(self.world.zone(), &self.sweeper.domain, next, zone, self.patience, late).await
    }

    /// Reads a page of the zone and returns where the next one begins.
    async fn page(&self, from: Cursor, zone: &mut Zone) -> Result<Option<Cursor>, Failure> {
        reading::page(self.world.zone(), &self.sweeper.domain, from, zone, self.patience).await
    }

    /// Lists the host names of the entries in Scalelite, if there is one.
    async fn entries(&self) -> Result<BTreeSet<Name>, Failure> {
        let Some(scalelite) = &self.scalelite else { return Ok(BTreeSet::new()) };
        let what = "listing Scalelite's servers";
        asked(self.patience, what, scalelite::Error::is_retryable, async || scalelite.names().await).await
    }

    /// Removes everything of the hosts that are gone, entries first: see `plan::sweep`. Returns the hosts of which
    /// nothing is left.
    async fn remove(
        &mut self,
        findings: &[Finding],
        entries: &BTreeSet<Name>,
        evidence: &Evidence,
    ) -> Result<BTreeSet<Key>, Failure> {
        let mut left = BTreeSet::new();
        for finding in findings.iter().filter(|finding| finding.verdict.is_gone()) {
            if !finding.is_share() && entries.contains(&finding.name) {
                match self.leave(&finding.name).await {
                    Ok(()) => {}
                    Err(failure) if matches!(failure.exit, Exit::Interrupted(_)) => return Err(failure),
                    // Its ownership TXT stays, so that the next sweep finds the host.
                    Err(failure) => {
                        self.trouble.push(failure);
                        continue;
                    }
                }
            }
            left.insert(finding.key());
        }
        let gone = findings.iter().filter(|finding| left.contains(&finding.key())).cloned().collect();
        let there = self.delete(gone, evidence).await?;
        left.retain(|key| !there.contains(key));
        Ok(left)
    }

    /// Ends the entries of a host that is gone.
    async fn leave(&self, name: &Name) -> Result<(), Failure> {
        let Some(scalelite) = &self.scalelite else { return Ok(()) };
        let (url, secret) = (server_url(name), SecretString::default());
        let patience = self.patience.until(within(self.limits.leave));
        let known = Known::default();
        let pool =
            Pool { scalelite, url: &url, secret: &secret, known: &known, executor: self.executor, patience };
        pool.leave(|_| {}).await.map(drop)
    }

    /// Deletes the record sets of hosts that are gone. When one of them has changed meanwhile, the zone is read and
    /// judged again, and each host gets a batch of its own. Returns the hosts whose record sets still exist.
    async fn delete(&mut self, gone: Vec<Finding>, evidence: &Evidence) -> Result<BTreeSet<Key>, Failure> {
        let mut left: Vec<Finding> = gone.into_iter().filter(|finding| !finding.sets.is_empty()).collect();
        let mut failed = BTreeSet::new();
        for round in 0..CONFLICTS {
            let (mut lost, before) = (BTreeSet::new(), left.clone());
            let before: Vec<&Finding> = before.iter().collect();
            for (hosts, batch) in sweep::batches(&before, round > 0) {
                let names: Vec<Name> = hosts.iter().map(|finding| finding.name.clone()).collect();
                let keys = hosts.iter().map(|finding| finding.key());
                match self.change(&names, &batch).await {
                    Ok(true) => {}
                    Ok(false) => lost.extend(keys),
                    Err(failure) if matches!(failure.exit, Exit::Interrupted(_)) => return Err(failure),
                    Err(failure) => {
                        self.trouble.push(failure);
                        failed.extend(keys);
                    }
                }
            }
            if lost.is_empty() {
                return Ok(failed);
            }
            let zone = self.list().await?;
            let mut there = self.sweeper.hosts(&zone, evidence, self.world.now());
            there.extend(self.sweeper.shares(&zone, evidence));
            let there = there.into_iter().filter(|finding| lost.contains(&finding.key()));
            // Records that appeared meanwhile were never judged.
            let kept;
            (left, kept) = there.partition::<Vec<Finding>, _>(|finding| finding.verdict.is_gone());
            failed.extend(kept.iter().map(Finding::key));
        }
        for finding in left {
            failed.insert(finding.key());
            let what =
                format!("Route 53: the record sets of {} change as often as they are read", finding.name);
            self.trouble.push(Failure::new(Exit::TryAgain, what));
        }
        Ok(failed)
    }

    /// Applies one batch; returns `false` when the record sets have changed meanwhile.
    async fn change(&self, names: &[Name], batch: &plan::dns::ChangeBatch) -> Result<bool, Failure> {
        let names = words_of(names).join(", ");
        let what = format!("Route 53: delete the record sets of {names}");
        let mut pace = Pace::remote(self.patience);
        loop {
            let changed = self.executor.run("change", &what, self.world.zone().change(batch)).await?;
            match changed {
                Outcome::Shown | Outcome::Ran(Ok(_)) => return Ok(true),
                Outcome::Ran(Err(error @ Error::Conflict { .. })) => {
                    info!("{error}; reading again");
                    return Ok(false);
                }
                Outcome::Ran(Err(error)) => reading::retry_or_fail(&mut pace, &what, &error).await?,
            }
        }
    }
}
