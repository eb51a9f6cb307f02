//! The parts that all XML answers have in common.

/// Escapes a text as XML content. Characters that XML 1.0 cannot carry are left out.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // A bare carriage return would be read as a line feed.
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => {}
            other if other.is_control() && other < ' ' => {}
            other => escaped.push(other),
        }
    }
    escaped
}
