//! The list of meetings (`getMeetings`).
//!
//! A figure that cannot be read is unknown and does not spoil the list, and a list that is cut off still says that at
//! least these meetings run. BBB prints counts in the way of its locale (`1,000`), and ids and names as front ends have
//! chosen them. The parent of a breakout room is in the meeting itself, in older versions in `<breakout>`, and there
//! without `<isBreakout>` (BBB's `get-meetings.ftlx`).

use std::time::Duration;

use crate::xml::Step;

/// The most meetings that are read: more than any host has.
const MAX_MEETINGS: usize = 10_000;

/// A meeting that runs on the host. The agent deliberately does not read its name and its passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meeting {
    /// The external id, as front ends use and choose it.
    pub id: Option<String>,
    /// BBB's own id.
    pub internal_id: Option<String>,
    /// Everyone in it, moderators included.
    pub participants: Option<u32>,
    /// Participants with a microphone.
    pub voices: Option<u32>,
    /// Cameras that are on.
    pub videos: Option<u32>,
    /// `true` for a breakout room.
    pub breakout: Option<bool>,
    /// The id of a breakout room's parent meeting: the internal or the external one.
    pub parent: Option<String>,
    /// Whether somebody has been in it.
    pub joined: Option<bool>,
    /// Whether it was ended by force. BBB may list it for hours afterwards.
    pub forcibly_ended: Option<bool>,
    /// The time since 1970 at which it was created.
    pub created: Option<Duration>,
}

/// The meetings that run on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meetings {
    /// All meetings that were read, breakout rooms included.
    pub listed: Vec<Meeting>,
    /// Why there may be more; `None` when these are all.
    pub rest: Option<String>,
}

/// A list of meetings that is being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    meetings: Vec<Meeting>,
    /// Whether there is a list, if only an empty one.
    pub(super) has_list: bool,
    /// Whether the list is longer than any real one.
    pub(super) is_endless: bool,
}

impl Reading {
    /// Takes a step through the answer.
    pub(super) fn step(&mut self, path: &[String], step: &Step) {
        // Front ends choose the names in there.
        if path.iter().any(|name| matches!(name.as_str(), "customdata" | "metadata")) {
            return;
        }
        match (path, step) {
            ([.., name], Step::Begin) if name == "meeting" => self.begin(),
            ([_, name], Step::Begin) if name == "meetings" => self.has_list = true,
            ([.., parent], Step::End { name, text: Some(text) }) => {
                if let Some(meeting) = self.meetings.last_mut().filter(|_| !self.is_endless) {
                    meeting.read(parent, name, text);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self) {
        self.has_list = true;
        self.is_endless = self.meetings.len() >= MAX_MEETINGS;
        if !self.is_endless {
            self.meetings.push(Meeting::default());
        }
    }

    /// Returns the meetings that were read.
    pub(super) fn meetings(self) -> Vec<Meeting> {
        self.meetings
    }
}

impl Meeting {
    /// Reads an element in `parent`, which is the meeting's element or one in it. The first of several counts.
    fn read(&mut self, parent: &str, name: &str, text: &str) {
        match (parent, name) {
            ("meeting", "meetingID") => set(&mut self.id, Some(text.to_owned())),
            ("meeting", "internalMeetingID") => set(&mut self.internal_id, Some(text.to_owned())),
            ("meeting", "participantCount") => set(&mut self.participants, count(text)),
            ("meeting", "voiceParticipantCount") => set(&mut self.voices, count(text)),
            ("meeting", "videoCount") => set(&mut self.videos, count(text)),
            ("meeting", "isBreakout") => set(&mut self.breakout, boolean(text)),
            ("meeting" | "breakout", "parentMeetingID") => set(&mut self.parent, Some(text.to_owned())),
            ("meeting", "hasUserJoined") => set(&mut self.joined, boolean(text)),
            ("meeting", "hasBeenForciblyEnded") => set(&mut self.forcibly_ended, boolean(text)),
            ("meeting", "createTime") => set(&mut self.created, text.parse().ok().map(Duration::from_millis)),
            _ => {}
        }
    }

    /// Returns whether it is a breakout room; one with a parent is, where BBB does not say it.
    pub fn is_breakout(&self) -> bool {
        self.breakout.unwrap_or(self.parent.is_some())
    }
}

fn set<T>(field: &mut Option<T>, value: Option<T>) {
    if field.is_none() {
        *field = value;
    }
}

fn boolean(text: &str) -> Option<bool> {
    text.parse().ok()
}

/// Reads a count, in which Java may have separated the thousands as its locale wants it: `1,000`, `1.000`, `1 000`.
fn count(text: &str) -> Option<u32> {
    let separator = |c: char| matches!(c, ',' | '.' | '\'' | '’' | ' ' | '\u{a0}' | '\u{202f}');
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let (first, thousands) = match text.split_once(separator) {
        Some((first, thousands)) if first.len() <= 3 => (first, thousands.split(separator).collect()),
        Some(_) => return None,
        None => (text, Vec::new()),
    };
    let whole = is_number(first) && thousands.iter().all(|digits| digits.len() == 3 && is_number(digits));
    whole.then(|| format!("{first}{}", thousands.concat()).parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_javas_locales_print_them() {
        for (text, read) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("1000", Some(1000)),
            ("1,000", Some(1000)),
            ("1.000", Some(1000)),
            ("1\u{a0}000", Some(1000)),
            ("1\u{202f}000", Some(1000)),
            ("1’000", Some(1000)),
            ("1,234,567", Some(1_234_567)),
            ("4,294,967,295", Some(u32::MAX)),
            ("4,294,967,296", None),
            ("", None),
            (",", None),
            (",000", None),
            ("1,", None),
            ("1,00", None),
            ("1,0000", None),
            ("1000,000", None),
            ("1.5", None),
            ("-1", None),
            ("+1", None),
            ("many", None),
            ("١٢", None),
        ] {
            assert_eq!(count(text), read, "{text}");
        }
    }
}
