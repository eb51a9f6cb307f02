//! `deregister`: the host leaves Scalelite, then gives up its name.

use secrecy::SecretString;
use tokio::time::Instant;

use crate::cli::Only;
use crate::dns::{Zone, left_alone};
use crate::execute::Executor;
use crate::identity::Host;
use crate::membership::{Known, Pool};
use crate::report::{self, Exit, Failure, Said, say};
use crate::retry::Queued;
use crate::session::{Session, scalelite_url, within};

/// The options of `deregister`.
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
    let host = session.host_ahead(deadline, options.only).await?;
    let zone = zone(session, &host, options.wait && Only::names(options.only)).await?;
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
        unname(session, &host, zone, &executor, options.wait, deadline).await?;
    }
    Ok(left.map_or_else(|failure| failure.exit, |()| Exit::Done))
}

/// Waits until no authoritative server answers with the name any more, after the service has removed it.
pub async fn wait(session: &Session, deadline: Instant) -> Result<(), Failure> {
    let host = session.host(deadline).await?;
    let zone = zone(session, &host, true).await?;
    zone.wait_until_gone(&host, None, deadline).await?;
    say(format_args!("dns: no name server answers with {} as this host's", host.name));
    Ok(())
}

/// Returns the zone. `surely` says that its servers' word will be taken for the end, so they must not be another
/// zone's, which never has the name.
async fn zone(session: &Session, host: &Host, surely: bool) -> Result<Zone, Failure> {
    let mut zone = session.zone(host).await?;
    if surely && let Some(other) = session.doubt(&zone).await {
        say(format_args!("dns: {}; the zone's own are asked", other.words));
        zone.servers = other.servers;
    }
    Ok(zone)
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
    if let Some(why) = zone.borne_by_another(host, &mut Queued::alone(deadline)).await? {
        say(left_alone(host, &why));
        return Ok(());
    }
    let Some(scalelite) = session.scalelite(host, deadline).await? else { return Ok(()) };
    let url = scalelite_url(session.installation(host).await, None, host)?;
    // Leaving compares no secrets.
    let secret = SecretString::default();
    let (scalelite, known, patience) = (&scalelite, &Known::default(), deadline.into());
    let pool = Pool { scalelite, url: &url, secret: &secret, known, executor, patience };
    pool.leave(|_| {}).await?.say();
    if !executor.is_dry_run() {
        session.enabled(false);
    }
    Ok(())
}

async fn unname(
    session: &Session,
    host: &Host,
    zone: Zone,
    executor: &Executor,
    wait: bool,
    deadline: Instant,
) -> Result<(), Failure> {
    let ec2 = session.ec2(host).await?;
    let (said, change) = zone.deregister(host, &ec2, executor, &mut Queued::alone(deadline)).await?;
    let zone = match wait && zone.servers.is_err() {
        // The resolver may have come up meanwhile.
        true => self::zone(session, host, true).await?,
        false => zone,
    };
    match &said {
        Said::Done(words) if wait => {
            say(words);
            zone.wait_until_gone(host, change.as_ref(), deadline).await?;
            say(format_args!("dns: {} is gone everywhere", host.name));
        }
        Said::Done(words) => {
            say(format_args!("{words}; name servers may answer with it for about a minute"));
        }
        // It may have been removed a moment ago.
        Said::Nothing(words) if wait => {
            say(words);
            zone.wait_until_gone(host, None, deadline).await?;
        }
        said => said.say(),
    }
    Ok(())
}
