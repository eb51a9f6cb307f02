//! The API's answers: XML from bbb-web, HTML from the nginx in front of it.

use std::collections::BTreeMap;
use std::fmt::Write;

use hyper::header::{HeaderValue, LOCATION};

use super::ParentIds;
use super::meeting::{Meeting, Parent};
use crate::http::{Response, reply};

fn xml(body: &str) -> Response {
    reply(200, "text/xml;charset=utf-8", format!("<response>{body}</response>"))
}

/// Returns an answer with `<returncode>SUCCESS</returncode>` and this XML after it.
pub(super) fn success(body: &str) -> Response {
    xml(&format!("<returncode>SUCCESS</returncode>{body}"))
}

/// Returns an answer with HTTP status 200 and `<returncode>FAILED</returncode>`.
pub(super) fn failed(key: &str, message: &str) -> Response {
    xml(&format!(
        "<returncode>FAILED</returncode>{}{}",
        element("messageKey", key),
        element("message", message)
    ))
}

/// Returns a page of nginx's own, e.g. 502 while bbb-web does not run.
pub(crate) fn nginx(status: u16) -> Response {
    let reason = hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let title = format!("{status} {}", reason.unwrap_or_default());
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    reply(status, "text/html", page)
}

/// Returns nginx's redirection to HTTPS, which repeats the request's own address.
pub(super) fn moved() -> Response {
    let mut page = nginx(301);
    let address =
        HeaderValue::from_static("https://bbb.example.org/bigbluebutton/api/getMeetings?checksum=0123");
    page.headers_mut().insert(LOCATION, address);
    page
}

pub(super) fn element(name: &str, text: impl std::fmt::Display) -> String {
    format!("<{name}>{}</{name}>", escape_markup(&text.to_string()))
}

/// Escapes what has a meaning in XML and nothing else, as BBB's templates do: control characters stay.
fn escape_markup(text: &str) -> String {
    let mut escaped = text.replace('&', "&amp;");
    for (character, reference) in [('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&#39;")] {
        escaped = escaped.replace(character, reference);
    }
    escaped
}

/// Writes a number as BBB's templates do where they do not ask for plain digits: `1,500`.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The meetings as `getMeetings` lists them. BBB's template breaks off at a breakout room without a parent.
pub(super) fn listing(meetings: &BTreeMap<String, Meeting>, parents: ParentIds) -> Response {
    let mut body = String::from("<response><returncode>SUCCESS</returncode><meetings>");
    for meeting in meetings.values() {
        body.push_str("<meeting>");
        body.push_str(&details(meeting));
        match (meeting.breakout, &meeting.parent) {
            (true, None) => {
                body.push_str("<parentMeetingID>");
                return reply(200, "text/xml;charset=utf-8", body);
            }
            (true, Some(parent)) => body.push_str(&parent_of(parent, parents)),
            (false, _) => {}
        }
        body.push_str(&rooms(meeting, meetings));
        body.push_str("</meeting>");
    }
    body.push_str("</meetings></response>");
    reply(200, "text/xml;charset=utf-8", body)
}

/// Returns the details of one meeting, as `getMeetingInfo` shows them.
pub(super) fn info(meeting: &Meeting, meetings: &BTreeMap<String, Meeting>, parents: ParentIds) -> Response {
    let parent = meeting.parent.as_ref().map(|parent| parent_of(parent, parents)).unwrap_or_default();
    success(&format!("{}{parent}{}", details(meeting), rooms(meeting, meetings)))
}

fn parent_of(parent: &Parent, ids: ParentIds) -> String {
    let id = match ids {
        ParentIds::Internal => &parent.internal,
        ParentIds::External => &parent.external,
    };
    element("parentMeetingID", id) + &element("sequence", parent.sequence) + &element("freeJoin", false)
}

/// Returns the breakout rooms of a meeting, by their internal ids.
fn rooms(meeting: &Meeting, meetings: &BTreeMap<String, Meeting>) -> String {
    let rooms = meetings
        .values()
        .filter(|room| room.parent.as_ref().is_some_and(|parent| parent.internal == meeting.internal_id));
    let rooms: String = rooms.map(|room| element("breakout", &room.internal_id)).collect();
    if rooms.is_empty() { rooms } else { format!("<breakoutRooms>{rooms}</breakoutRooms>") }
}

fn details(meeting: &Meeting) -> String {
    let people = meeting.participants;
    let running = people.total() > 0;
    let mut xml = String::new();
    for (name, text) in [
        ("meetingName", meeting.name.clone()),
        ("meetingID", meeting.id.clone()),
        ("internalMeetingID", meeting.internal_id.clone()),
        ("createTime", meeting.created.to_string()),
        ("voiceBridge", meeting.voice_bridge.to_string()),
        ("attendeePW", meeting.attendee_password.expose().to_owned()),
        ("moderatorPW", meeting.moderator_password.expose().to_owned()),
        ("running", running.to_string()),
        ("duration", "0".to_owned()),
        ("hasUserJoined", meeting.joined.to_string()),
        ("recording", meeting.recording.to_string()),
        ("hasBeenForciblyEnded", meeting.ended.is_some().to_string()),
        ("startTime", if meeting.joined { meeting.created } else { 0 }.to_string()),
        ("endTime", meeting.ended.unwrap_or(0).to_string()),
        ("participantCount", grouped(people.total())),
        ("listenerCount", grouped(people.listeners)),
        ("voiceParticipantCount", grouped(people.voices)),
        ("videoCount", grouped(people.videos)),
        ("maxUsers", "0".to_owned()),
        ("moderatorCount", grouped(people.moderators)),
    ] {
        xml.push_str(&element(name, text));
    }
    let attendees: String = (0..people.total()).map(|number| attendee(meeting, number)).collect();
    let metadata: String = meeting.metadata.iter().map(|(name, text)| element(name, text)).collect();
    // Writing to a String cannot fail.
    let _ = write!(
        xml,
        "<attendees>{attendees}</attendees><metadata>{metadata}</metadata>{}",
        element("isBreakout", meeting.breakout)
    );
    xml
}

fn attendee(meeting: &Meeting, number: u32) -> String {
    let people = meeting.participants;
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    let name = meeting.names.get(index).cloned().unwrap_or_else(|| format!("Person {number}"));
    let role = if number < people.moderators { "MODERATOR" } else { "VIEWER" };
    let mut xml = element("userID", format_args!("u{number}")) + &element("fullName", name);
    for (name, text) in [
        ("role", role),
        ("isPresenter", if number == 0 { "true" } else { "false" }),
        ("isListeningOnly", if number < people.listeners { "true" } else { "false" }),
        ("hasJoinedVoice", if number < people.voices { "true" } else { "false" }),
        ("hasVideo", if number < people.videos { "true" } else { "false" }),
        ("clientType", "HTML5"),
    ] {
        xml.push_str(&element(name, text));
    }
    if !meeting.userdata.is_empty() {
        let data: String = meeting.userdata.iter().map(|(name, text)| element(name, text)).collect();
        xml.push_str(&format!("<customdata>{data}</customdata>"));
    }
    format!("<attendee>{xml}</attendee>")
}
