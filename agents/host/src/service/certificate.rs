//! The fleet's certificate: fetched from its secret, checked, and put into place by a helper that may do so
//! (`tls.certificate`). Beside the state machine, because a host's registration does not depend on it.
//!
//! The helper gets the certificate at each look, whether or not it is new: servers that were installed meanwhile, or a
//! restart that has failed, are then made good too. What is already in place costs nothing.

use std::time::Duration;

use clients::certificate::bundle::Bundle;
use clients::helper::Helper;
use clients::untrusted::visible_line;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::shared::Shared;
use super::troubles::Failing;
use crate::config::settings::FleetCertificate;
use crate::control::CertificateFacts;
use crate::execute::{Executor, Outcome};
use crate::identity::Host;
use crate::interrupt::Interrupt;
use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience};
use crate::session::{now, within};

/// The time for the secret.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time for the helper: HAProxy may wait long for its old process.
const HELP: Duration = Duration::from_secs(120);
/// The pause after the first failure; later ones are longer, up to the usual interval.
const AGAIN: Duration = Duration::from_secs(20);
/// The kind of the action in the journal.
const ACTION: &str = "certificate";

/// Keeps the fleet's certificate in place until the interrupt ends it.
///
/// `placing` is held while the helper is at work: the care under former settings may still wait for it.
pub(super) async fn keep(
    shared: &Shared,
    certificate: &FleetCertificate,
    placing: &Mutex<()>,
    interrupt: Interrupt,
) {
    let forever = async {
        let retries = || Pace::new(Patience::once(Instant::now()), AGAIN, certificate.interval);
        let mut pace = retries();
        loop {
            let looked = {
                let _one_at_a_time = placing.lock().await;
                look(shared, certificate, &interrupt).await
            };
            let pause = match &looked {
                // Hosts that were started at once need not look at once for ever.
                Ok(_) => {
                    pace = retries();
                    certificate.interval.mul_f64(0.9 + 0.2 * fastrand::f64())
                }
                Err(_) => pace.draw(),
            };
            note(shared, certificate, looked);
            sleep(pause).await;
        }
    };
    // An interrupt is the only end.
    let _: Result<(), i32> = interrupt.or_stop(forever).await;
}

/// Fetches the certificate and has it put into place; returns when it ends, in seconds since 1970.
async fn look(
    shared: &Shared,
    certificate: &FleetCertificate,
    interrupt: &Interrupt,
) -> Result<u64, Failure> {
    let host = shared.host()?;
    let bundle = fetch(shared, certificate, host).await?;
    let agent = shared.session.agent.name;
    let unit = format!("{agent}-certificate");
    let helper =
        Helper { what: "the installer", unit: &unit, socket: &certificate.installer, patience: HELP };
    let executor = Executor::again_and_again(interrupt.clone(), &shared.announced, ACTION);
    let what = format!("certificate: put {} into place", bundle.fingerprint());
    let whole = bundle.whole();
    let lines = match executor.run(ACTION, &what, helper.ask(whole.as_bytes())).await? {
        Outcome::Ran(answer) => answer.map_err(|why| {
            Failure::new(Exit::TryAgain, "the fleet's certificate").because(visible_line(&why))
        })?,
        Outcome::Shown => Vec::new(),
    };
    for line in lines {
        info!(action = ACTION, "{}", visible_line(&line));
    }
    Ok(bundle.end())
}

/// Fetches the certificate, and checks that this host can use it.
async fn fetch(shared: &Shared, certificate: &FleetCertificate, host: &Host) -> Result<Bundle, Failure> {
    shared.session.fleet_certificate(certificate, host, Patience::quietly(within(PATIENCE))).await
}

/// Tells the log, and `status`, how the look has gone.
fn note(shared: &Shared, certificate: &FleetCertificate, looked: Result<u64, Failure>) {
    let failed = looked.as_ref().err().map(Failure::headline);
    let failing = failed.as_deref().map(|why| Failing::new(why, format!("{why}; it is tried again")));
    shared.troubles.take("looking after the fleet's certificate", ACTION, None, failing.map_or(Ok(()), Err));
    let former = shared.certificate.borrow().as_ref().and_then(|facts| facts.end);
    shared.certificate.replace(Some(CertificateFacts {
        secret: certificate.secret.to_string(),
        // What was put into place stays there, whatever fails now.
        end: looked.ok().or(former),
        checked: now(),
        error: failed,
    }));
}
