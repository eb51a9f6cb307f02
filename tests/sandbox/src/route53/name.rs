//! Domain names as Route 53 writes and orders them: lower-case, final dot, octal escapes, labels reversed for sorting.

use std::fmt;

/// A fully qualified domain name: its labels, lower-case, the leftmost first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Vec<Vec<u8>>);

impl DnsName {
    /// Reads a name as requests give it: any case, with or without the final dot, with `\ooo` octal escapes.
    ///
    /// # Errors
    /// Fails with the text of Route 53's `InvalidChangeBatch` message for such a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fatal = |problem: &str| Err(format!("FATAL problem: {problem} encountered with '{text}'"));
        if text.is_empty() || text == "." {
            return fatal("DomainNameEmpty (Domain name is empty)");
        }
        let mut labels = vec![Vec::new()];
        let mut bytes = text.strip_suffix('.').unwrap_or(text).bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'.' => {
                    labels.push(Vec::new());
                    continue;
                }
                b'\\' => match octal([bytes.next(), bytes.next(), bytes.next()]) {
                    Some(escaped) => escaped,
                    None => return fatal("UnsupportedCharacter (Value contains unsupported characters)"),
                },
                0x21..=0x7e => byte,
                _ => return fatal("UnsupportedCharacter (Value contains unsupported characters)"),
            };
            if let Some(label) = labels.last_mut() {
                label.push(byte.to_ascii_lowercase());
            }
        }
        if labels.iter().any(Vec::is_empty) {
            return fatal("DomainLabelEmpty (Domain label is empty)");
        }
        if labels.iter().any(|label| label.len() > 63) {
            return fatal("DomainLabelTooLong (Domain label is too long)");
        }
        // In a DNS message a name has a length octet for each label, and the root's.
        if labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1 > 255 {
            return fatal("DomainNameTooLong (Domain name is too long)");
        }
        Ok(Self(labels))
    }

    /// Creates a name from the labels of a DNS message.
    pub(crate) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Self {
        Self(labels.map(<[u8]>::to_ascii_lowercase).collect())
    }

    /// Returns the labels, the leftmost first.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Returns the name without its leftmost label; none for the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        self.0.split_first().map(|(_, rest)| Self(rest.to_vec()))
    }

    /// Returns `*` below this name.
    pub(crate) fn wildcard(&self) -> Self {
        Self(std::iter::once(b"*".to_vec()).chain(self.0.iter().cloned()).collect())
    }

    /// Tells whether this name is `zone` or below it.
    pub(crate) fn is_within(&self, zone: &Self) -> bool {
        self.0.ends_with(&zone.0)
    }

    /// Returns the number of labels.
    pub(crate) fn depth(&self) -> usize {
        self.0.len()
    }

    /// Returns the name with its labels reversed, `org.example.www`, by which `ListResourceRecordSets` sorts. The
    /// names below a name are exactly those whose order begins with its own.
    pub(crate) fn order(&self) -> String {
        self.0.iter().rev().fold(String::new(), |mut order, label| {
            push_label(&mut order, label);
            order
        })
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.0.iter().for_each(|label| push_label(&mut text, label));
        f.write_str(if text.is_empty() { "." } else { &text })
    }
}

fn octal(digits: [Option<u8>; 3]) -> Option<u8> {
    digits.into_iter().try_fold(0u8, |value, digit| match digit {
        Some(digit @ b'0'..=b'7') => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

/// Writes a label; every byte but letters, digits, hyphen and underscore is escaped (Route 53's "DNS domain name
/// format").
fn push_label(text: &mut String, label: &[u8]) {
    for &byte in label {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text.push('.');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::DnsName;

    #[test]
    fn names_are_normalised() {
        for (given, expected) in [
            ("WWW.Example.org", "www.example.org."),
            ("www.example.org.", "www.example.org."),
            ("*.example.org", "\\052.example.org."),
            ("\\052.example.org", "\\052.example.org."),
            ("a\\056b.example.org", "a\\056b.example.org."),
            ("_agent.vc-0.example.org", "_agent.vc-0.example.org."),
            ("\\101.example.org", "a.example.org."),
        ] {
            assert_eq!(DnsName::parse(given).unwrap().to_string(), expected, "{given}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let long_label = format!("{}.example.org", "a".repeat(64));
        let long_name = format!("{}example.org", "abcdefg.".repeat(31));
        for (given, problem) in [
            ("", "DomainNameEmpty"),
            (".", "DomainNameEmpty"),
            ("a..example.org", "DomainLabelEmpty"),
            (".example.org", "DomainLabelEmpty"),
            ("a b.example.org", "UnsupportedCharacter"),
            ("é.example.org", "UnsupportedCharacter"),
            ("\\9.example.org", "UnsupportedCharacter"),
            ("\\777.example.org", "UnsupportedCharacter"),
            (&long_label, "DomainLabelTooLong"),
            (&long_name, "DomainNameTooLong"),
        ] {
            let message = DnsName::parse(given).unwrap_err();
            assert!(message.contains(problem), "{given}: {message}");
        }
    }

    #[test]
    fn names_sort_by_reversed_labels() {
        let mut names: Vec<String> =
            ["b.example.org", "example.org", "a.b.example.org", "*.b.example.org", "a.example.org"]
                .iter()
                .map(|name| DnsName::parse(name).unwrap().order())
                .collect();
        names.sort();
        assert_eq!(
            names,
            ["org.example.", "org.example.a.", "org.example.b.", "org.example.b.\\052.", "org.example.b.a."]
        );
    }
}
