//! A meeting on the host.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A secret of the sandbox: `Debug` never shows it; the serialised form, meant for inspection by tests, does.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// The people in a meeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Participants {
    /// Moderators.
    pub moderators: u32,
    /// Everyone else.
    pub viewers: u32,
    /// People who only listen.
    pub listeners: u32,
    /// People with a microphone.
    pub voices: u32,
    /// Cameras that are on.
    pub videos: u32,
}

impl Participants {
    /// Returns `participantCount`: moderators and viewers.
    pub fn total(&self) -> u32 {
        self.moderators.saturating_add(self.viewers)
    }
}

impl From<u32> for Participants {
    /// Returns this many people with microphones, the first of them a moderator.
    fn from(people: u32) -> Self {
        let moderators = people.min(1);
        Self { moderators, viewers: people - moderators, listeners: 0, voices: people, videos: 0 }
    }
}

/// The details of a meeting that a test starts; see [`super::BbbHost::start`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewMeeting {
    /// The external id, as clients name it.
    pub id: String,
    /// The name; the id when empty. Any characters.
    pub name: String,
    /// The people in the meeting.
    pub participants: Participants,
    /// The age of the meeting, in seconds: Scalelite counts young meetings as at least 15 people.
    pub age_seconds: u64,
    /// Whether it is being recorded.
    pub recording: bool,
    /// Whether it is a breakout room.
    pub breakout: bool,
    /// The external id of a breakout room's parent. The parent need not be listed (any more): BBB 2.6.14 ended a parent
    /// without a moderator and left its rooms alone (its issue 18876). A breakout room whose parent is not named at all
    /// breaks the list off in its middle (issue 15696).
    pub parent: String,
    /// Whether BBB has ended it and lists it nevertheless.
    pub forcibly_ended: bool,
    /// Whether `end` leaves it in the list, without people: nothing but a restart of BBB removes it.
    pub lingers: bool,
    /// The names of the first people, as they were sent; the others have numbers.
    pub names: Vec<String>,
    /// The `userdata-*` parameters with which everyone joined. BBB makes each name an element, unchecked.
    pub userdata: BTreeMap<String, String>,
    /// The `meta_*` parameters of `create`, under their names in lower case.
    pub metadata: BTreeMap<String, String>,
    /// The password that `end` must have, if it has one at all; random when empty.
    pub moderator_password: String,
}

/// The parent of a breakout room, under both of its ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parent {
    /// The external id.
    pub external: String,
    /// The internal id.
    pub internal: String,
    /// The room's number among its parent's.
    pub sequence: usize,
}

/// A meeting on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Meeting {
    /// The external id, as clients name it.
    pub id: String,
    /// The name.
    pub name: String,
    /// The internal id: a hash and the time, as recordings are named.
    pub internal_id: String,
    /// The time of creation, in milliseconds since 1970.
    pub created: u64,
    /// Five digits, for dialling in.
    pub voice_bridge: u32,
    /// The password of viewers.
    pub attendee_password: Secret,
    /// The password of moderators.
    pub moderator_password: Secret,
    /// The people in the meeting.
    pub participants: Participants,
    /// Whether it is being recorded.
    pub recording: bool,
    /// Whether somebody has ever been in it.
    pub joined: bool,
    /// Whether it is a breakout room.
    pub breakout: bool,
    /// The parent of a breakout room.
    pub parent: Option<Parent>,
    /// When BBB ended it, in milliseconds since 1970, although it is still listed.
    pub ended: Option<u64>,
    /// Whether `end` leaves it in the list.
    pub lingers: bool,
    /// The names of the first people.
    pub names: Vec<String>,
    /// What everyone brought along.
    pub userdata: BTreeMap<String, String>,
    /// What the client that created the meeting keeps with it.
    pub metadata: BTreeMap<String, String>,
    /// The chat messages of `sendChatMessage`, oldest first.
    pub chat: Vec<String>,
}

impl Meeting {
    pub(super) fn start(new: NewMeeting, parent: Option<Parent>) -> Self {
        let age = Duration::from_secs(new.age_seconds);
        let created = milliseconds(now().saturating_sub(age));
        let moderator_password =
            if new.moderator_password.is_empty() { random_password() } else { new.moderator_password };
        Self {
            name: if new.name.is_empty() { new.id.clone() } else { new.name },
            internal_id: internal_id(created),
            id: new.id,
            created,
            voice_bridge: fastrand::u32(70_000..80_000),
            attendee_password: Secret::new(random_password()),
            moderator_password: Secret::new(moderator_password),
            joined: new.forcibly_ended || new.participants.total() > 0,
            participants: new.participants,
            recording: new.recording,
            breakout: new.breakout,
            parent,
            ended: new.forcibly_ended.then_some(created),
            lingers: new.lingers,
            names: new.names,
            userdata: new.userdata,
            metadata: new.metadata,
            chat: Vec::new(),
        }
    }

    pub(super) fn set_participants(&mut self, participants: Participants) {
        self.participants = participants;
        self.joined |= participants.total() > 0;
    }

    /// Ends the meeting, which stays in the list.
    pub(super) fn end(&mut self) {
        self.participants = Participants::default();
        self.ended = Some(milliseconds(now()));
    }
}

/// Returns an internal id of BBB's for a meeting that was created at this time.
pub(super) fn internal_id(created: u64) -> String {
    format!("{:040x}-{created}", fastrand::u128(..))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn random_password() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(8).collect()
}
