//! The agent's requests, made again by hand from what the cloud noted of them.

use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bench::script::{Connection, ID, ID_LENGTH, Keep, Question, Script, Step, TOKEN};
use sandbox::bbb::checksum::{self, Algorithm};
use sandbox::cloud::{Cloud, Host, SCALELITE_SECRET_ID};
use sandbox::dns::Query;
use sandbox::http::ServiceName;
use sandbox::journal::Entry;
use sandbox::route53::RecordSet;

use crate::Error;

const IMDS: usize = 0;
const AWS: usize = 1;
const BBB: usize = 2;
const SCALELITE: usize = 3;

/// Makes the requests of one recorded run again. Signatures hold for five minutes, so a script is for one run.
pub(crate) struct Recording {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) host: Arc<Host>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) queries: Vec<Query>,
    /// What the run created.
    pub(crate) records: Vec<RecordSet>,
    pub(crate) bbb_secret: String,
    pub(crate) scalelite_secret: String,
}

impl Recording {
    /// The floor's script.
    pub(crate) fn script(&self, authorities: &std::path::Path) -> Result<Script, Error> {
        let mut steps = Vec::new();
        let mut dns = Some(self.questions()?);
        for entry in &self.entries {
            // The name servers are asked once it is known who the host is.
            if entry.service != ServiceName::Imds
                && let Some(questions) = dns.take()
            {
                steps.push(Step::Dns(questions));
            }
            steps.push(self.step(entry)?);
        }
        if let Some(questions) = dns.take() {
            steps.push(Step::Dns(questions));
        }
        let local = "127.0.0.1".to_owned();
        let bbb_name = authority_of(&self.host.bbb_url);
        let bbb_name = bbb_name.split(':').next().unwrap_or_default().to_owned();
        let address = |url: &str| authority_of(url).parse();
        let connections = vec![
            Connection { address: self.host.imds_address(), tls: None },
            Connection { address: self.cloud.aws_address(), tls: Some(local.clone()) },
            Connection { address: self.host.bbb_address(), tls: Some(bbb_name) },
            Connection { address: address(&self.cloud.scalelite_url())?, tls: Some(local) },
        ];
        Ok(Script { authorities: authorities.to_owned(), connections, steps })
    }

    fn step(&self, entry: &Entry) -> Result<Step, Error> {
        match (entry.service, entry.action.as_str()) {
            (ServiceName::Imds, action) => Ok(self.imds(action)),
            (ServiceName::Route53, "ChangeResourceRecordSets") => self.change(),
            (ServiceName::SecretsManager, "GetSecretValue") => self.secret(),
            (ServiceName::Bbb, "version") => Ok(get(BBB, &self.host.bbb_url, "/bigbluebutton/api")),
            (ServiceName::Bbb, call) => {
                let query = checksum::sign(Algorithm::Sha256, call, "", &self.bbb_secret);
                Ok(get(BBB, &self.host.bbb_url, &format!("/bigbluebutton/api/{call}?{query}")))
            }
            (ServiceName::Scalelite, call) => Ok(self.scalelite(call)),
            (service, action) => Err(format!("the floor does not know {service:?} {action}").into()),
        }
    }

    fn imds(&self, action: &str) -> Step {
        let host = self.host.imds_address();
        let (header, keep) = match action.starts_with("PUT") {
            true => (
                "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\nContent-Length: 0".to_owned(),
                Some(Keep::Token),
            ),
            false => (format!("X-aws-ec2-metadata-token: {TOKEN}"), None),
        };
        let request = format!("{action} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n");
        Step::Http { connection: IMDS, request, keep }
    }

    fn change(&self) -> Result<Step, Error> {
        let sets: Vec<String> = self.records.iter().map(create).collect();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ChangeResourceRecordSetsRequest \
             xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>{}</Changes></ChangeBatch>\
             </ChangeResourceRecordSetsRequest>",
            sets.concat()
        );
        let path = format!("/2013-04-01/hostedzone/{}/rrset", self.cloud.zone_id);
        self.signed("route53", &path, &[("content-type", "application/xml")], &body)
    }

    fn secret(&self) -> Result<Step, Error> {
        let body = serde_json::json!({ "SecretId": SCALELITE_SECRET_ID }).to_string();
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "secretsmanager.GetSecretValue"),
        ];
        self.signed("secretsmanager", "/", &headers, &body)
    }

    fn signed(&self, service: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Step, Error> {
        let facts = self.host.imds.facts().ok_or("no such instance")?;
        let keys = self.cloud.vault.role(&facts.role.ok_or("the instance has no role")?);
        let identity =
            Credentials::new(keys.access_key, keys.secret_key, keys.session_token, None, "bench").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&facts.region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?;
        let url = format!("{}{path}", self.cloud.aws_url());
        let signable = SignableRequest::new(
            "POST",
            &url,
            headers.iter().copied(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let instructions = sign(signable, &params.into())?.into_parts().0;
        let signed = instructions.headers().map(|(name, value)| format!("{name}: {value}\r\n"));
        let given = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let head: String = given.chain(signed).collect();
        let host = authority_of(&self.cloud.aws_url()).to_owned();
        Ok(post(AWS, &host, path, &head, body, 0, None))
    }

    fn scalelite(&self, call: &str) -> Step {
        let url = self.cloud.scalelite_url();
        let query = checksum::sign(Algorithm::Sha256, call, "", &self.scalelite_secret);
        let path = format!("/scalelite/api/{call}?{query}");
        let own = self.host.scalelite_entry_url();
        let (body, keep) = match call {
            "addServer" => {
                let server = serde_json::json!({ "url": own, "secret": self.bbb_secret });
                (serde_json::json!({ "server": server }), Some(Keep::Id))
            }
            "updateServer" => (serde_json::json!({ "id": ID, "server": { "state": "enable" } }), None),
            _ => return get(SCALELITE, &url, &path),
        };
        let body = body.to_string();
        let growth = if body.contains(ID) { ID_LENGTH - ID.len() } else { 0 };
        let head = "Accept: application/json\r\nContent-Type: application/json\r\n";
        post(SCALELITE, authority_of(&url), &path, head, &body, growth, keep)
    }

    fn questions(&self) -> Result<Vec<Question>, Error> {
        let servers = self.cloud.dns.addresses();
        let question = |(number, query): (usize, &Query)| {
            let server = servers.get(query.server).copied().ok_or("no such name server")?;
            Ok(Question {
                server,
                message: message(u16::try_from(number)?, &query.name, &query.record_type)?,
            })
        };
        self.queries.iter().enumerate().map(question).collect()
    }
}

/// A DNS question (RFC 1035, 4.1) without desiring recursion.
fn message(id: u16, name: &str, kind: &str) -> Result<Vec<u8>, Error> {
    let kind: u16 = match kind {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "TXT" => 16,
        "AAAA" => 28,
        other => return Err(format!("the floor does not know the record type {other}").into()),
    };
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        message.push(u8::try_from(label.len())?);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    Ok(message)
}

fn create(set: &RecordSet) -> String {
    let values: String = set
        .values
        .iter()
        .map(|value| {
            let value = value.replace('&', "&amp;").replace('"', "&quot;");
            format!("<ResourceRecord><Value>{value}</Value></ResourceRecord>")
        })
        .collect();
    format!(
        "<Change><Action>CREATE</Action><ResourceRecordSet><Name>{}</Name><Type>{}</Type><TTL>{}</TTL>\
         <ResourceRecords>{values}</ResourceRecords></ResourceRecordSet></Change>",
        set.name,
        set.record_type.as_str(),
        set.ttl.unwrap_or_default(),
    )
}

fn get(connection: usize, url: &str, path: &str) -> Step {
    let host = authority_of(url);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    Step::Http { connection, request, keep: None }
}

/// A POST whose body will be longer by `growth` bytes when the floor sends it.
fn post(
    connection: usize,
    host: &str,
    path: &str,
    head: &str,
    body: &str,
    growth: usize,
    keep: Option<Keep>,
) -> Step {
    let length = body.len() + growth;
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{head}Content-Length: {length}\r\n\r\n{body}");
    Step::Http { connection, request, keep }
}

/// Host and port of a URL.
fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}
