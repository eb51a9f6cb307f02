//! The settings of bbb-webrtc-sfu and LiveKit.

use plan::addresses::Place;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{Defect, Site};

/// The places in bbb-webrtc-sfu's settings.
pub(super) const SFU: &[Place] = &[Place::SfuFreeswitch, Place::SfuSip, Place::SfuWebrtc, Place::SfuPlain];
/// The places in LiveKit's settings.
pub(super) const LIVEKIT: &[Place] = &[Place::LivekitIncludes, Place::LivekitNode];

/// Finds the values at these places.
pub(super) fn sites(text: &str, places: &[Place]) -> Result<Vec<Site>, Defect> {
    // The parser counts characters.
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let (mut parser, mut path, mut sites) = (Parser::new_from_str(text), Path::default(), Vec::new());
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| defect(&error))?;
        match event {
            Event::MappingStart(..) => path.0.push(Level::Mapping(None)),
            Event::SequenceStart(..) => path.0.push(Level::Sequence(0)),
            Event::MappingEnd | Event::SequenceEnd => {
                path.0.pop();
                path.pass(None);
            }
            Event::Alias(_) => path.pass(None),
            Event::Scalar(value, style, ..) => {
                if let Some(place) = path.place(places) {
                    sites.push(site(place, text, &offsets, &value, style, span)?);
                }
                path.pass(Some(&value));
            }
            _ => {}
        }
    }
    Ok(sites)
}

fn defect(error: &ScanError) -> Defect {
    // The error's own words may quote the file.
    let marker = error.marker();
    Defect::NoYaml { line: marker.line(), column: marker.col() + 1 }
}

/// Returns where a value stands, without its quotation marks. One that is written in another way than it reads cannot
/// be replaced.
fn site(
    place: Place,
    text: &str,
    offsets: &[usize],
    value: &str,
    style: ScalarStyle,
    span: Span,
) -> Result<Site, Defect> {
    let unlike = || Defect::NoYaml { line: span.start.line(), column: span.start.col() + 1 };
    let raw = offsets.get(span.start.index()).and_then(|start| text.get(*start..)).ok_or_else(unlike)?;
    // The parser's end of a value may lie behind the white space after it.
    let quote = match style {
        ScalarStyle::SingleQuoted => "'",
        ScalarStyle::DoubleQuoted => "\"",
        _ => "",
    };
    let written = raw.strip_prefix(quote).and_then(|rest| rest.get(..value.len())).ok_or_else(unlike)?;
    let ends = raw.get(quote.len() + value.len()..).is_some_and(|rest| rest.starts_with(quote));
    if written != value || !ends {
        return Err(unlike());
    }
    // An address with its length is that address; a network is none.
    let address = match place {
        Place::LivekitIncludes => written.strip_suffix("/32").unwrap_or(written),
        _ => written,
    };
    Ok(Site { place, span: super::span_of(text, address) })
}

/// The way from the document's root to the event that comes next.
#[derive(Debug, Default)]
struct Path(Vec<Level>);

/// A collection that has begun and not ended.
#[derive(Debug)]
enum Level {
    /// A mapping, with the key whose value comes next; `None` before a key.
    Mapping(Option<String>),
    /// A sequence, with the number of the item that comes next.
    Sequence(usize),
}

impl Path {
    /// Returns the place of the scalar that comes next, if it is a value at one of these places.
    fn place(&self, places: &[Place]) -> Option<Place> {
        let mut path = String::new();
        for level in &self.0 {
            match level {
                Level::Mapping(key) => {
                    let key = key.as_ref()?;
                    path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                }
                Level::Sequence(index) => path = format!("{path}[{index}]"),
            }
        }
        let listed = match self.0.last() {
            Some(Level::Sequence(index)) => path.strip_suffix(&format!("[{index}]")),
            _ => None,
        };
        let is = |place: &Place| match place {
            Place::LivekitIncludes => listed == Some(place.key()),
            _ => path == place.key(),
        };
        places.iter().copied().find(is)
    }

    /// Notes that a scalar, or a collection, was passed.
    fn pass(&mut self, scalar: Option<&str>) {
        match self.0.last_mut() {
            Some(Level::Mapping(key @ Some(_))) => *key = None,
            Some(Level::Mapping(key)) => {
                // No other key looks like a way through several.
                let plain = scalar.filter(|text| !text.contains(['.', '[', '?']));
                *key = Some(plain.unwrap_or("?").to_owned());
            }
            Some(Level::Sequence(index)) => *index += 1,
            None => {}
        }
    }
}
