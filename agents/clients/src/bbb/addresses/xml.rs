//! FreeSWITCH's files. FreeSWITCH merges them before it parses them, so each is read as a part of a document, and only
//! its elements count.

use std::borrow::Cow;

use plan::addresses::Place;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::{Defect, Site, span_of};

/// Finds the variables that `vars.xml` sets: `<X-PRE-PROCESS cmd="set" data="external_rtp_ip=203.0.113.10"/>`.
pub(super) fn vars(text: &str) -> Result<Vec<Site>, Defect> {
    elements(text, |tag, sites| {
        if !tag.name().as_ref().eq_ignore_ascii_case("X-PRE-PROCESS") || attribute(tag, "cmd") != Some("set")
        {
            return;
        }
        let Some((name, value)) = attribute(tag, "data").and_then(|data| data.split_once('=')) else {
            return;
        };
        let place = match name.trim() {
            "external_rtp_ip" => Place::ExternalRtp,
            "external_sip_ip" => Place::ExternalSip,
            _ => return,
        };
        sites.push(Site { place, span: span_of(text, value.trim()) });
    })
}

/// Finds the parameters of `external.xml`: `<param name="ws-binding" value="203.0.113.10:5066"/>`.
pub(super) fn external(text: &str) -> Result<Vec<Site>, Defect> {
    elements(text, |tag, sites| {
        let place = match (tag.name().as_ref(), attribute(tag, "name")) {
            ("param", Some("ws-binding")) => Place::WsBinding,
            ("param", Some("wss-binding")) => Place::WssBinding,
            _ => return,
        };
        if let Some(value) = attribute(tag, "value") {
            let host = value.rsplit_once(':').map_or(value, |(host, _)| host);
            sites.push(Site { place, span: span_of(text, host.trim()) });
        }
    })
}

/// Passes each tag that begins an element through `each`.
fn elements(text: &str, each: impl Fn(&BytesStart<'_>, &mut Vec<Site>)) -> Result<Vec<Site>, Defect> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().allow_dangling_amp = true;
    let mut sites = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) => each(&tag, &mut sites),
            Ok(Event::Eof) => return Ok(sites),
            Ok(_) => {}
            Err(_) => return Err(Defect::NoXml(reader.error_position())),
        }
    }
}

/// Returns the value of an attribute as it stands in the text.
fn attribute<'t>(tag: &'t BytesStart<'_>, name: &str) -> Option<&'t str> {
    let found =
        tag.attributes().with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == name)?;
    match found.value {
        Cow::Borrowed(value) => Some(value),
        Cow::Owned(_) => None,
    }
}
