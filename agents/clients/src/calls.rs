//! How often each service was called since the process began, by outcome: what an operator needs to judge the agent
//! itself. Each HTTP request counts, whatever client has made it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A service that the agents call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon EC2 Auto Scaling.
    AutoScaling,
    /// BigBlueButton on this host.
    Bbb,
    /// Amazon CloudWatch.
    CloudWatch,
    /// Amazon EC2.
    Ec2,
    /// The instance metadata service.
    Imds,
    /// Amazon Route 53.
    Route53,
    /// Scalelite.
    Scalelite,
    /// AWS Secrets Manager.
    SecretsManager,
    /// AWS Security Token Service.
    Sts,
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has answered.
    Answered,
    /// The service has refused the call (status 400 to 499).
    Refused,
    /// The service has failed (another status), or there was no whole answer.
    Failed,
}

impl Service {
    const ALL: [Self; 9] = [
        Self::AutoScaling,
        Self::Bbb,
        Self::CloudWatch,
        Self::Ec2,
        Self::Imds,
        Self::Route53,
        Self::Scalelite,
        Self::SecretsManager,
        Self::Sts,
    ];

    /// Returns a stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AutoScaling => "autoscaling",
            Self::Bbb => "bbb",
            Self::CloudWatch => "cloudwatch",
            Self::Ec2 => "ec2",
            Self::Imds => "imds",
            Self::Route53 => "route53",
            Self::Scalelite => "scalelite",
            Self::SecretsManager => "secretsmanager",
            Self::Sts => "sts",
        }
    }

    /// Finds the service that a signed request is for, by the scope of its signature
    /// (`Credential=KEY/DATE/REGION/SERVICE/aws4_request`), which has CloudWatch's former name.
    pub(crate) fn signed_for(authorization: &str) -> Option<Self> {
        let scope = authorization.split("Credential=").nth(1)?.split(',').next()?;
        let name = scope.split('/').nth(3)?;
        let name = if name == "monitoring" { "cloudwatch" } else { name };
        Self::ALL.into_iter().find(|service| service.as_str() == name)
    }
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Answered, Self::Refused, Self::Failed];

    /// Returns a stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// Judges an HTTP status.
    pub(crate) fn of(status: u16) -> Self {
        match status {
            200..=399 => Self::Answered,
            400..=499 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

static CALLS: [[AtomicU64; 3]; 9] = [const { [const { AtomicU64::new(0) }; 3] }; 9];

/// Counts a call.
pub(crate) fn count(service: Service, outcome: Outcome) {
    let counter = CALLS.get(service as usize).and_then(|outcomes| outcomes.get(outcome as usize));
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the calls that were made so far; what never happened is left out.
pub fn counted() -> Vec<(Service, Outcome, u64)> {
    let all = Service::ALL.iter().zip(&CALLS).flat_map(|(service, outcomes)| {
        Outcome::ALL
            .iter()
            .zip(outcomes)
            .map(|(outcome, count)| (*service, *outcome, count.load(Ordering::Relaxed)))
    });
    all.filter(|(_, _, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_each_counter_is_its_own() {
        for (index, service) in Service::ALL.into_iter().enumerate() {
            assert_eq!(service as usize, index);
        }
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }

    #[test]
    fn a_request_counts_for_the_service_that_its_signature_names() {
        let of = |scope: &str| {
            Service::signed_for(&format!(
                "AWS4-HMAC-SHA256 Credential=AKID/{scope}/aws4_request, SignedHeaders=host"
            ))
        };
        assert_eq!(of("20260101/us-east-1/route53"), Some(Service::Route53));
        assert_eq!(of("20260101/eu-central-1/monitoring"), Some(Service::CloudWatch));
        assert_eq!(of("20260101/eu-central-1/secretsmanager"), Some(Service::SecretsManager));
        assert_eq!(of("20260101/eu-central-1/other"), None);
        assert_eq!(Service::signed_for("Bearer x"), None);
    }

    #[test]
    fn outcomes_by_status() {
        let statuses = [(200, Outcome::Answered), (304, Outcome::Answered), (400, Outcome::Refused)];
        for (status, outcome) in statuses.into_iter().chain([(429, Outcome::Refused), (503, Outcome::Failed)])
        {
            assert_eq!(Outcome::of(status), outcome, "{status}");
        }
    }
}
