//! The API's answers: XML from bbb-web, HTML from the nginx in front of it.

use std::fmt::Write;

use super::meeting::Meeting;
use crate::http::{Response, reply};
use crate::xml::escape;

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

pub(super) fn element(name: &str, text: impl std::fmt::Display) -> String {
    format!("<{name}>{}</{name}>", escape(&text.to_string()))
}

/// Returns the details of a meeting, as `getMeetings` and `getMeetingInfo` show them.
pub(super) fn details(meeting: &Meeting) -> String {
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
        ("hasUserJoined", running.to_string()),
        ("recording", meeting.recording.to_string()),
        ("hasBeenForciblyEnded", "false".to_owned()),
        ("startTime", meeting.created.to_string()),
        ("endTime", "0".to_owned()),
        ("participantCount", people.total().to_string()),
        ("listenerCount", people.listeners.to_string()),
        ("voiceParticipantCount", people.voices.to_string()),
        ("videoCount", people.videos.to_string()),
        ("maxUsers", "0".to_owned()),
        ("moderatorCount", people.moderators.to_string()),
    ] {
        xml.push_str(&element(name, text));
    }
    // Writing to a String cannot fail.
    let _ = write!(xml, "<attendees/><metadata/>{}", element("isBreakout", meeting.breakout));
    xml
}
