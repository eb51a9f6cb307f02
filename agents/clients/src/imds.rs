//! The instance metadata service, version 2 only.
//!
//! This crate has its own client because the SDK's retries a 401 four times with the same token and never fetches a
//! new one (observed with aws-config 1.13), takes seconds over a 500, and reads the CA certificates, for which plain
//! HTTP has no use. It never retries: callers do that in one place.

pub mod answers;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::sync::Mutex;

pub use self::answers::{Identity, Maintenance, RoleCredentials, SpotNotice};

use crate::calls::{self, Outcome, Service};
use crate::dns::system::SystemResolver;
use crate::http::{self, Limits, ReadError};
use crate::untrusted::clean;

/// The variable that overrides the endpoint, for the SDK too.
const ENDPOINT_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
/// The variable that chooses the IPv6 endpoint when it is `IPv6`.
const MODE_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
const IPV4_ENDPOINT: &str = "http://169.254.169.254";
const IPV6_ENDPOINT: &str = "http://[fd00:ec2::254]";
/// The lifetime of a session token: six hours, the longest that the service grants.
const TOKEN_SECONDS: &str = "21600";
const BODY_LIMIT: usize = 64 * 1024;
const LIMITS: Limits = Limits { connect: Duration::from_secs(1), total: Duration::from_secs(2) };

const TOKEN: &str = "api/token";
const DOCUMENT: &str = "dynamic/instance-identity/document";
const ROLES: &str = "meta-data/iam/security-credentials/";

/// A request to the metadata service that gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The variable that names the endpoint has no usable value.
    #[error("{ENDPOINT_VARIABLE}: {0}")]
    Endpoint(String),
    /// No answer: connection refused, silence, connection closed. Happens early in boot.
    #[error("the instance metadata service is not reachable: {0}")]
    Unreachable(String),
    /// 403: the instance's metadata options forbid access, or something on the way forwards our requests.
    #[error(
        "the instance metadata service refuses to answer (403): it is disabled in the instance's metadata options"
    )]
    Disabled,
    /// This machine is taken for none on EC2.
    #[error("this machine is not asked for an instance's metadata")]
    Absent,
    /// The status is not one that is documented for the path.
    #[error("the instance metadata service answered {status} to {path}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The path.
        path: String,
    },
    /// The answer cannot be understood.
    #[error("the instance metadata service's answer to {path} is not usable: {what}")]
    Invalid {
        /// The path.
        path: String,
        /// The defect of the answer.
        what: String,
    },
}

impl Error {
    /// Reports whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Unexpected { status, .. } => *status >= 500 || *status == 429,
            Self::Endpoint(_) | Self::Disabled | Self::Absent | Self::Invalid { .. } => false,
        }
    }
}

/// A client of the metadata service. Clones share connections and the session token.
#[derive(Clone)]
pub struct Imds {
    http: reqwest::Client,
    /// The base URL, which ends in `/latest/`; `None` where nothing is asked.
    base: Option<reqwest::Url>,
    token: Arc<Mutex<Option<SecretString>>>,
}

impl std::fmt::Debug for Imds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imds")
            .field("base", &self.base.as_ref().map(reqwest::Url::as_str))
            .finish_non_exhaustive()
    }
}

impl Imds {
    /// Creates a client for the endpoint that the environment names, or else the usual one. Sends nothing yet.
    pub fn from_env() -> Result<Self, Error> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mode = variable(MODE_VARIABLE).unwrap_or_default();
        let usual = if mode.eq_ignore_ascii_case("IPv6") { IPV6_ENDPOINT } else { IPV4_ENDPOINT };
        Self::new(&variable(ENDPOINT_VARIABLE).unwrap_or_else(|| usual.to_owned()))
    }

    /// Creates a client for the service at `endpoint`, e.g. `http://169.254.169.254`.
    pub fn new(endpoint: &str) -> Result<Self, Error> {
        let base = format!("{}/latest/", endpoint.trim_end_matches('/'));
        let base = reqwest::Url::parse(&base)
            .map_err(|error| Error::Endpoint(format!("{endpoint:?} is not a URL: {error}")))?;
        if base.scheme() != "http" {
            return Err(Error::Endpoint(format!("{endpoint:?} is not an http:// URL")));
        }
        Self::with(Some(base))
    }

    /// Creates a client for a machine that is no instance of the fleet: each of its answers is [`Error::Absent`].
    pub fn absent() -> Result<Self, Error> {
        Self::with(None)
    }

    fn with(base: Option<reqwest::Url>) -> Result<Self, Error> {
        let http = http::plain_client(&SystemResolver::new(), LIMITS)
            .map_err(|error| Error::Endpoint(error.to_string()))?;
        Ok(Self { http, base, token: Arc::default() })
    }

    /// Reads this instance's identity document.
    pub async fn identity(&self) -> Result<Identity, Error> {
        answers::identity(DOCUMENT, &self.required(DOCUMENT).await?)
    }

    /// Reads the public IPv4 address, if there is one now.
    pub async fn public_ipv4(&self) -> Result<Option<Ipv4Addr>, Error> {
        self.read("meta-data/public-ipv4", answers::address).await
    }

    /// Reads the IPv6 address, if there is one now.
    pub async fn ipv6(&self) -> Result<Option<Ipv6Addr>, Error> {
        self.read("meta-data/ipv6", answers::address).await
    }

    /// Reads the state into which Auto Scaling wants to bring this instance: `InService`, `Terminated`, `Standby`,
    /// `Detached`, `Warmed:Stopped`, ...; `None` outside a group.
    pub async fn target_lifecycle_state(&self) -> Result<Option<String>, Error> {
        self.read("meta-data/autoscaling/target-lifecycle-state", answers::state).await
    }

    /// Reads the notice that EC2 will reclaim this spot instance, given two minutes ahead at best.
    pub async fn spot_notice(&self) -> Result<Option<SpotNotice>, Error> {
        self.read("meta-data/spot/instance-action", answers::spot_notice).await
    }

    /// Reads when EC2 last recommended a rebalance because this spot instance is at elevated risk of interruption, in
    /// seconds since 1970; `None` when it has not.
    pub async fn rebalance_notice(&self) -> Result<Option<u64>, Error> {
        self.read("meta-data/events/recommendations/rebalance", answers::rebalance_notice).await
    }

    /// Reads the scheduled events of this instance, in the service's order (EC2 user guide, "View scheduled events").
    pub async fn maintenance(&self) -> Result<Vec<Maintenance>, Error> {
        let events = self.read("meta-data/events/maintenance/scheduled", answers::maintenance).await?;
        Ok(events.unwrap_or_default())
    }

    /// Reads the Auto Scaling group's name, if the instance has it as a tag and its metadata options allow tags.
    pub async fn group_name(&self) -> Result<Option<String>, Error> {
        self.read("meta-data/tags/instance/aws:autoscaling:groupName", answers::line).await
    }

    /// Reads the name of the instance's role; `None` where no role is attached.
    pub(crate) async fn role(&self) -> Result<Option<String>, Error> {
        Ok(self.read(ROLES, answers::role).await?.flatten())
    }

    /// Reads the credentials of the instance's role; `None` when no role is attached.
    pub(crate) async fn role_credentials(&self) -> Result<Option<RoleCredentials>, Error> {
        let Some(role) = self.role().await? else { return Ok(None) };
        self.read(&format!("{ROLES}{role}"), answers::credentials).await
    }

    /// Reads and parses a key; returns `None` when that key does not exist now.
    async fn read<T>(
        &self,
        path: &str,
        understand: impl FnOnce(&str, &[u8]) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.get(path).await?.map(|body| understand(path, &body)).transpose()
    }

    async fn required(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.get(path).await?.ok_or_else(|| Error::Unexpected { status: 404, path: path.to_owned() })
    }

    /// Reads the body of a key; returns `None` when that key does not exist now. Replaces a refused token once.
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
        // Keeps the token out of the HTTP library's logs.
        header.set_sensitive(true);
        send(self.request(Method::GET, path)?.header("X-aws-ec2-metadata-token", header)).await
    }

    /// Returns the session token; fetches one when there is none, or only the one that was `refused`.
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
        let base = self.base.as_ref().ok_or(Error::Absent)?;
        let url = base.join(path).map_err(|error| invalid(path, &error.to_string()))?;
        Ok(self.http.request(method, url))
    }
}

async fn send(request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
    let answer = request.send().await;
    let outcome = match answer.as_ref().map(reqwest::Response::status) {
        // This is how the service says that there is no such thing now.
        Ok(StatusCode::NOT_FOUND) => Outcome::Answered,
        Ok(status) => Outcome::of(status.as_u16()),
        Err(_) => Outcome::Failed,
    };
    calls::count(Service::Imds, outcome);
    answer.map_err(|error| Error::Unreachable(http::words(error)))
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
    Error::Invalid { path: clean(path), what: clean(what) }
}
