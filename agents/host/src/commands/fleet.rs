//! `fleet`: what does my fleet do? One row a host, or JSON, and an exit code by the verdict.

mod collect;
mod facts;
mod screen;

use crate::cli::FleetArgs;
use crate::report::{self, Exit, Failure};
use crate::session::{Session, now};
use clients::untrusted::escaped;

pub use facts::{Errors, Fleet, Host, Totals};

/// Shows every host of the fleet. Changes nothing.
pub async fn fleet(session: &Session, args: FleetArgs) -> Result<Exit, Failure> {
    let fleet = collect::collect(session, now()).await?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&fleet)
            .map(|json| escaped(&json) + "\n")
            .map_err(|error| Failure::new(Exit::Failed, "cannot write the fleet as JSON").because(error))?,
        false => screen::draw(&fleet, now()),
    };
    report::answer(text)?;
    Ok(fleet.exit())
}
