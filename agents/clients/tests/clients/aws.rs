//! SDK clients with our settings against the sandbox's AWS front, which verifies signatures.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use clients::aws;
use clients::dns::system::SystemResolver;
use clients::http::Tls;
use clients::imds::Imds;
use sandbox::cloud::{Cloud, Options, SCALELITE_SECRET_ID};
use sandbox::faults::{Fault, Planned};
use sandbox::http::ServiceName;
use sandbox::tls::Authority;

const ROLE: &str = "bbb-fleet-host";

struct Rig {
    cloud: Arc<Cloud>,
    config: SdkConfig,
}

impl Rig {
    async fn start() -> Self {
        let cloud = Cloud::start(Options::with_tls()).await.unwrap();
        let tls = Tls::new(cloud.ca_file().map(Into::into));
        Self { config: config(&cloud, &tls).await, cloud }
    }

    fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config)
    }

    async fn read(&self, id: &str) -> Result<String, SdkError<GetSecretValueError>> {
        let answer = self.secrets().get_secret_value().secret_id(id).send().await?;
        Ok(answer.secret_string.unwrap())
    }

    async fn failure(&self, id: &str) -> (String, bool) {
        let error = self.read(id).await.unwrap_err();
        (aws::explain(&error), aws::is_retryable(&error))
    }

    fn fail(&self, fault: Fault) {
        let service = ServiceName::SecretsManager;
        self.cloud.faults.plan(Planned { service, action: None, fault, times: Some(1) });
    }

    fn asked(&self, service: ServiceName) -> usize {
        self.cloud.journal.count(service, "")
    }
}

/// The endpoint is a name: its address comes from the cloud's own resolver, and the certificate must be for that name.
async fn config(cloud: &Cloud, tls: &Tls) -> SdkConfig {
    let names = SystemResolver::asking(vec![cloud.resolver.address()]);
    let imds = Imds::new(&format!("http://{}", cloud.imds_address())).unwrap();
    let config = aws::sdk_config(tls, &names, &imds, "eu-central-1", None).await.unwrap();
    config.into_builder().endpoint_url(cloud.aws_url_by_name()).build()
}

#[tokio::test]
async fn the_instances_role_by_name_over_tls() {
    let rig = Rig::start().await;
    assert_eq!(rig.asked(ServiceName::Imds), 0, "settings alone ask nobody");
    for _ in 0..3 {
        assert!(rig.read(SCALELITE_SECRET_ID).await.unwrap().contains("sandbox-loadbalancer-secret"));
    }
    // The token is fetched once, the role and its keys for every call.
    assert_eq!(rig.asked(ServiceName::Imds), 1 + 3 * 2);
    assert_eq!(rig.asked(ServiceName::SecretsManager), 3);
    assert!(rig.cloud.resolver.asked(sandbox::cloud::AWS_NAME) > 0);
}

#[tokio::test]
async fn nothing_is_retried_by_the_sdk() {
    let rig = Rig::start().await;
    let error = |status, code: &str| Fault::Error { status, code: code.to_owned() };
    for (fault, words, retry) in [
        (error(400, "ThrottlingException"), "ThrottlingException", true),
        (error(500, "InternalServiceError"), "InternalServiceError", true),
        (error(400, "InvalidRequestException"), "InvalidRequestException", false),
        (Fault::Close, "connection closed before the answer was complete", true),
    ] {
        let before = rig.asked(ServiceName::SecretsManager);
        rig.fail(fault);
        let (explained, again) = rig.failure(SCALELITE_SECRET_ID).await;
        assert!(explained.starts_with(words), "{explained}");
        assert_eq!(again, retry, "{explained}");
        assert_eq!(rig.asked(ServiceName::SecretsManager), before + 1);
    }
}

#[tokio::test]
async fn refusals() {
    let rig = Rig::start().await;
    let (words, retry) = rig.failure("nobody/knows").await;
    assert!(words.starts_with("ResourceNotFoundException: "), "{words}");
    assert!(!retry);

    rig.cloud.aws.deny("secretsmanager:GetSecretValue");
    let (words, retry) = rig.failure(SCALELITE_SECRET_ID).await;
    assert!(words.contains("AccessDenied"), "{words}");
    assert!(!retry);
}

#[tokio::test]
async fn after_an_expired_token_the_next_try_has_a_new_one() {
    let rig = Rig::start().await;
    rig.read(SCALELITE_SECRET_ID).await.unwrap();
    let before = rig.asked(ServiceName::Imds);
    rig.fail(Fault::Error { status: 400, code: "ExpiredTokenException".to_owned() });
    let (words, retry) = rig.failure(SCALELITE_SECRET_ID).await;
    assert!(words.contains("ExpiredToken") && retry, "{words}");
    rig.cloud.vault.expire(ROLE);
    rig.read(SCALELITE_SECRET_ID).await.unwrap();
    assert_eq!(rig.asked(ServiceName::Imds), before + 2 * 2, "role and keys for every call");
}

#[tokio::test]
async fn without_credentials() {
    let rig = Rig::start().await;
    rig.cloud.imds.update(|facts| facts.role = None).unwrap();
    let (words, retry) = rig.failure(SCALELITE_SECRET_ID).await;
    assert!(words.starts_with("no AWS credentials: "), "{words}");
    assert!(words.contains("no role is attached to the instance"), "{words}");
    assert!(retry);
    rig.cloud.imds.update(|facts| facts.role = Some(ROLE.to_owned())).unwrap();
    rig.read(SCALELITE_SECRET_ID).await.unwrap();

    let rig = Rig::start().await;
    rig.cloud.close(ServiceName::Imds).await;
    let (words, retry) = rig.failure(SCALELITE_SECRET_ID).await;
    assert!(words.contains("connection refused"), "{words}");
    assert!(retry);
}

#[tokio::test]
async fn an_imds_token_that_expired_does_not_stop_the_sdk() {
    let rig = Rig::start().await;
    let imds = Imds::new(&format!("http://{}", rig.cloud.imds_address())).unwrap();
    imds.identity().await.unwrap();
    rig.cloud.imds.expire_tokens();
    let tls = Tls::new(rig.cloud.ca_file().map(Into::into));
    let names = SystemResolver::asking(vec![rig.cloud.resolver.address()]);
    let config = aws::sdk_config(&tls, &names, &imds, "eu-central-1", None).await.unwrap();
    let config = config.into_builder().endpoint_url(rig.cloud.aws_url_by_name()).build();
    Rig { cloud: Arc::clone(&rig.cloud), config }.read(SCALELITE_SECRET_ID).await.unwrap();
}

#[tokio::test]
async fn transport() {
    let rig = Rig::start().await;
    rig.cloud.close(ServiceName::SecretsManager).await;
    let (words, retry) = rig.failure(SCALELITE_SECRET_ID).await;
    assert_eq!((words.as_str(), retry), ("connection refused", true));

    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("other.pem");
    std::fs::write(&path, Authority::new().unwrap().pem()).unwrap();
    let rig = Rig::start().await;
    let rig = Rig { config: config(&rig.cloud, &Tls::new(Some(path))).await, cloud: rig.cloud };
    let (words, retry) = rig.failure(SCALELITE_SECRET_ID).await;
    assert!(words.starts_with("certificate not trusted: it was issued by an authority"), "{words}");
    assert!(!retry);
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let rig = Rig::start().await;
    let config = rig.config.clone().into_builder().endpoint_url("https://absent.example.org").build();
    let (words, retry) = Rig { cloud: rig.cloud, config }.failure(SCALELITE_SECRET_ID).await;
    assert!(words.contains("the name absent.example.org does not resolve"), "{words}");
    assert!(retry);
}

#[tokio::test]
async fn a_wrong_signature_is_explained_without_what_was_signed() {
    let rig = Rig::start().await;
    let keys = rig.cloud.vault.role(ROLE);
    let token = keys.session_token.clone();
    let wrong = Credentials::new(&keys.access_key, "somebody-elses-secret-key", token, None, "test");
    let config = rig.config.clone().into_builder();
    let config = config.credentials_provider(SharedCredentialsProvider::new(wrong)).build();
    let (words, retry) = Rig { cloud: rig.cloud, config }.failure(SCALELITE_SECRET_ID).await;
    assert!(words.contains("Signature"), "{words}");
    let token = keys.session_token.unwrap();
    assert!(!words.contains(&token) && !words.contains(&keys.access_key), "{words}");
    assert!(!retry);
}
