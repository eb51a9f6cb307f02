//! Secrets Manager's JSON API: `GetSecretValue`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::aws::xml::request_id;
use crate::clock::real_time;
use crate::fleet::Refusal;
use crate::http::{Request, Response, Service, ServiceName, reply};

const PREFIX: &str = "secretsmanager.";

/// The content of a secret.
#[derive(Clone, PartialEq, Eq)]
enum Content {
    Text(String),
    Binary(Vec<u8>),
}

#[derive(Clone)]
struct Version {
    id: String,
    content: Content,
    created: u64,
}

#[derive(Clone)]
struct Secret {
    arn: String,
    deleted: bool,
    current: Version,
    previous: Option<Version>,
    pending: Option<Version>,
}

/// The facts of a secret that the control API may show: never its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretSummary {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// The version that is `AWSCURRENT`.
    pub version: String,
    /// Whether the secret is marked for deletion.
    pub deleted: bool,
}

/// Secrets Manager's API.
pub struct SecretsManager {
    account: String,
    region: String,
    secrets: Mutex<BTreeMap<String, Secret>>,
}

impl std::fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.secrets().keys()).finish()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    secret_id: Option<String>,
    version_id: Option<String>,
    version_stage: Option<String>,
}

impl SecretsManager {
    /// Creates a Secrets Manager without secrets.
    pub fn new(account: &str, region: &str) -> Arc<Self> {
        Arc::new(Self { account: account.to_owned(), region: region.to_owned(), secrets: Mutex::default() })
    }

    /// Creates a secret, or gives it a new current version; returns its ARN.
    pub fn put(&self, name: &str, value: &str) -> String {
        self.put_content(name, Content::Text(value.to_owned()))
    }

    /// Creates a secret with a binary value, or gives it a new current version; returns its ARN.
    pub fn put_binary(&self, name: &str, value: &[u8]) -> String {
        self.put_content(name, Content::Binary(value.to_vec()))
    }

    fn put_content(&self, name: &str, content: Content) -> String {
        let current = Version::new(content);
        let mut secrets = self.secrets();
        let old = secrets.remove(name);
        let arn = old.as_ref().map_or_else(|| self.arn(name), |old| old.arn.clone());
        let previous = old.map(|old| old.current);
        let secret = Secret { arn: arn.clone(), deleted: false, current, previous, pending: None };
        secrets.insert(name.to_owned(), secret);
        arn
    }

    /// Gives a secret a version that is to be the next one (`AWSPENDING`); tells whether there is such a secret.
    pub fn put_pending(&self, name: &str, value: &str) -> bool {
        let pending = Version::new(Content::Text(value.to_owned()));
        self.secrets().get_mut(name).map(|secret| secret.pending = Some(pending)).is_some()
    }

    /// Marks a secret for deletion: it is refused from now on, until the next [`SecretsManager::put`].
    pub fn delete(&self, name: &str) -> bool {
        self.secrets().get_mut(name).map(|secret| secret.deleted = true).is_some()
    }

    /// Returns all secrets, without their contents.
    pub fn summaries(&self) -> Vec<SecretSummary> {
        let summary = |(name, secret): (&String, &Secret)| SecretSummary {
            name: name.clone(),
            arn: secret.arn.clone(),
            version: secret.current.id.clone(),
            deleted: secret.deleted,
        };
        self.secrets().iter().map(summary).collect()
    }

    fn secrets(&self) -> MutexGuard<'_, BTreeMap<String, Secret>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a new ARN: AWS appends a hyphen and six characters to the name.
    fn arn(&self, name: &str) -> String {
        let suffix = crate::aws::random(6, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
        format!("arn:aws:secretsmanager:{}:{}:secret:{name}-{suffix}", self.region, self.account)
    }

    fn act(&self, request: &Request) -> Result<Value, Refusal> {
        if request.header("content-type") != "application/x-amz-json-1.1" {
            return Err(Refusal::new("UnknownOperationException", "The content type is not JSON 1.1"));
        }
        match self.action(request).as_str() {
            "GetSecretValue" => self.get_value(&request.body),
            _ => Err(Refusal::new("UnknownOperationException", "")),
        }
    }

    fn get_value(&self, body: &[u8]) -> Result<Value, Refusal> {
        let query: Query = serde_json::from_slice(body)
            .map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
        let id = query.secret_id.filter(|id| !id.is_empty()).ok_or_else(|| {
            let message = "1 validation error detected: Value null at 'secretId' failed to satisfy constraint: \
                           Member must not be null";
            Refusal::new("ValidationException", message)
        })?;
        let secrets = self.secrets();
        let (name, secret) = secrets
            .iter()
            .find(|(name, secret)| **name == id || secret.has_arn(&id))
            .ok_or_else(|| not_found("Secrets Manager can't find the specified secret."))?;
        if secret.deleted {
            let message =
                "You can't perform this operation on the secret because it was marked for deletion.";
            return Err(Refusal::new("InvalidRequestException", message));
        }
        let (version, stage) = secret.version(query.version_id.as_deref(), query.version_stage.as_deref())?;
        let mut answer = json!({
            "ARN": secret.arn,
            "Name": name,
            "VersionId": version.id,
            "VersionStages": [stage],
            "CreatedDate": version.created,
        });
        let (key, value) = match &version.content {
            Content::Text(text) => ("SecretString", text.clone()),
            Content::Binary(bytes) => ("SecretBinary", base64(bytes)),
        };
        if let Some(fields) = answer.as_object_mut() {
            fields.insert(key.to_owned(), Value::String(value));
        }
        Ok(answer)
    }
}

impl Version {
    fn new(content: Content) -> Self {
        Self { id: request_id(), content, created: real_time().as_secs() }
    }
}

impl Secret {
    /// Tells whether an id is the whole ARN, or the ARN without the six random characters.
    fn has_arn(&self, id: &str) -> bool {
        self.arn == id || self.arn.rsplit_once('-').is_some_and(|(partial, _)| partial == id)
    }

    fn version(&self, id: Option<&str>, stage: Option<&str>) -> Result<(&Version, &'static str), Refusal> {
        let previous = self.previous.as_ref().map(|version| (version, "AWSPREVIOUS"));
        let pending = self.pending.as_ref().map(|version| (version, "AWSPENDING"));
        let versions = [Some((&self.current, "AWSCURRENT")), previous, pending];
        let by_id = id.is_some();
        let wanted = |(version, label): &(&Version, &'static str)| match (id, stage) {
            (None, stage) => *label == stage.unwrap_or("AWSCURRENT"),
            (Some(id), stage) => version.id == id && stage.is_none_or(|stage| stage == *label),
        };
        versions.into_iter().flatten().find(wanted).ok_or_else(|| {
            let what = if by_id { "VersionId" } else { "staging label" };
            let value = id.or(stage).unwrap_or("AWSCURRENT");
            not_found(&format!("Secrets Manager can't find the specified secret value for {what}: {value}"))
        })
    }
}

fn not_found(message: &str) -> Refusal {
    Refusal::new("ResourceNotFoundException", message)
}

impl Service for SecretsManager {
    fn name(&self) -> ServiceName {
        ServiceName::SecretsManager
    }

    fn action(&self, request: &Request) -> String {
        request.header("x-amz-target").trim_start_matches(PREFIX).to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let answer = match self.act(request) {
            Ok(value) => answer(200, &value),
            Err(refusal) => failure(400, refusal.code, &refusal.message),
        };
        Box::pin(std::future::ready(answer))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        failure(status, code, crate::aws::message(code))
    }
}

fn answer(status: u16, body: &Value) -> Response {
    let mut response = reply(status, "application/x-amz-json-1.1", body.to_string());
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn failure(status: u16, code: &str, message: &str) -> Response {
    // Common errors have "message", the service's own have "Message"; clients read both.
    answer(status, &json!({ "__type": code, "Message": message }))
}

/// Encodes bytes in base 64 with padding (RFC 4648).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let index = bits >> (18 - 6 * position) & 63;
            let letter = ALPHABET.get(index as usize).filter(|_| position <= chunk.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads_as_the_rfc_says() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(super::base64(plain.as_bytes()), encoded);
        }
    }
}
