//! Certificates: the expiry of the one that a server on this host presents, and one for a whole fleet, which the agent
//! fetches from a secret ([`bundle`]) and a helper puts into place ([`store`]).
//!
//! # The presented certificate
//! The handshake is a client's, and any certificate is accepted: an expired one, or one of an unknown authority, is
//! just what the agent has to see. That is safe because the result is only a figure: no byte is sent after the
//! handshake, none is read, and the connection serves nothing else. An attacker who answered in the server's place
//! could falsify the figure and nothing more.

pub mod bundle;
mod fields;
pub mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use self::fields::{Fields, fields};
use crate::http;

/// An expiry that could not be determined.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// No server presents a certificate.
    #[error("no certificate at {address}: {why}")]
    None {
        /// The address that was asked.
        address: SocketAddr,
        /// The cause.
        why: String,
    },
    /// The certificate cannot be read.
    #[error("the certificate at {address} cannot be read: {why}")]
    Unreadable {
        /// The address that was asked.
        address: SocketAddr,
        /// The cause.
        why: String,
    },
}

/// Returns the end of validity, in seconds since 1970, of the certificate that the server at `address` presents to a
/// client that asks for `name`. Sets no time limit: the caller does.
pub async fn end(address: SocketAddr, name: &str) -> Result<u64, Error> {
    let none = |why: String| Error::None { address, why };
    let name = ServerName::try_from(name.to_owned()).map_err(|error| none(error.to_string()))?;
    let config = config().map_err(|error| none(error.to_string()))?;
    let stream = TcpStream::connect(address).await.map_err(|error| none(error.to_string()))?;
    let greeted = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = greeted.map_err(|error| none(http::chain(&error)))?;
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or_else(|| none("the server shows none".to_owned()))?;
    let fields = fields(certificate);
    fields.map(|fields| fields.end).map_err(|error| Error::Unreadable { address, why: error.to_string() })
}

fn config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let anybody = Arc::new(Anybody(Arc::clone(&provider)));
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth())
}

/// A verifier that accepts every certificate whose key the server has; only for reading its dates, see the module.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
