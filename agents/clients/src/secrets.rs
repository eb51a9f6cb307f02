//! Secrets by reference: the configuration names a secret's place, never its value.

mod file;
mod manager;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::SecretString;

pub use self::manager::{pick, values};

use crate::aws::SdkConfig;

/// The variable in which systemd names the directory of a service's credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretReference {
    /// A secret in AWS Secrets Manager.
    SecretsManager {
        /// The secret's name or ARN.
        id: String,
        /// The key, if the secret's text is a JSON object; without a key, the whole text is the secret.
        key: Option<String>,
    },
    /// A secret in a file, by its absolute path.
    File(PathBuf),
    /// A systemd credential (`LoadCredential=`, `SetCredentialEncrypted=`), by its name.
    Credential(String),
}

/// A text that is no reference. The error does not quote it: an operator may have written the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} (the value is not shown, as it may be a secret itself); expected is secretsmanager:NAME-OR-ARN#JSON-KEY, \
     secretsmanager:NAME-OR-ARN, file:/ABSOLUTE/PATH or credential:NAME"
)]
pub struct InvalidReference(&'static str);

impl SecretReference {
    /// Parses one of the three forms.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        match text.split_once(':') {
            Some(("secretsmanager", rest)) => secrets_manager(rest),
            Some(("file", path)) if Path::new(path).is_absolute() && !path.contains(char::is_control) => {
                Ok(Self::File(path.into()))
            }
            Some(("file", _)) => Err(InvalidReference("the path after file: is not absolute")),
            Some(("credential", name)) if is_credential_name(name) => Ok(Self::Credential(name.to_owned())),
            Some(("credential", _)) => {
                Err(InvalidReference("what follows credential: is no name of a credential"))
            }
            _ => Err(InvalidReference("not a reference to a secret")),
        }
    }

    /// Reports whether reading the secret needs AWS.
    pub fn needs_aws(&self) -> bool {
        matches!(self, Self::SecretsManager { .. })
    }
}

fn secrets_manager(text: &str) -> Result<SecretReference, InvalidReference> {
    // Neither a name nor an ARN contains `#`; a JSON key may.
    let (id, key) = match text.split_once('#') {
        Some((_, "")) => return Err(InvalidReference("the JSON key after # is empty")),
        Some((id, key)) => (id, Some(key)),
        None => (text, None),
    };
    if key.is_some_and(|key| key.contains(char::is_control)) {
        return Err(InvalidReference("the JSON key after # has a control character"));
    }
    if id.is_empty() || id.len() > 2048 {
        return Err(InvalidReference(
            "the name after secretsmanager: is empty or longer than 2048 characters",
        ));
    }
    // The API allows ASCII letters, digits and /_+=.@- in a name; the colons belong to an ARN.
    let colons = if id.starts_with("arn:") { ":" } else { "" };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c) || colons.contains(c);
    if !id.chars().all(allowed) {
        return Err(InvalidReference(
            "the name after secretsmanager: has a character that no secret's name has",
        ));
    }
    if !colons.is_empty() && !is_secret_arn(id) {
        return Err(InvalidReference("the ARN after secretsmanager: is not that of a secret"));
    }
    Ok(SecretReference::SecretsManager { id: id.to_owned(), key: key.map(str::to_owned) })
}

/// Reports whether this has the form `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`.
fn is_secret_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts.as_slice(), ["arn", _, "secretsmanager", region, account, "secret", name]
        if !region.is_empty() && !account.is_empty() && !name.is_empty())
}

/// Reports whether this is a credential's name by systemd's rule: a valid file name in printable ASCII.
fn is_credential_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= 255
        && name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':'))
}

impl FromStr for SecretReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretsManager { id, key: None } => write!(f, "secretsmanager:{id}"),
            Self::SecretsManager { id, key: Some(key) } => write!(f, "secretsmanager:{id}#{key}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

/// A secret that could not be read. Every message names the reference, and none contains any part of the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A secret in Secrets Manager was requested without an AWS client.
    #[error("cannot read {reference}: AWS is not available here")]
    NoAws {
        /// The secret's place.
        reference: SecretReference,
    },
    /// The secret does not exist in this region and account.
    #[error("cannot read {reference}: there is no such secret in this region and account; {words}")]
    NotFound {
        /// The secret's place.
        reference: SecretReference,
        /// AWS's message.
        words: String,
    },
    /// The instance's role may not read it.
    #[error(
        "cannot read {reference}: the instance's role needs secretsmanager:GetSecretValue for it, and kms:Decrypt if \
         it has a key of its own; {words}"
    )]
    Denied {
        /// The secret's place.
        reference: SecretReference,
        /// AWS's message.
        words: String,
    },
    /// AWS throttles the calls.
    #[error("cannot read {reference} now: AWS throttles; {words}")]
    Throttled {
        /// The secret's place.
        reference: SecretReference,
        /// AWS's message.
        words: String,
    },
    /// Secrets Manager did not answer or has an internal error, or the role's credentials are not available (yet).
    #[error("cannot read {reference} now: {words}")]
    Unavailable {
        /// The secret's place.
        reference: SecretReference,
        /// The cause.
        words: String,
    },
    /// It cannot be read until an operator changes the secret, the file or the configuration.
    #[error("cannot use {reference}: {why}")]
    Unusable {
        /// The secret's place.
        reference: SecretReference,
        /// The cause and the remedy.
        why: String,
    },
}

impl Error {
    /// Reports whether the same call may succeed later without an operator's action.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unavailable { .. })
    }

    fn unusable(reference: &SecretReference, why: impl Into<String>) -> Self {
        Self::Unusable { reference: reference.clone(), why: why.into() }
    }
}

/// Reads the secret. `aws` is needed only where [`SecretReference::needs_aws`] says so. A credential is read from the
/// directory that systemd names in `$CREDENTIALS_DIRECTORY`.
pub async fn resolve(reference: &SecretReference, aws: Option<&SdkConfig>) -> Result<SecretString, Error> {
    let directory = std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
    resolve_with(reference, aws, directory.as_deref()).await
}

/// Reads the secret as [`resolve`] does, with the directory of systemd's credentials given.
pub async fn resolve_with(
    reference: &SecretReference,
    aws: Option<&SdkConfig>,
    credentials: Option<&Path>,
) -> Result<SecretString, Error> {
    match reference {
        SecretReference::SecretsManager { id, key } => {
            let aws = aws.ok_or_else(|| Error::NoAws { reference: reference.clone() })?;
            manager::read(aws, reference, id, key.as_deref()).await
        }
        SecretReference::File(path) => {
            file::warn_if_shared(path);
            file::read(reference, path).await
        }
        SecretReference::Credential(name) => {
            let directory = credentials.ok_or_else(|| {
                Error::unusable(
                    reference,
                    format!(
                        "systemd gave this process no credentials; add LoadCredential={name}:/PATH to its unit, and \
                         by hand run it in the service's environment or use file:"
                    ),
                )
            })?;
            file::read(reference, &directory.join(name)).await
        }
    }
}
