//! `fleet`: what does my fleet do? One row a host, or JSON, and an exit code by the verdict.

mod collect;
mod facts;
mod screen;

use std::io::IsTerminal;
use std::time::Duration;

use crate::cli::FleetArgs;
use crate::report::{self, Exit, Failure};
use crate::session::{Session, now};
use crate::terminal::Paper;
use clients::untrusted::escaped;

pub use facts::{Errors, Fleet, Host, Totals};

/// Shows every host of the fleet. Changes nothing.
pub async fn fleet(session: &Session, args: FleetArgs) -> Result<Exit, Failure> {
    let outside = if args.outside { Some(session.outside()?) } else { None };
    let session = outside.as_ref().unwrap_or(session);
    if let Some(seconds) = args.watch {
        return watch(session, args, Duration::from_secs(seconds)).await;
    }
    let fleet = collect::collect(session, args.outside, now()).await?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&fleet)
            .map(|json| escaped(&json) + "\n")
            .map_err(|error| Failure::new(Exit::Failed, "cannot write the fleet as JSON").because(error))?,
        // The table has one form, so that it can be compared: only colours depend on the terminal.
        false => screen::draw(&fleet, now(), Paper { rows: None, ..Paper::of_standard_output(args.color) }),
    };
    report::answer(text)?;
    Ok(fleet.exit())
}

/// Shows the fleet again and again until a signal comes; the exit code is that of the last look.
async fn watch(session: &Session, args: FleetArgs, every: Duration) -> Result<Exit, Failure> {
    if !std::io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Usage, "--watch needs a terminal")
            .advise("run the command without it, as often as you need"));
    }
    let mut exit = Exit::CannotTell;
    let ended = session.interrupt.or_stop(async {
        report::answer(report::CLEAR)?;
        loop {
            let looked = collect::collect(session, args.outside, now()).await;
            let screen = match &looked {
                Ok(fleet) => screen::draw(fleet, now(), Paper::of_standard_output(args.color)),
                Err(failure) => format!("{failure}\n"),
            };
            exit = looked.map_or_else(|failure| failure.exit, |fleet| fleet.exit());
            report::redraw(&screen)?;
            tokio::time::sleep(every).await;
        }
    });
    match ended.await {
        Ok(failed) => failed,
        // Ctrl-C is the usual end.
        Err(_) => Ok(exit),
    }
}
