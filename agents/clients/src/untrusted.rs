//! Text from others, made safe for a log or a terminal.
//!
//! The answers of BBB, Scalelite, AWS, the metadata service and the control socket contain text that anyone may have
//! written: a meeting's name, a tag, an error page. It must not break a line of the journal in two, or control a
//! terminal.

/// The most characters of a remote message: enough to understand it.
const MAX_MESSAGE: usize = 400;

/// Tells whether a character could change how the others are shown: it controls a terminal, or it is invisible and
/// reverses, hides or breaks text (the bidirectional controls of Unicode's UAX #9, separators, marks without width).
fn steers(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || invisible
}

/// Cleans a remote text for an error: one line of limited length.
pub fn clean(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || steers(c)).filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Cleans a text from others for a terminal: replaces characters that could control it, or hide
/// what others show.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if steers(c) && c != '\n' { ' ' } else { c }).collect()
}

/// Cleans it in the same way and makes it one line, so that it cannot pass for two.
pub fn visible_line(text: &str) -> String {
    visible(text).replace('\n', " ")
}

/// Escapes such characters in JSON, which keeps their values: outside of its texts JSON has none.
pub fn escaped(json: &str) -> String {
    let escape = |c: char| -> String {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    json.chars().map(|c| if steers(c) && c != '\n' { escape(c) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(clean(&"ü".repeat(1000)).chars().count(), MAX_MESSAGE + 3);
        assert_eq!(clean("a\u{0}b"), "a b");
    }

    #[test]
    fn what_others_say_does_not_steer_a_terminal() {
        let told = "i-0\u{1b}[2J\u{9b}31m\r\u{7}\u{8}é\nbbb-agent: all is well";
        assert_eq!(visible(told), "i-0 [2J 31m   é\nbbb-agent: all is well");
        assert_eq!(visible_line(told), "i-0 [2J 31m   é bbb-agent: all is well");
    }

    #[test]
    fn json_keeps_what_it_does_not_show() {
        let told = "tag \u{202e}gat\u{9b}\u{e0041} é\n";
        let json = escaped(&serde_json::to_string_pretty(&[told]).unwrap());
        assert_eq!(json, "[\n  \"tag \\u202egat\\u009b\\udb40\\udc41 é\\n\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [told]);
    }

    #[test]
    fn what_others_say_does_not_reverse_or_hide_text() {
        for c in
            ["\u{202e}", "\u{2066}", "\u{2069}", "\u{200f}", "\u{61c}", "\u{feff}", "\u{2028}", "\u{e0041}"]
        {
            let told = format!("tag {c}gat{c} é");
            assert_eq!(
                (visible(&told).as_str(), clean(&told).as_str()),
                ("tag  gat  é", "tag gat é"),
                "{c:?}"
            );
        }
        assert_eq!(
            visible("Konferenz 会議 اجتماع"),
            "Konferenz 会議 اجتماع",
            "languages are shown as they are"
        );
    }
}
