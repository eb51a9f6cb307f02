//! XML from others, read leniently and in bounded memory.
//!
//! BBB writes its answers with templates. Front ends choose some of the names in them (a parameter `userdata-1st` of a
//! join becomes `<1st>`), and a template that fails leaves its text cut off in the middle. So whatever can be read
//! counts, and [`Elements::defect`] tells what is missing. Entities are not expanded, and errors never quote the text.

use quick_xml::errors::{Error, SyntaxError};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};
use quick_xml::reader::Reader;

/// The deepest nesting that is read. BBB's answers have seven levels.
const MAX_DEPTH: usize = 64;
/// The most bytes of an element's text. BBB's ids have at most 256 characters.
const MAX_TEXT: usize = 4096;
/// The number of times that reading goes on behind markup that is none.
const MAX_SKIPS: u32 = 64;
/// The most bytes of a tag. Real ones have a name and at most a few attributes.
const MAX_TAG: usize = 64 * 1024;

/// A step through a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An element begins: it is now the last one of [`Elements::path`].
    Begin,
    /// The last element of [`Elements::path`] has ended.
    End {
        /// Its name.
        name: String,
        /// Its trimmed text; `None` where it has none, has elements in it, or is longer than any real one.
        text: Option<String>,
    },
}

/// The difference between a text and a complete XML document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Defect {
    /// There is no text.
    #[error("an empty answer")]
    Empty,
    /// The text has no element.
    #[error("text that is no XML")]
    NoXml,
    /// The text ends before its first element does.
    #[error("an answer that is cut off after {0} bytes")]
    CutOff(usize),
    /// The text goes on with something that cannot be read.
    #[error("an answer that is unreadable from byte {0} on")]
    Unreadable(usize),
}

/// The elements of a text, one step after the other. An end that nothing began is ignored, and an element that does not
/// end itself ends with the one around it.
pub(crate) struct Elements<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    /// The place in the text at which the reader began.
    base: usize,
    skips: u32,
    path: Vec<String>,
    /// The text of the innermost element, until another element begins in it.
    value: Option<String>,
    state: State,
}

/// The progress through a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first element has not begun.
    Before,
    /// The first element has begun.
    Inside,
    /// The first element has ended.
    After,
    /// Nothing more can be read.
    Done(Option<Defect>),
}

impl<'a> Elements<'a> {
    /// Creates a reader at the beginning of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        let (path, state) = (Vec::new(), State::Before);
        Self { text, reader: lenient(text), base: 0, skips: 0, path, value: None, state }
    }

    /// Returns the names of all elements that have begun and not ended, the outermost first.
    pub(crate) fn path(&self) -> &[String] {
        &self.path
    }

    /// Returns how the text differs from a complete document, after the last step.
    pub(crate) fn defect(&self) -> Option<Defect> {
        match self.state {
            State::Done(defect) => defect,
            State::Before | State::Inside | State::After => Some(Defect::Unreadable(self.position())),
        }
    }

    /// Returns the next step; `None` after the last one.
    pub(crate) fn step(&mut self) -> Option<Step> {
        while !matches!(self.state, State::Done(_)) {
            let step = match self.reader.read_event() {
                Ok(Event::Start(tag)) => self.begin(tag.name().as_ref()),
                Ok(Event::End(tag)) => self.end(tag.name().as_ref()),
                Ok(Event::Text(text)) => self.content(&text),
                Ok(Event::CData(text)) => self.content(&text),
                Ok(Event::GeneralRef(reference)) => self.content(&resolve(&reference)),
                Ok(Event::Eof) => self.finish(),
                Ok(Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_))
                // It is no longer well-formed, which does not hinder the reader.
                | Err(Error::IllFormed(_)) => None,
                Err(error) => self.pass(&error),
            };
            if step.is_some() {
                return step;
            }
        }
        None
    }

    fn begin(&mut self, name: &str) -> Option<Step> {
        if self.state == State::After || self.path.len() == MAX_DEPTH {
            return self.stop(Defect::Unreadable(self.position()));
        }
        self.state = State::Inside;
        self.path.push(name.to_owned());
        self.value = Some(String::new());
        Some(Step::Begin)
    }

    fn end(&mut self, name: &str) -> Option<Step> {
        let at = self.path.iter().rposition(|open| open == name)?;
        let value = self.value.take().filter(|_| at + 1 == self.path.len());
        let text = value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        self.path.truncate(at);
        if at == 0 {
            self.state = State::After;
        }
        Some(Step::End { name: name.to_owned(), text })
    }

    fn content(&mut self, text: &str) -> Option<Step> {
        if self.state == State::Before && !text.trim().is_empty() {
            return self.stop(Defect::NoXml);
        }
        let value = self.value.take().filter(|value| value.len() + text.len() <= MAX_TEXT);
        self.value = value.map(|value| value + text);
        None
    }

    fn finish(&mut self) -> Option<Step> {
        let defect = match self.state {
            State::Before if self.text.trim().is_empty() => Some(Defect::Empty),
            State::Before => Some(Defect::NoXml),
            State::Inside => Some(Defect::CutOff(self.text.len())),
            State::After | State::Done(_) => None,
        };
        self.state = State::Done(defect);
        None
    }

    /// Goes on behind a `<` that is followed by something that can be no markup; stops where markup has no end.
    fn pass(&mut self, error: &Error) -> Option<Step> {
        use SyntaxError::{InvalidBangMarkup, UnclosedPI, UnclosedXmlDecl};
        let at =
            self.base.saturating_add(usize::try_from(self.reader.error_position()).unwrap_or(usize::MAX));
        let none = matches!(error, Error::Syntax(InvalidBangMarkup | UnclosedPI | UnclosedXmlDecl));
        match self.text.get(at.saturating_add(1)..) {
            Some(rest) if none && self.state == State::Inside && self.skips < MAX_SKIPS => {
                self.skips += 1;
                self.base = at + 1;
                self.reader = lenient(rest);
                None
            }
            _ if none && self.state == State::Inside || self.state == State::After => {
                self.stop(Defect::Unreadable(at))
            }
            _ => self.stop(Defect::CutOff(self.text.len())),
        }
    }

    fn stop(&mut self, defect: Defect) -> Option<Step> {
        self.state = State::Done(Some(defect));
        None
    }

    /// Returns the place in the text up to which it was read.
    fn position(&self) -> usize {
        let read = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX);
        self.base.saturating_add(read).min(self.text.len())
    }
}

fn lenient(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.allow_unmatched_ends = true;
    config.check_end_names = false;
    config.expand_empty_elements = true;
    reader
}

/// Returns the text that a reference such as `&amp;` stands for; an unknown one stands for itself.
fn resolve(reference: &BytesRef<'_>) -> String {
    match (reference.resolve_char_ref(), resolve_xml_entity(reference)) {
        (Ok(Some(character)), _) => character.to_string(),
        (Ok(None), Some(text)) => text.to_owned(),
        _ => format!("&{};", &**reference),
    }
}

/// Reports whether a text has a tag that is longer than any real one. The AWS SDK's parser keeps all attributes of a
/// tag, which takes many times the memory of the text.
pub(crate) fn has_long_tag(text: &str) -> bool {
    let mut reader = lenient(text);
    loop {
        let begin = reader.buffer_position();
        match reader.read_event() {
            Ok(Event::Start(tag)) if tag.len() > MAX_TAG => return true,
            Ok(Event::Eof) => return false,
            Ok(_) | Err(Error::IllFormed(_)) => {}
            // The markup has no end, so all that follows may be one tag to another parser.
            Err(_) => {
                let begin = usize::try_from(begin).unwrap_or(usize::MAX);
                return text.len().saturating_sub(begin) > MAX_TAG;
            }
        }
    }
}

#[cfg(test)]
#[path = "xml_tests.rs"]
mod tests;
