//! The shapes of answers: what is recorded, and how an answer is shown without the secrets of a pool.

use roxmltree::Document;
use serde_json::{Map, Value};

use crate::target::Answer;

/// The keys of an entry in every version, and those since 1.6.0.
const KEYS: [&str; 7] = ["id", "url", "secret", "state", "load", "load_multiplier", "online"];
const LATER_KEYS: [&str; 2] = ["tag", "bbb_version"];

/// A recorded answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// One entry with these values.
    Server(Map<String, Value>),
    /// A list of entries.
    Servers,
    Success,
    Error(String),
    Refused(String),
    Uncaught,
    Blank,
}

impl Shape {
    /// Reads a cell of the table.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        match name {
            "server" => {
                serde_json::from_str(rest).map(Self::Server).map_err(|error| format!("{text}: {error}"))
            }
            "servers" => Ok(Self::Servers),
            "success" => Ok(Self::Success),
            "error" => Ok(Self::Error(rest.to_owned())),
            "refused" => Ok(Self::Refused(rest.to_owned())),
            "uncaught" => Ok(Self::Uncaught),
            "blank" => Ok(Self::Blank),
            _ => Err(format!("{text}: no known answer")),
        }
    }

    /// Returns what differs in an answer, if anything does. `own` is the id of the own entry that a list has to
    /// contain, and `tags` tells whether entries have tags.
    pub(crate) fn difference(&self, answer: &Answer, own: Option<&str>, tags: bool) -> Option<String> {
        let status = answer.status;
        match self {
            Self::Server(wanted) => match object(answer) {
                Some(found) => server_difference(wanted, &found, tags),
                None => Some("not an entry".to_owned()),
            },
            Self::Servers => {
                let Some(list) = list(answer) else { return Some("not a list of entries".to_owned()) };
                let known = |entry: &Map<String, Value>| entry.get("id").and_then(Value::as_str) == own;
                let odd = list.iter().find_map(|entry| keys_difference(entry, tags));
                odd.or_else(|| (!list.iter().any(known)).then(|| "the own entry is missing".to_owned()))
            }
            Self::Success => differs(single(answer, "success").is_some_and(|value| value.is_string())),
            Self::Error(text) => {
                differs(single(answer, "error").is_some_and(|value| value.as_str() == Some(text)))
            }
            Self::Refused(key) => differs(refusal(answer).as_deref() == Some(key)),
            Self::Uncaught => {
                let found = object(answer);
                let says = |found: Map<String, Value>| {
                    found.get("status").and_then(Value::as_u64) == Some(u64::from(status))
                        && found.get("error").is_some_and(Value::is_string)
                };
                differs(found.is_some_and(says))
            }
            Self::Blank => differs(answer.body.is_empty() && answer.content_type.starts_with("text/html")),
        }
    }
}

fn differs(alike: bool) -> Option<String> {
    (!alike).then(|| "another answer".to_owned())
}

fn keys_difference(found: &Map<String, Value>, tags: bool) -> Option<String> {
    let wanted = KEYS.iter().chain(if tags { LATER_KEYS.as_slice() } else { &[] });
    let missing = wanted.clone().find(|key| !found.contains_key(**key));
    let more = found.keys().find(|key| !wanted.clone().any(|wanted| wanted == key));
    missing.map(|key| format!("without the key {key}")).or(more.map(|key| format!("with the key {key}")))
}

fn server_difference(wanted: &Map<String, Value>, found: &Map<String, Value>, tags: bool) -> Option<String> {
    keys_difference(found, tags).or_else(|| {
        wanted.iter().find_map(|(key, wanted)| {
            let found = found.get(key).unwrap_or(&Value::Null);
            (!is_like(wanted, found)).then(|| format!("{key} is {}", short(found)))
        })
    })
}

/// Compares a value with a recorded one; some are recorded by their form.
fn is_like(wanted: &Value, found: &Value) -> bool {
    match (wanted.as_str(), found.as_str()) {
        (Some("$UUID"), Some(found)) => found.len() == 36 && found.matches('-').count() == 4,
        (Some("$DIGITS400"), Some(found)) => {
            let whole = found.strip_suffix(".0").unwrap_or(found);
            whole.len() >= 400 && whole.starts_with('1') && whole.bytes().skip(1).all(|digit| digit == b'0')
        }
        _ => wanted == found,
    }
}

/// Returns the one object in an answer.
pub(crate) fn object(answer: &Answer) -> Option<Map<String, Value>> {
    match json(answer)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// Returns the entries in an answer.
pub(crate) fn list(answer: &Answer) -> Option<Vec<Map<String, Value>>> {
    match json(answer)? {
        Value::Array(list) => list
            .into_iter()
            .map(|entry| match entry {
                Value::Object(entry) => Some(entry),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn json(answer: &Answer) -> Option<Value> {
    let is_json = answer.content_type.starts_with("application/json");
    is_json.then(|| serde_json::from_str(&answer.body).ok()).flatten()
}

/// Returns the value of an object with one key.
pub(crate) fn single(answer: &Answer, key: &str) -> Option<Value> {
    object(answer).filter(|object| object.len() == 1)?.get(key).cloned()
}

/// Returns the key of a refusal.
pub(crate) fn refusal(answer: &Answer) -> Option<String> {
    if !answer.content_type.starts_with("application/xml") {
        return None;
    }
    let document = Document::parse(&answer.body).ok()?;
    let text =
        |name| document.descendants().find(|node| node.has_tag_name(name)).and_then(|node| node.text());
    (text("returncode") == Some("FAILED")).then(|| text("messageKey").unwrap_or_default().to_owned())
}

/// Describes an answer without what may be another host's secret.
pub(crate) fn shown(answer: &Answer) -> String {
    let own = |object: &Map<String, Value>| object.values().any(|value| short(value).contains(crate::HOST));
    let what = match (refusal(answer), list(answer), object(answer)) {
        (Some(key), _, _) => format!("refused {key}"),
        (_, Some(list), _) => format!("a list of {} entries", list.len()),
        (_, _, Some(object))
            if object.contains_key("error") || object.contains_key("success") || own(&object) =>
        {
            short(&Value::Object(object))
        }
        (_, _, Some(_)) => "an object".to_owned(),
        _ if answer.body.is_empty() => format!("an empty page ({})", answer.content_type),
        _ => format!("{} bytes of {}", answer.body.len(), answer.content_type),
    };
    format!("{} {what}", answer.status)
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{} ...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, shown};
    use crate::target::Answer;

    const ENTRY: &str = r#"{"id":"1","url":"https://contract-test.invalid","secret":"s","tag":"","bbb_version":"","state":"disabled","load":"unavailable","load_multiplier":"1.0","online":"offline"}"#;

    fn json(status: u16, body: &str) -> Answer {
        Answer { status, content_type: "application/json; charset=utf-8".to_owned(), body: body.to_owned() }
    }

    fn page(content_type: &str, body: &str) -> Answer {
        Answer { status: 200, content_type: content_type.to_owned(), body: body.to_owned() }
    }

    #[test]
    fn differences_are_seen() {
        let refused =
            "<response><returncode>FAILED</returncode><messageKey>checksumError</messageKey></response>";
        let list = format!("[{ENTRY}]");
        let huge = ENTRY.replace("1.0", &format!("1{}.0", "0".repeat(400)));
        for (wanted, answer, alike) in [
            (r#"server {"id":"1","tag":""}"#, json(200, ENTRY), true),
            (r#"server {"id":"2"}"#, json(200, ENTRY), false),
            (r#"server {"id":"$UUID"}"#, json(200, ENTRY), false),
            ("server {}", json(200, &ENTRY.replace("\"tag\":\"\",", "")), false),
            ("server {}", json(200, &ENTRY.replace("\"tag\"", "\"colour\"")), false),
            ("server {}", json(200, &list), false),
            (r#"server {"load_multiplier":"$DIGITS400"}"#, json(200, &huge), true),
            (r#"server {"load_multiplier":"$DIGITS400"}"#, json(200, ENTRY), false),
            ("servers", json(200, &list), true),
            ("servers", json(200, "[]"), false),
            ("success", json(200, r#"{"success":"yes"}"#), true),
            ("success", json(200, r#"{"error":"no"}"#), false),
            ("error no", json(400, r#"{"error":"no"}"#), true),
            ("error no", json(400, r#"{"error":"yes"}"#), false),
            ("refused checksumError", page("application/xml; charset=utf-8", refused), true),
            ("refused internalError", page("application/xml; charset=utf-8", refused), false),
            ("refused checksumError", page("text/html", refused), false),
            ("uncaught", json(500, r#"{"status":500,"error":"Internal Server Error"}"#), true),
            ("uncaught", json(400, r#"{"status":500,"error":"Internal Server Error"}"#), false),
            ("blank", page("text/html; charset=utf-8", ""), true),
            ("blank", page("text/html; charset=utf-8", "x"), false),
        ] {
            let difference = Shape::parse(wanted).unwrap().difference(&answer, Some("1"), true);
            assert_eq!(difference.is_none(), alike, "{wanted}: {difference:?}");
        }
        assert!(Shape::parse("server {").is_err() && Shape::parse("sorry").is_err());
    }

    #[test]
    fn an_answer_is_shown_without_others_secrets() {
        let theirs =
            ENTRY.replace("contract-test.invalid", "vc-1.example.org").replace("\"s\"", "\"hidden\"");
        for body in [theirs.clone(), format!("[{theirs}]")] {
            let text = shown(&json(200, &body));
            assert!(!text.contains("hidden"), "{text}");
        }
        assert!(shown(&json(200, ENTRY)).contains("contract-test.invalid"));
        assert_eq!(shown(&page("text/html", "hidden")), "200 6 bytes of text/html");
    }
}
