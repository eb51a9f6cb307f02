//! Marked secrets, and the search for them in whatever an agent gives away.

use std::fmt::Write;

/// The load balancer's secret, wherever it is planted.
pub(crate) const SCALELITE: &str = "lb &/$%'\"|\\,ü QmScaleliteX7Zk";
/// BBB's secret on the host.
pub(crate) const BBB: &str = "bbb &/$%'\"|\\,ü QmBbbHostW4Rt";
/// A secret that another service does not accept.
pub(crate) const WRONG: &str = "wrong &/$%\u{20ac} QmWrongOneV8Ys";
/// Secrets of other hosts and of former times, in Scalelite's list.
pub(crate) const OTHER: &str = "other &/$% QmOtherHostU2Pn";
/// The secret half of the role's access key.
pub(crate) const ROLE_KEY: &str = "wJalr/+QmRoleKeyT6Hd";
/// The role's session token.
pub(crate) const ROLE_TOKEN: &str = "IQoJb3JpZ2luX2Vj//QmRoleTokenS9Gf==";
/// The password of a proxy.
pub(crate) const PROXY: &str = "QmProxyPasswordR3Bc";

/// What of these secrets no encoding of single characters changes.
const MARKS: [&str; 7] = [
    "QmScaleliteX7Zk",
    "QmBbbHostW4Rt",
    "QmWrongOneV8Ys",
    "QmOtherHostU2Pn",
    "QmRoleKeyT6Hd",
    "QmRoleTokenS9Gf",
    "QmProxyPasswordR3Bc",
];

/// What comes with every credential that can be used again, whatever its secret.
const TRACES: [&str; 4] = ["checksum=", "signature=", "x-amz-security-token", "aws4-hmac-sha256"];

/// Checksums have at least this many hexadecimal digits (SHA-1); nothing else that agents print has.
const DIGITS: usize = 40;

/// What a text gives away, if anything.
pub(crate) fn find(text: &[u8]) -> Option<String> {
    let plain = String::from_utf8_lossy(text);
    let lower = plain.to_lowercase();
    for mark in MARKS {
        let found = forms(mark).into_iter().find(|(_, form)| lower.contains(&form.to_lowercase()));
        if let Some((form, _)) = found {
            return Some(format!("{mark} {form}"));
        }
    }
    if let Some(trace) = TRACES.into_iter().find(|trace| lower.contains(trace)) {
        return Some(trace.to_owned());
    }
    let runs = lower.split(|character: char| !character.is_ascii_hexdigit());
    runs.into_iter().find(|run| run.len() >= DIGITS).map(|run| format!("what looks like a checksum: {run}"))
}

/// Fails if the text gives anything away; `what` says where it comes from.
pub(crate) fn search(what: &str, text: &[u8]) {
    if let Some(found) = find(text) {
        panic!("{what} gives away {found}:\n{}", String::from_utf8_lossy(text));
    }
}

/// The forms in which a mark may stand in a text.
fn forms(mark: &str) -> Vec<(&'static str, String)> {
    let bytes = mark.as_bytes();
    let join = |format: fn(u8) -> String, between: &str| {
        bytes.iter().map(|byte| format(*byte)).collect::<Vec<_>>().join(between)
    };
    let mut forms = vec![
        ("as it is", mark.to_owned()),
        ("in hexadecimal", join(|byte| format!("{byte:02x}"), "")),
        ("in hexadecimal with blanks", join(|byte| format!("{byte:02x}"), " ")),
        ("percent-encoded", join(|byte| format!("%{byte:02x}"), "")),
        ("as a list of bytes", join(|byte| byte.to_string(), ", ")),
    ];
    forms.extend((0..3).map(|before| ("in base64", base64_within(before, bytes))));
    forms
}

/// What base64 makes of these bytes whatever stands before and after them, when `before` bytes (modulo 3) precede them.
fn base64_within(before: usize, bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = "0".repeat(8 * before);
    bytes.iter().for_each(|byte| write!(bits, "{byte:08b}").unwrap());
    let letters: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(6)
        .map(|six| usize::from_str_radix(std::str::from_utf8(six).unwrap(), 2).unwrap())
        .map(|index| ALPHABET[index])
        .collect();
    // Letters that hold bits of what stands before are not known.
    String::from_utf8(letters[(8 * before).div_ceil(6)..].to_vec()).unwrap()
}

#[test]
fn every_secret_has_a_mark_and_every_form_of_it_is_found() {
    for (secret, mark) in [SCALELITE, BBB, WRONG, OTHER, ROLE_KEY, ROLE_TOKEN, PROXY].into_iter().zip(MARKS) {
        assert!(secret.contains(mark), "{secret}");
        assert!(find(secret.as_bytes()).is_some());
        assert!(find(format!("{secret:?}").as_bytes()).is_some(), "as Rust's Debug shows it");
        assert!(find(format!("{:?}", secret.as_bytes()).as_bytes()).is_some(), "as a list of bytes");
        assert!(find(serde_json::json!({ "a": secret }).to_string().as_bytes()).is_some(), "as JSON");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert!(find(hex.as_bytes()).is_some(), "in hexadecimal");
        let url: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert!(find(url.as_bytes()).is_some(), "percent-encoded");
    }
    // Encoded by another program: printf 'user:QmProxyPasswordR3Bc' | base64, and with "a:" and "ab:" before it.
    for text in [
        "dXNlcjpRbVByb3h5UGFzc3dvcmRSM0Jj",
        "YTpRbVByb3h5UGFzc3dvcmRSM0Jj",
        "YWI6UW1Qcm94eVBhc3N3b3JkUjNCYw==",
    ] {
        assert!(find(text.as_bytes()).is_some(), "{text}");
    }
    let url = "https://scalelite.example.org/scalelite/api/getServers?checksum=0";
    for text in [url, "Authorization: AWS4-HMAC-SHA256", &"0a".repeat(20)] {
        assert!(find(text.as_bytes()).is_some(), "{text}");
    }
    for harmless in ["", "entry 5d0a6b1e-0000-4000-8000-123456789abc enabled", "i-0123456789abcdef0"] {
        assert_eq!(find(harmless.as_bytes()), None);
    }
}
