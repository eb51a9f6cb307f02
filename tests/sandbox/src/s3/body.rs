//! The body of a request: unpacked from `aws-chunked`, and compared with the checksums and lengths in its headers and
//! trailers.
//!
//! | `x-amz-content-sha256` | the body |
//! |---|---|
//! | a hash | must have this SHA-256 |
//! | `UNSIGNED-PAYLOAD` | is taken as it is |
//! | `STREAMING-UNSIGNED-PAYLOAD-TRAILER` | is in `aws-chunked`, with checksums after it |
//! | chunks with signatures | 501: no client here sends them |

use hyper::body::Bytes;
use sha2::{Digest, Sha256};

use super::answers::Refused;
use crate::http::Request;
use crate::secrets::base64;

/// Returns the checked content of a request.
pub(super) fn checked(request: &Request) -> Result<Bytes, Refused> {
    let (content, trailers) = match request.header("x-amz-content-sha256") {
        "UNSIGNED-PAYLOAD" => (request.body.clone(), Vec::new()),
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => unpacked(request)?,
        streaming if streaming.starts_with("STREAMING-") => return Err(Refused::NotImplemented),
        hash if hash == sha256_hex(&request.body) => (request.body.clone(), Vec::new()),
        _ => return Err(Refused::WrongHash),
    };
    if !request.header("content-md5").is_empty() {
        return Err(Refused::NotImplemented);
    }
    let headers =
        request.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let trailers = trailers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (algorithm, sum) in headers.chain(trailers).filter_map(|(name, sum)| Some((checksum_of(name)?, sum)))
    {
        if base64(&algorithm.sum(&content).ok_or(Refused::NotImplemented)?) != sum {
            return Err(Refused::WrongChecksum);
        }
    }
    Ok(content)
}

type Trailers = Vec<(String, String)>;

/// Unpacks `SIZE CRLF BYTES CRLF ... 0 CRLF TRAILERS CRLF`, sizes in hexadecimal digits.
fn unpacked(request: &Request) -> Result<(Bytes, Trailers), Refused> {
    let mut content = Vec::new();
    let mut rest: &[u8] = &request.body;
    loop {
        let (line, after) = line(rest).ok_or(Refused::Incomplete)?;
        let size = usize::from_str_radix(line, 16).map_err(|_| Refused::Incomplete)?;
        rest = after;
        if size == 0 {
            break;
        }
        content.extend_from_slice(rest.get(..size).ok_or(Refused::Incomplete)?);
        rest = rest.get(size..).and_then(|rest| rest.strip_prefix(b"\r\n")).ok_or(Refused::Incomplete)?;
    }
    if request.header("x-amz-decoded-content-length").parse() != Ok(content.len()) {
        return Err(Refused::Incomplete);
    }
    let mut trailers = Vec::new();
    while let Some((text, after)) = line(rest).filter(|(text, _)| !text.is_empty()) {
        let (name, value) = text.split_once(':').ok_or(Refused::Incomplete)?;
        trailers.push((name.to_lowercase(), value.trim().to_owned()));
        rest = after;
    }
    let announced = request.header("x-amz-trailer").to_lowercase();
    let came = |name: &str| trailers.iter().any(|(trailer, _)| trailer == name);
    match announced.split(',').map(str::trim).filter(|name| !name.is_empty()).all(came) {
        true => Ok((content.into(), trailers)),
        false => Err(Refused::Incomplete),
    }
}

fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((std::str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 2..)?))
}

/// The checksum algorithms of S3 that clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc64Nvme,
    Sha256,
    /// An algorithm that S3 knows and the sandbox does not.
    Other,
}

/// Returns the algorithm of the checksum in a header or trailer.
fn checksum_of(header: &str) -> Option<Algorithm> {
    match header.strip_prefix("x-amz-checksum-")? {
        // These name the algorithm, ask for checksums in the answer, and say how the checksums of parts are combined.
        "algorithm" | "mode" | "type" => None,
        "crc32" => Some(Algorithm::Crc32),
        "crc64nvme" => Some(Algorithm::Crc64Nvme),
        "sha256" => Some(Algorithm::Sha256),
        _ => Some(Algorithm::Other),
    }
}

impl Algorithm {
    fn sum(self, content: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Crc32 => Some(crc32(content).to_be_bytes().to_vec()),
            // The bits of the polynomials are reversed, as in the CRC catalogue
            // (https://reveng.sourceforge.io/crc-catalogue/).
            Self::Crc64Nvme => Some(crc(content, 0x9a6c_9329_ac4b_c9b5, u64::MAX).to_be_bytes().to_vec()),
            Self::Sha256 => Some(Sha256::digest(content).to_vec()),
            Self::Other => None,
        }
    }
}

fn crc32(content: &[u8]) -> u32 {
    // The upper half stays zero.
    crc(content, 0xedb8_8320, u64::from(u32::MAX)) as u32
}

/// Computes a reflected CRC: `ones` is both the initial value and the final XOR.
fn crc(content: &[u8], polynomial: u64, ones: u64) -> u64 {
    let step = |sum: u64| if sum & 1 == 1 { sum >> 1 ^ polynomial } else { sum >> 1 };
    let table: Vec<u64> = (0..256).map(|byte| (0..8).fold(byte, |sum, _| step(sum))).collect();
    let next = |sum: u64, byte: &u8| {
        let row = (sum & 0xff) as usize ^ usize::from(*byte);
        table.get(row).copied().unwrap_or_default() ^ sum >> 8
    };
    content.iter().fold(ones, next) ^ ones
}

/// Returns the `CRC32` of an object as S3 sends it.
pub(super) fn crc32_base64(content: &[u8]) -> String {
    base64(&crc32(content).to_be_bytes())
}

pub(super) fn sha256_hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The catalogue's check values, for the nine digits.
    #[test]
    fn checksums_are_those_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc(b"123456789", 0x9a6c_9329_ac4b_c9b5, u64::MAX), 0xae8b_1486_0a79_9888);
    }
}
