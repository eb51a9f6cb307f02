//! STS's query API, version 2011-06-15: `AssumeRole`, for the roles that a test has added, and `GetCallerIdentity`.
//!
//! | refused | answer |
//! |---|---|
//! | a role that does not exist, that trusts nobody here, or another external id | 403 `AccessDenied` |
//! | a session name or a duration that is not valid, more than an hour (role chaining) | 400 `ValidationError` |
//!
//! A role's keys are accepted only by the service that the role is for: see [`super::aws::Front`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::aws::Vault;
use crate::aws::query::{Params, failure};
use crate::aws::xml::{Xml, request_id};
use crate::clock::iso8601;
use crate::fleet::Refusal;
use crate::http::{Request, Response, Service, ServiceName, reply};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The longest session of a role that is assumed with another role's keys, in seconds ("role chaining").
const LONGEST_SESSION: u32 = 3600;

/// STS in the cloud's region.
#[derive(Debug)]
pub struct Sts {
    vault: Arc<Vault>,
    account: String,
    /// The external id that each role wants, by ARN.
    roles: Mutex<BTreeMap<String, Option<String>>>,
    /// The lifetime of the keys, in place of the one that was asked for.
    lifetime: Mutex<Option<Duration>>,
}

impl Sts {
    /// Creates STS of this account, whose keys are in this vault.
    pub fn new(vault: Arc<Vault>, account: &str) -> Arc<Self> {
        let account = account.to_owned();
        Arc::new(Self { vault, account, roles: Mutex::default(), lifetime: Mutex::default() })
    }

    /// Adds a role that the hosts' role may assume, with this external id if its trust policy wants one.
    pub fn trust(&self, arn: &str, external_id: Option<&str>) {
        let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        roles.insert(arn.to_owned(), external_id.map(str::to_owned));
    }

    /// Removes a role; keys that were given out stay valid.
    pub fn distrust(&self, arn: &str) {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner).remove(arn);
    }

    /// Gives out keys that last so long, whatever is asked for.
    pub fn set_lifetime(&self, lifetime: Option<Duration>) {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner) = lifetime;
    }

    fn act(&self, request: &Request) -> Result<Response, Refusal> {
        let params = Params::of(request);
        match params.get("Action").filter(|_| params.get("Version") == Some("2011-06-15")) {
            Some("AssumeRole") => self.assume(&params),
            Some("GetCallerIdentity") => Ok(self.caller()),
            _ => Err(Refusal::new("InvalidAction", "Could not find operation for version")),
        }
    }

    /// Returns the answer to `GetCallerIdentity`, for which no permission is needed.
    fn caller(&self) -> Response {
        let body = Xml::document("GetCallerIdentityResponse", NAMESPACE, |xml| {
            xml.element("GetCallerIdentityResult", |xml| {
                xml.text("Arn", format!("arn:aws:iam::{}:user/operator", self.account));
                xml.text("UserId", "AIDAEXAMPLEEXAMPLE000");
                xml.text("Account", &self.account);
            });
            xml.element("ResponseMetadata", |xml| {
                xml.text("RequestId", request_id());
            });
        });
        reply(200, "text/xml", body)
    }

    fn assume(&self, params: &Params) -> Result<Response, Refusal> {
        let arn = params.required("RoleArn").map_err(|_| Refusal::validation("RoleArn is missing"))?;
        let session = params.get("RoleSessionName").filter(|name| is_session(name));
        let session =
            session.ok_or_else(|| Refusal::validation("RoleSessionName is missing or not valid"))?;
        let asked = params.number("DurationSeconds", 900..=43_200);
        let asked = asked.map_err(|refusal| Refusal::validation(refusal.message))?;
        let asked = asked.map_or(LONGEST_SESSION, |asked| u32::try_from(asked).unwrap_or(u32::MAX));
        if asked > LONGEST_SESSION {
            let words = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
            return Err(Refusal::validation(words));
        }
        if !self.trusts(arn, params.get("ExternalId")) {
            let words = format!("User is not authorized to perform: sts:AssumeRole on resource: {arn}");
            return Err(Refusal::new("AccessDenied", words));
        }
        let lifetime = *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.vault.assume(arn, lifetime.unwrap_or(Duration::from_secs(asked.into())));
        let body = Xml::document("AssumeRoleResponse", NAMESPACE, |xml| {
            xml.element("AssumeRoleResult", |xml| {
                xml.element("Credentials", |xml| {
                    xml.text("AccessKeyId", &keys.access_key);
                    xml.text("SecretAccessKey", &keys.secret_key);
                    xml.text("SessionToken", keys.session_token.as_deref().unwrap_or_default());
                    xml.text("Expiration", iso8601(keys.expires.unwrap_or_default()));
                });
                xml.element("AssumedRoleUser", |xml| {
                    xml.text("AssumedRoleId", format!("AROAEXAMPLEEXAMPLE000:{session}"));
                    xml.text("Arn", format!("{}/{session}", arn.replace(":iam:", ":sts:")));
                });
            });
            xml.element("ResponseMetadata", |xml| {
                xml.text("RequestId", request_id());
            });
        });
        Ok(reply(200, "text/xml", body))
    }

    fn trusts(&self, arn: &str, external_id: Option<&str>) -> bool {
        let roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        // A trust policy without the condition takes any external id.
        roles.get(arn).is_some_and(|wanted| wanted.is_none() || wanted.as_deref() == external_id)
    }
}

fn is_session(name: &str) -> bool {
    (2..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}

impl Service for Sts {
    fn name(&self) -> ServiceName {
        ServiceName::Sts
    }

    fn action(&self, request: &Request) -> String {
        Params::of(request).get("Action").unwrap_or("(no action)").to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let answer = self.act(request).unwrap_or_else(|refusal| {
            let status = if refusal.code == "AccessDenied" { 403 } else { 400 };
            failure(NAMESPACE, status, refusal.code, &refusal.message)
        });
        Box::pin(std::future::ready(answer))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        failure(NAMESPACE, status, code, crate::aws::message(code))
    }
}
