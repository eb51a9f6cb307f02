//! The agents' own credentials. On EC2 they are those of the instance's role, whatever files and variables root has.
//!
//! | `aws.profile` | the metadata service | credentials |
//! |---|---|---|
//! | set | | the profile's |
//! | not set | names a role | the role's |
//! | not set | names no role, or is disabled | the environment's: keys, a web identity, a container's endpoint |
//! | not set | does not answer | none yet |
//!
//! Each call looks for them anew, and each failure says its cause: the SDK's chain names a broken profile only once.

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use secrecy::ExposeSecret;

use super::circumstances::Issued;
use super::utc;
use crate::http::chain;
use crate::imds::{self, Imds};

/// A provider of the agents' credentials. It reads the role's on our own IMDS client: all requests share one session
/// token, and a refused token is replaced, which the SDK's provider never does.
#[derive(Debug)]
pub(super) struct OwnCredentials {
    imds: Imds,
    profile: Option<String>,
    environment: CredentialsProviderChain,
    http: SharedHttpClient,
    region: Region,
    issued: Issued,
}

impl OwnCredentials {
    /// Creates a provider that notes when the role's keys were issued.
    pub(super) fn new(
        http: SharedHttpClient,
        imds: Imds,
        region: Region,
        profile: Option<&str>,
        issued: Issued,
    ) -> Self {
        let config = provider_config(&http, &region);
        let environment =
            CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
                .or_else(
                    "web identity",
                    WebIdentityTokenCredentialsProvider::builder().configure(&config).build(),
                )
                .or_else("container", EcsCredentialsProvider::builder().configure(&config).build());
        Self { imds, profile: profile.map(str::to_owned), environment, http, region, issued }
    }

    async fn load(&self) -> provider::Result {
        self.issued.note(None);
        match &self.profile {
            Some(name) => self.of_profile(name).await,
            None => match self.of_role().await {
                Err(CredentialsError::CredentialsNotLoaded(why)) => {
                    self.of_environment(&chain(&CredentialsError::CredentialsNotLoaded(why))).await
                }
                found => found,
            },
        }
    }

    async fn of_role(&self) -> provider::Result {
        match self.imds.role_credentials().await {
            Ok(Some(found)) => {
                let expiry = expiry(&found.expiration)?;
                self.issued.note(found.issued);
                Ok(Credentials::new(
                    found.access_key_id,
                    found.secret_access_key.expose_secret(),
                    Some(found.session_token.expose_secret().to_owned()),
                    Some(expiry),
                    "InstanceRole",
                ))
            }
            Ok(None) => Err(CredentialsError::not_loaded("no role is attached to the instance")),
            Err(error @ (imds::Error::Disabled | imds::Error::Absent | imds::Error::Endpoint(_))) => {
                Err(CredentialsError::not_loaded(error))
            }
            Err(error) => Err(CredentialsError::provider_error(error)),
        }
    }

    /// Loads credentials where there is no role, for this reason.
    async fn of_environment(&self, why: &str) -> provider::Result {
        match self.environment.provide_credentials().await {
            Err(CredentialsError::CredentialsNotLoaded(_)) => Err(CredentialsError::not_loaded(format!(
                "{why}, and the environment has no keys (AWS_ACCESS_KEY_ID); \
                 profiles count only where aws.profile names one"
            ))),
            found => found,
        }
    }

    /// Loads the profile's credentials from the files as they are now. The provider is new each time, because it keeps
    /// the files that it has read, and says why it cannot use them only once.
    async fn of_profile(&self, name: &str) -> provider::Result {
        let config = provider_config(&self.http, &self.region);
        let profile = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build();
        profile.provide_credentials().await.map_err(|error| {
            // The error itself only says of what kind its cause is, and has none for a profile of another use.
            let cause = error.source().map_or_else(|| "it has no keys and no role_arn".to_owned(), chain);
            let words = format!("the profile {name:?} (aws.profile): {cause}");
            match error {
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                    CredentialsError::invalid_configuration(words)
                }
                _ => CredentialsError::provider_error(words),
            }
        })
    }
}

/// Loads credentials as a call with these settings does, and says where they come from and how long they are valid. The
/// error says why there are none.
pub async fn describe_credentials(
    config: &SdkConfig,
    imds: &Imds,
    profile: Option<&str>,
) -> Result<String, String> {
    let provider = config.credentials_provider().ok_or("no credentials are configured")?;
    let found = provider.provide_credentials().await.map_err(|error| chain(&error))?;
    let source = match profile {
        Some(name) => format!("the profile {name:?} (aws.profile)"),
        None => match imds.role().await {
            Ok(Some(role)) => format!("the instance's role {role}"),
            Ok(None) | Err(_) => "the environment, because the instance has no role".to_owned(),
        },
    };
    let since_1970 = found.expiry().and_then(|end| end.duration_since(UNIX_EPOCH).ok());
    let end = since_1970.map(|end| format!(", valid until {}", utc(end.as_secs()))).unwrap_or_default();
    Ok(format!("those of {source}{end}"))
}

fn provider_config(http: &SharedHttpClient, region: &Region) -> ProviderConfig {
    ProviderConfig::without_region().with_http_client(http.clone()).with_region(Some(region.clone()))
}

fn expiry(text: &str) -> Result<SystemTime, CredentialsError> {
    let time = DateTime::from_str(text, Format::DateTime).map_err(CredentialsError::unhandled)?;
    SystemTime::try_from(time).map_err(CredentialsError::unhandled)
}

impl ProvideCredentials for OwnCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
