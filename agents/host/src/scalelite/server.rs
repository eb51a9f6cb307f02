//! An entry as Scalelite shows it.

use plan::membership::{Entry, State};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An entry of Scalelite's list of servers (observed on 1.8.5; `tag` exists since 1.6.0).
#[derive(Clone, Debug)]
pub struct Server {
    /// Scalelite's id: a UUID, or the host name where `SERVER_ID_IS_HOSTNAME` is set.
    pub id: String,
    /// The host's API as it was added, not normalised.
    pub url: String,
    /// Its administrative state.
    pub state: State,
    /// Its load; none while Scalelite has not polled it successfully, or when the load is infinite.
    pub load: Option<f64>,
    /// Whether the last polls reached it.
    pub online: bool,
    /// What its load is multiplied with; none where Scalelite answers null.
    pub multiplier: Option<f64>,
    /// Its tag; none where this Scalelite has no tags.
    pub tag: Option<String>,
    secret: SecretString,
}

impl Server {
    /// The entry for planning, compared with the host's present secret: neither gets into it.
    pub fn entry(&self, own_secret: &SecretString) -> Entry {
        Entry {
            id: self.id.clone(),
            state: self.state,
            online: self.online,
            load: self.load,
            multiplier: self.multiplier,
            tag: self.tag.clone(),
            secret_matches: same(
                self.secret.expose_secret().as_bytes(),
                own_secret.expose_secret().as_bytes(),
            ),
        }
    }
}

/// Compares in a time that tells nothing but the lengths.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// An entry as it comes, before its values are understood. Unknown keys are fine: newer versions have more.
#[derive(Deserialize)]
pub(super) struct Raw {
    id: String,
    url: String,
    secret: Secret,
    state: Value,
    #[serde(default)]
    load: Value,
    #[serde(default)]
    load_multiplier: Value,
    online: Value,
    #[serde(default, deserialize_with = "present")]
    tag: Option<String>,
}

/// A null is an empty tag; only where the key is missing there are no tags.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|tag| Some(tag.unwrap_or_default()))
}

#[derive(Deserialize)]
#[serde(from = "String")]
struct Secret(SecretString);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Raw {
    /// Understands the values, or says which one of which entry it cannot.
    pub(super) fn server(self) -> Result<Server, String> {
        let strange = |key, value: &Value| {
            let value = crate::bbb::envelope::clean(&value.to_string());
            format!("an entry ({}) with an unknown {key}: {value}", crate::bbb::envelope::clean(&self.id))
        };
        let state = match self.state.as_str() {
            Some("enabled") => State::Enabled,
            Some("cordoned") => State::Cordoned,
            Some("disabled") => State::Disabled,
            _ => return Err(strange("state", &self.state)),
        };
        let online = match self.online.as_str() {
            Some("online") => true,
            Some("offline") => false,
            _ => return Err(strange("value of online", &self.online)),
        };
        let load = match &self.load {
            Value::String(text) if text == "unavailable" => None,
            other => number(other).map_err(|()| strange("load", other))?,
        };
        let multiplier =
            number(&self.load_multiplier).map_err(|()| strange("load_multiplier", &self.load_multiplier))?;
        let Self { id, url, secret: Secret(secret), tag, .. } = self;
        Ok(Server { id, url, state, load, online, multiplier, tag, secret })
    }
}

/// A JSON number, or one in a string (Scalelite writes multipliers so); none for null and for what is not finite.
fn number(value: &Value) -> Result<Option<f64>, ()> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64().ok_or(())?,
        Value::String(text) => text.trim().parse().map_err(drop)?,
        _ => return Err(()),
    };
    Ok(Some(number).filter(|number| number.is_finite()))
}
