//! `hostname`: prints the host's fully qualified name. It needs only the metadata service, so UserData can call it
//! first.

use crate::report::{self, Exit, Failure};
use crate::session::{Session, within};

/// Prints the name, and nothing else.
pub async fn hostname(session: &Session) -> Result<Exit, Failure> {
    let host = session.host(within(session.settings.timeouts.imds)).await?;
    report::answer(format_args!("{}\n", host.name))?;
    Ok(Exit::Done)
}
