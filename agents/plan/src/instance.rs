//! The identity of a host: its EC2 instance id and its role.

use std::fmt;

use thiserror::Error;

/// An EC2 instance id: `i-` and 8 or 17 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(String);

/// The error for a text that is not an instance id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an EC2 instance id (i- and 8 or 17 hexadecimal digits)")]
pub struct InvalidInstanceId(String);

impl InstanceId {
    /// Reads an instance id, e.g. `i-0123456789abcdef0`.
    pub fn parse(text: &str) -> Result<Self, InvalidInstanceId> {
        let digits = text.strip_prefix("i-").unwrap_or_default();
        let hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hexadecimal && matches!(digits.len(), 8 | 17) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidInstanceId(text.to_owned()))
        }
    }

    /// Returns the id as AWS writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id without `i-`, as host names contain it.
    pub fn digits(&self) -> &str {
        self.0.strip_prefix("i-").unwrap_or(&self.0)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kind of host that an agent looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A BigBlueButton host, behind Scalelite.
    Bbb,
    /// A TURN host (coturn).
    Turn,
}

impl Role {
    /// Returns the word used in ownership labels: `bbb`, `turn`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bbb => "bbb",
            Self::Turn => "turn",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_both_lengths() {
        assert_eq!(InstanceId::parse("i-0123456789abcdef0").unwrap().digits(), "0123456789abcdef0");
        assert_eq!(InstanceId::parse("i-1a2b3c4d").unwrap().as_str(), "i-1a2b3c4d");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "i-",
            "0123456789abcdef0",
            "i-0123456789ABCDEF0",
            "i-0123",
            "i-0123456789abcdeg0",
            "i-1a2b3c4d ",
        ] {
            assert_eq!(InstanceId::parse(text), Err(InvalidInstanceId(text.to_owned())));
        }
    }
}
