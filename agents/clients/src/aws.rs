//! The AWS SDK's settings, and explanations of its errors.
//!
//! The SDK itself never retries: the account shares a small budget of calls, so the callers do all waiting, in one
//! place. All clients share one HTTP client, whose roots of trust are read once.

pub mod autoscaling;
mod circumstances;
pub mod cloudwatch;
mod connector;
mod credentials;
pub mod ec2;
mod failure;
mod role;
pub mod route53;

use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

pub use credentials::describe_credentials;
pub use failure::{explain, is_retryable, is_throttled};
pub use role::{AssumedRole, NotAssumed};

use self::circumstances::Issued;
use self::connector::Connector;
use self::credentials::OwnCredentials;
use crate::dns::system::SystemResolver;
use crate::http::{self, Limits, Tls, TlsError};
use crate::imds::Imds;

/// The time limit for opening a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(3);
/// The time limit for one exchange.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The time limit for a whole call: the first one fetches credentials too.
const OPERATION: Duration = Duration::from_secs(15);

/// Returns the settings of all SDK clients, for `region`. Makes no request: the first call looks for credentials. With
/// a `profile` they come from the user's files, else from the instance's role: see the table in `credentials.rs`.
/// `AWS_ENDPOINT_URL` and its relatives, and `HTTPS_PROXY`, are honoured.
///
/// Every call looks for credentials anew. That costs two questions to the metadata service on the host's own link, and
/// a retry after "expired token" gets new ones.
///
/// The SDK would sign with AWS's time once it has seen that the clocks differ. The agents do not want that: they write
/// times into DNS, by which others judge whether a host is alive, so the host's clock has to be right.
pub async fn sdk_config(
    tls: &Tls,
    names: &SystemResolver,
    imds: &Imds,
    region: &str,
    profile: Option<&str>,
) -> Result<SdkConfig, TlsError> {
    let region = Region::new(region.to_owned());
    let issued = Issued::default();
    let http = http_client(tls, names, issued.clone())?;
    let credentials = OwnCredentials::new(http.clone(), imds.clone(), region.clone(), profile, issued);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region)
        .credentials_provider(credentials)
        .http_client(http)
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        .disable_clock_skew_correction(true)
        .timeout_config(timeouts)
        // Answers are small, and the time limit of an exchange covers reading them.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    loader = match profile {
        Some(name) => loader.profile_name(name),
        None => loader.profile_files(no_files()),
    };
    if let Ok(name) = AppName::new("bbb-agents") {
        loader = loader.app_name(name);
    }
    Ok(loader.load().await)
}

/// Returns configuration files without any profile, in place of root's: a broken or foreign one must not count.
#[allow(deprecated)] // The type's new place is in a crate that the agents do not need otherwise.
fn no_files() -> aws_config::profile::profile_file::ProfileFiles {
    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};

    ProfileFiles::builder().with_contents(ProfileFileKind::Config, "").build()
}

/// Builds the one HTTP client of all SDK clients.
fn http_client(tls: &Tls, names: &SystemResolver, issued: Issued) -> Result<SharedHttpClient, TlsError> {
    let client = http::client(tls, names, Limits { connect: CONNECT, total: ATTEMPT })?;
    let connector = SharedHttpConnector::new(Connector::new(client, issued));
    Ok(http_client_fn(move |_, _| connector.clone()))
}

/// Formats a time in seconds since 1970 as AWS writes it: `2026-11-22T11:59:00Z`.
pub fn utc(seconds: u64) -> String {
    let time = DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    time.fmt(Format::DateTime).unwrap_or_else(|_| "a time that no calendar has".to_owned())
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_written_as_aws_writes_them() {
        assert_eq!(utc(1_795_348_740), "2026-11-22T11:59:00Z");
        assert_eq!(utc(u64::MAX), "a time that no calendar has");
    }
}
