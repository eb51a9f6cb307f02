//! As much of IAM's evaluation of a role's policy as the shipped policies use. What is not known here is an error.
//!
//! From the IAM User Guide: "Policy evaluation logic" (a denying statement that matches decides; else an allowing one;
//! else the request is refused), "IAM JSON policy elements: Condition operators" (all operators and all keys must match,
//! one value of a key is enough; wildcards in `StringLike` match any characters, dots too; `Null`), "Set operators for
//! multivalued context keys" (`ForAllValues` is true of a key that the request does not have, `ForAnyValue` is false).

use std::collections::BTreeMap;

use serde_json::Value;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    action: &'static str,
    resource: String,
    keys: BTreeMap<&'static str, Vec<String>>,
}

impl Request {
    pub(super) fn new(action: &'static str, resource: &str) -> Self {
        Self { action, resource: resource.to_owned(), keys: BTreeMap::new() }
    }

    /// The request with the values of one condition key.
    pub(super) fn with(mut self, key: &'static str, values: &[&str]) -> Self {
        self.keys.insert(key, values.iter().map(|value| (*value).to_owned()).collect());
        self
    }

    /// The request without a condition key.
    pub(super) fn without(mut self, key: &str) -> Self {
        assert!(self.keys.remove(key).is_some(), "there is no {key}");
        self
    }

    /// The request for another resource.
    pub(super) fn of(self, resource: &str) -> Self {
        Self { resource: resource.to_owned(), ..self }
    }
}

/// A policy.
#[derive(Debug)]
pub(super) struct Policy(Vec<Statement>);

#[derive(Debug)]
struct Statement {
    denies: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

/// One key below one operator.
#[derive(Debug)]
struct Condition {
    set: Option<Set>,
    operator: Operator,
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    All,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    Like,
    Null,
}

impl Policy {
    pub(super) fn parse(document: &Value) -> Self {
        assert_eq!(document["Version"], "2012-10-17", "older versions have other rules");
        let statements = document["Statement"].as_array().expect("statements");
        Self(statements.iter().map(Statement::parse).collect())
    }

    /// Whether a role with this policy alone may do it.
    pub(super) fn allows(&self, request: &Request) -> bool {
        let (denying, allowing): (Vec<_>, Vec<_>) =
            self.0.iter().filter(|statement| statement.matches(request)).partition(|one| one.denies);
        denying.is_empty() && !allowing.is_empty()
    }
}

impl Statement {
    fn parse(statement: &Value) -> Self {
        let fields = statement.as_object().expect("a statement");
        let known = ["Sid", "Effect", "Action", "Resource", "Condition"];
        assert!(fields.keys().all(|field| known.contains(&field.as_str())), "{statement}");
        let conditions = fields.get("Condition").and_then(Value::as_object).into_iter().flatten();
        Self {
            denies: match statement["Effect"].as_str() {
                Some("Allow") => false,
                Some("Deny") => true,
                _ => panic!("{statement}"),
            },
            actions: texts(&statement["Action"]),
            resources: texts(&statement["Resource"]),
            conditions: conditions.flat_map(|(operator, keys)| Condition::parse(operator, keys)).collect(),
        }
    }

    fn matches(&self, request: &Request) -> bool {
        // The names of actions are compared without regard to case, those of resources with it.
        let action = request.action.to_lowercase();
        self.actions.iter().any(|pattern| like(&pattern.to_lowercase(), &action))
            && self.resources.iter().any(|pattern| like(pattern, &request.resource))
            && self.conditions.iter().all(|condition| condition.matches(request))
    }
}

impl Condition {
    fn parse(operator: &str, keys: &Value) -> Vec<Self> {
        let (set, name) = match operator.split_once(':') {
            Some(("ForAllValues", name)) => (Some(Set::All), name),
            Some(("ForAnyValue", name)) => (Some(Set::Any), name),
            None => (None, operator),
            Some(_) => panic!("{operator}"),
        };
        let operator = match name {
            "StringEquals" => Operator::Equals,
            "StringLike" => Operator::Like,
            "Null" => Operator::Null,
            _ => panic!("{operator}"),
        };
        let keys = keys.as_object().expect("keys").iter();
        keys.map(|(key, values)| Self { set, operator, key: key.clone(), values: texts(values) }).collect()
    }

    fn matches(&self, request: &Request) -> bool {
        let found = request.keys.get(self.key.as_str());
        if self.operator == Operator::Null {
            assert!(self.set.is_none() && self.values.len() == 1, "{self:?}");
            return self.values[0] == found.is_none_or(Vec::is_empty).to_string();
        }
        let one = |value: &String| {
            self.values.iter().any(|pattern| match self.operator {
                Operator::Like => like(pattern, value),
                _ => pattern == value,
            })
        };
        let found = found.map(Vec::as_slice).unwrap_or_default();
        match self.set {
            Some(Set::All) => found.iter().all(one),
            Some(Set::Any) => found.iter().any(one),
            None => match found {
                [] => false,
                [value] => one(value),
                _ => panic!("{} has several values, and {:?} no set operator", self.key, self.operator),
            },
        }
    }
}

/// Whether a text matches a pattern, in which `*` stands for any characters and `?` for one.
fn like(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| like(rest.as_str(), &text[at..]))
        }
        Some(wanted) => {
            let mut text = text.chars();
            text.next()
                .is_some_and(|found| (wanted == '?' || wanted == found) && like(rest.as_str(), text.as_str()))
        }
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().map(|item| item.as_str().expect("a text").to_owned()).collect(),
        other => panic!("{other}"),
    }
}

/// The evaluator itself, on what AWS's documentation says of these operators.
#[test]
fn set_operators_wildcards_and_denials() {
    let policy = |condition: Value, effect: &str| {
        let wide = serde_json::json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
        let one = serde_json::json!({ "Effect": effect, "Action": "s:Do*", "Resource": "*", "Condition": condition });
        let statements = if effect == "Deny" { vec![wide, one] } else { vec![one] };
        Policy::parse(&serde_json::json!({ "Version": "2012-10-17", "Statement": statements }))
    };
    let request = |values: Option<&[&str]>| {
        let request = Request::new("s:DoIt", "arn:x");
        values.map_or(request.clone(), |values| request.with("s:k", values))
    };
    // Condition; whether it matches no key, [a], [a, b], [c].
    let rows = [
        (
            serde_json::json!({ "ForAllValues:StringEquals": { "s:k": ["a", "x"] } }),
            [true, true, false, false],
        ),
        (
            serde_json::json!({ "ForAnyValue:StringEquals": { "s:k": ["a", "x"] } }),
            [false, true, true, false],
        ),
        (serde_json::json!({ "ForAnyValue:StringLike": { "s:k": "?" } }), [false, true, true, true]),
        (serde_json::json!({ "Null": { "s:k": "false" } }), [false, true, true, true]),
        (serde_json::json!({ "Null": { "s:k": "true" } }), [true, false, false, false]),
    ];
    for (condition, expected) in rows {
        let keys: [Option<&[&str]>; 4] = [None, Some(&["a"]), Some(&["a", "b"]), Some(&["c"])];
        for (values, matches) in keys.into_iter().zip(expected) {
            let request = request(values);
            assert_eq!(
                policy(condition.clone(), "Allow").allows(&request),
                matches,
                "{condition} {values:?}"
            );
            assert_eq!(
                policy(condition.clone(), "Deny").allows(&request),
                !matches,
                "{condition} {values:?}"
            );
        }
    }
    for (pattern, text, expected) in [
        ("a*.d", "a.b.c.d", true),
        ("a*.*.d", "ab.d", false),
        ("a*.*.d", "a.b.d", true),
        ("*", "", true),
        ("a?", "a", false),
        ("a?c", "a.c", true),
    ] {
        assert_eq!(like(pattern, text), expected, "{pattern} {text}");
    }
}
