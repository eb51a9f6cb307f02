//! Trust, limits and error messages of the HTTP clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clients::dns::system::SystemResolver;
use clients::http::{self, Limits, ReadError, Tls};
use futures_util::future::BoxFuture;
use sandbox::faults::{Fault, Faults, Planned};
use sandbox::http::{Gate, Request, Response, Service, ServiceName, reply};
use sandbox::journal::Journal;
use sandbox::tls::Authority;

const MARK: &str = "checksum=MARKED";

/// A service that redirects `/away`, echoes headers at `/headers`, and answers with ten bytes elsewhere.
struct Web;

impl Service for Web {
    fn name(&self) -> ServiceName {
        ServiceName::Scalelite
    }

    fn action(&self, request: &Request) -> String {
        request.path.clone()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let response = match request.path.as_str() {
            "/away" => {
                let mut response = reply(302, "text/plain", "");
                response.headers_mut().insert("location", "/ten".parse().unwrap());
                response
            }
            "/headers" => {
                let names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
                reply(200, "text/plain", format!("{} {}", request.header("user-agent"), names.join(",")))
            }
            _ => reply(200, "text/plain", "0123456789"),
        };
        Box::pin(std::future::ready(response))
    }

    fn error(&self, status: u16, _: &str) -> Response {
        reply(status, "text/plain", "")
    }
}

struct Rig {
    address: SocketAddr,
    /// The listener lives as long as this gate.
    gate: Gate,
    faults: Faults,
    journal: Journal,
    bundle: PathBuf,
    _directory: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        let bundle = directory.path().join("ca.pem");
        std::fs::write(&bundle, authority.pem()).unwrap();
        let acceptor = authority.acceptor(&["web.sandbox.test".into(), "127.0.0.1".into()]).unwrap();
        let (faults, journal) = (Faults::default(), Journal::default());
        let service: Arc<dyn Service> = Arc::new(Web);
        let (address, gate) = Gate::listen(
            (Ipv4Addr::LOCALHOST, 0).into(),
            true,
            Some(acceptor),
            Arc::new(move |_: &Request| Arc::clone(&service)),
            faults.clone(),
            journal.clone(),
        )
        .await
        .unwrap();
        Self { address, gate, faults, journal, bundle, _directory: directory }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}?{MARK}", self.address)
    }

    fn tls(&self) -> Tls {
        Tls::new(Some(self.bundle.clone()))
    }

    fn client(&self) -> reqwest::Client {
        http::client(&self.tls(), &SystemResolver::new(), Limits::default()).unwrap()
    }

    async fn failure(&self, client: &reqwest::Client, url: &str) -> String {
        let words = http::words(client.get(url).send().await.unwrap_err());
        assert!(!words.contains("MARKED") && !words.contains("https://"), "{words}");
        words
    }
}

fn load(path: &Path) -> String {
    Tls::new(Some(path.to_owned())).load().unwrap_err().to_string()
}

#[tokio::test]
async fn a_bad_bundle_is_named_with_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let good = Authority::new().unwrap().pem().to_owned();
    let broken = good.replacen("\n", "\n!!!!", 1);
    let cut = good.replace("-----END CERTIFICATE-----", "");
    let not_a_certificate = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let cases = [
        ("empty.pem", String::new(), "it has no certificate"),
        ("text.pem", "hello".into(), "it has no certificate"),
        ("broken.pem", broken, "certificate 1: "),
        ("cut.pem", cut, "certificate 1: "),
        ("second.pem", format!("{good}{not_a_certificate}"), "certificate 2: "),
    ];
    for (name, content, what) in cases {
        std::fs::write(at(name), content).unwrap();
        let error = load(&at(name));
        assert!(
            error.starts_with(&format!("the CA bundle {} is not usable: ", at(name).display())),
            "{error}"
        );
        assert!(error.contains(what), "{name}: {error}");
    }
    let missing = load(&at("missing.pem"));
    let expected = format!("cannot read the CA bundle {}: No such file", at("missing.pem").display());
    assert!(missing.starts_with(&expected), "{missing}");
}

#[tokio::test]
async fn nothing_is_read_before_it_is_needed_and_a_failure_is_not_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("late.pem");
    let tls = Tls::new(Some(path.clone()));
    assert!(tls.load().is_err());
    std::fs::write(&path, Authority::new().unwrap().pem()).unwrap();
    tls.load().unwrap();
    std::fs::remove_file(&path).unwrap();
    tls.load().unwrap();
    tls.rustls_config().unwrap();
}

#[tokio::test]
async fn the_bundle_is_trusted_and_nobody_else() {
    let rig = Rig::start().await;
    let response = rig.client().get(rig.url("/ten")).send().await.unwrap();
    assert_eq!(http::read_body(response, 10).await.unwrap(), b"0123456789");

    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("other.pem");
    std::fs::write(&path, Authority::new().unwrap().pem()).unwrap();
    let client = http::client(&Tls::new(Some(path)), &SystemResolver::new(), Limits::default()).unwrap();
    let words = rig.failure(&client, &rig.url("/ten")).await;
    assert!(words.starts_with("certificate not trusted: it was issued by an authority"), "{words}");

    let by_other_name = format!("https://localhost:{}/ten?{MARK}", rig.address.port());
    let words = rig.failure(&rig.client(), &by_other_name).await;
    assert!(words.starts_with("certificate not trusted: ") && words.contains("localhost"), "{words}");
}

#[tokio::test]
async fn a_connection_that_was_opened_ahead_carries_the_first_request() {
    let rig = Rig::start().await;
    let client = rig.client();
    for _ in 0..2 {
        http::open(&client, &rig.url("/ten")).await;
    }
    assert_eq!(rig.gate.connections(), 1);
    assert_eq!(rig.journal.entries(), [], "nothing is sent");
    assert_eq!(client.get(rig.url("/ten")).send().await.unwrap().status(), 200);
    assert_eq!(rig.gate.connections(), 1);
}

#[tokio::test]
async fn redirects_are_not_followed_and_headers_are_few() {
    let rig = Rig::start().await;
    assert_eq!(rig.client().get(rig.url("/away")).send().await.unwrap().status(), 302);
    assert_eq!(rig.journal.entries().len(), 1);

    let response = rig.client().get(rig.url("/headers")).send().await.unwrap();
    let body = String::from_utf8(http::read_body(response, 1000).await.unwrap()).unwrap();
    let (agent, names) = body.split_once(' ').unwrap();
    assert_eq!(agent, http::USER_AGENT);
    let mut names: Vec<&str> = names.split(',').collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "host", "user-agent"]);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let rig = Rig::start().await;
    let response = rig.client().get(rig.url("/ten")).send().await.unwrap();
    assert_eq!(http::read_body(response, 9).await, Err(ReadError::TooLong(9)));
}

#[tokio::test]
async fn failures_in_words_and_without_urls() {
    let rig = Rig::start().await;
    let plan = |fault| {
        let planned = Planned { service: ServiceName::Scalelite, action: None, fault, times: Some(1) };
        rig.faults.plan(planned);
    };
    plan(Fault::Close);
    let words = rig.failure(&rig.client(), &rig.url("/ten")).await;
    assert_eq!(words, "connection closed before the answer was complete");

    plan(Fault::Hang);
    let short = Limits { total: std::time::Duration::from_millis(300), ..Limits::default() };
    let impatient = http::client(&rig.tls(), &SystemResolver::new(), short).unwrap();
    assert_eq!(rig.failure(&impatient, &rig.url("/ten")).await, "no answer in time");

    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let words = rig.failure(&rig.client(), &format!("https://{nobody}/?{MARK}")).await;
    assert_eq!(words, "connection refused");

    let plain = format!("http://{}/?{MARK}", rig.address);
    assert!(!rig.failure(&rig.client(), &plain).await.is_empty(), "HTTP spoken to a TLS port");
    assert!(!rig.failure(&rig.client(), &format!("ftp://127.0.0.1/?{MARK}")).await.is_empty());
}

#[tokio::test]
async fn a_pinned_name_needs_no_resolver() {
    let rig = Rig::start().await;
    let nobody = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let names = SystemResolver::asking(vec![nobody]);
    let url = format!("https://web.sandbox.test:{}/ten?{MARK}", rig.address.port());

    let pin = Some(("web.sandbox.test".to_owned(), SocketAddr::new(rig.address.ip(), 0)));
    let pinned = http::local_client(&rig.tls(), &names, Limits::default(), pin).unwrap();
    assert_eq!(pinned.get(&url).send().await.unwrap().status(), 200);

    let unpinned = http::local_client(&rig.tls(), &names, Limits::default(), None).unwrap();
    let words = rig.failure(&unpinned, &url).await;
    assert!(words.contains("the name web.sandbox.test does not resolve"), "{words}");
}
