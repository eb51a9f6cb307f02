//! The form of values, by record type. The messages are those observed from the real service.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{RData, RecordType as WireType};

use super::name::DnsName;
use super::record::RecordType;

/// Checks one value.
///
/// # Errors
/// Fails with the text of an `InvalidChangeBatch` message.
pub(crate) fn check(record_type: RecordType, value: &str) -> Result<(), String> {
    let fatal = |problem: &str| {
        Err(format!("Invalid Resource Record: FATAL problem: {problem} encountered with '{value}'"))
    };
    match record_type {
        RecordType::A if value.parse::<Ipv4Addr>().is_err() => {
            fatal("ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)")
        }
        RecordType::Aaaa if value.parse::<Ipv6Addr>().is_err() => {
            fatal("AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)")
        }
        RecordType::A | RecordType::Aaaa => Ok(()),
        RecordType::Txt => text_strings(value).map(|_| ()).or_else(fatal),
        RecordType::Cname | RecordType::Ns | RecordType::Ptr => {
            DnsName::parse(value).map(|_| ()).map_err(|problem| format!("Invalid Resource Record: {problem}"))
        }
        RecordType::Caa | RecordType::Mx | RecordType::Soa | RecordType::Srv => {
            match wire(record_type, value) {
                Some(_) => Ok(()),
                None => fatal("InvalidValue (Value is not valid for this record type)"),
            }
        }
    }
}

/// Returns a form of a value that is the same for duplicates in one set.
pub(crate) fn identity(record_type: RecordType, value: &str) -> String {
    match record_type {
        RecordType::Aaaa => {
            value.parse::<Ipv6Addr>().map_or_else(|_| value.to_owned(), |address| address.to_string())
        }
        RecordType::Cname | RecordType::Ns | RecordType::Ptr => {
            DnsName::parse(value).map_or_else(|_| value.to_owned(), |name| name.to_string())
        }
        _ => value.to_owned(),
    }
}

/// Reads the strings of a TXT value: each in quotation marks, separated by spaces, `\"`, `\\` and `\ooo` escaped.
///
/// # Errors
/// Fails with Route 53's name of the problem.
pub(crate) fn text_strings(value: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    const UNQUOTED: &str = "InvalidCharacterString (Value should be enclosed in quotation marks)";
    const UNSUPPORTED: &str = "UnsupportedCharacter (Value contains unsupported characters)";
    const TOO_LONG: &str = "CharacterStringTooLong (Value is too long)";
    let mut strings = Vec::new();
    let mut rest = value;
    loop {
        let inside = rest.strip_prefix('"').ok_or(UNQUOTED)?;
        let (string, after) = quoted_string(inside.as_bytes(), UNQUOTED, UNSUPPORTED)?;
        if string.len() > 255 {
            return Err(TOO_LONG);
        }
        strings.push(string);
        rest = inside.get(after..).ok_or(UNSUPPORTED)?;
        if rest.is_empty() {
            break;
        }
        let next = rest.trim_start_matches(' ');
        if next.len() == rest.len() {
            return Err(UNQUOTED);
        }
        rest = next;
    }
    // "The maximum length of a value in a TXT record is 4,000 characters" (Developer Guide, TXT record type).
    if value.len() > 4000 { Err(TOO_LONG) } else { Ok(strings) }
}

/// Reads up to the closing quotation mark; returns the string and the number of bytes read, including the mark.
fn quoted_string(
    text: &[u8],
    unquoted: &'static str,
    unsupported: &'static str,
) -> Result<(Vec<u8>, usize), &'static str> {
    let mut string = Vec::new();
    let mut at = 0;
    loop {
        match text.get(at).copied().ok_or(unquoted)? {
            b'"' => return Ok((string, at + 1)),
            b'\\' => match text.get(at + 1).copied().ok_or(unquoted)? {
                escaped @ (b'"' | b'\\') => {
                    string.push(escaped);
                    at += 2;
                }
                _ => {
                    let digits = text.get(at + 1..at + 4).ok_or(unsupported)?;
                    let digits = std::str::from_utf8(digits).map_err(|_| unsupported)?;
                    string.push(u8::from_str_radix(digits, 8).map_err(|_| unsupported)?);
                    at += 4;
                }
            },
            byte @ 0x20..=0x7e => {
                string.push(byte);
                at += 1;
            }
            _ => return Err(unsupported),
        }
    }
}

/// Returns the value as DNS data; none when it cannot be read.
pub(crate) fn wire(record_type: RecordType, value: &str) -> Option<RData> {
    use hickory_proto::rr::rdata;
    let wire_type = match record_type {
        RecordType::A => return value.parse().ok().map(|address| RData::A(rdata::A(address))),
        RecordType::Aaaa => return value.parse().ok().map(|address| RData::AAAA(rdata::AAAA(address))),
        RecordType::Txt => {
            let strings = text_strings(value).ok()?;
            return Some(RData::TXT(rdata::TXT::from_bytes(strings.iter().map(Vec::as_slice).collect())));
        }
        RecordType::Cname => {
            return Some(RData::CNAME(rdata::CNAME(wire_name(&DnsName::parse(value).ok()?)?)));
        }
        RecordType::Ns => return Some(RData::NS(rdata::NS(wire_name(&DnsName::parse(value).ok()?)?))),
        RecordType::Ptr => return Some(RData::PTR(rdata::PTR(wire_name(&DnsName::parse(value).ok()?)?))),
        RecordType::Caa => WireType::CAA,
        RecordType::Mx => WireType::MX,
        RecordType::Soa => WireType::SOA,
        RecordType::Srv => WireType::SRV,
    };
    RData::try_from_str(wire_type, value).ok()
}

/// Returns a name as DNS data.
pub(crate) fn wire_name(name: &DnsName) -> Option<hickory_proto::rr::Name> {
    hickory_proto::rr::Name::from_labels(name.labels()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        for (value, expected) in [
            (r#""a b""#, vec!["a b"]),
            (r#""""#, vec![""]),
            (r#""a" "b""#, vec!["a", "b"]),
            (r#""say \"x\" \\ \101""#, vec![r#"say "x" \ A"#]),
        ] {
            let strings = text_strings(value).unwrap();
            let strings: Vec<_> = strings.iter().map(|string| String::from_utf8_lossy(string)).collect();
            assert_eq!(strings, expected, "{value}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        let too_long = format!("\"{}\"", "a".repeat(256));
        let many = vec![format!("\"{}\"", "a".repeat(255)); 16].join(" ");
        for (record_type, value, problem) in [
            (RecordType::A, "1.2.3", "ARRDATAIllegalIPv4Address"),
            (RecordType::A, "1.2.3.256", "ARRDATAIllegalIPv4Address"),
            (RecordType::A, "::1", "ARRDATAIllegalIPv4Address"),
            (RecordType::A, "", "ARRDATAIllegalIPv4Address"),
            (RecordType::Aaaa, "1.2.3.4", "AAAARRDATAIllegalIPv6Address"),
            (RecordType::Txt, "bare", "InvalidCharacterString"),
            (RecordType::Txt, "\"open", "InvalidCharacterString"),
            (RecordType::Txt, "\"a\"b", "InvalidCharacterString"),
            (RecordType::Txt, "\"a\"\"b\"", "InvalidCharacterString"),
            (RecordType::Txt, "\"é\"", "UnsupportedCharacter"),
            (RecordType::Txt, "\"\\9\"", "UnsupportedCharacter"),
            (RecordType::Txt, &too_long, "CharacterStringTooLong"),
            (RecordType::Txt, &many, "CharacterStringTooLong"),
            (RecordType::Cname, "a..b", "DomainLabelEmpty"),
            (RecordType::Mx, "mail.example.org.", "InvalidValue"),
            (RecordType::Srv, "1 2 x y.", "InvalidValue"),
        ] {
            let message = check(record_type, value).unwrap_err();
            assert!(message.contains(problem), "{value}: {message}");
        }
    }
}
