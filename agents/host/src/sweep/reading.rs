//! The reading of a whole zone, page by page: for the sweep, and for `fleet`, which shows what a sweep would see.

use plan::record::Name;
use plan::sweep::Zone;
use tokio::time::Instant;

use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience};
use clients::aws::route53::{Cursor, Error, RecordSets};

/// The action, for failures.
const WHAT: &str = "listing the zone";

/// Reads the zone from here to its end; fails for `late` where that takes too long.
pub(crate) async fn rest(
    api: &impl RecordSets,
    domain: &Name,
    mut next: Option<Cursor>,
    zone: &mut Zone,
    patience: Patience,
    late: &str,
) -> Result<(), Failure> {
    while let Some(cursor) = next {
        if Instant::now() >= patience.deadline() {
            return Err(Failure::new(Exit::TryAgain, WHAT).because(late));
        }
        next = page(api, domain, cursor, zone, patience).await?;
    }
    Ok(())
}

/// Reads a page of the zone and returns where the next one begins.
pub(crate) async fn page(
    api: &impl RecordSets,
    domain: &Name,
    from: Cursor,
    zone: &mut Zone,
    patience: Patience,
) -> Result<Option<Cursor>, Failure> {
    let mut pace = Pace::remote(patience);
    loop {
        match api.page(domain, from.clone(), zone).await {
            Ok(next) => return Ok(next),
            Err(error) => retry_or_fail(&mut pace, WHAT, &error).await?,
        }
    }
}

/// Waits before the next try, where one may help.
pub(super) async fn retry_or_fail(pace: &mut Pace, what: &str, error: &Error) -> Result<(), Failure> {
    match error.is_retryable() {
        true => pace.again(what, error).await,
        false => Err(Failure::new(Exit::Failed, what).because(error).advise(
            "check dns.zone_id and the instance role's permissions, for example with the command check",
        )),
    }
}
