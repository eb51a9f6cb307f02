//! The meaning of an SDK error: words for a person, and whether to try again.
//!
//! | error | try again |
//! |---|---|
//! | no connection, no answer in time, an unreadable answer | later |
//! | 5xx, 429 | later |
//! | throttling by any of its names (HTTP status 400 too) | later; other callers share the same budget |
//! | `PriorRequestNotComplete` and other codes of a busy service | later |
//! | no credentials (yet) | later |
//! | the clocks differ | later: a booting host's clock may still be corrected |
//! | an expired token | later: every call looks up the credentials anew |
//! | access denied, validation errors, any other refusal | never |
//! | a certificate that is not trusted or is for another name | never |

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::http::{chain, is_distrust, known_cause, layers};
use crate::untrusted::clean;

/// Error codes of throttling, by all the names that AWS services use. From the SDK's list (aws-runtime's
/// `THROTTLING_ERRORS`), whose `PriorRequestNotComplete`, `TransactionInProgressException` and `RequestTimeout` do not
/// mean throttling.
const THROTTLED: [&str; 13] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
];

/// Error codes of a service that is busy for a moment, such as a zone with another change in progress.
const BUSY: [&str; 3] = ["PriorRequestNotComplete", "TransactionInProgressException", "RequestTimeout"];

/// Error codes of a wrong clock.
const CLOCK: [&str; 2] = ["RequestTimeTooSkewed", "RequestInTheFuture"];

/// Error codes of credentials that were once valid.
const EXPIRED: [&str; 4] =
    ["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];

/// Reports whether the same call may succeed later.
pub fn is_retryable<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            is_retryable_refusal(service.err().code(), service.raw().status().as_u16())
        }
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) if failure.is_user() => false,
        SdkError::ConstructionFailure(_) if !layers(error).any(|layer| layer.is::<CredentialsError>()) => {
            false
        }
        other => is_retryable_delivery(other),
    }
}

/// Reports the same for a service's refusal with this code and HTTP status.
fn is_retryable_refusal(code: Option<&str>, status: u16) -> bool {
    let passing = |code: &str| BUSY.contains(&code) || CLOCK.contains(&code) || EXPIRED.contains(&code);
    status >= 500 || is_throttling(code, status) || code.is_some_and(passing)
}

/// Reports whether the service refused because of too many calls.
pub fn is_throttled<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            is_throttling(service.err().code(), service.raw().status().as_u16())
        }
        _ => false,
    }
}

fn is_throttling(code: Option<&str>, status: u16) -> bool {
    status == 429 || code.is_some_and(|code| THROTTLED.contains(&code))
}

/// Reports the same for a request that did not reach its service.
fn is_retryable_delivery(error: &(dyn StdError + 'static)) -> bool {
    for layer in layers(error) {
        if let Some(CredentialsError::InvalidConfiguration(_)) = layer.downcast_ref() {
            return false;
        }
        if layer.is::<CredentialsError>() {
            return true;
        }
    }
    !is_distrust(error)
}

/// Explains to a person why a call failed. Leaves out any message that quotes signed headers, because they contain the
/// session token.
pub fn explain<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            service_words(service.err().code(), service.err().message(), service.raw().status().as_u16())
        }
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::ResponseError(response) => {
            // The sources of the error may quote the answer, which may be the value of a secret.
            format!("an answer that cannot be read (HTTP status {})", response.raw().status().as_u16())
        }
        other => undelivered_words(other),
    }
}

fn service_words(code: Option<&str>, message: Option<&str>, status: u16) -> String {
    let Some(code) = code.map(clean) else {
        return match status {
            200..=299 => format!("an answer that is none of AWS (HTTP status {status})"),
            _ => format!("HTTP status {status}"),
        };
    };
    // These messages quote the canonical request or the Authorization header.
    if code.contains("Signature") || code.contains("AuthenticationToken") {
        return format!(
            "{code}: the request's signature was not accepted; are the clock and the credentials right?"
        );
    }
    let line = clean(message.unwrap_or_default().trim_start().lines().next().unwrap_or_default());
    if line.is_empty() { code } else { format!("{code}: {line}") }
}

fn undelivered_words(error: &(dyn StdError + 'static)) -> String {
    if let Some(credentials) = layers(error).find(|layer| layer.is::<CredentialsError>()) {
        return format!("no AWS credentials: {}", chain(credentials));
    }
    match error.source() {
        Some(source) => known_cause(source).unwrap_or_else(|| chain(source)),
        None => chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_ask_again() {
        let rows = [
            (Some("Throttling"), 400, true),
            (Some("ThrottlingException"), 400, true),
            (Some("PriorRequestNotComplete"), 400, true),
            (Some("RequestLimitExceeded"), 503, true),
            (Some("TooManyRequestsException"), 429, true),
            (Some("RequestTimeTooSkewed"), 403, true),
            (Some("InternalFailure"), 500, true),
            (None, 502, true),
            (None, 429, true),
            (Some("ExpiredToken"), 403, true),
            (Some("ExpiredTokenException"), 400, true),
            (Some("AccessDenied"), 403, false),
            (Some("UnauthorizedOperation"), 403, false),
            (Some("InvalidChangeBatch"), 400, false),
            (Some("ValidationError"), 400, false),
            (Some("ResourceNotFoundException"), 400, false),
            (None, 400, false),
            (None, 302, false),
        ];
        for (code, status, expected) in rows {
            assert_eq!(is_retryable_refusal(code, status), expected, "{code:?} {status}");
        }
    }

    #[test]
    fn what_is_throttling() {
        let rows = [
            (Some("Throttling"), 400, true),
            (Some("ThrottlingException"), 400, true),
            (Some("RequestLimitExceeded"), 503, true),
            (None, 429, true),
            (Some("PriorRequestNotComplete"), 400, false),
            (Some("ServiceUnavailable"), 503, false),
            (Some("AccessDenied"), 403, false),
        ];
        for (code, status, expected) in rows {
            assert_eq!(is_throttling(code, status), expected, "{code:?} {status}");
        }
    }

    #[test]
    fn refusals_in_words() {
        assert_eq!(
            service_words(Some("AccessDenied"), Some("User: x is not authorized"), 403),
            "AccessDenied: User: x is not authorized"
        );
        assert_eq!(service_words(None, Some("ignored"), 502), "HTTP status 502");
        assert_eq!(service_words(Some("Throttling"), None, 400), "Throttling");
        assert_eq!(service_words(None, None, 200), "an answer that is none of AWS (HTTP status 200)");
        let escape = service_words(Some("Bad\u{1b}[2JCode"), Some("\u{1b}]0;title\u{7}words"), 400);
        assert_eq!(escape, "Bad [2JCode: ]0;title words");
    }

    #[test]
    fn signed_headers_are_not_passed_on() {
        let quoted = "The Canonical String should have been\nx-amz-security-token:MARKED";
        for code in ["SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"] {
            let words = service_words(Some(code), Some(quoted), 403);
            assert!(words.starts_with(code) && !words.contains("MARKED"), "{words}");
        }
        assert!(!service_words(Some("Other"), Some(quoted), 403).contains("MARKED"), "only the first line");
    }
}
