//! Secrets in AWS Secrets Manager.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Error, SecretReference};
use crate::aws::{self, SdkConfig};

/// Reads the current version of the secret: its whole text, or the text of one key.
pub(super) async fn read(
    aws: &SdkConfig,
    reference: &SecretReference,
    id: &str,
    key: Option<&str>,
) -> Result<SecretString, Error> {
    let client = Client::new(aws);
    let answer = client.get_secret_value().secret_id(id).send().await;
    let answer = answer.map_err(|error| failure(reference, &error))?;
    let why = match answer.secret_binary {
        Some(_) => "it is stored as binary; store it as text (SecretString) instead",
        None => "the answer has no value; is this the address of AWS?",
    };
    let text = answer.secret_string.map(Zeroizing::new);
    let text = text.ok_or_else(|| Error::unusable(reference, why))?;
    let secret = match key {
        Some(key) => pick(&text, key).map_err(|why| Error::unusable(reference, why))?,
        None => text.trim_end_matches(['\r', '\n']).into(),
    };
    if secret.expose_secret().trim().is_empty() {
        return Err(Error::unusable(reference, "it is empty"));
    }
    Ok(secret)
}

/// A value in the secret's JSON object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(Text),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(from = "String")]
struct Text(SecretString);

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Returns the text of one key of a secret that is a JSON object, or else the defect. The errors do not quote the JSON
/// parser, which may quote the secret.
pub fn pick(text: &str, key: &str) -> Result<SecretString, String> {
    let mut object: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|_| {
        format!(
            "its text is not a JSON object, so it has no key {key}; leave #{key} out to use the whole text"
        )
    })?;
    match object.remove(key) {
        Some(Value::Text(Text(secret))) => Ok(secret),
        Some(Value::Other(_)) => Err(format!("the value of the JSON key {key} is not a string")),
        None => Err(format!("its JSON object has no key {key}")),
    }
}

/// Joins the texts in the values of a secret that is a JSON object, each on a line of its own; other values are left out.
pub fn values(text: &str) -> Result<Zeroizing<String>, &'static str> {
    let object: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|_| "its text begins like a JSON object, but is none")?;
    // The text has its full size from the start: growing would leave copies behind that are never wiped.
    let mut joined = Zeroizing::new(String::with_capacity(text.len()));
    for value in object.values() {
        if let Value::Text(Text(secret)) = value {
            joined.push_str(secret.expose_secret());
            joined.push('\n');
        }
    }
    Ok(joined)
}

fn failure(reference: &SecretReference, error: &SdkError<GetSecretValueError>) -> Error {
    let (reference, words) = (reference.clone(), aws::explain(error));
    match error.code() {
        // Keys or permissions that AWS does not know yet are refused by the same codes as those that it never will.
        Some(code) if code.starts_with("AccessDenied") && aws::is_retryable(error) => {
            Error::Unavailable { reference, words }
        }
        Some("ResourceNotFoundException") => Error::NotFound { reference, words },
        Some("AccessDeniedException" | "AccessDenied" | "DecryptionFailure") => {
            Error::Denied { reference, words }
        }
        Some(code) if code.starts_with("Throttling") || code.starts_with("TooManyRequests") => {
            Error::Throttled { reference, words }
        }
        _ if aws::is_retryable(error) => Error::Unavailable { reference, words },
        _ => Error::Unusable { reference, why: words },
    }
}
