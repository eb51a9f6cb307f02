//! The instance metadata service, version 2 only.
//!
//! A client of our own, because the SDK's retries a 401 four times with the same token and never fetches a new one
//! (observed with aws-config 1.13), takes seconds over a 500, and reads the CA certificates that plain HTTP has no use
//! for. It retries nothing: callers do that in one place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use plan::instance::InstanceId;
use plan::ownership::is_account;
use plan::record::is_region;
use plan::time;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::sync::Mutex;

use crate::bbb::envelope::clean;
use crate::http::{self, Limits, ReadError};
use crate::names::SystemResolver;

/// Overrides the endpoint, for the SDK too.
const ENDPOINT_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
/// `IPv6` chooses the IPv6 endpoint.
const MODE_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
const IPV4_ENDPOINT: &str = "http://169.254.169.254";
const IPV6_ENDPOINT: &str = "http://[fd00:ec2::254]";
/// Six hours, the longest that the service gives.
const TOKEN_SECONDS: &str = "21600";
const BODY_LIMIT: usize = 64 * 1024;
const LIMITS: Limits = Limits { connect: Duration::from_secs(1), total: Duration::from_secs(2) };

const TOKEN: &str = "api/token";
const DOCUMENT: &str = "dynamic/instance-identity/document";
const ROLES: &str = "meta-data/iam/security-credentials/";

/// Why the metadata service gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The variable that names the endpoint has no usable value.
    #[error("{ENDPOINT_VARIABLE}: {0}")]
    Endpoint(String),
    /// No answer: refused, silent, closed. Happens early in boot.
    #[error("the instance metadata service is not reachable: {0}")]
    Unreachable(String),
    /// 403: the instance's metadata options forbid it, or something between forwards our requests.
    #[error(
        "the instance metadata service refuses to answer (403): it is disabled in the instance's metadata options"
    )]
    Disabled,
    /// Another status than those that are documented for the path.
    #[error("the instance metadata service answered {status} to {path}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        path: String,
    },
    /// The answer cannot be understood.
    #[error("the instance metadata service's answer to {path} is not usable: {what}")]
    Invalid {
        /// What was asked for.
        path: String,
        /// What is wrong with the answer.
        what: String,
    },
}

impl Error {
    /// Whether asking again later may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Unexpected { status, .. } => *status >= 500 || *status == 429,
            Self::Endpoint(_) | Self::Disabled | Self::Invalid { .. } => false,
        }
    }
}

/// Who this instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The instance id.
    pub instance: InstanceId,
    /// E.g. `eu-central-1`.
    pub region: String,
    /// The AWS account, 12 digits, where the document has one.
    pub account: Option<String>,
    /// E.g. `eu-central-1a`.
    pub availability_zone: String,
    /// E.g. `c5.xlarge`.
    pub instance_type: String,
    /// The primary private address.
    pub private_ipv4: Ipv4Addr,
}

/// EC2 will take this spot instance back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpotNotice {
    /// `terminate`, `stop` or `hibernate`.
    pub action: String,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// EC2 has planned something for this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// `instance-reboot`, `system-reboot`, `system-maintenance`, `instance-retirement` or `instance-stop`.
    pub code: String,
    /// `active` while it is to come or under way, else `completed` or `canceled`.
    pub state: String,
    /// The earliest time at which it begins, in seconds since 1970.
    pub not_before: u64,
}

/// The credentials of the instance's role.
#[derive(Debug)]
pub(crate) struct RoleCredentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: SecretString,
    pub(crate) session_token: SecretString,
    /// RFC 3339.
    pub(crate) expiration: String,
}

/// A client of the metadata service. Clones share connections and the session token.
#[derive(Clone)]
pub struct Imds {
    http: reqwest::Client,
    /// Ends in `/latest/`.
    base: reqwest::Url,
    token: Arc<Mutex<Option<SecretString>>>,
}

impl std::fmt::Debug for Imds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imds").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Imds {
    /// A client for the endpoint that the environment names, or the usual one. Sends nothing yet.
    pub fn from_env() -> Result<Self, Error> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mode = variable(MODE_VARIABLE).unwrap_or_default();
        let usual = if mode.eq_ignore_ascii_case("IPv6") { IPV6_ENDPOINT } else { IPV4_ENDPOINT };
        Self::new(&variable(ENDPOINT_VARIABLE).unwrap_or_else(|| usual.to_owned()))
    }

    /// A client for the service at `endpoint`, e.g. `http://169.254.169.254`.
    pub fn new(endpoint: &str) -> Result<Self, Error> {
        let base = format!("{}/latest/", endpoint.trim_end_matches('/'));
        let base = reqwest::Url::parse(&base)
            .map_err(|error| Error::Endpoint(format!("{endpoint:?} is not a URL: {error}")))?;
        if base.scheme() != "http" {
            return Err(Error::Endpoint(format!("{endpoint:?} is not an http:// URL")));
        }
        let http = http::plain_client(&SystemResolver::new(), LIMITS)
            .map_err(|error| Error::Endpoint(error.to_string()))?;
        Ok(Self { http, base, token: Arc::default() })
    }

    /// Who this instance is: the identity document.
    pub async fn identity(&self) -> Result<Identity, Error> {
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
        let document: Document = json(DOCUMENT, &self.required(DOCUMENT).await?)?;
        let instance = InstanceId::parse(&document.instance_id)
            .map_err(|error| invalid(DOCUMENT, &error.to_string()))?;
        // It becomes a part of names: of the host's, of its label's fields, of those of AWS endpoints.
        if !is_region(&document.region) {
            return Err(invalid(DOCUMENT, &format!("{:?} is not a region", document.region)));
        }
        Ok(Identity {
            instance,
            region: document.region,
            account: document.account_id.filter(|text| is_account(text)),
            availability_zone: document.availability_zone,
            instance_type: document.instance_type,
            private_ipv4: document.private_ip,
        })
    }

    /// The public IPv4 address, if there is one now.
    pub async fn public_ipv4(&self) -> Result<Option<Ipv4Addr>, Error> {
        self.address("meta-data/public-ipv4").await
    }

    /// The IPv6 address, if there is one now.
    pub async fn ipv6(&self) -> Result<Option<Ipv6Addr>, Error> {
        self.address("meta-data/ipv6").await
    }

    /// What Auto Scaling wants this instance to become: `InService`, `Terminated`, `Standby`, `Detached`,
    /// `Warmed:Stopped`, ...; `None` outside a group.
    pub async fn target_lifecycle_state(&self) -> Result<Option<String>, Error> {
        self.text("meta-data/autoscaling/target-lifecycle-state").await
    }

    /// The notice that EC2 will take this spot instance back, two minutes ahead at best.
    pub async fn spot_notice(&self) -> Result<Option<SpotNotice>, Error> {
        #[derive(Deserialize)]
        struct Notice {
            action: String,
            time: String,
        }
        let path = "meta-data/spot/instance-action";
        let Some(body) = self.get(path).await? else { return Ok(None) };
        let Notice { action, time } = json(path, &body)?;
        Ok(Some(SpotNotice { action, time: rfc3339(path, &time)? }))
    }

    /// When EC2 said that this spot instance is likelier than before to be taken back, in seconds since 1970; `None` when it
    /// did not.
    pub async fn rebalance_notice(&self) -> Result<Option<u64>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Recommendation {
            notice_time: String,
        }
        let path = "meta-data/events/recommendations/rebalance";
        let Some(body) = self.get(path).await? else { return Ok(None) };
        let Recommendation { notice_time } = json(path, &body)?;
        rfc3339(path, &notice_time).map(Some)
    }

    /// The scheduled events of this instance, in the service's order (EC2 user guide, "View scheduled events").
    pub async fn maintenance(&self) -> Result<Vec<Maintenance>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Event {
            code: String,
            state: String,
            not_before: String,
        }
        let path = "meta-data/events/maintenance/scheduled";
        let Some(body) = self.get(path).await? else { return Ok(Vec::new()) };
        let events: Vec<Event> = json(path, &body)?;
        let understood = events.into_iter().map(|Event { code, state, not_before }| {
            let not_before = time::scheduled_event(&not_before);
            let not_before = not_before.map_err(|error| invalid(path, &error.to_string()))?;
            Ok(Maintenance { code, state, not_before })
        });
        understood.collect()
    }

    /// The Auto Scaling group's name, when the instance has it as a tag and tags are allowed in the metadata.
    pub async fn group_name(&self) -> Result<Option<String>, Error> {
        self.text("meta-data/tags/instance/aws:autoscaling:groupName").await
    }

    /// The credentials of the instance's role; `None` when no role is attached.
    pub(crate) async fn role_credentials(&self) -> Result<Option<RoleCredentials>, Error> {
        let Some(roles) = self.text(ROLES).await? else { return Ok(None) };
        let Some(role) = roles.lines().next().map(str::trim).filter(|role| !role.is_empty()) else {
            return Ok(None);
        };
        let path = format!("{ROLES}{role}");
        let Some(body) = self.get(&path).await? else { return Ok(None) };
        parse_credentials(&path, &body).map(Some)
    }

    async fn address<A: std::str::FromStr + Into<IpAddr>>(&self, path: &str) -> Result<Option<A>, Error> {
        let Some(text) = self.text(path).await? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| invalid(path, "it is not an address"))
    }

    async fn text(&self, path: &str) -> Result<Option<String>, Error> {
        let Some(body) = self.get(path).await? else { return Ok(None) };
        let text = String::from_utf8(body).map_err(|_| invalid(path, "it is not text"))?;
        Ok(Some(text.trim().to_owned()))
    }

    async fn required(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.get(path).await?.ok_or_else(|| Error::Unexpected { status: 404, path: path.to_owned() })
    }

    /// The body of a key; `None` when that key does not exist now. A token that is refused is replaced once.
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let token = self.token(None).await?;
        let response = self.fetch(path, &token).await?;
        let response = if response.status() == StatusCode::UNAUTHORIZED {
            let token = self.token(Some(&token)).await?;
            self.fetch(path, &token).await?
        } else {
            response
        };
        match response.status() {
            StatusCode::OK => body(path, response).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refusal(path, status)),
        }
    }

    async fn fetch(&self, path: &str, token: &SecretString) -> Result<reqwest::Response, Error> {
        let mut header = HeaderValue::from_str(token.expose_secret())
            .map_err(|_| invalid(TOKEN, "it does not fit into a header"))?;
        // Kept out of the HTTP library's logs.
        header.set_sensitive(true);
        send(self.request(Method::GET, path)?.header("X-aws-ec2-metadata-token", header)).await
    }

    /// The session token; fetched when there is none, or only the one that was `refused`.
    async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, Error> {
        let mut cached = self.token.lock().await;
        let refused = refused.map(ExposeSecret::expose_secret);
        // Another task may have replaced it while this one waited.
        if let Some(token) = cached.as_ref().filter(|token| Some(token.expose_secret()) != refused) {
            return Ok(token.clone());
        }
        *cached = None;
        let request = self.request(Method::PUT, TOKEN)?;
        let response = send(request.header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(TOKEN, response.status()));
        }
        let text =
            String::from_utf8(body(TOKEN, response).await?).map_err(|_| invalid(TOKEN, "it is not text"))?;
        let token = SecretString::from(text.trim());
        *cached = Some(token.clone());
        Ok(token)
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, Error> {
        let url = self.base.join(path).map_err(|error| invalid(path, &error.to_string()))?;
        Ok(self.http.request(method, url))
    }
}

async fn send(request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
    request.send().await.map_err(|error| Error::Unreachable(http::words(error)))
}

async fn body(path: &str, response: reqwest::Response) -> Result<Vec<u8>, Error> {
    http::read_body(response, BODY_LIMIT).await.map_err(|error| match error {
        ReadError::Transport(words) => Error::Unreachable(words),
        too_long @ ReadError::TooLong(_) => invalid(path, &too_long.to_string()),
    })
}

fn refusal(path: &str, status: StatusCode) -> Error {
    match status {
        StatusCode::FORBIDDEN => Error::Disabled,
        _ => Error::Unexpected { status: status.as_u16(), path: path.to_owned() },
    }
}

fn invalid(path: &str, what: &str) -> Error {
    // It may quote what came.
    Error::Invalid { path: path.to_owned(), what: clean(what) }
}

fn json<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| invalid(path, &error.to_string()))
}

/// Seconds since 1970 of a time such as `2026-01-31T23:59:59Z`.
fn rfc3339(path: &str, text: &str) -> Result<u64, Error> {
    let seconds = DateTime::from_str(text, Format::DateTime).ok().map(|time| time.secs());
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.ok_or_else(|| {
        invalid(path, &format!("{:?} is not a time such as 2026-01-31T23:59:59Z", clean(text)))
    })
}

fn parse_credentials(path: &str, body: &[u8]) -> Result<RoleCredentials, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        code: Option<String>,
        access_key_id: Option<String>,
        secret_access_key: Option<String>,
        token: Option<String>,
        expiration: Option<String>,
    }
    // serde_json quotes parts of what it cannot read, and this is a secret: only the place is told.
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
        } if code == "Success" => {
            let secret_access_key = SecretString::from(secret_access_key);
            let session_token = SecretString::from(session_token);
            Ok(RoleCredentials { access_key_id, secret_access_key, session_token, expiration })
        }
        // E.g. AssumeRoleUnauthorizedAccess: the role does not trust EC2.
        Answer { code: Some(code), .. } if code != "Success" => {
            Err(invalid(path, &format!("no credentials, but the code {code:?}")))
        }
        _ => Err(invalid(path, "incomplete credentials")),
    }
}
