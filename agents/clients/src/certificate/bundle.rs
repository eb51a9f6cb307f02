//! One certificate for a whole fleet: its chain and its private key, as a secret holds them.
//!
//! The secret's text is PEM, as certbot's `fullchain.pem` and `privkey.pem` one after the other, or a JSON object whose
//! values hold that, whatever its keys are called: the export of AWS Certificate Manager has `Certificate`,
//! `CertificateChain` and `PrivateKey`. The order of the parts does not matter, and neither do line breaks: the console
//! of Secrets Manager turns those in a value into spaces.
//!
//! Nothing here is written or sent. An error never quotes the secret.

use std::sync::Arc;
use std::time::Duration;

use plan::record::Name;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsProblem};
use rustls_pki_types::pem::PemObject;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::fields;
use crate::aws::utc;
use crate::http::{Tls, TlsError};
use crate::secrets;

/// The columns of a line of PEM (RFC 7468, section 2).
const COLUMNS: usize = 64;
/// The most bytes of a secret (Secrets Manager's quota), and so of a bundle.
pub const MAX_SIZE: usize = 64 * 1024;
/// The most certificates of a chain: the longest in use have four.
const MAX_CHAIN: usize = 10;

/// A secret that holds no certificate that this host can use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Defect {
    /// A part is no PEM, or no certificate or key.
    #[error("it is no PEM that can be read: {0}")]
    Unreadable(String),
    /// There is no certificate.
    #[error("it has no certificate (PEM: -----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// There is no private key.
    #[error("it has no private key (PEM: -----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// There is more than one private key.
    #[error("it has several private keys; leave the certificate's own")]
    SeveralKeys,
    /// The private key is encrypted.
    #[error(
        "its private key is encrypted, as AWS Certificate Manager exports it; store the output of openssl pkey, which asks \
         for the passphrase"
    )]
    EncryptedKey,
    /// No certificate has this key.
    #[error("its private key belongs to none of its certificates")]
    OtherKey,
    /// The certificate is for other names.
    #[error("its certificate is not for {name}; it needs that name or a wildcard for its domain")]
    OtherName {
        /// The host's name.
        name: Name,
    },
    /// The certificate has expired.
    #[error("its certificate has expired, at {}", utc(*end))]
    Expired {
        /// The end of its validity, in seconds since 1970.
        end: u64,
    },
    /// The certificate is not valid yet.
    #[error("its certificate is not valid before {}; is this host's clock right?", utc(*begin))]
    Early {
        /// The begin of its validity, in seconds since 1970.
        begin: u64,
    },
    /// No known authority has issued it, or the chain has a gap.
    #[error(
        "its chain leads to no authority that this host knows: an intermediate certificate is missing, or tls.ca_bundle has to \
         name the authority"
    )]
    UnknownAuthority,
    /// Clients would refuse it for another reason.
    #[error("clients would refuse its certificate: {0}")]
    Refused(String),
}

/// A certificate with its chain and its key, which fit together.
pub struct Bundle {
    /// The certificate, then those of the authorities between it and a root.
    chain: Vec<Certificate>,
    /// The key in PEM.
    key: Zeroizing<String>,
    /// The first half of the SHA-256 fingerprint of the certificate, in hexadecimal.
    fingerprint: String,
    begin: u64,
    end: u64,
}

#[derive(Clone)]
struct Certificate {
    der: CertificateDer<'static>,
    pem: String,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle")
            .field("certificates", &self.chain.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Bundle {
    /// Reads a bundle from the secret's text, and puts its parts into the order that servers need.
    pub fn parse(text: &str) -> Result<Self, Defect> {
        let joined = match text.trim_start().starts_with('{') {
            true => secrets::values(text).map_err(|why| Defect::Unreadable(why.to_owned()))?,
            false => Zeroizing::new(text.to_owned()),
        };
        let (mut certificates, mut keys) = (Vec::new(), Vec::new());
        for block in blocks(&joined)? {
            match block.label.as_str() {
                "CERTIFICATE" => certificates.push(certificate(&block)?),
                "ENCRYPTED PRIVATE KEY" => return Err(Defect::EncryptedKey),
                label if label.ends_with("PRIVATE KEY") => keys.push(block.pem),
                // Parameters, requests and the like are of no use to a server.
                _ => {}
            }
        }
        if certificates.is_empty() {
            return Err(Defect::NoCertificate);
        }
        if certificates.len() > MAX_CHAIN {
            return Err(Defect::Unreadable(format!("it has more than {MAX_CHAIN} certificates")));
        }
        let key = keys.pop().ok_or(Defect::NoKey)?;
        if !keys.is_empty() {
            return Err(Defect::SeveralKeys);
        }
        let chain = ordered(certificates, &key)?;
        let leaf = chain.first().ok_or(Defect::NoCertificate)?;
        let read = fields(&leaf.der).map_err(|error| Defect::Unreadable(error.to_string()))?;
        let (begin, end) = (read.begin, read.end);
        let digest = Sha256::digest(&leaf.der);
        let fingerprint = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { chain, key, fingerprint, begin, end })
    }

    /// Checks that clients of the host with this name would accept the certificate `now`, in seconds since 1970, if they
    /// trust the same authorities. The error says why not.
    pub fn check(&self, name: &Name, tls: &Tls, now: u64) -> Result<Result<(), Defect>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(tls.roots()?, provider).build();
        let verifier = verifier.map_err(|error| TlsError::Setup(error.to_string()))?;
        Ok(self.verify(name, &*verifier, now))
    }

    fn verify(&self, name: &Name, verifier: &dyn ServerCertVerifier, now: u64) -> Result<(), Defect> {
        let host = name.as_str().trim_end_matches('.').to_owned();
        let server = ServerName::try_from(host).map_err(|error| Defect::Refused(error.to_string()))?;
        let [leaf, rest @ ..] = &*self.chain else { return Err(Defect::NoCertificate) };
        let rest: Vec<CertificateDer<'_>> = rest.iter().map(|certificate| certificate.der.clone()).collect();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        match verifier.verify_server_cert(&leaf.der, &rest, &server, &[], now) {
            Ok(_) => Ok(()),
            Err(TlsProblem::InvalidCertificate(problem)) => Err(self.defect(name, &problem)),
            Err(other) => Err(Defect::Refused(other.to_string())),
        }
    }

    fn defect(&self, name: &Name, problem: &CertificateError) -> Defect {
        match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Defect::Expired { end: self.end }
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Defect::Early { begin: self.begin }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Defect::OtherName { name: name.clone() }
            }
            // A wrong signature comes from an authority with the name of a known one, but another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Defect::UnknownAuthority,
            other => Defect::Refused(other.to_string()),
        }
    }

    /// Returns the end of the certificate's validity, in seconds since 1970.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Returns the certificate and its chain in PEM, as servers read them.
    pub fn chain(&self) -> String {
        self.chain.iter().map(|certificate| certificate.pem.as_str()).collect()
    }

    /// Returns the private key in PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns everything in PEM: the chain, then the key.
    pub fn whole(&self) -> Zeroizing<String> {
        // The text has its full size from the start: growing would leave copies behind that are never wiped.
        let chain = self.chain();
        let mut whole = Zeroizing::new(String::with_capacity(chain.len() + self.key.len()));
        whole.push_str(&chain);
        whole.push_str(&self.key);
        whole
    }

    /// Returns the first half of the certificate's SHA-256 fingerprint in hexadecimal, by which people tell certificates
    /// apart.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// A part of a PEM text, brought into its regular form.
struct Block {
    label: String,
    pem: Zeroizing<String>,
}

/// Finds the parts of a PEM text. What stands between them does not matter (RFC 7468, section 2).
fn blocks(text: &str) -> Result<Vec<Block>, Defect> {
    const BEGIN: &str = "-----BEGIN ";
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (label, body) =
            after.split_once("-----").ok_or_else(|| unreadable("a line BEGIN does not end"))?;
        let label = label.to_owned();
        if label.len() > 40
            || !label.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b' ' || byte.is_ascii_digit())
        {
            return Err(unreadable("a line BEGIN has an odd label"));
        }
        let (body, after) = body
            .split_once(&format!("-----END {label}-----"))
            .ok_or_else(|| Defect::Unreadable(format!("the end of its {label} is missing")))?;
        found.push(block(label, body)?);
        rest = after;
    }
    Ok(found)
}

fn unreadable(why: &str) -> Defect {
    Defect::Unreadable(why.to_owned())
}

fn block(label: String, body: &str) -> Result<Block, Defect> {
    // The old form of encrypted keys (RFC 1421) has headers.
    if body.contains("ENCRYPTED") {
        return Err(Defect::EncryptedKey);
    }
    // A text that was escaped twice has \n where line breaks were.
    let mut pem = Zeroizing::new(String::with_capacity(2 * body.len() + 200));
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut column = 0;
    for line in body.split("\\n") {
        for character in line.chars().filter(|character| !character.is_whitespace()) {
            if !(character.is_ascii_alphanumeric() || "+/=".contains(character)) {
                return Err(Defect::Unreadable(format!(
                    "its {label} has a character that PEM does not have"
                )));
            }
            pem.push(character);
            column += 1;
            if column == COLUMNS {
                pem.push('\n');
                column = 0;
            }
        }
    }
    if column > 0 {
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    Ok(Block { label, pem })
}

fn certificate(block: &Block) -> Result<Certificate, Defect> {
    let der = CertificateDer::from_pem_slice(block.pem.as_bytes());
    let der = der.map_err(|error| Defect::Unreadable(format!("a certificate: {error}")))?;
    fields(&der).map_err(|error| Defect::Unreadable(format!("a certificate: {error}")))?;
    Ok(Certificate { der, pem: block.pem.to_string() })
}

/// Puts the certificate of the key first, then that of its issuer, and so on. A root at the end is left out: clients have
/// it.
fn ordered(certificates: Vec<Certificate>, key: &str) -> Result<Vec<Certificate>, Defect> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|_| unreadable("its private key is none"))?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| {
        unreadable("its private key is of a kind that is not supported: use RSA, or ECDSA with P-256")
    })?;
    let own = key.public_key().ok_or_else(|| unreadable("its private key tells no public key"))?;
    let is_own = |certificate: &Certificate| {
        let parsed = ParsedCertificate::try_from(&certificate.der);
        parsed.is_ok_and(|parsed| parsed.subject_public_key_info().as_ref() == own.as_ref())
    };
    let mut rest = certificates;
    let leaf = rest.iter().position(is_own).ok_or(Defect::OtherKey)?;
    let mut chain = vec![rest.swap_remove(leaf)];
    while let Some(next) = chain.last().and_then(|last| issuer(last, &rest)) {
        let next = rest.swap_remove(next);
        if fields(&next.der).is_ok_and(|read| read.issuer == read.subject) {
            break;
        }
        chain.push(next);
    }
    Ok(chain)
}

/// Finds the certificate of the authority that has issued another.
fn issuer(of: &Certificate, among: &[Certificate]) -> Option<usize> {
    let wanted = fields(&of.der).ok()?.issuer;
    among.iter().position(|candidate| fields(&candidate.der).is_ok_and(|read| read.subject == wanted))
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
pub(super) mod tests;
