//! The XML envelope of BBB's API, in which Scalelite wraps its refusals too:
//! `<response><returncode>SUCCESS|FAILED</returncode><messageKey/><message/>...</response>`.

use roxmltree::{Document, Node, ParsingOptions};

/// More of `<` and more of `=` than the answer of a host with thousands of people has. The parser sets about 70 bytes aside
/// for each of them before it reads anything.
const MAX_MARKS: usize = 150_000;
/// The same for elements and texts together.
const MAX_NODES: u32 = 150_000;
/// Real answers have none. The parser compares each attribute of an element with all others of it.
const MAX_ATTRIBUTES: usize = 1_000;
/// Enough of a remote message to understand it, in characters.
const MAX_MESSAGE: usize = 400;

/// A `FAILED` answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The stable `messageKey`; empty when there is none.
    pub(crate) key: String,
    /// The English `message`, which may change with versions.
    pub(crate) message: String,
}

/// The body as text that an XML parser takes: a meeting's name may hold characters that XML cannot carry, and BBB sends
/// them as they are. They must not keep the agent from counting meetings.
pub(crate) fn text(body: &[u8]) -> String {
    let legal = |c: char| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    String::from_utf8_lossy(body).chars().map(|c| if legal(c) { c } else { '\u{fffd}' }).collect()
}

/// Parses the text; in the error it says where it is not well-formed, never with the content.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, String> {
    if is_excessive(text) {
        return Err("a web page, or more XML than any real answer has".to_owned());
    }
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| {
        let position = error.pos();
        format!("not well-formed XML at line {}, column {}", position.row, position.col)
    })
}

/// Whether the parser would need much memory or much time for this, whatever it is.
pub(crate) fn is_excessive(text: &str) -> bool {
    let many = |mark: u8| text.bytes().filter(|byte| *byte == mark).nth(MAX_MARKS).is_some();
    many(b'<') || many(b'=') || attributes(text) > MAX_ATTRIBUTES
}

/// How many attributes all tags have together, up to where the text stops to be well-formed, as the parser does there too.
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

/// What comes after a tag, whose attributes are counted: a value may hold the character that ends a tag.
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

/// The envelope's root on success, the refusal inside on failure, and why it is no such envelope.
pub(crate) fn open<'a, 'input>(
    document: &'a Document<'input>,
) -> Result<Result<Node<'a, 'input>, Refusal>, &'static str> {
    let root = document.root_element();
    if !root.has_tag_name("response") {
        return Err("XML or HTML without a <response>");
    }
    match child(root, "returncode") {
        Some("SUCCESS") => Ok(Ok(root)),
        Some("FAILED") => {
            let words = |name| clean(child(root, name).unwrap_or_default());
            Ok(Err(Refusal { key: words("messageKey"), message: words("message") }))
        }
        _ => Err("a <response> without a known <returncode>"),
    }
}

/// The trimmed text of a child element; `None` when there is no such element or it is empty.
pub(crate) fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let element = node.children().find(|child| child.has_tag_name(name))?;
    element.text().map(str::trim).filter(|text| !text.is_empty())
}

/// A remote text as it may go into an error: one line, not endless.
pub(crate) fn clean(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_success_and_from_anything_else() {
        let failed = "<response><returncode>FAILED</returncode><messageKey>k</messageKey><message>a\n b</message></response>";
        let document = parse(failed).unwrap();
        let refusal = Refusal { key: "k".into(), message: "a b".into() };
        assert_eq!(open(&document).unwrap().unwrap_err(), refusal);
        assert!(
            open(&parse("<response><returncode>SUCCESS</returncode></response>").unwrap()).unwrap().is_ok()
        );
        for other in ["<html/>", "<response/>", "<response><returncode>MAYBE</returncode></response>"] {
            assert!(open(&parse(other).unwrap()).is_err(), "{other}");
        }
    }

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
}
