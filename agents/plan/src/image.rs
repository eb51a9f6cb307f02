//! A host that was made from an image: its BBB has the name and the secrets of the host from which the image was made.
//!
//! Such a host can become itself: its own name takes the place of the former one, wherever that stands in BBB's files,
//! and new secrets take the place of those that all hosts of the image share. `bbb-conf --setip` changes the name in
//! the same files (its source, versions 2.7 to 4.0), by keys that differ from version to version; here it is found by
//! its text, because no other text in those files looks like it.
//!
//! # Whose name it may be
//! An operator may have given BBB a name of its own choice, under which people know it. So only two kinds of names are
//! taken for an image's: a name that the fleet's own template makes, for another instance, and a name below
//! `.invalid`, which never leads anywhere (RFC 2606), so that nobody can be in a meeting there.
//!
#![doc = include_str!("tables/image.md")]

use std::ops::Range;

use crate::addresses::{File, TURN_SERVERS};
use crate::record::{HostTemplate, Name};

/// The file that says whose name BBB has: the properties of bbb-web.
pub const PROPERTIES: &str = "/etc/bigbluebutton/bbb-web.properties";

/// The files in which the name of a BBB host stands, in the order in which they are written. Some exist only in some
/// versions of BBB, others only where an operator has made them.
pub const FILES: [&str; 14] = [
    "/etc/nginx/sites-available/bigbluebutton",
    "/etc/bigbluebutton/bbb-apps-akka.conf",
    "/usr/local/bigbluebutton/core/scripts/bigbluebutton.yml",
    "/etc/bigbluebutton/recording/recording.yml",
    "/usr/local/bigbluebutton/bbb-webhooks/config/default.yml",
    "/etc/bigbluebutton/bbb-webhooks/production.yml",
    "/usr/share/meteor/bundle/programs/server/assets/app/config/settings.yml",
    "/usr/share/bigbluebutton/html5-client/private/config/settings.yml",
    "/etc/bigbluebutton/bbb-html5.yml",
    "/usr/share/bbb-web/WEB-INF/classes/spring/turn-stun-servers.xml",
    TURN_SERVERS,
    File::Coturn.path(),
    "/usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties",
    PROPERTIES,
];

/// The end of names that lead nowhere.
const NOWHERE: &str = ".invalid";

/// The kind of name that the BBB of a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is the host's own.
    Own,
    /// It leads nowhere: the host was made from an image for that purpose.
    Nowhere,
    /// It is that of another instance of the fleet, from which the image was made.
    Instance,
    /// It is none of these: an operator has chosen it.
    Chosen,
}

impl Origin {
    /// Finds out which kind of name this is. `fleet` is how the fleet names its hosts, with its domain; `None` where it
    /// does not by their instances.
    pub fn of(found: &str, own: &Name, fleet: Option<(&HostTemplate, &Name)>) -> Self {
        let Ok(found) = Name::host(found) else { return Self::Chosen };
        match fleet {
            _ if found == *own => Self::Own,
            _ if found.as_str().ends_with(NOWHERE) => Self::Nowhere,
            Some((template, domain)) if template.instance(&found, domain).is_some() => Self::Instance,
            _ => Self::Chosen,
        }
    }

    /// Tells whether the host was made from an image, and may become itself.
    pub fn is_image(self) -> bool {
        matches!(self, Self::Nowhere | Self::Instance)
    }
}

/// A word that another one replaces wherever it stands by itself.
#[derive(Clone, Copy, Debug)]
pub struct Replacement<'a> {
    /// The former word. One without any letter or digit is not found.
    pub former: &'a str,
    /// The word that replaces it.
    pub new: &'a str,
}

impl Replacement<'_> {
    /// Returns the text with the new word, and at how many places it stands there now instead of the former one.
    ///
    /// A longer word that contains the former one stays, and so does a part of a path: the directory of a certificate
    /// is not renamed.
    pub fn apply(&self, text: &str) -> (String, usize) {
        let places = occurrences(text, self.former);
        let mut new = text.to_owned();
        for place in places.iter().rev() {
            new.replace_range(place.clone(), self.new);
        }
        (new, places.len())
    }
}

/// Returns where a word stands by itself in a text. The case of ASCII letters does not count.
fn occurrences(text: &str, word: &str) -> Vec<Range<usize>> {
    let (folded, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    if !word.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Vec::new();
    }
    let found = folded.match_indices(&word).map(|(start, found)| start..start + found.len());
    found.filter(|place| is_alone(&folded, place)).collect()
}

fn is_alone(text: &str, place: &Range<usize>) -> bool {
    let joins = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut before = text.as_bytes().get(..place.start).unwrap_or_default().iter().rev().copied();
    let mut after = text.as_bytes().get(place.end..).unwrap_or_default().iter().copied();
    let begins = match (before.next(), before.next()) {
        (Some(b'.'), _) => false,
        // Behind `//` is the host of a URL, and behind `/` a directory.
        (Some(b'/'), second) => second == Some(b'/'),
        (Some(byte), _) => !joins(byte),
        (None, _) => true,
    };
    let ends = match (after.next(), after.next()) {
        (Some(b'.'), second) => !second.is_some_and(joins),
        (Some(byte), _) => !joins(byte),
        (None, _) => true,
    };
    begins && ends
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
