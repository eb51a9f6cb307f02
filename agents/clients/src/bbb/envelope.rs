//! The XML envelope of BBB's API, in which Scalelite wraps its refusals too:
//! `<response><returncode>SUCCESS|FAILED</returncode><messageKey/><message/>...</response>`.

use crate::untrusted::clean;
use crate::xml::{Defect, Elements, Step};

/// The name of the first element.
const ROOT: &str = "response";

/// A `FAILED` answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The stable `messageKey`; empty when there is none.
    pub(crate) key: String,
    /// The English `message`, which may change with versions.
    pub(crate) message: String,
}

/// A `SUCCESS` answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The `messageKey`; empty when there is none.
    pub(crate) key: String,
    /// How the text differs from a complete answer.
    pub(crate) defect: Option<Defect>,
}

/// A text that is not a whole envelope, or not an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoEnvelope {
    /// The text ends before it says whether the call was carried out.
    CutOff(Defect),
    /// The text is something else; the words say what.
    Other(String),
}

/// Reads the envelope, and passes each step in it to `each`. Returns the refusal if it is one.
pub(crate) fn open(
    text: &str,
    mut each: impl FnMut(&[String], &Step),
) -> Result<Result<Opened, Failed>, NoEnvelope> {
    let mut elements = Elements::new(text);
    let (mut code, mut key, mut message) = (None, None, None);
    while let Some(step) = elements.step() {
        match (elements.path(), &step) {
            ([root], Step::Begin) if root != ROOT => return Err(NoEnvelope::Other(other(root))),
            ([root], Step::End { name, text: Some(text) }) if root == ROOT => {
                let known = match name.as_str() {
                    "returncode" => &mut code,
                    "messageKey" => &mut key,
                    "message" => &mut message,
                    _ => &mut None,
                };
                known.get_or_insert_with(|| text.clone());
            }
            _ => {}
        }
        each(elements.path(), &step);
    }
    let defect = elements.defect();
    let words = |text: Option<String>| clean(&text.unwrap_or_default());
    match (code.as_deref(), defect) {
        (Some("SUCCESS"), defect) => Ok(Ok(Opened { key: words(key), defect })),
        (Some("FAILED"), Some(cut @ Defect::CutOff(_))) if key.is_none() => Err(NoEnvelope::CutOff(cut)),
        (Some("FAILED"), _) => Ok(Err(Failed { key: words(key), message: words(message) })),
        (_, Some(cut @ (Defect::Empty | Defect::CutOff(_)))) => Err(NoEnvelope::CutOff(cut)),
        (_, Some(defect)) => Err(NoEnvelope::Other(defect.to_string())),
        (_, None) => Err(NoEnvelope::Other("a <response> without a known <returncode>".to_owned())),
    }
}

/// Describes an answer by its first element.
fn other(root: &str) -> String {
    match root.to_ascii_lowercase().as_str() {
        "html" | "head" | "body" => "a web page".to_owned(),
        _ => "XML without a <response>".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Result<Opened, Failed>, NoEnvelope> {
        open(text, |_, _| {})
    }

    #[test]
    fn a_refusal_is_told_from_success_and_from_anything_else() {
        let failed = "<response><returncode>FAILED</returncode><messageKey>k</messageKey><message>a\n b</message></response>";
        assert_eq!(read(failed).unwrap().unwrap_err(), Failed { key: "k".into(), message: "a b".into() });
        let opened = read("<response><returncode>SUCCESS</returncode></response>").unwrap().unwrap();
        assert_eq!(opened, Opened { key: String::new(), defect: None });
        for (other, words) in [
            ("<html><returncode>SUCCESS</returncode></html>", "a web page"),
            ("<!DOCTYPE html>\n<HTML lang=en><br><p>", "a web page"),
            ("<rss/>", "XML without a <response>"),
            ("<response/>", "a <response> without a known <returncode>"),
            (
                "<response><returncode>MAYBE</returncode></response>",
                "a <response> without a known <returncode>",
            ),
            (
                "<response><a><returncode>SUCCESS</returncode></a></response>",
                "a <response> without a known <returncode>",
            ),
            ("OK", "text that is no XML"),
        ] {
            assert_eq!(read(other), Err(NoEnvelope::Other(words.to_owned())), "{other}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_counts_once_it_has_said_whether_it_is_a_success() {
        let whole = "<response><returncode>SUCCESS</returncode><meetings/></response>";
        let said = whole.find("</returncode>").unwrap() + "</returncode>".len();
        for end in 0..whole.len() {
            let found = read(&whole[..end]);
            match end < said {
                true => assert!(matches!(found, Err(NoEnvelope::CutOff(_))), "{end}: {found:?}"),
                false => assert_eq!(found.unwrap().unwrap().defect, Some(Defect::CutOff(end))),
            }
        }
        let failed = "<response><returncode>FAILED</returncode><messageKey>k</messageKey>";
        assert_eq!(read(failed).unwrap().unwrap_err().key, "k");
        assert!(matches!(read(&failed[..50]), Err(NoEnvelope::CutOff(_))));
    }
}
