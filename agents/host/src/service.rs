//! The service that systemd starts: the [`engine`] with everything around it, which is signals, the control socket, the
//! metadata service, metrics, the sweep, and systemd itself.
//!
//! One loop, one thread. Jobs and calls are futures in it, so that nothing is shared between threads; work that may
//! hang is bounded or, as for a spool of recordings and for the log, in a thread of its own.

mod calls;
mod certificate;
mod clock;
pub mod engine;
mod exporter;
pub mod jobs;
mod memory;
mod metrics;
mod name_servers;
pub mod policy;
pub mod registration;
mod requests;
mod shared;
mod sweep;
mod troubles;
mod watch;
mod world;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use plan::lifecycle::{Event, Intent, Kept, Machine, Order, State, StopCause};
use plan::sweep::Turns;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Duration, Instant};
use tracing::{Instrument, Span, error, field, info, info_span, warn};

use self::clock::Started;
use self::engine::{Effect, Engine, Finished, Happened, at};
use self::exporter::{Exporter, Question};
use self::metrics::Metrics;
use self::policy::Remains;
use self::requests::Requests;
use self::shared::Shared;
use self::troubles::{Failing, Troubles};
use self::watch::Watch;
use crate::agent::Agent;
use crate::cli::Common;
use crate::config::settings::Settings;
use crate::control::{Conversation, Listener, Lock, Request};
use crate::identity::Host;
use crate::interrupt::{Interrupt, Trigger};
use crate::log;
use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience};
use crate::session::{Session, within};
use crate::startup;
use clients::systemd::{self, Notifier};

/// The time that the service may take beyond its own patience when it stops, before systemd kills it.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// Runs the service until it is told to stop.
pub fn serve(agent: &Agent, common: &Common) -> Exit {
    log::in_background();
    let exit = startup::plain(agent, prepare(agent, common));
    log::flush();
    exit
}

fn prepare(agent: &Agent, common: &Common) -> Result<Exit, Failure> {
    let settings = startup::configured(agent, common)?;
    log::start(agent.name, common.log_level.unwrap_or(settings.log_level));
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, "cannot start").because(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let span = info_span!(target: log::HOST, "host", instance_id = field::Empty, fqdn = field::Empty);
    let result = runtime.block_on(
        async {
            let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map_err(failed)?;
            let (_never, interrupt) = Interrupt::manual();
            let session = Session::new(*agent, settings, interrupt)?;
            run(session, common.clone(), signals).await
        }
        .instrument(span),
    );
    // Whatever still hangs in a thread must not keep the process.
    runtime.shutdown_background();
    result
}

/// Runs the service with this session until a signal ends it; `common` is for reading the configuration again. Belongs
/// into a span with the fields `instance_id` and `fqdn`, which it fills in.
pub async fn run(session: Session, common: Common, signals: Signals) -> Result<Exit, Failure> {
    Service::start(session, common, signals).await?.run().await
}

/// The result of a future beside the engine.
enum Done {
    /// Who this host is.
    Host(Box<Host>),
    /// The metadata service says something new.
    Told(Box<Watch>, Intent),
    /// Why the service stops.
    Cause(StopCause),
    /// The turns to sweep, or the care for the fleet's certificate, were ended.
    Ended,
    /// The host's metrics were sent, or not.
    Metrics(metrics::Sent),
}

type Work = Pin<Box<dyn Future<Output = Done>>>;

/// The running service.
struct Service {
    engine: Engine<Shared>,
    common: Common,
    signals: Signals,
    notifier: Notifier,
    /// Held as long as the service runs.
    _lock: Lock,
    listener: Listener,
    /// The interval at which the metadata service is asked.
    every: Rc<Cell<Duration>>,
    /// Has the metadata service asked now.
    hurry: Rc<Notify>,
    /// Everything that goes on beside the engine.
    work: FuturesUnordered<Work>,
    /// Ends this host's turns to sweep.
    sweeping: Option<Trigger>,
    /// Ends the care for the fleet's certificate.
    certificate: Option<Trigger>,
    /// Held while the helper puts it into place.
    placing: Rc<Mutex<()>>,
    /// The facts that are kept from one turn to the next.
    turns: Rc<Cell<Turns>>,
    requests: Requests,
    metrics: Metrics,
    /// Answers Prometheus.
    exporter: Exporter,
    /// The words that systemd was told last.
    words: String,
    /// The intent that the metadata service told before this host knew its own name.
    intent: Option<Intent>,
    is_known: bool,
    is_ready: bool,
    is_stopping: bool,
}

impl Service {
    /// Waits for the lock, then makes the socket: a command by hand that is under way comes first.
    async fn start(session: Session, common: Common, signals: Signals) -> Result<Self, Failure> {
        let notifier = Notifier::from_env();
        let settings = &session.settings;
        let directory = &settings.service.directory;
        notifier.status("waiting for another command to end");
        let mut signals = signals;
        let lock = tokio::select! {
            lock = Lock::take(directory, within(settings.timeouts.register)) => lock?,
            Some(signal) = terminated(&mut signals) => {
                return Err(Failure::new(Exit::Interrupted(signal), "stopped while another command was at work"));
            }
        };
        let listener = Listener::bind(&lock)?;
        let kept = memory::read(directory);
        let machine = Machine::new(policy::of(settings), kept.clone());
        let started = Started::now();
        let every = Rc::new(Cell::new(settings.service.metadata));
        let hurry = Rc::new(Notify::new());
        let metrics = Metrics::new(settings.metrics.as_ref(), &machine, started.moment());
        let troubles = Rc::new(Troubles::new(started));
        let watch = Watch::new(
            session.imds().clone(),
            Rc::clone(&every),
            Rc::clone(&hurry),
            started,
            Rc::clone(&troubles),
            &kept,
        );
        info!(
            state = machine.state().name(),
            "the service begins, remembering {:?} of this boot", kept.memory
        );
        let shared = Rc::new(Shared::new(session, started, &kept, troubles));
        let mut service = Self {
            engine: Engine::new(shared, machine),
            common,
            signals,
            notifier,
            _lock: lock,
            listener,
            every,
            hurry,
            work: FuturesUnordered::new(),
            sweeping: None,
            certificate: None,
            placing: Rc::default(),
            turns: Rc::default(),
            requests: Requests::default(),
            metrics,
            exporter: Exporter::default(),
            words: String::new(),
            intent: None,
            is_known: false,
            is_ready: false,
            is_stopping: false,
        };
        service.export();
        service.watch(watch);
        Ok(service)
    }

    /// Waits for what the metadata service says next. Not in the loop's own select, which would break off a reading
    /// whenever something else happens.
    fn watch(&mut self, watch: Watch) {
        self.work.push(Box::pin(async move {
            let (watch, intent) = watch.next().await;
            Done::Told(Box::new(watch), intent)
        }));
    }

    fn shared(&self) -> &Rc<Shared> {
        self.engine.world()
    }

    async fn run(mut self) -> Result<Exit, Failure> {
        self.tell();
        let mut alive = Instant::now();
        while self.engine.end().is_none() {
            let settled = self.requests.wake();
            let metrics = self.metrics.wake();
            let troubles = Rc::clone(&self.engine.world().troubles);
            tokio::select! {
                Some(signal) = self.signals.next() => self.signalled(signal),
                (request, conversation) = self.listener.next() => self.receive(request, conversation),
                happened = self.engine.next() => self.happened(happened),
                Some(done) = self.work.next() => self.done(done),
                () = at(settled) => {}
                () = at(metrics) => self.measure(),
                question = self.exporter.next(&troubles) => self.scraped(question),
                () = at(self.notifier.watchdog_interval().map(|interval| alive + interval)) => {
                    self.notifier.ping();
                    alive = Instant::now();
                    if let State::Stopping(stopping) = self.engine.machine().state() {
                        self.notifier.extend(stopping.until.saturating_sub(self.engine.now()) + STOP_MARGIN);
                    }
                }
            }
            let (machine, session) = (self.engine.machine(), &self.engine.world().session);
            self.requests.settle(machine, session, self.engine.now());
            self.tell();
        }
        self.finish().await
    }

    fn receive(&mut self, request: Request, conversation: Conversation) {
        let (machine, shared, now) = (self.engine.machine(), self.engine.world(), self.engine.now());
        let order = self.requests.receive(request, conversation, machine, &self.metrics, shared, now);
        if let Some(order) = order {
            if order == Order::Register {
                // An operator who stands before the host does not want to wait for other hosts.
                self.shared().registration.came_up();
            }
            self.feed(Event::Ordered(order));
        }
    }

    /// Sends the host's metrics. Nothing waits for that.
    fn measure(&mut self) {
        if let Some(work) = self.metrics.send(self.engine.world(), self.engine.machine(), self.engine.now()) {
            self.work.push(Box::pin(async move { Done::Metrics(work.await) }));
        }
    }

    /// Opens the place where Prometheus asks, or closes it, by the present settings.
    fn export(&mut self) {
        let shared = Rc::clone(self.shared());
        let listen = shared.session.settings.metrics.as_ref().and_then(|metrics| metrics.listen.as_ref());
        let private = shared.host.get().map(|host| host.private_ipv4);
        self.exporter.configure(listen, private, &shared.troubles);
    }

    fn scraped(&self, question: Question) {
        let (shared, machine, now) = (self.engine.world(), self.engine.machine(), self.engine.now());
        let text = self.metrics.render(shared, machine, now, question.format);
        question.answer(text);
    }

    async fn finish(self) -> Result<Exit, Failure> {
        let Self { engine, requests, listener, .. } = self;
        let session = &engine.world().session;
        requests.close();
        listener.finish().await;
        match engine.end() {
            Some(Err(words)) => {
                Err(Failure::new(Exit::TryAgain, "not everything was undone in time").because(words).advise(
                    format!("{} deregister does the rest, if this host is still there", session.agent.name),
                ))
            }
            _ => Ok(Exit::Done),
        }
    }

    /// Takes in an event, and does what the engine leaves to its owner.
    fn feed(&mut self, event: Event) {
        let effects = self.engine.feed(event);
        self.metrics.follow(self.engine.machine(), self.engine.now());
        for effect in effects {
            match effect {
                Effect::Moved(before) => {
                    self.forget();
                    let (state, words) = (self.engine.machine().state().name(), self.engine.words());
                    info!(state, reason = words.as_str(), "{before} -> {state}: {words}");
                }
                Effect::Ready => {
                    self.is_ready = true;
                    self.notifier.ready();
                }
                Effect::Remember(kept) => self.remember(&kept),
                Effect::Refuse(why) => self.requests.refuse(why),
                Effect::Illegal(why) => error!("the service is mistaken: {why}"),
            }
        }
    }

    fn happened(&mut self, Happened { finished, events }: Happened) {
        if let Some(Finished { job, trouble, lasting, lines, .. }) = finished {
            for line in &lines {
                self.requests.line(line);
            }
            let result = match &trouble {
                None => Some(Ok(())),
                Some(trouble) => Failing::of(trouble).map(Err),
            };
            if let Some(result) = result {
                let state = self.engine.machine().state().name();
                self.shared().troubles.take(jobs::part(job), job.name(), Some(state), result);
            }
            self.metrics.ended(job, trouble.as_ref().map(|trouble| &trouble.kind));
            let failure = trouble.as_ref().zip(lasting).map(|(trouble, exit)| (exit, trouble.words.as_str()));
            self.requests.ended(job, failure);
        }
        for event in events {
            if self.engine.end().is_none() {
                self.feed(event);
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Told(watch, intent) => {
                self.watch(*watch);
                self.told(intent);
            }
            Done::Host(host) => self.known(*host),
            Done::Cause(cause) => self.feed(Event::Stop(cause)),
            Done::Ended => {}
            Done::Metrics(sent) => {
                let troubles = Rc::clone(&self.shared().troubles);
                self.metrics.sent(sent, &troubles);
            }
        }
    }

    /// Forgets the troubles with what is not looked after in the present state.
    fn forget(&self) {
        let over: &[&str] = match self.engine.machine().state() {
            State::Leaving(_) | State::Stopping(_) => &[jobs::NAME, jobs::ENTRY],
            State::Unregistered(_) => &[jobs::NAME, jobs::ENTRY, jobs::LEAVING],
            _ => &[],
        };
        self.shared().troubles.forget(over);
    }

    /// Before anything else, the host's name has to be known: the log is filtered by it.
    fn told(&mut self, intent: Intent) {
        if self.is_known {
            return self.feed(Event::Told(intent));
        }
        if self.intent.replace(intent).is_none() {
            self.ask_who();
        }
    }

    fn ask_who(&mut self) {
        let shared = Rc::clone(self.shared());
        self.work.push(Box::pin(async move {
            let session = &shared.session;
            let mut pace = Pace::remote(within(session.settings.timeouts.imds));
            loop {
                let soon = Patience::once(within(session.settings.timeouts.imds));
                let found = session.host(soon).await;
                let why = found.as_ref().err().map(Failure::headline);
                let failing = why
                    .as_deref()
                    .map(|why| Failing::new(why, format!("who this host is cannot be found out: {why}")));
                shared.troubles.take(
                    "finding out who this host is",
                    "identity",
                    None,
                    failing.map_or(Ok(()), Err),
                );
                if let Ok(host) = found {
                    return Done::Host(Box::new(host));
                }
                if !pace.look_again().await {
                    pace = Pace::remote(within(session.settings.timeouts.imds));
                }
            }
        }));
    }

    fn known(&mut self, host: Host) {
        self.is_known = true;
        let span = Span::current();
        span.record("instance_id", host.instance.as_str());
        span.record("fqdn", host.name.as_str());
        info!("this host is {} ({})", host.name, host.instance);
        let _ = self.shared().host.set(host);
        self.export();
        self.sweep();
        self.look_after_certificate();
        if let Some(intent) = self.intent.take() {
            self.feed(Event::Told(intent));
        }
    }

    /// Begins to take turns to sweep with the present settings, or to take none.
    fn sweep(&mut self) {
        if let Some(former) = self.sweeping.take() {
            former.pull();
        }
        if !self.shared().session.settings.sweep.enabled || !self.is_known || self.is_stopping {
            return;
        }
        let (trigger, interrupt) = Interrupt::manual();
        self.sweeping = Some(trigger);
        let turns = sweep::take_turns(Rc::clone(self.shared()), Rc::clone(&self.turns), interrupt);
        self.work.push(Box::pin(async move {
            turns.await;
            Done::Ended
        }));
    }

    /// Begins to look after the fleet's certificate with the present settings, at once, or ends that.
    fn look_after_certificate(&mut self) {
        if let Some(former) = self.certificate.take() {
            former.pull();
        }
        let shared = Rc::clone(self.shared());
        let Some(certificate) = shared.session.settings.certificate.clone() else { return };
        if !self.is_known || self.is_stopping {
            return;
        }
        let (trigger, interrupt) = Interrupt::manual();
        self.certificate = Some(trigger);
        let placing = Rc::clone(&self.placing);
        self.work.push(Box::pin(async move {
            certificate::keep(&shared, &certificate, &placing, interrupt).await;
            Done::Ended
        }));
    }

    fn signalled(&mut self, signal: i32) {
        match signal {
            SIGHUP => self.reload(),
            SIGUSR1 => {
                info!(action = "check", "SIGUSR1: looking at everything again");
                self.hurry.notify_one();
                self.look_after_certificate();
                self.shared().session.forget_turn_servers();
                self.feed(Event::Ordered(Order::Check));
            }
            // A second one changes nothing: what is under way is what it asks for.
            _ if self.is_stopping => {}
            _ => {
                self.is_stopping = true;
                self.sweep();
                self.look_after_certificate();
                self.notifier.stopping();
                let session = &self.shared().session;
                self.notifier.extend(session.settings.timeouts.deregister + STOP_MARGIN);
                let unit = session.agent.unit();
                self.work.push(Box::pin(async move { Done::Cause(systemd::stop_cause(&unit).await) }));
            }
        }
    }

    /// Reads the configuration again. A bad one is refused, and the old one stays.
    fn reload(&mut self) {
        if self.is_ready {
            self.notifier.reloading();
        }
        let agent = self.shared().session.agent;
        let (_never, interrupt) = Interrupt::manual();
        let session = startup::configured(&agent, &self.common)
            .and_then(|settings| self.stays(settings))
            .and_then(|(settings, host)| Ok((Session::new(agent, settings, interrupt)?, host)));
        match session {
            Ok((session, host)) => {
                info!(action = "reload", "SIGHUP: the configuration was read again");
                let policy = policy::of(&session.settings);
                self.every.set(session.settings.service.metadata);
                self.metrics.configure(session.settings.metrics.as_ref());
                self.engine.move_to(Rc::new(Shared::after(self.shared(), session)));
                if let Some(host) = host {
                    Span::current().record("fqdn", host.name.as_str());
                    let _ = self.shared().host.set(host);
                }
                self.export();
                self.sweep();
                self.look_after_certificate();
                self.feed(Event::Configured(Box::new(policy)));
            }
            Err(failure) => {
                let why = failure.headline();
                error!(action = "reload", "SIGHUP: the old configuration stays in use: {why}");
            }
        }
        if self.is_ready {
            self.notifier.ready();
        }
    }

    /// New settings with who this host is by them, unless the host would leave something behind.
    fn stays(&self, settings: Settings) -> Result<(Settings, Option<Host>), Failure> {
        let shared = self.shared();
        let mut settings = settings;
        if let Some(key) = policy::moved(&shared.session.settings, &settings) {
            let name = shared.session.agent.name;
            let refused =
                |what: String| Err(Failure::new(Exit::Usage, format!("{key} cannot be changed {what}")));
            match policy::remains(self.engine.machine().state(), shared.registration.records()) {
                Remains::Nothing => {}
                Remains::Something => {
                    return refused(format!(
                        "while the host is registered with the old one: run {name} deregister, reload, then register"
                    ));
                }
                Remains::Unknown => {
                    return refused(format!(
                        "while it is not known whether the host is registered with the old one: reload again in a moment, or run {name} deregister before"
                    ));
                }
            }
        }
        let directory = &shared.session.settings.service.directory;
        if settings.service.directory != *directory {
            let new = std::mem::replace(&mut settings.service.directory, directory.clone());
            warn!(
                action = "reload",
                "service.directory stays {} until the service is restarted; commands that look for it in {} do not find it",
                directory.display(),
                new.display()
            );
        }
        let host = shared.host.get().cloned().map(|host| host.renamed(&settings.dns)).transpose()?;
        Ok((settings, host))
    }

    fn remember(&self, kept: &Kept) {
        self.shared().entered(kept.joined);
        if let Err(error) = memory::write(&self.shared().session.settings.service.directory, kept) {
            let memory = kept.memory;
            warn!("cannot remember {memory:?} for the next start of the service: {error}");
        }
    }

    /// Tells systemd what the service does, when that has changed.
    fn tell(&mut self) {
        let words = self.engine.words();
        if words != self.words {
            self.notifier.status(&words);
            self.words = words;
        }
    }
}

/// The first signal that ends the service.
async fn terminated(signals: &mut Signals) -> Option<i32> {
    loop {
        match signals.next().await {
            Some(SIGHUP | SIGUSR1) => {}
            other => return other,
        }
    }
}
