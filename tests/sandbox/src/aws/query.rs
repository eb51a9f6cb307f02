//! AWS's Query protocol: form parameters in, XML out.

use std::collections::BTreeMap;

use crate::aws::xml::{Xml, request_id};
use crate::fleet::Refusal;
use crate::http::{Request, Response, reply};

/// The decoded parameters of a request.
#[derive(Clone, Debug, Default)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads the parameters of the query and of the form body.
    pub fn of(request: &Request) -> Self {
        let body = String::from_utf8_lossy(&request.body);
        let pairs = request.query.split('&').chain(body.split('&')).filter(|pair| !pair.is_empty());
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(decode_pair).collect())
    }

    /// Reads the parameters of a query alone.
    pub fn of_query(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(decode_pair).collect())
    }

    /// Returns the names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns a value, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns a value, or refuses a request without it.
    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| {
            Refusal::new("MissingParameter", format!("The request must contain the parameter {name}"))
        })
    }

    /// Returns the values of `name.1`, `name.2`, ... in that order.
    pub fn list(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}.");
        let mut values: Vec<(u32, &String)> = self
            .0
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.parse().ok()?, value)))
            .collect();
        values.sort_by_key(|(index, _)| *index);
        values.into_iter().map(|(_, value)| value.clone()).collect()
    }

    /// Returns the indices `n` for which there are `name.n....`, in order.
    pub fn indices(&self, name: &str) -> Vec<u32> {
        let prefix = format!("{name}.");
        let index = |key: &String| key.strip_prefix(&prefix)?.split('.').next()?.parse::<u32>().ok();
        let mut indices: Vec<u32> = self.0.keys().filter_map(index).collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    /// Refuses parameters that the operation does not have; `allowed` are names, or first parts of `name.n`.
    pub fn only(&self, allowed: &[&str]) -> Result<(), Refusal> {
        let known = |key: &str| {
            let first = key.split('.').next().unwrap_or_default();
            ["Action", "Version"].contains(&first) || allowed.contains(&first)
        };
        match self.0.keys().find(|key| !known(key)) {
            None => Ok(()),
            Some(key) => {
                Err(Refusal::new("UnknownParameter", format!("The parameter {key} is not recognized")))
            }
        }
    }

    /// Returns a whole number, or refuses one outside the range.
    pub fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            let message =
                format!("Value ( {text} ) for parameter {name} is invalid. Expecting {low} to {high}.");
            Refusal::new("InvalidParameterValue", message)
        })?;
        Ok(Some(number))
    }
}

fn decode_pair((name, value): (&str, &str)) -> (String, String) {
    (decode(name), decode(value))
}

/// Decodes form encoding: `+` is a space, `%XX` a byte.
pub(crate) fn decode(text: &str) -> String {
    percent_decode(&text.replace('+', " "))
}

/// Decodes percent encoding; malformed parts stay as they are.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns one page of `all`, and the token of the next page: tokens are positions.
pub fn page<'a, T>(
    all: &'a [T],
    token: Option<&str>,
    size: usize,
    bad: &'static str,
) -> Result<(&'a [T], Option<String>), Refusal> {
    let start = match token {
        None => 0,
        Some(text) => text
            .strip_prefix("page-")
            .and_then(|number| number.parse().ok())
            .filter(|start| *start <= all.len())
            .ok_or_else(|| Refusal::new(bad, format!("The token '{text}' is invalid")))?,
    };
    let end = all.len().min(start + size);
    let next = (end < all.len()).then(|| format!("page-{end}"));
    Ok((all.get(start..end).unwrap_or_default(), next))
}

/// Returns the refusal of a service of AWS's query protocol, with its namespace.
pub(crate) fn failure(namespace: &str, status: u16, code: &str, message: &str) -> Response {
    let body = Xml::document("ErrorResponse", namespace, |xml| {
        xml.element("Error", |xml| {
            xml.text("Type", if status < 500 { "Sender" } else { "Receiver" });
            xml.text("Code", code).text("Message", message);
        });
        xml.text("RequestId", request_id());
    });
    reply(status, "text/xml", body)
}
