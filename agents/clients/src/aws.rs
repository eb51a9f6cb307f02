//! The AWS SDK's settings, and explanations of its errors.
//!
//! The SDK itself never retries: the account shares a small budget of calls, so the callers do all waiting, in one
//! place. All clients share one HTTP client, whose roots of trust are read once.

pub mod autoscaling;
pub mod cloudwatch;
mod connector;
mod credentials;
pub mod ec2;
mod failure;
pub mod route53;

use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

pub use failure::{explain, is_retryable, is_throttled};

use self::connector::Connector;
use crate::dns::system::SystemResolver;
use crate::http::{self, Limits, Tls, TlsError};
use crate::imds::Imds;

/// The time limit for opening a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(3);
/// The time limit for one exchange.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The time limit for a whole call: the first one fetches credentials too.
const OPERATION: Duration = Duration::from_secs(15);

/// Returns the settings of all SDK clients, for `region`. Makes no request: the first call looks for credentials in
/// the environment, a profile, a web identity, a container's endpoint and the instance's role, in this order.
/// `AWS_ENDPOINT_URL` and its relatives, and `HTTPS_PROXY`, are honoured.
///
/// Every call looks for credentials anew. That costs two questions to the metadata service on the host's own link, and
/// a retry after "expired token" gets new ones.
pub async fn sdk_config(
    tls: &Tls,
    names: &SystemResolver,
    imds: &Imds,
    region: &str,
) -> Result<SdkConfig, TlsError> {
    let region = Region::new(region.to_owned());
    let http = http_client(tls, names)?;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region.clone())
        .credentials_provider(credentials_chain(&http, imds, region))
        .http_client(http)
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        // Answers are small, and the time limit of an exchange covers reading them.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Ok(name) = AppName::new("bbb-agents") {
        loader = loader.app_name(name);
    }
    Ok(loader.load().await)
}

/// Returns the SDK's default chain with the last provider replaced: see [`credentials::InstanceRole`].
fn credentials_chain(http: &SharedHttpClient, imds: &Imds, region: Region) -> CredentialsProviderChain {
    use aws_config::ecs::EcsCredentialsProvider;
    use aws_config::environment::EnvironmentVariableCredentialsProvider;
    use aws_config::profile::ProfileFileCredentialsProvider;
    use aws_config::provider_config::ProviderConfig;
    use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;

    let config = ProviderConfig::without_region().with_http_client(http.clone()).with_region(Some(region));
    CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("profile", ProfileFileCredentialsProvider::builder().configure(&config).build())
        .or_else("web identity", WebIdentityTokenCredentialsProvider::builder().configure(&config).build())
        .or_else("container", EcsCredentialsProvider::builder().configure(&config).build())
        .or_else("instance role", credentials::InstanceRole::new(imds.clone()))
}

/// Builds the one HTTP client of all SDK clients.
fn http_client(tls: &Tls, names: &SystemResolver) -> Result<SharedHttpClient, TlsError> {
    let client = http::client(tls, names, Limits { connect: CONNECT, total: ATTEMPT })?;
    let connector = SharedHttpConnector::new(Connector(client));
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
