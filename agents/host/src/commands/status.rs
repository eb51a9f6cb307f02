//! `status`: why does this host get no meetings? One screen, or JSON, and an exit code by the verdict.

mod addresses;
mod certificate;
mod collect;
mod facts;
mod screen;

use std::time::Duration;

use crate::cli::{StatusArgs, WaitFor};
use crate::control;
use crate::report::{self, Exit, Failure, say};
use crate::retry::{Pace, Patience};
use crate::session::{Session, within};
use crate::terminal::Paper;
use clients::untrusted::escaped;

pub use facts::{
    Addresses, AutoScaling, BbbHost, Coturn, Dns, Entry, Identity, Scalelite, Server, Service, Status,
    WrongAddress,
};

/// Shows the state of the host, or waits until it is registered. Changes nothing.
pub async fn status(session: &Session, args: StatusArgs) -> Result<Exit, Failure> {
    match args.wait_for {
        Some(WaitFor::Registered) => wait(session, args.timeout.map(Duration::from_secs)).await,
        Some(WaitFor::Certificate) => certificate::wait(session, args.timeout.map(Duration::from_secs)).await,
        None => show(session, args.json, Paper::of_standard_output(args.color)).await,
    }
}

async fn show(session: &Session, json: bool, paper: Paper) -> Result<Exit, Failure> {
    let status = collect::collect(session).await;
    let text = match json {
        true => serde_json::to_string_pretty(&status)
            .map(|json| escaped(&json) + "\n")
            .map_err(|error| Failure::new(Exit::Failed, "cannot write the status as JSON").because(error))?,
        false => screen::draw(&status, paper),
    };
    report::answer(text)?;
    Ok(status.exit())
}

/// Waits until the host is registered, or it is known that it is not meant to be: in a warm pool, or on its way out.
/// Beside the service its word counts; without one, that of `status`.
async fn wait(session: &Session, timeout: Option<Duration>) -> Result<Exit, Failure> {
    let deadline = within(timeout.unwrap_or(session.settings.timeouts.register));
    let (agent, directory) = (&session.agent, &session.settings.service.directory);
    let mut pace = Pace::new(Patience::quietly(deadline), Duration::from_millis(500), Duration::from_secs(2));
    loop {
        let (state, words) = match control::state(agent, directory).await {
            Ok(Some(service)) => (service.state, service.words),
            Ok(None) if collect::collect(session).await.exit() == Exit::Done => {
                ("serving".to_owned(), "registered".to_owned())
            }
            Ok(None) => (String::new(), format!("{} does not run", agent.unit())),
            Err(failure) if failure.exit == Exit::TryAgain => (String::new(), failure.headline()),
            Err(failure) => return Err(failure),
        };
        let exit = match state.as_str() {
            "serving" | "cordoned" => Some(Exit::Done),
            "draining" | "leaving" | "unregistered" => Some(Exit::Refused),
            _ => None,
        };
        match exit {
            Some(exit) => {
                report::progress_done();
                say(format_args!("{}: {words}", agent.name));
                return Ok(exit);
            }
            None => report::progress(&format!("waiting until the host is registered: {words}")),
        }
        if !pace.look_again().await {
            report::progress_done();
            let what = Failure::new(Exit::TryAgain, "the host is not registered yet").because(words);
            return Err(what.advise("run the same command again, or look at status"));
        }
    }
}
