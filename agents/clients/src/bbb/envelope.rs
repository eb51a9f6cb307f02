//! The XML envelope of BBB's API, in which Scalelite wraps its refusals too:
//! `<response><returncode>SUCCESS|FAILED</returncode><messageKey/><message/>...</response>`.

use roxmltree::{Document, Node};

use crate::untrusted::clean;

/// A `FAILED` answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The stable `messageKey`; empty when there is none.
    pub(crate) key: String,
    /// The English `message`, which may change with versions.
    pub(crate) message: String,
}

/// Returns the envelope's root on success, the refusal in it on failure, or why this is no such envelope.
pub(crate) fn open<'a, 'input>(
    document: &'a Document<'input>,
) -> Result<Result<Node<'a, 'input>, Failed>, &'static str> {
    let root = document.root_element();
    if !root.has_tag_name("response") {
        return Err("XML or HTML without a <response>");
    }
    match child(root, "returncode") {
        Some("SUCCESS") => Ok(Ok(root)),
        Some("FAILED") => {
            let words = |name| clean(child(root, name).unwrap_or_default());
            Ok(Err(Failed { key: words("messageKey"), message: words("message") }))
        }
        _ => Err("a <response> without a known <returncode>"),
    }
}

/// Returns the trimmed text of a child element; `None` when there is no such element or it is empty.
pub(crate) fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let element = node.children().find(|child| child.has_tag_name(name))?;
    element.text().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::untrusted::parse;

    #[test]
    fn a_refusal_is_told_from_success_and_from_anything_else() {
        let failed = "<response><returncode>FAILED</returncode><messageKey>k</messageKey><message>a\n b</message></response>";
        let document = parse(failed).unwrap();
        let refusal = Failed { key: "k".into(), message: "a b".into() };
        assert_eq!(open(&document).unwrap().unwrap_err(), refusal);
        assert!(
            open(&parse("<response><returncode>SUCCESS</returncode></response>").unwrap()).unwrap().is_ok()
        );
        for other in ["<html/>", "<response/>", "<response><returncode>MAYBE</returncode></response>"] {
            assert!(open(&parse(other).unwrap()).is_err(), "{other}");
        }
    }
}
