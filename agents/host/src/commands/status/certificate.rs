//! The fleet's certificate in `status`: the service's word about it, its weight in the verdict, and the wait for it.

use std::time::Duration;

use plan::health::Part;

use crate::control::{self, CertificateFacts, ServiceState};
use crate::report::{self, Exit, Failure, say};
use crate::retry::{Pace, Patience};
use crate::session::{Session, now, within};
use clients::aws::utc;

/// Returns what the service has told about the certificate, if it has.
pub(super) fn told(state: &ServiceState) -> Option<CertificateFacts> {
    serde_json::from_value(state.more.get("certificate")?.clone()).ok()
}

/// Judges the certificate by what the service has told about it; without a service nobody looks after it.
pub(super) fn weighed(session: &Session, service: Option<&ServiceState>) -> Part {
    let Some((wanted, service)) = session.settings.certificate.as_ref().zip(service) else {
        return Part::NotUsed;
    };
    let absent = || Part::Settling(format!("the certificate in {} is not in place yet", wanted.secret));
    match told(service).map(|facts| (facts.end, facts.error)) {
        Some((Some(end), _)) if end <= now() => {
            Part::Drift(format!("the fleet's certificate has expired, at {}", utc(end)))
        }
        Some((Some(_), None)) => Part::InOrder,
        Some((Some(_), Some(why))) => Part::Settling(why),
        Some((None, Some(why))) => Part::Drift(why),
        Some((None, None)) | None => absent(),
    }
}

/// Waits until the service has put the certificate into place.
pub(super) async fn wait(session: &Session, timeout: Option<Duration>) -> Result<Exit, Failure> {
    if session.settings.certificate.is_none() {
        return Err(Failure::new(Exit::Usage, "tls.certificate is not set: there is nothing to wait for"));
    }
    let deadline = within(timeout.unwrap_or(session.settings.timeouts.register));
    let (agent, directory) = (&session.agent, &session.settings.service.directory);
    let mut pace = Pace::new(Patience::quietly(deadline), Duration::from_millis(500), Duration::from_secs(2));
    loop {
        let words = match control::state(agent, directory).await {
            Ok(Some(service)) => match told(&service) {
                Some(CertificateFacts { end: Some(end), error: None, .. }) => {
                    report::progress_done();
                    say(format_args!(
                        "{}: the fleet's certificate is in place, until {}",
                        agent.name,
                        utc(end)
                    ));
                    return Ok(Exit::Done);
                }
                Some(CertificateFacts { error: Some(why), .. }) => why,
                Some(_) | None => "the service has not looked at it yet".to_owned(),
            },
            Ok(None) => format!("{} does not run", agent.unit()),
            Err(failure) if failure.exit == Exit::TryAgain => failure.headline(),
            Err(failure) => return Err(failure),
        };
        report::progress(&format!("waiting for the fleet's certificate: {words}"));
        if !pace.look_again().await {
            report::progress_done();
            return Err(
                Failure::new(Exit::TryAgain, "the fleet's certificate is not in place yet").because(words)
            );
        }
    }
}
