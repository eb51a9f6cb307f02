//! The XML envelope of BBB's API, in which Scalelite wraps its refusals too:
//! `<response><returncode>SUCCESS|FAILED</returncode><messageKey/><message/>...</response>`.

use roxmltree::{Document, Node, ParsingOptions};

/// More nodes than any real answer within the body's limit; less than what would fill the memory.
const MAX_NODES: u32 = 1_000_000;
/// Enough of a remote message to understand it, in characters.
const MAX_MESSAGE: usize = 300;

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
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| {
        let position = error.pos();
        format!("not well-formed XML at line {}, column {}", position.row, position.col)
    })
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
        assert!(parse(&format!("<a>{}</a>", "<b/>".repeat(1_000_001))).is_err());
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(clean(&"ü".repeat(1000)).chars().count(), MAX_MESSAGE + 3);
        assert_eq!(clean("a\u{0}b"), "a b");
    }
}
