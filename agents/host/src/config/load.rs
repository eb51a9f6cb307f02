//! The loader of the configuration: reads values from files, environment and flags, and remembers their origin.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use plan::instance::Role;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::row::{Kind, Setting};
use super::table;
use crate::agent::Agent;

/// A setting's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Texts.
    List(Vec<String>),
}

/// The place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// `--set` on the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// All values that are set, by the path of their setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raw {
    values: BTreeMap<&'static str, (Value, Origin)>,
}

impl Raw {
    /// Returns a setting's value and its place, if it is set.
    pub fn get(&self, path: &str) -> Option<(&Value, &Origin)> {
        self.values.get(path).map(|(value, origin)| (value, origin))
    }
}

/// The options of the command line that are about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`: this file instead of the default one; it has to exist.
    pub file: Option<PathBuf>,
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
}

/// Reads all places, those that are overridden first. Collects the problems, so that a person sees them all at once.
pub fn load(
    agent: &Agent,
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Raw, ConfigError> {
    let mut loader = Loader { role: agent.role, raw: Raw::default(), problems: Vec::new() };
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let chosen = flags.file.clone().or_else(|| environment.get(&file_variable(agent)).map(PathBuf::from));
    let file = chosen.clone().unwrap_or_else(|| agent.config_file());
    loader.file(&file, chosen.is_some());
    for drop_in in loader.drop_ins(&file.with_file_name("config.d")) {
        loader.file(&drop_in, true);
    }
    loader.overrides(agent, &environment, &flags.set);
    loader.end()
}

/// Reads one file, given its text, in the same way; the file itself is not opened. Public for the fuzz targets.
pub fn load_text(
    agent: &Agent,
    file: &Path,
    text: &str,
    environment: &BTreeMap<String, String>,
    set: &[String],
) -> Result<Raw, ConfigError> {
    let mut loader = Loader { role: agent.role, raw: Raw::default(), problems: Vec::new() };
    loader.text(file, text);
    loader.overrides(agent, environment, set);
    loader.end()
}

/// Returns the variable that names the file.
fn file_variable(agent: &Agent) -> String {
    format!("{}CONFIG", agent.environment_prefix)
}

struct Loader {
    role: Role,
    raw: Raw,
    problems: Vec<String>,
}

impl Loader {
    /// Reads the values that override every file: environment variables, then flags.
    fn overrides(&mut self, agent: &Agent, environment: &BTreeMap<String, String>, set: &[String]) {
        let (prefix, file) = (agent.environment_prefix, file_variable(agent));
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with(prefix) && **name != file)
        {
            self.variable(agent, name, text);
        }
        for setting in set {
            self.flag(setting);
        }
    }

    fn end(self) -> Result<Raw, ConfigError> {
        match self.problems.is_empty() {
            true => Ok(self.raw),
            false => Err(ConfigError::new(&self.problems)),
        }
    }

    fn drop_ins(&mut self, directory: &Path) -> Vec<PathBuf> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.problems.push(format!("{}: cannot be read: {error}", directory.display()));
                return Vec::new();
            }
        };
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        paths
    }

    fn file(&mut self, path: &Path, required: bool) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return,
            Err(error) => {
                self.problems.push(format!("{}: cannot be read: {error}", path.display()));
                return;
            }
        };
        self.text(path, &text);
    }

    fn text(&mut self, path: &Path, text: &str) {
        match DeTable::parse(text) {
            Ok(table) => self.table(path, text, "", table.get_ref()),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                self.problems.push(format!("{}:{line}: is not TOML: {}", path.display(), error.message()));
            }
        }
    }

    fn table(&mut self, path: &Path, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let origin = Origin::File(path.to_owned(), line_of(text, name.span().start));
            let full = format!("{prefix}{}", name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if self.is_section(&full) => {
                    self.table(path, text, &format!("{full}."), inner);
                }
                _ => match self.find(&full) {
                    None => self.unknown(&origin, &full),
                    Some(setting) => self.set(setting, from_toml(setting.kind, value), origin),
                },
            }
        }
    }

    fn variable(&mut self, agent: &Agent, name: &str, text: &str) {
        let origin = Origin::Variable(name.to_owned());
        match table::of(self.role).find(|setting| setting.variable(agent) == name) {
            None => {
                let known = table::of(self.role).map(|setting| setting.variable(agent));
                let hint = suggestion(name, known);
                self.problems.push(format!("{origin}: there is no such setting{hint}"));
            }
            Some(setting) => self.set(setting, from_text(setting.kind, text), origin),
        }
    }

    fn flag(&mut self, assignment: &str) {
        let Some((path, text)) = assignment.split_once('=') else {
            // The argument is not quoted, because it may be half of a secret.
            self.problems.push("--set: expects KEY=VALUE, for example --set dns.ttl=120".to_owned());
            return;
        };
        match self.find(path) {
            None => self.unknown(&Origin::Flag, path),
            Some(setting) => self.set(setting, from_text(setting.kind, text), Origin::Flag),
        }
    }

    fn set(&mut self, setting: &'static Setting, value: Option<Value>, origin: Origin) {
        let Setting { path, kind, .. } = setting;
        match value {
            Some(value) => {
                self.raw.values.insert(path, (value, origin));
            }
            None => self.problems.push(format!("{origin}: {path}: must be {}", kind.noun())),
        }
    }

    fn find(&self, path: &str) -> Option<&'static Setting> {
        table::of(self.role).find(|setting| setting.path == path)
    }

    fn is_section(&self, path: &str) -> bool {
        let rest = |setting: &Setting| setting.path.strip_prefix(path).map(|rest| rest.starts_with('.'));
        table::of(self.role).any(|setting| rest(setting) == Some(true))
    }

    fn unknown(&mut self, origin: &Origin, path: &str) {
        let hint = suggestion(path, table::of(self.role).map(|setting| setting.path.to_owned()));
        self.problems.push(format!("{origin}: {path}: there is no such setting{hint}"));
    }
}

fn from_toml(kind: Kind, value: &Spanned<DeValue<'_>>) -> Option<Value> {
    match (kind, value.get_ref()) {
        (Kind::Text { .. } | Kind::Choice { .. }, DeValue::String(text)) => {
            Some(Value::Text(text.clone().into_owned()))
        }
        (Kind::Integer { .. }, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Integer)
        }
        (Kind::Float { .. }, DeValue::Integer(number)) if number.radix() == 10 => {
            number.as_str().parse().ok().map(Value::Float)
        }
        (Kind::Float { word, .. }, DeValue::String(text)) if *text == word => {
            Some(Value::Text(word.to_owned()))
        }
        (Kind::Float { .. }, DeValue::Float(number)) => number.as_str().parse().ok().map(Value::Float),
        (Kind::Bool { .. }, DeValue::Boolean(value)) => Some(Value::Bool(*value)),
        (Kind::List { .. }, DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>().map(Value::List)
        }
        _ => None,
    }
}

fn from_text(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text { .. } | Kind::Choice { .. } => Some(Value::Text(text.to_owned())),
        Kind::Integer { .. } => text.parse().ok().map(Value::Integer),
        Kind::Float { word, .. } if text == word => Some(Value::Text(text.to_owned())),
        Kind::Float { .. } => text.parse().ok().map(Value::Float),
        Kind::Bool { .. } => text.parse().ok().map(Value::Bool),
        Kind::List { .. } => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::List(items.map(str::to_owned).collect()))
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Returns ` (did you mean ...?)` when a known name is so similar that the wrong one looks like a typing error.
fn suggestion(wrong: &str, known: impl Iterator<Item = String>) -> String {
    const SLIPS: usize = 3;
    // The distance of long texts takes long to compute, and it is at least the difference of their lengths.
    let length = wrong.chars().count();
    let similar = known.filter(|name| name.chars().count().abs_diff(length) <= SLIPS);
    match similar.map(|name| (distance(wrong, &name), name)).min() {
        Some((slips, name)) if slips <= SLIPS => format!(" (did you mean {name}?)"),
        _ => String::new(),
    }
}

/// Computes Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.chars().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
