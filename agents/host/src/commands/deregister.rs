//! `deregister`: the host leaves Scalelite, then gives up its name.

use secrecy::SecretString;
use tokio::time::Instant;

use crate::cli::Only;
use crate::dns::{Unnamed, Zone, left_alone};
use crate::execute::Executor;
use crate::identity::Host;
use crate::membership::Pool;
use crate::report::{self, Exit, Failure, say};
use crate::session::{Session, within};
use clients::aws::route53::RecordSets;

/// What `deregister` is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only one half.
    pub only: Option<Only>,
    /// Return only once no authoritative server answers with the name any more.
    pub wait: bool,
    /// Show the plan, change nothing.
    pub dry_run: bool,
}

/// Takes the host out. Doing it again changes nothing. When leaving Scalelite fails, the name is given up all the same:
/// the host is about to go, and a record that stays would outlive it.
///
/// Its caller has the lock, or only looks; `deadline` is for all of it.
pub async fn deregister(session: &Session, options: Options, deadline: Instant) -> Result<Exit, Failure> {
    let executor = Executor::new(session.interrupt.clone(), options.dry_run);
    let host = session.host(deadline).await?;
    let zone = session.zone(&host).await?;
    let left = match Only::pools(options.only) {
        true => leave(session, &host, &zone, &executor, deadline).await,
        false => Ok(()),
    };
    if let Err(failure) = &left {
        if matches!(failure.exit, Exit::Interrupted(_)) || !Only::names(options.only) {
            return Err(failure.clone());
        }
        report::complain(session.agent.name, failure);
    }
    if Only::names(options.only) {
        unname(session, &host, &zone, &executor, options.wait, deadline).await?;
    }
    Ok(left.map_or_else(|failure| failure.exit, |()| Exit::Done))
}

/// Waits until no authoritative server answers with the name any more, after the service has removed it.
pub async fn wait(session: &Session, deadline: Instant) -> Result<(), Failure> {
    let host = session.host(deadline).await?;
    let zone = session.zone(&host).await?;
    zone.wait_until_gone(&host, None, deadline).await?;
    say(format_args!("dns: no name server answers with {} as this host's", host.name));
    Ok(())
}

async fn leave(
    session: &Session,
    host: &Host,
    zone: &Zone,
    executor: &Executor,
    deadline: Instant,
) -> Result<(), Failure> {
    if session.settings.scalelite.is_none() {
        return Ok(());
    }
    // Half of the time is the name's, so that a Scalelite that does not answer cannot keep it.
    let deadline = deadline.min(within(session.settings.timeouts.deregister / 2));
    if let Some(why) = zone.borne_by_another(host, deadline).await? {
        say(left_alone(host, &why));
        return Ok(());
    }
    let Some(scalelite) = session.scalelite(host, deadline).await? else { return Ok(()) };
    let url = own_url(session, host).await?;
    // Leaving compares no secrets.
    let secret = SecretString::default();
    let pool = Pool { scalelite: &scalelite, url: &url, secret: &secret, executor, deadline };
    let applied = pool.leave().await?;
    match applied.done.as_slice() {
        [] => say(format_args!("scalelite: {url} is not there, nothing to do")),
        // The executor has said what it would do.
        _ if executor.is_dry_run() => {}
        actions => say(format_args!("scalelite: {url} removed: {}", actions.join(", "))),
    }
    Ok(())
}

/// The URL under which the host is in Scalelite: BBB's own, or the one that it would have by the host's name.
async fn own_url(session: &Session, host: &Host) -> Result<String, Failure> {
    match session.installation(host).await {
        Some(Ok(installation)) => Ok(installation.scalelite_url()),
        Some(Err(error)) if !error.may_come() => {
            Err(Failure::new(Exit::Failed, "BBB's settings on this host").because(error))
        }
        Some(Err(_)) | None => Ok(host.server_url()),
    }
}

async fn unname(
    session: &Session,
    host: &Host,
    zone: &Zone,
    executor: &Executor,
    wait: bool,
    deadline: Instant,
) -> Result<(), Failure> {
    let ec2 = session.ec2(host).await?;
    let unnamed = zone.deregister(host, &ec2, executor, deadline).await?;
    let (name, calls) = (&host.name, zone.api.calls());
    match unnamed {
        // The executor has said what it would do.
        Unnamed::Planned => {}
        Unnamed::Others(why) => say(format_args!("dns: {name} was left untouched: {why}")),
        Unnamed::Already => {
            say(format_args!("dns: {name} is not there, nothing to do (Route 53 calls: {calls})"));
            // It may have been removed a moment ago.
            if wait {
                zone.wait_until_gone(host, None, deadline).await?;
            }
        }
        Unnamed::Changed(change) if wait => {
            say(format_args!("dns: {name} removed (Route 53 calls: {calls})"));
            zone.wait_until_gone(host, change.as_ref(), deadline).await?;
            say(format_args!("dns: {name} is gone everywhere"));
        }
        Unnamed::Changed(_) => say(format_args!(
            "dns: {name} removed (Route 53 calls: {calls}); name servers may answer with it for about a minute"
        )),
    }
    Ok(())
}
