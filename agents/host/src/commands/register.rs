//! `register`: the host gets its name, then joins Scalelite.

use plan::dns::{Desired, Source};
use tokio::time::Instant;
use tracing::debug;

use crate::cli::Only;
use crate::dns::{Named, Zone, addresses_words, refused};
use crate::execute::Executor;
use crate::identity::Host;
use crate::membership::{Applied, Pool};
use crate::report::{self, Exit, Failure, say};
use crate::retry::{Pace, Queued};
use crate::session::{Session, now, within};
use clients::aws::route53::{ChangeId, RecordSets};
use clients::bbb::{self, Bbb, Installation};

/// What `register` is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only one half.
    pub only: Option<Only>,
    /// Return only once every authoritative server answers with the new record sets.
    pub wait: bool,
    /// Show the plan, change nothing.
    pub dry_run: bool,
}

/// Registers the host. Doing it again changes nothing. A name that is not live everywhere in time does not keep the host
/// from joining: one dead name server would keep a whole fleet out.
///
/// Its caller has the lock, or only looks; `deadline` is for all of it.
pub async fn register(session: &Session, options: Options, deadline: Instant) -> Result<Exit, Failure> {
    let executor = Executor::new(session.interrupt.clone(), options.dry_run);
    let host = session.host(deadline).await?;
    let names = Only::names(options.only);
    let live = match names {
        true => name(session, &host, &executor, options.wait, deadline).await?,
        false => {
            is_own(session, &host, deadline).await?;
            Ok(())
        }
    };
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

/// Gives the host its name. The inner error says why it is not live everywhere.
async fn name(
    session: &Session,
    host: &Host,
    executor: &Executor,
    wait: bool,
    deadline: Instant,
) -> Result<Result<(), Failure>, Failure> {
    let desired = host.desired(session.agent.role, session.settings.dns.ttl, now())?;
    let zone = session.zone(host).await?;
    let named = zone.register(&desired, Source::Dns, executor, &mut Queued::once(deadline)).await?;
    let calls = zone.api.calls();
    let name = &host.name;
    match &named {
        // The executor has said what it would do.
        Named::Planned => return Ok(Ok(())),
        Named::Already => {
            say(format_args!("dns: {name} is registered already, nothing to do (Route 53 calls: {calls})"));
        }
        Named::Changed(..) | Named::Confirmed => {
            let addresses = desired.addresses();
            say(format_args!(
                "dns: {name} registered: {} (Route 53 calls: {calls})",
                addresses_words(&addresses)
            ));
        }
    }
    if !wait {
        return Ok(Ok(()));
    }
    let change = match &named {
        Named::Changed(id) => Some(id),
        Named::Already | Named::Confirmed | Named::Planned => None,
    };
    // The other half of the time is for joining.
    let patience = deadline.min(within(session.settings.timeouts.register / 2));
    Ok(lives(&zone, &desired, change, patience).await)
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

/// Without its name a host joins only under one that is no other host's: that one's entry would get its secret.
async fn is_own(session: &Session, host: &Host, deadline: Instant) -> Result<(), Failure> {
    if session.settings.scalelite.is_none() {
        return Ok(());
    }
    let borne = session.zone(host).await?.borne_by_another(host, deadline).await?;
    borne.map_or(Ok(()), |why| Err(refused(&host.name, &why)))
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
    let (installation, bbb) = match wait_for_bbb(session, host, deadline).await? {
        Ok(ready) => ready,
        Err(why) => {
            say(format_args!("scalelite: waiting for BBB: {why}; run register again when BBB answers"));
            return Ok(Exit::WaitingForBbb);
        }
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

/// Waits until the API of this host's BBB answers. The inner error says why it is not there yet.
async fn wait_for_bbb(
    session: &Session,
    host: &Host,
    deadline: Instant,
) -> Result<Result<(Installation, Bbb), String>, Failure> {
    let mut pace = Pace::local(deadline.min(within(session.settings.timeouts.bbb)));
    loop {
        // Read again each time: the installer may be at work, and BBB restarts some time after its secret was changed.
        let installation = match session.installation(host).await {
            None => return Ok(Err("this is no BBB host".to_owned())),
            Some(Ok(installation)) => installation,
            Some(Err(error)) if error.may_come() => return Ok(Err(error.to_string())),
            Some(Err(error)) => {
                return Err(Failure::new(Exit::Failed, "BBB's settings on this host").because(error));
            }
        };
        let bbb = Bbb::of(session.local_client(&installation.server_url)?, &installation);
        // This call, unlike the one for the version, proves that BBB runs with the secret of its property files.
        let error = match bbb.meetings().await {
            Ok(_) => return Ok(Ok((installation, bbb))),
            Err(error @ bbb::Error::Distrusted { .. }) => return Ok(Err(error.to_string())),
            Err(error) => error,
        };
        if !error.is_retryable() {
            return Err(Failure::new(Exit::Failed, "the BBB API of this host").because(error));
        }
        debug!("{error}");
        if !pace.look_again().await {
            return Ok(Err(error.to_string()));
        }
    }
}
