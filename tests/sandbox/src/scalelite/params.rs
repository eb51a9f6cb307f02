//! Parameters as Rails understands them: which values count as blank, and how loosely Ruby reads a number.

use serde_json::{Map, Value};

/// Parses a JSON body; fails when it is not JSON.
pub(super) fn body(bytes: &[u8]) -> Result<Map<String, Value>, ()> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        // Rails keeps any other value under a name that Scalelite never reads.
        Ok(_) => Ok(Map::new()),
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

pub(super) fn server(body: &Map<String, Value>) -> Nested<'_> {
    match body.get("server") {
        None | Some(Value::Null | Value::Bool(false)) => Nested::Missing,
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

    /// Returns the field as a decimal: none when it is blank, an error when Ruby has no such conversion.
    pub(super) fn decimal(self, name: &str) -> Result<Option<f64>, ()> {
        match self.scalar(name) {
            Some(Value::Bool(true)) => Err(()),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            _ => Ok(self.present(name).map(|text| loose_decimal(&text))),
        }
    }
}

/// Reads a number like `String#to_d`: the longest prefix that is a number, or 0 when there is none.
fn loose_decimal(text: &str) -> f64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with("Infinity") {
        return sign * f64::INFINITY;
    }
    if digits.starts_with("NaN") {
        return f64::NAN;
    }
    // Rust alone would also accept `inf`, `nan` and a leading point.
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return 0.0;
    }
    let ends = digits.char_indices().map(|(at, character)| at + character.len_utf8()).rev();
    ends.filter_map(|end| digits.get(..end)?.parse::<f64>().ok()).next().unwrap_or_default() * sign
}

#[cfg(test)]
mod tests {
    use super::loose_decimal;

    #[test]
    fn numbers_are_read_loosely() {
        for (text, number) in [
            ("2.5", 2.5),
            (" -3 ", -3.0),
            ("2abc", 2.0),
            ("abc", 0.0),
            ("1e2x", 100.0),
            ("inf", 0.0),
            ("-", 0.0),
        ] {
            assert!((loose_decimal(text) - number).abs() < f64::EPSILON, "{text}");
        }
        assert!(loose_decimal("NaN").is_nan());
        assert!(loose_decimal("Infinity").is_infinite());
    }
}
