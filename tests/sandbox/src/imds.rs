//! The instance metadata service, version 2 only, of one host.
//!
//! | request | answer |
//! |---|---|
//! | `PUT /latest/api/token` with a TTL of 1 to 21600 seconds | a token, and the TTL in a header |
//! | ... without a TTL, or with another | 400 |
//! | ... with `X-Forwarded-For` | 403 |
//! | `GET` without a token, or with one that is unknown or expired | 401 |
//! | `GET` of a key that does not exist now | 404 |
//! | `GET` of a directory | its keys, one a line, directories with a final `/` |
//! | anything while disabled | 403 |
//!
//! [`Imds::forge`] makes it say anything else, as one in an attacker's hand would.

mod tree;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use hyper::header::HeaderValue;

use crate::aws::Vault;
use crate::aws::query::percent_decode;
use crate::fleet::{Fleet, InstanceFacts, Refusal};
use crate::http::{Request, Response, Service, ServiceName, reply};

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

#[derive(Debug, Default)]
struct State {
    disabled: bool,
    /// When each token expires, by the fleet's clock.
    tokens: BTreeMap<String, Duration>,
    /// The forged answers, by path.
    forged: BTreeMap<String, Bytes>,
}

/// The IMDS of one instance of a [`Fleet`]. Make one per host, each behind a gate of its own.
#[derive(Debug)]
pub struct Imds {
    fleet: Arc<Fleet>,
    vault: Arc<Vault>,
    instance: String,
    state: Mutex<State>,
}

impl Imds {
    /// Creates the metadata of this instance; its role's keys come from `vault`, so that the AWS front accepts them.
    pub fn new(fleet: Arc<Fleet>, vault: Arc<Vault>, instance: &str) -> Arc<Self> {
        Arc::new(Self { fleet, vault, instance: instance.to_owned(), state: Mutex::default() })
    }

    /// Returns the instance's id.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns the present facts of the instance.
    pub fn facts(&self) -> Option<InstanceFacts> {
        self.fleet.instance(&self.instance).map(|instance| instance.facts)
    }

    /// Changes the facts of the instance, except for its id, also as EC2 tells them. Fails when the fleet has no such
    /// instance (any more).
    pub fn update(&self, change: impl FnOnce(&mut InstanceFacts)) -> Result<(), Refusal> {
        self.fleet.change(&self.instance, |instance| change(&mut instance.facts))
    }

    /// Makes all tokens invalid, as if they had expired.
    pub fn expire_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Answers requests for this path below `/latest/` with these bytes from now on; none makes it honest again.
    pub fn forge(&self, path: &str, answer: Option<Bytes>) {
        let path = format!("/latest/{path}");
        match answer {
            Some(answer) => drop(self.state().forged.insert(path, answer)),
            None => drop(self.state().forged.remove(&path)),
        }
    }

    /// Switches the service off (every request is answered with 403), or on again.
    pub fn set_disabled(&self, disabled: bool) {
        self.state().disabled = disabled;
    }

    /// Tells whether the service is switched off.
    pub fn is_disabled(&self) -> bool {
        self.state().disabled
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn respond(&self, request: &Request) -> Response {
        if self.is_disabled() {
            return refuse(403);
        }
        if let Some(answer) = self.state().forged.get(&request.path) {
            return reply(200, "text/plain", answer.clone());
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("PUT", "/latest/api/token") => self.issue(request),
            (_, "/latest/api/token") => refuse(405),
            ("GET" | "HEAD", path) if self.accepts(request.header(TOKEN)) => self.read(path),
            ("GET" | "HEAD", _) => refuse(401),
            _ => refuse(405),
        }
    }

    fn issue(&self, request: &Request) -> Response {
        if request.headers.contains_key("x-forwarded-for") {
            return refuse(403);
        }
        let ttl = request.header(TTL).parse().ok().filter(|ttl| (1..=21_600).contains(ttl));
        let Some(ttl): Option<u64> = ttl else { return refuse(400) };
        let token = format!(
            "{}==",
            crate::aws::random(54, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        );
        self.state().tokens.insert(token.clone(), self.fleet.clock().now() + Duration::from_secs(ttl));
        let mut response = reply(200, "text/plain", token);
        response.headers_mut().insert(TTL, HeaderValue::from(ttl));
        response
    }

    fn accepts(&self, token: &str) -> bool {
        let now = self.fleet.clock().now();
        self.state().tokens.get(token).is_some_and(|end| now < *end)
    }

    fn read(&self, path: &str) -> Response {
        // Listings are the same in all versions that a client may name.
        let path = percent_decode(path);
        let Some(key) = tree::below_version(&path) else {
            return if path == "/" { reply(200, "text/plain", "latest") } else { refuse(404) };
        };
        let Some(facts) = self.facts() else { return refuse(404) };
        let group = self.fleet.membership(&self.instance).map(|(_, member)| member.state.target());
        let keys = facts.role.as_ref().map(|role| self.vault.role(role));
        let values = tree::values(&facts, group, keys.as_ref());
        match tree::lookup(&values, key) {
            Some(body) => reply(200, "text/plain", body),
            None => refuse(404),
        }
    }
}

impl Service for Imds {
    fn name(&self) -> ServiceName {
        ServiceName::Imds
    }

    fn action(&self, request: &Request) -> String {
        format!("{} {}", request.method, request.path)
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        Box::pin(std::future::ready(self.respond(request)))
    }

    fn error(&self, status: u16, _: &str) -> Response {
        refuse(status)
    }
}

/// Returns an error of IMDS's, which is a small web page.
fn refuse(status: u16) -> Response {
    let title = match status {
        400 => "400 - Bad Request",
        401 => "401 - Unauthorized",
        403 => "403 - Forbidden",
        404 => "404 - Not Found",
        405 => "405 - Method Not Allowed",
        503 => "503 - Service Unavailable",
        _ => "500 - Internal Server Error",
    };
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
         <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n\
         \t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n <head>\n  \
         <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    );
    reply(status, "text/html", page)
}
