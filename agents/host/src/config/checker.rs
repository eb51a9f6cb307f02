//! Reads one value at a time and notes what is wrong with it, with the place where it stands.

use std::fmt::Display;
use std::time::Duration;

use super::keys;
use super::load::{Origin, Raw, Value};
use crate::agent::Agent;

/// Raw values that are being checked, and all that was wrong so far.
pub(super) struct Checker<'a> {
    pub(super) agent: &'a Agent,
    pub(super) raw: &'a Raw,
    pub(super) problems: Vec<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(agent: &'a Agent, raw: &'a Raw) -> Self {
        Self { agent, raw, problems: Vec::new() }
    }

    pub(super) fn seconds(&mut self, path: &str, default: i64, least: i64, most: i64) -> Option<Duration> {
        let seconds = self.integer(path, default, least, most)?;
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }

    pub(super) fn required<T, E: Display>(
        &mut self,
        path: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.optional(path, read)?;
        if value.is_none() {
            let prefix = self.agent.environment_prefix;
            let variable =
                keys::of(self.agent.role).find(|key| key.path == path).map(|key| keys::variable(prefix, key));
            let file = self.agent.config_file();
            self.problems.push(format!(
                "{path} is not set; set it in {} or as {}",
                file.display(),
                variable.unwrap_or_default()
            ));
        }
        value
    }

    /// `None` when the value is wrong (and the problem noted), `Some(None)` when it is not set.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        path: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        let Some((Value::Text(text), _)) = self.raw.get(path) else { return Some(None) };
        match read(text) {
            Ok(value) => Some(Some(value)),
            Err(error) => {
                self.complain(path, error);
                None
            }
        }
    }

    pub(super) fn with_default<T, E: Display>(
        &mut self,
        path: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.optional(path, &read)? {
            Some(value) => Some(value),
            None => read(default).ok(),
        }
    }

    pub(super) fn list<T, E: Display>(
        &mut self,
        path: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let Some((Value::List(texts), _)) = self.raw.get(path) else { return Some(Vec::new()) };
        match texts.iter().map(|text| read(text)).collect() {
            Ok(values) => Some(values),
            Err(error) => {
                self.complain(path, error);
                None
            }
        }
    }

    pub(super) fn integer(&mut self, path: &str, default: i64, least: i64, most: i64) -> Option<i64> {
        let Some((Value::Integer(number), _)) = self.raw.get(path) else { return Some(default) };
        if (least..=most).contains(number) {
            return Some(*number);
        }
        self.complain(path, format!("{number} is out of range ({least} to {most} seconds)"));
        None
    }

    pub(super) fn float(
        &mut self,
        path: &str,
        right: impl Fn(f64) -> bool,
        wrong: &str,
    ) -> Option<Option<f64>> {
        match self.raw.get(path) {
            Some((Value::Float(number), _)) if right(*number) => Some(Some(*number)),
            Some(_) => {
                self.complain(path, wrong);
                None
            }
            None => Some(None),
        }
    }

    pub(super) fn bool(&self, path: &str, default: bool) -> bool {
        match self.raw.get(path) {
            Some((Value::Bool(value), _)) => *value,
            _ => default,
        }
    }

    pub(super) fn complain(&mut self, path: &str, what: impl Display) {
        let place =
            self.raw.get(path).map_or_else(String::new, |(_, origin): (_, &Origin)| format!("{origin}: "));
        self.problems.push(format!("{place}{path}: {what}"));
    }
}
