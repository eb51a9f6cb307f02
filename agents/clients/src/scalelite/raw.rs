//! An entry before its values are interpreted. Parsing accepts any JSON in it, so that one odd entry does not hide all
//! others; only the values of the entries that matter are interpreted later. Values that may be secrets are copied
//! only into memory that is wiped.

use std::fmt;
use std::marker::PhantomData;

use plan::membership::{State, host_of, normalise_url};
use secrecy::SecretString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Server;
use crate::untrusted::clean;

/// The most entries: more than any pool has. A list of nulls could have millions.
const MAX_ITEMS: usize = 10_000;

/// An entry before its values are interpreted. Unknown keys are fine: newer versions have more.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    id: Plain,
    url: Plain,
    secret: Secret,
    state: Plain,
    load: Plain,
    load_multiplier: Plain,
    online: Plain,
    /// The tag. A null is an empty tag; only a missing key means that this Scalelite has no tags.
    #[serde(deserialize_with = "present")]
    tag: Option<Plain>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Plain>, D::Error> {
    Plain::deserialize(deserializer).map(Some)
}

/// An item of the list: an entry, or a value that is none.
#[derive(Debug, Default)]
pub(super) struct Item(pub(super) Option<Raw>);

/// A JSON value; of a list or an object, which could be of any size, only its type.
#[derive(Debug, Default)]
struct Plain(Value);

/// A text, or no usable one.
#[derive(Debug, Default)]
struct Secret(Option<SecretString>);

impl Raw {
    /// Returns the name of the host in this entry's URL.
    pub(super) fn host(&self) -> Option<String> {
        self.url.0.as_str().and_then(normalise_url).as_deref().and_then(host_of).map(str::to_owned)
    }

    /// Reports whether this is an entry of the host with this name.
    pub(super) fn has_host(&self, name: &str) -> bool {
        self.host().as_deref() == Some(name)
    }

    /// Reports whether new meetings are placed on this server, as far as its entry tells.
    pub(super) fn takes_meetings(&self) -> bool {
        self.state.0 == "enabled" && self.online.0 == "online"
    }

    /// Interprets the values, or says which value of which entry is not usable.
    pub(super) fn server(self) -> Result<Server, String> {
        let Self { id, url, secret, state, load, load_multiplier, online, tag } = self;
        let (Plain(id), Plain(url), Plain(state), Plain(online)) = (id, url, state, online);
        let (Plain(load), Plain(load_multiplier), tag) = (load, load_multiplier, tag.map(|Plain(tag)| tag));
        let Some(name) = id.as_str() else { return Err(format!("an entry with {}", unknown("id", &id))) };
        let strange = |key, value: &Value| format!("an entry ({}) with {}", clean(name), unknown(key, value));
        let text = |key, value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| strange(key, value));
        let url = text("url", &url)?;
        let secret = secret.0.ok_or_else(|| format!("an entry ({}) without a secret", clean(name)))?;
        let state = match state.as_str() {
            Some("enabled") => State::Enabled,
            Some("cordoned") => State::Cordoned,
            Some("disabled") => State::Disabled,
            _ => return Err(strange("state", &state)),
        };
        let online = match online.as_str() {
            Some("online") => true,
            Some("offline") => false,
            _ => return Err(strange("value of online", &online)),
        };
        let load = match &load {
            Value::String(text) if text == "unavailable" => None,
            other => number(other).map_err(|()| strange("load", other))?,
        };
        let multiplier =
            number(&load_multiplier).map_err(|()| strange("load_multiplier", &load_multiplier))?;
        let tag = match tag {
            None => None,
            Some(Value::Null) => Some(String::new()),
            Some(other) => Some(text("tag", &other)?),
        };
        Ok(Server { id: name.to_owned(), url, state, load, online, multiplier, tag, secret })
    }
}

fn unknown(key: &str, value: &Value) -> String {
    // Their content is not shown: it may be whole entries, with their secrets.
    let shown = match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        scalar => clean(&scalar.to_string()),
    };
    format!("an unknown {key}: {shown}")
}

/// Reads a JSON number, or one in a string (as Scalelite writes multipliers); `None` for null and for a number that is
/// not finite.
fn number(value: &Value) -> Result<Option<f64>, ()> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64().ok_or(())?,
        Value::String(text) => text.trim().parse().map_err(drop)?,
        _ => return Err(()),
    };
    Ok(Some(number).filter(|number| number.is_finite()))
}

/// A result made from one type of JSON value; a value of any other type gives the default.
trait Lenient: Default {
    fn of_text(_: &str) -> Self {
        Self::default()
    }

    /// Handles a null, a boolean or a number; a list or an object that is skipped comes as an empty one.
    fn of_other(_: Value) -> Self {
        Self::default()
    }

    fn of_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::of_other(Value::Object(serde_json::Map::new())))
    }
}

impl Lenient for Plain {
    fn of_text(text: &str) -> Self {
        Self(text.into())
    }

    fn of_other(value: Value) -> Self {
        Self(value)
    }
}

impl Lenient for Secret {
    fn of_text(text: &str) -> Self {
        Self(Some(text.into()))
    }
}

impl Lenient for Item {
    fn of_object<'de, A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        Raw::deserialize(MapAccessDeserializer::new(object)).map(|raw| Self(Some(raw)))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

/// The whole list of items.
#[derive(Debug)]
pub(super) struct Items(pub(super) Vec<Item>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SomeItems)
    }
}

struct SomeItems;

impl<'de> Visitor<'de> for SomeItems {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX_ITEMS} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == MAX_ITEMS {
                return Err(de::Error::invalid_length(MAX_ITEMS + 1, &self));
            }
            items.push(item);
        }
        Ok(Items(items))
    }
}

struct AnyValue<T>(PhantomData<T>);

impl<'de, T: Lenient> Visitor<'de> for AnyValue<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::of_other(Value::Null))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<T, E> {
        Ok(T::of_other(truth.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::of_other(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::of_other(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<T, E> {
        Ok(T::of_other(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::of_text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::of_other(Value::Array(Vec::new())))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::of_object(object)
    }
}
