//! `sweep`: removes what hosts that died have left behind.

use plan::sweep::Finding;

use crate::execute::Executor;
use crate::report::{self, Exit, Failure, say};
use crate::session::{Session, within};
use crate::sweep::{self, Report};

/// Sweeps the whole zone once. Touches nothing of this host, so it needs no turn beside other commands or the service.
pub async fn sweep(session: &Session, dry_run: bool) -> Result<Exit, Failure> {
    let executor = Executor::new(session.interrupt.clone(), dry_run);
    let host = session.host(within(session.settings.timeouts.imds)).await?;
    let report = sweep::sweep(session, &host, &executor).await?;
    Ok(tell(session, &report, dry_run))
}

/// One line for each host of which there is something to say, and with `all` for every one.
fn tell(session: &Session, report: &Report, all: bool) -> Exit {
    for finding in report.findings.iter().filter(|finding| all || !finding.verdict.is_well()) {
        say(line(finding));
    }
    say(report.summary(all));
    for failure in &report.trouble {
        report::complain(session.agent.name, failure);
    }
    // What will not pass by itself is the graver end.
    let exits = report.trouble.iter().map(|failure| failure.exit);
    exits.reduce(|one, other| if one == Exit::TryAgain { other } else { one }).unwrap_or(Exit::Done)
}

fn line(finding: &Finding) -> String {
    let Finding { name, instance, region, verdict, sets, .. } = finding;
    let instance = instance.as_ref().map(|instance| format!(" ({instance} in {region})"));
    let what = match (verdict.is_gone(), sets.as_slice()) {
        (false, _) => String::new(),
        (true, []) => "; entry without record sets".to_owned(),
        (true, sets) => {
            let kinds: Vec<&str> = sets.iter().map(|set| set.kind.as_str()).collect();
            format!("; record sets {}", kinds.join(", "))
        }
    };
    format!("{name}{}: {verdict}{what}", instance.unwrap_or_default())
}
