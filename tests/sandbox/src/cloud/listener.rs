//! Listeners with their URLs, plain or with TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;

use super::{Error, Options};
use crate::bbb::Network;
use crate::faults::Faults;
use crate::http::{Delay, Gate, Route, Service};
use crate::journal::Journal;
use crate::tls::Authority;

/// The parts that all listeners share.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) faults: Faults,
    pub(super) journal: Journal,
    tls: Option<(Authority, PathBuf)>,
}

/// One listener.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) gate: Gate,
    tls: bool,
}

impl Net {
    /// Prepares listeners; the authority's certificate is written into this directory.
    pub(super) fn new(options: &Options, directory: &Path) -> Result<Self, Error> {
        let mut tls = None;
        if options.tls {
            let (authority, path) = (Authority::new()?, directory.join("ca.pem"));
            std::fs::write(&path, authority.pem())?;
            tls = Some((authority, path));
        }
        Ok(Self { faults: Faults::default(), journal: Journal::default(), tls })
    }

    pub(super) fn authority(&self) -> Option<&Authority> {
        self.tls.as_ref().map(|(authority, _)| authority)
    }

    pub(super) fn ca_file(&self) -> Option<&Path> {
        self.tls.as_ref().map(|(_, path)| path.as_path())
    }

    /// Returns the network by which Scalelite reaches the hosts.
    pub(super) fn network(&self) -> Result<Network, Error> {
        match self.authority() {
            Some(authority) => Network::trusting(authority.pem()),
            None => Ok(Network::plain()),
        }
    }

    /// Starts a listener for one service.
    pub(super) async fn serve(
        &self,
        address: SocketAddr,
        open: bool,
        may_use_tls: bool,
        names: &[String],
        service: Arc<dyn Service>,
        delay: Delay,
    ) -> Result<Listener, Error> {
        self.listen(address, open, may_use_tls, names, Arc::new(move |_| Arc::clone(&service)), delay).await
    }

    /// Starts a listener with a certificate for these names, its address and `localhost`.
    pub(super) async fn listen(
        &self,
        address: SocketAddr,
        open: bool,
        may_use_tls: bool,
        names: &[String],
        route: Route,
        delay: Delay,
    ) -> Result<Listener, Error> {
        let mut names = names.to_vec();
        names.extend([address.ip().to_string(), "localhost".to_owned()]);
        let authority = self.authority().filter(|_| may_use_tls);
        let acceptor = authority.map(|authority| authority.acceptor(&names)).transpose()?;
        let tls = acceptor.is_some();
        let (faults, journal) = (self.faults.clone(), self.journal.clone());
        let (address, gate) =
            Gate::listen_far_away(address, open, acceptor, route, faults, journal, delay).await?;
        let listener = Listener { address, gate, tls };
        if !open {
            listener.close().await;
        }
        Ok(listener)
    }
}

impl Listener {
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }

    /// Returns the URL with a name in place of the address; default ports are left out.
    pub(super) fn url_as(&self, name: &str) -> String {
        match (self.scheme(), self.address.port()) {
            (scheme @ "http", 80) | (scheme @ "https", 443) => format!("{scheme}://{name}"),
            (scheme, port) => format!("{scheme}://{name}:{port}"),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Closes the listener. The gate acts in its own task, so it is closed only once a connection is refused.
    pub(super) async fn close(&self) {
        self.gate.close();
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn open(&self) {
        self.gate.open();
        while TcpStream::connect(self.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
