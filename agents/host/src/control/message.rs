//! The messages between the service and commands: lines of JSON, each with the protocol's version.
//!
//! A conversation is one line `{"protocol":1,"body":REQUEST}` from the command, then any number of lines
//! `{"protocol":1,"body":REPLY}` from the service, the last of them `{"end":{"exit":CODE}}`. Every line has the
//! version, so that a newer command and a service that was not restarted after an upgrade can recognise each other.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::work::{RelayFacts, WorkFacts};
use crate::cli::Only;
use clients::untrusted::clean;

/// The version of the protocol. It changes when a peer of the previous version would misunderstand a message.
pub const PROTOCOL: u32 = 1;

/// The longest line, in bytes, its end included.
pub const LIMIT: usize = 64 * 1024;

/// A request of a command to the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Registers the host; also ends a drain.
    Register {
        /// The one half to do, if not both.
        only: Option<Only>,
        /// Whether to answer only once the name is live everywhere.
        wait: bool,
    },
    /// Takes the host out at once.
    Deregister {
        /// The one half to do, if not both.
        only: Option<Only>,
        /// Whether to answer only once no server answers with the name any more.
        wait: bool,
    },
    /// Sends new meetings elsewhere and lets the running ones end.
    Drain {
        /// The longest wait for them, in seconds; `None` for the configured one.
        deadline: Option<u64>,
        /// Whether to answer only once the host is empty.
        wait: bool,
    },
    /// Asks for the service's state.
    Status,
}

impl Request {
    /// Returns the name of the command that makes this request.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::Deregister { .. } => "deregister",
            Self::Drain { .. } => "drain",
            Self::Status => "status",
        }
    }
}

/// A reply of the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// A line for standard output.
    Line(String),
    /// A line about the progress, for a terminal.
    Progress(String),
    /// A line about a failure, for standard error.
    Complaint(String),
    /// The state of the service.
    Service(ServiceState),
    /// The last reply.
    End {
        /// The exit code that the command ends with.
        exit: u8,
    },
}

/// The state of the service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceState {
    /// The state's name in one word, for programs.
    pub state: String,
    /// What the service does or waits for, in words for a person; may be empty.
    pub words: String,
    /// When the service entered this state, in seconds since 1970.
    pub since: u64,
    /// All further fields, [`Details`] in this version, which `status --json` passes on unchanged.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The further fields of the service's state. Fields are added, never renamed or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// When the drain ends at the latest, in seconds since 1970; absent while the host does not drain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// The termination hooks of the host's group; absent until the group has told them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<HookFacts>>,
    /// The work on the host; absent until it was counted.
    #[serde(flatten)]
    pub work: Option<Counts>,
    /// The same work with its details; absent until it was counted.
    #[serde(rename = "work", skip_serializing_if = "Option::is_none")]
    pub facts: Option<WorkFacts>,
    /// The relays on a TURN host; absent until they were counted, and where they are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relays: Option<RelayFacts>,
    /// The fleet's certificate; absent until it was looked for, and where each host has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFacts>,
    /// The delivery of metrics; null where none are sent.
    pub metrics: Option<Delivery>,
}

/// The fleet's certificate, as the service looks after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// The reference to its secret.
    pub secret: String,
    /// When the certificate that is in place ends, in seconds since 1970; null before the first one is.
    pub end: Option<u64>,
    /// When the secret was looked at last, in seconds since 1970.
    pub checked: u64,
    /// The reason why it could not be put into place then; null where it was.
    pub error: Option<String>,
}

/// A termination hook of the host's group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookFacts {
    /// The hook's name.
    pub name: String,
    /// How long it holds the host without a heartbeat, in seconds.
    pub heartbeat_timeout: u64,
    /// How long it holds the host at most, in seconds.
    pub ceiling: u64,
    /// Whether this agent completes it.
    pub own: bool,
}

/// The work on the host, as the service last counted it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Running meetings, without the breakout rooms of a listed meeting; absent until the service has counted, null
    /// where it could not.
    pub meetings: Option<usize>,
    /// Recordings and recording jobs that draining waits for; absent until the service has counted, null where it could
    /// not.
    pub recordings: Option<usize>,
}

/// The delivery of metrics to CloudWatch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// When CloudWatch accepted the last ones, in seconds since 1970; null before the first.
    pub accepted: Option<u64>,
    /// Why the last ones were dropped, if they were.
    pub error: Option<String>,
}

impl From<Details> for Map<String, Value> {
    fn from(details: Details) -> Self {
        match serde_json::to_value(details) {
            Ok(Value::Object(fields)) => fields,
            _ => Self::new(),
        }
    }
}

/// The reason why a line cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The connection failed.
    #[error("{0}")]
    Connection(#[from] io::Error),
    /// The line is too long.
    #[error("a message of more than {} KiB", LIMIT / 1024)]
    TooLong,
    /// The connection ended within the line.
    #[error("a message that breaks off")]
    CutOff,
    /// The line is no message of any version.
    #[error("a message that makes no sense: {}", clean(&.0.to_string()))]
    Garbage(serde_json::Error),
    /// The line is a message of another version.
    #[error("it speaks version {theirs} of the control protocol, not {PROTOCOL}")]
    Protocol {
        /// The peer's version.
        theirs: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Message<T> {
    protocol: u32,
    body: T,
}

/// The part of a message that every version has.
#[derive(Deserialize)]
struct Header {
    protocol: u32,
}

/// Encodes a message as a line, its end included.
pub fn encode<T: Serialize>(body: &T) -> Result<Vec<u8>, Error> {
    let mut line = serde_json::to_vec(&Message { protocol: PROTOCOL, body }).map_err(Error::Garbage)?;
    line.push(b'\n');
    if line.len() > LIMIT { Err(Error::TooLong) } else { Ok(line) }
}

/// Reads the next message; returns `None` when the peer has closed the connection.
pub async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<T>, Error> {
    let mut line = Vec::new();
    // One byte more than allowed distinguishes a line that is too long from one that breaks off.
    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(_) if line.len() > LIMIT => Err(Error::TooLong),
        Some(b'\n') => decode(&line).map(Some),
        Some(_) => Err(Error::CutOff),
    }
}

fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, Error> {
    // The version comes first: the body of another version need not make sense here.
    let Header { protocol } = serde_json::from_slice(line).map_err(Error::Garbage)?;
    if protocol != PROTOCOL {
        return Err(Error::Protocol { theirs: protocol });
    }
    let message: Message<T> = serde_json::from_slice(line).map_err(Error::Garbage)?;
    Ok(message.body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_in_json() {
        let fields = |details: Details| Value::Object(details.into());
        assert_eq!(fields(Details::default()), json!({"metrics": null}));
        let details = Details {
            deadline: Some(9),
            hooks: Some(vec![HookFacts {
                name: "drain".to_owned(),
                heartbeat_timeout: 900,
                ceiling: 90_000,
                own: true,
            }]),
            work: Some(Counts { meetings: None, recordings: Some(2) }),
            facts: None,
            relays: None,
            certificate: None,
            metrics: Some(Delivery { accepted: None, error: Some("denied".to_owned()) }),
        };
        let metrics = json!({"accepted": null, "error": "denied"});
        let hooks = json!([{"name": "drain", "heartbeat_timeout": 900, "ceiling": 90_000, "own": true}]);
        let all = json!({
            "deadline": 9, "hooks": hooks, "meetings": null, "recordings": 2, "metrics": metrics
        });
        assert_eq!(fields(details), all);
    }

    async fn read(bytes: &[u8]) -> Result<Option<Request>, Error> {
        let mut bytes = bytes;
        receive(&mut bytes).await
    }

    /// Compares requests with their lines: the wire is an interface to other versions of the agent.
    #[tokio::test]
    async fn requests_on_the_wire() {
        let rows = [
            (
                json!({"register": {"only": "dns", "wait": true}}),
                Request::Register { only: Some(Only::Dns), wait: true },
            ),
            (
                json!({"deregister": {"only": "scalelite", "wait": false}}),
                Request::Deregister { only: Some(Only::Scalelite), wait: false },
            ),
            (
                json!({"drain": {"deadline": 600, "wait": true}}),
                Request::Drain { deadline: Some(600), wait: true },
            ),
            (
                json!({"drain": {"deadline": null, "wait": false}}),
                Request::Drain { deadline: None, wait: false },
            ),
            (json!("status"), Request::Status),
        ];
        for (body, request) in rows {
            let line = encode(&request).unwrap();
            let value: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(value, json!({"protocol": 1, "body": body}));
            assert_eq!(read(&line).await.unwrap(), Some(request));
        }
    }

    #[tokio::test]
    async fn replies_on_the_wire() {
        let state = ServiceState {
            state: "draining".into(),
            words: "waits for 2 meetings".into(),
            since: 7,
            more: [("deadline".to_owned(), json!(99))].into_iter().collect(),
        };
        let shown = json!({"state": "draining", "words": "waits for 2 meetings", "since": 7, "deadline": 99});
        let rows = [
            (json!({"line": "two\nlines"}), Reply::Line("two\nlines".into())),
            (json!({"progress": "p"}), Reply::Progress("p".into())),
            (json!({"complaint": "c"}), Reply::Complaint("c".into())),
            (json!({ "service": shown }), Reply::Service(state)),
            (json!({"end": {"exit": 7}}), Reply::End { exit: 7 }),
        ];
        for (body, reply) in rows {
            let line = encode(&reply).unwrap();
            let value: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(value, json!({"protocol": 1, "body": body}));
            let mut bytes = line.as_slice();
            assert_eq!(receive::<Reply>(&mut bytes).await.unwrap(), Some(reply));
        }
    }

    #[tokio::test]
    async fn another_version_is_told_whatever_its_body() {
        for line in ["{\"protocol\":2,\"body\":{\"hibernate\":{}}}\n", "{\"protocol\":0}\n"] {
            let error = read(line.as_bytes()).await.unwrap_err();
            assert!(matches!(error, Error::Protocol { theirs: 0 | 2 }), "{line}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        assert!(matches!(read(b"").await, Ok(None)));
        let garbage = [
            "\n",
            "GET / HTTP/1.1\r\n",
            "{}\n",
            "{\"protocol\":1}\n",
            "{\"protocol\":1,\"body\":\"stop\"}\n",
        ];
        for line in garbage {
            assert!(matches!(read(line.as_bytes()).await, Err(Error::Garbage(_))), "{line:?}");
        }
        assert!(matches!(read(b"{\"protocol\":1,\"body\":\"status\"}").await, Err(Error::CutOff)));
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        let padded = |length: usize| {
            let mut line = b"{\"protocol\":1,\"body\":\"status\"}".to_vec();
            line.resize(length - 1, b' ');
            line.push(b'\n');
            line
        };
        assert_eq!(read(&padded(LIMIT)).await.unwrap(), Some(Request::Status));
        assert!(matches!(read(&padded(LIMIT + 1)).await, Err(Error::TooLong)));
        assert!(matches!(read(&vec![b'x'; 10 * LIMIT]).await, Err(Error::TooLong)));
        assert!(matches!(encode(&Reply::Line("x".repeat(LIMIT))), Err(Error::TooLong)));
    }
}
