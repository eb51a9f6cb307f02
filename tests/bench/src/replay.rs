//! The agent's requests, recorded by the cloud, for the floor to make again; parts that must be new each time are
//! replaced.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bench::script::{Connection, ID, Keep, Question, Script, Step, TOKEN};
use sandbox::cloud::{Cloud, Host};
use sandbox::dns::Query;
use sandbox::http::{Request, ServiceName};

use crate::Error;

const IMDS: usize = 0;
const AWS: usize = 1;
const BBB: usize = 2;
const SCALELITE: usize = 3;

const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// The headers on which the meaning of a request depends. The others name the client, or are written anew.
const HEADERS: [&str; 6] = [
    "accept",
    "content-type",
    "smithy-protocol",
    "x-amz-target",
    TOKEN_HEADER,
    "x-aws-ec2-metadata-token-ttl-seconds",
];

/// The recorded requests of one run. Signatures hold for five minutes, so each run gets a script of its own.
pub(crate) struct Recording {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) host: Arc<Host>,
    pub(crate) requests: Vec<(ServiceName, Request)>,
    pub(crate) queries: Vec<Query>,
    /// The ids that Scalelite's entries had before the run, with their URLs.
    pub(crate) entries: BTreeMap<String, String>,
    /// The ids of the entries that the run added.
    pub(crate) added: Vec<String>,
}

impl Recording {
    /// Returns how many requests a service got.
    pub(crate) fn asked(&self, service: ServiceName) -> u64 {
        self.requests.iter().filter(|(asked, _)| *asked == service).map(|_| 1).sum()
    }

    /// Returns the floor's script for the present entries of Scalelite.
    pub(crate) fn script(&self, authorities: &Path) -> Result<Script, Error> {
        let ids = self.ids();
        let mut steps = Vec::new();
        let mut dns = Some(self.questions()?);
        for (service, request) in &self.requests {
            // The name servers are asked after the metadata service has told which host this is.
            if *service != ServiceName::Imds
                && let Some(questions) = dns.take()
            {
                steps.push(Step::Dns(questions));
            }
            steps.push(self.step(*service, request, &ids)?);
        }
        steps.extend(dns.take().map(Step::Dns));
        Ok(Script { authorities: authorities.to_owned(), connections: self.connections()?, steps })
    }

    fn connections(&self) -> Result<Vec<Connection>, Error> {
        let local = || Some("127.0.0.1".to_owned());
        let bbb_name = authority_of(&self.host.bbb_url).split(':').next().map(str::to_owned);
        let scalelite = authority_of(&self.cloud.scalelite_url()).parse()?;
        Ok(vec![
            Connection { address: self.host.imds_address(), tls: None },
            Connection { address: self.cloud.aws_address(), tls: local() },
            Connection { address: self.host.bbb_address(), tls: bbb_name },
            Connection { address: scalelite, tls: local() },
        ])
    }

    /// Returns the replacement of each recorded id: entries with the same URL correspond.
    fn ids(&self) -> Vec<(&str, String)> {
        let now: BTreeMap<String, String> =
            self.cloud.scalelite.servers().into_iter().map(|server| (server.url, server.id)).collect();
        let before = self.entries.iter().filter_map(|(id, url)| Some((id.as_str(), now.get(url)?.clone())));
        let added = self.added.iter().map(|id| (id.as_str(), ID.to_owned()));
        before.chain(added).collect()
    }

    fn step(&self, service: ServiceName, request: &Request, ids: &[(&str, String)]) -> Result<Step, Error> {
        let adds = service == ServiceName::Scalelite && request.path.ends_with("/addServer");
        let (connection, keep) = match service {
            ServiceName::Imds => (IMDS, (request.method == "PUT").then_some(Keep::Token)),
            ServiceName::Bbb => (BBB, None),
            ServiceName::Scalelite => (SCALELITE, adds.then_some(Keep::Id)),
            _ => (AWS, None),
        };
        let signature = if connection == AWS { self.signature(request)? } else { String::new() };
        let headers: String = HEADERS
            .iter()
            .map(|name| (name, request.header(name)))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}: {}\r\n", if *name == TOKEN_HEADER { TOKEN } else { value }))
            .collect();
        // CloudWatch's are no text.
        let text = std::str::from_utf8(&request.body).ok();
        let binary = if text.is_some() { Vec::new() } else { request.body.to_vec() };
        let mut body = text.unwrap_or_default().to_owned();
        let mut target = target(request);
        for (recorded, now) in ids {
            body = body.replace(recorded, now);
            target = target.replace(recorded, now);
        }
        // All ids have the same length, including the one that is inserted later.
        let length = request.body.len();
        let request = format!(
            "{} {target} HTTP/1.1\r\nHost: {}\r\n{headers}{signature}Content-Length: {length}\r\n\r\n{body}",
            request.method,
            request.header("host"),
        );
        Ok(Step::Http { connection, request, body: binary, keep })
    }

    /// Returns the headers that sign a request to AWS, for the region and the service of the original signature.
    fn signature(&self, request: &Request) -> Result<String, Error> {
        let facts = self.host.imds.facts().ok_or("no such instance")?;
        let keys = self.cloud.vault.role(&facts.role.ok_or("the instance has no role")?);
        let identity =
            Credentials::new(keys.access_key, keys.secret_key, keys.session_token, None, "bench").into();
        // Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=...
        let mut scope = request.header("authorization").split('/').skip(2);
        let (Some(region), Some(service)) = (scope.next(), scope.next()) else {
            return Err("a request to AWS without a signature".into());
        };
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?;
        let url = format!("https://{}{}", request.header("host"), target(request));
        let headers = HEADERS.map(|name| (name, request.header(name)));
        let headers = headers.into_iter().filter(|(_, value)| !value.is_empty());
        let body = SignableBody::Bytes(&request.body);
        let signable = SignableRequest::new(&request.method, &url, headers, body)?;
        let instructions = sign(signable, &params.into())?.into_parts().0;
        Ok(instructions.headers().map(|(name, value)| format!("{name}: {value}\r\n")).collect())
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

/// Returns a DNS question (RFC 1035, 4.1) that does not ask for recursion.
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

/// Returns the path and the query.
fn target(request: &Request) -> String {
    match request.query.as_str() {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    }
}

/// Returns the host and the port of a URL.
fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}
