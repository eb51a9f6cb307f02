//! Commands and a stop of the service with Route 53 far away, compared with the longest chain of round trips of which
//! each needs the one before.

use std::time::{Duration, Instant};

use bench::figures::{Aim, Figure, Unit};
use bench::measure::quantile;
use sandbox::cloud::Options;
use sandbox::http::ServiceName;

use crate::agents::Agents;
use crate::commands::{CASES, Case};
use crate::rig::Rig;
use crate::service::{INVOCATION, microseconds};
use crate::{DISCARDED, Error};

/// A round trip to Route 53, which is in us-east-1, from a region overseas.
const ROUTE53: Duration = Duration::from_millis(100);
/// A round trip to all other services outside the host.
const OTHERS: Duration = Duration::from_millis(10);
/// The aim, in times of the chain.
const AIM: Aim = Aim::Times(1.15);

/// The commands, with the round trips of their longest chain: to Route 53 (connection, TLS, the change of the name), and
/// to Scalelite after the name (add, enable, look).
const CHAINS: [(&[&str], u32, u32); 3] =
    [(&["register", "--only", "dns"], 3, 0), (&["register"], 3, 3), (&["deregister"], 3, 0)];

/// Measures all of them.
pub(crate) async fn figures(agents: &Agents, runs: usize) -> Result<Vec<Figure>, Error> {
    let rig = Rig::start_in(agents, Options::with_tls().at_distance(ROUTE53, OTHERS)).await?;
    let mut figures = Vec::new();
    for (arguments, far, near) in CHAINS {
        let case = CASES.iter().find(|case| case.arguments == arguments);
        let times = rig.far_away(case.ok_or("no such case")?, runs).await?;
        figures.push(figure(&arguments.join(" "), &times, ROUTE53 * far + OTHERS * near)?);
    }
    figures.push(figure("stop at power-off", &rig.stopped(runs).await?, ROUTE53 * 3)?);
    Ok(figures)
}

fn figure(name: &str, times: &[u64], chain: Duration) -> Result<Figure, Error> {
    let name = format!("Route 53 far away, {name}: wall");
    let figure = Figure::new(name, Unit::Microseconds, quantile(times, 0.5)).late(quantile(times, 0.9));
    Ok(figure.floor(u64::try_from(chain.as_micros())?).aim(AIM))
}

impl Rig {
    async fn far_away(&self, case: &Case, runs: usize) -> Result<Vec<u64>, Error> {
        let situation = case.situation(self).await?;
        let mut times = Vec::new();
        for number in 0..runs + DISCARDED {
            situation.establish(self)?;
            let run = self.measure(&self.agent, case.arguments).await?;
            case.ended_well(self)?;
            if number >= DISCARDED {
                times.push(run.wall);
            }
        }
        Ok(times)
    }

    /// Measures the time from SIGTERM until the service has undone everything and ended. All services but the metadata
    /// service have closed their idle connections before, as they do after a minute.
    async fn stopped(&self, runs: usize) -> Result<Vec<u64>, Error> {
        let path = self.power_off()?;
        let environment = [("PATH", path.as_str()), ("INVOCATION_ID", INVOCATION)];
        let mut times = Vec::new();
        for number in 0..runs + DISCARDED {
            let service = self.serving(&environment).await?;
            for service in [ServiceName::Route53, ServiceName::SecretsManager, ServiceName::Scalelite] {
                self.cloud.gate(service).hang_up();
            }
            let started = Instant::now();
            service.terminate()?;
            service.end().await?;
            if !self.records().is_empty() {
                return Err("the service has left its record sets".into());
            }
            if number >= DISCARDED {
                times.push(microseconds(started)?);
            }
        }
        Ok(times)
    }
}
