//! Text from others, made safe for a log or a terminal.
//!
//! The answers of BBB, Scalelite, AWS, the metadata service and the control socket contain text that anyone may have
//! written: a meeting's name, a tag, an error page. It must not break a line of the journal in two, or control a
//! terminal.

/// The most characters of a remote message: enough to understand it.
const MAX_MESSAGE: usize = 400;

/// Cleans a remote text for an error: one line of limited length.
pub fn clean(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Cleans a text from others for a terminal: replaces characters that could control it.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// Cleans it in the same way and makes it one line, so that it cannot pass for two.
pub fn visible_line(text: &str) -> String {
    visible(text).replace('\n', " ")
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
}
