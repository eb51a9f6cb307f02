//! A meeting on the host.

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
    /// The password that `end` must have, if it has one at all; random when empty.
    pub moderator_password: String,
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
    /// Whether it is a breakout room.
    pub breakout: bool,
    /// The chat messages of `sendChatMessage`, oldest first.
    pub chat: Vec<String>,
}

impl Meeting {
    pub(super) fn start(new: NewMeeting) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = Duration::from_secs(new.age_seconds);
        let created = u64::try_from(now.saturating_sub(age).as_millis()).unwrap_or(u64::MAX);
        let moderator_password =
            if new.moderator_password.is_empty() { random_password() } else { new.moderator_password };
        Self {
            name: if new.name.is_empty() { new.id.clone() } else { new.name },
            internal_id: format!("{:040x}-{created}", fastrand::u128(..)),
            id: new.id,
            created,
            voice_bridge: fastrand::u32(70_000..80_000),
            attendee_password: Secret::new(random_password()),
            moderator_password: Secret::new(moderator_password),
            participants: new.participants,
            recording: new.recording,
            breakout: new.breakout,
            chat: Vec::new(),
        }
    }
}

pub(crate) fn random_password() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(8).collect()
}
