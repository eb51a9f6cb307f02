//! `register`: the host gets its name, then joins Scalelite.

use std::cell::RefCell;

use plan::addresses::{Announced, decide};
use plan::dns::{Desired, Source};
use plan::membership::{Entry, State};
use plan::time::duration;
use tokio::time::{Duration, Instant};
use tracing::debug;

use crate::cli::Only;
use crate::dns::{Registered, Zone, refused};
use crate::execute::Executor;
use crate::identity::Host;
use crate::membership::{Applied, Known, Note, Pool};
use crate::report::{self, Exit, Failure, Said, say};
use crate::retry::{Pace, Patience, Queued};
use crate::session::{Session, now, within};
use crate::succession::{Bounds, Heir, Inquiry};
use clients::aws::route53::ChangeId;
use clients::bbb::{Bbb, Installation};
use clients::scalelite::Scalelite;

/// The time after which servers that do not show a change are no longer taken for slow.
const OVERDUE: Duration = Duration::from_secs(60);

/// The options of `register`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only one half.
    pub only: Option<Only>,
    /// Return only once every authoritative server answers with the new record sets.
    pub wait: bool,
    /// Show the plan, change nothing.
    pub dry_run: bool,
}

/// Registers the host. Doing it again changes nothing. A name that is not live everywhere in time does not keep the
/// host from joining: one dead name server would keep a whole fleet out.
///
/// Its caller has the lock, or only looks; `deadline` is for all of it.
pub async fn register(session: &Session, options: Options, deadline: Instant) -> Result<Exit, Failure> {
    let executor = Executor::new(session.interrupt.clone(), options.dry_run);
    let names = Only::names(options.only);
    let host = match names && options.wait {
        true => with_address(session, options.only, deadline).await?,
        false => session.host_ahead(deadline, options.only).await?,
    };
    let named = async {
        match names {
            true => name(session, &host, options.wait, &executor, deadline).await,
            false => may_join(session, &host, deadline).await.map(|()| None),
        }
    };
    let joins = Only::pools(options.only) && session.settings.bbb.is_some();
    // What joining needs is read meanwhile, unless the wait for the servers would make it out of date.
    let early = async {
        Ok(match joins && !options.wait && session.settings.scalelite.is_some() {
            true => {
                let prepared = prepare(session, &host, deadline).await;
                if names {
                    prepared.read_ahead().await;
                }
                Some(prepared)
            }
            false => None,
        })
    };
    let (late, early) = tokio::try_join!(named, early)?;
    let joined = match joins {
        true => join(session, &host, early, &executor, deadline).await,
        false => Ok(Exit::Done),
    };
    match (joined, late) {
        (joined, None) => joined.map_err(|failure| if names { but_named(failure) } else { failure }),
        (Ok(_), Some(late)) => Err(late),
        (Err(failure), Some(late)) => {
            report::complain(session.agent.name, &late);
            Err(but_named(failure))
        }
    }
}

/// Makes the name as desired. Returns why it is not live in time, where that is waited for, or why the host has no share.
async fn name(
    session: &Session,
    host: &Host,
    wait: bool,
    executor: &Executor,
    deadline: Instant,
) -> Result<Option<Failure>, Failure> {
    let desired = host.desired(session.agent.role, session.settings.dns.ttl, now())?;
    let zone = session.zone(host).await?;
    let mut queued = Queued::alone(deadline);
    let inquiry = RefCell::new(Inquiry::default());
    let heir = match Bounds::of(&session.settings) {
        Some(bounds) => {
            let (role, ec2) = (session.agent.role, session.ec2(host).await?);
            Some(Heir { bounds, host, role, ec2, inquiry: &inquiry, patience: deadline.into() })
        }
        None => None,
    };
    let registered = loop {
        let registered =
            zone.register(&desired, Source::Dns, heir.as_ref(), executor, &mut queued, |_| {}).await;
        match registered {
            Ok(registered) => break registered,
            Err(failure) => match failure.turn() {
                Some(wait) => Patience::from(deadline).pause(&failure, wait).await?,
                None => return Err(failure),
            },
        }
    };
    let Registered { said, change, bar } = registered;
    said.say();
    let desired = if bar.is_some() { desired.without_share() } else { desired };
    let barred = bar.map(|words| {
        Failure::new(Exit::Partly, words)
            .advise("check says more; without turn.shared_name the host wants no share")
    });
    if !wait || matches!(said, Said::Shown) {
        return Ok(barred);
    }
    // The other half of the time is for joining.
    let patience = deadline.min(within(session.settings.timeouts.register / 2));
    Ok(lives(session, zone, &desired, change.as_ref(), patience).await.err().or(barred))
}

/// Fails where the name is another host's. Without its name a host joins only under one that is no other host's: that
/// one's entry would get its secret.
async fn may_join(session: &Session, host: &Host, deadline: Instant) -> Result<(), Failure> {
    if session.settings.scalelite.is_none() {
        return Ok(());
    }
    let borne = session.zone(host).await?.borne_by_another(host, &mut Queued::alone(deadline)).await?;
    borne.map_or(Ok(()), |why| Err(refused(&host.name, &why)))
}

/// The needs of joining: BBB, and Scalelite, whose secret is not asked for as long as BBB does not answer.
struct Prepared {
    bbb: Result<(Installation, Bbb), Failure>,
    scalelite: Result<Option<Scalelite>, Failure>,
    /// The host's entries, as far as they were read ahead.
    known: Known,
}

async fn prepare(session: &Session, host: &Host, deadline: Instant) -> Prepared {
    let bbb = wait_for_bbb(session, host, deadline).await;
    let scalelite = match bbb.is_ok() {
        true => session.scalelite(host, deadline).await,
        false => Ok(None),
    };
    Prepared { bbb, scalelite, known: Known::default() }
}

impl Prepared {
    /// Reads the host's entries while its name is still under way.
    async fn read_ahead(&self) {
        if let (Ok((installation, _)), Ok(Some(scalelite))) = (&self.bbb, &self.scalelite) {
            let url = installation.scalelite_url();
            self.known.read_ahead(scalelite, &url, &installation.secret).await;
        }
    }
}

/// Waits until the host has the address that it should have, and no open relay: an Elastic IP may be associated late.
async fn with_address(session: &Session, only: Option<Only>, deadline: Instant) -> Result<Host, Failure> {
    let mut pace = Pace::local(deadline);
    loop {
        let host = session.host_ahead(deadline, only).await?;
        match host.lack() {
            Some(lack) => pace.again("this host", &lack).await?,
            None => return Ok(host),
        }
    }
}

/// A failure to join of a host that has its name: what stops the host later has something to undo.
fn but_named(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Interrupted(_) => failure,
        _ => failure.with_exit(Exit::Partly),
    }
}

/// Waits until the name is live everywhere, after the service has registered it.
pub async fn wait(session: &Session, deadline: Instant) -> Result<(), Failure> {
    let host = session.host(deadline).await?;
    let desired = host.desired(session.agent.role, session.settings.dns.ttl, now())?;
    lives(session, session.zone(&host).await?, &desired, None, deadline).await
}

/// Waits until the name is live. Servers that were not found before are looked for once more: the resolver may have
/// come up meanwhile. Servers that do not show the name for long are compared with the hosted zone's own, and these are
/// asked if they are others.
async fn lives(
    session: &Session,
    mut zone: Zone,
    desired: &Desired,
    change: Option<&ChangeId>,
    deadline: Instant,
) -> Result<(), Failure> {
    let name = &desired.name;
    if zone.servers.is_err() {
        zone.servers = session.name_servers().await;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let mut live = zone.wait_until_live(desired, change, deadline.min(within(OVERDUE.min(left / 2)))).await;
    if live.as_ref().is_err_and(|late| late.exit == Exit::Partly) {
        if let Some(other) = session.doubt(&zone).await {
            say(format_args!("dns: {}; the zone's own are asked", other.words));
            zone.servers = other.servers;
        }
        live = zone.wait_until_live(desired, change, deadline).await;
    }
    match live {
        Ok(Source::Dns) => say(format_args!("dns: {name} is live on every authoritative server")),
        Ok(Source::Api) => {
            say(format_args!("dns: {name} is in Route 53; no authoritative server could be asked"));
        }
        Err(late) => return Err(late.with_exit(Exit::Partly)),
    }
    Ok(())
}

async fn join(
    session: &Session,
    host: &Host,
    early: Option<Prepared>,
    executor: &Executor,
    deadline: Instant,
) -> Result<Exit, Failure> {
    let Some(settings) = &session.settings.scalelite else {
        say("scalelite: none is configured (scalelite.url), so no load balancer is joined");
        return Ok(Exit::Done);
    };
    let prepared = match early {
        Some(prepared) => prepared,
        None => prepare(session, host, deadline).await,
    };
    let (installation, bbb) = match prepared.bbb {
        Err(failure) if matches!(failure.exit, Exit::TryAgain | Exit::WaitingForBbb) => {
            let why = failure.headline();
            say(format_args!("scalelite: waiting for BBB: {why}; run register again when BBB answers"));
            return Ok(Exit::WaitingForBbb);
        }
        ready => ready?,
    };
    if let Some(why) = misannounced(session, host).await {
        say(format_args!(
            "scalelite: not joined: {why}; set it right and run register again, or let the service do so (bbb.addresses = \
             \"repair\"), or set bbb.addresses to \"ignore\""
        ));
        return Ok(Exit::WaitingForBbb);
    }
    let Some(scalelite) = prepared.scalelite? else { return Ok(Exit::Done) };
    let url = installation.scalelite_url();
    let pool = Pool {
        scalelite: &scalelite,
        url: &url,
        secret: &installation.secret,
        known: &prepared.known,
        executor,
        patience: deadline.into(),
    };
    let note = session.note(&host.instance);
    let wanted = Note::completes(note.as_ref(), settings.entry.clone());
    let applied = pool.join(State::Enabled, &wanted, &bbb).await?;
    if !executor.is_dry_run() {
        session.keep_note(None);
    }
    if applied.enabled {
        session.enabled(true);
    }
    report_entry(&url, &applied, settings.poll_interval, executor.is_dry_run());
    Ok(Exit::Done)
}

/// Returns which other address than the host's BBB announces, if that keeps the host out.
async fn misannounced(session: &Session, host: &Host) -> Option<Announced> {
    let on = session.settings.addresses.on;
    let announced = session.announced(host, None).await;
    decide(on, Some(&announced)).keeps_out().then_some(announced)
}

fn report_entry(url: &str, applied: &Applied, poll: Duration, dry_run: bool) {
    if applied.done.is_empty() {
        say(format_args!("scalelite: {url} is enabled already, nothing to do"));
    } else if dry_run {
        // The executor has said what it would do.
        return;
    } else {
        say(format_args!("scalelite: {url} is enabled: {}", applied.done.join(", ")));
    }
    match applied.entries.iter().any(Entry::is_polled) {
        true => say("scalelite: meetings are placed on this host"),
        false => say(format_args!(
            "scalelite: the first meeting is placed here once a poll of Scalelite's (every {}) has reached this host",
            duration(poll)
        )),
    }
    if let [_, superfluous @ ..] = applied.entries.as_slice()
        && !superfluous.is_empty()
    {
        let count = superfluous.len();
        say(format_args!(
            "scalelite: {count} superfluous entries stay until no meeting runs here; run register again then"
        ));
    }
}

/// Waits until the API of this host's BBB answers, or until nothing comes of waiting.
async fn wait_for_bbb(
    session: &Session,
    host: &Host,
    deadline: Instant,
) -> Result<(Installation, Bbb), Failure> {
    let mut pace = Pace::local(deadline.min(within(session.settings.timeouts.bbb)));
    loop {
        // Read again each time: the installer may be at work, and BBB restarts some time after its secret was changed.
        let ready = session.ready_bbb(session.installation(host).await).await;
        match &ready {
            Err(failure) if failure.exit == Exit::TryAgain => debug!("{}", failure.headline()),
            _ => return ready,
        }
        if !pace.look_again().await {
            return ready;
        }
    }
}
