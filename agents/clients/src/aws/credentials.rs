//! The credentials of the instance's role.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use secrecy::ExposeSecret;

use crate::imds::{self, Imds};

/// A provider of the role's credentials on our own IMDS client: all requests share one session token, and a refused
/// token is replaced, which the SDK's provider never does.
#[derive(Debug)]
pub(super) struct InstanceRole {
    imds: Imds,
}

impl InstanceRole {
    pub(super) fn new(imds: Imds) -> Self {
        Self { imds }
    }

    async fn load(&self) -> provider::Result {
        match self.imds.role_credentials().await {
            Ok(Some(found)) => {
                let expiry = expiry(&found.expiration)?;
                Ok(Credentials::new(
                    found.access_key_id,
                    found.secret_access_key.expose_secret(),
                    Some(found.session_token.expose_secret().to_owned()),
                    Some(expiry),
                    "InstanceRole",
                ))
            }
            Ok(None) => Err(CredentialsError::not_loaded("no role is attached to the instance")),
            Err(error @ (imds::Error::Disabled | imds::Error::Endpoint(_))) => {
                Err(CredentialsError::not_loaded(error))
            }
            Err(error) => Err(CredentialsError::provider_error(error)),
        }
    }
}

fn expiry(text: &str) -> Result<SystemTime, CredentialsError> {
    let time = DateTime::from_str(text, Format::DateTime).map_err(CredentialsError::unhandled)?;
    SystemTime::try_from(time).map_err(CredentialsError::unhandled)
}

impl ProvideCredentials for InstanceRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
