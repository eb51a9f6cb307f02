//! The host's name: observe, plan (`plan::dns`), execute, until it is as desired or must be left alone.

pub mod delegation;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use plan::backoff::Retryable;
use plan::dns::{self, Bearer, Change, ChangeBatch, Decision, Desired, Holder, Liveness, Observed, Source};
use plan::instance::InstanceId;
use plan::record::{Name, RecordSet};
use plan::share::{self, Shares, Sight};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::execute::{Executor, Outcome};
use crate::identity::Host;
use crate::report::{self, Exit, Failure, Said};
use crate::retry::{Pace, Patience, Queued};
use crate::succession::Heir;
use clients::aws::ec2::Instances;
use clients::aws::route53::{ChangeId, Error, HostedZone, RecordSets};
use clients::dns::authoritative::{self, Answer, Authorities, NameServers};

/// The number of races that a change may lose against other changes before a person should look.
const CONFLICTS: u32 = 5;

/// A zone with its two faces: the API, which writes, and the authoritative servers, which are read.
#[derive(Debug)]
pub struct Zone<A = HostedZone, S = NameServers> {
    /// Route 53's API.
    pub api: A,
    /// The authoritative servers, or why they are not asked.
    pub servers: Result<S, String>,
}

/// The progress of a name on its way to the authoritative servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// All servers answer as desired.
    Complete,
    /// Some servers answer otherwise, or do not answer: which, in words.
    Behind(String),
    /// No server can be asked: why.
    Unknown(String),
}

/// The result of registering a name.
#[derive(Debug)]
pub struct Registered {
    /// What was done.
    pub said: Said,
    /// The change, where Route 53 has told one.
    pub change: Option<ChangeId>,
    /// The reason why the host has no share in its shared name, in words; `None` where it has one, or wants none.
    pub bar: Option<String>,
}

/// The names at which a host has record sets.
struct Place<'a> {
    name: &'a Name,
    instance: &'a InstanceId,
    shared: Option<&'a Name>,
}

/// The end of a loop: the planner's last decision.
enum Settled {
    /// All is as it should be; `sent` if a change was sent before that was seen.
    Nothing {
        sent: bool,
    },
    Changed(ChangeId),
    Planned,
    Refused(dns::Refusal),
}

impl Settled {
    /// Says in one of these words what was done. Returns also the change, where Route 53 has told one.
    fn told(self, done: String, nothing: String) -> Result<(Said, Option<ChangeId>), dns::Refusal> {
        match self {
            Self::Nothing { sent: false } => Ok((Said::Nothing(nothing), None)),
            // The answer was lost, but Route 53 has the change.
            Self::Nothing { sent: true } => Ok((Said::Done(done), None)),
            Self::Changed(id) => Ok((Said::Done(done), Some(id))),
            Self::Planned => Ok((Said::Shown, None)),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

impl<A: RecordSets, S: Authorities> Zone<A, S> {
    /// Makes the host's name as desired, and shows to `seen` what it observes before each decision. Where the host can
    /// have no share in its shared name, it gets its own name all the same. An `heir` may succeed a former owner.
    pub async fn register(
        &self,
        desired: &Desired,
        source: Source,
        heir: Option<&Heir<'_, impl Instances>>,
        executor: &Executor,
        queued: &mut Queued,
        seen: impl Fn(&Observed),
    ) -> Result<Registered, Failure> {
        let plan = async |observed: &Observed| {
            seen(observed);
            let gone = match heir {
                Some(heir) => Box::pin(heir.predecessor(observed, desired.owner.since)).await?,
                None => None,
            };
            let decision = dns::register(desired, observed, gone.as_ref());
            let by_dns = decision == Decision::Nothing && observed.source == Source::Dns;
            Ok(match by_dns && self.lacks_share(desired).await {
                true => Decision::AskRoute53,
                false => decision,
            })
        };
        let shared = desired.shared().map(|shared| &shared.name);
        let place = Place { name: &desired.name, instance: &desired.owner.instance, shared };
        let (settled, bar) = self.settle(&place, source, plan, executor, queued).await?;
        let (name, calls) = (&desired.name, self.calls());
        let addresses = addresses_words(&desired.addresses());
        let share = shared.filter(|_| bar.is_none()).map(|shared| format!("; a share in {shared}"));
        let done = format!("dns: {name} registered: {addresses}{} {calls}", share.unwrap_or_default());
        let nothing = format!("dns: {name} is registered already, nothing to do {calls}");
        let (said, change) = settled.told(done, nothing).map_err(|refusal| refused(name, &refusal))?;
        let bar = bar.zip(shared).map(|(why, shared)| format!("{name} has no share in {shared}: {why}"));
        Ok(Registered { said, change, bar })
    }

    /// Tells whether the servers show that a share is missing which no health check may have left out.
    async fn lacks_share(&self, desired: &Desired) -> bool {
        let Some(shared) = desired.shared().filter(|shared| shared.health_check.is_none()) else {
            return false;
        };
        self.sight(&shared.name, desired).await == Sight::LeftOut
    }

    /// Returns what the servers show of the host's share in a shared name.
    pub async fn sight(&self, shared: &Name, desired: &Desired) -> Sight {
        let Ok(servers) = &self.servers else { return Sight::Unknown };
        let own = desired.ipv4.map(IpAddr::V4).into_iter().chain(desired.ipv6.map(IpAddr::V6)).collect();
        share::sight(&servers.ask_shared(shared).await, &own)
    }

    /// Removes whatever is this host's at its name. Returns also the change, where Route 53 has told one.
    pub async fn deregister(
        &self,
        host: &Host,
        ec2: &impl Instances,
        executor: &Executor,
        queued: &mut Queued,
    ) -> Result<(Said, Option<ChangeId>), Failure> {
        let patience = queued.patience();
        let held = async |observed: &Observed| held_by_others(observed, host, ec2, patience).await;
        self.remove(host, held, executor, queued).await
    }

    /// Removes whatever is at the name of a host that has lost its address. That another host may have the address now
    /// is no reason to keep the name.
    pub async fn give_up(
        &self,
        host: &Host,
        executor: &Executor,
        queued: &mut Queued,
    ) -> Result<(Said, Option<ChangeId>), Failure> {
        self.remove(host, async |_| Ok(BTreeSet::new()), executor, queued).await
    }

    async fn remove(
        &self,
        host: &Host,
        held: impl AsyncFn(&Observed) -> Result<BTreeSet<IpAddr>, Failure>,
        executor: &Executor,
        queued: &mut Queued,
    ) -> Result<(Said, Option<ChangeId>), Failure> {
        let beside = RefCell::new(None);
        let plan = async |observed: &Observed| {
            let decision =
                dns::deregister(&host.instance, &host.addresses(), observed, &held(observed).await?);
            beside.replace(left_beside_a_share(&decision, observed, host));
            Ok(decision)
        };
        let shared = host.shared.as_ref().map(|shared| &shared.name);
        let place = Place { name: &host.name, instance: &host.instance, shared };
        let (settled, _) = self.settle(&place, Source::Dns, plan, executor, queued).await?;
        let (name, calls) = (&host.name, self.calls());
        let done = match beside.into_inner() {
            Some(words) => format!("dns: {words} {calls}"),
            None => format!("dns: {name} removed {calls}"),
        };
        let nothing = format!("dns: {name} is not there, nothing to do {calls}");
        settled.told(done, nothing).or_else(|refusal| match refusal {
            // Our label beside another host's address is a state that nobody wanted: a person has to look.
            dns::Refusal::Address(_) => Err(refused(name, &refusal)),
            _ => Ok((Said::LeftAlone(format!("dns: {name} was left untouched: {refusal}")), None)),
        })
    }

    fn calls(&self) -> String {
        format!("(Route 53 calls: {})", self.api.calls())
    }

    /// Observe, plan, execute, until the plan is settled.
    /// A batch with a share that Route 53 refuses is planned again without it; returns also why.
    async fn settle(
        &self,
        place: &Place<'_>,
        mut source: Source,
        plan: impl AsyncFn(&Observed) -> Result<Decision, Failure>,
        executor: &Executor,
        queued: &mut Queued,
    ) -> Result<(Settled, Option<String>), Failure> {
        let name = place.name;
        let mut conflicts = 0;
        let mut sent = false;
        let mut denied: Option<String> = None;
        loop {
            let mut observed = match self.observe_free(name, source).await {
                Some(observed) => observed,
                None => {
                    queued.turn()?;
                    match self.read(place).await {
                        Ok(observed) => observed,
                        Err(error) => {
                            retry_or_fail(queued, name, error).await?;
                            continue;
                        }
                    }
                }
            };
            debug!("{name} as read from {:?}: {observed:?}", observed.source);
            observed.bar = observed.bar.or_else(|| denied.clone());
            let batch = match plan(&observed).await? {
                Decision::Nothing => return Ok((Settled::Nothing { sent }, observed.bar)),
                Decision::Refuse(refusal) => return Ok((Settled::Refused(refusal), observed.bar)),
                Decision::AskRoute53 => {
                    source = Source::Api;
                    continue;
                }
                Decision::Change(batch) => batch,
            };
            queued.turn()?;
            match self.change(name, &batch, executor, queued).await? {
                Outcome::Shown => return Ok((Settled::Planned, observed.bar)),
                Outcome::Ran(Ok(id)) => return Ok((Settled::Changed(id), observed.bar)),
                Outcome::Ran(Err(error @ Error::Conflict { .. })) => {
                    conflicts += 1;
                    if conflicts == CONFLICTS {
                        return Err(failed(name, &error));
                    }
                    // Either another change was faster, or the reply to ours was lost. Only Route 53 itself can tell.
                    debug!("{error}; reading again");
                    source = Source::Api;
                }
                // Whatever forbids the share (a permission, the number of shares, another record set) is no reason to
                // have no name.
                Outcome::Ran(Err(error)) if !error.is_retryable() && creates_share(&batch) => {
                    debug!("{error}; once more without the share");
                    denied = Some(error.to_string());
                }
                Outcome::Ran(Err(error)) => {
                    sent = true;
                    retry_or_fail(queued, name, error).await?;
                }
            }
        }
    }

    /// Sends a batch until it is not throttled any more. Nothing was changed meanwhile by it, and if somebody else has
    /// changed something Route 53 refuses it: so nothing is read in between, which could cost further calls.
    async fn change(
        &self,
        name: &Name,
        batch: &ChangeBatch,
        executor: &Executor,
        queued: &mut Queued,
    ) -> Result<Outcome<Result<ChangeId, Error>>, Failure> {
        let what = format!("Route 53: {}", words(batch));
        loop {
            match executor.run("change", &what, self.api.change(batch)).await? {
                Outcome::Ran(Err(error)) if error.passing() == Some(Retryable::Throttled) => {
                    retry_or_fail(queued, name, error).await?;
                }
                outcome => return Ok(outcome),
            }
        }
    }

    /// Reads a host's names through the API: its own, the shared one, and the one in which its ownership TXT says that it
    /// has a share.
    async fn read(&self, place: &Place<'_>) -> Result<Observed, Error> {
        let mut observed = self.api.read(place.name).await?;
        let former = match observed.holder(place.instance) {
            Holder::Me(owner) => owner.share.map(|shared| shared.name),
            Holder::Nobody | Holder::Other(_) => None,
        };
        let names: BTreeSet<&Name> = place.shared.into_iter().chain(&former).collect();
        for name in names {
            let Shares { own, alien } = self.api.shares(name, place.instance).await?;
            observed.shares.extend(own);
            if place.shared == Some(name) {
                observed.bar = alien.map(|alien| format!("the name has {alien}, which no agent makes"));
            }
        }
        Ok(observed)
    }

    /// Reads through the API what is at the names of these record sets.
    pub async fn read_of(&self, desired: &Desired) -> Result<Observed, Error> {
        let shared = desired.shared().map(|shared| &shared.name);
        self.read(&Place { name: &desired.name, instance: &desired.owner.instance, shared }).await
    }

    /// Reads what is at a name. DNS costs nothing; where it does not answer, or its servers disagree, the API does.
    async fn observe(&self, name: &Name, source: Source) -> Result<Observed, Error> {
        match self.observe_free(name, source).await {
            Some(observed) => Ok(observed),
            None => self.api.read(name).await,
        }
    }

    /// Returns the record sets at a name as DNS shows them, where DNS answers and its answer can be trusted.
    async fn observe_free(&self, name: &Name, source: Source) -> Option<Observed> {
        let servers = self.servers.as_ref().ok().filter(|_| source == Source::Dns)?;
        let observed = NameServers::agreed(&servers.ask_all(name).await);
        if observed.is_none() {
            debug!("the authoritative servers do not agree on {name}, or do not answer: asking Route 53");
        }
        observed
    }

    /// Why what goes by the host's name, such as its entry in Scalelite, is another host's; none where it is this
    /// host's. As long as that cannot be read nobody may touch it: an entry that stays is a smaller harm than meetings
    /// that are ended.
    pub async fn borne_by_another(
        &self,
        host: &Host,
        queued: &mut Queued,
    ) -> Result<Option<dns::Refusal>, Failure> {
        let mut source = Source::Dns;
        loop {
            let observed = match self.observe(&host.name, source).await {
                Ok(observed) => observed,
                Err(error) => {
                    retry_or_fail(queued, &host.name, error).await?;
                    continue;
                }
            };
            match dns::bearer(&host.instance, &host.addresses(), &observed) {
                Bearer::Me => return Ok(None),
                Bearer::Other(refusal) => return Ok(Some(refusal)),
                Bearer::AskRoute53 => source = Source::Api,
            }
        }
    }

    /// Waits until every authoritative server answers with the desired record sets; where none can be asked, until
    /// Route 53 says that all of them have the change. Tells which of both it was.
    pub async fn wait_until_live(
        &self,
        desired: &Desired,
        change: Option<&ChangeId>,
        deadline: Instant,
    ) -> Result<Source, Failure> {
        let has_it = |observed: &Observed| dns::liveness(desired, observed) == Liveness::Live;
        let what = format!("{} is registered, but not live everywhere yet", desired.name);
        let late = Failure::new(Exit::Partly, what)
            .advise("wait, or look at the servers with status; the record itself is in Route 53");
        self.wait(&desired.name, has_it, change, deadline, late).await
    }

    /// Asks the authoritative servers once how far the desired record sets have come, and Route 53's API nothing.
    pub async fn propagation(&self, desired: &Desired) -> Propagation {
        let has_it = |observed: &Observed| dns::liveness(desired, observed) == Liveness::Live;
        match (&self.servers, self.answers(&desired.name).await) {
            (_, Some(answers)) => behind(&answers, has_it).map_or(Propagation::Complete, Propagation::Behind),
            (Ok(_), None) => Propagation::Unknown("no authoritative server answers".to_owned()),
            (Err(why), None) => Propagation::Unknown(why.clone()),
        }
    }

    /// Waits until no authoritative server answers with anything of this host's any more: whoever registers before that
    /// would take the old answer for the present state.
    pub async fn wait_until_gone(
        &self,
        host: &Host,
        change: Option<&ChangeId>,
        deadline: Instant,
    ) -> Result<Source, Failure> {
        let is_rid = |observed: &Observed| !matches!(observed.holder(&host.instance), Holder::Me(_));
        let what = format!("{} is deleted, but not gone everywhere yet", host.name);
        let late = Failure::new(Exit::TryAgain, what).advise("wait about a minute before registering again");
        self.wait(&host.name, is_rid, change, deadline, late).await
    }

    /// Waits until all servers answer as wanted. Fails with `late`, and how far they are, at the deadline.
    async fn wait(
        &self,
        name: &Name,
        wanted: impl Fn(&Observed) -> bool,
        change: Option<&ChangeId>,
        deadline: Instant,
        late: Failure,
    ) -> Result<Source, Failure> {
        // Asking DNS costs nothing; calls to the API come out of the account's budget.
        let mut soon =
            Pace::new(Patience::quietly(deadline), Duration::from_millis(500), Duration::from_secs(2));
        let mut later = Pace::remote(Patience::quietly(deadline));
        let started = Instant::now();
        loop {
            let (source, behind) = match (self.answers(name).await, change) {
                (Some(answers), _) => (Source::Dns, behind(&answers, &wanted)),
                (None, Some(id)) => (Source::Api, self.out_of_sync(name, id).await?),
                // Nobody can be asked, and nothing was changed: what Route 53 has is all that is known.
                (None, None) => (Source::Api, None),
            };
            let Some(behind) = behind else {
                report::progress_done();
                return Ok(source);
            };
            report::progress(&format!("waiting for {name}: {behind} ({} s)", started.elapsed().as_secs()));
            let pace = if source == Source::Dns { &mut soon } else { &mut later };
            if !pace.look_again().await {
                report::progress_done();
                return Err(late.because(behind));
            }
        }
    }

    /// Returns the answers of the authoritative servers, if any of them can be asked.
    async fn answers(&self, name: &Name) -> Option<Vec<Answer>> {
        let answers = self.servers.as_ref().ok()?.ask_all(name).await;
        answers.iter().any(|answer| answer.result.is_ok()).then_some(answers)
    }

    /// Why not all servers have a change, in words; none when they have.
    async fn out_of_sync(&self, name: &Name, id: &ChangeId) -> Result<Option<String>, Failure> {
        match self.api.is_in_sync(id).await {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some("Route 53 has not told all its servers yet".to_owned())),
            Err(error) if error.is_retryable() => Ok(Some(error.to_string())),
            Err(error) => Err(failed(name, &error)),
        }
    }
}

/// Says which servers do not answer as wanted; `None` when all do. A server whose address was not found does not
/// count: that is the resolver's trouble, and nobody who asks that resolver gets there either.
fn behind(answers: &[Answer], wanted: impl Fn(&Observed) -> bool) -> Option<String> {
    let has_address =
        |answer: &&Answer| !matches!(answer.result, Err(authoritative::Error::NoAddress { .. }));
    let answers: Vec<&Answer> = answers.iter().filter(has_address).collect();
    let late = answers.iter().filter_map(|answer| match &answer.result {
        Ok(observed) if wanted(observed) => None,
        Ok(_) => Some(format!("{} is behind", answer.server)),
        Err(error) => Some(error.to_string()),
    });
    let late: Vec<String> = late.collect();
    let ready = answers.len() - late.len();
    late.first().map(|first| format!("{ready} of {} servers have the change; {first}", answers.len()))
}

/// The addresses at this host's name that are not its own and that another instance has, or may have: what EC2 will not
/// say counts as held, because a record that stays is a smaller harm than one that is wrongly deleted.
async fn held_by_others(
    observed: &Observed,
    host: &Host,
    ec2: &impl Instances,
    patience: Patience,
) -> Result<BTreeSet<IpAddr>, Failure> {
    let mut held = BTreeSet::new();
    let own = host.addresses();
    // DNS alone decides nothing, and another host's record sets are not deleted: EC2 need not be asked.
    if observed.source == Source::Dns || !matches!(observed.holder(&host.instance), Holder::Me(_)) {
        return Ok(held);
    }
    for address in observed.ip_addresses().difference(&own) {
        let mut pace = Pace::remote(patience);
        let holders = loop {
            match ec2.holders(*address).await {
                Err(error) if error.is_retryable() => {
                    pace.again(&format!("asking who has {address}"), &error).await?;
                }
                answer => break answer,
            }
        };
        match holders {
            Ok(holders) if holders.iter().all(|holder| *holder == host.instance.as_str()) => continue,
            Ok(holders) => {
                info!("{address} belongs to {}", holders.into_iter().collect::<Vec<_>>().join(", "));
            }
            Err(error) => warn!("cannot find out who has {address}, so its record set stays: {error}"),
        }
        held.insert(*address);
    }
    Ok(held)
}

async fn retry_or_fail(queued: &mut Queued, name: &Name, error: Error) -> Result<(), Failure> {
    match error.passing() {
        Some(refusal) => queued.again(&format!("DNS name {name}"), &error, refusal).await,
        None => Err(failed(name, &error)),
    }
}

fn failed(name: &Name, error: &Error) -> Failure {
    Failure::new(Exit::Failed, format!("DNS name {name}"))
        .because(error)
        .advise("check dns.zone_id and the instance role's permissions, for example with the command check")
}

fn creates_share(ChangeBatch(changes): &ChangeBatch) -> bool {
    changes.iter().any(|change| matches!(change, Change::Create(set) if set.share.is_some()))
}

/// Says what stays beside a host's share where only the share is deleted; `None` where more is, or nothing.
fn left_beside_a_share(decision: &Decision, observed: &Observed, host: &Host) -> Option<String> {
    let Decision::Change(ChangeBatch(changes)) = decision else { return None };
    let shared = changes.iter().map(|change| change.set()).find(|set| set.share.is_some())?;
    if !changes.iter().all(|change| change.set().share.is_some()) {
        return None;
    }
    let removed = format!("the share in {} removed", shared.name);
    Some(match observed.holder(&host.instance) {
        Holder::Other(refusal) => format!("{removed}; {} was left untouched: {refusal}", host.name),
        Holder::Me(_) => format!("{removed}; {} was left untouched: an address is another host's", host.name),
        Holder::Nobody => removed,
    })
}

/// Returns the failure for a name that is another host's.
pub(crate) fn refused(name: &Name, refusal: &dns::Refusal) -> Failure {
    Failure::new(Exit::Refused, format!("{name} was left untouched"))
        .because(refusal)
        .advise("if nobody needs these record sets, delete them in Route 53 and run the command again; else choose another dns.hostname")
}

/// A batch as a person reads it.
pub fn words(ChangeBatch(changes): &ChangeBatch) -> String {
    words_of(changes).join(", ")
}

/// Record sets or changes as a person reads them.
pub fn words_of<T: ToString>(things: &[T]) -> Vec<String> {
    things.iter().map(ToString::to_string).collect()
}

/// Says why the Scalelite entry under the host's name is left alone: the name is another host's.
pub(crate) fn left_alone(host: &Host, why: &dns::Refusal) -> String {
    format!("scalelite: the entry of {} was left untouched: the name is not this host's: {why}", host.name)
}

/// Lists address record sets as `A 192.0.2.1, AAAA 2001:db8::1`.
fn addresses_words(sets: &[RecordSet]) -> String {
    let values =
        sets.iter().flat_map(|set| set.values.iter().map(move |value| format!("{} {value}", set.kind)));
    values.collect::<Vec<_>>().join(", ")
}
