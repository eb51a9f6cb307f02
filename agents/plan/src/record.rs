//! Names, types and values of record sets in one normal form, whatever form their source uses.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::instance::InstanceId;
use crate::share::Share;

/// A fully qualified domain name: lower-case, without the final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// The reason why a text is not a usable name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// The name is empty or has an empty label (two dots in a row).
    #[error("{0:?} has an empty label")]
    EmptyLabel(String),
    /// A label has more than 63 characters (RFC 1035, 2.3.4).
    #[error("the label {label:?} has {length} characters; DNS allows 63")]
    LabelTooLong {
        /// The label.
        label: String,
        /// Its length in characters.
        length: usize,
    },
    /// The name has more than 253 characters in all (RFC 1035, 2.3.4, without the final dot).
    #[error("{name:?} has {length} characters; DNS allows {limit} here")]
    TooLong {
        /// The name.
        name: String,
        /// Its length in characters.
        length: usize,
        /// The allowed length.
        limit: usize,
    },
    /// The name has a character that host names cannot have.
    #[error("{name:?} has the character {character:?}; host names have letters, digits and inner hyphens")]
    Character {
        /// The name.
        name: String,
        /// The character.
        character: char,
    },
    /// A label begins or ends with a hyphen.
    #[error("the label {0:?} begins or ends with a hyphen")]
    Hyphen(String),
    /// The domain has only one label, e.g. `localhost`.
    #[error("{0:?} has no dot; a domain has at least two labels")]
    SingleLabel(String),
}

/// The length of the longest name, without the final dot (RFC 1035, 2.3.4).
const NAME_LIMIT: usize = 253;
/// The label before a host's name that gives the name of its ownership TXT record set.
const OWNERSHIP_LABEL: &str = "_agent";

impl Name {
    /// Reads a host name or a domain as a person writes it; a final dot is allowed.
    pub fn host(text: &str) -> Result<Self, InvalidName> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        // The ownership record set needs a name of its own below this one.
        let limit = NAME_LIMIT - OWNERSHIP_LABEL.len() - 1;
        if name.len() > limit {
            return Err(InvalidName::TooLong { length: name.len(), name, limit });
        }
        for label in name.split('.') {
            check_label(&name, label)?;
        }
        if !name.contains('.') {
            return Err(InvalidName::SingleLabel(name));
        }
        Ok(Self(name))
    }

    /// Takes a name as Route 53 or a DNS server writes it: any case, final dot, octal escapes (`\052` is `*`).
    /// Route 53's escapes: its developer guide, "DNS domain name format".
    pub fn remote(text: &str) -> Self {
        Self(unescape_octal(text.strip_suffix('.').unwrap_or(text)).to_ascii_lowercase())
    }

    /// Returns the name of the TXT record set that says who owns this name.
    pub fn ownership(&self) -> Self {
        Self(format!("{OWNERSHIP_LABEL}.{}", self.0))
    }

    /// Returns the host's name of which this is the ownership name, if it is one.
    pub fn owned(&self) -> Option<Self> {
        let (first, host) = self.0.split_once('.')?;
        (first == OWNERSHIP_LABEL).then(|| Self(host.to_owned()))
    }

    /// Tells whether this name is `domain` or below it.
    pub fn is_within(&self, domain: &Self) -> bool {
        self.0.strip_suffix(&domain.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Returns the name without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_label(name: &str, label: &str) -> Result<(), InvalidName> {
    if label.is_empty() {
        return Err(InvalidName::EmptyLabel(name.to_owned()));
    }
    if let Some(character) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return Err(InvalidName::Character { name: name.to_owned(), character });
    }
    if label.len() > 63 {
        return Err(InvalidName::LabelTooLong { label: label.to_owned(), length: label.len() });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(InvalidName::Hyphen(label.to_owned()));
    }
    Ok(())
}

/// Replaces `\ooo` by the character with that octal code; everything else stays. People are shown these names, so an
/// escape that stands for anything but printable ASCII stays, and a control character becomes an escape. The escape of
/// a backslash stays too, since a plain backslash could be read as the beginning of another escape.
fn unescape_octal(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\\') {
        let (before, escape) = rest.split_at(start);
        result.push_str(&shown(before));
        let digits = escape.get(1..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(|code| matches!(code, b' '..=b'~') && *code != b'\\') {
            Some(code) => {
                result.push(char::from(code));
                rest = escape.get(4..).unwrap_or_default();
            }
            None => {
                result.push('\\');
                rest = escape.get(1..).unwrap_or_default();
            }
        }
    }
    result.push_str(&shown(rest));
    result
}

/// Returns a text that is safe to show: control characters become escapes.
fn shown(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| result.push_str(&format!("\\{byte:03o}")));
        } else {
            result.push(c);
        }
    }
    result
}

/// A template for host names: a text with `{instance}` (the instance id without `i-`) and, optionally, `{region}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTemplate(String);

/// The reason why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTemplate {
    /// Every host of the fleet would claim the same name.
    #[error(
        "{0:?} has no {{instance}}: every host would claim the same name (for one fixed name set dns.name)"
    )]
    NotUnique(String),
    /// The template has an unknown placeholder.
    #[error("{template:?} has the placeholder {{{placeholder}}}; known are {{instance}} and {{region}}")]
    Placeholder {
        /// The template.
        template: String,
        /// The text between the braces.
        placeholder: String,
    },
    /// The name that the template makes is not usable.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl HostTemplate {
    /// Reads a template; [`HostTemplate::name`] checks whether the names fit below a domain.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('{') {
            let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
            if !matches!(placeholder, "instance" | "region") {
                let placeholder = placeholder.to_owned();
                return Err(InvalidTemplate::Placeholder { template: text.to_owned(), placeholder });
            }
            rest = after;
        }
        if !text.contains("{instance}") {
            return Err(InvalidTemplate::NotUnique(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the host's name below `domain`.
    pub fn name(&self, instance: &InstanceId, region: &str, domain: &Name) -> Result<Name, InvalidName> {
        let label = self.0.replace("{instance}", instance.digits()).replace("{region}", region);
        Name::host(&format!("{label}.{domain}"))
    }

    /// Returns the instance for which this template makes the name below `domain`, with its region where the name
    /// contains it. Returns `None` when the template makes the name for no instance, or for several.
    pub fn instance(&self, name: &Name, domain: &Name) -> Option<(InstanceId, Option<String>)> {
        let label = name.as_str().strip_suffix(domain.as_str())?.strip_suffix('.')?;
        let mut readings = Vec::new();
        read(&self.0.to_ascii_lowercase(), label, &Reading::default(), &mut readings);
        readings.dedup();
        let reading = readings.pop().filter(|_| readings.is_empty())?;
        Some((InstanceId::parse(&format!("i-{}", reading.instance?)).ok()?, reading.region))
    }
}

/// The values of a template's placeholders in a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reading {
    instance: Option<String>,
    region: Option<String>,
}

/// Finds every way in which a checked template makes this text.
fn read(template: &str, text: &str, so_far: &Reading, found: &mut Vec<Reading>) {
    let (literal, rest) = template.split_once('{').unwrap_or((template, ""));
    let Some(text) = text.strip_prefix(literal) else { return };
    let Some((placeholder, rest)) = rest.split_once('}') else {
        if text.is_empty() {
            found.push(so_far.clone());
        }
        return;
    };
    let is_instance = placeholder == "instance";
    let known = if is_instance { &so_far.instance } else { &so_far.region };
    for (value, text) in (1..=text.len()).filter_map(|length| text.split_at_checked(length)) {
        let fits = match known {
            Some(known) => known == value,
            None if is_instance => InstanceId::parse(&format!("i-{value}")).is_ok(),
            None => is_region(value),
        };
        if fits {
            let mut reading = so_far.clone();
            let place = if is_instance { &mut reading.instance } else { &mut reading.region };
            *place = Some(value.to_owned());
            read(rest, text, &reading, found);
        }
    }
}

/// Tells whether a text has the form of an AWS region, e.g. `eu-central-1`, `us-gov-west-1`: no other text may become
/// part of a server's name.
pub fn is_region(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let (number, names) = words.split_last().map_or(("", &[][..]), |(last, before)| (*last, before));
    let lower = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let digits = matches!(number.len(), 1..=2) && number.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 32 && names.len() >= 2 && names.iter().all(lower) && digits
}

/// The record types that the agents write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// The ownership label.
    Txt,
}

impl RecordType {
    /// Returns the type as DNS and Route 53 write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Txt => "TXT",
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record set of one name and type: all values with simple routing, or one host's share in the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordSet {
    /// The name at which the record set is.
    pub name: Name,
    /// The type.
    pub kind: RecordType,
    /// Time to live in seconds.
    pub ttl: u32,
    /// Addresses in their normal form; TXT values as text, without quotes or escapes.
    pub values: BTreeSet<String>,
    /// Whose share in the name it is; `None` for simple routing.
    pub share: Option<Share>,
}

impl RecordSet {
    /// Creates a record set of one IPv4 address.
    pub fn a(name: Name, ttl: u32, address: Ipv4Addr) -> Self {
        Self { name, kind: RecordType::A, ttl, values: BTreeSet::from([address.to_string()]), share: None }
    }

    /// Creates a record set of one IPv6 address.
    pub fn aaaa(name: Name, ttl: u32, address: Ipv6Addr) -> Self {
        Self { name, kind: RecordType::Aaaa, ttl, values: BTreeSet::from([address.to_string()]), share: None }
    }

    /// Creates a record set of one text.
    pub fn txt(name: Name, ttl: u32, text: String) -> Self {
        Self { name, kind: RecordType::Txt, ttl, values: BTreeSet::from([text]), share: None }
    }
}

impl fmt::Display for RecordSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(|value| shown(value)).collect();
        write!(f, "{} {} {} {}", self.kind, self.name, self.ttl, values.join(" "))?;
        self.share.as_ref().map_or(Ok(()), |share| write!(f, " ({share})"))
    }
}

/// Puts a value into the form that DNS answers and Route 53 have in common, so that the two compare equal. An address
/// that cannot be read stays as it is: it then differs from ours, which is right.
pub fn normalise_value(kind: RecordType, value: &str) -> String {
    match kind {
        RecordType::A => {
            value.parse::<Ipv4Addr>().map_or_else(|_| value.to_owned(), |address| address.to_string())
        }
        RecordType::Aaaa => {
            value.parse::<Ipv6Addr>().map_or_else(|_| value.to_owned(), |address| address.to_string())
        }
        RecordType::Txt => unquote_txt(value),
    }
}

/// Writes a TXT value as Route 53 requires it: quoted, in chunks of at most 255 characters (RFC 1035, 3.3.14), `"` and
/// `\` escaped, other characters outside printable ASCII as `\ooo` (developer guide, "TXT record type").
pub fn quote_txt(text: &str) -> String {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return "\"\"".to_owned();
    }
    let chunks: Vec<String> = bytes.chunks(255).map(quote_chunk).collect();
    chunks.join(" ")
}

fn quote_chunk(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                quoted.push('\\');
                quoted.push(char::from(*byte));
            }
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the text of a quoted TXT value: the inverse of [`quote_txt`]. A value without quotes stays as it is.
pub fn unquote_txt(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut input = value.bytes().peekable();
    let mut inside = false;
    let mut quoted = false;
    while let Some(byte) = input.next() {
        match byte {
            b'"' => {
                inside = !inside;
                quoted = true;
            }
            b'\\' if inside => {
                let code: Vec<u8> = input.clone().take(3).filter(u8::is_ascii_digit).collect();
                let octal =
                    std::str::from_utf8(&code).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok());
                match octal {
                    Some(code_point) if code.len() == 3 => {
                        bytes.push(code_point);
                        input.by_ref().take(3).for_each(drop);
                    }
                    _ => bytes.extend(input.next()),
                }
            }
            _ if inside || !quoted => bytes.push(byte),
            // White space between chunks is dropped.
            _ => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn domain() -> Name {
        Name::host("example.org").unwrap()
    }

    #[test]
    fn host_names() {
        assert_eq!(Name::host("VC-1.Example.ORG.").unwrap().as_str(), "vc-1.example.org");
        let long = "a".repeat(64);
        let too_long = format!("{long}.org");
        let cases = [
            ("", InvalidName::EmptyLabel(String::new())),
            ("a..org", InvalidName::EmptyLabel("a..org".into())),
            ("localhost", InvalidName::SingleLabel("localhost".into())),
            ("a_b.org", InvalidName::Character { name: "a_b.org".into(), character: '_' }),
            ("ü.org", InvalidName::Character { name: "ü.org".into(), character: 'ü' }),
            ("-a.org", InvalidName::Hyphen("-a".into())),
            ("a-.org", InvalidName::Hyphen("a-".into())),
            (&too_long, InvalidName::LabelTooLong { label: long, length: 64 }),
        ];
        for (text, error) in cases {
            assert_eq!(Name::host(text), Err(error));
        }
    }

    #[test]
    fn the_longest_name_leaves_room_for_its_ownership_record() {
        let fits = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(54));
        assert_eq!(Name::host(&fits).unwrap().ownership().as_str().len(), NAME_LIMIT);
        assert!(matches!(
            Name::host(&format!("{fits}d")),
            Err(InvalidName::TooLong { length: 247, limit: 246, .. })
        ));
    }

    #[test]
    fn remote_names() {
        assert_eq!(Name::remote("\\052.Example.org.").as_str(), "*.example.org");
        // The two names stay different: the first holds a backslash, the second a control character.
        assert_ne!(Name::remote("\\134033.example.org"), Name::remote("\\033.example.org"));
        assert_eq!(Name::remote("a\\b").as_str(), "a\\b");
        assert_eq!(Name::remote("\\033[2J.\u{1b}\u{9b}").as_str(), "\\033[2j.\\033\\302\\233");
        assert_eq!(Name::remote("\\+52").as_str(), "\\+52");
        assert_eq!(Name::remote("\\").as_str(), "\\");
        assert_eq!(Name::remote("x\\777ü.org").as_str(), "x\\777ü.org");
    }

    #[test]
    fn within() {
        assert!(Name::host("a.example.org").unwrap().is_within(&domain()));
        assert!(domain().is_within(&domain()));
        assert!(!Name::host("badexample.org").unwrap().is_within(&domain()));
    }

    #[test]
    fn templates() {
        let id = InstanceId::parse("i-0123456789abcdef0").unwrap();
        let name =
            |template: &str| HostTemplate::parse(template).unwrap().name(&id, "eu-central-1", &domain());
        assert_eq!(name("vc-{instance}").unwrap().as_str(), "vc-0123456789abcdef0.example.org");
        assert_eq!(
            name("{instance}.{region}").unwrap().as_str(),
            "0123456789abcdef0.eu-central-1.example.org"
        );
        assert!(matches!(name("v c{instance}"), Err(InvalidName::Character { character: ' ', .. })));
        assert!(matches!(HostTemplate::parse("vc-{region}"), Err(InvalidTemplate::NotUnique(_))));
        for (text, unknown) in [("vc-{id}-{instance}", "id"), ("{instance}{", ""), ("{instance", "instance")]
        {
            match HostTemplate::parse(text) {
                Err(InvalidTemplate::Placeholder { placeholder, .. }) => assert_eq!(placeholder, unknown),
                other => assert!(matches!(other, Err(InvalidTemplate::NotUnique(_))), "{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn names_lead_back_to_their_instances() {
        let reads = |template: &str, name: &str| {
            let read =
                HostTemplate::parse(template).unwrap().instance(&Name::host(name).unwrap(), &domain())?;
            Some(format!("{} {}", read.0, read.1.unwrap_or_default()))
        };
        let rows = [
            ("vc-{instance}", "vc-0123456789abcdef0.example.org", Some("i-0123456789abcdef0 ")),
            ("vc-{instance}", "vc-1a2b3c4d.example.org", Some("i-1a2b3c4d ")),
            ("VC-{instance}", "vc-1a2b3c4d.example.org", Some("i-1a2b3c4d ")),
            ("{instance}.{region}", "1a2b3c4d.eu-central-1.example.org", Some("i-1a2b3c4d eu-central-1")),
            (
                "{region}-{instance}-x",
                "us-gov-west-1-1a2b3c4d-x.example.org",
                Some("i-1a2b3c4d us-gov-west-1"),
            ),
            ("{instance}-{instance}", "1a2b3c4d-1a2b3c4d.example.org", Some("i-1a2b3c4d ")),
            ("{instance}-{instance}", "1a2b3c4d-1a2b3c4e.example.org", None),
            ("vc-{instance}", "tu-1a2b3c4d.example.org", None),
            ("vc-{instance}", "vc-1a2b3c4d.example.com", None),
            ("vc-{instance}", "vc-1a2b3c4d.sub.example.org", None),
            ("vc-{instance}", "vc-1a2b3c4dx.example.org", None),
            ("vc-{instance}", "vc-scalelite.example.org", None),
            ("vc-{instance}", "example.org", None),
            // Of the 20 letters `a`, either 8 or 17 may be the instance's.
            ("{instance}a{region}", "aaaaaaaaaaaaaaaaaaaa-east-1.example.org", None),
        ];
        for (template, name, instance) in rows {
            assert_eq!(reads(template, name).as_deref(), instance, "{template} {name}");
        }
    }

    #[test]
    fn regions() {
        for text in ["eu-central-1", "ap-southeast-1", "us-gov-west-1", "us-iso-east-1"] {
            assert!(is_region(text), "{text}");
        }
        for text in
            ["", "eu", "eu-1", "eu-central", "eu-central-1a", "eu--1", "Eu-central-1", "eu-central-1.x.org"]
        {
            assert!(!is_region(text), "{text}");
        }
    }

    #[test]
    fn ownership_names_lead_back_to_their_hosts() {
        let host = Name::host("vc-1.example.org").unwrap();
        assert_eq!(host.ownership().owned(), Some(host.clone()));
        assert_eq!(host.owned(), None);
    }

    #[test]
    fn values() {
        assert_eq!(normalise_value(RecordType::Aaaa, "2001:DB8:0:0::10"), "2001:db8::10");
        assert_eq!(normalise_value(RecordType::A, "203.0.113.10"), "203.0.113.10");
        assert_eq!(normalise_value(RecordType::A, "nonsense"), "nonsense");
        assert_eq!(normalise_value(RecordType::Txt, "\"a\\\"b\" \"c\\040d\""), "a\"bc d");
        assert_eq!(normalise_value(RecordType::Txt, "bare text"), "bare text");
    }

    proptest! {
        #[test]
        fn txt_survives_quoting(text in "\\PC{0,600}") {
            let quoted = quote_txt(&text);
            prop_assert!(quoted.is_ascii());
            prop_assert_eq!(unquote_txt(&quoted), text);
        }

        #[test]
        fn a_name_leads_back_to_the_instance_that_it_was_made_for(
            template in prop::sample::select(vec!["vc-{instance}", "{instance}.{region}", "{region}-{instance}"]),
            digits in "[0-9a-f]{17}",
        ) {
            let (id, template) = (InstanceId::parse(&format!("i-{digits}")).unwrap(), HostTemplate::parse(template).unwrap());
            let name = template.name(&id, "eu-central-1", &domain()).unwrap();
            prop_assert_eq!(template.instance(&name, &domain()).map(|(instance, _)| instance), Some(id));
        }

        #[test]
        fn no_input_panics(text in "\\PC*") {
            let _ = (Name::host(&text), Name::remote(&text), HostTemplate::parse(&text), unquote_txt(&text));
        }
    }
}
