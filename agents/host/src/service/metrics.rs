//! Tells CloudWatch in figures how the host stands: at each interval, and at once when a drain has ended at its
//! deadline or the host has left. Answers Prometheus with what was found out last.
//!
//! Nothing else waits for this or changes because of it. It looks at the state machine and tells it nothing; what could
//! not be sent is dropped, and an interval later there is something newer. A service that ends sends nothing more.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use plan::lifecycle::{Job, Machine, Moment, State, TroubleKind};
use plan::metrics::{Findings, History, Phase, PhaseFigures, data};
use plan::prometheus::{Counts, Format, Scrape};
use plan::relay::Relay;
use plan::work::Work;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::calls;
use super::shared::Shared;
use super::troubles::{Failing, Troubles};
use crate::cli::VERSION;
use crate::config::settings::{self, Certificate, Dimension};
use crate::control::Delivery;
use crate::identity::Host;
use crate::log;
use crate::retry;
use crate::session::now as unix_now;
use clients::aws::cloudwatch;
use clients::certificate;

/// The longest time for an answer of CloudWatch.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time for the whole message when the host may be gone soon.
const URGENT: Duration = Duration::from_secs(2);
/// The longest time for the host's own server to show its certificate.
const GREETING: Duration = Duration::from_secs(2);
/// The time for which a certificate that was seen is not looked at again.
const SEEN: Duration = Duration::from_secs(3600);
/// The time for which Auto Scaling is not asked again after it did not name the host's group.
const UNANSWERED: Duration = Duration::from_secs(600);

/// The number of intervals after which a finding is not believed any more: one may be missed.
const STALE: u32 = 3;

/// When and what is told, and what became of it.
#[derive(Debug)]
pub(super) struct Metrics {
    history: History,
    counts: Counts,
    /// Whether CloudWatch is told.
    sends: bool,
    /// What coturn did when it was asked last, and when that was.
    coturn: Option<(Instant, Option<Relay>)>,
    interval: Option<Duration>,
    /// When to tell it next.
    due: Option<Instant>,
    /// Something has happened that is worth telling at once.
    urgent: bool,
    /// One that is not urgent is under way.
    under_way: bool,
    /// When CloudWatch has taken them last, in seconds since 1970.
    accepted: Option<u64>,
    /// Why the last ones were dropped, if they were.
    failure: Option<Dropped>,
}

/// The result of one look at the host.
#[derive(Debug)]
pub(super) struct Sent {
    /// What coturn did. A message that is urgent looks at nothing.
    coturn: Option<Option<Relay>>,
    /// What became of the message; `None` where CloudWatch is not told.
    result: Option<Result<(), Dropped>>,
}

/// Why a message was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Dropped {
    /// Nobody could say which group the host is in.
    #[error("the group of this host is not known: {0}")]
    Group(String),
    /// The AWS clients cannot be made.
    #[error("{0}")]
    Setup(String),
    /// CloudWatch has not taken it.
    #[error(transparent)]
    CloudWatch(#[from] cloudwatch::Error),
}

impl Metrics {
    pub(super) fn new(settings: Option<&settings::Metrics>, machine: &Machine, now: Moment) -> Self {
        let mut metrics = Self {
            history: History::default(),
            counts: Counts::default(),
            sends: false,
            coturn: None,
            interval: None,
            due: None,
            urgent: false,
            under_way: false,
            accepted: None,
            failure: None,
        };
        metrics.configure(settings);
        metrics.follow(machine, now);
        metrics
    }

    /// The configuration was read. Hosts that were started together do not tell at the same moment.
    pub(super) fn configure(&mut self, settings: Option<&settings::Metrics>) {
        self.interval = settings.map(|settings| settings.interval);
        self.sends = settings.is_some_and(|settings| settings.cloudwatch.is_some());
        self.due = self.interval.map(|interval| Instant::now() + interval.mul_f64(fastrand::f64()));
    }

    /// The state machine has made a step.
    pub(super) fn follow(&mut self, machine: &Machine, now: Moment) {
        self.urgent |= self.history.follow(Phase::from(machine.state()), now);
        self.counts.follow(machine.state());
    }

    /// When to send next.
    pub(super) fn wake(&self) -> Option<Instant> {
        if self.urgent { Some(Instant::now()) } else { self.due }
    }

    /// Begins to send what is due.
    pub(super) fn send(
        &mut self,
        shared: &Rc<Shared>,
        machine: &Machine,
        now: Moment,
    ) -> Option<impl Future<Output = Sent> + use<>> {
        let urgent = std::mem::take(&mut self.urgent);
        if !urgent {
            self.due = self.next();
        }
        let settings = shared.session.settings.metrics.clone()?;
        let host = shared.host.get()?.clone();
        // Whether it is in a group is not known before the metadata service has told the first time.
        let is_told = !matches!(machine.state(), State::Starting);
        let held_back = if urgent { !self.sends } else { self.under_way };
        if !is_told || Phase::from(machine.state()) == Phase::Ending || held_back {
            return None;
        }
        self.under_way |= !urgent;
        let message = Message {
            shared: Rc::clone(shared),
            settings,
            host,
            phases: self.history.figures(now),
            counts: is_counted(machine),
            grouped: machine.is_grouped(),
        };
        Some(async move {
            if urgent {
                let sent = timeout(URGENT, message.send(Findings::default(), URGENT)).await;
                let late = || cloudwatch::Error::Passing("no answer in time".to_owned());
                let result = sent.unwrap_or_else(|_| Some(Err(late().into())));
                return Sent { coturn: None, result };
            }
            let findings = message.findings().await;
            Sent { coturn: Some(findings.coturn), result: message.send(findings, PATIENCE).await }
        })
    }

    /// The next time; those that were missed are left out.
    fn next(&self) -> Option<Instant> {
        let (due, interval, now) = (self.due?, self.interval?, Instant::now());
        let next = due + interval;
        Some(if next > now { next } else { now + interval })
    }

    /// The host was looked at, and one message has been sent, or was dropped.
    pub(super) fn sent(&mut self, Sent { coturn, result }: Sent, troubles: &Troubles) {
        if let Some(coturn) = coturn {
            self.under_way = false;
            self.coturn = Some((Instant::now(), coturn));
        }
        let Some(result) = result else { return };
        self.counts.sent(result.is_ok());
        let why = result.as_ref().err().map(Dropped::to_string);
        let failing = why.as_deref().map(|why| Failing::new(why, format!("metrics are dropped: {why}")));
        troubles.take("sending metrics", "metrics", None, failing.map_or(Ok(()), Err));
        if result.is_ok() {
            self.accepted = Some(unix_now());
        }
        self.failure = result.err();
    }

    /// Returns what became of them, for `status`; `None` where none are sent.
    pub(super) fn report(&self) -> Option<Delivery> {
        let error = self.failure.as_ref().map(Dropped::to_string);
        self.sends.then_some(Delivery { accepted: self.accepted, error })
    }

    /// A job has ended.
    pub(super) fn ended(&mut self, job: Job, trouble: Option<&TroubleKind>) {
        self.counts.ended(job, trouble);
    }

    /// Returns the text of a scrape: what is known now. It looks at nothing, so nobody waits for it.
    pub(super) fn render(&self, shared: &Shared, machine: &Machine, now: Moment, format: Format) -> String {
        let (agent, settings, host) = (shared.session.agent, &shared.session.settings, shared.host.get());
        let findings = self.findings(shared, machine);
        let data = data(agent.role, &self.history.figures(now), &findings, &settings.drain.rules);
        let mut info = vec![("version", VERSION.to_owned()), ("role", agent.role.to_string())];
        info.extend(shared.group.borrow().clone().map(|group| ("group", group)));
        // Prometheus has a label `instance` of its own.
        info.extend(host.map(|host| ("instance_id", host.instance.as_str().to_owned())));
        info.extend(host.map(|host| ("name", host.name.as_str().to_owned())));
        let calls: Vec<_> = clients::calls::counted()
            .into_iter()
            .map(|(service, outcome, count)| (service.as_str(), outcome.as_str(), count))
            .collect();
        let scrape = Scrape {
            agent: agent.name,
            info: &info,
            data: &data,
            counts: &self.counts,
            dropped_lines: log::dropped(),
            calls: &calls,
            retries: retry::retries(),
        };
        scrape.render(format)
    }

    /// What was found out last, as far as it is still believed.
    fn findings(&self, shared: &Shared, machine: &Machine) -> Findings {
        let Some(interval) = self.interval else { return Findings::default() };
        let counts = is_counted(machine);
        let stale = interval * STALE;
        let certificate = shared.known.certificate.borrow().filter(|(at, _)| at.elapsed() < SEEN + stale);
        let silent = shared.known.silent.get().map(|since| since.elapsed());
        Findings {
            work: shared.work(stale).filter(|_| counts),
            certificate: certificate.and_then(|(_, end)| left(end)),
            wrong_addresses: shared.wrong_addresses().filter(|_| counts),
            coturn: self.coturn.filter(|(at, _)| at.elapsed() <= stale).and_then(|(_, relay)| relay),
            silent: silent.filter(|_| counts),
        }
    }
}

/// Whether what goes on on the host is counted in this state.
fn is_counted(machine: &Machine) -> bool {
    matches!(machine.state(), State::Joining(_) | State::Serving(_) | State::Cordoned(_) | State::Draining(_))
}

/// One message before it is sent.
struct Message {
    shared: Rc<Shared>,
    settings: settings::Metrics,
    host: Host,
    phases: PhaseFigures,
    counts: bool,
    grouped: bool,
}

impl Message {
    /// Collects the findings about the host.
    async fn findings(&self) -> Findings {
        let (work, certificate, coturn) = tokio::join!(self.work(), self.certificate(), self.coturn());
        let answers = work.as_ref().map(|work| &work.meetings);
        let silent =
            self.silence(answers.is_some_and(|all| all.unlisted.is_none() || !all.listed.is_empty()));
        // It counts only as long as it is looked at.
        let wrong_addresses = self.shared.wrong_addresses().filter(|_| self.counts);
        Findings { work, certificate, coturn, silent, wrong_addresses }
    }

    /// For how long BBB has not answered, on a host that has one: with Scalelite or without, nobody can meet there.
    fn silence(&self, answers: bool) -> Option<Duration> {
        let expected = self.counts && self.shared.session.settings.bbb.is_some();
        let since = &self.shared.known.silent;
        since.set((expected && !answers).then(|| since.get().unwrap_or_else(Instant::now)));
        since.get().map(|since| since.elapsed())
    }

    /// Returns the count of the last interval, and counts now if there is none; `None` where nothing is counted.
    async fn work(&self) -> Option<Work> {
        if !self.counts {
            return None;
        }
        match self.shared.work(self.settings.interval) {
            Some(work) => Some(work),
            None => Some(calls::tally(&self.shared).await.0),
        }
    }

    /// What coturn does for a client without credentials.
    async fn coturn(&self) -> Option<Relay> {
        self.shared.relay(&self.host, self.settings.interval).await
    }

    /// For how many seconds the host's certificate is still good.
    async fn certificate(&self) -> Option<i64> {
        let seen = &self.shared.known.certificate;
        let known = seen.borrow().filter(|(at, _)| at.elapsed() < SEEN).map(|(_, end)| end);
        let end = match known {
            Some(end) => end,
            None => {
                let (address, name) = self.server().await?;
                let end = match timeout(GREETING, certificate::end(address, &name)).await {
                    Ok(Ok(end)) => end,
                    Ok(Err(error)) => return debug_none(&error),
                    Err(_) => return debug_none(&format_args!("no certificate at {address} in time")),
                };
                seen.replace(Some((Instant::now(), end)));
                end
            }
        };
        left(end)
    }

    /// Where the host shows its certificate, and to whom.
    async fn server(&self) -> Option<(SocketAddr, String)> {
        match self.settings.certificate {
            Certificate::Off => None,
            Certificate::At(address) => Some((address, self.host.name.as_str().to_owned())),
            Certificate::Bbb => {
                let address = self.shared.session.settings.bbb.as_ref()?.address;
                let installation = self.shared.installation(&self.host).await?.ok()?;
                let (name, port) = installation.tls()?;
                Some((SocketAddr::new(address, port), name.to_owned()))
            }
        }
    }

    /// Sends the message, where CloudWatch is told.
    async fn send(&self, findings: Findings, patience: Duration) -> Option<Result<(), Dropped>> {
        let to = self.settings.cloudwatch.as_ref()?;
        Some(self.put(to, findings, patience).await)
    }

    async fn put(
        &self,
        to: &settings::CloudWatch,
        findings: Findings,
        patience: Duration,
    ) -> Result<(), Dropped> {
        let session = &self.shared.session;
        let dimensions = self.dimensions(to.dimension).await?;
        let rules = &session.settings.drain.rules;
        let data = data(session.agent.role, &self.phases, &findings, rules);
        let setup = |failure: crate::report::Failure| Dropped::Setup(failure.headline());
        let cloudwatch = session.cloudwatch(&self.host).await.map_err(setup)?;
        cloudwatch.put(&to.namespace, &dimensions, &data, patience).await?;
        debug!("CloudWatch has taken {} metrics", data.len());
        Ok(())
    }

    /// By what the host is told apart.
    async fn dimensions(&self, dimension: Dimension) -> Result<Vec<(&'static str, String)>, Dropped> {
        let instance = || ("InstanceId", self.host.instance.as_str().to_owned());
        Ok(match dimension {
            Dimension::Instance => vec![instance()],
            Dimension::Group => vec![self.group().await?],
            Dimension::Both => vec![self.group().await?, instance()],
        })
    }

    /// The group that the host is in; outside one its domain.
    async fn group(&self) -> Result<(&'static str, String), Dropped> {
        let domain = || ("Domain", self.shared.session.settings.dns.domain.as_str().to_owned());
        if !self.grouped {
            return Ok(domain());
        }
        let known = self.shared.group.borrow().clone();
        let group = match known {
            Some(group) => Some(group),
            None => self.ask_for_group().await?,
        };
        Ok(group.map_or_else(domain, |group| ("AutoScalingGroupName", group)))
    }

    /// Asks Auto Scaling, but not again and again where that does not help.
    async fn ask_for_group(&self) -> Result<Option<String>, Dropped> {
        let unanswered = &self.shared.known.group;
        let former = unanswered.borrow().clone().filter(|(at, _)| at.elapsed() < UNANSWERED);
        if let Some((_, why)) = former {
            return Err(Dropped::Group(why));
        }
        match calls::bounded(calls::membership(&self.shared)).await {
            Ok(membership) => Ok(membership.map(|membership| membership.group)),
            Err(why) => {
                unanswered.replace(Some((Instant::now(), why.clone())));
                Err(Dropped::Group(why))
            }
        }
    }
}

/// Returns how many seconds are left until this time.
fn left(end: u64) -> Option<i64> {
    Some(i64::try_from(end).ok()? - i64::try_from(unix_now()).ok()?)
}

/// Leaves an unknown value out; the debug log says why.
fn debug_none<T>(why: &dyn std::fmt::Display) -> Option<T> {
    debug!("left out of the metrics: {why}");
    None
}
