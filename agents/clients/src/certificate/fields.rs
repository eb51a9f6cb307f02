//! The few fields of a certificate that the agents need (RFC 5280, 4.1): `Certificate { TBSCertificate { [0] version,
//! serial, signature, issuer, Validity { notBefore, notAfter }, subject, ... }, ... }`.

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag};

/// The fields of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Name of the authority that has issued it, in DER.
    pub issuer: &'a [u8],
    /// Name of its holder, in DER.
    pub subject: &'a [u8],
    /// Begin of its validity, in seconds since 1970.
    pub begin: u64,
    /// End of its validity, in seconds since 1970.
    pub end: u64,
}

/// Reads the fields of a certificate in DER. Checks no signature.
pub fn fields(certificate: &[u8]) -> der::Result<Fields<'_>> {
    let mut reader = SliceReader::new(certificate)?;
    reader.sequence(|certificate| {
        let fields = certificate.sequence::<_, _, der::Error>(|tbs| {
            // Certificates of version 1 leave out the version.
            if Tag::peek(tbs)?.is_context_specific() {
                skip(tbs)?;
            }
            // Serial number, signature algorithm.
            (0..2).try_for_each(|_| skip(tbs))?;
            let issuer = tbs.tlv_bytes()?;
            let (begin, end) =
                tbs.sequence::<_, _, der::Error>(|validity| Ok((time(validity)?, time(validity)?)))?;
            let subject = tbs.tlv_bytes()?;
            skip_rest(tbs)?;
            Ok(Fields { issuer, subject, begin, end })
        })?;
        skip_rest(certificate)?;
        Ok(fields)
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
