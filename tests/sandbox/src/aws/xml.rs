//! A writer for the XML of AWS's answers.

use std::fmt::{Display, Write as _};

use crate::xml::escape;

/// A document under construction.
#[derive(Debug, Default)]
pub struct Xml(String);

impl Xml {
    /// Writes a document with this root element and default namespace.
    pub fn document(root: &str, namespace: &str, body: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self(String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"));
        let _ = write!(xml.0, "<{root} xmlns=\"{}\">", escape(namespace));
        body(&mut xml);
        let _ = write!(xml.0, "</{root}>");
        xml.0
    }

    /// Writes an element with other elements in it.
    pub fn element(&mut self, name: &str, body: impl FnOnce(&mut Self)) -> &mut Self {
        let _ = write!(self.0, "<{name}>");
        body(self);
        let _ = write!(self.0, "</{name}>");
        self
    }

    /// Writes an element with text in it.
    pub fn text(&mut self, name: &str, value: impl Display) -> &mut Self {
        let _ = write!(self.0, "<{name}>{}</{name}>", escape(&value.to_string()));
        self
    }

    /// Writes an element with text in it, if there is a value.
    pub fn maybe(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }
}

/// Returns a request id for an answer: a random UUID.
pub fn request_id() -> String {
    let bits = fastrand::u128(..);
    // Version 4, variant 1.
    let bits = bits & !(0xf << 76) | (4 << 76);
    let bits = bits & !(0x3 << 62) | (2 << 62);
    let mut id = format!("{bits:032x}");
    for position in [20, 16, 12, 8] {
        id.insert(position, '-');
    }
    id
}
