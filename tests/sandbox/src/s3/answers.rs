//! Writers of answers and refusals.

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};

use super::{Object, body};
use crate::aws::xml::request_id;
use crate::clock::http_date;
use crate::http::{Request, Response, reply};
use crate::xml::escape;

/// The namespace of the API's answers; its errors have none.
pub(super) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The reason of a refusal by S3, as opposed to the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    AccessDenied,
    Incomplete,
    InvalidArgument,
    InvalidOwner,
    InvalidRange,
    MissingHash,
    NoSuchBucket,
    NoSuchKey,
    NotImplemented,
    PreconditionFailed,
    WrongChecksum,
    WrongHash,
}

impl Refused {
    fn status_and_code(self) -> (u16, &'static str) {
        match self {
            Self::AccessDenied => (403, "AccessDenied"),
            Self::Incomplete => (400, "IncompleteBody"),
            Self::InvalidArgument => (400, "InvalidArgument"),
            Self::InvalidOwner => (400, "InvalidBucketOwnerAWSAccountID"),
            Self::InvalidRange => (416, "InvalidRange"),
            Self::MissingHash => (400, "InvalidRequest"),
            Self::NoSuchBucket => (404, "NoSuchBucket"),
            Self::NoSuchKey => (404, "NoSuchKey"),
            Self::NotImplemented => (501, "NotImplemented"),
            Self::PreconditionFailed => (412, "PreconditionFailed"),
            Self::WrongChecksum => (400, "BadDigest"),
            Self::WrongHash => (400, "XAmzContentSHA256Mismatch"),
        }
    }
}

/// An error with S3's additions.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: String,
    /// The elements after code and message; `region` is for the header that names the region.
    details: Vec<(&'static str, String)>,
    region: Option<String>,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let (status, code) = refused.status_and_code();
        Self { status, code: code.to_owned(), details: Vec::new(), region: None }
    }
}

impl Refusal {
    pub(super) fn of_key(refused: Refused, key: &str) -> Self {
        Self { details: vec![("Key", key.to_owned())], ..refused.into() }
    }

    /// Creates the refusal for a bucket in another region.
    pub(super) fn redirect(bucket: &str, region: &str) -> Self {
        let endpoint = format!("{bucket}.s3.{region}.amazonaws.com");
        let details = vec![("Endpoint", endpoint), ("Bucket", bucket.to_owned())];
        Self { status: 301, code: "PermanentRedirect".to_owned(), details, region: Some(region.to_owned()) }
    }

    /// Creates a refusal that the front or a fault asks for.
    pub(super) fn known(status: u16, code: &str, region: &str) -> Self {
        let mut refusal = Self { status, code: code.to_owned(), details: Vec::new(), region: None };
        if code == "AuthorizationHeaderMalformed" {
            refusal.details.push(("Region", region.to_owned()));
        }
        refusal
    }

    pub(super) fn answer(&self) -> Response {
        let id = request_id();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        let own = [("Code", self.code.clone()), ("Message", message(&self.code).to_owned())];
        for (name, value) in own.iter().chain(&self.details).chain([&("RequestId", id)]) {
            text.push_str(&format!("<{name}>{}</{name}>", escape(value)));
        }
        text.push_str("</Error>");
        let mut response = xml(self.status, text);
        if let Some(region) = &self.region {
            put(&mut response, "x-amz-bucket-region", region);
        }
        response
    }
}

fn message(code: &str) -> &'static str {
    match code {
        "AuthorizationHeaderMalformed" => "The authorization header is malformed.",
        "BadDigest" => "The checksum that you specified did not match the calculated checksum.",
        "ExpiredToken" => "The provided token has expired.",
        "IncompleteBody" => "The request body is not what its headers say.",
        "InternalError" => "We encountered an internal error. Please try again.",
        "InvalidAccessKeyId" => "The AWS Access Key Id you provided does not exist in our records.",
        "InvalidArgument" => "Invalid Argument",
        "InvalidBucketOwnerAWSAccountID" => {
            "The value of the expected bucket owner parameter must be an AWS Account ID"
        }
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidRequest" => "Missing required header for this request: x-amz-content-sha256",
        "InvalidToken" => "The provided token is malformed or otherwise invalid.",
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "NotImplemented" => {
            "A header or query you provided implies functionality that the sandbox does not have."
        }
        "PermanentRedirect" => {
            "The bucket you are attempting to access must be addressed using the specified endpoint. \
             Please send all future requests to this endpoint."
        }
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "RequestTimeTooSkewed" => {
            "The difference between the request time and the current time is too large."
        }
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. \
             Check your key and signing method."
        }
        "SlowDown" => "Please reduce your request rate.",
        "XAmzContentSHA256Mismatch" => {
            "The provided 'x-amz-content-sha256' header does not match what was computed."
        }
        _ => "Access Denied",
    }
}

/// Returns the whole object, or the requested range.
pub(super) fn object(request: &Request, object: &Object) -> Result<Response, Refusal> {
    let wanted = request.header("if-match");
    if !wanted.is_empty() && wanted != "*" && wanted.trim_matches('"') != object.etag.trim_matches('"') {
        return Err(Refused::PreconditionFailed.into());
    }
    let size = object.content.len();
    let part = range(request.header("range"), size)?;
    let content =
        part.map_or_else(|| object.content.clone(), |(first, last)| object.content.slice(first..=last));
    let mut response = reply(if part.is_some() { 206 } else { 200 }, &object.content_type, content);
    put(&mut response, "etag", &object.etag);
    put(&mut response, "last-modified", &http_date(object.modified));
    put(&mut response, "accept-ranges", "bytes");
    put(&mut response, "x-amz-request-id", &request_id());
    match part {
        Some((first, last)) => put(&mut response, "content-range", &format!("bytes {first}-{last}/{size}")),
        None if request.header("x-amz-checksum-mode").eq_ignore_ascii_case("enabled") => {
            put(&mut response, "x-amz-checksum-crc32", &body::crc32_base64(&object.content));
            put(&mut response, "x-amz-checksum-type", "FULL_OBJECT");
        }
        None => {}
    }
    Ok(response)
}

/// Reads `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`; any other text is not a range.
fn range(header: &str, size: usize) -> Result<Option<(usize, usize)>, Refused> {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let end = size.checked_sub(1).ok_or(Refused::InvalidRange)?;
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), _) if first > end => Err(Refused::InvalidRange),
        (Ok(first), Ok(last)) if first <= last => Ok(Some((first, last.min(end)))),
        (Ok(first), _) if last.is_empty() => Ok(Some((first, end))),
        (_, Ok(count @ 1..)) if first.is_empty() => Ok(Some((size.saturating_sub(count), end))),
        _ => Ok(None),
    }
}

/// Returns the answer of `PutObject`.
pub(super) fn stored(object: &Object) -> Response {
    let mut response = reply(200, "application/xml", Bytes::new());
    put(&mut response, "etag", &object.etag);
    put(&mut response, "x-amz-checksum-crc32", &body::crc32_base64(&object.content));
    put(&mut response, "x-amz-checksum-type", "FULL_OBJECT");
    put(&mut response, "x-amz-request-id", &request_id());
    response
}

/// Returns the answer of `HeadBucket`.
pub(super) fn bucket(region: &str) -> Response {
    let mut response = xml(200, String::new());
    put(&mut response, "x-amz-bucket-region", region);
    response
}

pub(super) fn xml(status: u16, text: String) -> Response {
    let mut response = reply(status, "application/xml", text);
    put(&mut response, "x-amz-request-id", &request_id());
    response
}

fn put(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
