//! The front of all AWS services: one listener that really verifies the Signature Version 4 of each request, refuses
//! denied actions, and passes the rest to the service that the credential scope names.
//!
//! | refused | Auto Scaling, CloudFormation, CloudWatch, Route 53, STS | EC2 | Secrets Manager | S3 |
//! |---|---|---|---|---|
//! | no signature | 403 `MissingAuthenticationToken` | 403 `MissingAuthenticationToken` | 400 `MissingAuthenticationTokenException` | 403 `AccessDenied` |
//! | unknown key | 403 `InvalidClientTokenId` | 401 `AuthFailure` | 400 `UnrecognizedClientException` | 403 `InvalidAccessKeyId` |
//! | missing or wrong session token | the same | the same | the same | 400 `InvalidToken` |
//! | expired credentials | 403 `ExpiredToken` | 400 `RequestExpired` | 400 `ExpiredTokenException` | 400 `ExpiredToken` |
//! | wrong signature or scope | 403 `SignatureDoesNotMatch` | 401 `AuthFailure` | 400 `InvalidSignatureException` | 403 `SignatureDoesNotMatch` |
//! | another region | the same | the same | the same | 400 `AuthorizationHeaderMalformed` |
//! | a time over 5 minutes off | the same | the same; over 15 minutes: 400 `RequestExpired` | the same | over 15 minutes: 403 `RequestTimeTooSkewed` |
//! | malformed Authorization | 400 `IncompleteSignature` | 400 `IncompleteSignature` | 400 `IncompleteSignatureException` | 400 `AuthorizationHeaderMalformed` |
//! | an assumed role's key, at a service that it is not for; [`Front::reserve`] | 403 `AccessDenied` | 403 `UnauthorizedOperation` | 400 `AccessDeniedException` | 403 `AccessDenied` |
//! | [`Front::deny`] | 403 `AccessDenied` | 403 `UnauthorizedOperation` | 400 `AccessDeniedException` | 403 `AccessDenied` |

mod partition;
pub mod query;
mod sigv4;
mod vault;
pub mod xml;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

pub use partition::{PARTITIONS, Partition};
pub(crate) use vault::random;
pub use vault::{Keys, Vault};

use crate::clock::{http_date, real_time};
use crate::http::{Request, Response, Route, Service, ServiceName, reply};

/// The reason why the front refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Unsigned,
    Malformed,
    UnknownKey,
    WrongToken,
    Expired,
    WrongSignature,
    WrongRegion,
    Skewed,
    /// Skewed by more than a quarter of an hour.
    FarSkewed,
    Denied,
}

impl Refused {
    /// Returns the status and the code in the service's own terms: see the table of this module.
    fn of(self, service: ServiceName) -> (u16, &'static str) {
        match (service, self) {
            (ServiceName::S3, Self::Unsigned | Self::Denied) => (403, "AccessDenied"),
            (ServiceName::S3, Self::Malformed | Self::WrongRegion) => (400, "AuthorizationHeaderMalformed"),
            (ServiceName::S3, Self::UnknownKey) => (403, "InvalidAccessKeyId"),
            (ServiceName::S3, Self::WrongToken) => (400, "InvalidToken"),
            (ServiceName::S3, Self::Expired) => (400, "ExpiredToken"),
            (ServiceName::S3, Self::Skewed | Self::FarSkewed) => (403, "RequestTimeTooSkewed"),
            (ServiceName::S3, Self::WrongSignature) => (403, "SignatureDoesNotMatch"),
            (ServiceName::SecretsManager, Self::Unsigned) => (400, "MissingAuthenticationTokenException"),
            (ServiceName::SecretsManager, Self::Malformed) => (400, "IncompleteSignatureException"),
            (ServiceName::SecretsManager, Self::UnknownKey | Self::WrongToken) => {
                (400, "UnrecognizedClientException")
            }
            (ServiceName::SecretsManager, Self::Expired) => (400, "ExpiredTokenException"),
            (
                ServiceName::SecretsManager,
                Self::WrongSignature | Self::WrongRegion | Self::Skewed | Self::FarSkewed,
            ) => (400, "InvalidSignatureException"),
            (ServiceName::SecretsManager, Self::Denied) => (400, "AccessDeniedException"),
            (ServiceName::Ec2, Self::Expired | Self::FarSkewed) => (400, "RequestExpired"),
            (ServiceName::Ec2, Self::Denied) => (403, "UnauthorizedOperation"),
            (ServiceName::Ec2, Self::Unsigned) => (403, "MissingAuthenticationToken"),
            (ServiceName::Ec2, Self::Malformed) => (400, "IncompleteSignature"),
            (ServiceName::Ec2, _) => (401, "AuthFailure"),
            (_, Self::Unsigned) => (403, "MissingAuthenticationToken"),
            (_, Self::Malformed) => (400, "IncompleteSignature"),
            (_, Self::UnknownKey | Self::WrongToken) => (403, "InvalidClientTokenId"),
            (_, Self::Expired) => (403, "ExpiredToken"),
            (_, Self::WrongSignature | Self::WrongRegion | Self::Skewed | Self::FarSkewed) => {
                (403, "SignatureDoesNotMatch")
            }
            (_, Self::Denied) => (403, "AccessDenied"),
        }
    }
}

/// Returns the message that AWS gives with an error code when it has nothing more specific to say.
pub(crate) fn message(code: &str) -> &'static str {
    match code {
        "MissingAuthenticationToken" | "MissingAuthenticationTokenException" => {
            "Missing Authentication Token"
        }
        "IncompleteSignature" | "IncompleteSignatureException" => {
            "Authorization header requires 'Credential', 'Signature', 'SignedHeaders' and a date."
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" => {
            "The security token included in the request is invalid."
        }
        "ExpiredToken" | "ExpiredTokenException" => "The security token included in the request is expired",
        "RequestExpired" => "Request has expired.",
        "AuthFailure" => "AWS was not able to validate the provided access credentials",
        "SignatureDoesNotMatch" | "InvalidSignatureException" => {
            "The request signature we calculated does not match the signature you provided."
        }
        "UnauthorizedOperation" => "You are not authorized to perform this operation.",
        "AccessDenied" | "AccessDeniedException" => "User is not authorized to perform this action.",
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => "Rate exceeded",
        "ServiceUnavailable" => "The service is temporarily unavailable.",
        "InternalFailure" | "InternalError" | "InternalServiceError" => "An internal error has occurred.",
        _ => "The request was refused.",
    }
}

/// Returns the name of a service in credential scopes and in IAM actions.
fn signing_name(service: ServiceName) -> &'static str {
    match service {
        ServiceName::Route53 => "route53",
        ServiceName::Ec2 => "ec2",
        ServiceName::AutoScaling => "autoscaling",
        ServiceName::CloudWatch => "monitoring",
        ServiceName::SecretsManager => "secretsmanager",
        ServiceName::Sts => "sts",
        ServiceName::S3 => "s3",
        ServiceName::CloudFormation => "cloudformation",
        ServiceName::Imds | ServiceName::Scalelite | ServiceName::Bbb => "",
    }
}

/// Returns the prefix of a service's IAM actions: only CloudWatch's differs from its signing name.
fn iam_prefix(service: ServiceName) -> &'static str {
    if service == ServiceName::CloudWatch { "cloudwatch" } else { signing_name(service) }
}

/// The IAM actions that are denied. Clones share one set.
#[derive(Clone, Debug, Default)]
pub struct Denials(Arc<Mutex<BTreeSet<String>>>);

impl Denials {
    /// Tells whether an action is denied, e.g. `s3:ListBucket`, by its own name or with all actions of its service.
    pub(crate) fn has(&self, action: &str) -> bool {
        let all = action.split_once(':').map(|(prefix, _)| format!("{prefix}:*"));
        let denied = self.set();
        denied.contains(action) || all.is_some_and(|all| denied.contains(&all))
    }

    fn set(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The front: it verifies, authorises and dispatches requests.
#[derive(Debug)]
pub struct Front {
    region: String,
    vault: Arc<Vault>,
    services: Mutex<Services>,
    denied: Denials,
    /// The services, by signing name, that take only an assumed role's keys: the role's ARN.
    reserved: Mutex<BTreeMap<&'static str, String>>,
    /// How far the services' clock is ahead of the machine's, in seconds.
    ahead: AtomicI64,
}

#[derive(Default)]
struct Services(BTreeMap<&'static str, Arc<dyn Service>>);

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Front {
    /// Creates a front for the regional services of `region` and for Route 53, which accepts the keys of `vault`.
    pub fn new(region: &str, vault: Arc<Vault>) -> Arc<Self> {
        Arc::new(Self {
            region: region.to_owned(),
            vault,
            services: Mutex::default(),
            denied: Denials::default(),
            reserved: Mutex::default(),
            ahead: AtomicI64::default(),
        })
    }

    /// Adds a service; its name decides the signing name.
    pub fn serve(&self, service: Arc<dyn Service>) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.0.insert(signing_name(service.name()), service);
    }

    /// Returns the vault with the accepted keys.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Denies an IAM action, e.g. `route53:ChangeResourceRecordSets`, from now on; `route53:*` denies all of a
    /// service.
    pub fn deny(&self, action: &str) {
        self.denied.set().insert(action.to_owned());
    }

    /// Ends [`Front::deny`].
    pub fn allow(&self, action: &str) {
        self.denied.set().remove(action);
    }

    /// Returns the actions that are denied now.
    pub fn denied(&self) -> Vec<String> {
        self.denied.set().iter().cloned().collect()
    }

    /// Returns a handle to the denied actions, for a service whose answers depend on them.
    pub fn denials(&self) -> Denials {
        self.denied.clone()
    }

    /// Reserves a service for this assumed role, as a hosted zone in another account is; `None` ends that. An assumed
    /// role's keys are refused by all services that are not reserved for it.
    pub fn reserve(&self, service: ServiceName, arn: Option<&str>) {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        match arn {
            Some(arn) => drop(reserved.insert(signing_name(service), arn.to_owned())),
            None => drop(reserved.remove(signing_name(service))),
        }
    }

    /// Sets the services' clock ahead of the machine's by so many seconds, or behind: so the host's clock is wrong.
    pub fn set_clock(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        real_time().as_secs().saturating_add_signed(self.ahead.load(Ordering::Relaxed))
    }

    /// Returns the route for [`crate::http::Gate::listen`].
    pub fn route(self: &Arc<Self>) -> Route {
        let front = Arc::clone(self);
        Arc::new(move |request| front.admit(request))
    }

    fn admit(&self, request: &Request) -> Arc<dyn Service> {
        let verified = self.verify(request);
        let name = match &verified {
            Ok(signed) => signed.service.clone(),
            Err(_) => guess(request).to_owned(),
        };
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(service) = services.0.get(name.as_str()) else { return Arc::new(Unknown) };
        let refused = match verified {
            Err(refused) => Some(refused),
            Ok(signed) if self.denies(service.as_ref(), request) || !self.is_for(&signed) => {
                Some(Refused::Denied)
            }
            Ok(_) => None,
        };
        Arc::new(Admitted { service: Arc::clone(service), refused, now: self.now() })
    }

    /// Returns the request's signature, which is valid.
    fn verify(&self, request: &Request) -> Result<sigv4::Signed, Refused> {
        let signed = sigv4::Signed::parse(request)?;
        let keys = self.vault.find(&signed.access_key).ok_or(Refused::UnknownKey)?;
        keys.check_token(request.header("x-amz-security-token"))?;
        // Route 53 is global and signed for us-east-1; but with a given endpoint, as here, the SDKs sign for the
        // client's region.
        let global = if signed.service == "route53" { Some("us-east-1") } else { None };
        let regions: Vec<&str> = global.into_iter().chain([self.region.as_str()]).collect();
        signed.verify(request, &keys, &regions, self.now())?;
        Ok(signed)
    }

    /// Tells whether the signer may use the service at all.
    fn is_for(&self, signed: &sigv4::Signed) -> bool {
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.get(signed.service.as_str()) == self.vault.assumed(&signed.access_key).as_ref()
    }

    fn denies(&self, service: &dyn Service, request: &Request) -> bool {
        self.denied.has(&format!("{}:{}", iam_prefix(service.name()), service.permission(request)))
    }
}

/// Guesses the service of an unsigned or wrongly signed request, so that it is refused in that service's format.
fn guess(request: &Request) -> &'static str {
    let body = String::from_utf8_lossy(&request.body);
    match () {
        () if request.path.starts_with("/2013-04-01/") => "route53",
        () if request.path.starts_with("/service/GraniteServiceVersion20100801/") => "monitoring",
        () if request.header("x-amz-target").starts_with(crate::cloudwatch::TARGET) => "monitoring",
        () if request.header("x-amz-target").starts_with("secretsmanager.") => "secretsmanager",
        () if body.contains("Version=2011-01-01") => "autoscaling",
        () if body.contains("Version=2011-06-15") => "sts",
        () if body.contains("Version=2010-05-15") => "cloudformation",
        // Requests to the other services are POSTs, or have their action in the query.
        () if request.method != "POST" && !request.query.contains("Action=") => "s3",
        () => "ec2",
    }
}

/// A service behind the front, for one request.
struct Admitted {
    service: Arc<dyn Service>,
    refused: Option<Refused>,
    /// The services' time, which every answer shows.
    now: u64,
}

impl Admitted {
    fn dated(&self, mut response: Response) -> Response {
        if let Ok(date) = http_date(self.now).parse() {
            response.headers_mut().insert(hyper::header::DATE, date);
        }
        response
    }
}

impl Service for Admitted {
    fn name(&self) -> ServiceName {
        self.service.name()
    }

    fn action(&self, request: &Request) -> String {
        self.service.action(request)
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            match self.refused {
                None => self.dated(self.service.answer(request).await),
                Some(refused) => {
                    let (status, code) = refused.of(self.service.name());
                    self.error(status, code)
                }
            }
        })
    }

    fn error(&self, status: u16, code: &str) -> Response {
        self.dated(self.service.error(status, code))
    }
}

/// A service that answers for those which the sandbox does not have.
struct Unknown;

impl Service for Unknown {
    fn name(&self) -> ServiceName {
        ServiceName::Ec2
    }

    fn action(&self, request: &Request) -> String {
        format!("unknown service: {} {}", request.method, request.path)
    }

    fn answer<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Response> {
        Box::pin(std::future::ready(self.error(404, "UnknownService")))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        reply(status, "text/plain", format!("{code}: the sandbox has no such service\n"))
    }
}
