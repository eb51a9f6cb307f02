//! The files of BBB, FreeSWITCH, coturn and the packet filter in which an address of the host stands: where exactly it
//! stands ([`sites`]), and what the host's files say ([`read`]).
//!
//! Each format has a reader that gives the place of a value in the text, so that a change can replace those bytes and
//! no others: comments, order, indentation, line ends and a missing end of the last line stay as they are.
//!
//! - XML: quick-xml, as for BBB's answers.
//! - YAML: saphyr-parser. It is a complete YAML 1.2 parser, is maintained, has no unsafe code and brings one small crate
//!   (arraydeque), and its events have the place of each value. Libraries that keep a document as it is build a tree of
//!   their own from it (yaml-edit on rowan) and write the whole document again; a place and its bytes are all that is
//!   needed here, and what is not touched is then the same by construction.
//! - All others are read line by line, as the programs that they belong to read them.
//!
//! Nothing that is read from a file gets into an error: coturn's and LiveKit's files hold secrets.

mod lines;
mod reading;
pub mod repair;
pub mod repairer;
mod xml;
mod yaml;

use std::ops::Range;
use std::path::{Path, PathBuf};

use plan::addresses::{File, Place, Value};

pub(super) use self::reading::Files;
pub use self::reading::{Read, digest, read};

/// The most bytes of a file: many times the size of any real one.
const MAX_SIZE: u64 = 1024 * 1024;
/// The most values of a file. A file with more than that is no file of BBB's.
const MAX_VALUES: usize = 64;
/// The most bytes of a value. A longer one is no address.
const MAX_VALUE: usize = 255;

/// A value in a text, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The place that it has in the file.
    pub place: Place,
    /// The bytes of the text that may be an address, in those of the file.
    pub span: Range<usize>,
}

/// A file that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// It has bytes that are no text.
    #[error("it is not UTF-8 from byte {0} on")]
    NoText(usize),
    /// It is no XML.
    #[error("it is no XML from byte {0} on")]
    NoXml(u64),
    /// It is no YAML.
    #[error("it is no YAML at line {line}, column {column}")]
    NoYaml {
        /// The line, from 1 on.
        line: usize,
        /// The column, from 1 on.
        column: usize,
    },
    /// It has more values than any real file.
    #[error("it has more than {MAX_VALUES} values")]
    Endless,
}

/// Finds the values in the bytes of a file, in their order.
pub fn sites(file: File, bytes: &[u8]) -> Result<Vec<Site>, Defect> {
    let text = std::str::from_utf8(bytes).map_err(|error| Defect::NoText(error.valid_up_to()))?;
    let mut sites = match file {
        File::Vars => xml::vars(text)?,
        File::External => xml::external(text)?,
        File::Sfu => yaml::sites(text, yaml::SFU)?,
        File::Livekit => yaml::sites(text, yaml::LIVEKIT)?,
        File::Sip => lines::nginx(text),
        File::DummyNic => lines::unit(text),
        File::Coturn => lines::coturn(text),
        File::Rules => lines::rules(text),
    };
    sites.retain(|site| text.get(site.span.clone()).is_some_and(|value| value.len() <= MAX_VALUE));
    if sites.len() > MAX_VALUES { Err(Defect::Endless) } else { Ok(sites) }
}

/// Returns the values at these sites of a file.
pub fn values(bytes: &[u8], sites: &[Site]) -> Vec<Value> {
    let text =
        |site: &Site| bytes.get(site.span.clone()).map(|text| String::from_utf8_lossy(text).into_owned());
    sites.iter().filter_map(|site| Some(Value { place: site.place, text: text(site)? })).collect()
}

/// Returns the path of a file of the host's below this directory.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Returns where `part`, which is a part of `text`, stands in it.
fn span_of(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start.saturating_add(part.len())
}

#[cfg(test)]
#[path = "addresses/tests.rs"]
mod tests;
