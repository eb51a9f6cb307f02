//! Java's properties syntax, as `java.util.Properties.load`, and hence BBB, reads it.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Parses all keys with their values; if a key occurs twice, the last value counts.
///
/// Compared with OpenJDK 17 on random texts. There are two deviations: Java refuses a whole file for a malformed `\u`
/// escape (and BBB then does not start), while here the `u` stands for itself, as any other letter does after a
/// needless backslash; and where a file ends with a line that is a single backslash, Java reads an empty key. Half a
/// surrogate pair becomes U+FFFD.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let mut rest = text.chars().peekable();
    std::iter::from_fn(|| logical_line(&mut rest)).map(|line| key_and_value(&line)).collect()
}

/// Decodes the bytes as UTF-8, which BBB writes, or else as ISO-8859-1, which Java's format prescribes.
pub fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn line_end(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

/// Returns the next line that is neither blank nor a comment, joined with its continuation lines, escapes unresolved.
fn logical_line(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut line = String::new();
    let (mut indented, mut continued, mut escaped) = (true, false, false);
    while let Some(c) = rest.next() {
        // A blank line is skipped, but it ends a line that is continued into it.
        if indented && (blank(c) || (line_end(c) && !continued)) {
            continue;
        }
        (indented, continued) = (false, false);
        if line.is_empty() && matches!(c, '#' | '!') {
            // A backslash does not continue a comment.
            while rest.next_if(|c| !line_end(*c)).is_some() {}
            indented = true;
        } else if !line_end(c) {
            line.push(c);
            escaped = c == '\\' && !escaped;
        } else if escaped {
            line.pop();
            (indented, continued, escaped) = (true, true, false);
            if c == '\r' {
                let _ = rest.next_if_eq(&'\n');
            }
        } else if line.is_empty() {
            indented = true;
        } else {
            return Some(line);
        }
    }
    let content = !line.is_empty();
    if escaped {
        line.pop();
    }
    content.then_some(line)
}

/// Splits at the first unescaped `=`, `:` or blank.
fn key_and_value(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (matches!(c, '=' | ':') || blank(c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(blank);
    (unescape(key), unescape(value))
}

/// Resolves the escapes. Works in UTF-16 as Java does, because two `\u` escapes make a character beyond U+FFFF.
fn unescape(text: &str) -> String {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let meant = match c {
            '\\' => match rest.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => match unit(rest.as_str()) {
                    Some((unit, after)) => {
                        units.push(unit);
                        rest = after.chars();
                        continue;
                    }
                    None => 'u',
                },
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16_lossy(&units)
}

/// Parses the four hexadecimal digits of a `\u` escape; returns the rest of the text too.
fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, after) = text.split_at_checked(4)?;
    // `from_str_radix` alone would accept a sign.
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?;
    Some((unit, after))
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
