//! `ListObjectsV2`: keys in the order of their bytes, grouped by a delimiter, in pages.

use std::collections::{BTreeMap, BTreeSet};

use super::Object;
use super::address::Target;
use super::answers::{NAMESPACE, Refusal, Refused, xml};
use crate::aws::xml::Xml;
use crate::clock::iso8601;
use crate::http::Response;

/// The most keys and prefixes on a page.
const PAGE: usize = 1000;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Row<'a> {
    Key(&'a str),
    Prefix(&'a str),
}

impl Row<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Prefix(text) => text,
        }
    }
}

pub(super) fn answer(target: &Target, objects: &BTreeMap<String, Object>) -> Result<Response, Refusal> {
    let text = |name| target.query.get(name).unwrap_or_default();
    let page: usize = match text("max-keys") {
        "" => PAGE,
        number => number.parse::<usize>().map_err(|_| Refused::InvalidArgument)?.min(PAGE),
    };
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    // The token is the last row of the page before; clients must not depend on its form.
    let after =
        if text("continuation-token").is_empty() { text("start-after") } else { text("continuation-token") };
    let row = |key: &'_ str| -> Option<usize> {
        let rest = key.strip_prefix(prefix)?;
        (!delimiter.is_empty())
            .then(|| rest.find(delimiter))
            .flatten()
            .map(|at| prefix.len() + at + delimiter.len())
    };
    let rows: BTreeSet<(&str, bool)> = objects
        .keys()
        .filter(|key| key.starts_with(prefix))
        .map(|key| match row(key) {
            Some(end) => (key.get(..end).unwrap_or(key), true),
            None => (key.as_str(), false),
        })
        .filter(|(text, _)| *text > after)
        .collect();
    let more = rows.len() > page;
    let rows: Vec<Row<'_>> = rows
        .into_iter()
        .take(page)
        .map(|(text, common)| if common { Row::Prefix(text) } else { Row::Key(text) })
        .collect();
    let next = rows.last().map(Row::text).filter(|_| more);
    let url = text("encoding-type") == "url";
    let shown = |text: &str| if url { encoded(text) } else { text.to_owned() };
    let body = Xml::document("ListBucketResult", NAMESPACE, |xml| {
        xml.text("Name", &target.bucket).text("Prefix", shown(prefix));
        xml.maybe("Delimiter", target.query.get("delimiter").map(shown));
        xml.maybe("EncodingType", url.then_some("url"));
        xml.maybe("ContinuationToken", target.query.get("continuation-token"));
        xml.maybe("StartAfter", target.query.get("start-after").map(shown));
        xml.text("KeyCount", rows.len()).text("MaxKeys", page).text("IsTruncated", more);
        xml.maybe("NextContinuationToken", next);
        for row in &rows {
            match row {
                Row::Prefix(text) => xml.element("CommonPrefixes", |xml| {
                    xml.text("Prefix", shown(text));
                }),
                Row::Key(key) => xml.element("Contents", |xml| {
                    xml.text("Key", shown(key));
                    if let Some(object) = objects.get(*key) {
                        let modified = iso8601(object.modified).replace('Z', ".000Z");
                        xml.text("LastModified", modified).text("ETag", &object.etag);
                        xml.text("Size", object.content.len()).text("StorageClass", "STANDARD");
                    }
                }),
            };
        }
    });
    Ok(xml(200, body))
}

/// Encodes a text as a form does, except for slashes, which S3 leaves as they are.
fn encoded(text: &str) -> String {
    let letter = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' | b'/' => {
            char::from(byte).to_string()
        }
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(letter).collect()
}
