//! `register`: the host gets its name, then joins Scalelite.

use plan::dns::{Desired, Source};
use tokio::time::Instant;
use tracing::debug;

use crate::cli::Only;
use crate::dns::{Zone, refused};
use crate::execute::Executor;
use crate::identity::Host;
use crate::membership::{Applied, Pool};
use crate::report::{self, Exit, Failure, Said, say};
use crate::retry::{Pace, Queued};
use crate::session::{Session, now, within};
use clients::aws::route53::ChangeId;
use clients::bbb::{Bbb, Installation};

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
    let host = session.host(deadline).await?;
    let names = Only::names(options.only);
    let mut live = Ok(());
    if names {
        let desired = host.desired(session.agent.role, session.settings.dns.ttl, now())?;
        let zone = session.zone(&host).await?;
        let mut queued = Queued::once(deadline);
        let (said, change) = zone.register(&desired, Source::Dns, &executor, &mut queued).await?;
        said.say();
        if options.wait && !matches!(said, Said::Shown) {
            // The other half of the time is for joining.
            let patience = deadline.min(within(session.settings.timeouts.register / 2));
            live = lives(&zone, &desired, change.as_ref(), patience).await;
        }
    } else if session.settings.scalelite.is_some()
        && let Some(why) = session.zone(&host).await?.borne_by_another(&host, deadline).await?
    {
        // Without its name a host joins only under one that is no other host's: that one's entry would get its secret.
        return Err(refused(&host.name, &why));
    }
    let joined = match Only::pools(options.only) && session.settings.bbb.is_some() {
        true => join(session, &host, &executor, deadline).await,
        false => Ok(Exit::Done),
    };
    match (joined, live) {
        (joined, Ok(())) => joined.map_err(|failure| if names { but_named(failure) } else { failure }),
        (Ok(_), Err(late)) => Err(late),
        (Err(failure), Err(late)) => {
            report::complain(session.agent.name, &late);
            Err(but_named(failure))
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
    lives(&session.zone(&host).await?, &desired, None, deadline).await
}

async fn lives(
    zone: &Zone,
    desired: &Desired,
    change: Option<&ChangeId>,
    deadline: Instant,
) -> Result<(), Failure> {
    let name = &desired.name;
    match zone.wait_until_live(desired, change, deadline).await {
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
    executor: &Executor,
    deadline: Instant,
) -> Result<Exit, Failure> {
    let Some(settings) = &session.settings.scalelite else {
        say("scalelite: none is configured (scalelite.url), so no load balancer is joined");
        return Ok(Exit::Done);
    };
    let (installation, bbb) = match wait_for_bbb(session, host, deadline).await {
        Err(failure) if matches!(failure.exit, Exit::TryAgain | Exit::WaitingForBbb) => {
            let why = failure.headline();
            say(format_args!("scalelite: waiting for BBB: {why}; run register again when BBB answers"));
            return Ok(Exit::WaitingForBbb);
        }
        ready => ready?,
    };
    let Some(scalelite) = session.scalelite(host, deadline).await? else { return Ok(Exit::Done) };
    let url = installation.scalelite_url();
    let pool = Pool { scalelite: &scalelite, url: &url, secret: &installation.secret, executor, deadline };
    let applied = pool.join(&settings.entry, &bbb).await?;
    report_entry(&url, &applied, executor.is_dry_run());
    Ok(Exit::Done)
}

fn report_entry(url: &str, applied: &Applied, dry_run: bool) {
    match applied.done.as_slice() {
        [] => say(format_args!("scalelite: {url} takes meetings already, nothing to do")),
        // The executor has said what it would do.
        _ if dry_run => return,
        actions => say(format_args!("scalelite: {url} takes meetings now: {}", actions.join(", "))),
    }
    if applied.entries.iter().all(|entry| entry.load.is_none() || !entry.online) {
        say(
            "scalelite: the first meeting is placed here once a poll of Scalelite's (every 60 s by default) has reached this host",
        );
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
