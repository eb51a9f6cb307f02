//! CloudWatch: `PutMetricData` over rpc-v2-cbor, the protocol that the current SDKs use, and over JSON 1.0, which the aws
//! CLI uses.

mod cbor;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ciborium::Value;
use futures_util::future::BoxFuture;
use hyper::header::HeaderValue;
use serde::Serialize;

use crate::clock::real_time;
use crate::fleet::Refusal;
use crate::http::{Request, Response, Service, ServiceName, reply};

const PREFIX: &str = "/service/GraniteServiceVersion20100801/operation/";
/// What the operation's name follows in the header of the JSON protocol.
pub(crate) const TARGET: &str = "GraniteServiceVersion20100801.";

/// One stored datum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Datum {
    /// The namespace.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// The dimensions, by name.
    pub dimensions: BTreeMap<String, String>,
    /// The value, or the values of a `Values` array; for a statistic set its sum.
    pub values: Vec<f64>,
    /// The unit, e.g. `Count`.
    pub unit: Option<String>,
    /// The time in seconds since 1970; none when the request left it to CloudWatch.
    pub timestamp: Option<f64>,
}

/// CloudWatch's API.
#[derive(Debug, Default)]
pub struct CloudWatch(Mutex<Vec<Datum>>);

impl CloudWatch {
    /// Creates a CloudWatch without metrics.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns all stored data, in the order of arrival.
    pub fn data(&self) -> Vec<Datum> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets all data.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn act(&self, request: &Request) -> Result<(), Refusal> {
        let json = is_json(request);
        if request.method != "POST" || !(json || request.header("smithy-protocol") == "rpc-v2-cbor") {
            return Err(Refusal::new(
                "UnknownOperationException",
                "Only POST with rpc-v2-cbor or JSON is understood",
            ));
        }
        if request.header("content-encoding") == "gzip" {
            let message = "the sandbox does not read compressed requests: send them uncompressed";
            return Err(Refusal::new("SerializationException", message));
        }
        if self.action(request) != "PutMetricData" {
            return Err(Refusal::new("UnknownOperationException", "The sandbox only knows PutMetricData"));
        }
        let malformed = |error: String| Refusal::new("SerializationException", error);
        let body: Value = match json {
            true => serde_json::from_slice(&request.body).map_err(|error| malformed(error.to_string()))?,
            false => {
                ciborium::from_reader(request.body.as_ref()).map_err(|error| malformed(error.to_string()))?
            }
        };
        let data = cbor::read(&body, real_time().as_secs_f64())?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(data);
        Ok(())
    }
}

/// Tells whether a request is one of the JSON protocol, which botocore 1.43 chooses.
fn is_json(request: &Request) -> bool {
    request.header("x-amz-target").starts_with(TARGET)
}

impl Service for CloudWatch {
    fn name(&self) -> ServiceName {
        ServiceName::CloudWatch
    }

    fn action(&self, request: &Request) -> String {
        let target = request.header("x-amz-target").strip_prefix(TARGET);
        target.or_else(|| request.path.strip_prefix(PREFIX)).unwrap_or(&request.path).to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let answer = match self.act(request) {
            Ok(()) => answer(200, &Value::Map(Vec::new()), is_json(request)),
            Err(refusal) => failure(400, refusal.code, &refusal.message, is_json(request)),
        };
        Box::pin(std::future::ready(answer))
    }

    /// As the agents read it.
    fn error(&self, status: u16, code: &str) -> Response {
        failure(status, code, crate::aws::message(code), false)
    }
}

fn answer(status: u16, body: &Value, json: bool) -> Response {
    if json {
        return reply(status, "application/x-amz-json-1.0", serde_json::to_vec(body).unwrap_or_default());
    }
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = ciborium::into_writer(body, &mut bytes);
    let mut response = reply(status, "application/cbor", bytes);
    response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}

fn failure(status: u16, code: &str, message: &str, json: bool) -> Response {
    let text = |text: &str| Value::Text(text.to_owned());
    // The code of a service's own error has its namespace before a `#`; clients use the part after it.
    let kind = format!("com.amazonaws.cloudwatch#{code}");
    let body = Value::Map(vec![(text("__type"), text(&kind)), (text("message"), text(message))]);
    let mut response = answer(status, &body, json);
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    if let Ok(value) = HeaderValue::from_str(&format!("{};{fault}", query_code(code))) {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    response
}

/// Returns the name of an error in the older query protocol. The SDKs use this name, which is in a header
/// (aws-sdk-cloudwatch 1.140; Smithy's trait awsQueryCompatible).
fn query_code(code: &str) -> &str {
    match code {
        "InvalidParameterValueException" => "InvalidParameterValue",
        "InvalidParameterCombinationException" => "InvalidParameterCombination",
        "MissingRequiredParameterException" => "MissingParameter",
        other => other,
    }
}
