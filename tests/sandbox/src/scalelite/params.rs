//! Parameters as Rails understands them: which values count as blank, and what it wraps into `server`.

use serde_json::{Map, Value};

use super::decimal::Decimal;

/// Parses a JSON body; fails when it is not JSON.
pub(super) fn body(bytes: &[u8]) -> Result<Map<String, Value>, ()> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        // Rails keeps any other value under a name that Scalelite never reads.
        Ok(other) => Ok([("_json".to_owned(), other)].into_iter().collect()),
        Err(_) => Err(()),
    }
}

/// The parameters below `server`.
pub(super) enum Nested<'a> {
    /// Missing, null or empty.
    Missing,
    /// Not an object: Rails fails on it.
    Wrong,
    Found(Fields<'a>),
}

/// Returns what is below `server`. Rails wraps a body without that name into it as a whole (`ParamsWrapper`), which is
/// why `{"id": ...}` alone updates nothing successfully, and `[1]` is an entry without a URL (observed on 1.8.5).
pub(super) fn server(body: &Map<String, Value>) -> Nested<'_> {
    match body.get("server") {
        None if body.is_empty() => Nested::Missing,
        None => Nested::Found(Fields(body)),
        Some(Value::Null | Value::Bool(false)) => Nested::Missing,
        Some(Value::Object(map)) if map.is_empty() => Nested::Missing,
        Some(Value::Array(list)) if list.is_empty() => Nested::Missing,
        Some(Value::String(text)) if text.trim().is_empty() => Nested::Missing,
        Some(Value::Object(map)) => Nested::Found(Fields(map)),
        Some(_) => Nested::Wrong,
    }
}

/// The named fields of an object, of which only scalars are let through.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn scalar(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !matches!(value, Value::Array(_) | Value::Object(_)))
    }

    /// Returns the field as text, unless it is missing, null, false or blank.
    pub(super) fn present(self, name: &str) -> Option<String> {
        match self.scalar(name)? {
            Value::Null | Value::Bool(false) => None,
            Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
            other => Some(other.to_string()),
        }
    }

    /// Tells whether the field was sent and is not null.
    pub(super) fn given(self, name: &str) -> bool {
        self.scalar(name).is_some_and(|value| !value.is_null())
    }

    /// Returns the field if it was sent as a number.
    pub(super) fn number(self, name: &str) -> Option<&'a Value> {
        self.scalar(name).filter(|value| value.is_number())
    }

    /// Returns the field as a decimal: none when it is blank, an error when Ruby has no such conversion.
    pub(super) fn decimal(self, name: &str) -> Result<Option<Decimal>, ()> {
        match self.scalar(name) {
            Some(Value::Bool(true)) => Err(()),
            _ => Ok(self.present(name).map(|text| Decimal::read(&text))),
        }
    }
}
