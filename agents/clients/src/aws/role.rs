//! A role that is assumed for Route 53 alone, so that the hosted zone may be in another account. All other calls are
//! made with the host's own credentials.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_sdk_sts::Client;
use aws_sdk_sts::error::ProvideErrorMetadata;
use tokio::sync::Mutex;

use super::failure::{explain, is_retryable};

/// The time before the end of a session at which a new one is begun. A session lasts an hour: STS gives no more to a
/// role that is assumed with another role's keys.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// The time that a session must last to be used where no new one is to be had.
const LEAST: Duration = Duration::from_secs(15);

/// A role that could not be assumed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot assume the role {arn} (dns.role_arn): {message}")]
pub struct NotAssumed {
    /// The role.
    pub arn: String,
    /// STS's message and the remedy, or why STS could not be asked.
    pub message: String,
    /// `true` where the same call may succeed later.
    pub retryable: bool,
}

/// A role and its present session. Clones share the session.
#[derive(Clone, Debug)]
pub struct AssumedRole(Arc<Role>);

#[derive(Debug)]
struct Role {
    client: Client,
    arn: String,
    external_id: Option<String>,
    /// The name that the other account's CloudTrail shows.
    session: String,
    kept: Mutex<Option<Credentials>>,
}

impl AssumedRole {
    /// Creates a role that is assumed with the credentials of `config`, at the STS endpoint of its region. Asks nothing
    /// yet.
    pub fn new(config: &aws_config::SdkConfig, arn: &str, external_id: Option<&str>, session: &str) -> Self {
        Self(Arc::new(Role {
            client: Client::new(config),
            arn: arn.to_owned(),
            external_id: external_id.map(str::to_owned),
            session: session.to_owned(),
            kept: Mutex::default(),
        }))
    }

    /// Begins a session, unless one lasts (AssumeRole).
    pub async fn prove(&self) -> Result<(), NotAssumed> {
        self.session().await.map(drop)
    }

    /// Has a new session begun at the next call: the service does not take the keys of this one.
    pub(super) fn forget(&self) {
        // A call that holds the lock is about to replace them.
        if let Ok(mut kept) = self.0.kept.try_lock() {
            *kept = None;
        }
    }

    async fn session(&self) -> Result<Credentials, NotAssumed> {
        let mut kept = self.0.kept.lock().await;
        if let Some(keys) = kept.as_ref().filter(|keys| lasts(keys, AHEAD)) {
            return Ok(keys.clone());
        }
        match self.0.assume().await {
            Ok(keys) => Ok(kept.insert(keys).clone()),
            Err(refused) => kept.as_ref().filter(|keys| lasts(keys, LEAST)).cloned().ok_or(refused),
        }
    }
}

impl Role {
    async fn assume(&self) -> Result<Credentials, NotAssumed> {
        let request = self.client.assume_role().role_arn(&self.arn).role_session_name(&self.session);
        let answer = request.set_external_id(self.external_id.clone()).send().await;
        let answer = answer.map_err(|error| {
            let mut message = explain(&error);
            if error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("AccessDenied") {
                message += "; its trust policy has to allow the role of this host, with the external id of \
                            dns.role_external_id if it wants one, and the role of this host needs sts:AssumeRole for it";
            }
            NotAssumed { arn: self.arn.clone(), message, retryable: is_retryable(&error) }
        })?;
        let keys = answer.credentials.ok_or_else(|| self.unusable("an answer without credentials"))?;
        let expiry = SystemTime::try_from(keys.expiration);
        let expiry = expiry.map_err(|_| self.unusable("credentials without a usable expiration"))?;
        let (id, secret, token) = (keys.access_key_id, keys.secret_access_key, keys.session_token);
        Ok(Credentials::new(id, secret, Some(token), Some(expiry), "AssumedRole"))
    }

    fn unusable(&self, message: &str) -> NotAssumed {
        NotAssumed { arn: self.arn.clone(), message: message.to_owned(), retryable: false }
    }
}

fn lasts(keys: &Credentials, time: Duration) -> bool {
    keys.expiry().is_some_and(|end| end > SystemTime::now() + time)
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let session: provider::Result = self.session().await.map_err(CredentialsError::provider_error);
            session
        })
    }
}
