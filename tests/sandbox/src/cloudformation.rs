//! CloudFormation's query API, version 2010-05-15, as far as a host calls it: `SignalResource`, for the stacks that a
//! test has added.
//!
//! | refused | answer |
//! |---|---|
//! | a stack or a resource that does not exist, a stack that waits for no signal | 400 `ValidationError` |
//! | another status than `SUCCESS` or `FAILURE`, an id that is empty or longer than 64 characters | 400 `ValidationError` |
//!
//! The limits are those of `SignalResource` in CloudFormation's API Reference.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

use crate::aws::query::{Params, failure};
use crate::aws::xml::{Xml, request_id};
use crate::fleet::Refusal;
use crate::http::{Request, Response, Service, ServiceName, reply};

const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";

/// The longest id of a signal.
const LONGEST_ID: usize = 64;

/// A signal that a stack has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The logical id of the resource.
    pub resource: String,
    /// Whether it is `SUCCESS`.
    pub success: bool,
    /// The id, which the stack's events show.
    pub id: String,
}

#[derive(Debug)]
struct Stack {
    resource: String,
    waits: bool,
    signals: Vec<Signal>,
}

/// CloudFormation in the cloud's region.
#[derive(Debug, Default)]
pub struct CloudFormation(Mutex<BTreeMap<String, Stack>>);

impl CloudFormation {
    /// Creates CloudFormation without any stack.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a stack whose creation waits for signals to this resource.
    pub fn create(&self, stack: &str, resource: &str) {
        let created = Stack { resource: resource.to_owned(), waits: true, signals: Vec::new() };
        self.stacks().insert(stack.to_owned(), created);
    }

    /// Ends the stack's creation: it can no longer be signalled.
    pub fn complete(&self, stack: &str) {
        if let Some(stack) = self.stacks().get_mut(stack) {
            stack.waits = false;
        }
    }

    /// Returns the signals that the stack has got.
    pub fn signals(&self, stack: &str) -> Vec<Signal> {
        self.stacks().get(stack).map(|stack| stack.signals.clone()).unwrap_or_default()
    }

    fn stacks(&self) -> MutexGuard<'_, BTreeMap<String, Stack>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, request: &Request) -> Result<Response, Refusal> {
        let params = Params::of(request);
        match params.get("Action").filter(|_| params.get("Version") == Some("2010-05-15")) {
            Some("SignalResource") => self.signal(&params),
            _ => Err(Refusal::new("InvalidAction", "Could not find operation for version")),
        }
    }

    fn signal(&self, params: &Params) -> Result<Response, Refusal> {
        let needed = |name: &str| {
            params.get(name).ok_or_else(|| Refusal::validation(format!("{name} must not be null")))
        };
        let (name, resource) = (needed("StackName")?, needed("LogicalResourceId")?);
        let (status, id) = (needed("Status")?, needed("UniqueId")?);
        if !["SUCCESS", "FAILURE"].contains(&status) || id.chars().count() > LONGEST_ID {
            return Err(Refusal::validation("Status or UniqueId failed to satisfy constraint"));
        }
        let mut stacks = self.stacks();
        let absent = || Refusal::validation(format!("Stack [{name}] does not exist"));
        let stack = stacks.get_mut(name).ok_or_else(absent)?;
        if !stack.waits {
            let words = format!("Stack {name} is in CREATE_COMPLETE state and can not be signaled");
            return Err(Refusal::validation(words));
        }
        if stack.resource != resource {
            return Err(Refusal::validation(format!("Resource {resource} does not exist for stack {name}")));
        }
        let signal =
            Signal { resource: resource.to_owned(), success: status == "SUCCESS", id: id.to_owned() };
        stack.signals.push(signal);
        let body = Xml::document("SignalResourceResponse", NAMESPACE, |xml| {
            xml.element("ResponseMetadata", |xml| {
                xml.text("RequestId", request_id());
            });
        });
        Ok(reply(200, "text/xml", body))
    }
}

impl Service for CloudFormation {
    fn name(&self) -> ServiceName {
        ServiceName::CloudFormation
    }

    fn action(&self, request: &Request) -> String {
        Params::of(request).get("Action").unwrap_or("(no action)").to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let answer = self
            .act(request)
            .unwrap_or_else(|refusal| failure(NAMESPACE, 400, refusal.code, &refusal.message));
        Box::pin(std::future::ready(answer))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        failure(NAMESPACE, status, code, crate::aws::message(code))
    }
}
