//! Parsers for the metadata service's answers. Each function takes the path, for errors, and the body. No error quotes
//! more than a line of an answer, and none quotes credentials.

use std::net::{IpAddr, Ipv4Addr};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use plan::instance::InstanceId;
use plan::ownership::is_account;
use plan::record::is_region;
use plan::time;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Error, invalid};

/// The longest name of a state, in bytes: about twice the longest documented one (`Warmed:Hibernated`).
const LONGEST_STATE: usize = 40;

/// This instance's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The instance id.
    pub instance: InstanceId,
    /// The region, e.g. `eu-central-1`. It becomes part of host names that the agent asks, so its form is checked.
    pub region: String,
    /// The AWS account, 12 digits, where the document has one.
    pub account: Option<String>,
    /// The availability zone, e.g. `eu-central-1a`.
    pub availability_zone: String,
    /// The type, e.g. `c5.xlarge`.
    pub instance_type: String,
    /// The primary private address.
    pub private_ipv4: Ipv4Addr,
}

/// A notice that EC2 will reclaim this spot instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpotNotice {
    /// The action: `terminate`, `stop` or `hibernate`.
    pub action: String,
    /// The time of the action, in seconds since 1970.
    pub time: u64,
}

/// An event that EC2 has scheduled for this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// The kind: `instance-reboot`, `system-reboot`, `system-maintenance`, `instance-retirement` or `instance-stop`.
    pub code: String,
    /// The state: `active` before and during the event, then `completed` or `canceled`.
    pub state: String,
    /// The earliest time at which the event begins, in seconds since 1970.
    pub not_before: u64,
}

/// The credentials of the instance's role.
#[derive(Debug)]
pub struct RoleCredentials {
    /// The public part.
    pub access_key_id: String,
    /// The key that signs requests.
    pub secret_access_key: SecretString,
    /// The token that makes the two keys valid.
    pub session_token: SecretString,
    /// The expiry, as RFC 3339 writes it.
    pub expiration: String,
    /// The time at which the service got them, in seconds since 1970, if it tells.
    pub issued: Option<u64>,
}

/// Parses the identity document.
pub fn identity(path: &str, body: &[u8]) -> Result<Identity, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        instance_id: String,
        region: String,
        account_id: Option<String>,
        availability_zone: String,
        instance_type: String,
        private_ip: Ipv4Addr,
    }
    let document: Document = json(path, body)?;
    let instance =
        InstanceId::parse(&document.instance_id).map_err(|error| invalid(path, &error.to_string()))?;
    if !is_region(&document.region) {
        return Err(invalid(path, &format!("{:?} is not a region", document.region)));
    }
    Ok(Identity {
        instance,
        region: document.region,
        account: document.account_id.filter(|text| is_account(text)),
        availability_zone: plain(path, document.availability_zone)?,
        instance_type: plain(path, document.instance_type)?,
        private_ipv4: document.private_ip,
    })
}

/// Parses a spot instance's interruption notice.
pub fn spot_notice(path: &str, body: &[u8]) -> Result<SpotNotice, Error> {
    #[derive(Deserialize)]
    struct Notice {
        action: String,
        time: String,
    }
    let Notice { action, time } = json(path, body)?;
    Ok(SpotNotice { action: plain(path, action)?, time: rfc3339(path, &time)? })
}

/// Parses a rebalance recommendation; returns its time in seconds since 1970.
pub fn rebalance_notice(path: &str, body: &[u8]) -> Result<u64, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Recommendation {
        notice_time: String,
    }
    let Recommendation { notice_time } = json(path, body)?;
    rfc3339(path, &notice_time)
}

/// Parses the scheduled events, in the service's order.
pub fn maintenance(path: &str, body: &[u8]) -> Result<Vec<Maintenance>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Event {
        code: String,
        state: String,
        not_before: String,
    }
    let events: Vec<Event> = json(path, body)?;
    let understood = events.into_iter().map(|Event { code, state, not_before }| {
        let not_before = time::scheduled_event(&not_before);
        let not_before = not_before.map_err(|error| invalid(path, &error.to_string()))?;
        Ok(Maintenance { code: plain(path, code)?, state: plain(path, state)?, not_before })
    });
    understood.collect()
}

/// Parses an answer that is an address.
pub fn address<A: std::str::FromStr + Into<IpAddr>>(path: &str, body: &[u8]) -> Result<A, Error> {
    // Not quoted: the answer may come from something other than a metadata service.
    text(path, body)?.parse().map_err(|_| invalid(path, "it is not an address"))
}

/// Parses the state that Auto Scaling wants, such as `Warmed:Stopped`: a word, whether or not this version knows it.
pub fn state(path: &str, body: &[u8]) -> Result<String, Error> {
    let text = text(path, body)?;
    let word = (1..=LONGEST_STATE).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ":_-".contains(c));
    // Not quoted: the answer may come from something other than a metadata service.
    if word { Ok(text.to_owned()) } else { Err(invalid(path, "it is not a state such as InService")) }
}

/// Parses an answer that is a name.
pub fn line(path: &str, body: &[u8]) -> Result<String, Error> {
    plain(path, text(path, body)?.to_owned())
}

/// Parses the name of the instance's role, the first line; returns `None` where there is none.
pub fn role(path: &str, body: &[u8]) -> Result<Option<String>, Error> {
    let first = text(path, body)?.lines().next().map(str::trim).filter(|role| !role.is_empty());
    // IAM's rule for role names: anything else must not become part of the next request's path.
    let usual = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    match first {
        Some(role) if !role.chars().all(usual) || matches!(role, "." | "..") => {
            Err(invalid(path, "its first line is not the name of a role"))
        }
        role => Ok(role.map(str::to_owned)),
    }
}

/// Parses a role's credentials.
pub fn credentials(path: &str, body: &[u8]) -> Result<RoleCredentials, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        code: Option<String>,
        access_key_id: Option<String>,
        secret_access_key: Option<String>,
        token: Option<String>,
        expiration: Option<String>,
        last_updated: Option<String>,
    }
    // serde_json quotes parts of what it cannot read, and this is a secret: the error gives only the position.
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        invalid(path, &format!("not the expected JSON at line {} column {}", error.line(), error.column()))
    })?;
    match answer {
        Answer {
            code: Some(code),
            access_key_id: Some(access_key_id),
            secret_access_key: Some(secret_access_key),
            token: Some(session_token),
            expiration: Some(expiration),
            last_updated,
        } if code == "Success" => {
            let secret_access_key = SecretString::from(secret_access_key);
            let session_token = SecretString::from(session_token);
            let issued = last_updated.and_then(|text| rfc3339(path, &text).ok());
            Ok(RoleCredentials { access_key_id, secret_access_key, session_token, expiration, issued })
        }
        // E.g. AssumeRoleUnauthorizedAccess: the role does not trust EC2. Only a plain word is quoted.
        Answer { code: Some(code), .. }
            if code != "Success" && code.bytes().all(|byte| byte.is_ascii_alphabetic()) =>
        {
            Err(invalid(path, &format!("no credentials, but the code {code:?}")))
        }
        _ => Err(invalid(path, "incomplete credentials")),
    }
}

fn text<'a>(path: &str, body: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(body).map(str::trim).map_err(|_| invalid(path, "it is not text"))
}

/// Checks that a text is safe to show to people.
fn plain(path: &str, text: String) -> Result<String, Error> {
    if text.contains(char::is_control) {
        return Err(invalid(path, &format!("{text:?} has control characters")));
    }
    Ok(text)
}

fn json<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| invalid(path, &error.to_string()))
}

/// Parses a time such as `2026-01-31T23:59:59Z` into seconds since 1970.
fn rfc3339(path: &str, text: &str) -> Result<u64, Error> {
    let seconds = DateTime::from_str(text, Format::DateTime).ok().map(|time| time.secs());
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.ok_or_else(|| invalid(path, &format!("{text:?} is not a time such as 2026-01-31T23:59:59Z")))
}
