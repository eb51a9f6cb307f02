//! `register`: the host gets its name, then joins Scalelite.

use plan::dns::Source;
use plan::record::RecordSet;
use tokio::time::Instant;

use crate::bbb::{self, Bbb, Installation, NotReady};
use crate::cli::Only;
use crate::config::settings;
use crate::execute::Executor;
use crate::identity::Host;
use crate::naming::Named;
use crate::pace::Pace;
use crate::pool::{Pool, Standing};
use crate::report::{self, Exit, Failure, say};
use crate::session::{Session, now, within};

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

/// Registers the host. Doing it again changes nothing.
pub async fn register(session: &Session, options: Options) -> Result<Exit, Failure> {
    let deadline = within(session.settings.timeouts.register);
    let executor = Executor::new(session.interrupt.clone(), options.dry_run);
    let host = session.host(deadline).await?;
    if Only::names(options.only) {
        name(session, &host, &executor, options.wait, deadline).await?;
    }
    if Only::pools(options.only) && session.settings.bbb.is_some() {
        return join(session, &host, &executor, deadline).await;
    }
    Ok(Exit::Done)
}

async fn name(
    session: &Session,
    host: &Host,
    executor: &Executor,
    wait: bool,
    deadline: Instant,
) -> Result<(), Failure> {
    let desired = host.desired(session.agent.role, session.settings.dns.ttl, now())?;
    let zone = session.zone(host).await?;
    let named = zone.register(&desired, executor, deadline).await?;
    let calls = zone.api.calls();
    let name = &host.name;
    match &named {
        // The executor has said what it would do.
        Named::Planned => return Ok(()),
        Named::Already => {
            say(format_args!("dns: {name} is registered already, nothing to do (Route 53 calls: {calls})"));
        }
        Named::Changed(..) => {
            let addresses = desired.addresses();
            say(format_args!(
                "dns: {name} registered: {} (Route 53 calls: {calls})",
                addresses_words(&addresses)
            ));
        }
    }
    if wait {
        let change = match &named {
            Named::Changed(id) => Some(id),
            Named::Already | Named::Planned => None,
        };
        match zone.wait_until_live(&desired, change, deadline).await? {
            Source::Dns => say(format_args!("dns: {name} is live on every authoritative server")),
            Source::Api => {
                say(format_args!("dns: {name} is in Route 53; no authoritative server could be asked"))
            }
        }
    }
    Ok(())
}

fn addresses_words(sets: &[RecordSet]) -> String {
    let values =
        sets.iter().flat_map(|set| set.values.iter().map(move |value| format!("{} {value}", set.kind)));
    values.collect::<Vec<_>>().join(", ")
}

async fn join(
    session: &Session,
    host: &Host,
    executor: &Executor,
    deadline: Instant,
) -> Result<Exit, Failure> {
    let (Some(settings), Some(paths)) = (&session.settings.scalelite, &session.settings.bbb) else {
        say("scalelite: none is configured (scalelite.url), so no load balancer is joined");
        return Ok(Exit::Done);
    };
    let (installation, bbb) = match wait_for_bbb(session, paths, deadline).await? {
        Ok(ready) => ready,
        Err(why) => {
            say(format_args!("scalelite: waiting for BBB: {why}; run register again when BBB answers"));
            return Ok(Exit::WaitingForBbb);
        }
    };
    let Some(scalelite) = session.scalelite(host, deadline).await? else { return Ok(Exit::Done) };
    let url = installation.scalelite_url();
    let pool = Pool { scalelite: &scalelite, url: &url, secret: &installation.secret, executor, deadline };
    let standing = pool.join(&settings.entry, &bbb).await?;
    report_standing(&url, &standing, executor.is_dry_run());
    Ok(Exit::Done)
}

fn report_standing(url: &str, standing: &Standing, dry_run: bool) {
    match standing.done.as_slice() {
        [] => say(format_args!("scalelite: {url} takes meetings already, nothing to do")),
        // The executor has said what it would do.
        _ if dry_run => return,
        actions => say(format_args!("scalelite: {url} takes meetings now: {}", actions.join(", "))),
    }
    if standing.entries.iter().all(|entry| entry.load.is_none()) {
        say(
            "scalelite: the first meeting is placed here after Scalelite's next poll (every 60 s by default)",
        );
    }
    if let [_, superfluous @ ..] = standing.entries.as_slice()
        && !superfluous.is_empty()
    {
        let count = superfluous.len();
        report::say(format_args!(
            "scalelite: {count} superfluous entries stay cordoned, because meetings run here; run register again when none does"
        ));
    }
}

/// Waits until the API of this host's BBB answers. The inner error says why it is not there yet.
async fn wait_for_bbb(
    session: &Session,
    paths: &settings::Bbb,
    deadline: Instant,
) -> Result<Result<(Installation, Bbb), String>, Failure> {
    let installation = match bbb::read_installation(&paths.defaults, &paths.properties) {
        Ok(installation) => installation,
        Err(error @ NotReady::NotInstalled { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(Failure::new(Exit::Failed, "BBB's settings on this host").because(error)),
    };
    let client = session.local_client(&installation.server_url)?;
    let bbb = Bbb::of(client, &installation);
    let mut pace = Pace::local(deadline.min(within(session.settings.timeouts.bbb)));
    loop {
        // This call, unlike the one for the version, proves that BBB runs with the secret of its property files.
        match bbb.meetings().await {
            Ok(_) => return Ok(Ok((installation, bbb))),
            Err(error) if !error.is_retryable() => {
                return Err(Failure::new(Exit::Failed, "the BBB API of this host").because(error));
            }
            Err(error) => {
                if let Err(gave_up) = pace.again("the BBB API of this host", &error).await {
                    tracing::info!("{gave_up}");
                    return Ok(Err(error.to_string()));
                }
            }
        }
    }
}
