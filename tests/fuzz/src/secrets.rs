//! Targets for secrets and references to them.

use clients::secrets::{SecretReference, pick};

use crate::{MARK, check_error, marked, text};

/// Checks that a reference reads the same after it was written again; another text is not shown, as it may be the
/// secret itself.
pub(crate) fn reference(input: &[u8]) {
    let Some(text) = text(input) else { return };
    match SecretReference::parse(text) {
        Ok(reference) => {
            assert!(!reference.to_string().contains(char::is_control));
            assert_eq!(SecretReference::parse(&reference.to_string()), Ok(reference));
        }
        Err(error) => check_error(&error.to_string()),
    }
    let hidden =
        [format!("{MARK}{text}"), format!("file:{MARK}{text}"), format!("secretsmanager:{MARK}\n{text}")];
    for text in hidden {
        check_error(&SecretReference::parse(&text).unwrap_err().to_string());
    }
}

/// Checks that no error about a secret's JSON contains a part of it.
pub(crate) fn json(input: &[u8]) {
    let marked = marked(input);
    let Some(text) = text(&marked) else { return };
    if let Err(why) = pick(text, "LOADBALANCER_SECRET") {
        check_error(&why);
    }
}
