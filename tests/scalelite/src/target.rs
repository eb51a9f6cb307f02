//! The Scalelite that is compared, over HTTP. No error and no output of this module shows a URL's query: a checksum
//! there can be used again.

use std::error::Error;
use std::time::Duration;

use clients::dns::system::SystemResolver;
use clients::http::{Limits, Tls, client};
use sandbox::bbb::checksum::{Algorithm, sign};

const PATH: &str = "/scalelite/api";
/// A panic of an entry without meetings takes no longer.
const LIMITS: Limits = Limits { connect: Duration::from_secs(10), total: Duration::from_secs(60) };

/// A reason why nothing can be compared.
pub type Problem = String;

/// A running Scalelite.
pub struct Target {
    client: reqwest::Client,
    base: String,
    secret: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("base", &self.base).finish_non_exhaustive()
    }
}

/// The checksum of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Right,
    Missing,
    Wrong,
    UpperCase,
    /// Before the other parameters.
    First,
    /// Of another action.
    Of(String),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) action: String,
    pub(crate) query: String,
    pub(crate) checksum: Checksum,
    pub(crate) algorithm: Algorithm,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: String,
    pub(crate) body: Option<String>,
}

impl Request {
    /// Returns a plain request.
    pub(crate) fn new(method: &str, action: &str, algorithm: Algorithm, body: Option<String>) -> Self {
        Self {
            method: method.to_owned(),
            action: action.to_owned(),
            query: String::new(),
            checksum: Checksum::Right,
            algorithm,
            content_type: body.as_ref().map(|_| "application/json".to_owned()),
            accept: "application/json".to_owned(),
            body,
        }
    }

    fn signed(&self, secret: &str) -> String {
        // The checksum covers the action without the format.
        let action = self.action.split('.').next().unwrap_or_default();
        let by = |action: &str, secret: &str| sign(self.algorithm, action, &self.query, secret);
        let right = by(action, secret);
        let (query, checksum) = right.rsplit_once("checksum=").unwrap_or_default();
        match &self.checksum {
            Checksum::Right => right,
            Checksum::Missing => self.query.clone(),
            Checksum::Wrong => by(action, "another secret"),
            Checksum::UpperCase => format!("{query}checksum={}", checksum.to_uppercase()),
            Checksum::First => format!("checksum={checksum}&{}", self.query),
            Checksum::Of(action) => by(action, secret),
        }
    }
}

/// An answer. Its body may hold the secrets of a whole pool: it is shown to nobody as it is.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Target {
    /// Creates a client for the Scalelite at this URL, with or without `/scalelite/api`; `secret` is the load
    /// balancer's own.
    pub fn new(base: &str, secret: &str) -> Result<Self, Problem> {
        let base = base.trim().trim_end_matches('/');
        let base = base.strip_suffix(PATH).unwrap_or(base);
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', '#'])) {
            return Err("the base URL is expected like https://scalelite.example.org".to_owned());
        }
        if secret.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        let client = client(&Tls::new(None), &SystemResolver::new(), LIMITS);
        let client = client.map_err(|error| error.to_string())?;
        Ok(Self { client, base: base.to_owned(), secret: secret.to_owned() })
    }

    /// Returns the base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, Problem> {
        let action = || format!("{} {}", request.method, request.action);
        let url = format!("{}{PATH}/{}?{}", self.base, request.action, request.signed(&self.secret));
        let method = request.method.parse::<reqwest::Method>().map_err(|error| error.to_string())?;
        let mut sent = self.client.request(method, url).header("accept", &request.accept);
        if let Some(content_type) = &request.content_type {
            sent = sent.header("content-type", content_type);
        }
        if let Some(body) = &request.body {
            sent = sent.body(body.clone());
        }
        let failed = |error: reqwest::Error| format!("{}: {}", action(), words(error));
        let answer = sent.send().await.map_err(failed)?;
        let content_type =
            answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (status, content_type) = (answer.status().as_u16(), content_type.to_owned());
        let body = answer.text().await.map_err(failed)?;
        Ok(Answer { status, content_type, body })
    }
}

/// Returns the causes of an error, without its URL.
fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Checksum, Request, Target};

    #[test]
    fn checksums() {
        let mut request = Request::new("GET", "getServers.json", Algorithm::Sha1, None);
        request.query = "id=1".to_owned();
        let right = request.signed("s");
        assert!(right.starts_with("id=1&checksum=") && right.len() == 14 + 40, "{right}");
        let mut seen = vec![right.clone()];
        for checksum in [
            Checksum::Missing,
            Checksum::Wrong,
            Checksum::UpperCase,
            Checksum::First,
            Checksum::Of("getServerInfo".to_owned()),
        ] {
            request.checksum = checksum;
            let signed = request.signed("s");
            assert!(signed.contains("id=1") && !seen.contains(&signed), "{signed}");
            seen.push(signed);
        }
        request = Request::new("GET", "getServers", Algorithm::Sha1, None);
        request.query = "id=1".to_owned();
        assert_eq!(request.signed("s"), right, "a format is not covered");
    }

    #[test]
    fn addresses() {
        let base = |text| Target::new(text, "s").map(|target| target.base().to_owned());
        for good in
            ["https://lb.example.org", "https://lb.example.org/", "https://lb.example.org/scalelite/api/"]
        {
            assert_eq!(base(good).unwrap(), "https://lb.example.org");
        }
        for bad in ["lb.example.org", "https://", "https://user@lb", "https://lb?x", "ftp://lb", ""] {
            assert!(base(bad).is_err(), "{bad}");
        }
        assert!(Target::new("https://lb", "").is_err());
        assert!(!format!("{:?}", Target::new("https://lb", "hidden").unwrap()).contains("hidden"));
    }
}
