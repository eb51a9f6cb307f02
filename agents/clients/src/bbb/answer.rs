//! What BBB's answers mean. The HTTP status alone does not say it.

use reqwest::StatusCode;
use roxmltree::Node;

use super::envelope::{self, child};
use super::{CHAT, Error, Meeting, Version};
use crate::untrusted;

/// A whole answer to one call.
pub struct Answer {
    api: String,
    call: &'static str,
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    /// The answer of the BBB with this API's address to this call, with its HTTP status and body.
    pub fn new(api: String, call: &'static str, status: StatusCode, body: Vec<u8>) -> Self {
        Self { api, call, status, body }
    }

    /// What BBB says about itself.
    pub fn version(self) -> Result<Version, Error> {
        self.read(|response| {
            let api = shown(response, "version").ok_or("no version")?;
            Ok(Version { api, bbb: shown(response, "bbbVersion") })
        })
    }

    /// The meetings that run.
    pub fn meetings(self) -> Result<Vec<Meeting>, Error> {
        self.read(|response| match response.children().find(|node| node.has_tag_name("meetings")) {
            Some(list) => list.children().filter(|node| node.has_tag_name("meeting")).map(meeting).collect(),
            None if child(response, "messageKey") == Some("noMeetings") => Ok(Vec::new()),
            None => Err("no list of meetings"),
        })
    }

    /// Whether it says that what was asked is done.
    pub fn done(self) -> Result<(), Error> {
        self.read(|_| Ok(()))
    }

    fn read<T>(self, read: impl FnOnce(Node<'_, '_>) -> Result<T, &'static str>) -> Result<T, Error> {
        let Self { api, call, status, body } = self;
        // The other calls are in every BBB, and a 404 means that none is there.
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

/// What nginx answers in BBB's place. A missing location (404) is among them because BBB answers for every path below
/// `/bigbluebutton/api` itself: nginx then lacks the part of its configuration that comes with BBB.
fn not_ready(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::NOT_FOUND => Some("the web server does not know BigBlueButton's API"),
        _ if status.is_server_error() => Some("it is starting, stopped or broken"),
        _ => None,
    }
}

/// The text of a child element that people are shown.
fn shown(node: Node<'_, '_>, name: &str) -> Option<String> {
    child(node, name).map(untrusted::clean)
}

fn meeting(node: Node<'_, '_>) -> Result<Meeting, &'static str> {
    // Absent and zero differ: who takes an unreadable meeting for an empty one ends it.
    let participants = number(node, "participantCount")?.ok_or("a meeting without participantCount")?;
    let id = child(node, "meetingID").ok_or("a meeting without meetingID")?.to_owned();
    let breakout = child(node, "isBreakout") == Some("true");
    // These are for people's eyes only: that they cannot be read must not keep the meeting from being seen.
    let figure = |name| number(node, name).ok().flatten();
    let (voices, videos) = (figure("voiceParticipantCount"), figure("videoCount"));
    Ok(Meeting { id, participants, voices, videos, breakout })
}

fn number<T: std::str::FromStr>(node: Node<'_, '_>, name: &str) -> Result<Option<T>, &'static str> {
    child(node, name).map(str::parse).transpose().map_err(|_| "a meeting with a number that is none")
}
