//! `status`: why does this host get no meetings? One screen, or JSON, and an exit code by the verdict.

mod collect;
mod facts;
mod screen;

use crate::report::{self, Exit, Failure};
use crate::session::Session;

pub use facts::{
    AutoScaling, BbbHost, Dns, Entry, Identity, Recording, Recordings, Scalelite, Server, Service, Status,
};

/// Shows the state of the host. Changes nothing.
pub async fn status(session: &Session, json: bool) -> Result<Exit, Failure> {
    let status = collect::collect(session).await;
    let text = match json {
        true => serde_json::to_string_pretty(&status)
            .map(|json| json + "\n")
            .map_err(|error| Failure::new(Exit::Failed, "cannot write the status as JSON").because(error))?,
        false => screen::draw(&status),
    };
    report::answer(text)?;
    Ok(status.exit())
}
