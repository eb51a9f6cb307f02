//! The expiry of the certificate that a server on this host presents.
//!
//! The handshake is a client's, and any certificate is accepted: an expired one, or one of an unknown authority, is
//! just what the agent has to see. That is safe because the result is only a figure: no byte is sent after the
//! handshake, none is read, and the connection serves nothing else. An attacker who answered in the server's place
//! could falsify the figure and nothing more.

use std::net::SocketAddr;
use std::sync::Arc;

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

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
    not_after(certificate).map_err(|error| Error::Unreadable { address, why: error.to_string() })
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

/// Returns the end of a certificate's validity (RFC 5280, 4.1), in seconds since 1970: the second time of `Certificate
/// { TBSCertificate { [0] version, serial, signature, issuer, Validity { notBefore, notAfter }, ... }, ... }`.
pub fn not_after(certificate: &[u8]) -> der::Result<u64> {
    let mut reader = SliceReader::new(certificate)?;
    reader.sequence(|certificate| {
        let end = certificate.sequence::<_, _, der::Error>(|tbs| {
            // Certificates of version 1 leave out the version.
            if Tag::peek(tbs)?.is_context_specific() {
                skip(tbs)?;
            }
            // Serial number, signature algorithm, issuer.
            (0..3).try_for_each(|_| skip(tbs))?;
            let end = tbs.sequence(|validity| {
                skip(validity)?;
                time(validity)
            })?;
            skip_rest(tbs)?;
            Ok(end)
        })?;
        skip_rest(certificate)?;
        Ok(end)
    })
}

fn time<'a>(reader: &mut impl Reader<'a>) -> der::Result<u64> {
    let since = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(since.as_secs())
}

fn skip<'a>(reader: &mut impl Reader<'a>) -> der::Result<()> {
    AnyRef::decode(reader).map(drop)
}

fn skip_rest<'a>(reader: &mut impl Reader<'a>) -> der::Result<()> {
    while !reader.is_finished() {
        skip(reader)?;
    }
    Ok(())
}
