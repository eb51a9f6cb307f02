//! The note on the host's entry in Scalelite that a reboot has taken out: it is added again as it was.
//!
//! The note is a hint and not the truth. It is in a directory that a reboot leaves alone, names the instance that
//! wrote it (an image of a host has the host's files), and is removed once the host has joined.

use std::io;
use std::path::{Path, PathBuf};

use plan::instance::InstanceId;
use plan::membership::{Desired, Entry, State};
use serde::{Deserialize, Serialize};

use crate::files;

/// An entry as it was before the reboot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    instance: String,
    tag: Option<String>,
    multiplier: Option<f64>,
    state: Option<Word>,
}

/// The state that an operator had set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Cordoned,
    Disabled,
}

impl Note {
    /// Returns the note on an entry, which an operator has set to this state.
    pub fn new(instance: &InstanceId, entry: &Entry, set: Option<State>) -> Self {
        let state = match set {
            Some(State::Cordoned) => Some(Word::Cordoned),
            Some(State::Disabled) => Some(Word::Disabled),
            Some(State::Enabled) | None => None,
        };
        let tag = entry.tag.clone().filter(|tag| !tag.is_empty());
        Self { instance: instance.as_str().to_owned(), tag, multiplier: entry.multiplier, state }
    }

    /// Reads the note that this instance has left, if it has left one.
    pub fn read(directory: &Path, instance: &InstanceId) -> Option<Self> {
        let note: Self = serde_json::from_str(&files::read(&file(directory)).ok()?).ok()?;
        (note.instance == instance.as_str()).then_some(note)
    }

    /// Writes the note, whole or not at all.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        files::write(&file(directory), serde_json::to_vec(self)?)
    }

    /// Removes the note, if there is one.
    pub fn remove(directory: &Path) {
        // One that stays is the hint that it was.
        let _ = files::remove(&file(directory));
    }

    /// Returns the state that an operator had set.
    pub fn state(&self) -> Option<State> {
        self.state.map(|word| match word {
            Word::Cordoned => State::Cordoned,
            Word::Disabled => State::Disabled,
        })
    }

    /// Returns the attributes for the entry: those of the settings, and where they leave one open, the one that it had.
    #[must_use]
    pub fn completes(note: Option<&Self>, desired: Desired) -> Desired {
        let Some(note) = note else { return desired };
        // Scalelite stores any number; one that it shows as null or below zero helps nobody.
        let multiplier = note.multiplier.filter(|multiplier| multiplier.is_finite() && *multiplier > 0.0);
        Desired { tag: desired.tag.or(note.tag.clone()), multiplier: desired.multiplier.or(multiplier) }
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("entry")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: "1".to_owned(),
            id_is_host: false,
            state: State::Cordoned,
            online: true,
            load: Some(1.0),
            multiplier: Some(2.5),
            tag: Some("a \"big\"\none".to_owned()),
            secret_matches: true,
            url_matches: true,
        }
    }

    fn instance(text: &str) -> InstanceId {
        InstanceId::parse(text).unwrap()
    }

    #[test]
    fn a_note_is_for_the_instance_that_wrote_it() {
        let directory = tempfile::tempdir().unwrap();
        let own = instance("i-0123456789abcdef0");
        assert_eq!(Note::read(directory.path(), &own), None);
        for set in [None, Some(State::Cordoned), Some(State::Disabled)] {
            let note = Note::new(&own, &entry(), set);
            note.write(directory.path()).unwrap();
            assert_eq!(Note::read(directory.path(), &own), Some(note.clone()));
            assert_eq!(note.state(), set);
            assert_eq!(Note::read(directory.path(), &instance("i-0123456789abcdef1")), None);
        }
        for text in ["", "{", "{}", "null", "\0"] {
            files::write(&file(directory.path()), text).unwrap();
            assert_eq!(Note::read(directory.path(), &own), None, "{text:?}");
        }
        Note::remove(directory.path());
        Note::remove(directory.path());
    }

    #[test]
    fn settings_come_before_what_was() {
        let note = Note::new(&instance("i-0123456789abcdef0"), &entry(), None);
        assert_eq!(
            Note::completes(Some(&note), Desired::default()),
            Desired { tag: entry().tag, multiplier: Some(2.5) }
        );
        let configured = Desired { tag: Some(String::new()), multiplier: Some(1.0) };
        assert_eq!(Note::completes(Some(&note), configured.clone()), configured);
        let odd = Note { multiplier: Some(-3.0), tag: None, ..note };
        assert_eq!(Note::completes(Some(&odd), Desired::default()), Desired::default());
    }
}
