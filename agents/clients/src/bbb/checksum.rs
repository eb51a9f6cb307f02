//! The checksum that BBB's and Scalelite's APIs require in the query of every call.

use std::fmt::{self, Write};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash algorithm for checksums. The receiver tells them apart by the checksum's length.
///
/// BBB accepts SHA-1 and SHA-256 in every version in use, SHA-384 and SHA-512 since 2.5, unless its property
/// `supportedChecksumAlgorithms` says otherwise (BBB's documentation of its API). Scalelite accepts SHA-1, SHA-256 and
/// SHA-512 (observed on 1.8.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1, for a host that allows nothing else.
    Sha1,
    /// SHA-256, which everything accepts by default.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The order of preference: the algorithm that everything knows, then the longer ones.
    const PREFERRED: [(&'static str, Self); 4] =
        [("sha256", Self::Sha256), ("sha512", Self::Sha512), ("sha384", Self::Sha384), ("sha1", Self::Sha1)];

    /// Chooses from BBB's `supportedChecksumAlgorithms`, e.g. `sha1,sha256`; returns `None` when it names none that is
    /// known.
    pub fn choose(supported: &str) -> Option<Self> {
        let supported: Vec<String> =
            supported.split(',').map(|name| name.trim().to_ascii_lowercase().replace('-', "")).collect();
        let known = |(name, _): &&(&str, Self)| supported.iter().any(|supported| supported == name);
        Self::PREFERRED.iter().find(known).map(|(_, algorithm)| *algorithm)
    }

    /// Returns the name, e.g. `SHA-256`.
    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// Returns the query with its checksum at the end: a credential for this call, to be kept out of logs and errors.
    pub(crate) fn sign(self, action: &str, query: &str, secret: &SecretString) -> String {
        let secret = secret.expose_secret();
        let mut text = Zeroizing::new(String::with_capacity(action.len() + query.len() + secret.len()));
        text.push_str(action);
        text.push_str(query);
        text.push_str(secret);
        let checksum = match self {
            Self::Sha1 => hex(&Sha1::digest(text.as_bytes())),
            Self::Sha256 => hex(&Sha256::digest(text.as_bytes())),
            Self::Sha384 => hex(&Sha384::digest(text.as_bytes())),
            Self::Sha512 => hex(&Sha512::digest(text.as_bytes())),
        };
        let separator = if query.is_empty() { "" } else { "&" };
        format!("{query}{separator}checksum={checksum}")
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Builds a query of these parameters. Everything but letters, digits and `-._~` is percent-encoded, so that no proxy
/// rewrites it: the checksum covers the exact bytes of the query as the receiver sees them.
pub(crate) fn query(parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Formats bytes in lower-case hexadecimal, as both services require.
/// Returns bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        // The digests of "abc" are from the examples of FIPS 180-4, the one of `create` from BBB's documentation.
        let secret = SecretString::from("c");
        let sha1 = Algorithm::Sha1.sign("a", "b", &secret);
        assert_eq!(sha1, "b&checksum=a9993e364706816aba3e25717850c26c9cd0d89d");
        let sha256 = Algorithm::Sha256.sign("ab", "", &secret);
        assert_eq!(sha256, "checksum=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(
            Algorithm::Sha384
                .sign("ab", "", &secret)
                .starts_with("checksum=cb00753f45a35e8bb5a03d699ac65007")
        );
        assert!(
            Algorithm::Sha512
                .sign("ab", "", &secret)
                .starts_with("checksum=ddaf35a193617abacc417349ae204131")
        );
        let query = "name=Test+Meeting&meetingID=abc123&attendeePW=111222&moderatorPW=333444";
        let signed = Algorithm::Sha1.sign("create", query, &"639259d4-9dd8-4b25-bf01-95f9567eaf4b".into());
        assert_eq!(signed, format!("{query}&checksum=1fcbb0c4fc1f039f73aa6d697d2db9ba7f803f17"));
    }

    #[test]
    fn a_query_is_what_a_url_keeps_as_it_is() {
        let query =
            query(&[("meetingID", "a-b_c.d~"), ("message", "5 min: 10% & more = +/?#'\"*\u{e9}\u{1f600}\n")]);
        assert_eq!(
            query,
            "meetingID=a-b_c.d~&message=5%20min%3A%2010%25%20%26%20more%20%3D%20%2B%2F%3F%23%27%22%2A%C3%A9%F0%9F%98%80%0A"
        );
        let url = reqwest::Url::parse(&format!("https://bbb.example.org/x?{query}")).unwrap();
        assert_eq!(url.query(), Some(query.as_str()));
    }

    #[test]
    fn prefers_sha256_and_takes_what_there_is() {
        for (supported, chosen) in [
            ("sha1,sha256,sha384,sha512", Some(Algorithm::Sha256)),
            (" SHA-512 , sha1", Some(Algorithm::Sha512)),
            ("sha384,sha1", Some(Algorithm::Sha384)),
            ("sha1", Some(Algorithm::Sha1)),
            ("md5", None),
            ("", None),
        ] {
            assert_eq!(Algorithm::choose(supported), chosen, "{supported}");
        }
    }
}
