//! Signature Version 4, checked by signing the same request again with the known secret.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

use super::{Keys, Refused};
use crate::clock::parse_basic;
use crate::http::Request;

/// The tolerance for a request's time, in seconds.
const SKEW: u64 = 5 * 60;
/// The tolerance of S3, in seconds.
const SKEW_OF_S3: u64 = 15 * 60;

/// The parsed `Authorization` of a request.
pub(super) struct Signed {
    pub(super) access_key: String,
    pub(super) service: String,
    region: String,
    date: String,
    headers: Vec<String>,
    signature: String,
}

impl Signed {
    pub(super) fn parse(request: &Request) -> Result<Self, Refused> {
        let authorization = request.header("authorization");
        if authorization.is_empty() {
            return Err(Refused::Unsigned);
        }
        let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or(Refused::Malformed)?;
        let field = |name: &str| {
            let mut parts = fields.split(',').map(str::trim).filter_map(|field| field.split_once('='));
            parts.find_map(|(key, value)| (key == name).then_some(value)).ok_or(Refused::Malformed)
        };
        let scope: Vec<&str> = field("Credential")?.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = scope.as_slice() else {
            return Err(Refused::Malformed);
        };
        Ok(Self {
            access_key: (*access_key).to_owned(),
            service: (*service).to_owned(),
            region: (*region).to_owned(),
            date: (*date).to_owned(),
            headers: field("SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: field("Signature")?.to_owned(),
        })
    }

    /// Verifies the signature at the time `now` of the service's clock.
    pub(super) fn verify(
        &self,
        request: &Request,
        keys: &Keys,
        regions: &[&str],
        now: u64,
    ) -> Result<(), Refused> {
        let sent = request.header("x-amz-date");
        let time = parse_basic(sent).ok_or(Refused::Malformed)?;
        let skew = if self.service == "s3" { SKEW_OF_S3 } else { SKEW };
        let off = time.abs_diff(now);
        if off > skew {
            return Err(if off > SKEW_OF_S3 { Refused::FarSkewed } else { Refused::Skewed });
        }
        if !regions.contains(&self.region.as_str()) {
            return Err(Refused::WrongRegion);
        }
        if !sent.starts_with(&format!("{}T", self.date)) || !self.covers(request) {
            return Err(Refused::WrongSignature);
        }
        let expected = self.sign_again(request, keys, time).ok_or(Refused::WrongSignature)?;
        if expected == self.signature { Ok(()) } else { Err(Refused::WrongSignature) }
    }

    /// Tells whether the host and every `x-amz-` header are signed, as AWS requires.
    fn covers(&self, request: &Request) -> bool {
        let signed = |name: &str| self.headers.iter().any(|header| header == name);
        let must = |name: &&str| *name == "host" || name.starts_with("x-amz-");
        signed("host") && request.headers.keys().map(|name| name.as_str()).filter(must).all(signed)
    }

    /// Returns the signed form of the body: S3's clients state its hash in a header, or that the body is not signed.
    fn body<'a>(&self, request: &'a Request) -> SignableBody<'a> {
        match request.header("x-amz-content-sha256") {
            said if self.service == "s3" && !said.is_empty() => SignableBody::Precomputed(said.to_owned()),
            _ => SignableBody::Bytes(&request.body),
        }
    }

    fn sign_again(&self, request: &Request, keys: &Keys, time: u64) -> Option<String> {
        let host = request.header("host");
        if host.is_empty() {
            return None;
        }
        let question = if request.query.is_empty() { "" } else { "?" };
        let uri = format!("http://{host}{}{question}{}", request.path, request.query);
        // The signer adds the date and the token itself.
        let added = ["x-amz-date", "x-amz-security-token"];
        let headers = self.headers.iter().filter(|name| !added.contains(&name.as_str())).flat_map(|name| {
            let values = request.headers.get_all(name.as_str());
            values.iter().filter_map(move |value| Some((name.as_str(), value.to_str().ok()?)))
        });
        let signable = SignableRequest::new(&request.method, uri, headers, self.body(request)).ok()?;
        let token = keys.session_token.clone();
        let identity = Credentials::new(&keys.access_key, &keys.secret_key, token, None, "sandbox").into();
        let mut settings = SigningSettings::default();
        // The client chose which headers to sign.
        settings.excluded_headers = None;
        if self.service == "s3" {
            // S3 signs the path as it was sent: its keys may contain double slashes and dots.
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(time))
            .settings(settings)
            .build()
            .ok()?;
        Some(sign(signable, &params.into()).ok()?.into_parts().1)
    }
}
