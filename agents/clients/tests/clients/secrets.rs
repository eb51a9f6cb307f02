//! Secrets by reference: their syntax, files, systemd credentials, and Secrets Manager through the real SDK against
//! the sandbox's.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use clients::aws::SdkConfig;
use clients::aws::sdk_config;
use clients::dns::system::SystemResolver;
use clients::http::Tls;
use clients::imds::Imds;
use clients::secrets::{Error, SecretReference, resolve_with};
use proptest::prelude::*;
use sandbox::aws::{Front, Vault};
use sandbox::faults::Faults;
use sandbox::http::{Gate, ServiceName};
use sandbox::journal::Journal;
use sandbox::secrets::SecretsManager;
use secrecy::{ExposeSecret, SecretString};

const REGION: &str = "eu-central-1";
const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:bbb/Scalelite-a1B2c3";

fn parse(text: &str) -> SecretReference {
    SecretReference::parse(text).unwrap()
}

fn manager(id: &str, key: Option<&str>) -> SecretReference {
    SecretReference::SecretsManager { id: id.to_owned(), key: key.map(str::to_owned) }
}

#[test]
fn references_have_three_forms() {
    for (text, wanted) in [
        ("secretsmanager:Scalelite", manager("Scalelite", None)),
        ("secretsmanager:a/b_c+d=e.f@g-h#SECRET", manager("a/b_c+d=e.f@g-h", Some("SECRET"))),
        ("secretsmanager:x#a#b:c d", manager("x", Some("a#b:c d"))),
        (&format!("secretsmanager:{ARN}"), manager(ARN, None)),
        (&format!("secretsmanager:{ARN}#key"), manager(ARN, Some("key"))),
        ("file:/etc/bbb agent/secret:1", SecretReference::File("/etc/bbb agent/secret:1".into())),
        ("credential:scalelite.secret", SecretReference::Credential("scalelite.secret".to_owned())),
    ] {
        assert_eq!(parse(text), wanted);
        assert_eq!(wanted.to_string(), text);
        assert_eq!(wanted.needs_aws(), text.starts_with("secretsmanager:"));
        assert_eq!(text.parse::<SecretReference>().unwrap(), wanted);
    }
}

#[test]
fn anything_else_is_refused_without_an_echo() {
    for text in [
        "",
        "planted",
        "planted:planted",
        "Secretsmanager:planted",
        " file:/planted",
        "secretsmanager:",
        "secretsmanager:#planted",
        "secretsmanager:planted#",
        "secretsmanager:plan ted",
        "secretsmanager:plänted",
        "secretsmanager:planted:x",
        "secretsmanager:planted#a\nb",
        "secretsmanager:arn:aws:secretsmanager:eu-central-1:1:secret:",
        "secretsmanager:arn:aws:ssm:eu-central-1:1:parameter:planted",
        "secretsmanager:arn:planted",
        "file:",
        "file:planted",
        "file:./planted",
        "file:/planted\0",
        "credential:",
        "credential:.",
        "credential:..",
        "credential:../planted",
        "credential:a/planted",
        "credential:plan ted",
        "credential:a:planted",
    ] {
        let error = SecretReference::parse(text).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("plan") && !shown.contains("plän"), "{text}: {shown}");
        }
        for form in ["secretsmanager:NAME-OR-ARN#JSON-KEY", "file:/ABSOLUTE/PATH", "credential:NAME"] {
            assert!(error.to_string().contains(form), "{error}");
        }
    }
}

proptest! {
    #[test]
    fn what_parses_is_shown_as_it_was_written(
        text in "(secretsmanager|file|credential):[ -~äü\n]{0,12}|file:/.{0,12}|\\PC{0,12}",
    ) {
        if let Ok(reference) = SecretReference::parse(&text) {
            prop_assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn names_that_aws_allows_parse(id in "[A-Za-z0-9/_+=.@-]{1,40}", key in prop::option::of("[ -~]{1,20}")) {
        let reference = manager(&id, key.as_deref());
        prop_assert_eq!(SecretReference::parse(&reference.to_string()).unwrap(), reference);
    }

    #[test]
    fn a_pasted_secret_is_never_shown(secret in "[A-Z0-9]{12,64}", prefix in "|[a-z]+:|credential:/|file:|secretsmanager:!") {
        let error = SecretReference::parse(&format!("{prefix}{secret}")).unwrap_err();
        let shown = format!("{error}{error:?}");
        prop_assert!(!shown.contains(&secret));
    }
}

async fn file(path: &Path) -> Result<SecretString, Error> {
    resolve_with(&SecretReference::File(path.to_owned()), None, None).await
}

/// Checks that an error is permanent and that its words hold these texts and no part of a secret.
#[track_caller]
fn unusable(result: Result<SecretString, Error>, wanted: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }) && !error.is_retryable(), "{error:?}");
    says(&error, wanted);
}

#[track_caller]
fn says(error: &Error, wanted: &[&str]) {
    for wanted in wanted {
        assert!(error.to_string().contains(wanted), "{wanted} is not in {error}");
    }
    assert!(!format!("{error}{error:?}").contains("planted"), "{error:?}");
}

#[tokio::test]
async fn files_hold_secrets_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    for (content, wanted) in [("a b", "a b"), (" ü€\\n \n", " ü€\\n "), ("x\r\n", "x"), ("x\ny\n\n", "x\ny")]
    {
        fs::write(&path, content).unwrap();
        assert_eq!(file(&path).await.unwrap().expose_secret(), wanted);
    }
    fs::write(&path, "x".repeat(64 * 1024)).unwrap();
    assert_eq!(file(&path).await.unwrap().expose_secret().len(), 64 * 1024);

    let name = path.to_str().unwrap();
    fs::write(&path, "planted".repeat(11_000)).unwrap();
    unusable(file(&path).await, &[name, "larger than 65536 bytes"]);
    for empty in ["", "\n", " \r\n"] {
        fs::write(&path, empty).unwrap();
        unusable(file(&path).await, &[name, "is empty"]);
    }
    fs::write(&path, b"planted\xff").unwrap();
    unusable(file(&path).await, &[name, "not UTF-8"]);
    fs::remove_file(&path).unwrap();
    unusable(file(&path).await, &[name, "does not exist"]);
    unusable(file(Path::new("/dev/zero")).await, &["/dev/zero is not a regular file"]);
    unusable(file(directory.path()).await, &["is not a regular file"]);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            // The most verbose level that `log.level` allows; at TRACE the SDK logs whole answers.
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

#[tokio::test]
async fn a_file_that_others_can_read_is_used_with_a_warning() {
    let log = Log::default();
    let _guard = log.listen();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "planted").unwrap();
    for (mode, warns) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        log.0.lock().unwrap().clear();
        // Another test may have reached the same line first, in a thread without a subscriber.
        tracing::callsite::rebuild_interest_cache();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(file(&path).await.unwrap().expose_secret(), "planted");
        let text = log.text();
        assert_eq!(text.contains("WARN") && text.contains(&format!("mode {mode:04o}")), warns, "{text}");
        assert!(!text.contains("planted"));
    }
}

#[tokio::test]
async fn credentials_come_from_the_directory_that_systemd_gives() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("scalelite"), "planted\n").unwrap();
    let reference = parse("credential:scalelite");
    let secret = resolve_with(&reference, None, Some(directory.path())).await.unwrap();
    assert_eq!(secret.expose_secret(), "planted");
    assert!(!format!("{secret:?}").contains("planted"));
    let other = parse("credential:other");
    unusable(
        resolve_with(&other, None, Some(directory.path())).await,
        &["credential:other", "does not exist"],
    );
    unusable(
        resolve_with(&reference, None, None).await,
        &["credential:scalelite", "LoadCredential=scalelite:"],
    );
}

struct Cloud {
    secrets: Arc<SecretsManager>,
    front: Arc<Front>,
    faults: Faults,
    aws: SdkConfig,
    /// The service stops listening when this is dropped.
    _gate: Gate,
}

/// Returns the agents' own settings, with a key that the sandbox knows.
async fn aws(url: &str) -> SdkConfig {
    let names = SystemResolver::asking(Vec::new());
    let imds = Imds::new("http://127.0.0.1:1").unwrap();
    let settings = sdk_config(&Tls::new(None), &names, &imds, REGION, None).await.unwrap();
    let key = Credentials::new("AKIAIOSFODNN7EXAMPLE", "a secret key of nobody", None, None, "test");
    let key = SharedCredentialsProvider::new(key);
    settings.into_builder().endpoint_url(url).credentials_provider(key).build()
}

async fn cloud() -> Cloud {
    let vault = Vault::new();
    vault.add_user("AKIAIOSFODNN7EXAMPLE", "a secret key of nobody");
    let front = Front::new(REGION, vault);
    let secrets = SecretsManager::new("123456789012", REGION);
    front.serve(secrets.clone());
    let faults = Faults::default();
    let any = ([127, 0, 0, 1], 0).into();
    let (address, gate) =
        Gate::listen(any, true, None, front.route(), faults.clone(), Journal::default()).await.unwrap();
    let aws = aws(&format!("http://{address}")).await;
    Cloud { secrets, front, faults, aws, _gate: gate }
}

impl Cloud {
    async fn read(&self, reference: &str) -> Result<SecretString, Error> {
        resolve_with(&parse(reference), Some(&self.aws), None).await
    }
}

#[tokio::test]
async fn secrets_manager_gives_whole_texts_and_json_keys() {
    let cloud = cloud().await;
    let arn = cloud
        .secrets
        .put("bbb/Scalelite", r#"{"SECRET":"planted & / $ % ' \" | \\ , ü€😀 \n","n":1,"o":{},"e":" "}"#);
    for id in ["bbb/Scalelite", &arn] {
        let secret = cloud.read(&format!("secretsmanager:{id}#SECRET")).await.unwrap();
        assert_eq!(secret.expose_secret(), "planted & / $ % ' \" | \\ , ü€😀 \n");
        assert!(cloud.read(&format!("secretsmanager:{id}")).await.unwrap().expose_secret().starts_with('{'));
    }
    let key = |key: &str| format!("secretsmanager:bbb/Scalelite#{key}");
    unusable(cloud.read(&key("secret")).await, &["bbb/Scalelite#secret", "no key secret"]);
    unusable(cloud.read(&key("n")).await, &["JSON key n is not a string"]);
    unusable(cloud.read(&key("o")).await, &["JSON key o is not a string"]);
    unusable(cloud.read(&key("e")).await, &["empty"]);

    for text in ["planted", "\"planted\"", "[\"planted\"]", "{\"SECRET\":\"planted\""] {
        cloud.secrets.put("plain", text);
        unusable(cloud.read("secretsmanager:plain#SECRET").await, &["plain#SECRET", "not a JSON object"]);
    }
    cloud.secrets.put("plain", "planted\n");
    assert_eq!(cloud.read("secretsmanager:plain").await.unwrap().expose_secret(), "planted");
    cloud.secrets.put("plain", "\n");
    unusable(cloud.read("secretsmanager:plain").await, &["secretsmanager:plain", "empty"]);
    cloud.secrets.put_binary("binary", b"planted");
    unusable(cloud.read("secretsmanager:binary").await, &["secretsmanager:binary", "binary"]);
    cloud.secrets.delete("plain");
    unusable(cloud.read("secretsmanager:plain").await, &["secretsmanager:plain", "marked for deletion"]);
}

#[tokio::test]
async fn failures_of_secrets_manager_are_told_apart() {
    let cloud = cloud().await;
    cloud.secrets.put("there", "planted");
    let error = cloud.read("secretsmanager:absent#k").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }) && !error.is_retryable(), "{error:?}");
    says(&error, &["secretsmanager:absent#k", "region and account"]);

    cloud.front.deny("secretsmanager:GetSecretValue");
    let error = cloud.read("secretsmanager:there").await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && !error.is_retryable(), "{error:?}");
    says(&error, &["secretsmanager:there", "secretsmanager:GetSecretValue", "kms:Decrypt"]);
    cloud.front.allow("secretsmanager:GetSecretValue");

    let fail = |status, code: &str| {
        let fault = sandbox::faults::Fault::Error { status, code: code.to_owned() };
        cloud.faults.plan(sandbox::faults::Planned {
            service: ServiceName::SecretsManager,
            action: None,
            fault,
            times: Some(1),
        });
    };
    fail(400, "ThrottlingException");
    let error = cloud.read("secretsmanager:there").await.unwrap_err();
    assert!(matches!(error, Error::Throttled { .. }) && error.is_retryable(), "{error:?}");
    says(&error, &["secretsmanager:there", "throttles"]);

    fail(500, "InternalServiceError");
    let error = cloud.read("secretsmanager:there").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error:?}");
    says(&error, &["secretsmanager:there"]);

    assert_eq!(cloud.read("secretsmanager:there").await.unwrap().expose_secret(), "planted");
    let error = resolve_with(&parse("secretsmanager:there"), None, None).await.unwrap_err();
    assert!(matches!(error, Error::NoAws { .. }) && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_worth_another_try() {
    let aws = aws("http://127.0.0.1:1").await;
    let error = resolve_with(&parse("secretsmanager:there"), Some(&aws), None).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error:?}");
    says(&error, &["secretsmanager:there", "connection refused"]);
}

#[tokio::test]
async fn secrets_are_not_logged_at_any_level_that_an_agent_has() {
    let log = Log::default();
    let _guard = log.listen();
    let cloud = cloud().await;
    cloud.secrets.put("there", r#"{"key":"planted"}"#);
    let secret = cloud.read("secretsmanager:there#key").await.unwrap();
    tracing::info!("{secret:?} was read");
    let text = log.text();
    assert!(text.contains("was read"));
    assert!(!text.contains("planted"), "{text}");
}
