//! Whose a name is: the label in the TXT record set at `_agent.<fqdn>`.
//!
//! `heritage=bbb-agents,role=bbb,instance=i-0123456789abcdef0,region=eu-central-1,since=1767225600`
//!
//! | text | is |
//! |---|---|
//! | heritage `bbb-agents`, a valid instance | that instance's |
//! | another heritage, no heritage, no valid instance | not ours, whatever else it says |
//! | further keys | ignored, so that later versions can add some |

use std::fmt;

use crate::instance::{InstanceId, Role};

const HERITAGE: &str = "bbb-agents";

/// What an ownership TXT says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The role of the host, as written: `bbb`, `turn`.
    pub role: String,
    /// The instance that owns the name.
    pub instance: InstanceId,
    /// The region of that instance.
    pub region: String,
    /// When the name was registered or last changed, in seconds since 1970.
    pub since: u64,
}

impl Owner {
    /// The owner label of a host.
    pub fn new(role: Role, instance: InstanceId, region: String, since: u64) -> Self {
        Self { role: role.as_str().to_owned(), instance, region, since }
    }

    /// Reads a label; `None` when it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| {
            text.split(',')
                .find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key).map(|(_, value)| value))
        };
        if field("heritage") != Some(HERITAGE) {
            return None;
        }
        Some(Self {
            role: field("role").unwrap_or_default().to_owned(),
            instance: InstanceId::parse(field("instance")?).ok()?,
            region: field("region").unwrap_or_default().to_owned(),
            since: field("since").and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, instance, region, since } = self;
        write!(f, "heritage={HERITAGE},role={role},instance={instance},region={region},since={since}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn written_and_read_back() {
        let instance = InstanceId::parse("i-0123456789abcdef0").unwrap();
        let owner = Owner::new(Role::Turn, instance, "eu-central-1".into(), 1_767_225_600);
        let text =
            "heritage=bbb-agents,role=turn,instance=i-0123456789abcdef0,region=eu-central-1,since=1767225600";
        assert_eq!(owner.to_string(), text);
        assert_eq!(Owner::parse(text), Some(owner.clone()));
        assert_eq!(Owner::parse(&format!("{text},later=1")), Some(owner));
    }

    #[test]
    fn what_is_not_ours() {
        for text in [
            "",
            "heritage=external-dns,instance=i-0123456789abcdef0",
            "instance=i-0123456789abcdef0",
            "heritage=bbb-agents",
            "heritage=bbb-agents,instance=mine",
            "heritage=bbb-agents-2,instance=i-0123456789abcdef0",
        ] {
            assert_eq!(Owner::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC*") {
            let _ = Owner::parse(&text);
        }
    }
}
