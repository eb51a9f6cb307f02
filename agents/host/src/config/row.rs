//! A row of the settings' table, and the ways in which files, errors and documents show it.

use std::fmt;

use plan::instance::Role;

use crate::agent::Agent;

/// A setting: everything about it except the code that uses its value.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its path in a file, e.g. `dns.ttl`.
    pub path: &'static str,
    /// The only role whose agent has it; `None` when both have it.
    pub only: Option<Role>,
    /// The kind of its value, with default and bounds.
    pub kind: Kind,
    /// Its purpose, without bounds, unit and words, which [`Kind`] adds.
    pub text: &'static str,
}

/// The kind of a setting's value, with its default and its bounds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text.
    Text {
        /// The value where none is set.
        default: Fallback,
        /// The number of characters that it may have, where that is limited.
        length: Option<Range>,
    },
    /// One of a few words.
    Choice {
        /// The words, each with its meaning.
        words: fn() -> Vec<Word>,
        /// The word where none is set.
        default: &'static str,
    },
    /// A whole number.
    Integer {
        /// The number where none is set.
        default: u64,
        /// The allowed numbers.
        range: Range,
    },
    /// A number, with or without a decimal point, or a word. It has no default.
    Float {
        /// The bound that every allowed number exceeds.
        above: f64,
        /// The word that stands for a number that the agent finds.
        word: &'static str,
        /// An example as TOML.
        example: &'static str,
    },
    /// `true` or `false`.
    Bool {
        /// The value where none is set.
        default: bool,
    },
    /// Texts; separated by commas in environment variables and flags. Empty where none are set.
    List {
        /// The allowed whole numbers, where the texts have to be numbers.
        numbers: Option<Range>,
    },
}

/// The value of a text that is not set.
#[derive(Clone, Copy, Debug)]
pub enum Fallback {
    /// This value.
    Is(&'static str),
    /// A value that differs between the agents.
    Of(fn(&Agent) -> String),
    /// No value; the text is an example of one.
    None(&'static str),
}

/// A word that a setting may have, and its meaning.
pub type Word = (&'static str, &'static str);

/// Bounds of a number, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
    /// The unit of the number, in the plural.
    pub unit: &'static str,
}

impl Range {
    /// Reports whether a number is within the bounds.
    pub fn contains(self, number: u64) -> bool {
        (self.least..=self.most).contains(&number)
    }
}

/// The bounds in words: `1 to 60 seconds`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} {}", self.least, self.most, self.unit)
    }
}

impl Kind {
    /// Returns the noun by which errors call a value of this kind.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Text { .. } | Self::Choice { .. } => "a text in quotes",
            Self::Integer { .. } => "a whole number",
            Self::Float { .. } => "a number or its word in quotes",
            Self::Bool { .. } => "true or false",
            Self::List { .. } => "a list of texts",
        }
    }

    /// Returns the default as TOML; `None` where there is none.
    pub fn default(self, agent: &Agent) -> Option<String> {
        match self {
            Self::Text { default: Fallback::Is(text), .. } | Self::Choice { default: text, .. } => {
                Some(format!("{text:?}"))
            }
            Self::Text { default: Fallback::Of(text), .. } => Some(format!("{:?}", text(agent))),
            Self::Text { default: Fallback::None(_), .. } | Self::Float { .. } => None,
            Self::Integer { default, .. } => Some(default.to_string()),
            Self::Bool { default } => Some(default.to_string()),
            Self::List { .. } => Some("[]".to_owned()),
        }
    }

    /// Returns the default as TOML or, where there is none, an example.
    pub fn shown(self, agent: &Agent) -> String {
        self.default(agent).unwrap_or_else(|| match self {
            Self::Text { default: Fallback::None(example), .. } => format!("{example:?}"),
            Self::Float { example, .. } => example.to_owned(),
            _ => String::new(),
        })
    }

    /// Returns the allowed words, each with its meaning; empty unless it is a [`Kind::Choice`].
    pub fn words(self) -> Vec<Word> {
        match self {
            Self::Choice { words, .. } => words(),
            _ => Vec::new(),
        }
    }

    /// Formats the bounds as they follow the first sentence of the text.
    fn bounds(self) -> String {
        match self {
            Self::Integer { range, .. } | Self::List { numbers: Some(range) } => {
                format!(", in {} ({} to {})", range.unit, range.least, range.most)
            }
            Self::Text { length: Some(range), .. } => format!(" ({range})"),
            Self::Float { above, word, .. } => format!(" (above {above}, or \"{word}\")"),
            _ => String::new(),
        }
    }
}

impl Setting {
    /// Returns its purpose, with unit and bounds at the end of the first sentence.
    pub fn about(&self) -> String {
        let bounds = self.kind.bounds();
        match self.text.split_once(". ") {
            Some((first, rest)) => format!("{first}{bounds}. {rest}"),
            None => format!("{}{bounds}.", self.text.trim_end_matches('.')),
        }
    }

    /// Returns its environment variable: `dns.zone_id` is `BBB_AGENT_DNS_ZONE_ID`.
    pub fn variable(&self, agent: &Agent) -> String {
        format!("{}{}", agent.environment_prefix, self.path.replace('.', "_").to_ascii_uppercase())
    }
}
