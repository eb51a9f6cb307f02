//! MiniStack, an emulator of AWS by other people, with its permissions switched on: processes, accounts, policies.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const BINARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin/ministack");

/// From one line of its output to the next; it starts in about 2 seconds.
const START: Duration = Duration::from_secs(60);

/// The account that everything is in.
pub(crate) const ACCOUNT: &str = "123456789012";

/// A running MiniStack; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct MiniStack {
    address: String,
    region: String,
    _process: Child,
    _directory: tempfile::TempDir,
}

/// An IAM user with an access key and one policy.
#[derive(Clone, Debug)]
pub(crate) struct User {
    name: String,
    /// Its access key and secret key.
    pub(crate) keys: (String, String),
}

impl MiniStack {
    /// Starts it on a free port of its own.
    pub(crate) async fn start(region: &str) -> Self {
        assert!(
            Path::new(BINARY).is_file(),
            "MiniStack is not installed in target/tools: run tests/prepare test"
        );
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(BINARY)
            .current_dir(directory.path())
            .env_clear()
            .env("HOME", directory.path())
            .env("PATH", "/usr/bin:/bin")
            .env("PYTHONUNBUFFERED", "1")
            // Port 0 chooses a free one. Without an address it would listen on all of them.
            .envs([("BIND_HOST", "127.0.0.1"), ("GATEWAY_PORT", "0"), ("AUTH", "true")])
            .envs([("MINISTACK_ACCOUNT_ID", ACCOUNT), ("MINISTACK_REGION", region)])
            .env("DOCKER_HOST", "unix:///nonexistent")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("MiniStack starts");
        let mut lines = BufReader::new(process.stderr.take().expect("its output")).lines();
        let mut said = Vec::new();
        let address = loop {
            let line = timeout(START, lines.next_line()).await.expect("MiniStack says where it is");
            let line = line.expect("its output");
            let line = line.unwrap_or_else(|| panic!("MiniStack ended: {}", said.join("\n")));
            if let Some((_, rest)) = line.split_once("Running on http://") {
                break rest.split(' ').next().unwrap_or_default().to_owned();
            }
            said.push(line);
        };
        // A pipe that nobody reads would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { address, region: region.to_owned(), _process: process, _directory: directory }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The SDK's settings with the account's own keys, which may do everything.
    pub(crate) async fn as_root(&self) -> SdkConfig {
        self.with_keys("test", "test").await
    }

    /// The SDK's settings with a user's keys.
    pub(crate) async fn as_user(&self, user: &User) -> SdkConfig {
        self.with_keys(&user.keys.0, &user.keys.1).await
    }

    async fn with_keys(&self, id: &str, secret: &str) -> SdkConfig {
        let imds = clients::imds::Imds::new(&self.url()).expect("an address");
        let names = clients::dns::system::SystemResolver::new();
        let tls = clients::http::Tls::new(None);
        let config =
            clients::aws::sdk_config(&tls, &names, &imds, &self.region, None).await.expect("settings");
        let keys = Credentials::new(id, secret, None, None, "conformance");
        config
            .into_builder()
            .endpoint_url(self.url())
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .build()
    }

    /// A user who may do what the policy says.
    pub(crate) async fn user(&self, name: &str, policy: &Value) -> User {
        self.iam(&[("Action", "CreateUser"), ("UserName", name)]).await;
        let answer = self.iam(&[("Action", "CreateAccessKey"), ("UserName", name)]).await;
        let field = |tag: &str| {
            let (_, rest) = answer.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("{answer}"));
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        let user = User { name: name.to_owned(), keys: (field("AccessKeyId"), field("SecretAccessKey")) };
        self.permit(&user, policy).await;
        user
    }

    /// Replaces what a user may do.
    pub(crate) async fn permit(&self, user: &User, policy: &Value) {
        let document = policy.to_string();
        let parameters = [
            ("Action", "PutUserPolicy"),
            ("UserName", &user.name),
            ("PolicyName", "agent"),
            ("PolicyDocument", &document),
        ];
        self.iam(&parameters).await;
    }

    /// A call of IAM's Query API with the account's own keys, whose signature MiniStack does not look at.
    async fn iam(&self, parameters: &[(&str, &str)]) -> String {
        let pairs = parameters.iter().map(|(name, value)| format!("&{name}={}", encode(value)));
        let body = format!("Version=2010-05-08{}", pairs.collect::<String>());
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{parameters:?}: {answer}");
        answer
    }
}

fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let bytes = text.bytes();
    bytes
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A shipped policy with its placeholders filled in.
pub(crate) fn shipped_policy(agent: &str, placeholders: &[(&str, &str)]) -> Value {
    let path = format!("{}/../../packaging/iam/{agent}.json", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(&path).expect("a policy");
    for (name, value) in placeholders {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    assert!(!text.contains("${"), "a placeholder is left in {path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// All actions that a policy allows.
pub(crate) fn actions(policy: &Value) -> Vec<String> {
    let statements = policy["Statement"].as_array().expect("statements");
    let allowing = statements.iter().filter(|statement| statement["Effect"] == "Allow");
    allowing.flat_map(|statement| listed(&statement["Action"])).collect()
}

/// The policy without one action.
pub(crate) fn without(policy: &Value, action: &str) -> Value {
    let mut reduced = policy.clone();
    let statements = reduced["Statement"].as_array_mut().expect("statements");
    for statement in statements.iter_mut() {
        let mut left = listed(&statement["Action"]);
        left.retain(|other| other != action);
        statement["Action"] = json!(left);
    }
    statements.retain(|statement| !listed(&statement["Action"]).is_empty());
    reduced
}

fn listed(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        other => other.as_str().map(str::to_owned).into_iter().collect(),
    }
}
