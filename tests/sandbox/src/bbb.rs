//! The API of a BBB host, with meetings that a test starts and ends, and the host's property files.
//!
//! ```
//! use sandbox::bbb::{BbbHost, Mode};
//! let host = BbbHost::new("the host's secret", "3.0.4");
//! host.start_meeting("room 1", 3);
//! host.end_meeting("room 1");
//! host.set_mode(Mode::Starting);
//! ```
//! Serve it with [`crate::http::Gate`]; a closed gate is a host whose nginx is not running. [`HostFiles`] writes the
//! files that an agent on the host reads; [`Network`] leads Scalelite's stand-in to the host's address.

mod answers;
pub mod cases;
pub mod checksum;
mod client;
mod files;
mod meeting;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub(crate) use self::client::Texts;
pub use self::client::{CallError, Limits, Network};
pub use self::files::HostFiles;
pub use self::meeting::{Meeting, NewMeeting, Parent, Participants, Secret};

pub(crate) use self::answers::nginx as nginx_page;
use self::answers::{element, failed, info, listing, moved, nginx, success};
use self::checksum::{Algorithm, parameter, parameters};
use self::meeting::internal_id;
pub(crate) use self::meeting::random_password;
use crate::http::{Request, Response, Service, ServiceName, reply};

const BASE: &str = "/bigbluebutton/api";
/// The longest chat message and the longest sender that BBB accepts, in UTF-16 units as Java counts (bbb-common-web's
/// `SendChatMessage`).
const CHAT_LIMIT: usize = 500;
const SENDER_LIMIT: usize = 255;

/// The progress of BBB's start on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// nginx runs, bbb-web does not: 502.
    NotInstalled,
    /// bbb-web does not answer yet: 504.
    Starting,
    /// The API answers.
    #[default]
    Ready,
}

/// The id by which a breakout room names its parent, which differs between BBB's versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParentIds {
    /// The parent's internal id.
    #[default]
    Internal,
    /// The parent's external id, as clients name it.
    External,
}

/// The state of a host, for tests and operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The progress of BBB's start.
    pub mode: Mode,
    /// BBB's version, e.g. `3.0.4`.
    pub version: String,
    /// The secret of the API, in clear when serialised.
    pub secret: Secret,
    /// The meetings, by id.
    pub meetings: Vec<Meeting>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    version: String,
    reveal_version: bool,
    secret: Secret,
    algorithms: Vec<Algorithm>,
    meetings: BTreeMap<String, Meeting>,
    parents: ParentIds,
    /// The answer to `getMeetings`, whatever runs.
    listing: Option<String>,
}

/// The BBB API of one host.
#[derive(Debug)]
pub struct BbbHost(Mutex<State>);

impl BbbHost {
    /// Creates a host that is ready, without meetings. From version 3.0 on it knows `sendChatMessage`.
    pub fn new(secret: &str, version: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            mode: Mode::Ready,
            version: version.to_owned(),
            reveal_version: false,
            secret: Secret::new(secret),
            algorithms: Algorithm::ALL.to_vec(),
            meetings: BTreeMap::new(),
            parents: ParentIds::default(),
            listing: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the whole state.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            mode: state.mode,
            version: state.version.clone(),
            secret: state.secret.clone(),
            meetings: state.meetings.values().cloned().collect(),
        }
    }

    /// Sets the progress of BBB's start. The meetings stay.
    pub fn set_mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// Changes the secret, as `bbb-conf --setsecret` does.
    pub fn set_secret(&self, secret: &str) {
        self.state().secret = Secret::new(secret);
    }

    /// Changes the version, as an upgrade does.
    pub fn set_version(&self, version: &str) {
        version.clone_into(&mut self.state().version);
    }

    /// Sets whether `bbbVersion` is shown (`allowRevealOfBBBVersion`); by default it is not.
    pub fn reveal_version(&self, reveal: bool) {
        self.state().reveal_version = reveal;
    }

    /// Restricts the hashes that a checksum may use (`supportedChecksumAlgorithms`).
    pub fn set_algorithms(&self, algorithms: &[Algorithm]) {
        self.state().algorithms = algorithms.to_vec();
    }

    /// Starts a meeting with these people (a number, or [`Participants`]). A running meeting with that id is replaced.
    pub fn start_meeting(&self, id: &str, participants: impl Into<Participants>) {
        self.start(NewMeeting {
            id: id.to_owned(),
            participants: participants.into(),
            ..NewMeeting::default()
        });
    }

    /// Starts a meeting with more details than its people. A running meeting with that id is replaced.
    pub fn start(&self, new: NewMeeting) {
        let mut state = self.state();
        let parent = state.parent(&new.parent);
        state.meetings.insert(new.id.clone(), Meeting::start(new, parent));
    }

    /// Starts a breakout room of a meeting, which may have ended long ago.
    pub fn start_breakout(&self, id: &str, parent: &str, participants: impl Into<Participants>) {
        self.start(NewMeeting {
            id: id.to_owned(),
            participants: participants.into(),
            breakout: true,
            parent: parent.to_owned(),
            ..NewMeeting::default()
        });
    }

    /// Sets the id by which breakout rooms name their parents.
    pub fn set_parent_ids(&self, ids: ParentIds) {
        self.state().parents = ids;
    }

    /// Lets `getMeetings` answer this text, whatever runs, such as one of the [`cases`]; `None` ends that.
    pub fn set_listing(&self, text: Option<&str>) {
        self.state().listing = text.map(str::to_owned);
    }

    /// Changes the people in a meeting. Returns false when there is no such meeting.
    pub fn set_participants(&self, id: &str, participants: impl Into<Participants>) -> bool {
        let mut state = self.state();
        let Some(meeting) = state.meetings.get_mut(id) else { return false };
        meeting.set_participants(participants.into());
        true
    }

    /// Ends a meeting, but not its breakout rooms. Returns false when there is none.
    pub fn end_meeting(&self, id: &str) -> bool {
        self.state().meetings.remove(id).is_some()
    }

    /// Ends all meetings, as a crash of the host does.
    pub fn end_all(&self) {
        self.state().meetings.clear();
    }

    /// Returns the running meeting with that id.
    pub fn meeting(&self, id: &str) -> Option<Meeting> {
        self.state().meetings.get(id).cloned()
    }
}

impl Service for BbbHost {
    fn name(&self) -> ServiceName {
        ServiceName::Bbb
    }

    fn action(&self, request: &Request) -> String {
        match operation(&request.path) {
            Some("") => "version".to_owned(),
            Some(operation) => operation.to_owned(),
            None => format!("{} {}", request.method, request.path),
        }
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let mut state = self.state();
            match (state.mode, operation(&request.path)) {
                (_, None) => nginx(404),
                (Mode::NotInstalled, _) => nginx(502),
                (Mode::Starting, _) => nginx(504),
                (Mode::Ready, Some("")) => state.about(request),
                (Mode::Ready, Some(operation)) => state.operate(operation, request),
            }
        })
    }

    /// Returns an XML refusal with the code as its key when the status is 200, else nginx's page.
    fn error(&self, status: u16, code: &str) -> Response {
        match status {
            200 => failed(code, "A planned fault."),
            301 => moved(),
            status => nginx(status),
        }
    }
}

/// Returns the last segment of a path of the API; an empty one for the API itself.
fn operation(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(BASE)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

impl State {
    fn about(&self, request: &Request) -> Response {
        let shown = if self.reveal_version { self.version.as_str() } else { "" };
        let mut body =
            element("version", "2.0") + &element("apiVersion", "2.0") + &element("bbbVersion", shown);
        if self.has_chat() {
            let host = request.header("host");
            body += &element("graphqlWebsocketUrl", format_args!("wss://{host}/graphql"));
            body += &element("graphqlApiUrl", format_args!("https://{host}/api/rest"));
        }
        success(&body)
    }

    fn has_chat(&self) -> bool {
        self.version
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok())
            .is_some_and(|major| major >= 3)
    }

    fn operate(&mut self, operation: &str, request: &Request) -> Response {
        let method_fits = request.method == "GET" || (request.method == "POST" && operation == "create");
        let known = match operation {
            "getMeetings" | "getMeetingInfo" | "isMeetingRunning" | "create" | "end" => true,
            "sendChatMessage" => self.has_chat(),
            _ => false,
        };
        if !known || !method_fits {
            return failed("unsupportedRequest", "This request is not supported.");
        }
        let query = request.query.as_str();
        if !checksum::verify(operation, query, self.secret.expose(), &self.algorithms) {
            return failed("checksumError", "Checksums do not match");
        }
        if operation == "getMeetings" {
            return self.list();
        }
        let Some(id) = parameter(query, "meetingID").filter(|id| !id.is_empty()) else {
            return failed("missingParamMeetingID", "You must specify a meeting ID for the meeting.");
        };
        match operation {
            "create" => self.create(id, query),
            "isMeetingRunning" => {
                let running = self.meetings.get(&id).is_some_and(|meeting| meeting.participants.total() > 0);
                success(&element("running", running))
            }
            "getMeetingInfo" => {
                let show = |meeting| info(meeting, &self.meetings, self.parents);
                self.meetings.get(&id).map_or_else(not_found, show)
            }
            "end" => self.end(&id, query),
            _ => self.chat(&id, query),
        }
    }

    fn list(&self) -> Response {
        if let Some(text) = &self.listing {
            return reply(200, "text/xml;charset=utf-8", text.clone());
        }
        if self.meetings.is_empty() {
            let message = "no meetings were found on this server";
            return success(&format!(
                "<meetings/>{}{}",
                element("messageKey", "noMeetings"),
                element("message", message)
            ));
        }
        listing(&self.meetings, self.parents)
    }

    /// Returns the parent with this external id; one that is not known (any more) keeps the id for both.
    fn parent(&self, id: &str) -> Option<Parent> {
        if id.is_empty() {
            return None;
        }
        let mut rooms = self.meetings.values().filter_map(|room| room.parent.as_ref());
        let known = self.meetings.get(id).map(|parent| parent.internal_id.clone());
        let of_a_room = || rooms.find(|parent| parent.external == id).map(|parent| parent.internal.clone());
        let internal = known.or_else(of_a_room).unwrap_or_else(|| internal_id(0));
        let siblings = self.meetings.values().filter_map(|room| room.parent.as_ref());
        let sequence = 1 + siblings.filter(|parent| parent.external == id).count();
        Some(Parent { external: id.to_owned(), internal, sequence })
    }

    fn create(&mut self, id: String, query: &str) -> Response {
        let Some(name) = parameter(query, "name").filter(|name| !name.is_empty()) else {
            return failed("missingParamName", "You must specify a name for the meeting.");
        };
        let moderator_password = parameter(query, "moderatorPW").unwrap_or_default();
        let flag = |name| parameter(query, name).as_deref() == Some("true");
        if let Some(running) = self.meetings.get(&id) {
            let same =
                moderator_password.is_empty() || moderator_password == running.moderator_password.expose();
            if !same {
                return failed(
                    "idNotUnique",
                    "A meeting already exists with that meeting ID.  Please use a different meeting ID.",
                );
            }
            return created(
                running,
                "duplicateWarning",
                "This conference was already in existence and may currently be in progress.",
            );
        }
        let breakout = flag("isBreakout");
        let parent = parameter(query, "parentMeetingID").filter(|_| breakout).unwrap_or_default();
        if breakout && parent.is_empty() {
            let message = "No parent meeting ID was provided for the breakout room";
            return failed("parentMeetingIdMissing", message);
        }
        let parent = self.parent(&parent);
        let new = NewMeeting {
            name,
            moderator_password,
            recording: flag("record"),
            breakout,
            id: id.clone(),
            metadata: parameters(query).filter_map(metadata).collect(),
            ..NewMeeting::default()
        };
        let meeting = Meeting::start(new, parent);
        let answer = created(&meeting, "", "");
        self.meetings.insert(id, meeting);
        answer
    }

    fn end(&mut self, id: &str, query: &str) -> Response {
        let Some(meeting) = self.meetings.get_mut(id) else { return not_found() };
        let password = parameter(query, "password").unwrap_or_default();
        if !password.is_empty() && password != meeting.moderator_password.expose() {
            return failed("invalidPassword", "The supplied moderator password is incorrect");
        }
        if meeting.lingers {
            meeting.end();
        } else {
            self.meetings.remove(id);
        }
        let message = "A request to end the meeting was sent. Please wait a few seconds, and then use the \
                       getMeetingInfo or isMeetingRunning API calls to verify that it was ended";
        success(&(element("messageKey", "sentEndMeetingRequest") + &element("message", message)))
    }

    fn chat(&mut self, id: &str, query: &str) -> Response {
        // BBB drops the control characters and outer spaces of every parameter (its `ValidationService`).
        let clean = |name| parameter(query, name).unwrap_or_default().replace(char::is_control, "");
        let (message, sender) = (clean("message").trim().to_owned(), clean("userName"));
        if !(1..=CHAT_LIMIT).contains(&message.encode_utf16().count()) {
            return failed("validationError", "Param message must be between 1 and 500 characters");
        }
        if sender.trim().encode_utf16().count() > SENDER_LIMIT {
            return failed("validationError", "Param userName must not exceed 255 characters");
        }
        let Some(meeting) = self.meetings.get_mut(id) else { return not_found() };
        meeting.chat.push(message);
        success("")
    }
}

/// Returns a parameter `meta_NAME` as BBB keeps it: its name in lower case, and only if it is of letters, digits and
/// hyphens after a letter (`ParamsProcessorUtil`).
fn metadata((name, value): (String, String)) -> Option<(String, String)> {
    let name = name.strip_prefix("meta_")?;
    let fits = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|other| other.is_ascii_alphanumeric() || other == '-');
    fits.then(|| (name.to_ascii_lowercase(), value))
}

fn not_found() -> Response {
    failed("notFound", "A meeting with that ID does not exist")
}

fn created(meeting: &Meeting, key: &str, message: &str) -> Response {
    success(&format!(
        "{}{}{}{}{}{}{}{}",
        element("meetingID", &meeting.id),
        element("internalMeetingID", &meeting.internal_id),
        element("attendeePW", meeting.attendee_password.expose()),
        element("moderatorPW", meeting.moderator_password.expose()),
        element("createTime", meeting.created),
        element("hasUserJoined", meeting.joined),
        element("messageKey", key),
        element("message", message),
    ))
}
