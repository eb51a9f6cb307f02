//! Text from others, made safe for a parser, a log or a terminal.
//!
//! The answers of BBB, Scalelite, AWS, the metadata service and the control socket contain text that anyone may have
//! written: a meeting's name, a tag, an error page. It must not exhaust the agent's memory, break a line of the
//! journal in two, or control a terminal.

use roxmltree::{Document, ParsingOptions};

/// The most `<` and the most `=` in a text: more than the answer of a host with thousands of people has. The parser
/// reserves about 70 bytes for each of them before it reads anything.
const MAX_MARKS: usize = 150_000;
/// The same limit for elements and texts together.
const MAX_NODES: u32 = 150_000;
/// The most attributes in a text. Real answers have none, and the parser compares each attribute of an element with
/// all its others.
const MAX_ATTRIBUTES: usize = 1_000;
/// The most characters of a remote message: enough to understand it.
const MAX_MESSAGE: usize = 400;

/// Converts a body to text that an XML parser accepts. A meeting's name may hold characters that XML cannot carry; BBB
/// sends them unchanged, and they must not keep the agent from counting meetings.
pub fn text(body: &[u8]) -> String {
    let legal = |c: char| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    String::from_utf8_lossy(body).chars().map(|c| if legal(c) { c } else { '\u{fffd}' }).collect()
}

/// Parses the text. The error gives the position at which it is not well-formed, never the content.
pub fn parse(text: &str) -> Result<Document<'_>, String> {
    if is_excessive(text) {
        return Err("a web page, or more XML than any real answer has".to_owned());
    }
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| {
        let position = error.pos();
        format!("not well-formed XML at line {}, column {}", position.row, position.col)
    })
}

/// Reports whether the parser would need much memory or much time for this text, well-formed or not.
pub fn is_excessive(text: &str) -> bool {
    let many = |mark: u8| text.bytes().filter(|byte| *byte == mark).nth(MAX_MARKS).is_some();
    many(b'<') || many(b'=') || attributes(text) > MAX_ATTRIBUTES
}

/// Counts the attributes of all tags, up to the point where the text is no longer well-formed and the parser stops
/// too.
fn attributes(text: &str) -> usize {
    let mut count = 0;
    let mut rest = text;
    while let Some((_, markup)) = rest.split_once('<') {
        let opaque = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")];
        let opaque = opaque.iter().find_map(|(begin, end)| Some((markup.strip_prefix(begin)?, *end)));
        rest = match opaque {
            Some((inside, end)) => inside.split_once(end).map_or("", |(_, rest)| rest),
            None => after_tag(markup, &mut count),
        };
    }
    count
}

/// Returns the text after a tag and counts the tag's attributes, whose values may hold the character that ends a tag.
fn after_tag<'a>(mut tag: &'a str, count: &mut usize) -> &'a str {
    while let Some(at) = tag.find(['>', '"', '\'']) {
        let (mark, rest) = tag.split_at(at + 1);
        if mark.ends_with('>') {
            return rest;
        }
        *count += 1;
        let quote = if mark.ends_with('"') { '"' } else { '\'' };
        tag = rest.split_once(quote).map_or("", |(_, rest)| rest);
    }
    ""
}

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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_xml_cannot_carry_are_replaced() {
        let text = text(b"<a>x\x08\x00y\xff\tz</a>");
        assert_eq!(parse(&text).unwrap().root_element().text().unwrap(), "x\u{fffd}\u{fffd}y\u{fffd}\tz");
    }

    #[test]
    fn no_bombs_and_no_content_in_errors() {
        let bomb = "<!DOCTYPE a [<!ENTITY x \"marked\">]><a>&x;</a>";
        assert!(!parse(bomb).unwrap_err().contains("marked"));
        assert!(!parse("<a>&marked;</a>").unwrap_err().contains("marked"));
        assert!(parse(&"<a>".repeat(100_000)).is_err());
        assert!(parse(&format!("<a>{}</a>", "<b/>".repeat(MAX_MARKS))).is_err());
        assert!(parse(&format!("<a>{}</a>", "=".repeat(MAX_MARKS + 1))).is_err());
    }

    #[test]
    fn attributes_are_counted_where_there_are_some() {
        let rows = [
            ("<a/>", 0),
            ("<a b='' c=\"\"/>", 2),
            ("<a b='>' c=\">'\">d='' \"</a>", 2),
            ("<?xml version='1.0'?><a b=''/>", 1),
            ("<?p \"?><!-- ' --><a><![CDATA[<b c=''>\"]]><d e=''/></a>", 1),
            ("<a b='", 1),
            ("<!-- <a b=''/>", 0),
        ];
        for (text, count) in rows {
            assert_eq!(attributes(text), count, "{text}");
        }
        let element = |count| {
            let many: String = (0..count).map(|number| format!(" a{number}=''")).collect();
            format!("<a{many}/>")
        };
        assert!(parse(&element(MAX_ATTRIBUTES)).is_ok());
        assert_eq!(
            parse(&element(MAX_ATTRIBUTES + 1)).unwrap_err(),
            "a web page, or more XML than any real answer has"
        );
    }

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
