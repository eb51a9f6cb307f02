//! The common ground of the HTTP clients' tests: a stand-in behind a real socket, and answers that no stand-in gives.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sandbox::faults::{Fault, Faults, Planned};
use sandbox::http::{Gate, Request, Response, Service, ServiceName, reply};
use sandbox::journal::Journal;

/// A service that listens.
pub(crate) struct Served {
    address: SocketAddr,
    faults: Faults,
    service: ServiceName,
    /// The service stops listening when this is dropped.
    _gate: Gate,
}

impl Served {
    pub(crate) async fn start(service: Arc<dyn Service>) -> Self {
        let (service_name, faults) = (service.name(), Faults::default());
        let route = Arc::new(move |_: &Request| Arc::clone(&service));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listening = Gate::listen(any, true, None, route, faults.clone(), Journal::default());
        let (address, gate) = listening.await.unwrap();
        Self { address, faults, service: service_name, _gate: gate }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Plans a fault for the next request whose action contains this text.
    pub(crate) fn fail(&self, action: &str, fault: Fault) {
        let action = Some(action.to_owned());
        self.faults.plan(Planned { service: self.service, action, fault, times: Some(1) });
    }

    pub(crate) fn error(&self, action: &str, status: u16, code: &str) {
        self.fail(action, Fault::Error { status, code: code.to_owned() });
    }
}

/// A service that gives one answer to everything.
pub(crate) struct Canned {
    pub(crate) name: ServiceName,
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Service for Canned {
    fn name(&self) -> ServiceName {
        self.name
    }

    fn action(&self, request: &Request) -> String {
        request.path.clone()
    }

    fn answer<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Response> {
        let mut response = reply(self.status, self.content_type, self.body.clone());
        if (300..400).contains(&self.status) {
            let elsewhere = "http://127.0.0.1:9/?checksum=redirected".parse().unwrap();
            response.headers_mut().insert("location", elsewhere);
        }
        Box::pin(std::future::ready(response))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        reply(status, "text/plain", code.to_owned())
    }
}

/// Creates a client as the agents do; these tests need no TLS.
pub(crate) fn client() -> clients::http::Client {
    use clients::http::{Limits, Tls, client};
    client(&Tls::new(None), &clients::dns::system::SystemResolver::new(), Limits::default()).unwrap()
}
