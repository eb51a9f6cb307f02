//! `sweep`: removes the records and entries of dead hosts.

use plan::sweep::Finding;

use crate::execute::Executor;
use crate::report::{self, Exit, Failure, say};
use crate::session::{Session, within};
use crate::sweep::{self, Report};

/// Sweeps the whole zone once. It changes nothing of this host, so it may run beside other commands and the service.
pub async fn sweep(session: &Session, dry_run: bool) -> Result<Exit, Failure> {
    let executor = Executor::new(session.interrupt.clone(), dry_run);
    let host = session.host(within(session.settings.timeouts.imds)).await?;
    let report = sweep::sweep(session, &host, &executor).await?;
    Ok(tell(session, &report, dry_run))
}

/// Prints one line for each host with a noteworthy finding, or with `all` for every host.
fn tell(session: &Session, report: &Report, all: bool) -> Exit {
    for finding in report.findings.iter().filter(|finding| all || !finding.verdict.is_well()) {
        say(line(finding));
    }
    say(report.summary(all));
    for failure in &report.trouble {
        report::complain(session.agent.name, failure);
    }
    // A failure that does not pass by itself determines the exit code.
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
