//! The sandbox's own certificate authority, so that clients really verify TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// The sandbox's certificate authority: made anew at each start; its key never leaves the process.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// Makes a new authority.
    pub fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "bbb-agents sandbox");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Returns the certificate that clients have to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns a certificate of this authority for these names, and its key, both in PEM.
    pub fn issue(&self, names: &[String]) -> Result<[String; 2], rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = certified(names)?.signed_by(&key, &self.issuer)?;
        Ok([certificate.pem(), key.serialize_pem()])
    }

    /// Returns a TLS acceptor for these names and addresses, with a certificate of this authority.
    pub fn acceptor(
        &self,
        names: &[String],
    ) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
        self.acceptor_with(&certified(names)?)
    }

    /// Returns a TLS acceptor for these names and addresses, with a certificate that expired some years ago.
    pub fn expired_acceptor(
        &self,
        names: &[String],
    ) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
        let mut params = certified(names)?;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.acceptor_with(&params)
    }

    fn acceptor_with(
        &self,
        params: &CertificateParams,
    ) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Returns what a certificate for these names says. Python verifies strictly since 3.13: it wants to be told whose key has
/// signed it (RFC 5280, section 4.2.1.1).
fn certified(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}
