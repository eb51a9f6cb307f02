//! Commands by hand that change something: alone on the host, or done by the service that runs on it.

use std::time::Duration;

use plan::instance::Role;
use tokio::time::{Instant, timeout_at};

use super::{deregister, register};
use crate::control::{self, Lock, Request};
use crate::report::{Exit, Failure, say};
use crate::session::{Session, within};

/// The time for which the service is listened to beyond the time of the work itself, so that it can still say why it
/// failed.
const LISTEN_ON: Duration = Duration::from_secs(5);

/// Who does the work.
enum Turn {
    /// This command, which holds the lock meanwhile.
    Own(Lock),
    /// The service has done it, and this is how it ended.
    Served(Exit),
}

/// `register` by hand. With `dry_run` nothing is changed, so nobody has to be alone.
pub async fn register(session: &Session, options: register::Options) -> Result<Exit, Failure> {
    let deadline = within(session.settings.timeouts.register);
    let request = Request::Register { only: options.only, wait: options.wait };
    if options.dry_run {
        return register::register(session, options, deadline).await;
    }
    match turn(session, &request, deadline).await? {
        Turn::Own(_lock) => register::register(session, options, deadline).await,
        // The service goes on before all servers have the name; a command that asked for that looks at them itself.
        Turn::Served(exit @ (Exit::Done | Exit::WaitingForBbb)) if options.wait => {
            register::wait(session, deadline).await.map(|()| exit)
        }
        Turn::Served(exit) => Ok(exit),
    }
}

/// `deregister` by hand. With `dry_run` nothing is changed, so nobody has to be alone.
pub async fn deregister(session: &Session, options: deregister::Options) -> Result<Exit, Failure> {
    let deadline = within(session.settings.timeouts.deregister);
    let request = Request::Deregister { only: options.only, wait: options.wait };
    if options.dry_run {
        return deregister::deregister(session, options, deadline).await;
    }
    match turn(session, &request, deadline).await? {
        Turn::Own(_lock) => deregister::deregister(session, options, deadline).await,
        Turn::Served(Exit::Done) if options.wait => {
            deregister::wait(session, deadline).await.map(|()| Exit::Done)
        }
        Turn::Served(exit) => Ok(exit),
    }
}

/// `drain`: only the service can do it, because it may take hours. Waits for the work `deadline` seconds, or as
/// configured; with `wait` it returns once the host is empty, else once new work goes elsewhere.
pub async fn drain(session: &Session, deadline: Option<u64>, wait: bool) -> Result<Exit, Failure> {
    let settings = &session.settings;
    let work = deadline.map_or(settings.drain.deadline, Duration::from_secs);
    // The cordon, or the end of a TURN host's name, comes before the work, and leaving behind it.
    let patience = if wait { work } else { Duration::ZERO } + settings.timeouts.deregister;
    let request = Request::Drain { deadline, wait };
    match ask(session, &request, within(patience)).await? {
        Some(exit) => Ok(exit),
        None => {
            let (agent, unit) = (session.agent.name, session.agent.unit());
            let (work, alone) = match session.agent.role {
                Role::Bbb => ("meetings", "ends the meetings at once"),
                Role::Turn => ("relays", "gives up the name and ends nothing"),
            };
            Err(Failure::new(Exit::Failed, "drain")
                .because(format!(
                    "the service {unit} does not run on this host, and only it can wait for {work}"
                ))
                .advise(format!("systemctl start {unit}, then drain; or {agent} deregister, which {alone}")))
        }
    }
}

/// Waits for this command's turn: for the lock, or for a service that listens.
async fn turn(session: &Session, request: &Request, deadline: Instant) -> Result<Turn, Failure> {
    let directory = &session.settings.service.directory;
    let mut pace = control::pace(deadline);
    let mut told = false;
    loop {
        if let Some(lock) = Lock::try_take(directory)? {
            return Ok(Turn::Own(lock));
        }
        // Asked again each time: the service may be starting, with the lock but no socket yet.
        if let Some(exit) = ask(session, request, deadline).await? {
            return Ok(Turn::Served(exit));
        }
        if !told {
            say(format_args!("waiting for another {} command on this host to end", session.agent.name));
            told = true;
        }
        if !pace.look_again().await {
            return Err(control::busy(directory));
        }
    }
}

/// Lets the service do it; `None` when none listens.
async fn ask(session: &Session, request: &Request, deadline: Instant) -> Result<Option<Exit>, Failure> {
    let answer = control::ask(&session.agent, &session.settings.service.directory, request);
    timeout_at(deadline + LISTEN_ON, answer).await.unwrap_or_else(|_| {
        let unit = session.agent.unit();
        Err(Failure::new(Exit::TryAgain, format!("{}: the service does not answer in time", request.name()))
            .advise(format!(
                "journalctl -u {unit} says what it does; `{} status` shows how the host stands",
                session.agent.name
            )))
    })
}
