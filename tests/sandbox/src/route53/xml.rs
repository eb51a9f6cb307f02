//! Writers of answers and refusals.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::record::{RecordSet, Routing};
use super::zone::Zone;
use crate::aws::xml::request_id;
use crate::http::{Response, reply};
use crate::xml::escape;

/// The namespace of the API, version 2013-04-01.
pub(crate) const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// The form of an `InvalidChangeBatch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalShape {
    /// The form of every other error, with the messages joined in square brackets: the service sends it now (shown in
    /// aws-sdk-kotlin pull request 1435, 2024, and in many issue reports since about 2018).
    #[default]
    Wrapped,
    /// The form `<InvalidChangeBatch><Messages><Message>`, which the API reference documents and the service once
    /// sent.
    Documented,
}

/// The refusal of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u16,
    code: String,
    messages: Vec<String>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &str, message: &str) -> Self {
        Self { status, code: code.to_owned(), messages: vec![message.to_owned()] }
    }

    pub(crate) fn invalid_batch(messages: Vec<String>) -> Self {
        Self { status: 400, code: "InvalidChangeBatch".to_owned(), messages }
    }

    /// Creates an error of this code with the service's own message for it.
    pub(crate) fn known(status: u16, code: &str) -> Self {
        let message = match code {
            "Throttling" | "ThrottlingException" => "Rate exceeded",
            "PriorRequestNotComplete" => {
                "The request was rejected because Route 53 was still processing a prior request."
            }
            "ServiceUnavailable" => "Service is unavailable. Please try again shortly",
            "InternalFailure" | "InternalError" => "We encountered an internal error. Please try again.",
            "AccessDenied" => "User is not authorized to perform this action",
            _ => "Refused",
        };
        Self::new(status, code, message)
    }

    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    pub(crate) fn into_response(self, shape: RefusalShape) -> Response {
        let request_id = request_id();
        let batch = self.code == "InvalidChangeBatch";
        let body = if batch && shape == RefusalShape::Documented {
            let messages: String = self.messages.iter().map(|message| element("Message", message)).collect();
            let messages = wrap("Messages", &messages);
            let id = element("RequestId", &request_id);
            format!("<InvalidChangeBatch xmlns=\"{NAMESPACE}\">{messages}{id}</InvalidChangeBatch>")
        } else {
            let joined = self.messages.join(", ");
            let message = if batch { format!("[{joined}]") } else { joined };
            let sender = if self.status < 500 { "Sender" } else { "Receiver" };
            let error =
                element("Type", sender) + &element("Code", &self.code) + &element("Message", &message);
            let id = element("RequestId", &request_id);
            format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{}{id}</ErrorResponse>", wrap("Error", &error))
        };
        document(self.status, &body, &request_id)
    }
}

/// Writes a result: `name` is the root element, `content` its content.
pub(crate) fn result(name: &str, content: &str) -> Response {
    document(200, &format!("<{name} xmlns=\"{NAMESPACE}\">{content}</{name}>"), &request_id())
}

fn document(status: u16, body: &str, request_id: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?>\n{body}");
    let mut response = reply(status, "text/xml", body);
    if let Ok(value) = hyper::header::HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    response
}

/// Writes an element that contains text.
pub(crate) fn element(name: &str, text: &str) -> String {
    wrap(name, &escape(text))
}

/// Writes an element that contains elements.
pub(crate) fn wrap(name: &str, content: &str) -> String {
    format!("<{name}>{content}</{name}>")
}

/// Writes a `ResourceRecordSet`, its elements in the order of the schema.
pub(crate) fn record_set(set: &RecordSet) -> String {
    let mut content = element("Name", &set.name) + &element("Type", set.record_type.as_str());
    if let Some(identifier) = &set.set_identifier {
        content += &element("SetIdentifier", identifier);
    }
    content += &match &set.routing {
        None => String::new(),
        Some(Routing::Weight(weight)) => element("Weight", &weight.to_string()),
        Some(Routing::MultiValue) => element("MultiValueAnswer", "true"),
        Some(Routing::Region(region)) => element("Region", region),
        Some(Routing::Failover(role)) => element("Failover", role),
    };
    if let Some(ttl) = set.ttl {
        content += &element("TTL", &ttl.to_string());
    }
    if !set.values.is_empty() {
        let records: String =
            set.values.iter().map(|value| wrap("ResourceRecord", &element("Value", value))).collect();
        content += &wrap("ResourceRecords", &records);
    }
    if let Some(alias) = &set.alias {
        let target = element("HostedZoneId", &alias.hosted_zone_id)
            + &element("DNSName", &alias.dns_name)
            + &element("EvaluateTargetHealth", &alias.evaluate_target_health.to_string());
        content += &wrap("AliasTarget", &target);
    }
    if let Some(health_check) = &set.health_check_id {
        content += &element("HealthCheckId", health_check);
    }
    wrap("ResourceRecordSet", &content)
}

/// Writes a `HostedZone`.
pub(crate) fn hosted_zone(zone: &Zone) -> String {
    let content = element("Id", &format!("/hostedzone/{}", zone.id))
        + &element("Name", &zone.name.to_string())
        + &element("CallerReference", &format!("sandbox-{}", zone.id))
        + &wrap("Config", &element("PrivateZone", &zone.private.to_string()))
        + &element("ResourceRecordSetCount", &zone.records.len().to_string());
    wrap("HostedZone", &content)
}

/// Formats a time as the API does, `2026-01-31T12:00:00.000Z`.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let mut text = String::new();
    let (hours, minutes, seconds, millis) =
        (seconds / 3600, seconds / 60 % 60, seconds % 60, since.subsec_millis());
    // Writing to a String cannot fail.
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z");
    text
}

/// Returns the date of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn moments_are_written() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.250Z"),
            (951_782_400, "2000-02-29T00:00:00.250Z"),
            (1_767_225_599, "2025-12-31T23:59:59.250Z"),
        ] {
            let time = UNIX_EPOCH + Duration::new(seconds, 250_000_000);
            assert_eq!(super::timestamp(time), expected);
        }
    }
}
