//! The checksum that protects both BBB's API and Scalelite's, and the form encoding of the queries it covers.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};

/// The hash of a checksum; receivers recognise it by the checksum's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// 40 hexadecimal digits.
    Sha1,
    /// 64 hexadecimal digits.
    Sha256,
    /// 128 hexadecimal digits.
    Sha512,
}

impl Algorithm {
    /// All hashes that BBB and Scalelite accept by default.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    fn of(checksum: &str) -> Option<Self> {
        match checksum.chars().count() {
            40 => Some(Self::Sha1),
            64 => Some(Self::Sha256),
            128 => Some(Self::Sha512),
            _ => None,
        }
    }

    fn hex(self, text: &str) -> String {
        match self {
            Self::Sha1 => hex(&Sha1::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
            Self::Sha512 => hex(&Sha512::digest(text)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the query with its checksum at the end, as a client sends it.
pub fn sign(algorithm: Algorithm, action: &str, query: &str, secret: &str) -> String {
    let checksum = algorithm.hex(&format!("{action}{query}{secret}"));
    let separator = if query.is_empty() { "" } else { "&" };
    format!("{query}{separator}checksum={checksum}")
}

/// Tells whether the query has a correct checksum anywhere in it: in lower case, over everything else as sent.
pub fn verify(action: &str, query: &str, secret: &str, allowed: &[Algorithm]) -> bool {
    let Some(checksum) = parameter(query, "checksum").filter(|checksum| !checksum.is_empty()) else {
        return false;
    };
    let Some(algorithm) = Algorithm::of(&checksum).filter(|algorithm| allowed.contains(algorithm)) else {
        return false;
    };
    // The real services use the same order: removing a pair in the middle also removes the separator before it.
    let rest = query
        .replace(&format!("&checksum={checksum}"), "")
        .replace(&format!("checksum={checksum}&"), "")
        .replace(&format!("checksum={checksum}"), "");
    algorithm.hex(&format!("{action}{rest}{secret}")) == checksum
}

/// Returns a decoded parameter of a query; the last one when it is repeated.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.rfind(|(key, _)| decode(key) == name).map(|(_, value)| decode(value))
}

/// Returns the decoded parameters of a query, in their order.
pub fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decode(name), decode(value)))
}

/// Encodes pairs as `application/x-www-form-urlencoded`, as both services send it to each other.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    pairs.join("&")
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => {
                encoded.push('%');
                encoded.push_str(&hex(&[byte]).to_ascii_uppercase());
            }
        }
    }
    encoded
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => decoded.push(b' '),
            b'%' => match tail.get(..2).and_then(hex_byte) {
                Some(byte) => {
                    decoded.push(byte);
                    rest = tail.get(2..).unwrap_or_default();
                }
                None => decoded.push(b'%'),
            },
            other => decoded.push(*other),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    // from_str_radix would also accept a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(
            sign(Algorithm::Sha1, "a", "b", "c"),
            "b&checksum=a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            sign(Algorithm::Sha256, "ab", "", "c"),
            "checksum=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn signs_what_it_verifies_wherever_the_checksum_stands() {
        for algorithm in Algorithm::ALL {
            let signed = sign(algorithm, "end", "meetingID=a+b&password=%26", "s");
            assert!(verify("end", &signed, "s", &Algorithm::ALL));
            let checksum = signed.rsplit('&').next().unwrap();
            for moved in [
                format!("{checksum}&meetingID=a+b&password=%26"),
                format!("meetingID=a+b&{checksum}&password=%26"),
            ] {
                assert!(verify("end", &moved, "s", &Algorithm::ALL), "{moved}");
            }
            assert!(!verify("create", &signed, "s", &Algorithm::ALL));
            assert!(!verify("end", &signed, "t", &Algorithm::ALL));
            assert!(!verify("end", &signed, "s", &[]));
        }
    }

    #[test]
    fn form_survives_any_text() {
        let text = "a b&c=d%+/\"'<>\\ ü€😀";
        assert_eq!(parameter(&form(&[("x", "1"), ("name", text)]), "name").unwrap(), text);
        assert_eq!(parameter("a=%zz%4", "a").unwrap(), "%zz%4");
    }
}
