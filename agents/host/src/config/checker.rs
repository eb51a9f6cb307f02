//! The checker of raw values: reads one at a time by its row in the table, and notes each problem with its place.
//!
//! A path that is not in the table, or that is read as another kind than its row says, is a bug in this program. It is
//! noted like a wrong value, and every test that reads settings then fails.

use std::fmt::Display;
use std::time::Duration;

use super::choices::{Choice, words};
use super::load::{Origin, Raw, Value};
use super::row::{Fallback, Kind, Range, Setting};
use super::table;
use crate::agent::Agent;

/// Raw values that are being checked, and all problems found so far.
pub(super) struct Checker<'a> {
    pub(super) agent: &'a Agent,
    pub(super) raw: &'a Raw,
    pub(super) problems: Vec<String>,
}

/// The value of a number that may also be a word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// It is not set.
    Open,
    /// This number.
    Is(f64),
    /// The word: the agent finds the number.
    Found,
}

impl<'a> Checker<'a> {
    pub(super) fn new(agent: &'a Agent, raw: &'a Raw) -> Self {
        Self { agent, raw, problems: Vec::new() }
    }

    /// Reads a text that has to be set.
    pub(super) fn required<T, E: Display>(
        &mut self,
        path: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.optional(path, read)?;
        if value.is_none() {
            let variable = self.row(path)?.variable(self.agent);
            let file = self.agent.config_file();
            self.problems.push(format!("{path} is not set; set it in {} or as {variable}", file.display()));
        }
        value
    }

    /// Reads a text without a default: `Some(None)` when it is not set, `None` when it is wrong.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        path: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        let Kind::Text { default: Fallback::None(_), length } = self.row(path)?.kind else {
            return self.fault(path);
        };
        match self.raw.get(path) {
            Some((Value::Text(text), _)) => self.parse(path, text, length, read).map(Some),
            _ => Some(None),
        }
    }

    /// Reads a text with a default.
    pub(super) fn text<T, E: Display>(
        &mut self,
        path: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (default, length) = match self.row(path)?.kind {
            Kind::Text { default: Fallback::Is(text), length } => (text.to_owned(), length),
            Kind::Text { default: Fallback::Of(text), length } => (text(self.agent), length),
            _ => return self.fault(path),
        };
        match self.raw.get(path) {
            Some((Value::Text(text), _)) => self.parse(path, text, length, read),
            _ => self.parse(path, &default, length, read),
        }
    }

    fn parse<T, E: Display>(
        &mut self,
        path: &str,
        text: &str,
        length: Option<Range>,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let characters = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        if let Some(range) = length.filter(|range| !range.contains(characters)) {
            return self.refuse(path, format!("must have {range}"));
        }
        read(text).map_or_else(|error| self.refuse(path, error), Some)
    }

    /// Reads one of the words of a choice.
    pub(super) fn choice<C: Choice>(&mut self, path: &str) -> Option<C> {
        let Kind::Choice { words: allowed, default } = self.row(path)?.kind else { return self.fault(path) };
        if allowed() != words::<C>() {
            return self.fault(path);
        }
        let text = match self.raw.get(path) {
            Some((Value::Text(text), _)) => text,
            _ => default,
        };
        match C::WORDS.iter().find(|(word, ..)| *word == text) {
            Some((_, value, _)) => Some(*value),
            None => self.refuse(path, format!("must be {}", alternatives(C::WORDS))),
        }
    }

    /// Reads a list of texts; empty when it is not set.
    pub(super) fn list<T, E: Display>(
        &mut self,
        path: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let Kind::List { numbers: None } = self.row(path)?.kind else { return self.fault(path) };
        let texts = self.texts(path).iter().map(|text| read(text));
        texts.collect::<Result<_, _>>().map_or_else(|error| self.refuse(path, error), Some)
    }

    /// Reads a list of texts that are numbers; empty when it is not set.
    pub(super) fn numbers(&mut self, path: &str) -> Option<Vec<u64>> {
        let Kind::List { numbers: Some(range) } = self.row(path)?.kind else { return self.fault(path) };
        let texts = self.texts(path).iter().map(|text| match text.parse() {
            Ok(number) if range.contains(number) => Ok(number),
            _ => {
                Err(format!("{text:?} is not a number of {} ({} to {})", range.unit, range.least, range.most))
            }
        });
        texts.collect::<Result<_, _>>().map_or_else(|error| self.refuse(path, error), Some)
    }

    fn texts(&self, path: &str) -> &'a [String] {
        match self.raw.get(path) {
            Some((Value::List(texts), _)) => texts,
            _ => &[],
        }
    }

    /// Reads a whole number.
    pub(super) fn integer(&mut self, path: &str) -> Option<u64> {
        let Kind::Integer { default, range } = self.row(path)?.kind else { return self.fault(path) };
        let Some((Value::Integer(number), _)) = self.raw.get(path) else { return Some(default) };
        match u64::try_from(*number) {
            Ok(number) if range.contains(number) => Some(number),
            _ => self.refuse(path, format!("{number} is out of range ({range})")),
        }
    }

    /// Reads a whole number of seconds.
    pub(super) fn seconds(&mut self, path: &str) -> Option<Duration> {
        self.integer(path).map(Duration::from_secs)
    }

    /// Reads a number, or the word in its place.
    pub(super) fn float(&mut self, path: &str) -> Option<Number> {
        let Kind::Float { above, .. } = self.row(path)?.kind else { return self.fault(path) };
        match self.raw.get(path) {
            Some((Value::Float(number), _)) if number.is_finite() && *number > above => {
                Some(Number::Is(*number))
            }
            Some((Value::Text(_), _)) => Some(Number::Found),
            Some(_) => self.refuse(path, format!("must be above {above}")),
            None => Some(Number::Open),
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn bool(&mut self, path: &str) -> Option<bool> {
        let Kind::Bool { default } = self.row(path)?.kind else { return self.fault(path) };
        match self.raw.get(path) {
            Some((Value::Bool(value), _)) => Some(*value),
            _ => Some(default),
        }
    }

    /// Notes the defect of a value.
    pub(super) fn complain(&mut self, path: &str, what: impl Display) {
        let place =
            self.raw.get(path).map_or_else(String::new, |(_, origin): (_, &Origin)| format!("{origin}: "));
        self.problems.push(format!("{place}{path}: {what}"));
    }

    fn refuse<T>(&mut self, path: &str, what: impl Display) -> Option<T> {
        self.complain(path, what);
        None
    }

    fn row(&mut self, path: &str) -> Option<&'static Setting> {
        table::find(path).or_else(|| self.fault(path))
    }

    fn fault<T>(&mut self, path: &str) -> Option<T> {
        self.refuse(path, "is not in the table of settings as it is read (a fault of this program)")
    }
}

/// Formats words as `"a", "b" or "c"`.
fn alternatives<C>(words: &[(&str, C, &str)]) -> String {
    let quoted: Vec<String> = words.iter().map(|(word, ..)| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}
