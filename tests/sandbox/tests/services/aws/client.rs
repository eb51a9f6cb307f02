//! A small AWS client: signs with the SDK's own signer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::{Client, StatusCode};
use sandbox::aws::Keys;
use sandbox::cloud::{Cloud, Options};

pub(crate) const ID: &str = "i-0123456789abcdef0";

/// What is sent, and how it is signed.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) service: &'static str,
    pub(crate) region: &'static str,
    /// Added to the time of the signature, in seconds.
    pub(crate) skew: i64,
}

impl Call {
    pub(crate) fn ec2(form: &str) -> Self {
        Self::form("ec2", format!("Version=2016-11-15&{form}"))
    }

    pub(crate) fn autoscaling(form: &str) -> Self {
        Self::form("autoscaling", format!("Version=2011-01-01&{form}"))
    }

    pub(crate) fn form(service: &'static str, body: String) -> Self {
        Self::post(service, "/", &[("content-type", "application/x-www-form-urlencoded")], body.into_bytes())
    }

    pub(crate) fn secret(body: &serde_json::Value) -> Self {
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "secretsmanager.GetSecretValue"),
        ];
        Self::post("secretsmanager", "/", &headers, body.to_string().into_bytes())
    }

    pub(crate) fn post(service: &'static str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self {
            method: "POST",
            path: path.to_owned(),
            headers,
            body,
            service,
            region: "eu-central-1",
            skew: 0,
        }
    }

    pub(crate) fn get(service: &'static str, region: &'static str, path: &str) -> Self {
        Self { method: "GET", region, ..Self::post(service, path, &[], Vec::new()) }
    }
}

pub(crate) struct Aws {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) client: Client,
}

impl Aws {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cloud = Cloud::start(Options::default()).await.unwrap();
        Self { cloud, client: Client::builder().no_proxy().build().unwrap() }
    }

    pub(crate) fn keys(&self) -> Keys {
        self.cloud.vault.role("bbb-fleet-host")
    }

    /// Signed with the role's keys.
    pub(crate) async fn send(&self, call: &Call) -> (StatusCode, String) {
        let (status, body) = self.send_with(call, &self.keys()).await;
        (status, String::from_utf8(body).unwrap())
    }

    pub(crate) async fn send_with(&self, call: &Call, keys: &Keys) -> (StatusCode, Vec<u8>) {
        let request = self.signed(call, keys);
        let response = self.client.execute(request).await.unwrap();
        (response.status(), response.bytes().await.unwrap().to_vec())
    }

    pub(crate) fn signed(&self, call: &Call, keys: &Keys) -> reqwest::Request {
        let url = format!("{}{}", self.cloud.aws_url(), call.path);
        let token = keys.session_token.clone();
        let identity = Credentials::new(&keys.access_key, &keys.secret_key, token, None, "test").into();
        let now = SystemTime::now();
        let skew = Duration::from_secs(call.skew.unsigned_abs());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(call.region)
            .name(call.service)
            .time(if call.skew < 0 { now - skew } else { now + skew })
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // S3's clients sign what they say of the body, and not the body.
        let said = call.headers.iter().find(|(name, _)| name == "x-amz-content-sha256");
        let body =
            said.map_or(SignableBody::Bytes(&call.body), |(_, said)| SignableBody::Precomputed(said.clone()));
        let signable = SignableRequest::new(call.method, &url, headers, body).unwrap();
        let instructions = sign(signable, &params).unwrap().into_parts().0;
        let mut request = self.client.request(call.method.parse().unwrap(), &url).body(call.body.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        for (name, value) in instructions.headers() {
            request = request.header(name, value);
        }
        request.build().unwrap()
    }
}

/// The texts of all elements of this name.
pub(crate) fn texts(xml: &str, name: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(xml).unwrap();
    let nodes = document.descendants().filter(|node| node.tag_name().name() == name);
    nodes.map(|node| node.text().unwrap_or_default().to_owned()).collect()
}

/// The text of the one element of this name.
pub(crate) fn text(xml: &str, name: &str) -> String {
    let all = texts(xml, name);
    assert_eq!(all.len(), 1, "{name} in {xml}");
    all[0].clone()
}
