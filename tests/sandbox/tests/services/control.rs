//! The control API over real sockets, and the cloud as a whole.

use std::sync::Arc;

use reqwest::{Client, Method};
use sandbox::cloud::{Cloud, HostOptions, Options};
use sandbox::control::Control;
use sandbox::http::ServiceName;
use sandbox::scalelite::ServerState;
use serde_json::{Value, json};

const ID: &str = "i-0123456789abcdef0";

struct Api {
    cloud: Arc<Cloud>,
    client: Client,
    control: Control,
}

impl Api {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cloud = Cloud::start(Options::default()).await.unwrap();
        let control = Control::start(Arc::clone(&cloud), ([127, 0, 0, 1], 0).into()).await.unwrap();
        Self { cloud, client: Client::builder().no_proxy().build().unwrap(), control }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let method: Method = method.parse().unwrap();
        let request = self
            .client
            .request(method, format!("http://{}{path}", self.control.address()))
            .body(body.to_owned());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = self.send(method, path, &body).await;
        assert_eq!(status, 200, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// An entry of the first host in Scalelite, polled.
    async fn joined(&self) -> String {
        let host = self.cloud.host(ID).unwrap();
        let url = host.scalelite_entry_url();
        let id = self.cloud.scalelite.add_server(&url, "sandbox-bbb-secret", ServerState::Enabled);
        self.cloud.scalelite.poll().await;
        id
    }
}

/// Method, path and body of a curl command as `GET /` shows it.
fn parse(command: &str) -> (String, String, String) {
    let method = command.split(" -X ").nth(1).map_or("GET", |rest| rest.split(' ').next().unwrap());
    let mut quoted = command.split('\'').skip(1).step_by(2);
    let url = quoted.next().unwrap();
    let path = url.strip_prefix("http://").unwrap().split_once('/').unwrap().1;
    (method.to_owned(), format!("/{path}"), quoted.next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn every_example_of_the_help_works() {
    let api = Api::start().await;
    let entry = api.joined().await;
    let (status, help) = api.send("GET", "/", "").await;
    assert_eq!(status, 200);
    let commands: Vec<&str> = help.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(commands.len() > 60, "{help}");
    for command in commands {
        let (method, path, body) = parse(command);
        let (status, answer) = api.send(&method, &path.replace("/ID", &format!("/{entry}")), &body).await;
        assert_eq!(status, 200, "{command}: {answer}");
        serde_json::from_str::<Value>(&answer).unwrap();
    }
}

#[tokio::test]
async fn bad_calls_are_refused_with_a_reason() {
    let api = Api::start().await;
    for (method, path, body, status, reason) in [
        ("GET", "/nothing", "", 404, "no such call: GET /nothing"),
        ("PATCH", "/state", "", 404, "no such call"),
        ("POST", "/faults", "{", 400, "the body"),
        ("POST", "/faults", r#"{"service":"nobody","kind":"hang"}"#, 400, "nobody"),
        ("POST", "/faults", r#"{"service":"imds","kind":"flood"}"#, 400, "flood"),
        ("DELETE", "/faults?service=nobody", "", 400, "no service nobody"),
        ("POST", "/gate/nobody/close", "", 400, "no service nobody"),
        ("POST", "/gate/route53/close?host=i-0123456789abcdef0", "", 400, "only imds and bbb"),
        ("POST", "/clock/advance", "{}", 400, "seconds"),
        ("GET", "/imds?host=i-1", "", 404, "no host i-1"),
        ("PATCH", "/imds", r#"{"public_ipv4":"here"}"#, 400, "invalid IPv4 address syntax"),
        ("PATCH", "/imds", r#"{"colour":"red"}"#, 400, "unknown field `colour`"),
        ("PATCH", "/imds", r#"{"instance_id":"i-1"}"#, 400, "cannot be changed"),
        ("POST", "/spot", r#"{"action":"explode"}"#, 400, "explode"),
        ("POST", "/hosts", r#"{"number":1}"#, 400, "2 to 250"),
        ("POST", "/hosts", r#"{"number":9,"group":"none"}"#, 404, "no group none"),
        ("GET", "/instances/i-1", "", 404, "no instance i-1"),
        ("POST", "/instances/i-1/hide", "", 409, "'i-1' does not exist"),
        ("PUT", "/instances/i-0123456789abcdef0/lifecycle", r#"{"state":"Asleep"}"#, 400, "Asleep"),
        ("POST", "/groups/none/scale-in", "", 409, "name not found - none"),
        ("DELETE", "/groups/bbb-fleet/hooks/none", "", 409, "none not found"),
        (
            "PUT",
            "/groups/bbb-fleet/hooks/h",
            r#"{"transition":"autoscaling:EC2_INSTANCE_LAUNCHING","heartbeat_timeout":1,"default_result":"CONTINUE"}"#,
            400,
            "30 to 7200",
        ),
        ("DELETE", "/secrets/none", "", 404, "no secret none"),
        ("GET", "/records?zone=Z0", "", 404, "no zone Z0"),
        (
            "PUT",
            "/records",
            r#"{"name":"www.example.com","type":"A","ttl":60,"values":["192.0.2.1"]}"#,
            409,
            "www.example.com",
        ),
        ("DELETE", "/records?name=www.example.org&type=A", "", 404, "not there"),
        ("DELETE", "/records?name=www.example.org", "", 400, "?type="),
        ("POST", "/dns/7/release", "", 404, "no name server 7"),
        ("PUT", "/dns/0/behaviour", r#""sing""#, 400, "sing"),
        ("POST", "/scalelite/poll-end", "", 409, "no poll was begun"),
        ("POST", "/scalelite/meetings", r#"{"id":"room"}"#, 409, "Could not find any available servers."),
        ("PUT", "/scalelite/servers/none/state", r#""enabled""#, 404, "no server none"),
        ("PATCH", "/scalelite/settings", r#"{"colour":"red"}"#, 400, "unknown field `colour`"),
        ("PATCH", "/scalelite/settings", r#"{"ids":"random"}"#, 400, "random"),
        ("PATCH", "/scalelite/settings", r#"{"response":-1}"#, 400, "response"),
        ("POST", "/bbb/meetings", "{}", 400, "needs an id"),
        ("DELETE", "/bbb/meetings/none", "", 404, "no meeting none"),
        ("POST", "/recordings", r#"{"id":"../x","stage":"recorded"}"#, 400, "is no id of BBB's"),
        ("POST", "/recordings", r#"{"id":"x","stage":"lost"}"#, 400, "lost"),
        ("POST", "/recordings/none/advance", "", 404, "no recording none"),
        ("PUT", "/redis", r#"{"manner":"rude"}"#, 400, "rude"),
        ("GET", "/recordings?host=i-1", "", 404, "no host i-1"),
    ] {
        let (got, text) = api.send(method, path, body).await;
        assert_eq!(got, status, "{method} {path} {body}: {text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(reason), "{method} {path} {body}: {error}");
    }
}

#[tokio::test]
async fn faults_and_requests_are_seen_and_steered() {
    let api = Api::start().await;
    let fault =
        json!({ "service": "scalelite", "action": "getServers", "kind": "error", "status": 503, "times": 1 });
    api.ok("POST", "/faults", &fault).await;
    assert_eq!(api.ok("GET", "/faults", &Value::Null).await[0]["kind"], "error");
    let url = format!("{}/scalelite/api/getServers", api.cloud.scalelite_url());
    assert_eq!(api.client.get(&url).send().await.unwrap().status(), 503);
    assert_ne!(api.client.get(&url).send().await.unwrap().status(), 503);
    let seen = api.ok("GET", "/requests", &Value::Null).await;
    assert_eq!(seen["requests"].as_array().unwrap().len(), 2);
    assert_eq!(seen["tally"], json!([{ "service": "scalelite", "action": "getServers", "count": 2 }]));
    api.ok("DELETE", "/requests", &Value::Null).await;
    assert!(api.cloud.journal.entries().is_empty());
    for service in ["imds", "bbb"] {
        api.ok("POST", "/faults", &json!({ "service": service, "kind": "hang" })).await;
    }
    api.ok("DELETE", "/faults?service=imds", &Value::Null).await;
    assert_eq!(api.cloud.faults.planned().len(), 1);
    api.ok("DELETE", "/faults", &Value::Null).await;
    assert!(api.cloud.faults.planned().is_empty());
    api.ok("POST", "/faults", &json!({ "service": "scalelite", "kind": "hold_reply", "times": 1 })).await;
    let steering = async {
        api.cloud.faults.held(1).await;
        api.ok("POST", "/faults/release", &Value::Null).await;
    };
    let (answer, _) = tokio::join!(api.client.get(&url).send(), steering);
    assert_ne!(answer.unwrap().status(), 503);
}

#[tokio::test]
async fn a_closed_gate_refuses_connections_until_it_opens() {
    let api = Api::start().await;
    let connect = |address| async move { tokio::net::TcpStream::connect(address).await.is_ok() };
    for (service, address) in [
        ("imds", api.cloud.imds_address()),
        ("bbb", api.cloud.bbb_address()),
        ("ec2", api.cloud.aws_address()),
    ] {
        api.ok("POST", &format!("/gate/{service}/close"), &Value::Null).await;
        assert!(!connect(address).await, "{service}");
        api.ok("POST", &format!("/gate/{service}/open"), &Value::Null).await;
        assert!(connect(address).await, "{service}");
    }
}

#[tokio::test]
async fn services_may_start_closed() {
    let closed = vec![ServiceName::Imds, ServiceName::Scalelite, ServiceName::Route53, ServiceName::Bbb];
    let cloud = Cloud::start(Options { closed: closed.clone(), ..Options::default() }).await.unwrap();
    let scalelite: std::net::SocketAddr =
        cloud.scalelite_url().strip_prefix("http://").unwrap().parse().unwrap();
    let addresses = [cloud.imds_address(), scalelite, cloud.aws_address(), cloud.bbb_address()];
    for (service, address) in closed.into_iter().zip(addresses) {
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "{service:?}");
        cloud.open(service).await;
        assert!(tokio::net::TcpStream::connect(address).await.is_ok(), "{service:?}");
    }
}

#[tokio::test]
async fn patched_facts_change_one_thing_only() {
    let api = Api::start().await;
    let before = api.ok("GET", "/imds", &Value::Null).await;
    let after = api.ok("PATCH", "/imds", &json!({ "public_ipv4": "203.0.113.99", "ipv6": null })).await;
    let mut expected = before;
    expected["public_ipv4"] = json!("203.0.113.99");
    expected["ipv6"] = Value::Null;
    assert_eq!(after, expected);
    assert_eq!(api.cloud.imds.facts().unwrap().ipv6, None);
}

#[tokio::test]
async fn a_scale_in_shows_in_the_instance() {
    let api = Api::start().await;
    assert_eq!(api.ok("POST", "/groups/scale-in", &Value::Null).await["chosen"], ID);
    let instance = api.ok("GET", &format!("/instances/{ID}"), &Value::Null).await;
    assert_eq!(instance["membership"][1]["state"], "Terminating:Wait");
    api.ok("POST", "/clock/advance", &json!({ "seconds": 901 })).await;
    let instance = api.ok("GET", &format!("/instances/{ID}"), &Value::Null).await;
    assert_eq!(instance["membership"][1]["state"], "Terminating:Proceed");
}

#[tokio::test]
async fn meetings_are_placed_on_the_host() {
    let api = Api::start().await;
    api.joined().await;
    let placed = api.ok("POST", "/scalelite/meetings", &json!({ "id": "room <1>" })).await;
    assert_eq!(placed["server"], api.cloud.host(ID).unwrap().scalelite_entry_url());
    assert!(api.cloud.bbb.meeting("room <1>").is_some());
    api.ok("DELETE", "/bbb/meetings/room%20%3C1%3E", &Value::Null).await;
    assert!(api.cloud.bbb.meeting("room <1>").is_none());
}

#[tokio::test]
async fn scalelite_is_made_unkind_and_counts_what_it_serves() {
    let api = Api::start().await;
    let before = api.ok("GET", "/scalelite/settings", &Value::Null).await;
    let patch = json!({ "ids": "hostname", "algorithms": ["sha512"], "stray_watches": { "workers": 2 } });
    let mut expected = before.clone();
    expected.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    expected["stray_watches"]["lost_deletes"] = json!(false);
    assert_eq!(api.ok("PATCH", "/scalelite/settings", &patch).await, expected);
    assert_eq!(api.cloud.scalelite.add_server("http://VC/x", "s", ServerState::Enabled), "vc");
    assert_eq!(api.ok("PATCH", "/scalelite/settings", &before).await, before);

    let url = format!("{}/scalelite/api/getServers", api.cloud.scalelite_url());
    api.client.get(&url).send().await.unwrap();
    let traffic = api.ok("GET", "/scalelite/traffic", &Value::Null).await;
    assert_eq!((&traffic["getServers"]["calls"], &traffic["getServers"]["rows"]), (&json!(1), &json!(0)));
    api.ok("DELETE", "/scalelite/traffic", &Value::Null).await;
    assert_eq!(api.ok("GET", "/scalelite/traffic", &Value::Null).await, json!({}));

    api.joined().await;
    assert!(api.cloud.scalelite.servers().iter().any(|server| server.online));
    api.ok("POST", "/scalelite/lose-data", &Value::Null).await;
    assert_eq!(api.cloud.scalelite.servers(), []);
    api.ok("PATCH", "/scalelite/settings", &json!({ "polled_at_once": false })).await;
    api.ok("PUT", "/scalelite/lose-polls", &json!(1)).await;
    api.joined().await;
    assert!(!api.cloud.scalelite.servers()[0].online, "the poll was lost");
}

#[tokio::test]
async fn installing_writes_the_files_and_removing_takes_them() {
    let host = HostOptions { installed: false, ..HostOptions::default() };
    let cloud = Cloud::start(Options { host, ..Options::default() }).await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let control = Control::start(Arc::clone(&cloud), ([127, 0, 0, 1], 0).into()).await.unwrap();
    let api = Api { cloud, client: Client::builder().no_proxy().build().unwrap(), control };
    let health = format!("http://{}/bigbluebutton/api", api.cloud.bbb_address());
    let file = api.cloud.files.overrides();
    assert!(!file.exists());
    assert_eq!(api.client.get(&health).send().await.unwrap().status(), 502);
    api.ok("POST", "/bbb/install", &json!({ "secret": "marked" })).await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("marked"), "{text}");
    assert_eq!(api.client.get(&health).send().await.unwrap().status(), 200);
    api.ok("POST", "/bbb/uninstall", &Value::Null).await;
    assert!(!file.exists());
}

#[tokio::test]
async fn hosts_can_be_added_and_have_an_imds_of_their_own() {
    let api = Api::start().await;
    let host = api.ok("POST", "/hosts", &json!({ "number": 2, "installed": false, "group": null })).await;
    let id = host["instance"].as_str().unwrap();
    assert_eq!(host["environment"]["AWS_EC2_METADATA_SERVICE_ENDPOINT"], host["imds"]);
    assert_ne!(host["imds"], json!(format!("http://{}", api.cloud.imds_address())));
    assert!(api.cloud.fleet.membership(id).is_none());
    let (status, _) = api.send("POST", "/hosts", r#"{"number":2}"#).await;
    assert_eq!(status, 409);
    let facts = api.ok("PATCH", &format!("/imds?host={id}"), &json!({ "public_ipv4": null })).await;
    assert_eq!(facts["instance_id"], id);
    assert!(api.cloud.imds.facts().unwrap().public_ipv4.is_some());
}

#[tokio::test]
async fn the_state_shows_everything_but_the_values_of_secrets() {
    let api = Api::start().await;
    api.ok("PUT", "/secrets/deep/secret", &json!("marked-secret-value")).await;
    let (status, state) = api.send("GET", "/state", "").await;
    assert_eq!(status, 200);
    assert!(!state.contains("marked-secret-value"));
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["instances"][0]["facts"]["instance_id"], ID);
    assert_eq!(state["groups"][0]["members"][ID]["state"], "InService");
    assert_eq!(state["records"].as_array().unwrap().len(), 2);
    let names: Vec<&str> =
        state["secrets"].as_array().unwrap().iter().map(|secret| secret["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bbb/scalelite", "deep/secret"]);
    let environment = &state["endpoints"]["environment"];
    assert_eq!(environment["AWS_ENDPOINT_URL"], api.cloud.aws_url().as_str());
    assert!(environment.get("AWS_REGION").is_none());
}

#[tokio::test]
async fn with_tls_everything_but_imds_has_a_certificate() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cloud = Cloud::start(Options::with_tls()).await.unwrap();
    let pem = std::fs::read(cloud.ca_file().unwrap()).unwrap();
    let authority = reqwest::Certificate::from_pem(&pem).unwrap();
    let host = cloud.host(ID).unwrap();
    let name = host.bbb_url.strip_prefix("https://").unwrap().split(':').next().unwrap().to_owned();
    assert_eq!(name, "vc-0123456789abcdef0.example.org");
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([authority])
        .resolve(&name, cloud.bbb_address())
        .resolve(sandbox::cloud::AWS_NAME, cloud.aws_address())
        .build()
        .unwrap();
    for (url, status) in [
        (format!("{}/bigbluebutton/api", cloud.bbb_url()), 200),
        (format!("https://{}/bigbluebutton/api", cloud.bbb_address()), 200),
        (format!("{}/scalelite/api/getServers", cloud.scalelite_url()), 200),
        (format!("{}/2013-04-01/hostedzone/Z0", cloud.aws_url()), 403),
        (format!("{}/2013-04-01/hostedzone/Z0", cloud.aws_url_by_name()), 403),
        (format!("http://{}/latest/meta-data/", cloud.imds_address()), 401),
    ] {
        let answer = client.get(&url).send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        assert_eq!(answer.status(), status, "{url}");
    }
    let stranger = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    assert!(stranger.get(cloud.aws_url()).send().await.is_err());
    let environment = cloud.environment();
    let file = environment.iter().find(|(name, _)| name == "SSL_CERT_FILE").unwrap();
    assert_eq!(std::path::Path::new(&file.1), cloud.ca_file().unwrap());
    // Scalelite reaches the host by its name, with TLS.
    cloud.scalelite.add_server(&host.scalelite_entry_url(), "sandbox-bbb-secret", ServerState::Enabled);
    cloud.scalelite.poll().await;
    assert!(cloud.scalelite.servers()[0].online);
}
