//! The meaning of an SDK error: words for a person, and whether to try again.
//!
//! | error | try again |
//! |---|---|
//! | no connection, no answer in time, an unreadable answer | later |
//! | 5xx, 429 | later |
//! | throttling by any of its names (HTTP status 400 too) | later; other callers share the same budget |
//! | `PriorRequestNotComplete` and other codes of a busy service | later |
//! | no credentials (yet) | later |
//! | the clocks differ, whatever the service calls that | later: a booting host's clock may still be corrected |
//! | an expired token | later: every call looks up the credentials anew |
//! | unknown keys or access denied, while the role's keys are young | later: IAM's changes take their time |
//! | a role that cannot be assumed | as its own call to STS was refused |
//! | access denied, validation errors, any other refusal | never |
//! | a certificate that is not trusted or is for another name | never |

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::circumstances::Circumstances;
use super::role::NotAssumed;
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

/// Error codes that a wrong clock may be behind: aws-runtime's `CLOCK_SKEW_ERROR_CODES`, and EC2's.
const SUSPECT: [&str; 5] = [
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "AccessDeniedException",
    "RequestExpired",
];

/// Error codes of keys or permissions that are not known (yet).
const UNKNOWN: [&str; 6] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "InvalidClientTokenId",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

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
            let (code, circumstances) = (service.err().code(), Circumstances::of(service.raw()));
            is_retryable_refusal(code, service.raw().status().as_u16(), circumstances)
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
fn is_retryable_refusal(code: Option<&str>, status: u16, circumstances: Circumstances) -> bool {
    let passing = |code: &str| {
        BUSY.contains(&code)
            || EXPIRED.contains(&code)
            || is_clock(code, circumstances)
            || is_unknown_yet(code, circumstances)
    };
    status >= 500 || is_throttling(code, status) || code.is_some_and(passing)
}

fn is_clock(code: &str, circumstances: Circumstances) -> bool {
    CLOCK.contains(&code) || (circumstances.is_skewed() && SUSPECT.contains(&code))
}

fn is_unknown_yet(code: &str, circumstances: Circumstances) -> bool {
    circumstances.is_young() && UNKNOWN.contains(&code)
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

/// Reports whether the service refused the session's keys: it has ended, or they are not (any more) known.
pub(super) fn is_of_session<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    code.is_some_and(|code| EXPIRED.contains(&code) || code == "InvalidClientTokenId")
}

/// Reports the same for a request that did not reach its service.
fn is_retryable_delivery(error: &(dyn StdError + 'static)) -> bool {
    if let Some(refused) = layers(error).find_map(|layer| layer.downcast_ref::<NotAssumed>()) {
        return refused.retryable;
    }
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
            let (code, message) = (service.err().code(), service.err().message());
            service_words(code, message, service.raw().status().as_u16(), Circumstances::of(service.raw()))
        }
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::ResponseError(response) => {
            // The sources of the error may quote the answer, which may be the value of a secret.
            format!("an answer that cannot be read (HTTP status {})", response.raw().status().as_u16())
        }
        other => undelivered_words(other),
    }
}

fn service_words(
    code: Option<&str>,
    message: Option<&str>,
    status: u16,
    circumstances: Circumstances,
) -> String {
    let Some(code) = code.map(clean) else {
        return match status {
            200..=299 => format!("an answer that is none of AWS (HTTP status {status})"),
            _ => format!("HTTP status {status}"),
        };
    };
    if is_clock(&code, circumstances) && circumstances.is_skewed() {
        let clock = circumstances.clock();
        return format!("{code}: this host's clock is {clock}; set it right (timedatectl, chronyc)");
    }
    // These messages quote the canonical request or the Authorization header.
    if code.contains("Signature") || code.contains("AuthenticationToken") {
        return format!(
            "{code}: the request's signature was not accepted; are the clock and the credentials right?"
        );
    }
    let line = clean(message.unwrap_or_default().trim_start().lines().next().unwrap_or_default());
    let words = if line.is_empty() { code.clone() } else { format!("{code}: {line}") };
    match circumstances.age {
        Some(age) if is_unknown_yet(&code, circumstances) => {
            format!(
                "{words}; the role's keys are {age} s old, so AWS may not know them and their permissions \
                 everywhere yet"
            )
        }
        _ => words,
    }
}

fn undelivered_words(error: &(dyn StdError + 'static)) -> String {
    if let Some(refused) = layers(error).find_map(|layer| layer.downcast_ref::<NotAssumed>()) {
        return refused.to_string();
    }
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
            assert_eq!(
                is_retryable_refusal(code, status, Circumstances::default()),
                expected,
                "{code:?} {status}"
            );
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

    fn words(code: Option<&str>, message: Option<&str>, status: u16) -> String {
        service_words(code, message, status, Circumstances::default())
    }

    #[test]
    fn refusals_in_words() {
        assert_eq!(
            words(Some("AccessDenied"), Some("User: x is not authorized"), 403),
            "AccessDenied: User: x is not authorized"
        );
        assert_eq!(words(None, Some("ignored"), 502), "HTTP status 502");
        assert_eq!(words(Some("Throttling"), None, 400), "Throttling");
        assert_eq!(words(None, None, 200), "an answer that is none of AWS (HTTP status 200)");
        let escape = words(Some("Bad\u{1b}[2JCode"), Some("\u{1b}]0;title\u{7}words"), 400);
        assert_eq!(escape, "Bad [2JCode: ]0;title words");
    }

    #[test]
    fn signed_headers_are_not_passed_on() {
        let quoted = "The Canonical String should have been\nx-amz-security-token:MARKED";
        for code in ["SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"] {
            let said = words(Some(code), Some(quoted), 403);
            assert!(said.starts_with(code) && !said.contains("MARKED"), "{said}");
        }
        assert!(!words(Some("Other"), Some(quoted), 403).contains("MARKED"), "only the first line");
    }

    /// The same code means something else when the clocks differ or the keys are young.
    #[test]
    fn circumstances_explain_a_refusal() {
        const RIGHT: Circumstances = Circumstances { ahead: 20, age: Some(3600) };
        const BEHIND: Circumstances = Circumstances { ahead: 2820, ..RIGHT };
        const YOUNG: Circumstances = Circumstances { age: Some(40), ..RIGHT };
        let clock = "this host's clock is 47 minutes behind AWS's";
        let young = "the role's keys are 40 s old";
        let rows = [
            ("SignatureDoesNotMatch", RIGHT, false, "signature was not accepted"),
            ("SignatureDoesNotMatch", BEHIND, true, clock),
            ("SignatureDoesNotMatch", YOUNG, false, "signature was not accepted"),
            ("InvalidSignatureException", BEHIND, true, clock),
            ("AuthFailure", RIGHT, false, "said"),
            ("AuthFailure", BEHIND, true, clock),
            ("AuthFailure", YOUNG, true, young),
            ("RequestExpired", RIGHT, true, "said"),
            ("RequestExpired", BEHIND, true, clock),
            ("RequestTimeTooSkewed", BEHIND, true, clock),
            ("RequestTimeTooSkewed", RIGHT, true, "said"),
            ("InvalidClientTokenId", RIGHT, false, "said"),
            ("InvalidClientTokenId", YOUNG, true, young),
            ("UnrecognizedClientException", YOUNG, true, young),
            ("AccessDenied", RIGHT, false, "said"),
            ("AccessDenied", BEHIND, false, "said"),
            ("AccessDenied", YOUNG, true, young),
            ("UnauthorizedOperation", YOUNG, true, young),
            ("NoSuchHostedZone", YOUNG, false, "said"),
            ("NoSuchHostedZone", BEHIND, false, "said"),
        ];
        for (code, circumstances, again, expected) in rows {
            assert_eq!(
                is_retryable_refusal(Some(code), 403, circumstances),
                again,
                "{code} {circumstances:?}"
            );
            let words = service_words(Some(code), Some("said"), 403, circumstances);
            assert!(words.starts_with(code) && words.contains(expected), "{words}");
        }
    }
}
