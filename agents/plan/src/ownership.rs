//! The owner of a name: the label in the TXT record set at `_agent.<fqdn>`.
//!
//! `heritage=bbb-agents,role=bbb,instance=i-0123456789abcdef0,region=eu-central-1,account=123456789012,since=1767225600`
//!
//! | text | meaning |
//! |---|---|
//! | heritage `bbb-agents`, a valid instance | the name is that instance's |
//! | another heritage, no heritage, no valid instance | the name is not ours, whatever else the text says |
//! | no account, or one without 12 digits | the name is that instance's all the same: the first versions wrote none |
//! | no `since`, or one that lies in the future | the age of the registration is not known |
//! | `share` and, with it, `check` | the host has a share in this name, with this health check: see [`crate::share`] |
//! | a role or region that is not all letters, digits and hyphens | read as empty, because people are shown it |
//! | further keys | ignored, so that later versions can add some |

use std::fmt;

use crate::instance::{InstanceId, Role};
use crate::record::Name;
use crate::share::{SharedName, is_health_check};

const HERITAGE: &str = "bbb-agents";

/// The most seconds by which the clocks of two hosts are expected to differ.
const SKEW: u64 = 300;

/// The content of an ownership TXT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The role of the host, as written: `bbb`, `turn`.
    pub role: String,
    /// The instance that owns the name.
    pub instance: InstanceId,
    /// The region of that instance.
    pub region: String,
    /// The AWS account of that instance, 12 digits, if known: in another account it proves nothing that an instance is
    /// not found.
    pub account: Option<String>,
    /// The shared name in which that instance has a share.
    pub share: Option<SharedName>,
    /// When the name was registered or last changed, in seconds since 1970 by the clock of that instance; 0 if the text
    /// does not say.
    pub since: u64,
}

impl Owner {
    /// Creates the owner label of a host whose account is not known.
    pub fn new(role: Role, instance: InstanceId, region: String, since: u64) -> Self {
        Self { role: role.as_str().to_owned(), instance, region, account: None, share: None, since }
    }

    /// Returns the seconds for which the name has been registered at `now`; `None` where the label does not tell, because
    /// it has no time, or one in the future: the clock was wrong when the host registered, or is wrong now.
    pub fn age(&self, now: u64) -> Option<u64> {
        let ahead = self.since.saturating_sub(now);
        (self.since != 0 && ahead <= SKEW).then(|| now.saturating_sub(self.since))
    }

    /// Reads a label; returns `None` when it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| {
            text.split(',')
                .find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key).map(|(_, value)| value))
        };
        if field("heritage") != Some(HERITAGE) {
            return None;
        }
        Some(Self {
            role: word(field("role")),
            instance: InstanceId::parse(field("instance")?).ok()?,
            region: word(field("region")),
            account: field("account").filter(|text| is_account(text)).map(str::to_owned),
            share: field("share").and_then(|text| Name::host(text).ok()).map(|name| {
                let health_check = field("check").filter(|text| is_health_check(text)).map(str::to_owned);
                SharedName { name, health_check }
            }),
            since: field("since").and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, instance, region, account, share, since } = self;
        write!(f, "heritage={HERITAGE},role={role},instance={instance},region={region}")?;
        if let Some(account) = account {
            write!(f, ",account={account}")?;
        }
        if let Some(SharedName { name, health_check }) = share {
            write!(f, ",share={name}")?;
            health_check.as_ref().map_or(Ok(()), |check| write!(f, ",check={check}"))?;
        }
        write!(f, ",since={since}")
    }
}

/// Returns the text if it has only letters, digits and hyphens, else an empty one.
fn word(text: Option<&str>) -> String {
    let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    text.filter(plain).unwrap_or_default().to_owned()
}

/// Tells whether a text is the id of an AWS account: 12 digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
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
    fn what_is_shown_holds_no_control_characters() {
        let text = "heritage=bbb-agents,role=b\u{1b}[2J,instance=i-1a2b3c4d,region=eu-central-1\n,since=7";
        assert_eq!(
            Owner::parse(text).unwrap().to_string(),
            "heritage=bbb-agents,role=,instance=i-1a2b3c4d,region=,since=7"
        );
    }

    #[test]
    fn an_account_is_written_and_read_back_and_nothing_else_is_one() {
        let instance = InstanceId::parse("i-0123456789abcdef0").unwrap();
        let owner = Owner {
            account: Some("123456789012".into()),
            ..Owner::new(Role::Bbb, instance, "eu-central-1".into(), 1_767_225_600)
        };
        let text = "heritage=bbb-agents,role=bbb,instance=i-0123456789abcdef0,region=eu-central-1,account=123456789012,since=1767225600";
        assert_eq!(owner.to_string(), text);
        assert_eq!(Owner::parse(text), Some(owner));
        for account in ["", "12345678901", "1234567890123", "12345678901x"] {
            assert_eq!(Owner::parse(&text.replace("123456789012", account)).unwrap().account, None);
        }
    }

    #[test]
    fn a_share_is_written_and_read_back() {
        let instance = InstanceId::parse("i-0123456789abcdef0").unwrap();
        let named = |health_check: Option<&str>| SharedName {
            name: Name::host("turn.example.org").unwrap(),
            health_check: health_check.map(str::to_owned),
        };
        for (check, words) in [(None, ""), (Some("abcdef11-2222"), ",check=abcdef11-2222")] {
            let owner = Owner {
                share: Some(named(check)),
                ..Owner::new(Role::Turn, instance.clone(), "eu-central-1".into(), 7)
            };
            let text = format!(
                "heritage=bbb-agents,role=turn,instance=i-0123456789abcdef0,region=eu-central-1,share=turn.example.org{words},since=7"
            );
            assert_eq!(owner.to_string(), text);
            assert_eq!(Owner::parse(&text), Some(owner));
        }
        let text = "heritage=bbb-agents,instance=i-0123456789abcdef0,";
        for (share, expected) in [
            ("share=", None),
            ("share=_agent.example.org", None),
            ("check=abc", None),
            ("share=turn.example.org,check=", Some(named(None))),
            ("share=turn.example.org,check=a\u{1b}b", Some(named(None))),
        ] {
            assert_eq!(Owner::parse(&format!("{text}{share}")).unwrap().share, expected, "{share}");
        }
    }

    #[test]
    fn a_time_in_the_future_is_no_age() {
        let now = 1_767_225_600;
        for (since, age) in [
            (now - 7200, Some(7200)),
            (now, Some(0)),
            (now + SKEW, Some(0)),
            (now + SKEW + 1, None),
            (u64::MAX, None),
            (0, None),
        ] {
            let instance = InstanceId::parse("i-0123456789abcdef0").unwrap();
            assert_eq!(Owner::new(Role::Bbb, instance, String::new(), since).age(now), age, "{since}");
        }
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
