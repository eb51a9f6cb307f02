//! The meaning of BBB's answers. The HTTP status alone does not tell it.

use reqwest::StatusCode;
use roxmltree::Node;

use super::envelope::{self, child};
use super::{CHAT, Error, Meeting, Version};
use crate::untrusted;

/// A complete answer to one call.
pub struct Answer {
    api: String,
    call: &'static str,
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    /// Creates an answer from the API's address, the call, the HTTP status and the body.
    pub fn new(api: String, call: &'static str, status: StatusCode, body: Vec<u8>) -> Self {
        Self { api, call, status, body }
    }

    /// Parses BBB's versions.
    pub fn version(self) -> Result<Version, Error> {
        self.read(|response| {
            let api = shown(response, "version").ok_or("no version")?;
            Ok(Version { api, bbb: shown(response, "bbbVersion") })
        })
    }

    /// Parses the running meetings.
    pub fn meetings(self) -> Result<Vec<Meeting>, Error> {
        self.read(|response| match response.children().find(|node| node.has_tag_name("meetings")) {
            Some(list) => list.children().filter(|node| node.has_tag_name("meeting")).map(meeting).collect(),
            None if child(response, "messageKey") == Some("noMeetings") => Ok(Vec::new()),
            None => Err("no list of meetings"),
        })
    }

    /// Checks that this confirms the call.
    pub fn done(self) -> Result<(), Error> {
        self.read(|_| Ok(()))
    }

    fn read<T>(self, read: impl FnOnce(Node<'_, '_>) -> Result<T, &'static str>) -> Result<T, Error> {
        let Self { api, call, status, body } = self;
        // Every BBB has the other calls, so for them a 404 means that no BBB is there.
        if status == StatusCode::NOT_FOUND && call == CHAT {
            return Err(Error::Unsupported { api, call, words: format!("HTTP status {status}") });
        }
        if let Some(words) = not_ready(status) {
            return Err(Error::NotReady { api, words: format!("{words} ({status})") });
        }
        if status != StatusCode::OK {
            return Err(Error::Unexpected { api, call, what: format!("HTTP status {status}") });
        }
        let text = untrusted::text(&body);
        let unexpected = |what: &str| Error::Unexpected { api: api.clone(), call, what: what.to_owned() };
        let document = untrusted::parse(&text).map_err(|what| unexpected(&what))?;
        match envelope::open(&document).map_err(unexpected)? {
            Ok(response) => read(response).map_err(unexpected),
            Err(refusal) if refusal.key == "unsupportedRequest" => {
                Err(Error::Unsupported { api: api.clone(), call, words: refusal.message })
            }
            Err(refusal) => {
                Err(Error::Refused { api: api.clone(), call, key: refusal.key, message: refusal.message })
            }
        }
    }
}

/// Recognises an answer that nginx gives in BBB's place. A missing location (404) is one, because BBB itself answers
/// for every path below `/bigbluebutton/api`: nginx then lacks the part of its configuration that comes with BBB.
fn not_ready(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::NOT_FOUND => Some("the web server does not know BigBlueButton's API"),
        _ if status.is_server_error() => Some("it is starting, stopped or broken"),
        _ => None,
    }
}

/// Returns the text of a child element, cleaned for people.
fn shown(node: Node<'_, '_>, name: &str) -> Option<String> {
    child(node, name).map(untrusted::clean)
}

fn meeting(node: Node<'_, '_>) -> Result<Meeting, &'static str> {
    // Absent and zero differ: taking an unreadable meeting for an empty one would end it.
    let participants = number(node, "participantCount")?.ok_or("a meeting without participantCount")?;
    let id = child(node, "meetingID").ok_or("a meeting without meetingID")?.to_owned();
    let breakout = child(node, "isBreakout") == Some("true");
    // These figures are only for people: if they cannot be read, the meeting still counts.
    let figure = |name| number(node, name).ok().flatten();
    let (voices, videos) = (figure("voiceParticipantCount"), figure("videoCount"));
    Ok(Meeting { id, participants, voices, videos, breakout })
}

fn number<T: std::str::FromStr>(node: Node<'_, '_>, name: &str) -> Result<Option<T>, &'static str> {
    child(node, name).map(str::parse).transpose().map_err(|_| "a meeting with a number that is none")
}
