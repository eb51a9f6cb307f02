//! A Scalelite on a port of its own, how to call it, and BBB hosts for it.

use std::net::SocketAddr;
use std::sync::Arc;

use sandbox::bbb::checksum::{Algorithm, sign};
use sandbox::bbb::{BbbHost, Network};
use sandbox::faults::Faults;
use sandbox::http::{Gate, Request, Service};
use sandbox::journal::Journal;
use sandbox::scalelite::{Config, Scalelite};
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "lb-secret";
pub(crate) const HOST_SECRET: &str = "host's & secret";

pub(crate) struct World {
    pub(crate) scalelite: Arc<Scalelite>,
    pub(crate) base: String,
    pub(crate) faults: Faults,
    pub(crate) client: reqwest::Client,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert!(self.content_type.starts_with("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// An XML refusal with HTTP status 200.
    #[track_caller]
    pub(crate) fn refused(&self, key: &str) {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(self.content_type.starts_with("application/xml"), "{self:?}");
        let document = roxmltree::Document::parse(&self.body).unwrap();
        let text =
            |name| document.descendants().find(|node| node.has_tag_name(name)).and_then(|node| node.text());
        assert_eq!((text("returncode"), text("messageKey")), (Some("FAILED"), Some(key)), "{self:?}");
        assert!(text("message").is_some());
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &Value) {
        assert_eq!((self.status, &self.json()), (status, body), "{self:?}");
    }
}

async fn serve(service: Arc<dyn Service>, faults: Faults, journal: Journal) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let route = Arc::new(move |_: &Request| Arc::clone(&service));
    let (address, gate) = Gate::listen(any, true, None, route, faults, journal).await.unwrap();
    // A gate that is dropped accepts nothing any more; these serve until the test's runtime ends.
    std::mem::forget(gate);
    address
}

pub(crate) async fn world_with(config: Config) -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let scalelite = Scalelite::new(config, Network::plain());
    let faults = Faults::default();
    let address = serve(scalelite.clone(), faults.clone(), Journal::default()).await;
    World { scalelite, base: format!("http://{address}"), faults, client: reqwest::Client::new() }
}

pub(crate) async fn world() -> World {
    world_with(Config::new(SECRET)).await
}

/// A BBB host on a port of its own, with the URL under which Scalelite knows it.
pub(crate) async fn bbb() -> (Arc<BbbHost>, String) {
    let (host, url, _, _) = faulty_bbb().await;
    (host, url)
}

/// A BBB host with its faults and with the requests that came to it.
pub(crate) async fn faulty_bbb() -> (Arc<BbbHost>, String, Faults, Journal) {
    let host = BbbHost::new(HOST_SECRET, "3.0.4");
    let (faults, journal) = (Faults::default(), Journal::default());
    let address = serve(host.clone(), faults.clone(), journal.clone()).await;
    (host, format!("http://{address}/bigbluebutton/api"), faults, journal)
}

impl World {
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let content_type =
            answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status: answer.status().as_u16(),
            content_type: content_type.unwrap_or_default(),
            body: answer.text().await.unwrap(),
        }
    }

    /// A request with this query as it stands.
    pub(crate) async fn raw(
        &self,
        method: &str,
        action: &str,
        query: &str,
        body: Option<(&str, &str)>,
    ) -> Answer {
        let url = format!("{}/scalelite/api/{action}?{query}", self.base);
        let mut request =
            self.client.request(method.parse().unwrap(), url).header("accept", "application/json");
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body.to_owned());
        }
        self.send(request).await
    }

    pub(crate) async fn get(&self, action: &str, query: &str) -> Answer {
        self.raw("GET", action, &sign(Algorithm::Sha256, action, query, SECRET), None).await
    }

    pub(crate) async fn post(&self, action: &str, body: &Value) -> Answer {
        let query = sign(Algorithm::Sha256, action, "", SECRET);
        self.raw("POST", action, &query, Some(("application/json", &body.to_string()))).await
    }

    pub(crate) async fn add(&self, url: &str) -> String {
        let added = self.post("addServer", &json!({ "server": { "url": url, "secret": HOST_SECRET } })).await;
        assert_eq!(added.status, 201, "{added:?}");
        added.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn update(&self, id: &str, server: Value) -> Answer {
        self.post("updateServer", &json!({ "id": id, "server": server })).await
    }

    pub(crate) async fn info(&self, id: &str) -> Value {
        self.get("getServerInfo", &format!("id={id}")).await.json()
    }

    pub(crate) async fn enabled(&self, url: &str) -> String {
        let id = self.add(url).await;
        assert_eq!(self.update(&id, json!({ "state": "enable" })).await.status, 200);
        self.scalelite.poll().await;
        id
    }

    pub(crate) async fn create_key(&self, meeting: &str) -> String {
        self.scalelite.create_meeting(meeting).await.unwrap_err().key
    }

    pub(crate) fn join_key(&self, meeting: &str) -> String {
        self.scalelite.join(meeting).unwrap_err().key
    }
}
